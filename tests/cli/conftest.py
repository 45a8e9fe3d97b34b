"""Running commands in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fix_worker import WORKERS
from vgi_fast.cli.app import app

Run = Callable[..., Result]
BASIC = str(WORKERS / "basic.py")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in an empty folder; it has to succeed unless ``status`` says otherwise."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*args: object, status: int = 0, input: str | None = None) -> Result:
        result = CliRunner().invoke(app, [str(arg) for arg in args], input=input, catch_exceptions=False)
        assert result.exit_code == status, result.output
        return result

    return invoke
