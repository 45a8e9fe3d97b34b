"""Batches for the benchmarks: the sizes and types that DuckDB sends."""

from typing import Final

import numpy as np
import pyarrow as pa

BATCH_ROWS: Final = 2048
"""DuckDB's vector size, and so the length of almost every batch."""

STRING_BYTES: Final = 256


def int64_batch(rows: int = BATCH_ROWS, start: int = 0, null_share: float = 0.0) -> pa.RecordBatch:
    values = np.arange(start, start + rows)
    return pa.record_batch({"col_0": pa.array(values, mask=_mask(rows, null_share))})


def mixed_batch(rows: int = BATCH_ROWS, null_share: float = 0.0) -> pa.RecordBatch:
    """Five columns, one of each common layout."""
    random = np.random.default_rng(7)
    mask = _mask(rows, null_share)
    return pa.record_batch(
        {
            "id": pa.array(np.arange(rows)),
            "price": pa.array(random.random(rows), mask=mask),
            "name": pa.array([f"name {number % 100:02}" for number in range(rows)], mask=mask),
            "quantity": pa.array(random.integers(0, 100, rows), pa.int32(), mask=mask),
            "flag": pa.array(random.random(rows) < 0.5, mask=mask),
        }
    )


def string_batch(rows: int = BATCH_ROWS, start: int = 0, size: int = STRING_BYTES) -> pa.RecordBatch:
    filler = "abcdefgh" * (size // 8 + 1)
    return pa.record_batch({"col_0": [(str(number) + filler)[:size] for number in range(start, start + rows)]})


def stream_of(batch: pa.RecordBatch, count: int = 1) -> bytes:
    """An IPC stream of ``count`` times the same batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        for _ in range(count):
            writer.write_batch(batch)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _mask(rows: int, null_share: float) -> "np.typing.NDArray[np.bool_] | None":
    return np.random.default_rng(3).random(rows) < null_share if null_share else None
