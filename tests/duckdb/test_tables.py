"""Table functions, catalogs and attaching in SQL."""

import datetime as dt
from decimal import Decimal

import pytest

from tests.duckdb.conftest import Sql, attach_statement

duckdb = pytest.importorskip("duckdb")


def test_rows(sql: Sql) -> None:
    assert sql("FROM t.numbers(4)") == [(0, 0), (1, 1), (2, 4), (3, 9)]
    assert sql("FROM t.numbers(0)") == []
    assert sql("FROM t.nothing()") == []


def test_named_arguments(sql: Sql) -> None:
    assert sql("FROM t.numbers(2, start := 10)") == [(10, 100), (11, 121)]
    assert sql("FROM t.numbers(3, start := 1, batch_size := 1)") == [(1, 1), (2, 4), (3, 9)]
    assert sql("FROM t.numbers(3, batch_size := 2, start := -3)") == [(-3, 9), (-2, 4), (-1, 1)]


def test_varargs(sql: Sql) -> None:
    assert sql("FROM t.words('a', 'größe', '')") == [("a", 1), ("größe", 5), ("", 0)]


@pytest.mark.parametrize("rows", [1, 2048, 2049, 100_000])
def test_many_rows(sql: Sql, rows: int) -> None:
    assert sql("SELECT count(*), sum(n) FROM t.numbers(?)", rows) == [(rows, rows * (rows - 1) // 2)]


def test_projection(sql: Sql) -> None:
    assert sql("SELECT square FROM t.numbers(3)") == [(0,), (1,), (4,)]
    assert sql("SELECT square, n FROM t.numbers(2)") == [(0, 0), (1, 1)]
    assert sql("SELECT count(*) FROM t.numbers(5000)") == [(5000,)]
    assert sql("SELECT n FROM t.numbers(10) WHERE square > 50 ORDER BY n DESC") == [(9,), (8,)]


def test_limit_ends_early(sql: Sql) -> None:
    assert sql("SELECT n FROM t.numbers(1000000000) LIMIT 3") == [(0,), (1,), (2,)]
    assert sql("SELECT t.add(n, 1) FROM t.numbers(1000000000) LIMIT 1") == [(1,)]


def test_joins(sql: Sql) -> None:
    assert sql("SELECT a.n, b.square FROM t.numbers(3) a JOIN t.numbers(5, start := 1) b USING (n) ORDER BY 1") == [
        (1, 1),
        (2, 4),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "FROM t.numbers()",
        "FROM t.numbers(1, 2)",
        "FROM t.numbers(1, nothing := 2)",
        "FROM t.numbers('x')",
        "FROM t.missing(1)",
    ],
)
def test_calls_that_do_not_bind(sql: Sql, statement: str) -> None:
    with pytest.raises(duckdb.Error):
        sql(statement)


@pytest.mark.parametrize("batches", [0, 1, 5])
def test_errors_in_the_middle(sql: Sql, batches: int) -> None:
    with pytest.raises(duckdb.Error, match="ran out"):
        sql(f"FROM t.fails_after({batches})")
    assert sql("FROM t.numbers(1)") == [(0, 0)]


def test_every_type(sql: Sql) -> None:
    sql("SET TimeZone = 'UTC'")
    values, nulls = sql(
        "SELECT * EXCLUDE (instant), instant = TIMESTAMPTZ '2024-02-29 12:00:00+00' FROM t.every_type()"
    )
    assert nulls == (None,) * 17
    assert values == (
        True,
        -8,
        2**64 - 1,
        0.5,
        Decimal("12345678.90"),
        "größer als zwölf Zeichen",
        b"\0\xff",
        dt.date(2024, 2, 29),
        dt.time(23, 59, 59, 999999),
        dt.datetime(1969, 12, 31, 23, 59, 59),
        values[10],
        [1, None, 3],
        {"x": 1.5, "y": None},
        {"a": 1, "b": None},
        "member",
        (7, 8),
        True,
    )
    assert sql("SELECT span = INTERVAL '14 months 3 days 1 second' FROM t.every_type() LIMIT 1") == [(True,)]
    types = {row[0]: row[1] for row in sql("DESCRIBE FROM t.every_type()")}
    assert types["exact"] == "DECIMAL(10,2)"
    assert types["instant"] == "TIMESTAMP WITH TIME ZONE"
    assert types["point"] == "STRUCT(x DOUBLE, y DOUBLE)"
    assert types["fixed"] == "INTEGER[2]"


def test_create_table_as(sql: Sql) -> None:
    sql("CREATE OR REPLACE TEMP TABLE copied AS FROM t.numbers(10000)")
    assert sql("SELECT count(*), max(square) FROM copied") == [(10000, 9999**2)]


# ---- catalogs ----


def test_functions_are_listed(sql: Sql) -> None:
    rows = sql("SELECT DISTINCT function_name FROM duckdb_functions() WHERE database_name = 't'")
    assert {"add", "kind", "numbers", "words", "hypot"} <= {name for (name,) in rows}


def test_attach_again(sql: Sql) -> None:
    sql(attach_statement("other"))
    try:
        assert sql("SELECT other.add(1, 2), t.add(3, 4)") == [(3, 7)]
    finally:
        sql("DETACH other")
    with pytest.raises(duckdb.Error):
        sql("SELECT other.add(1, 2)")


def test_use(sql: Sql) -> None:
    sql("USE t")
    try:
        assert sql("SELECT add(1, 2)") == [(3,)]
        assert sql("FROM numbers(1)") == [(0, 0)]
    finally:
        sql("USE memory")


def test_catalogs_that_do_not_exist(sql: Sql) -> None:
    with pytest.raises(duckdb.Error):
        sql(attach_statement("missing").replace("'tested'", "'missing'", 1))
