"""Pushed filters against DuckDB: random predicates over random columns of every type must select the same rows.

VGI_FILTER_CASES sets how many predicates of each type are tried.
"""

import os
from typing import Any, Final

import pytest

from tests.functions.filter_cases import KINDS, make_cases
from vgi_fast import RecordBatch
from vgi_fast.functions.filters.decoding import decode_filters
from vgi_fast.functions.filters.plan import bind_filters

duckdb = pytest.importorskip("duckdb")

CASES: Final = int(os.environ.get("VGI_FILTER_CASES", "240"))
PER_QUERY: Final = 40


@pytest.fixture(scope="module")
def oracle() -> Any:
    connection = duckdb.connect(config={"threads": 1})
    try:
        connection.execute("SET TimeZone = 'UTC'")
    except duckdb.Error:
        pass  # without the extension icu there are no zones
    connection.execute("SET arrow_lossless_conversion = true")
    return connection


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", KINDS)
def test_same_rows_as_duckdb(oracle: Any, name: str) -> None:
    for seed in range((CASES + PER_QUERY - 1) // PER_QUERY):
        cases = make_cases(seed, name, PER_QUERY)
        oracle.register("t", cases.table)
        oracle.register("c", cases.constants)
        answers = [f"coalesce({predicate.sql}, false)" for predicate in cases.predicates]
        expected = oracle.execute(f"SELECT {', '.join(answers)} FROM t, c").fetchall()
        batch = RecordBatch.from_arrow(cases.table.to_batches()[0])
        values = batch.column(0).to_pylist()
        for k, predicate in enumerate(cases.predicates):
            filters = decode_filters(cases.blob(predicate), cases.keys(predicate))
            plan = bind_filters(filters, batch.schema)
            mask = [True] * batch.num_rows if plan is None else plan.mask(batch).to_pylist()
            wanted = [row[k] for row in expected]
            assert mask == wanted, (
                f"{name}, seed {seed}: {predicate.sql} over {cases.table.column(0).type}; {filters!r}\n"
                f"{[v for v, a, b in zip(cases.table.column(0).to_pylist(), mask, wanted, strict=True) if a != b][:5]}"
            )
            if plan is not None and k % 8 == 0:
                kept = plan.apply(batch).column(0).to_pylist()
                assert repr(kept) == repr([value for value, keep in zip(values, wanted, strict=True) if keep])
