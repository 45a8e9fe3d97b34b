"""DuckDB with a segment for each of its connections: batches of any size go through it, in both directions."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.duckdb.conftest import Sql, attach_statement

if TYPE_CHECKING:
    import duckdb

duckdb_module = pytest.importorskip("duckdb")


@pytest.fixture
def shared(
    connection: "duckdb.DuckDBPyConnection", sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> Iterator["duckdb.DuckDBPyConnection"]:
    """The worker under the alias ``s``. DuckDB remembers what a worker can by its command."""
    monkeypatch.setenv("VGI_RPC_SHM_SIZE_BYTES", str(1 << 24))
    monkeypatch.setenv("VGI_RPC_SHM_MIN_BATCH_BYTES", "0")
    monkeypatch.setenv("VGI_RPC_SHM_DEBUG", "1")
    sql(attach_statement("s").replace("LOCATION '", "LOCATION 'env LANE=shm "))
    yield connection
    sql("DETACH s")


def pointers(capfd: pytest.CaptureFixture[str]) -> tuple[int, int]:
    """Written by DuckDB and resolved by it, as it reports them."""
    report = capfd.readouterr().err
    return report.count("wrote input"), report.count("resolved batch")


@pytest.mark.usefixtures("shared")
def test_scalars(sql: Sql, capfd: pytest.CaptureFixture[str]) -> None:
    query = "SELECT sum(s.add(range, 1)), count(s.upper(repeat('ab', range % 300))) FROM range(20000)"
    assert sql(query) == [(200_010_000, 20_000)]
    written, resolved = pointers(capfd)
    assert written >= 20
    assert resolved >= 20
    assert sql("SELECT s.upper(t) FROM (VALUES ('a'), (NULL), ('grösse')) v(t)") == [("A",), (None,), ("GRÖSSE",)]


@pytest.mark.usefixtures("shared")
def test_tables(sql: Sql, capfd: pytest.CaptureFixture[str]) -> None:
    assert sql("SELECT count(*), sum(n), sum(square) FROM s.numbers(10000)") == [(10_000, 49_995_000, 333_283_335_000)]
    assert sql("SELECT n FROM s.numbers(1000000) LIMIT 3") == [(0,), (1,), (2,)]
    assert pointers(capfd)[1] >= 6


@pytest.mark.usefixtures("shared")
def test_every_type(sql: Sql, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    query = "SELECT * REPLACE (instant::VARCHAR AS instant) FROM {}.every_type()"
    through = sql(query.format("s"))
    assert pointers(capfd)[1] == 1
    monkeypatch.delenv("VGI_RPC_SHM_SIZE_BYTES")
    assert sql(query.format("t")) == through
    assert pointers(capfd)[1] == 0


@pytest.mark.usefixtures("shared")
def test_errors(sql: Sql) -> None:
    for _ in range(2):
        with pytest.raises(duckdb_module.Error, match="negative value"):
            sql("SELECT s.fails(range - 5) FROM range(3000)")
        with pytest.raises(duckdb_module.Error, match="ran out"):
            sql("FROM s.fails_after(3)")
        assert sql("SELECT s.add(1, range) FROM range(2)") == [(1,), (2,)]


@pytest.mark.usefixtures("shared")
def test_on_several_threads(sql: Sql, capfd: pytest.CaptureFixture[str]) -> None:
    assert sql("SELECT sum(s.add(n, square)) FROM s.numbers(300000)") == [
        (sum(n + n * n for n in range(300_000)),),
    ]
    written, resolved = pointers(capfd)
    assert written >= 100
    assert resolved >= 200
