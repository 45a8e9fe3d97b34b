"""Calls that are like the one before, answered without the request loop."""

import os
from typing import Any

import pytest

from tests.fix_memory import request
from vgi_fast._core import (
    HandledCalls,
    Input,
    Output,
    RecordBatch,
    Schema,
    cell_digest,
    decode_stream,
    encode_stream,
)
from vgi_fast.errors import ProtocolError, TransportError
from vgi_fast.wire import records

SCHEMA = Schema.of({"n": "int64"})
FIXED = {"function_name": "total", "execution_id": b"e" * 16, "attach_opaque_data": b"a", "schema_name": "main"}


class Handler:
    """Answers with a stream of what it got; 7 has to be understood first, and 8 is an error."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, list[Any]]] = []
        self.told: list[str] = []

    def __call__(self, digest: bytes, batch: RecordBatch) -> bytes | None:
        values = batch.column(0).to_pylist()
        if values == [7]:
            return None
        if values == [8]:
            raise ValueError("no 8 please")
        self.got.append((digest, values))
        return encode_stream(SCHEMA, [batch])

    def answered(self) -> None:
        self.told.append("answered")

    def unanswered(self) -> None:
        self.told.append("unanswered")


def chunk(values: list[Any], method: str = "aggregate_streaming_chunk", **fields: Any) -> bytes:
    batch = RecordBatch.from_pydict(SCHEMA, {"n": values})
    given = {**FIXED, "input_batch": encode_stream(SCHEMA, [batch]), **fields}
    blob = records.AGGREGATE_STREAMING_CHUNK_REQUEST.encode(given)
    return request(method, {"request": blob}, request_id=os.urandom(4))


def calls(handler: Handler) -> HandledCalls:
    schema, (first,) = decode_stream(chunk([0]))
    return HandledCalls(schema, first.metadata, FIXED, handler)


def test_those_that_are_alike_are_answered() -> None:
    handler, output = Handler(), Output()
    input = Input(chunk([1, 2]) + chunk([]) + chunk([None, 3]))
    assert calls(handler).serve(input, output, 1000) == (None, False)
    assert [values for _, values in handler.got] == [[1, 2], [], [None, 3]]
    assert handler.told == ["answered"] * 3
    answers = Input(output.getvalue())
    for _, values in handler.got:
        assert answers.read_schema() == SCHEMA
        batch = answers.read_batch()
        assert batch is not None and batch.column(0).to_pylist() == values
        answers.drain()
    assert answers.read_schema() is None


def test_the_digest_is_that_of_the_cell() -> None:
    handler = Handler()
    data = chunk(list(range(500)))
    calls(handler).serve(Input(data), Output(), 1000)
    _, (outer,) = decode_stream(data)
    _, (record,) = decode_stream(outer.column(0)[0])
    place = record.schema.names.index("input_batch")
    assert handler.got == [(cell_digest(record, place), list(range(500)))]


@pytest.mark.parametrize(
    "other",
    [
        chunk([7]),
        chunk([8]),
        chunk([1], execution_id=b"f" * 16),
        chunk([1], schema_name=None),
        chunk([1], attach_opaque_data=b""),
        chunk([1], input_batch=b""),
        chunk([1], input_batch=b"not a stream"),
        chunk([1], input_batch=encode_stream(SCHEMA, [])),
        chunk([1], method="aggregate_update"),
    ],
)
def test_any_other_is_given_back(other: bytes) -> None:
    handler, output = Handler(), Output()
    found, idle = calls(handler).serve(Input(chunk([1]) + other + chunk([2])), output, 1000)
    _, (expected,) = decode_stream(other)
    assert not idle and found is not None
    assert found.to_pydict() == expected.to_pydict()
    assert found.metadata == expected.metadata
    assert handler.told == ["answered"]


def test_a_peer_that_has_left() -> None:
    handler = Handler()
    read, write = os.pipe()
    os.close(read)
    try:
        with pytest.raises(TransportError):
            calls(handler).serve(Input(chunk([1])), Output(write), 1000)
    finally:
        os.close(write)
    assert handler.told == ["unanswered"]


def test_only_requests_of_one_binary_column() -> None:
    with pytest.raises(ProtocolError, match="expected one binary column"):
        HandledCalls(SCHEMA, {}, FIXED, Handler())
