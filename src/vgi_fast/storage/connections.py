"""A connection to a database for each thread.

It is closed when its thread ends: a worker that is connected to serves each session in a thread of its own. A
child of fork leaves its parent's connections alone, since to close one would end it for the parent as well.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ThreadConnections"]

_inherited: Final[list[Any]] = []
"""Connections of processes that this one was forked from, kept so that nothing closes them."""


class _Owned:
    """A connection, for as long as its thread lives."""

    __slots__ = ("__weakref__", "connection", "pid")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.pid = os.getpid()

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if self.pid != os.getpid():
            _inherited.append(connection)
        elif connection is not None:
            connection.close()

    def __del__(self) -> None:
        self.close()


class ThreadConnections:
    """``connect`` makes one. Any thread."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._local = threading.local()
        self._all: WeakSet[_Owned] = WeakSet()
        self._lock = threading.Lock()

    def get(self) -> Any:
        """That of this thread; a new one where there is none yet or ``drop`` was called."""
        found: _Owned | None = getattr(self._local, "owned", None)
        if found is None or found.connection is None or found.pid != os.getpid():
            found = self._local.owned = _Owned(self._connect())
            with self._lock:
                self._all.add(found)
        return found.connection

    def drop(self) -> None:
        """Close that of this thread."""
        self._local.owned = None

    def close(self) -> None:
        """Close those of all threads."""
        with self._lock:
            for owned in list(self._all):
                owned.close()
            self._all.clear()
            self._local = threading.local()
