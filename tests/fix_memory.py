"""``peer``: a worker's request handler, spoken to in memory, without a process or a transport.

    def test_adds(peer):
        peer = peer(worker)
        assert peer.scalar("add_one", [1, 2], "int64") == [2, 3]

It sends what DuckDB sends and reads answers with pyarrow, so that bytes are checked by another reader.
"""

from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from tempfile import TemporaryFile
from typing import Any

import pyarrow as pa
import pytest

from vgi_fast import Array, DataType, Field, RecordBatch, Schema, Worker
from vgi_fast.transports.stdio import StdioConnection
from vgi_fast.wire import keys, methods, records
from vgi_fast.wire.arrow import encode_row, encode_stream
from vgi_fast.worker.dispatch import Session

Metadata = dict[bytes, bytes]


class RemoteFailure(Exception):
    """An error batch; ``kind`` and ``extra`` as received."""

    def __init__(self, metadata: Mapping[bytes, bytes]) -> None:
        import json

        super().__init__(metadata[keys.LOG_MESSAGE].decode())
        self.kind = metadata.get(keys.ERROR_KIND, b"").decode()
        self.extra = json.loads(metadata.get(keys.LOG_EXTRA, b"{}"))


class Stream:
    """One answered stream: its schema and its batches with their metadata, logs taken out."""

    def __init__(self, schema: pa.Schema, parts: Iterable[tuple[pa.RecordBatch, Metadata]]) -> None:
        self.schema = schema
        self.batches: list[tuple[pa.RecordBatch, Metadata]] = []
        self.logs: list[tuple[str, str]] = []
        self.error: RemoteFailure | None = None
        for batch, metadata in parts:
            level = metadata.get(keys.LOG_LEVEL, b"").decode()
            if batch.num_rows or not level:
                self.batches.append((batch, metadata))
            elif level == keys.EXCEPTION:
                self.error = RemoteFailure(metadata)
            else:
                self.logs.append((level, metadata[keys.LOG_MESSAGE].decode()))

    def checked(self) -> "Stream":
        if self.error is not None:
            raise self.error
        return self

    def rows(self) -> dict[str, list[Any]]:
        table = pa.Table.from_batches([batch for batch, _ in self.batches], schema=self.schema)
        return table.to_pydict()  # type: ignore[no-any-return]


def read_streams(data: bytes) -> list[Stream]:
    source = BytesIO(data)
    streams = []
    while source.tell() < len(data):
        reader = pa.ipc.open_stream(source)
        parts = []
        while True:
            try:
                batch, metadata = reader.read_next_batch_with_custom_metadata()
            except StopIteration:
                break
            parts.append((batch, dict(metadata or {})))
        streams.append(Stream(reader.schema, parts))
    return streams


def request(method: str, params: Mapping[str, Any] | None = None, **metadata: bytes | None) -> bytes:
    """A request stream. Metadata by name replaces the usual; None leaves it out."""
    declared = methods.method(method).params if not method.startswith("__") else Schema([])
    found: dict[bytes, bytes | None] = {
        keys.METHOD: method.encode(),
        keys.REQUEST_VERSION: b"1",
        keys.PROTOCOL_VERSION: b"1.3.0",
    }
    for name, value in metadata.items():
        found[getattr(keys, name.upper())] = value
    batch = RecordBatch.from_row(declared, params or {})
    return encode_stream(declared, [batch.with_metadata({k: v for k, v in found.items() if v is not None})])


_OF_INIT = ("projection_ids", "execution_id", "pushdown_filters", "join_keys")


class Peer:
    """Speaks to one worker; each exchange is a new connection."""

    def __init__(self, worker: Worker, *, describe: bool = False) -> None:
        self.service = worker.service(describe=describe)
        self.catalog = worker.catalogs[0].name
        self.attach_data = self.call("catalog_attach", name=self.catalog)["attach_opaque_data"]

    def exchange(self, data: bytes) -> list[Stream]:
        """Everything the worker answers to these bytes."""
        with TemporaryFile() as incoming, TemporaryFile() as outgoing:
            incoming.write(data)
            incoming.seek(0)
            Session(self.service, StdioConnection(incoming.fileno(), outgoing.fileno())).run()
            outgoing.seek(0)
            return read_streams(outgoing.read())

    def stream(self, method: str, **params: Any) -> Stream:
        declared = methods.method(method)
        if declared.request is not None:
            params = {"request": declared.request.encode(params)}
        elif "attach_opaque_data" in declared.params.names:
            params.setdefault("attach_opaque_data", self.attach_data)
        (answer,) = self.exchange(request(method, params))
        return answer

    def call(self, method: str, **params: Any) -> Any:
        """The decoded result of a unary call; a list for a listing."""
        declared = methods.method(method)
        answer = self.stream(method, **params).checked()
        ((batch, _),) = answer.batches
        if not declared.has_return:
            return None
        blob = batch.column(0)[0].as_py()
        if declared.response is None or blob is None:
            return blob
        decoded = declared.response.decode(blob)
        if declared.response_item is None:
            return decoded
        return [declared.response_item.decode(item) for item in decoded["items"]]

    def functions(self, kind: str, schema: str = "main") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("catalog_schema_contents_functions", name=schema, type=kind)
        return found

    def bind_request(
        self,
        function: str,
        *arguments: Any,
        columns: Mapping[str, str] | None = None,
        function_type: str = "TABLE",
        types: Iterable[str] | None = None,
        named: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> bytes:
        """``types`` are those of the positional arguments; by default what Python values suggest."""
        values = {
            "function_name": function,
            "arguments": encode_arguments(arguments, list(types or ()), named or {}),
            "function_type": function_type,
            "input_schema": None if columns is None else Schema.of(columns).serialize(),
            "attach_opaque_data": self.attach_data,
            "resolved_secrets_provided": False,
            "schema_name": "main",
            **more,
        }
        return records.BIND_REQUEST.encode(values)

    def bind(self, function: str, *arguments: Any, **more: Any) -> dict[str, Any]:
        return self.bind_blob(self.bind_request(function, *arguments, **more))

    def bind_blob(self, blob: bytes) -> dict[str, Any]:
        (answer,) = self.exchange(request("bind", {"request": blob}))
        ((batch, _),) = answer.checked().batches
        return records.BIND_RESPONSE.decode(batch.column(0)[0].as_py())

    def init_request(self, bind_call: bytes, **more: Any) -> bytes:
        if "output_schema" not in more:
            bound = self.bind_blob(bind_call)
            more = {"output_schema": bound["output_schema"], "bind_opaque_data": bound["opaque_data"], **more}
        return request("init", {"request": records.INIT_REQUEST.encode({"bind_call": bind_call, **more})})

    def table(
        self, function: str, *arguments: Any, ticks: int = 20, first_tick: Metadata | None = None, **more: Any
    ) -> Stream:
        """Bind, init, and ticks until the stream ends. ``first_tick`` is the metadata of the first."""
        init = {key: more.pop(key) for key in _OF_INIT if key in more}
        bind_call = self.bind_request(function, *arguments, **more)
        data = self.init_request(bind_call, **init) + tick_stream(ticks, first=first_tick)
        header, *rest = self.exchange(data)
        header.checked()
        (answer,) = rest
        answer.logs = header.logs + answer.logs
        return answer.checked()

    def scalar_stream(
        self, function: str, batches: list[dict[str, list[Any]]], columns: dict[str, str], *arguments: Any, **more: Any
    ) -> Stream:
        names = [f"col_{index}" for index in range(len(columns))]
        input_types = dict(zip(names, columns.values(), strict=True))
        bind_call = self.bind_request(function, *arguments, columns=input_types, function_type="SCALAR", **more)
        schema = Schema.of(input_types) if input_types else Schema([])
        given = []
        for batch in batches:
            arrays = [
                Array.from_pylist(values, type)
                for values, type in zip(batch.values(), input_types.values(), strict=True)
            ]
            given.append(RecordBatch(schema, arrays, len(arrays[0])))
        data = self.init_request(bind_call) + encode_stream(schema, given)
        header, *rest = self.exchange(data)
        header.checked()
        (answer,) = rest
        return answer.checked()

    def scalar(
        self, function: str, *columns: tuple[str, list[Any]], constants: Iterable[Any] = (), **more: Any
    ) -> list[Any]:
        """Result values of one batch; columns are (type, values)."""
        types = {f"c{index}": type for index, (type, _) in enumerate(columns)}
        batch = {f"c{index}": values for index, (_, values) in enumerate(columns)}
        answer = self.scalar_stream(function, [batch], types, *constants, **more)
        return next(iter(answer.rows().values()))


def encode_arguments(positional: Iterable[Any], types: list[str], named: Mapping[str, Any]) -> bytes:
    fields, values = [], {}
    for index, value in enumerate(positional):
        type_text = types[index] if index < len(types) else suggested(value)
        fields.append(Field(f"positional_{index}", type_text))
        values[f"positional_{index}"] = value
    for name, value in named.items():
        type_text, value = value if isinstance(value, tuple) else (suggested(value), value)
        fields.append(Field(f"named_{name}", type_text))
        values[f"named_{name}"] = value
    struct = DataType.of(pa.struct([pa.field(field) for field in fields]))
    return encode_row(Schema([Field("args", struct)]), {"args": values})


def suggested(value: Any) -> str:
    texts = {bool: "bool", int: "int64", float: "float64", str: "utf8", bytes: "binary", type(None): "int64"}
    return texts[type(value)]


def tick_stream(count: int, *, cancel_after: int | None = None, first: Metadata | None = None) -> bytes:
    empty = Schema([])
    ticks = [RecordBatch(empty, [], 0, None if index else first) for index in range(count)]
    if cancel_after is not None:
        ticks = [*ticks[:cancel_after], RecordBatch(empty, [], 0, {keys.CANCEL: b"1"})]
    return encode_stream(empty, ticks)


@pytest.fixture
def peer() -> Callable[..., Peer]:
    return Peer
