"""``worker``: live workers under a client, over every transport.

    def test_doubles(worker):
        client = worker("basic")                 # tests/workers/basic.py
        client = worker('''from vgi_fast …''')   # source text

A worker is ended with its test, and has to end well: by itself at the end of its input, with status 0. A test
that ends a worker otherwise says so with ``worker.may_fail(client)``.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from typing import Any, Final

import pytest

from vgi_fast.client import Client
from vgi_fast.client.channels import SocketChannel
from vgi_fast.errors import TransportError
from vgi_fast.transports.exits import exit_text

WORKERS: Final = Path(__file__).parent / "workers"


class ServedChannel(SocketChannel):
    """A connection to a worker that was started for it, and that leaves when it is closed."""

    def __init__(self, command: list[str], *flags: str) -> None:
        self.process = subprocess.Popen(
            [*command, *flags, "--idle-timeout", "0.05"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            kind, _, address = stdout.readline().strip().partition(":")
        if not address:
            _, errors = self.process.communicate(timeout=10)
            raise TransportError(f"the worker did not start: {errors}")
        super().__init__(f"{kind.lower()}://{address}")

    def close(self, wait_s: float = 10) -> int | None:
        super().close()
        _, self._errors = self.process.communicate(timeout=wait_s)
        return self.process.returncode

    def ending(self, wait_s: float) -> str | None:
        with suppress(subprocess.TimeoutExpired):
            return exit_text(self.process.wait(wait_s))
        return None

    def is_crashed(self) -> bool:
        return bool(self.process.poll())

    def stderr_tail(self) -> str:
        return getattr(self, "_errors", "")


def over_unix(command: list[str], *flags: str, **options: Any) -> Client:
    with TemporaryDirectory() as folder:
        return Client(ServedChannel(command, "--unix", f"{folder}/s", *(flags or ("--workers", "1"))), **options)


def over_pool(command: list[str], **options: Any) -> Client:
    return over_unix(command, "--workers", "2", **options)


def over_tcp(command: list[str], **options: Any) -> Client:
    return Client(ServedChannel(command, "--tcp", "0"), **options)


def over_shared_memory(command: list[str], **options: Any) -> Client:
    """On standard input and output, with every batch in shared memory that has rows."""
    environment = {"VGI_RPC_SHM_MIN_BATCH_BYTES": "0", **options.pop("env", {})}
    return Client(command, env=environment, **{"shared_memory_bytes": 1 << 24, "min_shared_batch_bytes": 0, **options})


TRANSPORTS: Final[dict[str, Callable[..., Client]]] = {
    "stdio": Client,
    "unix": over_unix,
    "pool": over_pool,
    "tcp": over_tcp,
    "shm": over_shared_memory,
}
"""How to connect, by transport: called with the worker's command line and the client's options."""
DEFAULT_TRANSPORTS: Final = ["stdio", "pool", "shm"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("vgi_fast")
    group.addoption("--transport", action="append", choices=list(TRANSPORTS), help="Only this one; repeatable.")
    group.addoption("--worker-timeout", type=float, default=30.0, help="Seconds that each answer of a worker may take.")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "transports(*names): the worker fixture of this test uses these only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "worker" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("transports")
        chosen = list(marker.args) if marker else metafunc.config.getoption("--transport") or DEFAULT_TRANSPORTS
        metafunc.parametrize("worker", chosen, indirect=True)


class Workers:
    """Starts workers for one test."""

    def __init__(self, connect: Callable[..., Client], folder: Path, timeout_s: float) -> None:
        self._connect = connect
        self._folder = folder
        self._timeout_s = timeout_s
        self._clients: list[Client] = []
        self._excused: set[int] = set()

    def command(self, source: str) -> list[str]:
        """Command line of a worker: the name of one in tests/workers, or source text."""
        return [sys.executable, "-W", "error", str(self.path(source))]

    def path(self, source: str) -> Path:
        if source.isidentifier():
            return WORKERS / f"{source}.py"
        path = self._folder / f"worker_{len(list(self._folder.glob('worker_*.py')))}.py"
        path.write_text(dedent(source), encoding="utf-8")
        return path

    def __call__(self, source: str, *flags: str, **options: Any) -> Client:
        """``flags`` are the worker's, ``options`` the client's."""
        client = self._connect([*self.command(source), *flags], **{"timeout_s": self._timeout_s, **options})
        self._clients.append(client)
        return client

    def may_fail(self, client: Client) -> Client:
        """This worker need not end with status 0."""
        self._excused.add(id(client))
        return client

    def close(self) -> None:
        failed = []
        for client in self._clients:
            status = None
            with suppress(TransportError):
                status = client.close()
            if status and id(client) not in self._excused:
                failed.append(f"status {status}\n{client.connection.channel.stderr_tail()}")
        assert not failed, f"workers ended badly: {failed}"


@pytest.fixture
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(TRANSPORTS[request.param], tmp_path, request.config.getoption("--worker-timeout"))
    yield workers
    workers.close()
