"""Connections of threads: closed with them, and left alone by a child."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from vgi_fast.errors import StorageError
from vgi_fast.storage.base import Storage
from vgi_fast.storage.connections import ThreadConnections
from vgi_fast.storage.sqlite import SqliteStorage


class Connection:
    """Counts those that are open."""

    live = 0

    def __init__(self) -> None:
        Connection.live += 1

    def close(self) -> None:
        Connection.live -= 1


@pytest.fixture
def connections() -> ThreadConnections:
    Connection.live = 0
    return ThreadConnections(Connection)


def in_a_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_a_thread_keeps_its_connection(connections: ThreadConnections) -> None:
    assert connections.get() is connections.get()
    assert Connection.live == 1
    first = connections.get()
    connections.drop()
    assert connections.get() is not first
    assert Connection.live == 1


def test_the_end_of_a_thread_closes_it(connections: ThreadConnections) -> None:
    connections.get()
    for _ in range(5):
        in_a_thread(connections.get)
    assert Connection.live == 1


def test_all_are_closed_at_once(connections: ThreadConnections) -> None:
    opened, ended = threading.Event(), threading.Event()

    def body() -> None:
        connections.get()
        opened.set()
        ended.wait()

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    opened.wait()
    connections.get()
    assert Connection.live == 2
    connections.close()
    assert Connection.live == 0
    ended.set()
    thread.join()
    assert Connection.live == 0


def test_a_child_leaves_its_parents_alone(connections: ThreadConnections) -> None:
    inherited = connections.get()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            own = connections.get()
            connections.close()
            code = 0 if own is not inherited and Connection.live == 1 else 2  # its parent's
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert connections.get() is inherited


def test_threads_leave_no_descriptors(tmp_path: Path) -> None:
    storage = SqliteStorage(str(tmp_path / "state.db"))
    storage.queue_push(b"x1", [b"item"])

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    in_a_thread(lambda: storage.queue_push(b"x1", [b"item"]))
    before = descriptors()  # SQLite keeps one for the next connection
    for _ in range(5):
        in_a_thread(lambda: storage.queue_push(b"x1", [b"item"]))
    assert descriptors() == before
    storage.close()


@pytest.mark.parametrize("open_handle", ["postgres"], indirect=True)
def test_threads_leave_no_sessions(open_handle: Callable[[], Storage]) -> None:
    storage = open_handle()

    def sessions() -> int:
        with storage._asking() as cursor:  # type: ignore[attr-defined]
            found = cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = current_user").fetchone()
        return int(found[0])

    before = sessions()
    for _ in range(5):
        in_a_thread(lambda: storage.queue_push(b"x1", [b"item"]))
    # The server notices in its own time.
    deadline = threading.Event()
    while sessions() > before and not deadline.wait(0.01):
        pass
    storage.execution_clear(b"x1")
    storage.queue_clear(b"x1")


@pytest.mark.parametrize("open_handle", ["postgres"], indirect=True)
def test_a_connection_that_the_server_ended_is_made_anew(open_handle: Callable[[], Storage]) -> None:
    storage, other = open_handle(), open_handle()
    with storage._asking() as cursor:  # type: ignore[attr-defined]
        session = cursor.connection.info.backend_pid
    with other._asking() as cursor:  # type: ignore[attr-defined]
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", (session,))
    with pytest.raises(StorageError, match="PostgreSQL storage: "):
        storage.state_counter_get(b"x1", b"n", b"c")
    assert storage.state_counter_add(b"x1", b"n", b"c", 1) == 1
