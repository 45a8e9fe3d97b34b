"""What does a nested record cost: Python values to one row of Arrow, and back?

Every request and most answers carry one (``encode_row``, ``decode_row``).
"""

from typing import Any, Final

import pyarrow as pa

from benchmarks.harness import Case, core_main
from vgi_fast import Schema
from vgi_fast._core import decode_row, encode_row

REQUEST: Final[dict[str, Any]] = {
    "function_name": "multiply",
    "function_type": "SCALAR",
    "arguments": b"\xff" * 300,
    "input_schema": b"\xff" * 200,
    "settings": None,
    "is_retry": False,
    "schema_name": "main",
}
REQUEST_SCHEMA: Final = (
    "function_name: utf8!, function_type: utf8!, arguments: binary, input_schema: binary, settings: binary, "
    "is_retry: bool!, schema_name: utf8"
)
NESTED: Final[dict[str, Any]] = {
    "items": [b"abc", b"", None],
    "options": {"a": 1, "b": 2.5},
    "columns": list(range(20)),
}
NESTED_SCHEMA: Final = "items: list<item: binary>, options: struct<a: int64, b: float64>, columns: list<item: int32>"


def cases() -> list[Case]:
    return [*_cases("request", REQUEST_SCHEMA, REQUEST), *_cases("nested", NESTED_SCHEMA, NESTED)]


def _cases(name: str, text: str, row: dict[str, Any]) -> list[Case]:
    mine = Schema.parse(text)
    theirs = pa.schema(mine)
    encoded = encode_row(mine, row)
    buffer = pa.py_buffer(encoded)

    def arrow_encode() -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, theirs) as writer:
            writer.write_batch(pa.RecordBatch.from_pylist([row], theirs))
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def arrow_decode() -> dict[str, Any]:
        decoded: dict[str, Any] = pa.ipc.open_stream(buffer).read_next_batch().to_pylist()[0]
        return decoded

    return [
        Case(
            f"encode, {name}",
            {"vgi_fast": lambda: encode_row(mine, row), "pyarrow": arrow_encode},
            plain=lambda data: pa.ipc.open_stream(data).read_all().to_pylist(),
        ),
        Case(f"decode, {name}", {"vgi_fast": lambda: decode_row(encoded), "pyarrow": arrow_decode}),
    ]


if __name__ == "__main__":
    core_main("core.rows", __doc__, cases())
