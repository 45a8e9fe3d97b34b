"""How many calls a query costs: DuckDB waits for each of them."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.duckdb.conftest import EXTENSION, quoted

WORKER = Path(__file__).parent / "counted_worker.py"

Calls = Callable[[str], tuple[list[tuple[Any, ...]], list[str]]]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    """``calls("SELECT …")`` gives the rows, and the methods that the workers were asked for meanwhile."""
    path = os.environ.get(EXTENSION)
    if not path:
        pytest.skip(f"{EXTENSION} is not set: it names the file of DuckDB's vgi extension")
    import duckdb

    # DuckDB keeps workers from test to test, so all of them write to one file.
    log = tmp_path_factory.mktemp("calls") / "log"
    log.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CALLS_LOG", str(log))
        with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
            connection.execute(f"LOAD {quoted(path)}")

            def run(statement: str) -> tuple[list[tuple[Any, ...]], list[str]]:
                before = len(log.read_text().splitlines())
                rows = connection.execute(statement).fetchall()
                return rows, log.read_text().splitlines()[before:]

            yield run


def attach(alias: str, catalog: str = "counted") -> str:
    command = shlex.join(["env", f"CALLS_OF={catalog}", sys.executable, "-W", "error", str(WORKER)])
    return f"ATTACH {quoted(catalog)} AS {alias} (TYPE vgi, LOCATION {quoted(command)})"


def test_attach_costs_two_calls(calls: Calls) -> None:
    assert calls(attach("a"))[1] == ["catalog_attach", "catalog_copy_from_formats"]


def test_a_table_costs_four_calls_and_then_one(calls: Calls) -> None:
    calls(attach("b"))
    rows, first = calls("SELECT sum(n), count(*) FROM b.hundred WHERE n < 10")
    assert rows == [(45, 10)]
    assert first == [
        "catalog_schemas",
        "catalog_schema_contents_tables",
        "catalog_schema_contents_functions",
        "init",
    ]
    assert calls("SELECT sum(n), count(*) FROM b.hundred WHERE n < 10") == (rows, ["init"])
    assert calls("SELECT min(n), max(n) FROM b.hundred")[1] in (["init"], [])
    assert calls("SELECT * FROM b.hundred WHERE n > 1000") == ([], [])  # the statistics rule it out


def test_a_missing_table_is_not_listed_again(calls: Calls) -> None:
    calls(attach("c"))
    calls("FROM c.hundred LIMIT 1")
    with pytest.raises(Exception, match="does not exist"):
        calls("FROM c.nothing")
    assert calls("SELECT count(*) FROM c.hundred")[1] == ["init"]


def test_a_scalar_lists_scalars_only(calls: Calls) -> None:
    calls(attach("d"))
    assert calls("SELECT d.same(1)")[1] == [
        "catalog_schemas",
        "catalog_schema_contents_functions",
        "bind",
        "bind",
        "init",
    ]


def test_a_function_is_asked_for_what_it_knows(calls: Calls) -> None:
    calls(attach("e"))
    assert calls("SELECT count(*) FROM e.numbers(10) WHERE n > 1000")[1] == [
        "catalog_schemas",
        "catalog_schema_contents_functions",
        "bind",
        "table_function_cardinality",
        "table_function_statistics",
    ]


def test_a_catalog_of_many_objects_costs_no_more(calls: Calls) -> None:
    assert calls(attach("f", "example"))[1] == ["catalog_attach", "catalog_copy_from_formats"]
    rows, first = calls("SELECT sum(n) FROM f.data.cardinality_inlined_table")
    assert rows == [(49_995_000,)]
    # The catalog has transactions, which cost two calls a statement.
    begin, commit = "catalog_transaction_begin", "catalog_transaction_commit"
    assert first == [
        begin,
        "catalog_schemas",
        "catalog_schema_contents_tables",
        # The function is not in the table's schema but in the default one; DuckDB looks into both.
        "catalog_schema_contents_functions",
        "catalog_schema_contents_functions",
        "init",
        commit,
    ]
    assert calls("SELECT sum(n) FROM f.data.cardinality_inlined_table") == (rows, [begin, "init", commit])
    assert calls("SELECT f.multiply(7, 6)")[1] == [
        begin,
        "catalog_schema_contents_functions",
        "bind",
        "bind",
        "init",
        commit,
    ]
    assert calls("SELECT f.multiply(8, 6)")[1] == [begin, "bind", "bind", "init", commit]
