"""``vgi-fast sql``. What needs the extension runs only where VGI_EXTENSION_PATH names it."""

import os
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.cli.conftest import BASIC, Run
from vgi_fast.cli import sql
from vgi_fast.cli.sql import EXTENSION_PATH_VARIABLE

duckdb = pytest.importorskip("duckdb")
with_extension = pytest.mark.skipif(
    not os.environ.get(EXTENSION_PATH_VARIABLE), reason=f"{EXTENSION_PATH_VARIABLE} is not set"
)


def test_extension_that_cannot_be_loaded_is_explained(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EXTENSION_PATH_VARIABLE, str(tmp_path / "vgi.duckdb_extension"))
    output = run("sql", BASIC, "-c", "SELECT 1", status=1).output
    assert "DuckDB cannot load the vgi extension" in output
    assert f"set {EXTENSION_PATH_VARIABLE} to the extension file built for DuckDB {duckdb.__version__}" in output


@pytest.fixture
def plain_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB without the extension, for what does not need a worker."""
    monkeypatch.setattr(sql, "connect", lambda database: duckdb.connect(database))


@pytest.mark.usefixtures("plain_duckdb")
def test_statements_are_run_and_shown(run: Run) -> None:
    output = run("sql", "-c", "CREATE TABLE t AS SELECT range AS n FROM range(100)", "-c", "FROM t", "--rows", 3).output
    assert "int64" in output
    assert "100 rows, 3 shown" in output


@pytest.mark.usefixtures("plain_duckdb")
def test_error_ends_with_status_1(run: Run) -> None:
    assert "nonsense" in run("sql", "-c", "SELECT nonsense", status=1).output


@pytest.mark.usefixtures("plain_duckdb")
def test_prompt_reads_statements_of_many_lines_and_survives_errors(run: Run) -> None:
    typed = "SELECT\n'two lines';\nSELECT nonsense;\nSELECT 'still here';\n.quit\nSELECT 'gone';\n"
    output = run("sql", input=typed).output
    assert "two lines" in output
    assert "nonsense" in output
    assert "still here" in output
    assert "gone" not in output


def test_catalogs_are_attached_under_their_names() -> None:
    class Recorder:
        statements: ClassVar[list[str]] = []

        def execute(self, statement: str) -> None:
            self.statements.append(statement)

    recorder: Any = Recorder()
    assert sql.attach_worker(recorder, BASIC, None) == ["basic"]
    (statement,) = recorder.statements
    assert statement.startswith("ATTACH 'basic' AS \"basic\" (TYPE vgi, LOCATION '")
    assert f"serve {BASIC}')" in statement


@with_extension
def test_statements_over_the_worker(run: Run) -> None:
    output = run("sql", BASIC, "-c", "SELECT basic.double(21) AS answer", "-c", "SELECT 'two' AS second").output
    assert "answer" in output
    assert "42" in output
    assert "two" in output


@with_extension
def test_prompt_over_the_worker(run: Run) -> None:
    output = run("sql", BASIC, input="SELECT basic.double(4);").output
    assert "attached: basic" in output
    assert " 8 " in output
