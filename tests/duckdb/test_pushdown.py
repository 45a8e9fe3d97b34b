"""Pushdown through SQL: a scan that filters by itself gives what DuckDB's own filter gives."""

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.duckdb.conftest import EXTENSION, Sql, quoted

duckdb = pytest.importorskip("duckdb")

WORKER: Final = Path(__file__).parent / "pushdown_worker.py"


@pytest.fixture(scope="module")
def attached() -> Iterator[Any]:
    path = os.environ.get(EXTENSION)
    if not path:
        pytest.skip(f"{EXTENSION} is not set: it names the file of DuckDB's vgi extension")
    with duckdb.connect(config={"allow_unsigned_extensions": "true", "TimeZone": "UTC"}) as made:
        made.execute(f"LOAD {quoted(path)}")
        command = shlex.join([sys.executable, "-W", "error", str(WORKER)])
        made.execute(f"ATTACH 'pushed' AS p (TYPE vgi, LOCATION {quoted(command)})")
        yield made


@pytest.fixture
def sql(attached: Any) -> Iterator[Sql]:
    with attached.cursor() as cursor:
        yield lambda statement, *parameters: cursor.execute(statement, list(parameters)).fetchall()


PREDICATES: Final = [
    "n = 17", "n <> 17", "n BETWEEN 40 AND 60", "n IN (1, 5, 77, 499)", "n IN (1, 2, 3)",
    "n > 100 AND n < 400 AND n <> 200", "i8 < -100", "i8 >= 100", "i8 = -125", "u64 > 18446744073709551600",
    "u64 = 18446744073709551614", "d > 5", "d = 'NaN'", "d <> 'NaN'", "d = 0", "d >= 'infinity'", "d < 0.5",
    "f > 0.5 AND f <= 100.25", "b", "NOT b", "b = true", "b <> true", "s > 'é'", "s LIKE 'A1%'", "s LIKE 'é%'",
    "s = 'A0'", "s IN ('A0', 'é1', 'z2')", "sv LIKE 'text number 1%'", "sv = 'text number 7'", "sv > 'text number 4'",
    "ds = 'red'", "ds <> 'red'", "ds > 'c'", "ds IN ('red', 'blue')", "ds NOT IN ('red')", "bin = '\\x05\\x00'::BLOB",
    "bin > '\\xF0'::BLOB", "dec > 1.5", "dec = -0.5", "dec IN (0.01, 0.02, 1)", "day < DATE '2024-03-01'",
    "day < DATE 'infinity'", "ts >= TIMESTAMP '2024-01-10 05:00:00'", "ts < TIMESTAMP 'infinity'",
    "zoned > TIMESTAMPTZ '2024-01-05 00:00:00+00'", "st.x = 3", "st.x > 3 AND st.x < 7", "st.m.y = 'y2'",
    "st.m.y > 'y1'", "n = 3 OR n = 9 OR n > 490", "n IS NULL", "i8 IS NULL", "i8 IS NOT NULL", "i8 = 5 OR i8 IS NULL",
    "(n = 1 AND s = 'é1') OR (n = 2 AND s = 'z2')", "i8 IS DISTINCT FROM NULL OR i8 = 3", "starts_with(s, 'A')",
    "contains(sv, '5')", "suffix(sv, '5')", "s LIKE '%1%2%'", "list_contains(l, 3)", "length(s) > 2", "n % 5 = 2",
    "n * 2 + 1 > 900", "lower(s) = 'a1'", "lower(st.m.y) = 'y1'", "regexp_matches(s, '[0-9]3$')", "s LIKE 'A_'",
    "length(s) = 2 OR s = 'A10'",
]  # fmt: skip


@pytest.mark.parametrize("predicate", PREDICATES)
def test_same_rows(sql: Sql, predicate: str) -> None:
    columns = "n, s, d::VARCHAR AS d, l, st"
    expected = sql(f"SELECT {columns} FROM (FROM p.plain() LIMIT 1000000) WHERE {predicate} ORDER BY n")
    assert sql(f"SELECT {columns} FROM p.everything() WHERE {predicate} ORDER BY n") == expected
    assert sql(f"SELECT {columns} FROM p.wide(size := 77) WHERE {predicate} ORDER BY n") == expected
    assert sql(f"SELECT count(*) FROM p.wide() WHERE {predicate}") == [(len(expected),)]


def test_random_conjunctions(sql: Sql) -> None:
    rng = Random(3)
    for _ in range(30):
        chosen = " AND ".join(f"({p})" for p in rng.sample(PREDICATES, 2))
        columns = ", ".join(rng.sample(["n", "s", "f", "ds", "sv", "dec", "l"], 3))
        expected = sql(f"SELECT {columns} FROM (FROM p.plain() LIMIT 1000000) WHERE {chosen} ORDER BY ALL")
        for function in ("everything", "wide"):
            assert sql(f"SELECT {columns} FROM p.{function}() WHERE {chosen} ORDER BY ALL") == expected, chosen


def test_filters_leave_the_plan(sql: Sql) -> None:
    plan = sql("EXPLAIN SELECT n FROM p.everything() WHERE n > 490")[0][1]
    assert "FILTER" not in plan.replace("Filters", "")
    plan = sql("EXPLAIN SELECT n FROM p.wide() WHERE starts_with(s, 'A')")[0][1]
    assert " FILTER " not in plan


def test_what_a_function_sees(sql: Sql) -> None:
    rows = sql("SELECT DISTINCT asked FROM p.asked(300) WHERE n > 17 AND n <= 120")
    filters = "PushdownFilters([AndFilter(ConstantFilter(n > 17) AND ConstantFilter(n <= 120))])"
    assert rows == [(f"{filters} Bounds((17, 120]) None",)]
    assert sql("SELECT n FROM p.asked(300) WHERE n > 17 AND n <= 19 ORDER BY n") == [(18,), (19,)]


def test_top_n_tightens(sql: Sql) -> None:
    rows = sql("SELECT n, asked FROM p.asked(20000) WHERE n >= 3 ORDER BY n LIMIT 40")
    assert [n for n, _ in rows] == list(range(3, 43))
    assert "ConstantFilter(n <" in rows[0][1] and "OrderHint('n', ASC, NULLS_LAST" in rows[0][1]
    assert sql("SELECT n FROM p.asked(5000) ORDER BY n DESC LIMIT 2") == [(5000,), (4999,)]
    expected = sql("SELECT i8 FROM (FROM p.plain() LIMIT 10000) ORDER BY i8 NULLS FIRST LIMIT 100")
    assert sql("SELECT i8 FROM p.everything(size := 9) ORDER BY i8 NULLS FIRST LIMIT 100") == expected


def test_join_keys(sql: Sql) -> None:
    query = "SELECT t.n, t.s FROM p.{}() t JOIN (VALUES (3), (77), (410)) v(k) ON t.n = k ORDER BY 1"
    expected = sql(query.format("plain"))
    assert len(expected) == 3 and sql(query.format("everything")) == expected
    strings = "SELECT count(*) FROM p.{}() t JOIN (VALUES ('A3'), ('z2'), ('é1')) v(k) ON t.s = k"
    assert sql(strings.format("everything")) == sql(strings.format("plain")) != [(0,)]
    decimals = (
        "SELECT count(*) FROM p.{}() t JOIN (SELECT (range * 3 / 100)::DECIMAL(10, 2) AS k FROM range(90)) ON dec = k"
    )
    assert sql(decimals.format("everything")) == sql(decimals.format("plain")) != [(0,)]


def test_streams_without_projection_share_their_filters(sql: Sql) -> None:
    sql("SET threads = 4")
    assert sql("SELECT DISTINCT n FROM p.counted() WHERE n = 7") == [(7,)]


def test_sampling(sql: Sql) -> None:
    assert sql("FROM p.sampled()") == [(-1,)]
    assert sql("FROM p.sampled() TABLESAMPLE SYSTEM (25%) REPEATABLE (7)") == [(25,), (7,)]


def test_partitioned_aggregate(sql: Sql) -> None:
    plan = sql("EXPLAIN SELECT country, sum(sales) FROM p.by_country() GROUP BY country")[0][1]
    assert "PARTITIONED_AGGREGATE" in plan
    assert sql("SELECT country, sum(sales) FROM p.by_country() GROUP BY country ORDER BY 1 NULLS LAST") == [
        ("AU", 490), ("FR", 145), ("US", 345), (None, 245)
    ]  # fmt: skip
    assert sql("SELECT year, country, count(*) FROM p.by_country() GROUP BY ALL ORDER BY ALL")[0] == (2020, "AU", 20)
    with pytest.raises(duckdb.Error, match="column 'k' has 2 distinct values"):
        sql("FROM p.mixed_partition()")


def test_batch_index(sql: Sql) -> None:
    assert sql("FROM p.indexed()") == [(k,) for k in range(5)]
    with pytest.raises(duckdb.Error, match="batch_index 1 after 2"):
        sql("FROM p.indexed(wrong := 2)")
    with pytest.raises(duckdb.Error, match="requires batch_index="):
        sql("FROM p.without_index()")


def test_statistics(sql: Sql) -> None:
    plan = sql("EXPLAIN SELECT * FROM p.known() WHERE n > 20")[0][1]
    assert "EMPTY_RESULT" in plan
    assert sql("SELECT stats(n), stats(s) FROM p.known() LIMIT 1")[0][0].startswith("[Min: 0, Max: 9]")
    assert "Has Unicode: true" in sql("SELECT stats(s) FROM p.known() LIMIT 1")[0][0]


def test_explain_analyze(sql: Sql) -> None:
    assert "id_bytes: 16" in sql("EXPLAIN ANALYZE FROM p.known()")[0][1]


def test_cached_results_keep_their_filters(sql: Sql) -> None:
    for _ in range(2):
        assert sql("SELECT count(*), min(n) FROM p.cached_rows() WHERE n > 850") == [(149, 851)]
    assert sql("SELECT count(*) FROM p.cached_rows()") == [(1000,)]


def test_boxes(sql: Sql) -> None:
    try:
        sql("LOAD spatial")
    except duckdb.Error as error:
        pytest.skip(f"DuckDB's spatial extension is not installed: {error}")
    assert sql("SELECT count(*) FROM p.points() WHERE geom && ST_MakeEnvelope(0, 0, 0.5, 0.5)") == [(36,)]
    assert sql("SELECT count(*) FROM p.points() WHERE geom && ST_MakeEnvelope(2, 2, 3, 3)") == [(0,)]
