"""Scans of several streams through SQL: order, partitions, and rows found late by their ids."""

import os
import shlex
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.duckdb.conftest import EXTENSION, Sql, quoted

duckdb = pytest.importorskip("duckdb")

WORKER: Final = [sys.executable, "-W", "error", "-m", "vgi_fast.examples.example_worker"]


@pytest.fixture(scope="module")
def attached() -> Iterator[Any]:
    path = os.environ.get(EXTENSION)
    if not path:
        pytest.skip(f"{EXTENSION} is not set: it names the file of DuckDB's vgi extension")
    with duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": 4}) as made:
        made.execute(f"LOAD {quoted(path)}")
        made.execute(f"ATTACH 'example' AS e (TYPE vgi, LOCATION {quoted(shlex.join(WORKER))})")
        yield made


@pytest.fixture
def sql(attached: Any) -> Iterator[Sql]:
    with attached.cursor() as cursor:
        yield lambda statement, *parameters: cursor.execute(statement, list(parameters)).fetchall()


def test_indexed_batches_come_in_order(sql: Sql) -> None:
    assert sql("FROM e.partitioned_batch_index(20000)") == [(n,) for n in range(20_000)]
    marked = "FROM e.partitioned_batch_index_marked(5000, chunk_size := 300)"
    assert sql(marked) == [(n // 300, n % 300) for n in range(5000)]
    assert sql(f"{marked} WHERE seq >= 298 LIMIT 3") == [(0, 298), (0, 299), (1, 298)]


def test_every_row_comes_once(sql: Sql) -> None:
    for name in ("sequence", "preserves_order", "no_order_guarantee", "fixed_order"):
        assert sql(f"SELECT count(*), sum(n), max(n) FROM e.partitioned_{name}(50000)") == [(50_000, 1249975000, 49999)]
    assert sql("FROM e.partitioned_fixed_order(9000)") == [(n,) for n in range(9000)]
    rows = sql("SELECT n, pushed_filters FROM e.filter_echo_partitioned(9000) WHERE n BETWEEN 4000 AND 4002 ORDER BY n")
    assert rows == [(n, "(n >= 4000 AND n <= 4002)") for n in (4000, 4001, 4002)]


def test_groups_are_read_from_the_partition_values(sql: Sql) -> None:
    query = "SELECT region, year, count(*), min(value) FROM e.region_year_partitioned(30) GROUP BY ALL"
    assert "PARTITIONED_AGGREGATE" in sql(f"EXPLAIN {query}")[0][1]
    assert sorted(sql(query)) == [
        (region, year, 30, float(1000 * (2 * block + year - 2023)))
        for region, block in (("AMER", 0), ("APAC", 2), ("EMEA", 1))
        for year in (2023, 2024)
    ]


BROKEN: Final = {
    "missing_batch_index_tag": "without vgi_batch_index metadata",
    "non_monotone_batch_index": "must be monotone non-decreasing",
    "batch_index_overflow": "exceeds DuckDB's per-pipeline cap",
    "missing_partition_values": "without vgi_partition_values metadata",
    "partition_min_neq_max": "SINGLE_VALUE_PARTITIONS contract violated",
    "partition_values_no_annotation": "requires partition-annotated fields",
    "partition_column_absent_from_batch": "is partition-annotated but absent from emitted batch",
}


def test_broken_promises_are_errors(sql: Sql) -> None:
    for name, text in BROKEN.items():
        with pytest.raises(duckdb.Error, match=text):
            sql(f"FROM e.broken_{name}(5)")
        assert sql("SELECT count(*) FROM e.sequence(5)") == [(5,)]


def test_wide_columns_are_read_of_chosen_rows_only(sql: Sql) -> None:
    query = "SELECT rowid, payload FROM e.data.{} ORDER BY ord, rowid LIMIT 30"
    assert "SEMI" in sql("EXPLAIN " + query.format("late_mat"))[0][1]
    assert "SEMI" not in sql("EXPLAIN SELECT rowid, name FROM e.data.rowid_first ORDER BY value LIMIT 3")[0][1]
    for name in ("late_mat", "late_mat_nulls"):
        found = sql(query.format(name))
        sql("SET disabled_optimizers = 'late_materialization'")
        try:
            assert found == sql(query.format(name))
        finally:
            sql("RESET disabled_optimizers")
    (pushed,) = sql("SELECT DISTINCT pushed FROM (SELECT pushed, payload FROM e.data.late_mat ORDER BY ord LIMIT 30)")
    assert pushed[0].startswith("rid:in=30;rng=")


def test_constants_of_several_types(sql: Sql) -> None:
    given = "ts := TIMESTAMPTZ '1970-01-01 00:00:01+00', iv := INTERVAL '1 month 2 seconds', blob := '\\xFF'::BLOB"
    row = (0, 1_000_000, (30 * 86_400 + 2) * 1000, b"\xff", 9, 2.5)
    assert sql(f"FROM e.typed_probe(1, {given})") == [row]
    members = "union_value(i := 1)::UNION(i BIGINT, s VARCHAR), union_value(s := 'x')::UNION(i BIGINT, s VARCHAR)"
    assert sql(f"FROM e.union_varargs({members})") == [(0, "i", "1"), (1, "s", "x")]
