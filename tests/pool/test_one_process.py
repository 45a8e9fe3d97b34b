"""Catalogs whose calls share variables keep a worker on a socket one process."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.pool.conftest import DEADLINE_S, pid_of
from vgi_fast.client import Client

PROGRAM = dedent(
    """
    import os
    from vgi_fast import Catalog, CatalogInterface, Int64, Worker, scalar
    from vgi_fast.catalog.readonly import ReadOnlyCatalogInterface

    @scalar
    def pid(x: Int64) -> Int64:
        return x + os.getpid()

    class Sharing(ReadOnlyCatalogInterface):
        one_process = True

    Worker("w", catalogs=[Sharing(Catalog("pooled", functions=[pid]))]).run()
    """
)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "worker.py"
    path.write_text(PROGRAM)
    return path


def test_one_process_serves_all_connections(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    flags = ["--unix", str(path), "--idle-timeout", "0.2"]
    started = subprocess.Popen([sys.executable, str(program), *flags], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    with started.stdout as stdout:
        assert stdout.readline() == f"UNIX:{path}\n"
    clients = [Client(f"unix://{path}", timeout_s=DEADLINE_S) for _ in range(3)]
    assert [pid_of(client) for client in clients] == [started.pid] * 3
    for client in clients:
        client.close()
    assert started.wait(DEADLINE_S + 60) == 0


@pytest.mark.parametrize("flag", [["--workers", "2"], ["--no-threaded"], ["--max-requests", "5"]])
def test_more_processes_are_refused(program: Path, tmp_path: Path, flag: list[str]) -> None:
    path = tmp_path / "s"
    done = subprocess.run(
        [sys.executable, str(program), "--unix", str(path), *flag],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "VGI_QUIET": "1"},
        check=False,
    )
    assert done.returncode == 1
    assert "w: Sharing('pooled') needs one process that stays" in done.stderr
    assert not path.exists()
