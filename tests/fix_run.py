"""``run``: the ``vgi-fast-run`` program with a state directory of its own.

Its templates are asked to leave at the end of a test; then no process and no socket may be left.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from textwrap import dedent
from time import monotonic, sleep
from typing import Any, Final

import pytest

import vgi_fast
from vgi_fast.client import Client

ROOT: Final = Path(__file__).parents[1]
PATIENCE_S: Final = 30.0

FACTS: Final = """
import json, os, random, sys
from vgi_fast import Int64, Worker

loaded_by = os.getpid()
worker = Worker("facts")

@worker.scalar
def double(x: Int64) -> Int64:
    return x * 2

@worker.table(columns="fact: utf8")
def facts(expression: str):
    yield [repr(eval(expression))]

if __name__ == "__main__":
    worker.run()
"""


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    return compiled(tmp_path_factory.mktemp("bin"))


def compiled(folder: Path) -> str:
    """Of the installed package; from its sources when the package is that of the tree."""
    if ROOT not in Path(vgi_fast.__file__).parents:
        return str(Path(sys.executable).parent / "vgi-fast-run")
    path = folder / "vgi-fast-run"
    sources = sorted(map(str, (ROOT / "src/vgi_fast/native").glob("*.c")))
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", f'-DVGI_FAST_VERSION="{vgi_fast.__version__}"']
    subprocess.run(["cc", *flags, "-o", str(path), *sources], check=True, timeout=60)
    return str(path)


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """For what no event tells of."""
    deadline = monotonic() + PATIENCE_S
    while not (met := condition()):
        assert monotonic() < deadline, f"waited in vain: {what}"
        sleep(0.005)
    return met


def wait_gone(pid: int) -> None:
    """Until the process has ended, whoever its parent is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], PATIENCE_S)[0], f"process {pid} is still alive"
    finally:
        os.close(descriptor)


class Run:
    """Starts the program. Its processes are recognised by the state directory in their environment."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.state = Path(mkdtemp(prefix="vgi-run-"))
        self.environment = {
            # All of it: a client passes it on as well, and variables make templates differ.
            **os.environ,
            **dict.fromkeys(("VGI_FAST_RUN_EXPLAIN", "VGI_FAST_RUN_TEMPLATE", "VGI_FAST_TEMPLATE_IDLE_S"), ""),
            "VGI_FAST_PYTHON": sys.executable,
            "VGI_FAST_RUN_DIR": str(self.state),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONWARNINGS": "error",
        }
        self._clients: list[Client] = []

    def write(self, source: str = FACTS, name: str = "worker.py") -> str:
        (self.folder / name).write_text(dedent(source), encoding="utf-8")
        return name

    def command(self, *arguments: str) -> list[str]:
        return [self.program, *arguments]

    def popen(self, *arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
        environment = {**self.environment, **options.pop("env", {})}
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(
            self.command(*arguments), **{"cwd": self.folder, "env": environment, **pipes, **options}
        )

    def __call__(self, *arguments: str, data: bytes = b"", **options: Any) -> "subprocess.CompletedProcess[bytes]":
        """To its end."""
        with self.popen(*arguments, **options) as process:
            output, errors = process.communicate(data, timeout=PATIENCE_S)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def client(self, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> Client:
        given = {"cwd": self.folder, "timeout_s": PATIENCE_S, **options}
        client = Client(self.command(*arguments), env={**self.environment, **(env or {})}, **given)
        self._clients.append(client)
        return client

    def fact(self, expression: str, *arguments: str, **options: Any) -> Any:
        """Evaluated in a new worker."""
        with self.client(*(arguments or ("worker.py",)), **options) as client:
            return fact(client, expression)

    def way(self, *arguments: str, **options: Any) -> str:
        """What it says of the way it took."""
        done = self("--explain", *arguments, **options)
        assert done.returncode == 0, done.stderr.decode()
        return done.stderr.decode().strip().removeprefix("vgi-fast-run: ")

    def processes(self) -> list[int]:
        marker = f"VGI_FAST_RUN_DIR={self.state}".encode()
        found = []
        for entry in os.scandir("/proc"):
            if entry.name.isdecimal():
                with suppress(OSError):
                    if marker in Path(entry.path, "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    def templates(self) -> list[int]:
        return [pid for pid in self.processes() if b"vgi_fast.run.template" in command_line(pid) and is_leader(pid)]

    def template(self) -> int:
        (pid,) = self.templates()
        return pid

    @contextmanager
    def waiting(self, *arguments: str, **options: Any) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
        """The program while it serves, and the process that serves for it."""
        with self.popen("--explain", *arguments, **options) as process:
            try:
                assert process.stderr is not None
                line = process.stderr.readline()
                assert b"serves, as process" in line, line + process.stderr.read()
                yield process, int(line.split()[-1])
            finally:
                process.kill()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        for pid in self.templates():
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)  # a failed test may have stopped it
        for pid in self.processes():
            wait_gone(pid)
        left = [path.name for path in self.state.iterdir() if path.is_socket()]
        rmtree(self.state)
        assert not left, f"sockets were left behind: {left}"


def is_leader(pid: int) -> bool:
    """Whether no other process of its kind forked it: children of a template have its command line."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return False
    parent = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))
    return b"vgi_fast.run.template" not in command_line(parent)


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def fact(client: Client, expression: str) -> Any:
    (value,) = client.attach().table("facts", expression).read_all().column("fact").to_pylist()
    return eval(value)


@pytest.fixture
def run(program: str, tmp_path: Path) -> Iterator[Run]:
    started = Run(program, tmp_path)
    started.write()
    yield started
    started.close()
