"""The worker of the end-to-end benchmarks: one function for each of them."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vgi_fast import Const, Int64, Worker

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


if __name__ == "__main__":
    worker.run()
