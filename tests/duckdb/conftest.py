"""``sql``: a DuckDB cursor with the worker attached as ``t``; without VGI_EXTENSION_PATH its tests are skipped."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    import duckdb

EXTENSION: Final = "VGI_EXTENSION_PATH"
WORKER: Final = Path(__file__).parent / "worker.py"

Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="package")
def connection() -> Iterator["duckdb.DuckDBPyConnection"]:
    path = os.environ.get(EXTENSION)
    if not path:
        pytest.skip(f"{EXTENSION} is not set: it names the file of DuckDB's vgi extension")
    import duckdb

    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as made:
        made.execute(f"LOAD {quoted(path)}")
        made.execute(attach_statement())
        yield made


def attach_statement(name: str = "t") -> str:
    command = shlex.join([sys.executable, "-W", "error", str(WORKER)])
    return f"ATTACH 'tested' AS {name} (TYPE vgi, LOCATION {quoted(command)})"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@pytest.fixture
def sql(connection: "duckdb.DuckDBPyConnection") -> Iterator[Sql]:
    """``sql("SELECT …", parameter…)`` gives the rows."""
    with connection.cursor() as cursor:

        def run(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
            return cursor.execute(statement, list(parameters)).fetchall()

        yield run
