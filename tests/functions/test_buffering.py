"""Table-buffering functions in every form, and what keeps their batches between the phases."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import pytest

from tests.fix_memory import Peer, RemoteFailure, Stream, request, tick_stream
from tests.generators import random_array
from vgi_fast import (
    Arg,
    BindParams,
    BufferingParams,
    ClientLog,
    DefinitionError,
    InitParams,
    OutputCollector,
    RecordBatch,
    Schema,
    TableBufferingFunction,
    TableInput,
    Worker,
)
from vgi_fast.storage import use_storage
from vgi_fast.storage.base import Storage
from vgi_fast.storage.mapped import MappedStorage
from vgi_fast.storage.memory import MemoryStorage
from vgi_fast.wire import records
from vgi_fast.wire.arrow import encode_stream

Connect = Callable[..., Peer]
NUMBERS = {"n": "int64", "name": "utf8"}
ROWS: list[dict[str, list[Any]]] = [
    {"n": [1, 2], "name": ["a", None]},
    {"n": [], "name": []},
    {"n": [None, 4, 5], "name": ["c", "d", "e"]},
]


@pytest.fixture(params=["mapped", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    made: Storage = MemoryStorage() if request.param == "memory" else MappedStorage(str(tmp_path / "run"))
    use_storage(made)
    yield made
    use_storage(None)
    made.close()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Path]:
    """Directory of the storage in files."""
    made = MappedStorage(str(tmp_path / "run"))
    use_storage(made)
    yield tmp_path / "run"
    use_storage(None)
    made.close()


class Execution:
    """One execution, each call on a connection of its own unless ``together``."""

    def __init__(
        self, peer: Peer, name: str, *arguments: Any, columns: Any = None, projection: Any = None, **named: Any
    ) -> None:
        self.peer = peer
        self.name = name
        self.schema = Schema.of(columns or NUMBERS)
        self.bind_call = peer.bind_request(name, *arguments, columns=columns or NUMBERS, named=named)
        self.projection = projection
        header, output = peer.exchange(self.init(None))
        header.checked()
        assert output.checked().batches == []
        self.execution_id = header.batches[0][0].column("execution_id")[0].as_py()

    def init(self, execution_id: bytes | None) -> bytes:
        return self.peer.init_request(
            self.bind_call, phase="TABLE_BUFFERING", execution_id=execution_id, projection_ids=self.projection
        ) + encode_stream(self.schema, [])

    def process_request(self, batch: Any, batch_index: int | None = None, **more: Any) -> bytes:
        own = batch if isinstance(batch, RecordBatch) else RecordBatch.from_pydict(self.schema, batch)
        values = self.fields(input_batch=encode_stream(own.schema, [own]), batch_index=batch_index) | more
        blob = records.TABLE_BUFFERING_PROCESS_REQUEST.encode(values)
        return request("table_buffering_process", {"request": blob}, request_id=os.urandom(4))

    def fields(self, **more: Any) -> dict[str, Any]:
        return {
            "function_name": self.name,
            "execution_id": self.execution_id,
            "attach_opaque_data": self.peer.attach_data,
            "schema_name": "main",
            **more,
        }

    def process(self, batches: list[Any], indexes: list[int] | None = None) -> list[bytes]:
        """On one connection, after a secondary init."""
        data = self.init(self.execution_id)
        for number, batch in enumerate(batches):
            data += self.process_request(batch, indexes[number] if indexes else None)
        _, _, *answers = self.peer.exchange(data)
        decode = records.TABLE_BUFFERING_PROCESS_RESPONSE.decode
        self.logs = [log for answer in answers for log in answer.logs]
        return [decode(answer.checked().batches[0][0].column(0)[0].as_py())["state_id"] for answer in answers]

    def combine(self, state_ids: list[bytes] = []) -> list[bytes]:  # noqa: B006
        answer = self.peer.call("table_buffering_combine", **self.fields(state_ids=state_ids))
        found: list[bytes] = answer["finalize_state_ids"]
        return found

    def source(self, finalize_state_id: bytes | None, ticks: bytes | None = None) -> Stream:
        data = self.peer.init_request(
            self.bind_call,
            phase="TABLE_BUFFERING_FINALIZE",
            execution_id=self.execution_id,
            finalize_state_id=finalize_state_id,
            projection_ids=self.projection,
        )
        header, *rest = self.peer.exchange(data + (tick_stream(30) if ticks is None else ticks))
        header.checked()
        return rest[0].checked()

    def rows(self) -> dict[str, list[Any]]:
        """Everything that all ids give."""
        streams = [self.source(one) for one in self.combine([self.execution_id])]
        tables = [pa.Table.from_batches([batch for batch, _ in one.batches], schema=one.schema) for one in streams]
        return pa.concat_tables(tables).to_pydict() if tables else {}

    def destroy(self) -> None:
        self.peer.call("table_buffering_destructor", **self.fields())


class Collect(TableBufferingFunction[None]):
    """Gives the table when all of it was read"""


class Ordered(TableBufferingFunction[None]):
    class Meta:
        requires_input_batch_index = True


class Narrow(TableBufferingFunction[None]):
    class Meta:
        projection_pushdown = True


ALL: dict[str, list[Any]] = {"n": [1, 2, None, 4, 5], "name": ["a", None, "c", "d", "e"]}


def test_batches_are_given_again(storage: Storage, peer: Connect) -> None:
    execution = Execution(peer(Worker("demo", functions=[Collect])), "collect")
    assert execution.process(ROWS) == [execution.execution_id] * 3
    assert execution.rows() == ALL
    assert execution.rows() == ALL  # reading leaves everything as it is
    execution.destroy()
    with pytest.raises(RemoteFailure, match=f"unknown execution_id {execution.execution_id.hex()}"):
        execution.combine()
    execution.destroy()


def test_several_sinks(storage: Storage, peer: Connect) -> None:
    execution = Execution(peer(Worker("demo", functions=[Collect])), "collect")
    for _ in range(3):
        execution.process(ROWS)
    rows = execution.rows()
    assert sorted(rows["n"], key=str) == sorted(ALL["n"] * 3, key=str)
    execution.destroy()


def test_each_sink_is_a_source(files: Path, peer: Connect) -> None:
    served = peer(Worker("demo", functions=[Collect]))
    execution = Execution(served, "collect")
    for _ in range(3):
        execution.process(ROWS)
    ids = execution.combine()
    assert len(set(ids)) == 3
    assert [execution.source(one).rows() for one in ids] == [ALL] * 3
    assert execution.source(execution.execution_id).rows() == {name: values * 3 for name, values in ALL.items()}
    for bad in (b"../../etc/passwd", b"", b"spool-in-0"):
        with pytest.raises(RemoteFailure, match="nothing was kept under the finalize_state_id"):
            execution.source(bad)
    with pytest.raises(RemoteFailure, match="requires finalize_state_id"):
        execution.source(None)
    assert list(files.iterdir())
    execution.destroy()
    assert list(files.iterdir()) == []


def test_no_rows_no_ids(storage: Storage, peer: Connect) -> None:
    execution = Execution(peer(Worker("demo", functions=[Collect])), "collect")
    assert execution.rows() in ({}, {"n": [], "name": []})
    execution.destroy()


@pytest.mark.parametrize("ids", [[0], [1], [1, 0]])
def test_projection(storage: Storage, peer: Connect, ids: list[int]) -> None:
    execution = Execution(peer(Worker("demo", functions=[Narrow])), "narrow", projection=ids)
    execution.process(ROWS)
    assert execution.rows() == {name: ALL[name] for name in (list(ALL)[one] for one in ids)}
    execution.destroy()


def test_order_by_batch_index(storage: Storage, peer: Connect) -> None:
    execution = Execution(peer(Worker("demo", functions=[Ordered])), "ordered", columns={"n": "int64"})
    execution.process([{"n": [4]}, {"n": [1, 2]}], [30, 10])
    execution.process([{"n": [3]}, {"n": [5, 6]}, {"n": [7]}], [20, 40, 40])
    assert execution.rows() == {"n": [1, 2, 3, 4, 5, 6, 7]}
    with pytest.raises(RemoteFailure, match="without its batch_index"):
        execution.process([{"n": [1]}])
    execution.destroy()


LARGE = [
    {"n": "int64", "name": "utf8"},
    {"n": "int64", "name": "binary"},
    {"n": "int8", "name": "float64"},
    {"n": "bool", "name": "utf8"},
    {"n": "list<int64>", "name": "large_utf8"},
    {"n": "dictionary<int16, utf8>", "name": "int64"},
    {"n": "decimal128(10, 2)", "name": "struct<a: int64>"},
]


@pytest.mark.parametrize("types", LARGE, ids=lambda types: "-".join(types.values()))
def test_what_comes_out_is_what_went_in(storage: Storage, peer: Connect, types: dict[str, str]) -> None:
    """Small batches are joined; neither nulls nor odd sizes nor sliced texts may get lost."""
    rng = Random(7)
    sizes = [2048, 2048, 3, 8, 0, 5, 2048, 64, 64, 9000, 1, 1]
    execution = Execution(peer(Worker("demo", functions=[Collect])), "collect", columns=types)
    arrow = pa.schema(Schema.of(types))
    batches = [
        pa.RecordBatch.from_arrays([random_array(rng, field.type, size) for field in arrow], schema=arrow)
        for size in sizes
    ]
    execution.process([RecordBatch.from_arrow(batch) for batch in batches])
    (finalize_state_id,) = execution.combine()
    answer = execution.source(finalize_state_id)
    found = pa.Table.from_batches([batch for batch, _ in answer.batches], schema=answer.schema)
    for batch, _ in answer.batches:
        batch.validate(full=True)
    assert found.to_pylist() == pa.Table.from_batches(batches).to_pylist()
    execution.destroy()


def test_other_types_than_bound_are_cast(storage: Storage, peer: Connect) -> None:
    execution = Execution(peer(Worker("demo", functions=[Collect])), "collect", columns={"n": "int64", "t": "utf8"})
    other = Schema.parse("n: int32, t: large_utf8")
    swapped = Schema.parse("t: utf8, n: int64")
    execution.process(
        [
            {"n": [1], "t": ["a"]},
            RecordBatch.from_pydict(other, {"n": [2], "t": ["b"]}),
            RecordBatch.from_pydict(swapped, {"n": [3], "t": ["c"]}),
            {"n": [4], "t": ["d"]},
        ]
    )
    assert execution.rows() == {"n": [1, 2, 3, 4], "t": ["a", "b", "c", "d"]}
    with pytest.raises(RemoteFailure, match="Input schema mismatch"):
        execution.process([RecordBatch.from_pydict(Schema.parse("x: int64"), {"x": [1]})])
    execution.destroy()


def test_calls_of_another_execution_in_between(storage: Storage, peer: Connect) -> None:
    served = peer(Worker("demo", functions=[Collect, Ordered]))
    one, two = Execution(served, "collect"), Execution(served, "collect")
    data = b"".join(execution.process_request(batch) for batch in ROWS for execution in (one, one, two))
    for answer in served.exchange(data):
        answer.checked()
    assert sorted(one.rows()["n"], key=str) == sorted(ALL["n"] * 2, key=str)
    assert two.rows() == ALL
    wrong = one.process_request(ROWS[0], function_name="ordered")
    with pytest.raises(RemoteFailure, match="is one of 'collect', not of 'ordered'"):
        served.exchange(one.process_request(ROWS[0]) + wrong)[1].checked()
    one.destroy()
    two.destroy()


@pytest.mark.parametrize("bad", [b"", b"\0", b"\xff" * 40, encode_stream(Schema.of(NUMBERS), [])])
def test_hostile_batches(storage: Storage, peer: Connect, bad: bytes) -> None:
    served = peer(Worker("demo", functions=[Collect]))
    execution = Execution(served, "collect")
    good = execution.process_request(ROWS[0])
    answers = served.exchange(good + good + execution.process_request(ROWS[0], input_batch=bad) + good)
    assert [answer.error is None for answer in answers] == [True, True, False, True]
    assert execution.rows() == {"n": [1, 2] * 3, "name": ["a", None] * 3}
    execution.destroy()


def test_cut_off_spool(files: Path, peer: Connect) -> None:
    """What a killed process left behind is an error, not a wrong answer."""
    execution = Execution(peer(Worker("demo", functions=[Collect])), "collect")
    execution.process(ROWS)
    (spool,) = files.rglob("spool-in-*")
    whole = spool.read_bytes()
    for size in (8, 31, 40, len(whole) - 8):
        spool.write_bytes(whole[:size])
        with pytest.raises(RemoteFailure, match="StorageError: the spool is damaged"):
            execution.source(execution.execution_id)
    execution.destroy()


# -- author's phases ------------------------------------------------------------------------------


class SumArguments(NamedTuple):
    scale: Annotated[int, Arg(0)]
    data: Annotated[TableInput, Arg(1)]
    parts: Annotated[int, Arg("parts", ge=1)] = 1


class Sums(TableBufferingFunction[SumArguments, list[int]]):
    """Sum of the first column, in parts"""

    @classmethod
    def on_bind(cls, params: BindParams[SumArguments]) -> dict[str, str]:
        return {"part": "int64", "total": "int64"}

    @classmethod
    def on_init(cls, params: InitParams[SumArguments]) -> None:
        params.storage.counter_set(b"s", b"inits", 1)

    @classmethod
    def process(cls, batch: pa.RecordBatch, params: BufferingParams[SumArguments]) -> bytes:
        total = sum(value or 0 for value in batch.column(0).to_pylist()) * params.args.scale
        params.storage.counter_add(b"s", b"total", total)
        params.client_log("INFO", f"{batch.num_rows} rows")
        return b"%d" % batch.num_rows

    @classmethod
    def combine(cls, state_ids: list[bytes], params: BufferingParams[SumArguments]) -> list[bytes]:
        params.storage.state_put(b"s", b"ids", b",".join(state_ids))
        return [b"%d" % part for part in range(params.args.parts)]

    @classmethod
    def initial_finalize_state(cls, fid: bytes, params: BufferingParams[SumArguments]) -> list[int]:
        return [0]

    @classmethod
    def finalize(
        cls, params: BufferingParams[SumArguments], fid: bytes, state: list[int], out: OutputCollector
    ) -> None:
        if state[0] == 2:
            out.finish()
            return
        state[0] += 1
        assert params.storage.counter_get(b"s", b"inits") == 1
        out.emit({"part": [int(fid)], "total": [params.storage.counter_get(b"s", b"total")]})

    @classmethod
    def on_cancel(cls, params: BufferingParams[SumArguments], fid: bytes, state: list[int]) -> None:
        params.storage.state_put(b"s", b"cancelled", fid + b"%d" % state[0])


def test_phases_of_a_class(storage: Storage, peer: Connect) -> None:
    execution = Execution(peer(Worker("demo", functions=[Sums])), "sums", 10, parts=2)
    assert execution.process(ROWS) == [b"2", b"0", b"3"]
    assert execution.logs == [("INFO", "2 rows"), ("INFO", "0 rows"), ("INFO", "3 rows")]
    assert execution.rows() == {"part": [0, 0, 1, 1], "total": [120] * 4}
    execution.source(b"7", tick_stream(1, cancel_after=1))
    from vgi_fast.storage import BoundStorage

    assert BoundStorage(storage, execution.execution_id).state_get(b"s", b"cancelled") == b"71"
    execution.destroy()


def test_plain_functions(storage: Storage, peer: Connect) -> None:
    worker = Worker("demo")

    @worker.table_buffering(columns={"rows": "int64"})
    def count(batches: Iterator[TableInput], log: ClientLog, *, plus: int = 0) -> Iterator[dict[str, Any]]:
        log("INFO", "counting")
        yield {"rows": [sum(batch.num_rows for batch in batches) + plus]}
        yield {"rows": [-1]}

    @worker.table_buffering
    def backwards(data: pa.Table) -> pa.Table:
        return data.take(list(range(data.num_rows - 1, -1, -1)))

    @worker.table_buffering(columns={"least": "int64"})
    def least(data: dict[str, Any]) -> dict[str, Any]:
        return {"least": [data["n"].min()]}

    served = peer(worker)
    for name, named, expected in (
        ("count", {"plus": 10}, {"rows": [15, -1]}),
        ("backwards", {}, {column: values[::-1] for column, values in ALL.items()}),
        ("least", {}, {"least": [1]}),
    ):
        execution = Execution(served, name, **named)
        execution.process(ROWS)
        assert execution.rows() == expected
        execution.destroy()


def test_kept_batches(storage: Storage, peer: Connect) -> None:
    class Odd(TableBufferingFunction[None]):
        @classmethod
        def process(cls, batch: RecordBatch, params: BufferingParams[None]) -> bytes:
            if batch.num_rows % 2:
                params.keep(batch)
            return b"x"

        @classmethod
        def finalize(cls, params: BufferingParams[None]) -> Iterator[Any]:
            yield from params.batches()

    execution = Execution(peer(Worker("demo", functions=[Odd])), "odd")
    execution.process(ROWS)
    assert execution.rows() == ROWS[2]
    execution.destroy()


@pytest.mark.parametrize(
    ("hook", "value", "message"),
    [
        ("process", "text", r"Bad.process\(\) returned str; must return bytes \(the opaque state_id\)"),
        ("combine", b"id", r"Bad.combine\(\) returned bytes; must return a list of bytes"),
        ("combine", [b"a", 1], r"Bad.combine\(\) returned non-bytes finalize_state_id at index 1: int"),
    ],
)
def test_wrong_answers_of_hooks(storage: Storage, peer: Connect, hook: str, value: Any, message: str) -> None:
    class Bad(TableBufferingFunction[None]):
        pass

    Bad.process = classmethod(lambda cls, batch, params: value if hook == "process" else b"")  # type: ignore
    Bad.combine = classmethod(lambda cls, state_ids, params: value if hook == "combine" else [])  # type: ignore
    execution = Execution(peer(Worker("demo", functions=[Bad])), "bad")
    with pytest.raises(RemoteFailure, match=message):
        execution.process(ROWS)
        execution.combine()
    execution.destroy()


def test_published_flags(peer: Connect) -> None:
    class Serial(TableBufferingFunction[None]):
        class Meta:
            sink_order_dependent = True
            source_order_dependent = True

    served = peer(Worker("demo", functions=[Collect, Ordered, Serial]))
    flags = ("sink_order_dependent", "source_order_dependent", "requires_input_batch_index")
    found = {one["name"]: one for one in served.functions("TABLE_FUNCTION")}
    assert {one["function_type"] for one in found.values()} == {"TABLE_BUFFERING"}
    assert all(one["has_finalize"] for one in found.values())
    assert {name: [one[flag] for flag in flags] for name, one in found.items()} == {
        "collect": [False, False, False],
        "ordered": [False, False, True],
        "serial": [True, True, False],
    }


def test_orders_that_exclude_each_other() -> None:
    class Both(TableBufferingFunction[None]):
        class Meta:
            sink_order_dependent = True
            requires_input_batch_index = True

    with pytest.raises(DefinitionError, match="mutually exclusive"):
        Worker("bad", functions=[Both])


def test_secondaries_know_the_execution(storage: Storage, peer: Connect) -> None:
    execution = Execution(peer(Worker("demo", functions=[Collect])), "collect")
    with pytest.raises(RemoteFailure, match="unknown execution_id"):
        execution.peer.exchange(execution.init(b"somebody else's"))[0].checked()
