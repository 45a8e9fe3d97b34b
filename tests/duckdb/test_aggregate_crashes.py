"""Workers killed in the middle of aggregates: the right answer, or a clear error, and nothing left behind.

    python -m tests.duckdb.test_aggregate_crashes --way run --kills 200     # the same, for longer, with counts

The workers are processes of DuckDB, those of a pool behind ``launch:``, or children of ``vgi-fast-run``; its templates
and the pool's supervisor are killed as well. DuckDB repeats a call of an aggregate once when its worker dies. A window
or streamed query may fail, a plain aggregate hardly ever does.
"""

import argparse
import os
import random
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.fix_run import command_line, compiled

if TYPE_CHECKING:
    import duckdb

EXTENSION: Final = "VGI_EXTENSION_PATH"
ROWS: Final = 400_000
WAYS: Final = ("pipe", "pool", "run")
EXPECTED_ERRORS: Final = ("EOF", "pipe", "worker", "Worker", "connection", "closed")

WORKER: Final = """
import numpy as np
from vgi_fast import Int64, Worker

worker = Worker("killed")
worker.aggregate.from_block("total", "sum", "int64 -> int64", streaming_partitioned=True)
worker.aggregate.from_block("framed", "sum", "int64 -> int64", supports_window=True)
worker.aggregate.from_block("listed", "string_agg", "utf8 -> utf8", order_dependent=True)

@worker.aggregate
class Vector:
    state = {"total": "int64"}

    def update(state, groups, value: Int64):
        np.add.at(state.total, groups, value)

    def combine(source, target):
        target.total += source.total

    def finalize(state) -> Int64:
        return state.total

@worker.aggregate
class Instance:
    def __init__(self):
        self.total = 0

    def update(self, value: int):
        self.total += value

    def combine(self, other):
        self.total += other.total

    def finalize(self) -> int:
        return self.total

worker.run()
"""

# With what DuckDB computes itself. Values differ in every batch, see ``vgi_fast.storage.groups``.
QUERIES: Final[dict[str, tuple[str, str]]] = {
    "ungrouped": (f"SELECT k.total(i) FROM range({ROWS}) t(i)", f"SELECT sum(i)::BIGINT FROM range({ROWS}) t(i)"),
    "grouped": (
        f"SELECT i % 700 AS g, k.total(i) FROM range({ROWS}) t(i) GROUP BY g ORDER BY g",
        f"SELECT i % 700 AS g, sum(i)::BIGINT FROM range({ROWS}) t(i) GROUP BY g ORDER BY g",
    ),
    "vector": (
        f"SELECT i % 90 AS g, k.vector(i) FROM range({ROWS}) t(i) GROUP BY g ORDER BY g",
        f"SELECT i % 90 AS g, sum(i)::BIGINT FROM range({ROWS}) t(i) GROUP BY g ORDER BY g",
    ),
    "instance": (
        f"SELECT i % 7 AS g, k.instance(i) FROM range({ROWS // 8}) t(i) GROUP BY g ORDER BY g",
        f"SELECT i % 7 AS g, sum(i)::BIGINT FROM range({ROWS // 8}) t(i) GROUP BY g ORDER BY g",
    ),
    "text": (
        f"SELECT md5(k.listed(i::VARCHAR ORDER BY i)) FROM range({ROWS // 8}) t(i)",
        f"SELECT md5(string_agg(i::VARCHAR, ',' ORDER BY i)) FROM range({ROWS // 8}) t(i)",
    ),
    "streamed": (
        (
            f"SELECT sum(hash(s)) FROM (SELECT k.main.total(i) OVER (PARTITION BY i % 3 ORDER BY i ROWS UNBOUNDED "
            f"PRECEDING) AS s FROM range({ROWS}) t(i))"
        ),
        (
            f"SELECT sum(hash(s)) FROM (SELECT (sum(i) OVER (PARTITION BY i % 3 ORDER BY i ROWS UNBOUNDED "
            f"PRECEDING))::BIGINT AS s FROM range({ROWS}) t(i))"
        ),
    ),
    "framed": (
        (
            "SELECT sum(hash(s)) FROM (SELECT k.main.framed(i) OVER (ORDER BY i ROWS BETWEEN 9 PRECEDING AND CURRENT "
            "ROW) AS s FROM range(3000) t(i))"
        ),
        (
            "SELECT sum(hash(s)) FROM (SELECT (sum(i) OVER (ORDER BY i ROWS BETWEEN 9 PRECEDING AND CURRENT "
            "ROW))::BIGINT AS s FROM range(3000) t(i))"
        ),
    ),
}


@contextmanager
def attached(folder: Path, way: str) -> Iterator["duckdb.DuckDBPyConnection"]:
    import duckdb

    (folder / "worker.py").write_text(WORKER, encoding="utf-8")
    command, options = [sys.executable, str(folder / "worker.py")], ""
    if way == "run":
        command = [compiled(folder), str(folder / "worker.py")]
    location = shlex.join(command)
    if way == "pool":
        location = f"launch:{location} --workers 2"
        options = f", launcher_idle_timeout '1', launcher_state_dir '{folder}'"
    with duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": 4}) as connection:
        connection.execute(f"LOAD '{os.environ[EXTENSION]}'")
        connection.execute("SET vgi_result_cache = false")
        connection.execute(f"ATTACH 'killed' AS k (TYPE vgi, LOCATION '{location}'{options})")
        yield connection


@contextmanager
def settings(folder: Path) -> Iterator[None]:
    """The environment by which workers are recognised, whoever their parent is."""
    own = {
        "VGI_FAST_STATE_DIR": str(folder),
        "VGI_FAST_RUN_DIR": str(folder),
        "VGI_FAST_PYTHON": sys.executable,
        "VGI_FAST_TEMPLATE_IDLE_S": "1",
    }
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def workers(folder: Path) -> list[int]:
    """Process ids of all that runs with the state directory, without the shells that started it."""
    marker = f"VGI_FAST_STATE_DIR={folder}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                environment = Path(entry.path, "environ").read_bytes()
                if marker in environment.split(b"\0") and not command_line(int(entry.name)).startswith(b"sh\0"):
                    found.append(int(entry.name))
            except OSError:  # it has just ended
                continue
    return found


class Killer(threading.Thread):
    """Kills one process after the other until it is told to stop, about once for each query."""

    def __init__(self, folder: Path, query_s: float, seed: int) -> None:
        super().__init__()
        self._folder = folder
        self._longest_pause_s = 2 * query_s
        self._random = random.Random(seed)
        self._ended = threading.Event()
        self.kills = 0

    def run(self) -> None:
        while not self._ended.wait(self._random.uniform(0.0, self._longest_pause_s)):
            running = workers(self._folder)
            if running:
                try:
                    os.kill(self._random.choice(running), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self.kills += 1

    def stop(self) -> None:
        self._ended.set()
        self.join()


def run(folder: Path, way: str, kills: int, seed: int, note: Callable[[str, str], Any]) -> int:
    """Queries in turn, while workers are killed; gives how many were."""
    with attached(folder, way) as connection:
        expected = {name: connection.execute(native).fetchall() for name, (_, native) in QUERIES.items()}
        began = time.monotonic()
        for name, (query, _) in QUERIES.items():
            assert connection.execute(query).fetchall() == expected[name], name
        killer = Killer(folder, (time.monotonic() - began) / len(QUERIES), seed)
        killer.start()
        try:
            while killer.kills < kills:
                for name, (query, _) in QUERIES.items():
                    note(name, outcome(connection, query, expected[name]))
        finally:
            killer.stop()
        for name, (query, _) in QUERIES.items():
            assert connection.execute(query).fetchall() == expected[name], name
    return killer.kills


def outcome(connection: "duckdb.DuckDBPyConnection", query: str, expected: list[Any]) -> str:
    import duckdb

    try:
        got = connection.execute(query).fetchall()
    except duckdb.Error as error:
        return "error" if any(text in str(error) for text in EXPECTED_ERRORS) else f"unclear error: {error}"
    return "right" if got == expected else "wrong"


def leftovers(folder: Path) -> list[str]:
    """After the last worker has gone, and a sweep as the next one would do."""
    from vgi_fast.storage.mapped import MappedStorage

    deadline = time.monotonic() + 30
    while (running := workers(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    MappedStorage(str(folder / "run"), str(folder / "keep")).sweep(-5, 0)
    kept = ("worker.py", "vgi-fast-run", "lock")
    # Locks and the log of a launcher stay for the next one.
    left = [path for path in folder.rglob("*") if path.is_file() and path.name not in kept]
    return [f"process {pid}" for pid in running] + [str(path) for path in left if path.suffix not in (".lock", ".log")]


@pytest.mark.parametrize(("way", "seed"), [("pipe", 0), ("pipe", 1), ("pool", 2), ("run", 3)])
def test_killed_workers(tmp_path: Path, way: str, seed: int) -> None:
    if not os.environ.get(EXTENSION):
        pytest.skip(f"{EXTENSION} is not set: it names the file of DuckDB's vgi extension")
    seen: Counter[tuple[str, str]] = Counter()
    with settings(tmp_path):
        run(tmp_path, way, 8, seed, lambda name, result: seen.update([(name, result)]))
        assert {result for _, result in seen} <= {"right", "error"}, seen
        assert leftovers(tmp_path) == []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", choices=WAYS, default="pipe")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seen: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name, settings(Path(name)):
        folder = Path(name)
        kills = run(
            folder, options.way, options.kills, options.seed, lambda name, result: seen.update([(name, result)])
        )
        left = leftovers(folder)
    for (query, result), count in sorted(seen.items()):
        print(f"{query:12} {result:8} {count}")
    print(f"{options.way}: {kills} processes killed, {len(left)} left: {left}")
    sys.exit(any(result not in ("right", "error") for _, result in seen) or bool(left))


if __name__ == "__main__":
    main()
