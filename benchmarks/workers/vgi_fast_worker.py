"""The worker of the end-to-end benchmarks: one function for each of them."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vgi_fast import Const, Int64, RecordBatch, TableBufferingFunction, TableInput, Worker

worker = Worker("example")


@worker.scalar
def multiply(value: Int64, factor: Const[int]) -> Int64:
    return value * factor


@worker.scalar
def upper_case(value: pa.StringArray) -> pa.StringArray:
    return pc.utf8_upper(value)


@worker.table(columns={"n": "int64"}, cardinality=lambda args: args.count)
def sequence(count: int, *, batch_size: int = 2048) -> Iterator[dict[str, Int64]]:
    for start in range(0, count, batch_size):
        yield {"n": np.arange(start, min(start + batch_size, count))}


@worker.table(columns={"s": "utf8"}, cardinality=lambda args: args.count)
def texts(count: int, *, batch_size: int = 2048, width: int = 1024) -> Iterator[pa.RecordBatch]:
    """The same strings in each batch: what is measured is their way to the client."""
    filler = "abcdefgh" * (width // 8 + 1)
    batch = pa.record_batch({"s": [f"{number:08d}{filler}"[:width] for number in range(batch_size)]})
    for start in range(0, count, batch_size):
        yield batch.slice(0, min(batch_size, count - start))


SCAN_ROWS = 65_536


@cache
def scan_columns() -> RecordBatch:
    numbers = np.random.default_rng(7).permutation(SCAN_ROWS)
    columns = pa.record_batch(
        {
            "key": numbers,
            "price": numbers * 0.25,
            "name": [f"name {number}" for number in numbers.tolist()],
            "quantity": numbers.astype(np.int32),
            "total": numbers * 3,
        }
    )
    return RecordBatch.from_arrow(columns)


@worker.table(
    columns={"key": "int64", "price": "float64", "name": "utf8", "quantity": "int32", "total": "int64"},
    cardinality=lambda args: args.count,
    projection_pushdown=True,
    filter_pushdown=True,
)
def scan(count: int, *, batch_size: int = SCAN_ROWS) -> Iterator[RecordBatch]:
    """Rows from memory: what they cost is moving and filtering them."""
    yield from _scanned(count, batch_size)


@worker.table(
    columns={"key": "int64", "price": "float64", "name": "utf8", "quantity": "int32", "total": "int64"},
    cardinality=lambda args: args.count,
    projection_pushdown=True,
)
def scan_unfiltered(count: int, *, batch_size: int = SCAN_ROWS) -> Iterator[RecordBatch]:
    """The same rows, all of which DuckDB has to filter."""
    yield from _scanned(count, batch_size)


def _scanned(count: int, batch_size: int) -> Iterator[RecordBatch]:
    batch = scan_columns()
    parts = [batch.slice(start, batch_size) for start in range(0, SCAN_ROWS - batch_size + 1, batch_size)]
    for index, _ in enumerate(range(0, count, batch_size)):
        yield parts[index % len(parts)].slice(0, min(batch_size, count - index * batch_size))


worker.aggregate.from_block("vgi_sum", "sum", "int64 -> int64")
worker.aggregate.from_block("vgi_window_sum", "sum", "int64 -> int64", supports_window=True)
worker.aggregate.from_block("vgi_streaming_sum", "sum", "int64 -> int64", streaming_partitioned=True)


@worker.table_in_out(projection_pushdown=True)
def echo(data: TableInput) -> TableInput:
    return data


class BufferInput(TableBufferingFunction[None]):
    """Gives the table when all of it was read"""


worker.add(BufferInput)


if __name__ == "__main__":
    worker.run()
