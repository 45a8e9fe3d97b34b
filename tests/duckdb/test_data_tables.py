"""Tables from data, in SQL."""

import datetime as dt
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.duckdb.conftest import EXTENSION, Sql, quoted

duckdb = pytest.importorskip("duckdb")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files")
    data = pa.table({"year": [2020] * 1000 + [2021] * 1000, "v": range(2000), "s": [f"ä{n}" for n in range(2000)]})
    partitioning = ds.partitioning(pa.schema([("year", pa.int32())]), flavor="hive")
    ds.write_dataset(data, made, format="parquet", partitioning=partitioning)
    return made


@pytest.fixture(scope="module")
def attached(folder: Path) -> Iterator[Any]:
    path = os.environ.get(EXTENSION)
    if not path:
        pytest.skip(f"{EXTENSION} is not set: it names the file of DuckDB's vgi extension")
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
        connection.execute(f"LOAD {quoted(path)}")
        command = shlex.join(
            [sys.executable, "-W", "error", str(Path(__file__).parent / "data_worker.py"), str(folder)]
        )
        connection.execute(f"ATTACH 'data' AS d (TYPE vgi, LOCATION {quoted(command)})")
        yield connection


@pytest.fixture
def sql(attached: Any) -> Sql:
    return lambda statement, *parameters: attached.execute(statement, list(parameters)).fetchall()


def test_rows(sql: Sql) -> None:
    assert sql("FROM d.people") == [(1, "Ann", dt.datetime(1980, 1, 2)), (2, "Bö", None), (3, None, None)]
    assert sql("SELECT comment FROM duckdb_tables() WHERE table_name = 'people'") == [("Three of them",)]
    assert sql("SELECT sum(n), max(text), count(third) FROM d.numbers") == [(19_999_900_000, "t999", 200_000)]


def test_filters_and_order(sql: Sql) -> None:
    assert sql("SELECT n FROM d.numbers WHERE third > 66666 AND text = 't999' ORDER BY n") == [(199_999,)]
    assert sql("SELECT n FROM d.numbers ORDER BY n DESC LIMIT 2") == [(199_999,), (199_998,)]
    assert sql("SELECT count(*) FROM d.people WHERE born IS NULL") == [(2,)]
    plan = sql("EXPLAIN SELECT n FROM d.numbers WHERE n < 10")[0][1]
    assert "FILTER " not in plan
    assert "n<10" in plan.replace(" ", "")


def test_statistics(sql: Sql) -> None:
    """A scan that cannot find anything is not even planned."""
    assert "EMPTY_RESULT" in sql("EXPLAIN SELECT n FROM d.numbers WHERE n > 500000")[0][1]
    assert "EMPTY_RESULT" in sql("EXPLAIN SELECT v FROM d.files WHERE year < 2020")[0][1]
    assert sql("SELECT length(s), upper(s) FROM d.files WHERE v = 7") == [(2, "Ä7")]
    assert sql("SELECT min(s), max(s) FROM d.files GROUP BY year ORDER BY year") == [("ä0", "ä999"), ("ä1000", "ä1999")]


def test_files_are_read_again_only_when_they_have_changed(sql: Sql) -> None:
    sql("SET vgi_result_cache_revalidate_min_bytes = 0")
    sql("CALL enable_logging(level := 'debug')")
    for _ in range(3):
        assert sql("SELECT sum(v) FROM d.kept") == [(1_999_000,)]
    outcomes = "type = 'VGI' AND message LIKE '%result_cache.revalidate%' AND message LIKE '%not_modified%'"
    assert sql(f"SELECT count(*) FROM duckdb_logs() WHERE {outcomes}") == [(2,)]
    sql("CALL disable_logging()")


def test_lazy_frames(sql: Sql) -> None:
    pytest.importorskip("polars")
    assert sql("SELECT count(*), sum(a) FROM d.lazy WHERE b = 3 AND a < 1000") == [
        (143, sum(a for a in range(1000) if a % 7 == 3))
    ]


def test_join_of_tables(sql: Sql) -> None:
    assert sql("SELECT name FROM d.people JOIN d.numbers ON n = id WHERE third >= 0.5 ORDER BY id") == [
        ("Bö",),
        (None,),
    ]


def test_new_files_are_seen(sql: Sql, folder: Path) -> None:
    """Also beyond the old statistics."""
    assert sql("SELECT count(*) FROM d.files") == [(2000,)]
    (folder / "year=2022").mkdir()
    pq.write_table(pa.table({"v": [10**6], "s": ["new"]}), folder / "year=2022" / "part.parquet")
    assert sql("SELECT year, v, s FROM d.files WHERE v > 5000") == [(2022, 10**6, "new")]
    assert sql("SELECT count(*) FROM d.files") == [(2001,)]
