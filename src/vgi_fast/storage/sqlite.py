"""One SQLite file: durable, and shared by all processes of one host that name the same file.

WAL with ``synchronous = NORMAL``: what was stored survives the death of a process; a power loss may take the
last transactions. The tables and the variable that names the file are those of vgi-python.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import StorageError
from vgi_fast.storage.base import ATTACH, EXCLUSIVE, Storage
from vgi_fast.storage.connections import ThreadConnections
from vgi_fast.storage.memory import checked_counter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["PATH_VARIABLE", "SCOPE_TABLES", "SqliteStorage"]

PATH_VARIABLE: Final = "VGI_WORKER_SQLITE_PATH"
BUSY_TIMEOUT_S: Final = 30.0
SCOPE_TABLES: Final = ("function_state", "function_state_log", "function_counter")
"""What ``execution_clear`` covers; the work queue is not among them."""
_CHUNK: Final = 500
"""Variables of one statement, well below SQLite's limit."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS work_queue (id INTEGER PRIMARY KEY AUTOINCREMENT, scope_id BLOB, work_item BLOB);
CREATE INDEX IF NOT EXISTS work_queue_scope ON work_queue (scope_id, id);
CREATE TABLE IF NOT EXISTS function_state (scope_id BLOB, ns BLOB, key BLOB, value BLOB,
    PRIMARY KEY (scope_id, ns, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS function_state_log (id INTEGER PRIMARY KEY AUTOINCREMENT, scope_id BLOB, ns BLOB,
    key BLOB, value BLOB);
CREATE INDEX IF NOT EXISTS function_state_log_key ON function_state_log (scope_id, ns, key, id);
CREATE TABLE IF NOT EXISTS function_counter (scope_id BLOB, ns BLOB, key BLOB, value INTEGER,
    PRIMARY KEY (scope_id, ns, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scope_changed (scope_id BLOB PRIMARY KEY, at INTEGER) WITHOUT ROWID;
"""


def default_path() -> str:
    given = os.environ.get(PATH_VARIABLE)
    if given:
        return given
    from vgi_fast.storage.paths import durable_root

    return os.path.join(durable_root(), "vgi_storage.db")


class SqliteStorage(Storage):
    name = "sqlite"

    def __init__(self, path: str | None = None) -> None:
        self.path = path if path is not None else default_path()
        self._connections = ThreadConnections(self._connect)
        if self.path == ":memory:":
            # Connections of several threads share it for as long as one of them is open.
            self._uri = f"file:vgi_fast_{id(self)}?mode=memory&cache=shared"
            self._one_writer: Any = threading.RLock()
            self._lasting: sqlite3.Connection | None = self._connect()
        else:
            self._uri = ""
            self._one_writer = None
            self._lasting = None

    # -- connections --

    def _connect(self) -> sqlite3.Connection:
        try:
            if self._uri:
                made = sqlite3.connect(self._uri, uri=True, isolation_level=None, check_same_thread=False)
            else:
                created = not os.path.exists(self.path)
                made = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
                if created:
                    os.chmod(self.path, 0o600)
                _patiently(made, "PRAGMA journal_mode = WAL")
                made.execute("PRAGMA synchronous = NORMAL")
            made.execute("PRAGMA temp_store = MEMORY")
            _patiently(made, "BEGIN IMMEDIATE")
            try:
                for statement in _SCHEMA.split(";"):
                    made.execute(statement)
            finally:
                made.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"cannot open the SQLite storage {self.path}: {error}") from error
        return made

    @contextmanager
    def _writing(self, scope: bytes | None) -> Iterator[sqlite3.Connection]:
        """One transaction; the scope counts as changed."""
        if self._one_writer is not None:
            self._one_writer.acquire()
        try:
            connection = self._connections.get()
            with self._translated():
                _patiently(connection, "BEGIN IMMEDIATE")
            try:
                with self._translated():
                    yield connection
                    if scope is not None:
                        connection.execute("REPLACE INTO scope_changed VALUES (?, ?)", (scope, time.time_ns()))
                    connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        finally:
            if self._one_writer is not None:
                self._one_writer.release()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if self._one_writer is not None:
            self._one_writer.acquire()
        try:
            with self._translated():
                yield self._connections.get()
        finally:
            if self._one_writer is not None:
                self._one_writer.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(f"SQLite storage {self.path}: {error}") from error

    def close(self) -> None:
        self._connections.close()
        if self._lasting is not None:
            self._lasting.close()

    # -- key-value --

    def state_get_many(self, scope: bytes, ns: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        found: dict[bytes, bytes] = {}
        wanted = list(dict.fromkeys(keys))
        with self._reading() as connection:
            for start in range(0, len(wanted), _CHUNK):
                part = wanted[start : start + _CHUNK]
                marks = ",".join("?" * len(part))
                found.update(
                    connection.execute(
                        f"SELECT key, value FROM function_state WHERE scope_id = ? AND ns = ? AND key IN ({marks})",
                        (scope, ns, *part),
                    )
                )
        return [found.get(key) for key in keys]

    def state_put_many(self, scope: bytes, ns: bytes, items: Iterable[tuple[bytes, bytes]]) -> None:
        rows = [(scope, ns, key, value) for key, value in items]
        if rows:
            with self._writing(scope) as connection:
                connection.executemany("REPLACE INTO function_state VALUES (?, ?, ?, ?)", rows)

    def state_scan(
        self,
        scope: bytes,
        ns: bytes,
        start: bytes | None = None,
        end: bytes | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[tuple[bytes, bytes]]:
        condition, values = _range(scope, ns, start, end)
        order = "DESC" if reverse else "ASC"
        with self._reading() as connection:
            return connection.execute(
                f"SELECT key, value FROM function_state WHERE {condition} ORDER BY key {order} LIMIT ?",
                (*values, -1 if limit is None else max(limit, 0)),
            ).fetchall()

    def state_drain(self, scope: bytes, ns: bytes) -> list[tuple[bytes, bytes]]:
        with self._writing(scope) as connection:
            rows = connection.execute(
                "DELETE FROM function_state WHERE scope_id = ? AND ns = ? RETURNING key, value", (scope, ns)
            ).fetchall()
        return sorted(rows)

    def state_delete(
        self,
        scope: bytes,
        ns: bytes,
        keys: Sequence[bytes] | None = None,
        start: bytes | None = None,
        end: bytes | None = None,
    ) -> int:
        if keys is not None and (start is not None or end is not None):
            raise ValueError(EXCLUSIVE)
        with self._writing(scope) as connection:
            if keys is None:
                condition, values = _range(scope, ns, start, end)
                return connection.execute(f"DELETE FROM function_state WHERE {condition}", values).rowcount
            removed = 0
            for key in set(keys):
                removed += connection.execute(
                    "DELETE FROM function_state WHERE scope_id = ? AND ns = ? AND key = ?", (scope, ns, key)
                ).rowcount
            return removed

    # -- logs and counters --

    def state_append(self, scope: bytes, ns: bytes, key: bytes, item: bytes) -> int:
        with self._writing(scope) as connection:
            added = connection.execute(
                "INSERT INTO function_state_log (scope_id, ns, key, value) VALUES (?, ?, ?, ?)", (scope, ns, key, item)
            )
            assert added.lastrowid is not None
            return added.lastrowid

    def state_log_scan(
        self, scope: bytes, ns: bytes, key: bytes, after_id: int = -1, limit: int | None = None
    ) -> list[tuple[int, bytes]]:
        with self._reading() as connection:
            return connection.execute(
                "SELECT id, value FROM function_state_log WHERE scope_id = ? AND ns = ? AND key = ? AND id > ? "
                "ORDER BY id LIMIT ?",
                (scope, ns, key, after_id, -1 if limit is None else max(limit, 0)),
            ).fetchall()

    def state_counter_get(self, scope: bytes, ns: bytes, key: bytes) -> int:
        with self._reading() as connection:
            return _counter(connection, scope, ns, key)

    def state_counter_add(self, scope: bytes, ns: bytes, key: bytes, delta: int) -> int:
        with self._writing(scope) as connection:
            value = checked_counter(_counter(connection, scope, ns, key) + delta)
            connection.execute("REPLACE INTO function_counter VALUES (?, ?, ?, ?)", (scope, ns, key, value))
            return value

    def state_counter_set(self, scope: bytes, ns: bytes, key: bytes, value: int) -> None:
        checked_counter(value)
        with self._writing(scope) as connection:
            connection.execute("REPLACE INTO function_counter VALUES (?, ?, ?, ?)", (scope, ns, key, value))

    def state_counter_delete(self, scope: bytes, ns: bytes, key: bytes) -> int:
        with self._writing(scope) as connection:
            return connection.execute(
                "DELETE FROM function_counter WHERE scope_id = ? AND ns = ? AND key = ?", (scope, ns, key)
            ).rowcount

    # -- the queue --

    def queue_push(self, scope: bytes, items: Sequence[bytes]) -> int:
        if items:
            with self._writing(scope) as connection:
                connection.executemany(
                    "INSERT INTO work_queue (scope_id, work_item) VALUES (?, ?)", [(scope, item) for item in items]
                )
        return len(items)

    def queue_pop(self, scope: bytes) -> bytes | None:
        with self._writing(scope) as connection:
            row = connection.execute(
                "DELETE FROM work_queue WHERE id = (SELECT min(id) FROM work_queue WHERE scope_id = ?) "
                "RETURNING work_item",
                (scope,),
            ).fetchone()
        return None if row is None else row[0]

    def queue_clear(self, scope: bytes) -> int:
        with self._writing(scope) as connection:
            return connection.execute("DELETE FROM work_queue WHERE scope_id = ?", (scope,)).rowcount

    # -- scopes --

    def execution_clear(self, scope: bytes) -> int:
        with self._writing(None) as connection:
            removed = sum(
                connection.execute(f"DELETE FROM {table} WHERE scope_id = ?", (scope,)).rowcount
                for table in SCOPE_TABLES
            )
            connection.execute(
                "DELETE FROM scope_changed WHERE scope_id = ?1 AND NOT EXISTS "
                "(SELECT 1 FROM work_queue WHERE scope_id = ?1)",
                (scope,),
            )
            return removed

    def sweep(self, idle_s: float) -> int:
        limit = time.time_ns() - int(idle_s * 1e9)
        with self._writing(None) as connection:
            rows = connection.execute("SELECT scope_id FROM scope_changed WHERE at <= ?", (limit,)).fetchall()
            doomed = [scope for (scope,) in rows if not scope.startswith(ATTACH)]
            for scope in doomed:
                for table in (*SCOPE_TABLES, "work_queue", "scope_changed"):
                    connection.execute(f"DELETE FROM {table} WHERE scope_id = ?", (scope,))
            return len(doomed)


def _patiently(connection: sqlite3.Connection, statement: str) -> None:
    """Some locks do not wait for the busy timeout."""
    end = time.monotonic() + BUSY_TIMEOUT_S
    pause = 0.001
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(pause)
            pause = min(pause * 2, 0.05)


def _counter(connection: sqlite3.Connection, scope: bytes, ns: bytes, key: bytes) -> int:
    row = connection.execute(
        "SELECT value FROM function_counter WHERE scope_id = ? AND ns = ? AND key = ?", (scope, ns, key)
    ).fetchone()
    return 0 if row is None else row[0]


def _range(scope: bytes, ns: bytes, start: bytes | None, end: bytes | None) -> tuple[str, tuple[bytes, ...]]:
    condition, values = "scope_id = ? AND ns = ?", [scope, ns]
    if start is not None:
        condition += " AND key >= ?"
        values.append(start)
    if end is not None:
        condition += " AND key < ?"
        values.append(end)
    return condition, tuple(values)
