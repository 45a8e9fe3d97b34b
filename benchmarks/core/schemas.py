"""What do schema messages cost: decoded, recognised, encoded?

A worker meets the same few schemas again and again, so the cost of one that it knows counts most.
"""

from itertools import cycle
from typing import Any

import pyarrow as pa

from benchmarks.data import mixed_batch
from benchmarks.harness import Case, core_main
from vgi_fast import Schema
from vgi_fast._core import Input

UNSEEN = 1024
"""More different schemas than any cache holds."""


def cases() -> list[Case]:
    return [
        _decoding("decode, 5 fields", mixed_batch().schema),
        _decoding("decode, 100 fields", _wide_schema(100)),
        _opening("open a stream of a known schema"),
        _encoding("encode, 5 fields", mixed_batch().schema),
        _encoding("encode, 100 fields", _wide_schema(100)),
    ]


def _decoding(name: str, schema: pa.Schema) -> Case:
    messages = [_message(schema.append(pa.field(f"extra {number}", pa.int8()))) for number in range(UNSEEN)]
    mine, theirs = cycle(messages), cycle([pa.py_buffer(message) for message in messages])
    return Case(
        name,
        {"vgi_fast": lambda: Schema.from_bytes(next(mine)), "pyarrow": lambda: pa.ipc.read_schema(next(theirs))},
        plain=lambda schema: schema.names[:-1],
    )


def _opening(name: str) -> Case:
    message = _message(mixed_batch().schema)
    return Case(
        name,
        {"vgi_fast": lambda: Input(message).read_schema(), "pyarrow": lambda: pa.ipc.open_stream(message).schema},
        plain=lambda schema: schema.names,
    )


def _encoding(name: str, schema: pa.Schema) -> Case:
    fields = Schema.of(schema).fields
    return Case(
        name,
        {
            # A schema keeps its message; a new one has none yet.
            "vgi_fast": lambda: Schema(fields).serialize(),
            "pyarrow": lambda: pa.schema(schema).serialize(),
        },
        plain=lambda message: pa.ipc.read_schema(_buffer(message)).names,
    )


def _buffer(message: Any) -> pa.Buffer:
    return message if isinstance(message, pa.Buffer) else pa.py_buffer(message)


def _message(schema: pa.Schema) -> bytes:
    message: bytes = schema.serialize().to_pybytes()
    return message


def _wide_schema(fields: int) -> pa.Schema:
    types = [pa.int64(), pa.float64(), pa.utf8(), pa.list_(pa.int32()), pa.timestamp("us", "UTC")]
    return pa.schema([pa.field(f"column {number}", types[number % len(types)]) for number in range(fields)])


if __name__ == "__main__":
    core_main("core.schemas", __doc__, cases())
