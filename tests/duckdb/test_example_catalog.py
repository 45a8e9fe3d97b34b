"""The example worker under DuckDB, where SQL itself is what matters: transactions, profiles, AT."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.duckdb.conftest import EXTENSION, quoted

Run = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    path = os.environ.get(EXTENSION)
    if not path:
        pytest.skip(f"{EXTENSION} is not set: it names the file of DuckDB's vgi extension")
    import duckdb

    command = shlex.join([sys.executable, "-W", "error", "-m", "vgi_fast.examples.example_worker"])
    config: dict[str, Any] = {"allow_unsigned_extensions": "true", "arrow_lossless_conversion": "true"}
    with duckdb.connect(config=config) as made:
        made.execute(f"LOAD {quoted(path)}")
        made.execute(f"ATTACH 'example' AS ex (TYPE vgi, LOCATION {quoted(command)})")
        yield lambda statement: made.execute(statement).fetchall()


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_transaction_keeps_its_value(run: Run, end: str) -> None:
    value = "SELECT v FROM ex.tx_cached_value('key', {})"
    assert [run(value.format(seed)) for seed in (1, 2)] == [[(1,)], [(2,)]]
    run("BEGIN")
    assert [run(value.format(seed)) for seed in (3, 4)] == [[(3,)], [(3,)]]
    both = run(f"{value.format(5)} UNION ALL SELECT v FROM ex.tx_cached_value('other', 6) ORDER BY v")
    assert both == [(3,), (6,)]
    run(end)
    assert run(value.format(7)) == [(7,)]


def test_a_profile_of_all_threads(run: Run) -> None:
    (((_, plan),),) = (run("EXPLAIN ANALYZE SELECT count(*) FROM ex.profiling_demo(100000, batch_size := 1000)"),)
    assert "rows_produced: 100000" in plan
    assert "batches_emitted: 100" in plan
    assert "elapsed_ms" in plan
    assert run("SELECT n FROM ex.profiling_demo(1000000) LIMIT 1") == [(0,)]


@pytest.mark.parametrize("table", ["tt_pushdown_fn", "tt_pushdown_cols"])
def test_versions_and_filters_in_one_query(run: Run, table: str) -> None:
    query = f"SELECT id, seen_version, pushed_filters FROM ex.data.{table} {{}} WHERE id >= 5 ORDER BY id"
    assert run(query.format("AT (VERSION => 1)")) == [(5, 1, "id >= 5")]
    assert run(query.format("AT (TIMESTAMP => TIMESTAMP '2019-01-01')")) == [(5, 1, "id >= 5")]
    assert run(query.format("")) == [(id, 2, "id >= 5") for id in range(5, 11)]


def test_constants_keep_their_types(run: Run) -> None:
    constants = "'550e8400-e29b-41d4-a716-446655440000'::UUID, 170141183460469231731687303715884105727::HUGEINT, 1.50"
    found = run(f"FROM ex.constant_columns(2, {constants}, NULL::DATE, INTERVAL '1 year 3 days')")
    assert found == run(f"SELECT {constants}, NULL::DATE, INTERVAL '1 year 3 days' FROM range(2)")
