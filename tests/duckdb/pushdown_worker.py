"""A worker for the tests of pushdown in SQL: one table of every type, and functions that tell what they were asked."""

import datetime as dt
import struct
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa

from vgi_fast import ColumnStatistics, Emit, Field, InitParams, OutputCollector, ProcessParams, Worker, table
from vgi_fast.functions.table import TableFunctionGenerator
from vgi_fast.wire import keys

worker = Worker("pushed")

ROWS = 500
FUNCTIONS = [
    "prefix", "starts_with", "suffix", "contains", "list_contains", "~~", "length", "lower", "struct_extract", "+",
    "%", "*", "&&", "regexp_matches",
]  # fmt: skip


def data() -> dict[str, Any]:
    numbers = range(ROWS)
    some = [None if n % 7 == 0 else n for n in numbers]
    return {
        "n": pa.array(numbers, pa.int64()),
        "i8": pa.array([None if n is None else n % 250 - 125 for n in some], pa.int8()),
        "u64": pa.array([None if n is None else 2**64 - 1 - n for n in some], pa.uint64()),
        "d": pa.array(
            [None if n is None else (float("nan"), float("inf"), -0.0, 0.0, n / 3)[n % 5] for n in some], pa.float64()
        ),
        "f": pa.array([None if n is None else n / 4 for n in some], pa.float32()),
        "b": pa.array([None if n is None else n % 3 == 0 for n in some]),
        "s": pa.array([None if n is None else f"{'Aéz'[n % 3]}{n % 40}" for n in some]),
        "sv": pa.array([None if n is None else f"text number {n % 50}" for n in some], pa.string_view()),
        "ds": pa.array([None if n is None else ("red", "green", "blue")[n % 3] for n in some]).dictionary_encode(),
        "bin": pa.array([None if n is None else bytes([n % 256, 0]) for n in some]),
        "dec": pa.array([None if n is None else Decimal(n - 200).scaleb(-2) for n in some], pa.decimal128(10, 2)),
        "day": pa.array([None if n is None else dt.date(2024, 1, 1) + dt.timedelta(n) for n in some]),
        "ts": pa.array([None if n is None else dt.datetime(2024, 1, 1) + dt.timedelta(hours=n) for n in some]),
        "zoned": pa.array(
            [None if n is None else dt.datetime(2024, 1, 1) + dt.timedelta(hours=n) for n in some],
            pa.timestamp("us", "America/New_York"),
        ),
        "st": pa.array([None if n is None else {"x": n % 9, "m": {"y": f"y{n % 4}"}} for n in some]),
        "l": pa.array([None if n is None else [n % 5, n % 7] for n in some], pa.list_(pa.int64())),
    }


TABLE = pa.table(data())


@worker.table(columns=TABLE.schema, projection_pushdown=True, filter_pushdown=True, cardinality=ROWS)
def everything(*, size: int = 150) -> Iterator[Any]:
    """Ignores what is asked: the framework selects."""
    for start in range(0, ROWS, size):
        yield TABLE.slice(start, size)


@worker.table(columns=TABLE.schema, filter_pushdown=True, supported_expression_filters=FUNCTIONS, cardinality=ROWS)
def wide(*, size: int = 150) -> Iterator[Any]:
    """Without projection: filters are found by name in batches of all columns."""
    for start in range(0, ROWS, size):
        yield TABLE.slice(start, size)


@worker.table(columns=TABLE.schema, cardinality=ROWS)
def plain() -> Iterator[Any]:
    """DuckDB filters."""
    yield TABLE


@worker.table(
    columns={"n": "int64", "asked": "utf8"},
    projection_pushdown=True,
    filter_pushdown=True,
    cardinality=lambda args: args.count,
)
def asked(count: int, params: InitParams[Any]) -> Iterator[Any]:
    """What the function sees."""
    for n in range(0, count, 100):
        shown = f"{params.filters!r} {params.filters.bounds('n')!r} {params.order_by!r}"
        values = list(range(count - n, max(count - n - 100, 0), -1))
        columns = {"n": values, "asked": [shown] * len(values)}
        yield {name: columns[name] for name in params.required_columns}  # fmt: skip


@worker.table(columns={"n": "int64"}, sampling_pushdown=True, projection_pushdown=True)
def sampled(params: InitParams[Any]) -> list[int]:
    return [-1] if params.sample is None else [int(params.sample.percentage), params.sample.seed or 0]


@worker.table(
    columns={"country": "utf8", "year": "int64", "sales": "int64"},
    partition_kind="single_value_partitions",
    partition_columns=["country", "year"],
)
def by_country() -> Iterator[Any]:
    for k, country in enumerate(["AU", "FR", None, "US", "AU"]):
        yield {"country": [country] * 10, "year": [2020 + k % 2] * 10, "sales": list(range(10 * k, 10 * k + 10))}


@worker.table(columns={"k": "utf8"}, partition_kind="single_value_partitions", partition_columns=["k"])
def mixed_partition() -> Iterator[Any]:
    yield {"k": ["a", None]}


@worker.table(columns={"n": "int64"}, order_preservation="fixed_order", supports_batch_index=True)
def indexed(*, wrong: int = 0) -> Iterator[Any]:
    for k in range(5):
        yield Emit({"n": [k]}, batch_index=k * 2 if k != wrong or not wrong else 1)


@worker.table(columns={"n": "int64"}, supports_batch_index=True)
def without_index() -> Iterator[Any]:
    yield {"n": [1]}


@worker.table(
    columns={"n": "int64", "s": "utf8"},
    statistics=lambda args: [
        ColumnStatistics("n", "int64", 0, 9, has_null=False, distinct_count=10),
        ColumnStatistics("s", "utf8", "a", "é", contains_unicode=True, max_string_length=2),
    ],
    cardinality=10,
    dynamic_to_string=lambda params: {"id_bytes": len(params.execution_id)},
)
def known() -> dict[str, Any]:
    return {"n": list(range(10)), "s": ["a", "é"] * 5}


def point(x: float, y: float) -> bytes:
    return struct.pack("<BIdd", 1, 1, x, y)


@worker.table(
    columns=[
        Field("n", "int64"),
        Field("geom", "binary", True, {keys.EXTENSION_NAME: keys.WKB, keys.EXTENSION_METADATA: b"{}"}),
    ],
    projection_pushdown=True,
    filter_pushdown=True,
    supported_expression_filters=["&&"],
)
def points() -> dict[str, Any]:
    return {"n": list(range(100)), "geom": [point(n % 10 / 10, n // 10 / 10) for n in range(100)]}


class Counted(TableFunctionGenerator[None]):
    """Several streams without projection: all of them filter."""

    class Meta:
        filter_pushdown = True
        max_workers = 3

    FIXED_SCHEMA = "n: int64"

    @classmethod
    def on_init(cls, params: InitParams[None]) -> int:
        return 3

    @classmethod
    def initial_state(cls, params: ProcessParams[None]) -> list[int]:
        return [0]

    @classmethod
    def process(cls, params: ProcessParams[None], state: list[int], out: OutputCollector) -> None:
        if state[0] >= 20:
            out.finish()
            return
        out.emit({"n": list(range(100))})
        state[0] += 1


worker.add(Counted)


@table(columns={"n": "int64"}, filter_pushdown=True, projection_pushdown=True, cache_control={"ttl": 300})
def cached_rows() -> Iterator[Any]:
    for start in range(0, 1000, 100):
        yield {"n": list(range(start, start + 100))}


worker.add(cached_rows)

if __name__ == "__main__":
    worker.run()
