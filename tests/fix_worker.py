"""``worker``: live workers under a client, over every transport.

    def test_doubles(worker):
        client = worker("basic")                 # tests/workers/basic.py
        client = worker('''from vgi_fast …''')   # source text

A worker is ended with its test, and has to end well: by itself at the end of its input, with status 0. A test
that ends a worker otherwise says so with ``worker.may_fail(client)``.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

import pytest

from vgi_fast.client import Client
from vgi_fast.errors import TransportError

WORKERS: Final = Path(__file__).parent / "workers"
TRANSPORTS: Final[dict[str, Callable[..., Client]]] = {"stdio": Client}
"""How to connect, by transport: called with the worker's command line and the client's options."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("vgi_fast")
    group.addoption("--transport", action="append", choices=list(TRANSPORTS), help="Only this one; repeatable.")
    group.addoption("--worker-timeout", type=float, default=30.0, help="Seconds that each answer of a worker may take.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "worker" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--transport") or list(TRANSPORTS)
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
