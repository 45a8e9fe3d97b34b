"""Functions that write: what they are given, what they may answer, and how a statement ends."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import pytest

from tests.fix_memory import Peer, RemoteFailure, Stream
from vgi_fast import Arg, BindParams, DefinitionError, RecordBatch, Schema, TableWriteFunction, Worker
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import encode_row, encode_stream

Connect = Callable[..., Peer]

COLUMNS = {"id": "int64", "name": "utf8"}
EVENTS: list[str] = []


class Target(NamedTuple):
    table: Annotated[str, Arg(0)]
    mode: Annotated[str, Arg("mode")] = "count"


class Record(TableWriteFunction[Target, list[int]]):
    """Writes into EVENTS."""

    @classmethod
    def initial_state(cls, params: Any) -> list[int]:
        EVENTS[:] = [f"{params.args.table}: start"]
        return []

    @classmethod
    def process(cls, params: Any, state: list[int], rows: RecordBatch) -> Any:
        EVENTS.append(f"rows {rows.num_rows}")
        mode = params.args.mode
        if mode == "fail":
            raise ValueError("no room")
        if mode == "chunks":
            return pa.table({"id": pa.chunked_array([[1], [2]]), "name": pa.chunked_array([["a"], ["b"]])})
        if mode == "rows" or (params.write_options.return_chunks and mode != "number"):
            return rows.to_pydict()
        return rows.num_rows

    @classmethod
    def on_finish(cls, params: Any, state: list[int]) -> None:
        EVENTS.append("finish")
        if params.args.mode == "late":
            raise ValueError("not kept")

    @classmethod
    def on_abort(cls, params: Any, state: list[int]) -> None:
        EVENTS.append("abort")


class Plain(TableWriteFunction[None]):
    @classmethod
    def process(cls, params: Any, state: None, rows: RecordBatch) -> int:
        assert state is None
        return 2 * rows.num_rows


@pytest.fixture
def served(peer: Connect) -> Peer:
    return peer(Worker("w", functions=[Record, Plain]))


def options(returning: bool = False) -> bytes:
    schema = Schema.parse("return_chunks: bool, on_conflict: utf8, on_conflict_columns: list<utf8>, later: int64")
    row = {"return_chunks": returning, "on_conflict": "nothing", "on_conflict_columns": ["id"], "later": 1}
    return encode_row(schema, row)


def rows(*, cancelled: bool = False) -> bytes:
    schema = Schema.of(COLUMNS)
    batch = RecordBatch.from_pydict(schema, {"id": [0, 1], "name": ["x", "x"]})
    last = RecordBatch.from_pydict(schema, {"id": [], "name": []}).with_metadata({keys.CANCEL: b"1"})
    return encode_stream(schema, [batch, batch, *([last] if cancelled else [])])


def write(
    served: Peer,
    name: str = "record",
    *arguments: Any,
    mode: str | None = None,
    returning: bool = False,
    data: bytes | None = None,
    **init: Any,
) -> Stream:
    named = {"write_options": options(returning), **({"mode": mode} if mode else {})}
    bind_call = served.bind_request(name, *(arguments or ("t",) * (name == "record")), columns=COLUMNS, named=named)
    sent = served.init_request(bind_call, **{"phase": "INPUT", **init}) + (rows() if data is None else data)
    header, *rest = served.exchange(sent)
    header.checked()
    return rest[0]


def test_each_batch_is_answered_by_its_number(served: Peer) -> None:
    answer = write(served).checked()
    assert (str(answer.schema.field("count").type), answer.schema.field("count").nullable) == ("int64", False)
    assert answer.rows() == {"count": [2, 2]}
    assert EVENTS == ["t: start", "rows 2", "rows 2", "finish"]


def test_hooks_may_be_left_out(served: Peer) -> None:
    assert write(served, "plain").checked().rows() == {"count": [4, 4]}


def test_returning_has_the_columns_of_an_insert(served: Peer) -> None:
    answer = write(served, returning=True).checked()
    assert answer.schema.names == ["id", "name"]
    assert answer.rows() == {"id": [0, 1, 0, 1], "name": ["x"] * 4}


def test_no_rows_at_all(served: Peer) -> None:
    assert write(served, data=encode_stream(Schema.of(COLUMNS), [])).checked().rows() == {"count": []}
    assert EVENTS == ["t: start", "finish"]


@pytest.mark.parametrize(
    ("mode", "returning", "message", "last"),
    [
        ("fail", False, "ValueError: no room", ["rows 2", "abort"]),
        ("late", False, "ValueError: not kept", ["finish", "abort"]),
        ("number", True, r"RETURNING wants the rows \(\['id', 'name'\]\), got the number 2", ["rows 2", "abort"]),
        ("chunks", True, "each batch is answered by one, got a table of 2 chunks", ["rows 2", "abort"]),
        ("rows", False, "lacks column 'count'", ["rows 2", "abort"]),
    ],
)
def test_what_fails_is_aborted(served: Peer, mode: str, returning: bool, message: str, last: list[str]) -> None:
    with pytest.raises(RemoteFailure, match=message):
        write(served, mode=mode, returning=returning).checked()
    assert EVENTS[-2:] == last


def test_a_client_that_leaves_or_cancels_finishes_nothing(served: Peer) -> None:
    write(served, data=rows()[:-8])
    assert EVENTS[-1] == "abort"
    write(served, data=rows(cancelled=True))
    assert EVENTS[-1] == "abort"


def test_the_phase_is_input(served: Peer) -> None:
    with pytest.raises(RemoteFailure, match="has no phase 'FINALIZE'"):
        write(served, phase="FINALIZE")
    with pytest.raises(RemoteFailure, match="has no phase"):
        write(served, phase=None)


def test_input_is_needed(served: Peer) -> None:
    with pytest.raises(RemoteFailure, match="write function 'record' .* needs input rows"):
        served.bind("record", "t")


def test_write_options_are_read_by_name(served: Peer) -> None:
    found: list[Any] = []

    class Look(TableWriteFunction[None]):
        @classmethod
        def on_bind(cls, params: BindParams[None]) -> str:
            found.append(params.write_options)
            return "count: int64"

        @classmethod
        def process(cls, params: Any, state: None, rows: RecordBatch) -> int:
            return 0

    other = Peer(Worker("w", functions=[Look]))
    other.bind("look", columns=COLUMNS, named={"write_options": options(True)})
    assert (found[0].return_chunks, found[0].on_conflict, found[0].on_conflict_columns) == (True, "nothing", ["id"])
    other.bind("look", columns=COLUMNS)
    assert (found[1].return_chunks, found[1].on_conflict, found[1].on_conflict_columns) == (False, "throw", [])


def test_it_is_listed_as_a_table_function(served: Peer) -> None:
    record, _ = served.functions("TABLE_FUNCTION")
    assert (record["name"], record["description"], record["has_finalize"]) == ("record", "Writes into EVENTS.", False)
    arguments = pa.ipc.read_schema(pa.py_buffer(record["arguments"]))
    assert arguments.names == ["table", "mode", "write_options"]


def test_a_class_without_process_is_refused() -> None:
    class Nothing(TableWriteFunction[None]):
        pass

    with pytest.raises(DefinitionError, match="the class has no method 'process'"):
        Worker("w", functions=[Nothing])
