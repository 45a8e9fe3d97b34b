"""Peers that break the rules, written with pyarrow so that they share nothing with the core.

``script(body)`` is a program with these names in it:

    read_request()            method and parameters of the next request
    answer(value)             the response to a call: bytes, or None for null
    fail(message, **metadata) an error response
    schema_of(text)           …and pa, out, inp
"""

from textwrap import dedent

_PRELUDE = '''
import json, os, signal, sys, time
import pyarrow as pa

inp, out = sys.stdin.buffer, sys.stdout.buffer
RESULT = pa.schema([pa.field("result", pa.binary())])
EMPTY = pa.schema([])


def read_request():
    reader = pa.ipc.open_stream(inp)
    batch, metadata = reader.read_next_batch_with_custom_metadata()
    for _ in reader:
        pass
    return metadata[b"vgi_rpc.method"].decode(), batch


def stream(schema, *items, end=True):
    """Write a stream of (batch, metadata) pairs."""
    writer = pa.ipc.new_stream(out, schema)
    for batch, metadata in items:
        writer.write_batch(batch, custom_metadata=metadata)
    if end:
        writer.close()
    out.flush()
    return writer


def answer(value, *before, after=()):
    batch = pa.record_batch([pa.array([value], pa.binary())], schema=RESULT)
    stream(RESULT, *before, (batch, None), *after)


def log(level, message, schema=RESULT, **extra):
    metadata = {"vgi_rpc.log_level": level, "vgi_rpc.log_message": message}
    if extra:
        metadata["vgi_rpc.log_extra"] = json.dumps(extra)
    return pa.RecordBatch.from_pylist([], schema=schema), metadata


def row(**columns):
    """A nested record: name=(type, value)."""
    schema = pa.schema([pa.field(name, type) for name, (type, _) in columns.items()])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch([pa.array([v], t) for t, v in columns.values()], schema=schema))
    return sink.getvalue().to_pybytes()


def version(number):
    return row(version=(pa.int64(), number))


def header():
    schema = pa.schema([("execution_id", pa.binary()), ("opaque_data", pa.binary()), ("max_workers", pa.int64())])
    stream(schema, (pa.record_batch([[b"x" * 16], [None], [1]], schema=schema), None))
'''


def script(*bodies: str) -> str:
    return _PRELUDE + "".join(map(dedent, bodies))
