"""Column statistics: computed from data, and the batch that carries them."""

import datetime as dt
import math
from decimal import Decimal
from random import Random

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.generators import random_array
from vgi_fast import (
    ColumnStatistics,
    ColumnStatisticsInput,
    DefinitionError,
    RecordBatch,
    Schema,
    statistics_from_arrow,
    statistics_from_duckdb,
)
from vgi_fast.functions.statistics import encode_listed, encoded
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import Field, decode_stream

TABLE = pa.table({
    "n": pa.array([5, None, -3, 9], pa.int64()),
    "u": pa.array([2**64 - 1, 0, None, 1], pa.uint64()),
    "d": pa.array([1.5, float("nan"), None, -0.5]),
    "s": pa.array(["b", "é", None, "ab"]),
    "v": pa.array(["x" * 20, "a", "a", "a"], pa.string_view()),
    "e": pa.array(["m", "k", "m", None]).dictionary_encode(),
    "b": pa.array([True, True, None, True]),
    "dec": pa.array([Decimal("1.50"), Decimal("-2.25"), None, None], pa.decimal128(10, 2)),
    "day": pa.array([dt.date(2024, 1, 2), None, dt.date(1960, 1, 1), None]),
    "l": pa.array([[1], None, [2, 3], []]),
    "none": pa.array([None] * 4, pa.int32()),
})  # fmt: skip


def test_from_arrow() -> None:
    for data in (TABLE, TABLE.to_batches()[0], [RecordBatch.from_arrow(TABLE.to_batches()[0])],
                 [TABLE.slice(0, 1).to_batches()[0], TABLE.slice(1).to_batches()[0]]):  # fmt: skip
        found = {one.name: one for one in statistics_from_arrow(data)}
        bounds = {name: (one.min, one.max) for name, one in found.items() if name != "d"}
        assert bounds == {
            "n": (-3, 9), "u": (0, 2**64 - 1), "s": ("ab", "é"), "v": ("a", "x" * 20), "e": ("k", "m"),
            "b": (True, True), "dec": (Decimal("-2.25"), Decimal("1.50")), "l": (None, None), "none": (None, None),
            "day": (dt.date(1960, 1, 1), dt.date(2024, 1, 2)),
        }  # fmt: skip
        assert found["d"].min == -0.5 and math.isnan(found["d"].max)
        assert [found[name].has_null for name in ("n", "v", "none")] == [True, False, True]
        assert [found[name].has_not_null for name in ("n", "v", "none")] == [True, True, False]
        assert [found[name].distinct_count for name in ("n", "v", "e", "b")] == [3, 2, 2, 1]
        assert (found["s"].contains_unicode, found["s"].max_string_length) == (True, 2)
        assert (found["v"].contains_unicode, found["v"].max_string_length) == (False, 20)
        assert str(found["e"].type) == "utf8"
    assert statistics_from_arrow([]) == []


@pytest.mark.parametrize("type", [pa.int8(), pa.uint32(), pa.float32(), pa.decimal128(20, 3), pa.binary(), pa.date64()])
def test_extremes_are_those_of_pyarrow(type: pa.DataType) -> None:
    rng = Random(3)
    for _ in range(20):
        array = random_array(rng, type, rng.choice([1, 7, 200]))
        if pa.types.is_floating(type):
            array = pc.if_else(pc.is_nan(array), None, array)
        found = statistics_from_arrow(pa.table({"c": array}))[0]
        ends = pc.min_max(array).as_py()
        assert (found.min, found.max) == (ends["min"], ends["max"])
        assert found.has_null == (array.null_count > 0)


@pytest.mark.parametrize("count", [10, 1000, 50_000])
def test_distinct_values_are_estimated(count: int) -> None:
    numbers = pa.array([n * 7919 for n in range(count)] * 2)
    table = pa.table({"n": numbers, "s": pc.cast(numbers, pa.utf8()), "f": pc.cast(numbers, pa.float64())})
    for one in statistics_from_arrow(table):
        assert one.distinct_count is not None and abs(one.distinct_count - count) <= max(1, count * 0.06)


def test_the_batch() -> None:
    blob = encode_listed(
        [
            ColumnStatistics("id", "int64", 1, 10, has_null=False, distinct_count=10),
            ColumnStatistics("name", "utf8", "Accounting", "Sales", contains_unicode=False, max_string_length=20),
            ColumnStatistics("unsafe", "utf8", "a", "b"),
            ColumnStatistics("mystery", "list<int64>"),
        ],
        60,
    )
    schema, batches = decode_stream(blob)
    assert schema.names == [
        "column_name", "min", "max", "has_null", "has_not_null", "distinct_count", "contains_unicode",
        "max_string_length",
    ]  # fmt: skip
    assert batches[0].metadata == {b"cache_max_age_seconds": b"60"}
    assert str(schema["min"].type) == str(schema["max"].type) == "sparse_union<0: 0: int64, 1: 1: utf8, 2: 2: null>"
    rows = pa.ipc.open_stream(blob).read_all().to_pylist()
    assert [(row["min"], row["max"]) for row in rows] == [(1, 10), ("Accounting", "Sales"), (None, None), (None, None)]
    assert [row["contains_unicode"] for row in rows] == [None, False, True, None]
    assert [row["max_string_length"] for row in rows] == [None, 20, None, None]
    empty = decode_stream(encode_listed([]))
    assert str(empty[0]["min"].type) == "sparse_union<0: 0: null>" and empty[1][0].num_rows == 0


@pytest.mark.parametrize("listed", [False, True])
def test_corners_of_geometries_have_no_length(listed: bool) -> None:
    low, high = b"\1\1\0\0\0" + bytes(16), b"\1\1\0\0\0" + b"\xff" * 16
    columns = Schema([Field("geom", "binary", True, {keys.EXTENSION_NAME: keys.WKB}), Field("blob", "binary")])
    corners = {name: ColumnStatisticsInput(low, high) for name in columns.names}
    given = [ColumnStatistics(name, "binary", low, high) for name in columns.names] if listed else corners
    blob = encoded(given, columns, "here")
    assert blob is not None
    rows = pa.ipc.open_stream(blob).read_all().to_pylist()
    assert [(row["min"], row["max"]) for row in rows] == [(low, high), (None, None)]


def test_what_is_refused() -> None:
    with pytest.raises(DefinitionError, match="statistics of column 'n' need both bounds"):
        ColumnStatistics("n", "int64", 1)
    columns = Schema.parse("n: int64")
    with pytest.raises(DefinitionError, match="statistics column 'z' not found"):
        encoded([ColumnStatistics("z", "int64")], columns, "here")
    with pytest.raises(ValueError, match="are ColumnStatistics, got int"):
        encoded([1], columns, "here")
    assert encoded(None, columns, "here") is None and encoded(b"x", columns, "here") == b"x"


def test_from_duckdb() -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT range AS n, 'é' || range AS s, [range] AS l FROM range(100)")
        connection.execute("INSERT INTO t VALUES (NULL, NULL, NULL)")
        number, text, items = statistics_from_duckdb(connection, "t")
    assert (number.min, number.max, number.has_null, number.has_not_null) == (0, 99, True, True)
    assert number.distinct_count is not None and 90 <= number.distinct_count <= 110
    assert (text.min, text.max, text.contains_unicode, text.max_string_length) == ("é0", "é99", True, 4)
    assert (items.min, items.max) == (None, None)
