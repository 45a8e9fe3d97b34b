"""``launch:`` in SQL: one pool for everybody, its processes used evenly."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.duckdb.conftest import EXTENSION, quoted
from tests.fix_worker import WORKERS
from vgi_fast.client import Client, Launcher

duckdb = pytest.importorskip("duckdb")

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

COMMAND = shlex.join([sys.executable, "-W", "error", str(WORKERS / "pooled.py"), "--workers", "2"])


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["DuckDBPyConnection"]:
    path = os.environ.get(EXTENSION)
    if not path:
        pytest.skip(f"{EXTENSION} is not set: it names the file of DuckDB's vgi extension")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": "4"}) as made:
        made.execute(f"LOAD {quoted(path)}")
        made.execute("SET vgi_result_cache = false")
        made.execute(
            f"ATTACH 'pooled' AS p (TYPE vgi, LOCATION {quoted(f'launch:{COMMAND}')}, launcher_idle_timeout '1')"
        )
        yield made


def pid_of(client: Client) -> int:
    answer: list[int] = client.attach("pooled").scalar("pid", {"x": [0]}).to_pylist()
    return answer[0]


def test_duckdb_and_this_client_share_one_process(launched: "DuckDBPyConnection") -> None:
    (pid,) = launched.execute("SELECT p.pid(1)").fetchall()[0]
    launcher = Launcher(COMMAND)
    assert sorted(path.name for path in launcher.socket_path.parent.iterdir()) == [
        launcher.lock_path.name,
        launcher.socket_path.name,
    ]
    with Client(f"launch:{COMMAND}", timeout_s=30) as client:
        assert pid_of(client) == pid
        assert launched.execute("SELECT p.double(4)").fetchall() == [(8,)]


def test_threads_use_all_processes(launched: "DuckDBPyConnection") -> None:
    launched.execute("CREATE TABLE numbers AS SELECT range AS i FROM range(2_000_000)")
    pids = launched.execute("SELECT p.pid(i), count(*) FROM numbers GROUP BY ALL").fetchall()
    assert len(pids) == 2
    assert sum(count for _, count in pids) == 2_000_000


def test_a_killed_process_is_no_news_for_the_next_query(launched: "DuckDBPyConnection") -> None:
    launched.execute("CREATE TABLE numbers AS SELECT range AS i FROM range(300_000)")
    for _ in range(3):
        (pid,) = launched.execute("SELECT p.pid(1)").fetchall()[0]
        os.kill(pid, signal.SIGKILL)
        assert launched.execute("SELECT sum(p.double(i)) FROM numbers").fetchall() == [(299_999 * 300_000,)]


def test_a_crash_in_mid_query_is_an_error(launched: "DuckDBPyConnection") -> None:
    with pytest.raises(duckdb.Error):
        launched.execute("SELECT p.die(1)").fetchall()
    assert launched.execute("SELECT p.double(4)").fetchall() == [(8,)]
