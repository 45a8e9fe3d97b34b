"""The worker of the end-to-end benchmarks: one function for each of them."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vgi_fast import Const, Int64, TableBufferingFunction, TableInput, Worker

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


@worker.table_in_out(projection_pushdown=True)
def echo(data: TableInput) -> TableInput:
    return data


class BufferInput(TableBufferingFunction[None]):
    """Gives the table when all of it was read"""


worker.add(BufferInput)


if __name__ == "__main__":
    worker.run()
