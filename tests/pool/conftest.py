"""``pool``: starts a worker of several processes, which must not leave anything behind."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from tests.fix_worker import WORKERS
from vgi_fast.client import Client

DEADLINE_S = 20.0
PROC = Path("/proc")

pytestmark = pytest.mark.skipif(not PROC.is_dir(), reason="needs /proc")


class Pool:
    """A supervisor and its processes."""

    def __init__(
        self, folder: Path, *flags: str, program: Path | None = None, env: dict[str, str] | None = None
    ) -> None:
        self.path = folder / "s"
        address = [] if "--tcp" in flags else ["--unix", str(self.path)]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(program or WORKERS / "pooled.py"), *address, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            text=True,
        )
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            kind, _, where = stdout.readline().strip().partition(":")
        self.location = f"{kind.lower()}://{where}"
        self.stderr = ""

    def client(self) -> Client:
        return Client(self.location, timeout_s=DEADLINE_S)

    def clients(self, count: int) -> list[Client]:
        """Connected one after the other, each known to be with its process."""
        made = []
        for _ in range(count):
            made.append(self.client())
            pid_of(made[-1])
        return made

    def processes(self) -> set[int]:
        text = (PROC / str(self.process.pid) / "task" / str(self.process.pid) / "children").read_text()
        return set(map(int, text.split()))

    def descriptors(self) -> int:
        return len(list((PROC / str(self.process.pid) / "fd").iterdir()))

    def wait(self) -> int:
        """The exit status, once every process that holds its standard error is gone."""
        _, self.stderr = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode

    def stop(self) -> None:
        """Nothing may be left: neither the socket nor a process."""
        if self.process.returncode is None:
            left = self.processes()
            self.process.terminate()
            assert self.wait() == 0, self.stderr
            for each in left:
                await_end(each)
        assert not self.path.exists()


def pid_of(client: Client) -> int:
    answer: list[int] = client.attach("pooled").scalar("pid", {"x": [0]}).to_pylist()
    return answer[0]


def await_end(pid: int) -> None:
    """Until a process that need not be a child is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], DEADLINE_S)[0], f"process {pid} is still there"
    finally:
        os.close(descriptor)


def freeze(pid: int) -> None:
    """Stop a process, and wait until each of its threads stands still: the signal reaches them one by one."""
    os.kill(pid, signal.SIGSTOP)
    tasks = PROC / str(pid) / "task"
    until(
        lambda: all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in tasks.glob("*/stat")),
        f"process {pid} to stand still",
    )


def until(condition: Callable[[], bool], what: str) -> None:
    """For what the kernel sends no notice of."""
    deadline = monotonic() + DEADLINE_S
    while not condition():
        assert monotonic() < deadline, f"waited too long for: {what}"
        select.select([], [], [], 0.005)


Start = Callable[..., Pool]


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Start]:
    """``pool(*flags)``: each is stopped with the test, and has to end well."""
    if not PROC.is_dir():
        pytest.skip("looks at processes through /proc")
    started: list[Pool] = []

    def start(*flags: str, **options: object) -> Pool:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Pool(folder, *flags, **options))  # type: ignore[arg-type]
        return started[-1]

    try:
        yield start
        for each in started:
            each.stop()
    finally:
        for each in started:
            with suppress(ProcessLookupError):
                each.process.kill()
            each.process.communicate(timeout=DEADLINE_S)
