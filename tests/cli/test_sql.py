"""``vgi-fast sql``. What needs the extension runs only where VGI_EXTENSION_PATH names it."""

import os
from pathlib import Path

import pytest

from tests.cli.conftest import BASIC, Run
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


@with_extension
def test_statements_over_the_worker(run: Run) -> None:
    output = run("sql", BASIC, "-c", "SELECT basic.double(21) AS answer", "-c", "SELECT 'two' AS second").output
    assert "answer" in output
    assert "42" in output
    assert "two" in output


@with_extension
def test_prompt(run: Run) -> None:
    typed = "SELECT\nbasic.double(4);\nSELECT nonsense;\nSELECT 'still here';\n.quit\nSELECT 'gone';\n"
    output = run("sql", BASIC, input=typed).output
    assert "attached: basic" in output
    assert " 8 " in output
    assert "nonsense" in output
    assert "still here" in output
    assert "gone" not in output


@with_extension
def test_sql_error_ends_with_status_1(run: Run) -> None:
    assert "nonsense" in run("sql", "-c", "SELECT nonsense", status=1).output
