"""A worker with one function of each kind that a client has to know how to call."""

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vgi_fast import (
    ClientLog,
    Const,
    Float64,
    Int64,
    OutputLength,
    Param,
    Secret,
    Setting,
    SettingSpec,
    Utf8,
    Worker,
)

worker = Worker(
    "basic",
    comment="For the tests of the client",
    settings=[SettingSpec("factor", "int64", 1, "What scaled() multiplies by"), SettingSpec("label", "utf8")],
)


@worker.scalar
def double(x: Int64) -> Int64:
    """Twice x.

    The second paragraph is not part of a listing.
    """
    return x * 2


@worker.scalar
def power(base: Int64, exponent: Const[int]) -> Int64:
    return base**exponent


@worker.scalar(name="shape")
def shape_of_number(value: Int64) -> Utf8:
    return np.full(len(value), "int64", object)


@worker.scalar(name="shape")
def shape_of_real(value: Float64) -> Utf8:
    return np.full(len(value), "float64", object)


@worker.scalar(name="shape")
def shape_of_text(value: Utf8) -> Utf8:
    return np.full(len(value), "utf8", object)


@worker.scalar(name="shape")
def shape_of_two(first: Int64, second: Int64) -> Utf8:
    return np.full(len(first), "two", object)


@worker.scalar
def upper(text: pa.StringArray) -> pa.StringArray:
    return pc.utf8_upper(text)


@worker.scalar
def total(*values: Annotated[Float64, Param(varargs=True)]) -> Float64:
    sums: Float64 = np.sum(values, axis=0)
    return sums


@worker.scalar
def seven(rows: Annotated[int, OutputLength()]) -> Int64:
    return np.full(rows, 7)


@worker.scalar
def scaled(x: Int64, factor: Annotated[int, Setting()]) -> Int64:
    return x * factor


@worker.scalar
def whisper(x: Int64, token: Annotated[dict[str, Any], Secret("vault")]) -> Utf8:
    return np.full(len(x), token["word"], object)


@worker.scalar
def complains(x: Int64, log: ClientLog) -> Int64:
    log("WARN", "about to fail", rows=len(x))
    if (x < 0).any():
        raise ValueError("negative value")
    return x


@worker.table(columns={"n": "int64", "square": "int64"}, cardinality=lambda args: args.count, projection_pushdown=True)
def numbers(count: int, *, batch_size: int = 2048, start: int = 0) -> Iterator[dict[str, object]]:
    """Whole numbers and their squares."""
    for first in range(start, start + count, batch_size):
        n = np.arange(first, min(first + batch_size, start + count))
        yield {"n": n, "square": n * n}


@worker.table(columns={"word": "utf8", "length": "int64"})
def words(*texts: str) -> Iterator[dict[str, object]]:
    yield {"word": list(texts), "length": [len(text) for text in texts]}


@worker.table(columns={"n": "int64"})
def fails_after(batches: int) -> Iterator[dict[str, object]]:
    for index in range(batches):
        yield {"n": [index]}
    raise RuntimeError("ran out")


worker.register_ufunc("hypot", np.hypot, "x: float64, y: float64 -> float64")


if __name__ == "__main__":
    worker.run()
