"""Batches of the sizes and types that DuckDB sends; the values come from the generators of the tests."""

from random import Random
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from tests.generators import random_batch

BATCH_ROWS: Final = 2048
"""DuckDB's vector size, and so the length of almost every batch."""

STRING_BYTES: Final = 256

MIXED: Final = pa.schema(
    {"id": pa.int64(), "price": pa.float64(), "name": pa.utf8(), "quantity": pa.int32(), "flag": pa.bool_()}
)
"""One column of each common layout."""


def int64_batch(rows: int = BATCH_ROWS, null_share: float = 0.0, seed: int = 7) -> pa.RecordBatch:
    return _batch(pa.schema({"col_0": pa.int64()}), rows, null_share, seed)


def mixed_batch(rows: int = BATCH_ROWS, null_share: float = 0.0, seed: int = 7) -> pa.RecordBatch:
    return _batch(MIXED, rows, null_share, seed)


def string_batch(rows: int = BATCH_ROWS, start: int = 0, size: int = STRING_BYTES) -> pa.RecordBatch:
    """Text of one length, every row different: what the strings of the end-to-end benchmark are under DuckDB too."""
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


def _batch(schema: pa.Schema, rows: int, null_share: float, seed: int) -> pa.RecordBatch:
    rng = Random(seed)
    batch = random_batch(rng, schema, rows, null_share=0.0)
    if not null_share:
        return batch
    # Put in here, as the generator leaves some columns without nulls whatever their share.
    valid = pa.array([rng.random() >= null_share for _ in range(rows)])
    return pa.record_batch([pc.if_else(valid, column, None) for column in batch.columns], schema=schema)
