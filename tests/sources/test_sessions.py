"""Transactions of a database that DuckDB's span."""

from collections.abc import Iterator
from typing import Any

import pytest

from vgi_fast import ArgumentError
from vgi_fast.sources.sql import sessions
from vgi_fast.sources.sql.sessions import Sessions

sa = pytest.importorskip("sqlalchemy")


@pytest.fixture
def engine() -> Iterator[Any]:
    made = sa.create_engine("sqlite://")
    yield made
    made.dispose()


def test_connects_with_the_first_change(engine: Any) -> None:
    open_sessions = Sessions()
    token = open_sessions.begin()
    session = open_sessions.get(token)
    assert not session.changed
    assert session.connection(engine) is session.connection(engine)
    assert session.changed
    open_sessions.end(token, commit=True)
    with pytest.raises(ArgumentError, match="has ended"):
        open_sessions.get(token)


def test_other_processes_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that was forked from the process that began it."""
    open_sessions = Sessions()
    token = open_sessions.begin()
    with pytest.raises(ArgumentError, match="begun by another worker process"):
        Sessions().end(token, commit=True)
    monkeypatch.setattr("os.getpid", lambda: 1)
    with pytest.raises(ArgumentError, match="begun by another worker process"):
        open_sessions.get(token)


def test_abandoned_transactions_are_rolled_back(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(sessions, "monotonic", lambda: now[0])
    open_sessions = Sessions()
    token = open_sessions.begin()
    connection = open_sessions.get(token).connection(engine)
    now[0] = sessions.IDLE_S / 2
    open_sessions.begin()
    assert not connection.closed
    now[0] = sessions.IDLE_S + 1
    open_sessions.begin()
    assert connection.closed
    with pytest.raises(ArgumentError, match="idle for too long"):
        open_sessions.end(token, commit=True)
