"""Table functions in every form, called as DuckDB calls them."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from tests.fix_memory import Peer, RemoteFailure, read_streams, tick_stream
from vgi_fast import (
    AnyArrow,
    Arg,
    BindParams,
    BindResponse,
    ClientLog,
    GlobalInitResponse,
    InitParams,
    MonthDayNano,
    OutputCollector,
    Param,
    ProcessParams,
    Projection,
    RecordBatch,
    Schema,
    TableCardinality,
    TableFunctionGenerator,
    Worker,
    table,
)
from vgi_fast.wire import records

Connect = Callable[..., Peer]


@pytest.fixture
def demo() -> Worker:
    return Worker("demo")


def test_positional_and_named_arguments(demo: Worker, peer: Connect) -> None:
    @demo.table(columns={"n": "int64"})
    def numbers(count: Annotated[int, Param(ge=0)], *, step: int = 1, size: int = 2) -> Iterator[dict[str, Any]]:
        for start in range(0, count, size):
            yield {"n": np.arange(start, min(start + size, count)) * step}

    served = peer(demo)
    answer = served.table("numbers", 3)
    assert answer.rows() == {"n": [0, 1, 2]}
    assert [batch.num_rows for batch, _ in answer.batches] == [2, 1]
    assert served.table("numbers", 3, named={"step": 10}).rows() == {"n": [0, 10, 20]}
    assert served.table("numbers", 0).rows() == {"n": []}
    with pytest.raises(RemoteFailure, match=r"(?s)'count' is too small.*Constraint: must be >= 0"):
        served.bind("numbers", -1)
    with pytest.raises(RemoteFailure, match="Argument 'count' cannot be NULL"):
        served.bind("numbers", None)
    with pytest.raises(RemoteFailure, match="Argument 'step' cannot be NULL"):
        served.bind("numbers", 1, named={"step": None})
    with pytest.raises(RemoteFailure, match="missing required argument 'count'"):
        served.bind("numbers")
    with pytest.raises(RemoteFailure, match="takes 1 positional argument, got 2"):
        served.bind("numbers", 1, 2)
    with pytest.raises(RemoteFailure, match="unknown named argument 'stop'; there are 'size', 'step'"):
        served.bind("numbers", 1, named={"stop": 1})
    with pytest.raises(RemoteFailure, match="Argument 'count': expected int64, got utf8"):
        served.bind("numbers", "three")


def test_published_arguments(demo: Worker, peer: Connect) -> None:
    @demo.table(columns="n: int64", order_preservation="fixed_order", tags={"a": "b"})
    def listed(
        count: Annotated[int, Param(ge=1, le=10)],
        *,
        mode: Annotated[str, Param(doc="How.", choices=["fast", "slow"], pattern="[a-z]+")] = "fast",
        limit: Annotated[float | None, Param(lt=5)] = None,
        required: bool,
    ) -> Iterator[Any]:
        """Numbers.

        Parameters
        ----------
        count : int
            How many,
            at most.
        required : bool
            Whether.
        """
        yield {}

    (info,) = peer(demo).functions("TABLE_FUNCTION")
    fields = {field.name: field for field in pa.ipc.read_schema(pa.py_buffer(info["arguments"]))}
    assert list(fields) == ["count", "limit", "mode", "required"]
    assert fields["count"].metadata == {b"vgi_doc": b"How many, at most.", b"vgi_range": b"[1, 10]"}
    assert fields["limit"].metadata == {b"vgi_arg": b"named", b"vgi_default": b"null", b"vgi_range": b"(-inf, 5)"}
    assert fields["mode"].metadata == {
        b"vgi_arg": b"named",
        b"vgi_doc": b"How.",
        b"vgi_default": b'"fast"',
        b"vgi_choices": b'["fast", "slow"]',
        b"vgi_pattern": b"[a-z]+",
    }
    assert fields["required"].metadata == {b"vgi_arg": b"named", b"vgi_doc": b"Whether."}
    assert info["order_preservation"] == "FIXED_ORDER"
    assert info["tags"] == [("a", "b")] or info["tags"] == {"a": "b"}
    assert info["description"] == "Numbers."


def test_constraints_of_text(demo: Worker, peer: Connect) -> None:
    @demo.table(columns="n: int64")
    def pick(
        mode: Annotated[str, Param(choices=["fast", "slow"])], code: Annotated[str, Param(pattern="[a-z]{2}")]
    ) -> Iterator[Any]:
        yield {"n": [1]}

    served = peer(demo)
    assert served.table("pick", "fast", "ab").rows() == {"n": [1]}
    with pytest.raises(RemoteFailure, match="must be one of the allowed choices"):
        served.bind("pick", "medium", "ab")
    with pytest.raises(RemoteFailure, match="(?s)does not match the required pattern.*must match pattern"):
        served.bind("pick", "fast", "abc")


def test_varargs_keep_their_types(demo: Worker, peer: Connect) -> None:
    @demo.table(columns=lambda params: {f"v{i}": one.type for i, one in enumerate(params.args.values)})
    def constants(*values: AnyArrow) -> Iterator[dict[str, Any]]:
        yield {f"v{i}": [one.value] for i, one in enumerate(values)}  # type: ignore[attr-defined]

    served = peer(demo)
    answer = served.table("constants", 1, "a", types=["int8", "utf8"])
    assert answer.schema.types == [pa.int8(), pa.string()]
    assert answer.rows() == {"v0": [1], "v1": ["a"]}
    with pytest.raises(RemoteFailure, match="Varargs parameter 'values' requires at least 1 value."):
        served.bind("constants")


ARROW = pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"], "c": [True, False, None]})
SHAPES: dict[str, list[Any]] = {
    "lists": [{"a": [1, 2, 3], "b": ["x", "y", "z"]}],
    "arrays": [{"b": np.array(["x", "y", "z"], object), "a": np.array([1, 2, 3], np.int32)}],
    "structured": [np.array([(1, "x"), (2, "y"), (3, "z")], [("a", "i8"), ("b", "U1")])],
    "batch": [ARROW.to_batches()[0]],
    "table": [pa.concat_tables([ARROW.slice(0, 1), ARROW.slice(1)])],
    "core": [RecordBatch.from_pydict(Schema.of({"b": "utf8", "a": "int64"}), {"a": [1, 2, 3], "b": ["x", "y", "z"]})],
    "several": [{"a": [1], "b": ["x"]}, {}, {"a": [2, 3], "b": ["y", "z"]}],
}


INTERVAL = "month_day_nano_interval"


@pytest.mark.parametrize(
    ("declared", "sent", "value", "got"),
    [
        ("duration[us]", INTERVAL, MonthDayNano(2, 1, -1_500_000), dt.timedelta(61, microseconds=-1500)),
        ("duration[s]", "duration[ns]", dt.timedelta(seconds=2), dt.timedelta(seconds=2)),
        (INTERVAL, INTERVAL, MonthDayNano(2, 1, 5), MonthDayNano(2, 1, 5)),
        (INTERVAL, "duration[us]", dt.timedelta(-1, 7, 5), MonthDayNano(0, -1, 7_000_005_000)),
    ],
)
def test_spans_arrive_as_declared(demo: Worker, peer: Connect, declared: str, sent: str, value: Any, got: Any) -> None:
    seen = []

    @demo.table(columns={"n": "int64"})
    def probe(span: Annotated[Any, Arg(arrow_type=declared)]) -> list[int]:
        seen.append(span)
        return [1]

    made = peer(demo)
    made.table("probe", value, types=[sent])
    assert seen == [got] and type(seen[0]) is type(got)
    if declared != INTERVAL:
        with pytest.raises(RemoteFailure, match="'span': .* is longer than a timedelta can be"):
            made.table("probe", MonthDayNano(2**31 - 1, 0, 0), types=[INTERVAL])


@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_is_yielded_becomes_the_bound_columns(demo: Worker, peer: Connect, shape: str) -> None:
    @demo.table(columns={"a": "int64", "b": "utf8"})
    def rows() -> Iterator[Any]:
        yield from SHAPES[shape]

    answer = peer(demo).table("rows")
    assert answer.rows() == {"a": [1, 2, 3], "b": ["x", "y", "z"]}
    assert len(answer.batches) == {"table": 2, "several": 3}.get(shape, 1)


def test_a_single_column_needs_no_name(demo: Worker, peer: Connect) -> None:
    @demo.table(columns={"a": "float64"})
    def rows() -> Iterator[Any]:
        yield np.arange(2)
        yield range(2, 4)

    assert peer(demo).table("rows").rows() == {"a": [0.0, 1.0, 2.0, 3.0]}


@pytest.mark.parametrize(
    ("produced", "text"),
    [
        ({"a": [1]}, "lacks column 'b'; it has \\['a'\\]"),
        ({"a": [1], "b": ["x", "y"]}, "column 'b' has 2 rows, but 'a' has 1"),
        (np.arange(3), "one array for 2 columns"),
        (7, "cannot make a batch of int"),
        ({"a": ["x"], "b": ["y"]}, "(?s)TypeMismatchError.*column 'a'"),
    ],
)
def test_what_cannot_become_a_batch(demo: Worker, peer: Connect, produced: Any, text: str) -> None:
    @demo.table(columns={"a": "int64", "b": "utf8"})
    def rows() -> Iterator[Any]:
        yield produced

    with pytest.raises(RemoteFailure, match=text):
        peer(demo).table("rows")


def test_projection(demo: Worker, peer: Connect) -> None:
    @demo.table(columns={"a": "int64", "b": "utf8", "c": "int64"}, projection_pushdown=True)
    def rows(wanted: Projection) -> Iterator[Any]:
        assert wanted == ["c", "a"]
        yield {name: [1] for name in wanted}

    @demo.table(columns={"a": "int64", "b": "utf8"})
    def all_of_them() -> Iterator[Any]:
        yield {"a": [1], "b": ["x"]}

    served = peer(demo)
    assert list(served.table("rows", projection_ids=[2, 0]).rows()) == ["c", "a"]
    assert list(served.table("all_of_them", projection_ids=[1]).rows()) == ["a", "b"]
    for ids in ([3], [-1]):
        with pytest.raises(RemoteFailure, match="ProtocolError: projection_ids"):
            served.table("rows", projection_ids=ids)


def test_logs_precede_the_batch_of_their_step(demo: Worker, peer: Connect) -> None:
    @demo.table(columns="n: int64")
    def chatty(log: ClientLog) -> Iterator[Any]:
        log("INFO", "started", count=1)
        yield [1]
        log("WARNING", "done")

    answer = peer(demo).table("chatty")
    assert answer.logs == [("INFO", "started"), ("WARN", "done")]


def test_cardinality(demo: Worker, peer: Connect) -> None:
    @demo.table(columns="n: int64", cardinality=lambda args: args.count)
    def counted(count: int) -> Iterator[Any]:
        yield [1]

    @demo.table(columns="n: int64", cardinality=TableCardinality(estimate=10))
    def guessed() -> Iterator[Any]:
        yield [1]

    served = peer(demo)

    def ask(*call: Any) -> tuple[Any, Any]:
        answer = served.call("table_function_cardinality", bind_call=served.bind_request(*call))
        return answer["estimate"], answer["max"]

    assert ask("counted", 5) == (5, 5)
    assert ask("guessed") == (10, None)
    assert served.call("table_function_statistics", bind_call=served.bind_request("guessed")) is None
    assert served.call(
        "table_function_dynamic_to_string", bind_call=b"", bind_opaque_data=None, global_execution_id=b"x"
    ) == {"keys": [], "values": []}


def test_a_generator_is_closed_when_the_client_cancels(demo: Worker, peer: Connect) -> None:
    events = []

    @demo.table(columns="n: int64")
    def endless() -> Iterator[Any]:
        try:
            while True:
                yield [1]
        finally:
            events.append("closed")

    served = peer(demo)
    bind_call = served.bind_request("endless")
    again = served.bind_request("endless")
    data = served.init_request(bind_call) + tick_stream(0, cancel_after=0)
    _, output = served.exchange(data)
    assert output.rows() == {"n": []}
    assert output.error is None
    data = served.init_request(bind_call) + tick_stream(5, cancel_after=2) + served.init_request(again) + tick_stream(1)
    _, output, _, second = served.exchange(data)
    assert output.rows() == {"n": [1, 1]}
    assert second.rows() == {"n": [1]}
    assert events == ["closed", "closed"]


def test_an_error_in_mid_stream_ends_the_stream_but_not_the_connection(demo: Worker, peer: Connect) -> None:
    @demo.table(columns="n: int64")
    def fails() -> Iterator[Any]:
        yield [1]
        raise ValueError("ran out")

    served = peer(demo)
    call = served.init_request(served.bind_request("fails")) + tick_stream(6)
    first_header, first, second_header, second = served.exchange(call + call)
    for answer in (first, second):
        assert answer.rows() == {"n": [1]}
        assert str(answer.error) == "ValueError: ran out"
    assert first_header.error is None
    assert second_header.error is None


@dataclass
class SequenceArgs:
    count: Annotated[int, Arg(0, doc="How many", ge=0)]
    batch_size: Annotated[int, Arg("batch_size", ge=1)] = 2


class Counter:
    def __init__(self) -> None:
        self.next = 0


class SequenceFunction(TableFunctionGenerator[SequenceArgs, Counter]):
    """Counts."""

    FIXED_SCHEMA = pa.schema([("n", pa.int64())])

    class Meta:
        projection_pushdown = True

    @classmethod
    def cardinality(cls, params: BindParams[SequenceArgs]) -> int:
        return params.args.count

    @classmethod
    def initial_state(cls, params: ProcessParams[SequenceArgs]) -> Counter:
        return Counter()

    @classmethod
    def process(cls, params: ProcessParams[SequenceArgs], state: Counter, out: OutputCollector) -> None:
        if state.next >= params.args.count:
            out.client_log("INFO", "complete")
            out.finish()
            return
        stop = min(state.next + params.args.batch_size, params.args.count)
        out.emit({"n": range(state.next, stop)}, cache_control={"ttl": 5} if state.next == 0 else None)
        state.next = stop


def test_arguments_may_be_a_named_tuple(demo: Worker, peer: Connect) -> None:
    class RangeArgs(NamedTuple):
        stop: Annotated[int, Arg(doc="End")]
        start: Annotated[int, Arg(doc="Begin")] = 1

    class Range(TableFunctionGenerator[RangeArgs]):
        FIXED_SCHEMA = "n: int64"

        @classmethod
        def process(cls, params: ProcessParams[RangeArgs], state: None, out: OutputCollector) -> None:
            out.emit({"n": range(params.args.start, params.args.stop)})
            out.finish()

    demo.add(Range)
    assert peer(demo).table("range", 4).rows() == {"n": [1, 2, 3]}
    assert peer(demo).table("range", 4, named={"start": 3}).rows() == {"n": [3]}


def test_a_class_with_state(demo: Worker, peer: Connect) -> None:
    demo.add(SequenceFunction)
    served = peer(demo)
    answer = served.table("sequence", 3)
    assert answer.rows() == {"n": [0, 1, 2]}
    assert [metadata for _, metadata in answer.batches] == [
        {b"vgi.cache.ttl": b"5", b"vgi.cache.scope": b"catalog"},
        {},
    ]
    assert answer.logs == [("INFO", "complete")]
    assert served.table("sequence", 3, named={"batch_size": 3}).rows() == {"n": [0, 1, 2]}
    with pytest.raises(RemoteFailure, match="'batch_size' is too small"):
        served.bind("sequence", 3, named={"batch_size": 0})
    cardinality = served.call("table_function_cardinality", bind_call=served.bind_request("sequence", 3))
    assert cardinality == {"estimate": 3, "max": 3}


def test_instance_hooks_bind_data_and_parallel_streams(demo: Worker, peer: Connect) -> None:
    inits = []

    class Shared(TableFunctionGenerator[None]):
        class Meta:
            max_workers = 4

        def on_bind(self, params: BindParams[None]) -> BindResponse:  # type: ignore[override]
            return BindResponse({"n": int, "id": "binary"}, b"bound")

        def on_init(self, params: InitParams[None]) -> GlobalInitResponse:  # type: ignore[override]
            inits.append(params.execution_id)
            assert params.bind_opaque_data == b"bound"
            return GlobalInitResponse(4, b"shared")

        def initial_state(self, params: ProcessParams[None]) -> list[int]:  # type: ignore[override]
            return [1]

        def process(self, params: ProcessParams[None], state: list[int], out: OutputCollector) -> None:  # type: ignore[override]
            if not state:
                return out.finish()
            out.emit({"n": [state.pop()], "id": [params.init_opaque_data]})

    demo.add(Shared)
    served = peer(demo)
    bind_call = served.bind_request("shared")
    header, output = served.exchange(served.init_request(bind_call) + tick_stream(3))
    row = {name: values[0] for name, values in header.checked().rows().items()}
    assert (row["opaque_data"], row["max_workers"], len(row["execution_id"])) == (b"shared", 4, 16)
    secondary = served.init_request(bind_call, execution_id=row["execution_id"], init_opaque_data=b"shared")
    second_header, output = served.exchange(secondary + tick_stream(3))
    echoed = {name: values[0] for name, values in second_header.checked().rows().items()}
    assert (echoed["execution_id"], echoed["opaque_data"]) == (row["execution_id"], b"shared")
    assert output.rows() == {"n": [1], "id": [b"shared"]}
    assert inits == [row["execution_id"]]


def test_process_must_emit_once_or_finish(demo: Worker, peer: Connect) -> None:
    class Idle(TableFunctionGenerator[None]):
        FIXED_SCHEMA = "n: int64"

        @classmethod
        def process(cls, params: ProcessParams[None], state: None, out: OutputCollector) -> None:
            pass

    class Greedy(TableFunctionGenerator[None]):
        FIXED_SCHEMA = "n: int64"

        @classmethod
        def process(cls, params: ProcessParams[None], state: None, out: OutputCollector) -> None:
            out.emit([1])
            out.emit([2])

    demo.add(Idle)
    demo.add(Greedy)
    served = peer(demo)
    with pytest.raises(RemoteFailure, match="No data batch was emitted"):
        served.table("idle")
    with pytest.raises(RemoteFailure, match="Only one data batch may be emitted per call"):
        served.table("greedy")


def test_on_cancel_is_called_and_may_fail(demo: Worker, peer: Connect) -> None:
    cancelled = []

    class Endless(TableFunctionGenerator[None]):
        FIXED_SCHEMA = "n: int64"

        @classmethod
        def process(cls, params: ProcessParams[None], state: None, out: OutputCollector) -> None:
            out.emit([1])

        @classmethod
        def on_cancel(cls, params: ProcessParams[None], state: None) -> None:
            cancelled.append(params.execution_id)
            raise RuntimeError("never mind")

    demo.add(Endless)
    served = peer(demo)
    data = served.init_request(served.bind_request("endless")) + tick_stream(3, cancel_after=1)
    header, output = served.exchange(data)
    assert output.error is None
    assert output.rows() == {"n": [1]}
    assert cancelled == header.rows()["execution_id"]


def test_a_secondary_stream_of_a_generator_is_refused(demo: Worker, peer: Connect) -> None:
    @demo.table(columns="n: int64")
    def alone() -> Iterator[Any]:
        yield [1]

    with pytest.raises(RemoteFailure, match="cannot serve a secondary stream"):
        peer(demo).table("alone", execution_id=b"0123456789abcdef")


def test_the_decorated_function_is_left_alone() -> None:
    @table(columns="n: int64")
    def numbers(count: int) -> Iterator[Any]:
        yield range(count)

    assert list(next(numbers(2))) == [0, 1]


def test_the_header_precedes_the_first_read(demo: Worker, peer: Connect) -> None:
    """The client sends no input before it has the header."""

    @demo.table(columns="n: int64")
    def numbers() -> Iterator[Any]:
        yield [1]

    served = peer(demo)
    streams = served.exchange(served.init_request(served.bind_request("numbers")))
    assert len(streams) == 2
    assert streams[0].schema.equals(pa.schema(records.GLOBAL_INIT_RESPONSE.schema()))
    assert read_streams(b"") == []
