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


worker.aggregate.from_block("vgi_sum", "sum", "int64 -> int64")
worker.aggregate.from_block("vgi_window_sum", "sum", "int64 -> int64", supports_window=True)
worker.aggregate.from_block("vgi_streaming_sum", "sum", "int64 -> int64", streaming_partitioned=True)


if __name__ == "__main__":
    worker.run()
