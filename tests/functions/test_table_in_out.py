"""Table-in-out functions and row transforms in every form, called as DuckDB calls them."""

import base64
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.fix_memory import Peer, RemoteFailure, Stream, tick_stream
from vgi_fast import (
    Arg,
    Array,
    BindParams,
    ClientLog,
    DefinitionError,
    ExchangeCollector,
    Float64,
    Int64,
    OutputLength,
    Param,
    ProcessParams,
    Projection,
    RecordBatch,
    RowsOf,
    RowTransformFunction,
    Schema,
    TableInOutFunction,
    TableInOutGenerator,
    TableInput,
    Utf8,
    Worker,
    row_transform,
    table_in_out,
)
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import encode_stream

Connect = Callable[..., Peer]
NUMBERS = {"n": "int64", "name": "utf8"}
ROWS: list[dict[str, list[Any]]] = [
    {"n": [1, 2], "name": ["a", None]},
    {"n": [], "name": []},
    {"n": [None, 4, 5], "name": ["c", "d", "e"]},
]
PARENTS = keys.PARENT_ROW


@pytest.fixture
def demo() -> Worker:
    return Worker("demo")


def call(
    peer: Peer,
    name: str,
    *arguments: Any,
    columns: dict[str, str] | None = None,
    rows: list[dict[str, list[Any]]] | None = None,
    named: dict[str, Any] | None = None,
    finalize: bool = False,
    projection: list[int] | None = None,
    metadata: dict[bytes, bytes] | None = None,
) -> Stream:
    """INPUT and, with ``finalize``, FINALIZE on one connection; the batches of both."""
    types = columns or NUMBERS
    schema = Schema.of(types)
    given = [
        RecordBatch.from_pydict(schema, batch).with_metadata(metadata) for batch in (ROWS if rows is None else rows)
    ]
    bind_call = peer.bind_request(name, *arguments, columns=types, named=named)
    data = peer.init_request(bind_call, phase="INPUT", projection_ids=projection) + encode_stream(schema, given)
    header, *rest = peer.exchange(data)
    header.checked()
    (answer,) = rest
    answer.logs = header.logs + answer.logs
    return answer.checked()


def values(answer: Stream) -> list[dict[str, list[Any]]]:
    return [batch.to_pydict() for batch, _ in answer.batches]


def info(peer: Peer, name: str) -> dict[str, Any]:
    return next(one for one in peer.functions("TABLE_FUNCTION") if one["name"] == name)


def test_each_batch_is_answered_by_one(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out
    def same(data: TableInput) -> TableInput:
        return data

    assert values(call(peer(demo), "same")) == ROWS


@pytest.mark.parametrize("form", [RecordBatch, pa.RecordBatch, pa.Table, dict, dict[str, Any]])
def test_forms_of_a_batch(demo: Worker, peer: Connect, form: Any) -> None:
    def same(data: Any) -> Any:
        assert isinstance(data, dict if form == dict[str, Any] else form)
        return data

    same.__annotations__ = {"data": form}
    demo.table_in_out(same)
    answer = values(call(peer(demo), "same"))
    assert answer == ROWS


def test_nulls_of_numpy_columns_are_masked(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out(columns={"n": "int64"})
    def doubled(data: dict[str, Any]) -> dict[str, Any]:
        return {"n": data["n"] * 2}

    assert [batch["n"] for batch in values(call(peer(demo), "doubled"))] == [[2, 4], [], [None, 8, 10]]


@pytest.mark.parametrize(
    ("produced", "expected"),
    [
        (None, []),
        ({"x": [1, 2]}, [1, 2]),
        (np.arange(3), [0, 1, 2]),
        (pa.record_batch({"x": pa.array([5])}), [5]),
        (pa.table({"x": pa.chunked_array([[1], [2, 3]])}), [1, 2, 3]),
        (pa.table({"x": pa.array([1, 2], pa.int8()), "y": pa.array([0, 0])}), [1, 2]),
        ({}, []),
    ],
)
def test_forms_of_an_answer(demo: Worker, peer: Connect, produced: Any, expected: list[int]) -> None:
    @demo.table_in_out(columns={"x": "int64"})
    def fixed(data: TableInput) -> Any:
        return produced

    assert [batch["x"] for batch in values(call(peer(demo), "fixed"))] == [expected] * 3


def test_several_batches_become_one_answer(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out
    def twice(times: Annotated[int, Arg(ge=0)], data: TableInput) -> Iterator[TableInput]:
        for _ in range(times):
            yield data

    served = peer(demo)
    assert [batch["n"] for batch in values(call(served, "twice", 2))] == [[1, 2, 1, 2], [], [None, 4, 5, None, 4, 5]]
    assert [batch["n"] for batch in values(call(served, "twice", 0))] == [[], [], []]
    with pytest.raises(RemoteFailure, match="must be >= 0"):
        served.bind("twice", -1, columns=NUMBERS)
    with pytest.raises(RemoteFailure, match="takes a table"):
        served.bind("twice", 1)


def test_arguments_around_the_table_keep_their_order(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out(columns={"x": "utf8"})
    def around(first: int, data: TableInput, second: str, *, third: float = 0.5) -> dict[str, list[str]]:
        return {"x": [f"{first} {second} {third}"]}

    served = peer(demo)
    assert values(call(served, "around", 1, "two"))[0] == {"x": ["1 two 0.5"]}
    assert values(call(served, "around", 1, "two", named={"third": 3.0}))[0] == {"x": ["1 two 3.0"]}
    fields = Schema.from_bytes(info(served, "around")["arguments"])
    assert [field.name for field in fields] == ["first", "data", "second", "third"]
    assert fields["data"].metadata == {b"vgi_type": b"table"}
    assert fields["data"].type.kind == "null"


def test_generator_over_all_batches(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out(columns={"total": "int64"})
    def running(batches: Iterator[pa.RecordBatch]) -> Iterator[dict[str, Any] | None]:
        total = 0
        for batch in batches:
            total += pc.sum(batch["n"]).as_py() or 0
            yield {"total": [total]} if batch.num_rows else None
        yield {"total": []}
        yield {"total": [-total]}

    served = peer(demo)
    assert values(call(served, "running")) == [{"total": [3]}, {"total": []}, {"total": [12]}]
    assert info(served, "running")["has_finalize"]
    assert both_phases(served, "running") == ([[3], [], [12]], [[-12]])


def both_phases(peer: Peer, name: str, *arguments: Any) -> tuple[list[list[Any]], list[list[Any]]]:
    """First columns of the answers of INPUT, and of those of FINALIZE, sent while INPUT has not been read."""
    schema = Schema.of(NUMBERS)
    given = encode_stream(schema, [RecordBatch.from_pydict(schema, batch) for batch in ROWS])
    bind_call = peer.bind_request(name, *arguments, columns=NUMBERS)

    with pytest.MonkeyPatch.context() as patch:
        # The id is the worker's; a fixed source of ids makes it known ahead.
        patch.setattr("os.urandom", lambda count: b"i" * count)
        data = peer.init_request(bind_call, phase="INPUT") + given
        data += peer.init_request(bind_call, phase="FINALIZE", execution_id=b"i" * 16) + tick_stream(9)
        streams = peer.exchange(data)
    for one in streams:
        one.checked()
    _, first, header, second = streams
    assert header.batches[0][0].column("execution_id")[0].as_py() == b"i" * 16

    def columns(answer: Stream) -> list[list[Any]]:
        return [batch.column(0).to_pylist() for batch, _ in answer.batches]

    return columns(first), columns(second)


def test_late_yields_join_the_next_answer(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out(columns={"x": "int64"})
    def echoes(batches: Iterator[TableInput]) -> Iterator[dict[str, Any]]:
        for batch in batches:
            yield {"x": [batch.num_rows]}
            yield {"x": [-1]}

    assert both_phases(peer(demo), "echoes") == ([[2], [-1, 0], [-1, 3]], [[-1]])


def test_generator_that_skips_a_batch_is_told_how(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out
    def picky(batches: Iterator[TableInput]) -> Iterator[TableInput]:
        for batch in batches:
            if batch.num_rows > 2:
                yield batch

    with pytest.raises(RemoteFailure, match="asks for the next batch before it has answered"):
        call(peer(demo), "picky")


def test_generator_that_ends_early(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out
    def first(batches: Iterator[TableInput]) -> Iterator[TableInput]:
        yield next(batches)

    assert both_phases(peer(demo), "first") == ([[1, 2], [], []], [])


class Total(NamedTuple):
    data: Annotated[TableInput, Arg(0)]
    start: Annotated[int, Arg("start")] = 0


class Totals(TableInOutGenerator[Total, list[int]]):
    """Emits"""

    FIXED_SCHEMA = {"x": "int64"}

    @classmethod
    def initial_state(cls, params: ProcessParams[Total]) -> list[int]:
        return [params.args.start]

    def process(  # type: ignore[override]
        self, params: ProcessParams[Total], state: list[int], batch: pa.RecordBatch, out: Any
    ) -> None:
        state[0] += batch.num_rows
        if batch.num_rows:
            out.emit({"x": [state[0]]})
            out.client_log("INFO", f"{batch.num_rows} rows")

    def finalize(self, params: ProcessParams[Total], state: list[int]) -> list[Any]:  # type: ignore[override]
        return [{"x": []}, {"x": [state[0]]}, pa.table({"x": [1, 2]})]


class Returning(TableInOutFunction[None, list[int]]):
    """Returns"""

    @classmethod
    def on_bind(cls, params: BindParams[None]) -> str:
        return "x: int64"

    @classmethod
    def initial_state(cls, params: ProcessParams[None]) -> list[int]:
        return [0]

    @staticmethod
    def transform(batch: RecordBatch, params: ProcessParams[None], state: list[int]) -> Any:
        state[0] += batch.num_rows
        return {"x": [state[0]]}

    @classmethod
    def finish(cls, params: ProcessParams[None], state: list[int]) -> Iterator[Any]:
        yield {"x": [state[0] * 10]}


def test_classes(peer: Connect) -> None:
    served = peer(Worker("demo", functions=[Totals, Returning]))
    assert both_phases(served, "totals") == ([[2], [], [5]], [[5], [1, 2]])
    assert both_phases(served, "returning") == ([[2], [2], [5]], [[50]])
    answer = call(served, "totals", named={"start": 100})
    assert [batch["x"] for batch in values(answer)] == [[102], [], [105]]
    assert answer.logs == [("INFO", "2 rows"), ("INFO", "3 rows")]


def test_process_emits_once(demo: Worker, peer: Connect) -> None:
    class Twice(TableInOutGenerator[None]):
        @classmethod
        def process(cls, params: Any, state: None, batch: RecordBatch, out: ExchangeCollector) -> None:
            out.emit(batch)
            out.emit(batch)

    class Ends(TableInOutGenerator[None]):
        @classmethod
        def process(cls, params: Any, state: None, batch: RecordBatch, out: ExchangeCollector) -> None:
            out.finish()

    demo.add(Twice)
    demo.add(Ends)
    served = peer(demo)
    with pytest.raises(RemoteFailure, match="Only one data batch may be emitted per call"):
        call(served, "twice")
    with pytest.raises(RemoteFailure, match=r"finish\(\) is not allowed on exchange streams"):
        call(served, "ends")


def test_parameters_of_hooks_go_by_name(demo: Worker, peer: Connect) -> None:
    class Reordered(TableInOutGenerator[None]):
        @classmethod
        def process(cls, out: ExchangeCollector, batch: RecordBatch) -> None:
            out.emit(batch)

    class Positional(TableInOutFunction[None]):
        @classmethod
        def transform(cls, b: RecordBatch, p: Any, s: None) -> RecordBatch:
            return b

    class Wrong(TableInOutFunction[None]):
        @classmethod
        def transform(cls, b: RecordBatch, p: Any) -> RecordBatch:
            return b

    demo.add(Reordered)
    demo.add(Positional)
    served = peer(demo)
    assert values(call(served, "reordered")) == ROWS
    assert values(call(served, "positional")) == ROWS
    with pytest.raises(
        DefinitionError, match=r"transform takes \(batch, params, state\), but the method takes \(b, p\)"
    ):
        Worker("bad", functions=[Wrong])


@pytest.mark.parametrize("ids", [[0], [1], [1, 0], [0, 1]])
def test_projection(demo: Worker, peer: Connect, ids: list[int]) -> None:
    @demo.table_in_out(projection_pushdown=True)
    def narrow(data: TableInput, wanted: Projection) -> TableInput:
        assert wanted == [list(NUMBERS)[one] for one in ids]
        return data

    answer = values(call(peer(demo), "narrow", projection=ids))
    assert answer == [{name: batch[name] for name in (list(NUMBERS)[one] for one in ids)} for batch in ROWS]


def test_columns_are_found_by_name_where_the_order_differs(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out(columns={"a": "int64", "b": "int64"}, projection_pushdown=True)
    def swapped(data: TableInput) -> Any:
        return RecordBatch.from_pydict(Schema.of({"b": "int64", "a": "int64"}), {"b": [2], "a": [1]})

    served = peer(demo)
    assert values(call(served, "swapped"))[0] == {"a": [1], "b": [2]}
    assert values(call(served, "swapped", projection=[1]))[0] == {"b": [2]}


def test_duplicated_column_names_pass_by_position(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out(projection_pushdown=True)
    def same(data: TableInput) -> TableInput:
        return data

    served = peer(demo)
    schema = Schema.parse("x: int64, x: utf8")
    given = RecordBatch(schema, [Array.from_pylist([1], "int64"), Array.from_pylist(["a"], "utf8")])
    bind_call = served.bind_request("same", columns=schema)  # type: ignore[arg-type]
    for ids, expected in ((None, [[1], ["a"]]), ([1], [["a"]])):
        data = served.init_request(bind_call, phase="INPUT", projection_ids=ids) + encode_stream(schema, [given])
        _, answer = served.exchange(data)
        ((batch, _),) = answer.checked().batches
        assert [column.to_pylist() for column in batch.columns] == expected


def test_metadata_of_an_input_is_not_echoed(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out(cache_control={"ttl": 5})
    def same(data: TableInput) -> TableInput:
        return data

    answer = call(peer(demo), "same", metadata={b"vgi.cache.if_none_match": b"x"})
    assert [metadata for _, metadata in answer.batches] == [
        {b"vgi.cache.ttl": b"5", b"vgi.cache.scope": b"catalog"}
    ] * 3


def test_errors_and_logs(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out
    def fails(data: TableInput, log: ClientLog) -> TableInput:
        log("INFO", f"{data.num_rows} rows")
        if data.num_rows > 2:
            raise RuntimeError("too many")
        return data

    with pytest.raises(RemoteFailure, match="RuntimeError: too many"):
        call(peer(demo), "fails")
    assert call(peer(demo), "fails", rows=ROWS[:1]).logs == [("INFO", "2 rows")]


def test_cancelling(demo: Worker, peer: Connect) -> None:
    cancelled = []

    class Patient(TableInOutGenerator[None]):
        @classmethod
        def process(cls, out: ExchangeCollector, batch: RecordBatch) -> None:
            out.emit(batch)

        @classmethod
        def on_cancel(cls, params: ProcessParams[None], state: None) -> None:
            cancelled.append(params.execution_id)

    demo.add(Patient)
    answer = call(peer(demo), "patient", metadata={keys.CANCEL: b"1"})
    assert answer.batches == []
    assert len(cancelled) == 1


def test_finalizing_what_was_not_read_here(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out(finish=lambda: {"n": [1], "name": ["x"]})
    def finishing(data: TableInput) -> None:
        return None

    served = peer(demo)
    assert both_phases(served, "finishing") == ([[], [], []], [[1]])
    bind_call = served.bind_request("finishing", columns=NUMBERS)
    data = served.init_request(bind_call, phase="FINALIZE", execution_id=b"unknown") + tick_stream(1)
    with pytest.raises(RemoteFailure, match="its input was not read on this connection"):
        served.exchange(data)[0].checked()
    data = served.init_request(bind_call, phase="TABLE_BUFFERING")
    with pytest.raises(RemoteFailure, match="has no phase 'TABLE_BUFFERING'"):
        served.exchange(data)[0].checked()


def test_flags(demo: Worker, peer: Connect) -> None:
    demo.table_in_out(name="plain")(lambda_of("data: TableInput"))
    demo.table_in_out(name="forced", has_finalize=True, max_workers=1)(lambda_of("data: TableInput"))
    served = peer(demo)
    plain, forced = info(served, "plain"), info(served, "forced")
    assert (plain["function_type"], plain["has_finalize"], plain["max_workers"]) == ("TABLE", False, None)
    assert (forced["has_finalize"], forced["max_workers"], forced["input_from_args"]) == (True, 1, False)


def lambda_of(parameters: str) -> Any:
    space: dict[str, Any] = {**globals()}
    exec(f"def made({parameters}): return None", space)
    return space["made"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("a: TableInput, b: TableInput", "more than one parameter takes a table"),
        ("a: int", "has no parameter for its table"),
        ("a: TableInput = None", "the table is a positional argument without default"),
        ("*, a: TableInput", "the table is a positional argument without default"),
        ("a: Int64, b: TableInput", "is a column, but arguments of a table function are constants"),
    ],
)
def test_mistakes(parameters: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        table_in_out(lambda_of(parameters))


# -- row transforms -------------------------------------------------------------------------------


def test_row_transform(demo: Worker, peer: Connect) -> None:
    @demo.row_transform(columns={"text": "utf8"})
    def label(n: Int64, name: Utf8, *, prefix: str = "") -> dict[str, Any]:
        return {"text": [None if number is None else f"{prefix}{number}" for number in n.tolist()]}

    served = peer(demo)
    answer = call(served, "label", named={"prefix": "#"})
    assert values(answer) == [{"text": ["#1", "#2"]}, {"text": []}, {"text": [None, "#4", "#5"]}]
    assert [metadata for _, metadata in answer.batches] == [{}] * 3
    listed = info(served, "label")
    assert (listed["input_from_args"], listed["has_finalize"], listed["stability"]) == (True, False, "CONSISTENT")
    assert Schema.from_bytes(listed["arguments"]).names == ["n", "name", "prefix"]
    assert Schema.from_bytes(listed["arguments"])["n"].metadata == {}
    with pytest.raises(RemoteFailure, match="got 1 columns"):
        served.bind("label", columns={"n": "int64"})


def parents(metadata: dict[bytes, bytes]) -> list[int]:
    return np.frombuffer(base64.b64decode(metadata[PARENTS]), "<i4").tolist()  # type: ignore[no-any-return]


def test_provenance(demo: Worker, peer: Connect) -> None:
    @demo.row_transform(columns={"i": "int64"})
    def explode(n: Int64) -> RowsOf:
        counts = np.ma.filled(n, 0)
        rows = [(i, row) for row, count in enumerate(counts) for i in range(count)]
        return RowsOf({"i": [i for i, _ in rows]}, [row for _, row in rows])

    rows: list[dict[str, list[Any]]] = [{"n": [2, 0, None, 1]}, {"n": [0]}]
    (one, metadata), (none, no_metadata) = call(peer(demo), "explode", columns={"n": "int64"}, rows=rows).batches
    assert one.to_pydict() == {"i": [0, 1, 0]}
    assert parents(metadata) == [0, 0, 3]
    assert (none.num_rows, no_metadata) == (0, {})


@pytest.mark.parametrize(
    ("rows", "given", "message"),
    [
        ([1, 2, 3], None, "3 output rows for 2 input rows without parent rows"),
        ([1], [2], "parent row 2 is out of range; the batch has 2 rows"),
        ([1], [-1], "parent row -1 is out of range"),
        ([1], [0, 1], "2 parent rows for 1 output rows"),
    ],
)
def test_wrong_provenance(demo: Worker, peer: Connect, rows: list[int], given: Any, message: str) -> None:
    @demo.row_transform(columns={"i": "int64"})
    def wrong(n: Int64) -> Any:
        return {"i": rows} if given is None else RowsOf({"i": rows}, given)

    with pytest.raises(RemoteFailure, match=message):
        call(peer(demo), "wrong", columns={"n": "int64"}, rows=[{"n": [1, 2]}])


def test_varargs_and_rows(demo: Worker, peer: Connect) -> None:
    @demo.row_transform(columns={"total": "float64"})
    def added(
        values: Annotated[list[Float64], Param(varargs=True)],
        rows: Annotated[int, OutputLength()],
        scale: float = 1.0,
    ) -> dict[str, Any]:
        return {"total": sum(values, np.zeros(rows)) * scale}

    served = peer(demo)
    types = {"col0": "float64", "col1": "float64"}
    rows = [{"col0": [1.0, 2.0], "col1": [0.5, 0.5]}]
    assert values(call(served, "added", columns=types, rows=rows)) == [{"total": [1.5, 2.5]}]
    assert values(call(served, "added", columns=types, rows=rows, named={"scale": 2.0})) == [{"total": [3.0, 5.0]}]
    bind_call = served.bind_request("added", columns=Schema([]))  # type: ignore[arg-type]
    data = served.init_request(bind_call, phase="INPUT")
    data += encode_stream(Schema([]), [RecordBatch(Schema([]), [], 1)])
    assert values(served.exchange(data)[1].checked()) == [{"total": [0.0]}]


def test_overloads_by_columns(demo: Worker, peer: Connect) -> None:
    for types in (Int64, Utf8):

        def kind(x: Any) -> dict[str, Any]:
            return {"k": [str(np.asarray(x).dtype)] * len(x)}

        kind.__annotations__ = {"x": types}
        demo.row_transform(columns={"k": "utf8"})(kind)
    served = peer(demo)
    assert values(call(served, "kind", columns={"x": "int64"}, rows=[{"x": [1]}])) == [{"k": ["int64"]}]
    assert values(call(served, "kind", columns={"x": "utf8"}, rows=[{"x": ["a"]}])) == [{"k": ["object"]}]


def test_columns_are_cast_to_what_is_declared(demo: Worker, peer: Connect) -> None:
    @demo.row_transform(columns={"t": "utf8"})
    def typed(x: Utf8) -> dict[str, Any]:
        return {"t": x}

    assert values(call(peer(demo), "typed", columns={"x": "large_utf8"}, rows=[{"x": ["a"]}])) == [{"t": ["a"]}]


class OneColumn(NamedTuple):
    x: Annotated[int, Arg(0)]
    times: Annotated[int, Arg("times")] = 2


class Repeating(RowTransformFunction[OneColumn]):
    """Each row several times"""

    FIXED_SCHEMA = {"x": "int64"}

    @classmethod
    def process(cls, params: ProcessParams[OneColumn], batch: RecordBatch, out: ExchangeCollector) -> None:
        x = batch.column("x").to_numpy().repeat(params.args.times)
        out.emit({"x": x}, parent_rows=np.arange(batch.num_rows).repeat(params.args.times))


def test_row_transform_class(peer: Connect) -> None:
    served = peer(Worker("demo", functions=[Repeating]))
    ((batch, metadata),) = call(served, "repeating", columns={"x": "int64"}, rows=[{"x": [7, 8]}]).batches
    assert batch.to_pydict() == {"x": [7, 7, 8, 8]}
    assert parents(metadata) == [0, 0, 1, 1]
    fields = Schema.from_bytes(info(served, "repeating")["arguments"])
    assert [(field.name, str(field.type)) for field in fields] == [("x", "int64"), ("times", "int64")]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("data: TableInput", "the arguments of a row transform are its columns"),
        ("*, n: int = 1", "has no column"),
        ("x: Int64 = 1", "cannot have a default"),
        ("x: Array", "a column of a row transform has a concrete type"),
    ],
)
def test_mistakes_of_row_transforms(parameters: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        row_transform(columns={"x": "int64"})(lambda_of(parameters))
    with pytest.raises(DefinitionError, match="has no columns to give"):
        row_transform(lambda_of("x: Int64"))


def test_row_transforms_do_not_finalize() -> None:
    class Finalizing(RowTransformFunction[OneColumn]):
        FIXED_SCHEMA = {"x": "int64"}

        @classmethod
        def process(cls, out: ExchangeCollector) -> None: ...

        @classmethod
        def finalize(cls, params: Any, state: Any) -> None: ...

    with pytest.raises(DefinitionError, match="cannot finalize"):
        Worker("bad", functions=[Finalizing])


def test_cardinality_is_nothing_by_default(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out(cardinality=lambda args: 7)
    def counted(data: TableInput) -> TableInput:
        return data

    served = peer(demo)
    bind_call = served.bind_request("counted", columns=NUMBERS)
    assert served.call("table_function_cardinality", bind_call=bind_call) == {"estimate": 7, "max": 7}
