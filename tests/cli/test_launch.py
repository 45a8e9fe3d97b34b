"""``vgi-fast launch``: as DuckDB's ``launch:``, from a shell."""

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import BASIC, Run
from vgi_fast.client import Client

COMMAND = [sys.executable, BASIC, "--workers", "1"]


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "vgi-rpc"


def test_launch_and_status(run: Run, state_dir: Path) -> None:
    status = run("launch", "--status", "--", *COMMAND, status=1).output
    launched = run("launch", "--idle-timeout", "5", "--connect-timeout", "10", "--", *COMMAND).output
    assert launched == status
    assert launched.startswith(f"UNIX:{state_dir}/")
    with Client(f"unix://{launched.strip()[5:]}", timeout_s=30) as client:
        assert client.attach().name == "basic"
        assert run("launch", "--status", "--", *COMMAND).output == status


def test_collection(run: Run, state_dir: Path) -> None:
    import socket

    state_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(state_dir / "dead.sock"))
    assert "removed" in run("launch", "--gc").output
    assert not (state_dir / "dead.sock").exists()


def test_wrong_use(run: Run) -> None:
    assert "no command given" in run("launch", status=2).output
    assert "cannot start worker: no-such-program" in run("launch", "--", "no-such-program", status=1).output
