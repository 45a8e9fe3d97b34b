"""DuckDB's transactions as transactions of the database, for workers that are a single process.

A transaction of a database belongs to a connection, and a connection to a process. What identifies it to DuckDB
therefore names the process, and any other refuses: better than to commit a part of what was asked for.
"""

from __future__ import annotations

import os
from threading import Lock, RLock
from time import monotonic
from typing import TYPE_CHECKING, Final

from vgi_fast.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    import sqlalchemy as sa

    T = TypeVar("T")

__all__ = ["Session", "Sessions"]

IDLE_S: Final = 900.0
"""A DuckDB that went away without a word leaves its transaction; after so long it is rolled back."""
_ID_BYTES: Final = 8


class Session:
    """One transaction. It connects with the first change; until then reads have nothing to share.

    Scans and writes of one statement use the connection in turns, under ``lock``.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self.used = monotonic()
        self._connection: sa.Connection | None = None

    @property
    def changed(self) -> bool:
        return self._connection is not None

    def connection(self, engine: sa.Engine) -> sa.Connection:
        with self.lock:
            self.used = monotonic()
            if self._connection is None:
                self._connection = engine.connect()
                self._connection.begin()
            return self._connection

    def in_turns(self, batches: Iterator[T]) -> Iterator[T]:
        while True:
            with self.lock:
                self.used = monotonic()
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def end(self, finish: Callable[[sa.Connection], None]) -> None:
        with self.lock:
            if self._connection is not None:
                try:
                    finish(self._connection)
                finally:
                    self._connection.close()


class Sessions:
    """The transactions of this process, by what ``begin`` gave."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: dict[bytes, Session] = {}
        self._process = b""

    def _name(self) -> bytes:
        """Differs after a fork as well."""
        pid = os.getpid().to_bytes(_ID_BYTES, "little")
        if not self._process.startswith(pid):
            self._process = pid + os.urandom(_ID_BYTES)
        return self._process

    def begin(self) -> bytes:
        with self._lock:
            abandoned = [token for token, one in self._open.items() if monotonic() - one.used > IDLE_S]
            gone = [self._open.pop(token) for token in abandoned]
            token = self._name() + os.urandom(_ID_BYTES)
            self._open[token] = Session()
        for one in gone:
            one.end(lambda connection: connection.rollback())
        return token

    def get(self, token: bytes) -> Session:
        with self._lock:
            if not token.startswith(self._name()):
                raise ArgumentError(
                    "the transaction was begun by another worker process",
                    hint="transactions=True is for workers that stay one process: launch:, --unix or --tcp",
                )
            found = self._open.get(token)
            if found is None:
                raise ArgumentError("the transaction has ended, or was idle for too long")
            return found

    def end(self, token: bytes, *, commit: bool) -> None:
        session = self.get(token)
        with self._lock:
            self._open.pop(token, None)
        session.end(lambda connection: connection.commit() if commit else connection.rollback())
