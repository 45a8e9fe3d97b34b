"""What the tests in SQL attach: a function for each thing that DuckDB can ask of a worker."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any

import numpy as np
import numpy.ma
import pyarrow as pa
import pyarrow.compute as pc

from vgi_fast import (
    AnyColumn,
    Bool,
    ClientLog,
    Const,
    Float64,
    Int32,
    Int64,
    OutputLength,
    Param,
    RowsOf,
    Secret,
    SecretType,
    Setting,
    SettingSpec,
    TableBufferingFunction,
    TableInput,
    Utf8,
    Worker,
)
from vgi_fast.formats import arrow_ipc

worker = Worker(
    "tested",
    comment="For the tests in SQL",
    settings=[SettingSpec("factor", "int64", 10, "What scaled() multiplies by"), SettingSpec("label", "utf8")],
    secret_types=[SecretType("vault", {"word": "utf8", "hidden": "utf8"}, redact=["hidden"], description="A word")],
)


# ---- scalars ----


@worker.scalar
def add(a: Int64, b: Int64) -> Int64:
    """The sum of two numbers."""
    return a + b


@worker.scalar
def halve(x: Float64) -> Float64:
    return x / 2


@worker.scalar
def greet(name: Utf8) -> Utf8:
    return np.array([f"hello {text}" for text in name], object)


@worker.scalar
def upper(text: pa.StringArray) -> pa.StringArray:
    return pc.utf8_upper(text)


@worker.scalar(null_handling="special")
def or_zero(x: Int64) -> Int64:
    return np.ma.filled(x, 0)


@worker.scalar
def is_even(x: Int32) -> Bool:
    even: Bool = x % 2 == 0
    return even


@worker.scalar
def power(base: Int64, exponent: Const[int]) -> Int64:
    return base**exponent


@worker.scalar
def total(*values: Annotated[Float64, Param(varargs=True)]) -> Float64:
    sums: Float64 = np.sum(values, axis=0)
    return sums


@worker.scalar(stability="volatile")
def row_numbers(rows: Annotated[int, OutputLength()]) -> Int64:
    return np.arange(rows)


@worker.scalar(name="kind")
def kind_of_number(value: Int64) -> Utf8:
    return np.full(len(value), "number", object)


@worker.scalar(name="kind")
def kind_of_real(value: Float64) -> Utf8:
    return np.full(len(value), "real", object)


@worker.scalar(name="kind")
def kind_of_text(value: Utf8) -> Utf8:
    return np.full(len(value), "text", object)


@worker.scalar(name="kind")
def kind_of_two(first: Int64, second: Int64) -> Utf8:
    return np.full(len(first), "two numbers", object)


@worker.scalar
def arrow_type(value: AnyColumn) -> Utf8:
    return np.full(len(value), str(pa.array(value).type if isinstance(value, np.ndarray) else value.type), object)


@worker.scalar
def scaled(x: Int64, factor: Annotated[int, Setting()]) -> Int64:
    return x * factor


@worker.scalar
def labelled(x: Int64, label: Annotated[str | None, Setting()]) -> Utf8:
    return np.array([f"{label}-{number}" for number in x], object)


@worker.scalar
def word(x: Int64, token: Annotated[dict[str, Any], Secret("vault")]) -> Utf8:
    return np.full(len(x), f"{token['word']} {token['hidden']}", object)


@worker.scalar
def fails(x: Int64, log: ClientLog) -> Int64:
    log("WARN", "about to fail", rows=len(x))
    if (x < 0).any():
        raise ValueError(f"negative value {x.min()}")
    return x


@worker.scalar
def too_short(x: Int64) -> Int64:
    return x[1:]


worker.register_ufunc("hypot", np.hypot, "x: float64, y: float64 -> float64")


# ---- tables ----


@worker.table(columns={"n": "int64", "square": "int64"}, cardinality=lambda args: args.count, projection_pushdown=True)
def numbers(count: int, *, start: int = 0, batch_size: int = 2048) -> Iterator[dict[str, object]]:
    """Whole numbers and their squares."""
    for first in range(start, start + count, batch_size):
        n = np.arange(first, min(first + batch_size, start + count))
        yield {"n": n, "square": n * n}


@worker.table(columns={"word": "utf8", "length": "int64"})
def words(*texts: str) -> Iterator[dict[str, object]]:
    yield {"word": list(texts), "length": [len(text) for text in texts]}


@worker.table(
    columns={
        "flag": "bool",
        "tiny": "int8",
        "big": "uint64",
        "real": "float32",
        "exact": "decimal128(10, 2)",
        "text": "utf8",
        "bytes": "binary",
        "day": "date32",
        "clock": "time64[us]",
        "moment": "timestamp[us]",
        "instant": "timestamp[us, tz=UTC]",
        "span": "month_day_nano_interval",
        "items": "list<int64>",
        "point": "struct<x: float64, y: float64>",
        "pairs": "map<utf8, int64>",
        "enum": "dictionary<int8, utf8>",
        "fixed": "fixed_size_list<int32>[2]",
    }
)
def every_type() -> Iterator[dict[str, object]]:
    """One row of values and one of NULLs."""
    values: dict[str, object] = {
        "flag": True,
        "tiny": -8,
        "big": 2**64 - 1,
        "real": 0.5,
        "exact": Decimal("12345678.90"),
        "text": "größer als zwölf Zeichen",
        "bytes": b"\0\xff",
        "day": dt.date(2024, 2, 29),
        "clock": dt.time(23, 59, 59, 999999),
        "moment": dt.datetime(1969, 12, 31, 23, 59, 59),
        "instant": dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC),
        "span": (14, 3, 1_000_000_000),
        "items": [1, None, 3],
        "point": {"x": 1.5, "y": None},
        "pairs": {"a": 1, "b": None},
        "enum": "member",
        "fixed": [7, 8],
    }
    yield {name: [value, None] for name, value in values.items()}


@worker.table(columns={"n": "int64"})
def fails_after(batches: int) -> Iterator[dict[str, object]]:
    for index in range(batches):
        yield {"n": [index]}
    raise RuntimeError("ran out")


@worker.table(columns={"n": "int64"})
def nothing() -> Iterator[dict[str, object]]:
    yield from ()


# ---- functions over tables ----


@worker.table_in_out(projection_pushdown=True)
def echo(data: TableInput) -> TableInput:
    return data


@worker.table_in_out
def at_least(least: int, data: pa.RecordBatch, *, negated: bool = False) -> pa.RecordBatch:
    kept = pc.less(data["n"], least) if negated else pc.greater_equal(data["n"], least)
    return data.filter(kept)


@worker.table_in_out(columns={"total": "int64"}, max_workers=1)
def grand_total(batches: Iterator[pa.RecordBatch]) -> Iterator[dict[str, object] | None]:
    found = 0
    for batch in batches:
        found += pc.sum(batch["n"]).as_py() or 0
        yield None
    if found < 0:
        raise ValueError("no negative numbers")
    yield {"total": [found]}


@worker.row_transform(columns={"i": "int64"})
def repeated(n: Int64) -> RowsOf:
    return RowsOf({"i": np.concatenate([np.arange(count) for count in n])}, np.arange(len(n)).repeat(n))


class Collect(TableBufferingFunction[None]):
    """Gives the table when all of it was read"""


@worker.table_buffering(columns={"n": "int64", "share": "float64"})
def share(data: pa.Table) -> dict[str, object]:
    numbers = data["n"].combine_chunks().cast(pa.int64())
    return {"n": numbers, "share": pc.divide(numbers.cast(pa.float64()), pc.sum(numbers))}


worker.add(Collect)
for source in arrow_ipc.FUNCTIONS:
    worker.add(source)


if __name__ == "__main__":
    worker.run()
