"""Every backend behind one fixture, ``storage``; those of a server run where the environment names one."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from vgi_fast.storage.base import Storage, execution_scope
from vgi_fast.storage.mapped import MappedStorage
from vgi_fast.storage.memory import MemoryStorage
from vgi_fast.storage.sqlite import SqliteStorage

BACKENDS = ("memory", "mapped", "sqlite", "sqlite_memory", "redis", "postgres")
SERVERS = {"redis": "VGI_TEST_REDIS_URL", "postgres": "VGI_TEST_POSTGRES_DSN"}
"""Variables that name a server on which the tests may write."""


def opener(name: str, folder: Path, ended: ExitStack) -> Callable[[], Storage]:
    """Opens handles that share what they store; ``ended`` removes it from a server."""
    if name == "memory":
        only = MemoryStorage()
        return lambda: only
    if name == "mapped":
        return lambda: MappedStorage(str(folder / "run"), str(folder / "keep"))
    if name == "sqlite":
        return lambda: SqliteStorage(str(folder / "state.db"))
    if name == "sqlite_memory":
        shared = SqliteStorage(":memory:")
        return lambda: shared
    server = os.environ.get(SERVERS[name])
    if not server:
        pytest.skip(f"{SERVERS[name]} names no server")
    place = f"vgi_test_{os.urandom(6).hex()}"
    return redis_opener(server, place, ended) if name == "redis" else postgres_opener(server, place, ended)


def redis_opener(url: str, prefix: str, ended: ExitStack) -> Callable[[], Storage]:
    """Keys of one prefix."""
    import redis

    from vgi_fast.storage.redis import RedisStorage

    def remove() -> None:
        with redis.Redis.from_url(url) as client:
            for key in client.scan_iter(f"{prefix}*"):
                client.delete(key)

    ended.callback(remove)
    return lambda: RedisStorage(url, prefix=prefix)


def postgres_opener(dsn: str, schema: str, ended: ExitStack) -> Callable[[], Storage]:
    """A schema of a database."""
    import psycopg
    from psycopg.conninfo import make_conninfo

    from vgi_fast.storage.postgres import PostgresStorage

    def execute(statement: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(statement.encode())

    execute(f"CREATE SCHEMA {schema}")
    ended.callback(execute, f"DROP SCHEMA {schema} CASCADE")
    return lambda: PostgresStorage(make_conninfo(dsn, options=f"-c search_path={schema}"))


@pytest.fixture(params=BACKENDS)
def open_handle(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Storage]]:
    with ExitStack() as ended:
        make = opener(request.param, tmp_path, ended)

        def open_one() -> Storage:
            handle = make()
            ended.callback(handle.close)
            return handle

        yield open_one


@pytest.fixture
def storage(open_handle: Callable[[], Storage]) -> Storage:
    return open_handle()


@pytest.fixture
def scope() -> bytes:
    return execution_scope(b"\x00one\xff" + os.urandom(4))


@pytest.fixture
def in_threads() -> Callable[..., list[Any]]:
    """Runs a function in several threads at once and gives the results."""

    def run(count: int, function: Callable[[int], Any]) -> list[Any]:
        results: list[Any] = [None] * count
        errors: list[BaseException] = []
        start = threading.Barrier(count)

        def body(number: int) -> None:
            try:
                start.wait()
                results[number] = function(number)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return results

    return run
