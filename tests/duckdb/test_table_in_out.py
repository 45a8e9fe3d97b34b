"""Table-in-out, row transforms, buffering and COPY in SQL."""

from pathlib import Path

import pytest

from tests.duckdb.conftest import Sql, attach_statement

duckdb = pytest.importorskip("duckdb")


def test_each_row_comes_back(sql: Sql) -> None:
    assert sql("FROM t.echo((FROM (VALUES (1, 'a'), (2, NULL)) v(n, text)))") == [(1, "a"), (2, None)]
    assert sql("FROM t.echo((SELECT 1 AS n WHERE false))") == []
    assert sql("SELECT count(*), sum(n) FROM t.echo((SELECT range AS n FROM range(100_000)))") == [
        (100_000, 4999950000)
    ]
    assert sql("SELECT text FROM t.echo((FROM (VALUES (1, 'a')) v(n, text))) WHERE n = 1") == [("a",)]


def test_order_is_kept(sql: Sql) -> None:
    sql("SET threads = 4")
    rows = sql("SELECT n FROM t.echo((SELECT range AS n FROM range(20_000)))")
    assert rows == [(n,) for n in range(20_000)]
    sql("RESET threads")


def test_limit_ends_early(sql: Sql) -> None:
    assert sql("SELECT n FROM t.echo((SELECT range AS n FROM range(1_000_000_000))) LIMIT 2") == [(0,), (1,)]


def test_arguments_beside_the_table(sql: Sql) -> None:
    query = "SELECT n FROM t.at_least({}, (SELECT range AS n FROM range(5)){})"
    assert sql(query.format(3, "")) == [(3,), (4,)]
    assert sql(query.format(3, ", negated := true")) == [(0,), (1,), (2,)]


def test_finalize(sql: Sql) -> None:
    assert sql("FROM t.grand_total((SELECT range AS n FROM range(10_000)))") == [(49995000,)]
    with pytest.raises(duckdb.Error, match="no negative numbers"):
        sql("FROM t.grand_total((SELECT -1 AS n))")
    assert sql("FROM t.grand_total((SELECT 1 AS n))") == [(1,)]


def test_row_transforms(sql: Sql) -> None:
    assert sql("FROM t.repeated(2)") == [(0,), (1,)]
    assert sql("SELECT v.n, i FROM (VALUES (2), (0), (1)) v(n), t.repeated(v.n) ORDER BY ALL") == [
        (1, 0),
        (2, 0),
        (2, 1),
    ]
    assert sql("SELECT sum(i) FROM range(3000) r(n), LATERAL t.repeated(r.n % 3)") == [(1000,)]


def test_buffering(sql: Sql) -> None:
    for _ in range(2):
        assert sql(
            "SELECT count(*), sum(n), max(text) FROM t.collect((SELECT range AS n, 'x' || range AS text "
            "FROM range(100_000)))"
        ) == [(100_000, 4999950000, "x99999")]
    assert sql("FROM t.collect((SELECT 1 AS n WHERE false))") == []
    assert sql("FROM t.share((FROM (VALUES (1), (3)) v(n)))") == [(1, 0.25), (3, 0.75)]


def test_parallel_buffering(sql: Sql) -> None:
    sql("CREATE OR REPLACE TEMP TABLE numbers AS SELECT range AS n FROM range(500_000)")
    sql("SET threads = 4")
    assert sql("SELECT count(*), count(DISTINCT n) FROM t.collect((FROM numbers))") == [(500_000, 500_000)]
    sql("RESET threads")


def test_each_call_in_another_process(sql: Sql) -> None:
    sql(attach_statement("fresh").replace(")", ", pool false)"))
    try:
        assert sql("SELECT count(*), sum(n) FROM fresh.collect((SELECT range AS n FROM range(5000)))") == [
            (5000, 12497500)
        ]
        assert sql("FROM fresh.share((FROM (VALUES (1), (3)) v(n)))") == [(1, 0.25), (3, 0.75)]
    finally:
        sql("DETACH fresh")


def test_nothing_is_left(sql: Sql) -> None:
    from vgi_fast.storage.paths import volatile_root

    sql("SELECT count(*) FROM t.collect((SELECT range AS n FROM range(5000)))")
    assert not list(Path(volatile_root()).glob("x-*/spool-in-*"))


@pytest.mark.parametrize("options", ["", ", compression 'zstd'", ", stream true"])
def test_arrow_files(sql: Sql, tmp_path: Path, options: str) -> None:
    path = tmp_path / "x.arrow"
    stream = ", stream true" if "stream" in options else ""
    sql("CREATE OR REPLACE TEMP TABLE source AS SELECT range AS n, 'text ' || range AS text FROM range(10_000)")
    sql("CREATE OR REPLACE TEMP TABLE target AS FROM source LIMIT 0")
    sql(f"COPY source TO '{path}' (FORMAT 't.arrow'{options})")
    sql(f"COPY target FROM '{path}' (FORMAT 't.arrow'{stream})")
    assert sql("SELECT count(*) FROM (FROM source EXCEPT ALL FROM target)") == [(0,)]
    assert sql("SELECT n FROM target LIMIT 3") == [(0,), (1,), (2,)]
    sql(f"COPY (FROM source LIMIT 0) TO '{path}' (FORMAT 't.arrow')")
    sql(f"COPY target FROM '{path}' (FORMAT 't.arrow')")
    assert sql("SELECT count(*) FROM target") == [(10_000,)]
    assert [one.name for one in tmp_path.iterdir()] == ["x.arrow"]
