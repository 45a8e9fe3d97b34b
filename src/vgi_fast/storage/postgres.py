"""PostgreSQL, for workers on several hosts (``pip install vgi-fast[postgres]``).

Each thread has a connection of its own. The tables are made when the first of them connects.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import StorageError
from vgi_fast.storage.base import ATTACH, EXCLUSIVE, Storage
from vgi_fast.storage.connections import ThreadConnections
from vgi_fast.storage.memory import checked_counter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["DSN_VARIABLE", "PostgresStorage"]

DSN_VARIABLE: Final = "VGI_FAST_POSTGRES_DSN"
_TABLES_LOCK: Final = 0x7667695F66617374
_SCOPE_TABLES: Final = ("vgi_state", "vgi_log", "vgi_counter")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS vgi_state (scope bytea, ns bytea, key bytea, value bytea NOT NULL,
    PRIMARY KEY (scope, ns, key));
CREATE TABLE IF NOT EXISTS vgi_log (id bigserial PRIMARY KEY, scope bytea, ns bytea, key bytea, value bytea NOT NULL);
CREATE INDEX IF NOT EXISTS vgi_log_key ON vgi_log (scope, ns, key, id);
CREATE TABLE IF NOT EXISTS vgi_counter (scope bytea, ns bytea, key bytea, value bigint NOT NULL,
    PRIMARY KEY (scope, ns, key));
CREATE TABLE IF NOT EXISTS vgi_queue (id bigserial PRIMARY KEY, scope bytea, value bytea NOT NULL);
CREATE INDEX IF NOT EXISTS vgi_queue_scope ON vgi_queue (scope, id);
CREATE TABLE IF NOT EXISTS vgi_changed (scope bytea PRIMARY KEY, at timestamptz NOT NULL);
"""


class PostgresStorage(Storage):
    name = "postgres"

    def __init__(self, dsn: str | None = None) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise StorageError(
                "the PostgreSQL storage needs the package psycopg", hint="pip install vgi-fast[postgres]"
            ) from error
        chosen = dsn or os.environ.get(DSN_VARIABLE)
        if not chosen:
            raise StorageError(f"{DSN_VARIABLE} is required for the storage 'postgres'")
        self._psycopg: Any = psycopg
        self._dsn = chosen
        self._connections = ThreadConnections(self._connect)
        self._made = False

    def _connect(self) -> Any:
        made = self._psycopg.connect(self._dsn, autocommit=True)
        if not self._made:
            with made.transaction():
                made.execute("SELECT pg_advisory_xact_lock(%s)", (_TABLES_LOCK,))
                made.execute(_SCHEMA)
            self._made = True
        return made

    def _connection(self) -> Any:
        found = self._connections.get()
        if found.closed:
            self._connections.drop()
            found = self._connections.get()
        return found

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        try:
            yield self._connection().cursor(binary=True)
        except self._psycopg.errors.NumericValueOutOfRange as error:
            raise StorageError("a counter would become a number that does not fit into 64 bits") from error
        except self._psycopg.Error as error:
            raise StorageError(f"PostgreSQL storage: {error}") from error

    @contextmanager
    def _changing(self, scope: bytes) -> Iterator[Any]:
        """One transaction, in which the scope counts as changed."""
        with self._asking() as cursor, cursor.connection.transaction():
            yield cursor
            cursor.execute(
                "INSERT INTO vgi_changed VALUES (%s, now()) ON CONFLICT (scope) DO UPDATE SET at = now()", (scope,)
            )

    def close(self) -> None:
        self._connections.close()

    # -- key-value --

    def state_get_many(self, scope: bytes, ns: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        if not keys:
            return []
        with self._asking() as cursor:
            rows = cursor.execute(
                "SELECT key, value FROM vgi_state WHERE scope = %s AND ns = %s AND key = ANY(%s)",
                (scope, ns, list(dict.fromkeys(keys))),
            ).fetchall()
        found: dict[bytes, bytes] = dict(rows)
        return [found.get(key) for key in keys]

    def state_put_many(self, scope: bytes, ns: bytes, items: Iterable[tuple[bytes, bytes]]) -> None:
        new = dict(items)
        if new:
            with self._changing(scope) as cursor:
                # In one order, so that two transactions cannot wait for each other.
                cursor.executemany(
                    "INSERT INTO vgi_state VALUES (%s, %s, %s, %s) "
                    "ON CONFLICT (scope, ns, key) DO UPDATE SET value = excluded.value",
                    [(scope, ns, key, new[key]) for key in sorted(new)],
                )

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
        with self._asking() as cursor:
            found: list[tuple[bytes, bytes]] = cursor.execute(
                f"SELECT key, value FROM vgi_state WHERE {condition} ORDER BY key {order} LIMIT %s",
                (*values, None if limit is None else max(limit, 0)),
            ).fetchall()
        return found

    def state_drain(self, scope: bytes, ns: bytes) -> list[tuple[bytes, bytes]]:
        with self._asking() as cursor:
            rows = cursor.execute(
                "DELETE FROM vgi_state WHERE scope = %s AND ns = %s RETURNING key, value", (scope, ns)
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
        condition, values = _range(scope, ns, start, end)
        if keys is not None:
            condition, values = f"{condition} AND key = ANY(%s)", [*values, list(keys)]
        with self._asking() as cursor:
            return int(cursor.execute(f"DELETE FROM vgi_state WHERE {condition}", values).rowcount)

    # -- logs and counters --

    def state_append(self, scope: bytes, ns: bytes, key: bytes, item: bytes) -> int:
        with self._changing(scope) as cursor:
            # One at a time for each scope: a reader must not see an ordinal before a smaller one.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(encode(%s, 'hex'), 0))", (scope,))
            row = cursor.execute(
                "INSERT INTO vgi_log (scope, ns, key, value) VALUES (%s, %s, %s, %s) RETURNING id",
                (scope, ns, key, item),
            ).fetchone()
        return int(row[0])

    def state_log_scan(
        self, scope: bytes, ns: bytes, key: bytes, after_id: int = -1, limit: int | None = None
    ) -> list[tuple[int, bytes]]:
        with self._asking() as cursor:
            found: list[tuple[int, bytes]] = cursor.execute(
                "SELECT id, value FROM vgi_log WHERE scope = %s AND ns = %s AND key = %s AND id > %s "
                "ORDER BY id LIMIT %s",
                (scope, ns, key, after_id, None if limit is None else max(limit, 0)),
            ).fetchall()
        return found

    def state_counter_get(self, scope: bytes, ns: bytes, key: bytes) -> int:
        with self._asking() as cursor:
            row = cursor.execute(
                "SELECT value FROM vgi_counter WHERE scope = %s AND ns = %s AND key = %s", (scope, ns, key)
            ).fetchone()
        return 0 if row is None else int(row[0])

    def state_counter_add(self, scope: bytes, ns: bytes, key: bytes, delta: int) -> int:
        with self._changing(scope) as cursor:
            row = cursor.execute(
                "INSERT INTO vgi_counter VALUES (%s, %s, %s, %s::bigint) ON CONFLICT (scope, ns, key) "
                "DO UPDATE SET value = vgi_counter.value + excluded.value RETURNING value",
                (scope, ns, key, checked_counter(delta)),
            ).fetchone()
        return int(row[0])

    def state_counter_set(self, scope: bytes, ns: bytes, key: bytes, value: int) -> None:
        with self._changing(scope) as cursor:
            cursor.execute(
                "INSERT INTO vgi_counter VALUES (%s, %s, %s, %s::bigint) ON CONFLICT (scope, ns, key) "
                "DO UPDATE SET value = excluded.value",
                (scope, ns, key, checked_counter(value)),
            )

    def state_counter_delete(self, scope: bytes, ns: bytes, key: bytes) -> int:
        with self._asking() as cursor:
            return int(
                cursor.execute(
                    "DELETE FROM vgi_counter WHERE scope = %s AND ns = %s AND key = %s", (scope, ns, key)
                ).rowcount
            )

    # -- the queue --

    def queue_push(self, scope: bytes, items: Sequence[bytes]) -> int:
        if items:
            with self._changing(scope) as cursor:
                cursor.executemany(
                    "INSERT INTO vgi_queue (scope, value) VALUES (%s, %s)", [(scope, item) for item in items]
                )
        return len(items)

    def queue_pop(self, scope: bytes) -> bytes | None:
        with self._asking() as cursor:
            row = cursor.execute(
                "DELETE FROM vgi_queue WHERE id = (SELECT id FROM vgi_queue WHERE scope = %s ORDER BY id LIMIT 1 "
                "FOR UPDATE SKIP LOCKED) RETURNING value",
                (scope,),
            ).fetchone()
        return None if row is None else bytes(row[0])

    def queue_clear(self, scope: bytes) -> int:
        with self._asking() as cursor:
            return int(cursor.execute("DELETE FROM vgi_queue WHERE scope = %s", (scope,)).rowcount)

    # -- scopes --

    def execution_clear(self, scope: bytes) -> int:
        with self._asking() as cursor, cursor.connection.transaction():
            return sum(
                int(cursor.execute(f"DELETE FROM {table} WHERE scope = %s", (scope,)).rowcount)
                for table in _SCOPE_TABLES
            )

    def sweep(self, idle_s: float) -> int:
        with self._asking() as cursor, cursor.connection.transaction():
            rows = cursor.execute(
                "DELETE FROM vgi_changed WHERE at <= to_timestamp(%s) AND substring(scope FROM 1 FOR 1) <> %s "
                "RETURNING scope",
                (time.time() - idle_s, ATTACH),
            ).fetchall()
            for table in (*_SCOPE_TABLES, "vgi_queue"):
                cursor.execute(f"DELETE FROM {table} WHERE scope = ANY(%s)", ([scope for (scope,) in rows],))
        return len(rows)


def _range(scope: bytes, ns: bytes, start: bytes | None, end: bytes | None) -> tuple[str, list[Any]]:
    condition, values = "scope = %s AND ns = %s", [scope, ns]
    if start is not None:
        condition += " AND key >= %s"
        values.append(start)
    if end is not None:
        condition += " AND key < %s"
        values.append(end)
    return condition, values
