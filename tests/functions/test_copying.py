"""COPY formats: readers and writers in every form, and the Arrow IPC format."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import pytest

from tests.fix_memory import Peer, RemoteFailure, request, tick_stream
from vgi_fast import (
    Arg,
    BufferingParams,
    CopyFromFunction,
    CopyToFunction,
    DefinitionError,
    OutputCollector,
    ProcessParams,
    RecordBatch,
    Schema,
    Worker,
    copy_from,
    copy_to,
    replacing,
)
from vgi_fast.formats import arrow_ipc
from vgi_fast.storage import use_storage
from vgi_fast.storage.mapped import MappedStorage
from vgi_fast.wire import records
from vgi_fast.wire.arrow import encode_stream

Connect = Callable[..., Peer]
TYPES = {"n": "int64", "name": "utf8"}
ROWS: dict[str, list[Any]] = {"n": [1, None, 3], "name": ["a", "b", None]}


@pytest.fixture(autouse=True)
def state(tmp_path: Path) -> Iterator[Path]:
    made = MappedStorage(str(tmp_path / "run"))
    use_storage(made)
    yield tmp_path / "run"
    use_storage(None)
    made.close()


def read(peer: Peer, handler: str, path: Path | str, types: Any = None, **named: Any) -> dict[str, list[Any]]:
    copy = {"format": "f", "file_path": str(path), "expected_schema": Schema.of(types or TYPES).serialize()}
    bind_call = peer.bind_request(handler, named=named, copy_from=copy, schema_name=None)
    header, answer = peer.exchange(peer.init_request(bind_call) + tick_stream(99))
    header.checked()
    return answer.checked().rows()


def write(peer: Peer, handler: str, path: Path | str, batches: list[Any], types: Any = None, **named: Any) -> None:
    """Each batch by another process, as far as the worker can tell."""
    schema = Schema.of(types or TYPES)
    copy = {"format": "f", "file_path": str(path)}
    bind_call = peer.bind_request(handler, columns=types or TYPES, named=named, copy_to=copy, schema_name=None)
    bound = peer.bind_blob(bind_call)
    assert len(Schema.from_bytes(bound["output_schema"])) == 0

    def init(execution_id: bytes | None) -> bytes:
        return peer.init_request(bind_call, phase="TABLE_BUFFERING", execution_id=execution_id) + encode_stream(
            schema, []
        )

    header, output = peer.exchange(init(None))
    header.checked()
    output.checked()
    execution_id = header.batches[0][0].column("execution_id")[0].as_py()
    fields = {"function_name": handler, "execution_id": execution_id, "attach_opaque_data": peer.attach_data}
    try:
        for rows in batches:
            batch = RecordBatch.from_pydict(schema, rows)
            values = {**fields, "input_batch": encode_stream(schema, [batch])}
            blob = records.TABLE_BUFFERING_PROCESS_REQUEST.encode(values)
            for answer in peer.exchange(init(execution_id) + request("table_buffering_process", {"request": blob})):
                answer.checked()
        answer = peer.call("table_buffering_combine", **fields, state_ids=[execution_id] if batches else [])
        assert answer == {"finalize_state_ids": []}
    finally:
        peer.call("table_buffering_destructor", **fields)


def formats(peer: Peer) -> dict[str, dict[str, Any]]:
    return {one["format_name"]: one for one in peer.call("catalog_copy_from_formats")}


@pytest.fixture
def lines() -> Worker:
    worker = Worker("demo")

    @worker.copy_from("lines", name="lines_file", comment="Lines", tags={"a": "b"})
    def read_lines(path: str, schema: Schema, *, delimiter: str = ",", skip: int = 0) -> Iterator[dict[str, Any]]:
        """Lines of text"""
        with open(path, encoding="utf-8") as file:
            for line in file.readlines()[skip:]:
                cells = line.rstrip("\n").split(delimiter)
                values = [
                    int(cell) if type.kind == "int64" else cell for cell, type in zip(cells, schema.types, strict=True)
                ]
                yield {name: [value] for name, value in zip(schema.names, values, strict=True)}

    @worker.copy_to("lines", name="lines_file", sink_order_dependent=True)
    def write_lines(
        batches: Iterator[pa.RecordBatch], path: str, *, delimiter: str = ",", header: bool = False
    ) -> None:
        with replacing(path) as name, open(name, "w", encoding="utf-8") as file:
            if header:
                file.write("header\n")
            for batch in batches:
                file.writelines(delimiter.join(map(str, row.values())) + "\n" for row in batch.to_pylist())

    return worker


def test_functions(lines: Worker, peer: Connect, tmp_path: Path, state: Path) -> None:
    served, path = peer(lines), tmp_path / "x.txt"
    rows = [{"n": [1, 2], "name": ["a", "b"]}, {"n": [3], "name": ["c"]}]
    write(served, "lines_file", path, rows)
    assert path.read_text() == "1,a\n2,b\n3,c\n"
    assert read(served, "lines_file", path) == {"n": [1, 2, 3], "name": ["a", "b", "c"]}
    write(served, "lines_file", path, [], header=True, delimiter=";")
    assert path.read_text() == "header\n"
    assert read(served, "lines_file", path, skip=1) == {"n": [], "name": []}
    assert list(state.iterdir()) == []


def test_listing(lines: Worker, peer: Connect) -> None:
    lines.add(Reader)
    found = formats(peer(lines))
    assert set(found) == {"lines", "given"}
    both = found["lines"]
    assert (both["direction"], both["handler"], both["ordered"], both["comment"]) == (
        "both",
        "lines_file",
        True,
        "Lines",
    )
    assert both["description"] == "Lines of text"
    assert dict(both["tags"]) == {"a": "b"}
    assert Schema.from_bytes(both["options"]).names == ["delimiter", "skip", "header"]
    assert (found["given"]["direction"], found["given"]["ordered"]) == ("from", False)
    assert {field.name: field.metadata for field in Schema.from_bytes(found["given"]["options"])} == {
        "rows": {b"vgi_arg": b"named", b"vgi_doc": b"How many", b"vgi_range": b"[0, +inf)"}
    }


def test_calls_that_are_no_copy(lines: Worker, peer: Connect) -> None:
    lines.add(Reader)
    served = peer(lines)
    with pytest.raises(RemoteFailure, match="serves COPY ... FROM and cannot be called as a table function"):
        served.bind("reader", named={"rows": 1})
    with pytest.raises(RemoteFailure, match=r"'reader' does not serve COPY ... TO"):
        write(served, "reader", "x", [])
    with pytest.raises(RemoteFailure, match="missing required named argument 'rows'"):
        read(served, "reader", "x")


class ReaderOptions(NamedTuple):
    rows: Annotated[int, Arg("rows", doc="How many", ge=0)]


class Reader(CopyFromFunction[ReaderOptions]):
    """Rows that it was told to give"""

    COPY_FROM_FORMAT = "given"

    @classmethod
    def on_secrets(cls, params: Any) -> None:
        params.secrets.get("vault", params.file_path)

    @classmethod
    def read(
        cls,
        path: str,
        options: ReaderOptions,
        expected_schema: Schema,
        params: ProcessParams[Any],
        out: OutputCollector,
    ) -> None:
        for _ in range(2):
            out.emit({expected_schema.names[0]: range(options.rows), expected_schema.names[1]: [path] * options.rows})
        out.finish()


def test_reader_class(peer: Connect) -> None:
    served = peer(Worker("demo", functions=[Reader]))
    copy = {"format": "f", "file_path": "s3://b/x", "expected_schema": Schema.of(TYPES).serialize()}
    asked = served.bind("reader", named={"rows": 2}, copy_from=copy, schema_name=None)
    assert (asked["lookup_secret_types"], asked["lookup_scopes"]) == (["vault"], ["s3://b/x"])
    bind_call = served.bind_request(
        "reader", named={"rows": 2}, copy_from=copy, schema_name=None, resolved_secrets_provided=True
    )
    _, answer = served.exchange(served.init_request(bind_call) + tick_stream(9))
    assert answer.checked().rows() == {"n": [0, 1, 0, 1], "name": ["s3://b/x"] * 4}
    assert [batch.num_rows for batch, _ in answer.batches] == [2, 2]


class Writer(CopyToFunction[None]):
    """Counts"""

    COPY_TO_FORMAT = "counted"

    @classmethod
    def write(cls, batch: RecordBatch, options: None, file_path: str, params: BufferingParams[None]) -> None:
        if batch.num_rows > 2:
            raise RuntimeError("too many")
        params.storage.counter_add(b"w", b"rows", batch.num_rows)

    @classmethod
    def close(cls, options: None, file_path: str, params: BufferingParams[None]) -> None:
        Path(file_path).write_text(str(params.storage.counter_get(b"w", b"rows")))


def test_writer_class(peer: Connect, tmp_path: Path) -> None:
    served, path = peer(Worker("demo", functions=[Writer])), tmp_path / "count"
    write(served, "writer", path, [{"n": [1], "name": ["a"]}] * 3)
    assert path.read_text() == "3"
    path.unlink()
    with pytest.raises(RemoteFailure, match="too many"):
        write(served, "writer", path, [ROWS])
    assert not path.exists()


# -- the Arrow IPC format -------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_arrow_files(peer: Connect, tmp_path: Path, stream: bool, compression: str) -> None:
    served, path = peer(Worker("demo", functions=arrow_ipc.FUNCTIONS)), tmp_path / "x.arrow"
    options = {"stream": stream, "compression": compression, "batch_rows": 4}
    write(served, "arrow_file", path, [ROWS, ROWS, ROWS], **options)
    reader = pa.ipc.open_stream(path.read_bytes()) if stream else pa.ipc.open_file(path.read_bytes())
    table = reader.read_all()
    assert table.to_pydict() == {name: values * 3 for name, values in ROWS.items()}
    assert max(batch.num_rows for batch in table.to_batches()) <= 4
    assert read(served, "arrow_file", path, stream=stream) == {name: values * 3 for name, values in ROWS.items()}
    assert read(served, "arrow_file", path, {"name": "utf8"}, stream=stream) == {"name": ROWS["name"] * 3}
    assert os.listdir(tmp_path) == [path.name, "run"] or sorted(os.listdir(tmp_path)) == sorted([path.name, "run"])


def test_arrow_files_without_rows(peer: Connect, tmp_path: Path) -> None:
    served, path = peer(Worker("demo", functions=arrow_ipc.FUNCTIONS)), tmp_path / "x.arrow"
    write(served, "arrow_file", path, [])
    assert pa.ipc.open_file(path.read_bytes()).schema == pa.schema({"n": pa.int64(), "name": pa.string()})
    assert read(served, "arrow_file", path) == {"n": [], "name": []}


def test_bad_arrow_files(peer: Connect, tmp_path: Path) -> None:
    served, path = peer(Worker("demo", functions=arrow_ipc.FUNCTIONS)), tmp_path / "x.arrow"
    path.write_bytes(b"not an arrow file at all")
    with pytest.raises(RemoteFailure, match="is not an Arrow IPC file"):
        read(served, "arrow_file", path)
    with pytest.raises(RemoteFailure, match="FileNotFoundError"):
        read(served, "arrow_file", tmp_path / "missing")
    write(served, "arrow_file", path, [ROWS])
    with pytest.raises(RemoteFailure, match="has no column 'other'; it has"):
        read(served, "arrow_file", path, {"other": "int64"})
    with pytest.raises(RemoteFailure, match="must be one of the allowed choices"):
        write(served, "arrow_file", path, [], compression="rar")


def test_replacing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(str(path)) as name:
        Path(name).write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with replacing(str(path)) as name:
        Path(name).write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path).count("x") == 1
    assert not [one for one in os.listdir(tmp_path) if one.endswith(".tmp")]
    with replacing("/dev/null") as name:
        assert name == "/dev/null"


# -- mistakes -------------------------------------------------------------------------------------


def test_formats_that_clash(peer: Connect) -> None:
    def reader(path: str) -> Iterator[Any]: ...  # type: ignore[empty-body]
    def other(path: str) -> Iterator[Any]: ...  # type: ignore[empty-body]

    worker = Worker("demo", functions=[copy_from("x")(reader), copy_from("x")(other)])
    with pytest.raises(DefinitionError, match="a format has one reader and one writer at most"):
        worker.service()


def test_wrong_signatures() -> None:
    def no_path() -> Iterator[Any]: ...  # type: ignore[empty-body]
    def three(path: str, schema: Schema, more: int) -> Iterator[Any]: ...  # type: ignore[empty-body]
    def no_batches(path: str, more: str) -> None: ...

    with pytest.raises(DefinitionError, match=r"takes \(path\) or \(path, schema\) by position"):
        copy_from("x")(no_path)
    with pytest.raises(DefinitionError, match=r"takes \(path, schema\) by position"):
        copy_from("x")(three)
    with pytest.raises(DefinitionError, match=r"takes \(batches, path\) or"):
        copy_to("x")(no_batches)
    with pytest.raises(DefinitionError, match="'a b' is not the name of a format"):
        copy_from("a b")(no_path)

    class Nameless(CopyFromFunction[None]):
        @classmethod
        def read(cls, path: str) -> Iterator[Any]: ...  # type: ignore[empty-body]

    class Endless(CopyToFunction[None]):
        COPY_TO_FORMAT = "x"

    with pytest.raises(DefinitionError, match="COPY_FROM_FORMAT must be the name of a format, got None"):
        Worker("bad", functions=[Nameless])
    with pytest.raises(DefinitionError, match="the class has no method 'close'"):
        Worker("bad", functions=[Endless])
