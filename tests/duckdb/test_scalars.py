"""Scalar functions in SQL."""

from typing import Any

import pytest

from tests.duckdb.conftest import Sql

duckdb = pytest.importorskip("duckdb")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("t.add(1, 2)", 3),
        ("t.main.add(1, 2)", 3),
        ("t.add(1, NULL)", None),
        ("t.add(NULL::BIGINT, NULL)", None),
        ("t.add(1::TINYINT, 2::SMALLINT)", 3),
        ("t.halve(3)", 1.5),
        ("t.halve(3.5::DOUBLE)", 1.75),
        ("t.halve(NULL)", None),
        ("t.greet('wörld')", "hello wörld"),
        ("t.greet('')", "hello "),
        ("t.greet('a text of more than twelve bytes')", "hello a text of more than twelve bytes"),
        ("t.greet(NULL)", None),
        ("t.upper('bär')", "BÄR"),
        ("t.or_zero(NULL::BIGINT)", 0),
        ("t.or_zero(5)", 5),
        ("t.is_even(4)", True),
        ("t.is_even(3)", False),
        ("t.power(2, 10)", 1024),
        ("t.power(2, 5 + 5)", 1024),
        ("t.power(NULL, 2)", None),
        ("t.total(1.5)", 1.5),
        ("t.total(1, 2, 3.5, 4)", 10.5),
        ("t.total(1, NULL)", None),
        ("t.hypot(3, 4)", 5.0),
        ("t.row_numbers()", 0),
        ("t.kind(1)", "number"),
        ("t.kind(1.5::DOUBLE)", "real"),
        ("t.kind('x')", "text"),
        ("t.kind(1, 2)", "two numbers"),
        ("t.add(t.add(1, 2), t.power(2, 3))", 11),
    ],
)
def test_constants(sql: Sql, expression: str, value: object) -> None:
    assert sql(f"SELECT {expression}") == [(value,)]


@pytest.mark.parametrize("rows", [0, 1, 2047, 2048, 2049, 200_000])
def test_columns(sql: Sql, rows: int) -> None:
    (got,) = sql(
        """
        SELECT count(*), count(result), sum(result)
        FROM (SELECT t.add(i, CASE WHEN i % 3 = 0 THEN NULL ELSE 1 END) AS result FROM range(?) r(i))
        """,
        rows,
    )
    kept = [i + 1 for i in range(rows) if i % 3]
    assert got == (rows, len(kept), sum(kept) if kept else None)


def test_texts(sql: Sql) -> None:
    rows = sql("SELECT t.greet(x), t.upper(x) FROM (VALUES ('a'), (NULL), (repeat('b', 30))) v(x)")
    assert rows == [("hello a", "A"), (None, None), ("hello " + "b" * 30, "B" * 30)]


def test_special_nulls(sql: Sql) -> None:
    assert sql("SELECT t.or_zero(x) FROM (VALUES (1), (NULL), (3)) v(x)") == [(1,), (0,), (3,)]


def test_varargs_over_columns(sql: Sql) -> None:
    assert sql("SELECT t.total(i, 2 * i, NULLIF(i, 1)) FROM range(3) r(i)") == [(0.0,), (None,), (8.0,)]


def test_no_columns(sql: Sql) -> None:
    """Volatile, so called with the rows of each chunk."""
    (got,) = sql("SELECT count(*), min(n), max(n) FROM (SELECT t.row_numbers() AS n FROM range(5000))")
    assert got[0] == 5000
    assert got[1] == 0
    assert 1000 < got[2] < 5000


def test_constant_argument_has_to_be_constant(sql: Sql) -> None:
    with pytest.raises(duckdb.Error):
        sql("SELECT t.power(2, i) FROM range(3) r(i)")


def test_overloads_by_column(sql: Sql) -> None:
    assert sql("SELECT t.kind(i), t.kind(i::VARCHAR), t.kind(i::DOUBLE), t.kind(i, i) FROM range(1) r(i)") == [
        ("number", "text", "real", "two numbers")
    ]


@pytest.mark.parametrize(
    "expression", ["t.add(1)", "t.add(1, 2, 3)", "t.add('x', 1)", "t.kind(DATE '2024-01-01', 1)", "t.missing(1)"]
)
def test_calls_that_do_not_bind(sql: Sql, expression: str) -> None:
    with pytest.raises(duckdb.Error):
        sql(f"SELECT {expression}")


def test_in_other_clauses(sql: Sql) -> None:
    assert sql("SELECT i FROM range(10) r(i) WHERE t.is_even(i::INT) AND t.add(i, 1) > 5 ORDER BY t.halve(-i)") == [
        (8,),
        (6,),
    ]
    assert sql("SELECT t.is_even(i::INT) AS even, sum(t.add(i, 1)) FROM range(4) r(i) GROUP BY even ORDER BY even") == [
        (False, 6),
        (True, 4),
    ]


def test_many_threads(sql: Sql) -> None:
    expected = sum(2 * i for i in range(1_000_000))
    sql("CREATE OR REPLACE TEMP TABLE many AS SELECT range AS i FROM range(1000000)")
    assert sql("SELECT sum(t.add(i, i)) FROM many") == [(expected,)]


# ---- errors ----


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("SELECT t.fails(-5)", "negative value -5"),
        ("SELECT t.fails(i - 2500) FROM range(5000) r(i)", "negative value"),
        ("SELECT t.too_short(i) FROM range(3) r(i)", "same row count"),
    ],
)
def test_errors_reach_sql(sql: Sql, statement: str, text: str) -> None:
    with pytest.raises(duckdb.Error, match=text):
        sql(statement)
    assert sql("SELECT t.add(1, 2)") == [(3,)]


def test_errors_again_and_again(sql: Sql) -> None:
    for number in range(4):
        with pytest.raises(duckdb.Error, match=f"negative value -{number + 1}"):
            sql(f"SELECT t.fails({-number - 1})")
        assert sql(f"SELECT t.fails({number})") == [(number,)]


# ---- settings and secrets ----


def test_settings(sql: Sql) -> None:
    assert sql("SELECT t.scaled(4)") == [(40,)]
    sql("SET factor = 3")
    try:
        assert sql("SELECT t.scaled(4)") == [(12,)]
        assert sql("SELECT t.scaled(i) FROM range(3) r(i)") == [(0,), (3,), (6,)]
    finally:
        sql("RESET factor")
    assert sql("SELECT t.scaled(4)") == [(40,)]


def test_settings_of_text(sql: Sql) -> None:
    sql("SET label = 'größe'")
    try:
        assert sql("SELECT t.labelled(4)") == [("größe-4",)]
    finally:
        sql("RESET label")


def test_settings_are_listed(sql: Sql) -> None:
    (row,) = sql("SELECT description, value FROM duckdb_settings() WHERE name = 'factor'")
    assert row == ("What scaled() multiplies by", "10")


def test_secrets(sql: Sql) -> None:
    with pytest.raises(duckdb.Error):
        sql("SELECT t.word(1)")
    sql("CREATE SECRET kept (TYPE vault, word 'open', hidden 'sesame')")
    try:
        assert sql("SELECT t.word(1)") == [("open sesame",)]
        assert sql("SELECT DISTINCT t.word(i) FROM range(5000) r(i)") == [("open sesame",)]
        ((text,),) = sql("SELECT secret_string FROM duckdb_secrets() WHERE name = 'kept'")
        assert "open" in text
        assert "sesame" not in text
    finally:
        sql("DROP SECRET kept")


# ---- types ----


def test_any_type(sql: Sql) -> None:
    rows: list[tuple[Any, ...]] = sql("SELECT t.arrow_type([1, 2]), t.arrow_type(DATE '2024-01-01'), t.arrow_type('x')")
    assert len(rows) == 1
    assert all(isinstance(text, str) and text for text in rows[0])
