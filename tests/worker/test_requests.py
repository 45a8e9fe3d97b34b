"""The checks of a request, in their order, and what the worker answers (section 3 of the RPC document)."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from tests.fix_memory import Peer, RemoteFailure, Stream, request, tick_stream
from vgi_fast import Array, Int64, RecordBatch, Schema, Worker
from vgi_fast.wire import keys, methods
from vgi_fast.wire.arrow import encode_stream
from vgi_fast.wire.attach import AttachData

Connect = Callable[..., Peer]


@pytest.fixture
def served(peer: Connect) -> Peer:
    worker = Worker("demo")

    @worker.scalar
    def same(x: Int64) -> Int64:
        return x

    return peer(worker)


def error_of(answer: Stream) -> RemoteFailure:
    assert answer.error is not None
    return answer.error


ATTACHED = {"attach_opaque_data": bytes(AttachData.new("demo"))}


@pytest.mark.parametrize(
    ("data", "text", "kind"),
    [
        (request("catalog_catalogs", METHOD=None), "ProtocolError: Missing 'vgi_rpc.method' in request batch", ""),
        (request("catalog_catalogs", REQUEST_VERSION=None), "VersionError: Missing 'vgi_rpc.request_version'", ""),
        (
            request("catalog_catalogs", REQUEST_VERSION=b"2"),
            "VersionError: Unsupported request version b'2', expected b'1'",
            "",
        ),
        (request("catalog_catalogs", METHOD=b"\xff"), "ProtocolError: 'vgi_rpc.method'", ""),
        (
            request("catalog_catalogs", METHOD=b"nope"),
            "MethodNotImplementedError: Unknown method: 'nope'. Available methods: ['aggregate_bind', ",
            "method_not_implemented",
        ),
        (
            request("catalog_catalogs", METHOD=b"__describe__"),
            "MethodNotImplementedError: Unknown method: '__describe__'",
            "method_not_implemented",
        ),
        (
            request("catalog_schemas", {"attach_opaque_data": b"x"}),
            "ProtocolError: attach_opaque_data not recognized",
            "",
        ),
        (
            request("catalog_version", {}),
            "TypeMismatchError: catalog_version() parameter 'attach_opaque_data' is not optional but got None",
            "",
        ),
        (request("catalog_version", ATTACHED | {"x": 1}), "", None),
    ],
)
def test_refused(served: Peer, data: bytes, text: str, kind: str | None) -> None:
    answers = served.exchange(data + request("catalog_catalogs"))
    assert len(answers) == 2
    if kind is None:
        assert answers[0].error is None
        return
    error = error_of(answers[0])
    assert str(error).startswith(text)
    assert error.kind == kind
    assert answers[1].error is None


@pytest.mark.parametrize(
    ("version", "lines"),
    [
        (None, ["  Client: <not declared>", "  Direction: not sent"]),
        (b"\xff", ["  Client: <undecodable bytes>", "  Direction: not UTF-8"]),
        (b"1.3", ["  Client: 1.3", "  Direction: malformed"]),
        (b"1.03.0", ["  Client: 1.03.0", "  Direction: malformed"]),
        (b"1.2.9", ["  Client: 1.2.9", "  Direction: client too old"]),
        (b"2.2.0", ["  Client: 2.2.0", "  Direction: server too old"]),
        (b"1.3.77", None),
    ],
)
def test_protocol_version(served: Peer, version: bytes | None, lines: list[str] | None) -> None:
    (answer,) = served.exchange(request("catalog_catalogs", PROTOCOL_VERSION=version))
    if lines is None:
        assert answer.error is None
        return
    error = error_of(answer)
    assert error.kind == "protocol_version_mismatch"
    first, client, server, direction = str(error).split("\n")
    assert first == "ProtocolVersionError: VGI client/worker protocol_version mismatch."
    assert (client, server) == (lines[0], "  Server: 1.3.0")
    assert direction.startswith(lines[1])


def test_error_streams_use_the_schema_of_the_method_once_it_is_known(served: Peer) -> None:
    unknown, unary, stream = served.exchange(
        request("bind", {"request": b""}, METHOD=b"nope")
        + request("bind", {"request": b""}, PROTOCOL_VERSION=b"9.9.9")
        + request("init", {"request": b""}, PROTOCOL_VERSION=b"9.9.9")
    )
    assert unknown.schema.names == []
    assert unary.schema.names == ["result"]
    assert stream.schema.names == []


def with_schema(method: str, schema: Schema, row: dict[str, Any]) -> bytes:
    metadata = {keys.METHOD: method.encode(), keys.REQUEST_VERSION: b"1", keys.PROTOCOL_VERSION: b"1.3.0"}
    return encode_stream(schema, [RecordBatch.from_row(schema, row).with_metadata(metadata)])


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ("name: utf8!, more: utf8", "got unexpected keyword argument(s): ['more']"),
        ("", "missing required argument(s): ['name']"),
        ("name: binary!", "expected Arrow type utf8 but the request batch carried binary"),
        ("name: utf8", "catalog is read-only"),
    ],
)
def test_parameters(served: Peer, columns: str, text: str) -> None:
    schema = Schema.parse(columns)
    row = {field.name: b"x" if field.type.kind == "binary" else "x" for field in schema}
    (answer,) = served.exchange(with_schema("catalog_drop", schema, row))
    assert text in str(error_of(answer))


def test_parameters_in_another_order(served: Peer) -> None:
    schema = Schema.parse("transaction_opaque_data: binary, attach_opaque_data: binary!")
    (answer,) = served.exchange(with_schema("catalog_version", schema, ATTACHED))
    assert "parameter schema field 0 expected name 'attach_opaque_data', got 'transaction_opaque_data'" in str(
        error_of(answer)
    )


def test_row_counts(served: Peer) -> None:
    metadata = {keys.METHOD: b"catalog_catalogs", keys.REQUEST_VERSION: b"1", keys.PROTOCOL_VERSION: b"1.3.0"}
    empty = Schema([])
    for rows in (0, 1, 5):
        data = encode_stream(empty, [RecordBatch(empty, [], rows, metadata)])
        assert served.exchange(data)[0].error is None
    schema = methods.method("catalog_drop").params
    two = RecordBatch(schema, [Array.from_pylist(["a", "b"], "utf8")], 2, {**metadata, keys.METHOD: b"catalog_drop"})
    (answer,) = served.exchange(encode_stream(schema, [two]))
    assert str(error_of(answer)) == "ProtocolError: Expected 1 row in request batch, got 2"


def test_the_end_of_a_connection(served: Peer) -> None:
    good = request("catalog_catalogs")
    assert served.exchange(b"") == []
    (first, garbage) = served.exchange(good + b"GET / HTTP/1.1\r\n\r\n" + b"\0" * 64)
    assert first.error is None
    assert "ProtocolError" in str(error_of(garbage))
    assert garbage.schema.names == []
    assert served.exchange(encode_stream(Schema([]), []) + good) == []
    assert "ProtocolError" in str(error_of(served.exchange(good[:-12])[-1]))


def test_an_abandoned_input_stream_after_a_failed_init_is_skipped(served: Peer) -> None:
    bad = request("init", {"request": b"garbage"})
    good = request("catalog_catalogs")
    for abandoned in (tick_stream(0), tick_stream(1), b""):
        answers = served.exchange(bad + abandoned + good)
        assert [answer.error is None for answer in answers] == [False, True]
    assert len(served.exchange(bad + tick_stream(0) + tick_stream(0) + good)) == 1


def test_transport_options(served: Peer) -> None:
    (answer,) = served.exchange(request("__transport_options__", PROTOCOL_VERSION=None, TRANSPORT_SHM=b"true"))
    ((batch, metadata),) = answer.batches
    assert (batch.num_rows, batch.num_columns) == (0, 0)
    assert metadata[keys.TRANSPORT_SHM] == b"true"
    assert metadata[keys.REQUEST_VERSION] == b"1"
    assert len(metadata[keys.SERVER_ID]) == 12


def test_describe(peer: Connect) -> None:
    served = peer(Worker("demo"), describe=True)
    (answer,) = served.exchange(request("__describe__", PROTOCOL_VERSION=None))
    ((batch, metadata),) = answer.checked().batches
    assert list(metadata) == [
        keys.PROTOCOL_NAME,
        keys.REQUEST_VERSION,
        keys.DESCRIBE_VERSION,
        keys.PROTOCOL_HASH,
        keys.SERVER_ID,
        keys.PROTOCOL_VERSION,
    ]
    rows = batch.to_pylist()
    assert [row["name"] for row in rows] == methods.names()
    assert len(rows) == 70
    (init,) = (row for row in rows if row["name"] == "init")
    assert (init["method_type"], init["has_return"], init["has_header"]) == ("stream", False, True)
    assert pa.ipc.read_schema(pa.py_buffer(init["header_schema_ipc"])).names[0] == "execution_id"


def test_protocol_hash() -> None:
    assert methods.protocol_hash() == "d9a25c2e60261dc66b6428078b9dd429b7f0cc0f7b6a02a120ead412be6db00e"


def test_errors_carry_what_the_protocol_names(served: Peer) -> None:
    data = request("catalog_drop", {"name": "x"})
    (answer,) = served.exchange(data)
    error = error_of(answer)
    assert str(error) == "CatalogReadOnlyError: Cannot drop catalog: catalog is read-only"
    assert error.extra["exception_type"] == "CatalogReadOnlyError"
    assert error.extra["exception_message"] == "Cannot drop catalog: catalog is read-only"
    assert error.extra["traceback"] == str(error)
    assert error.extra["frames"] == []
