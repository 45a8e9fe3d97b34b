"""Rows in a SQLite file that all processes of a worker share, one encoded row each.

Processes come and go between statements, so nothing that outlives a call is kept in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from vgi_fast import DataType, Field, Schema
from vgi_fast.errors import StorageError
from vgi_fast.wire.arrow import decode_row, encode_row

if TYPE_CHECKING:
    from sqlite3 import Connection

BUSY_S: Final = 60.0

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS rows (
    owner TEXT NOT NULL, table_name TEXT NOT NULL, row_id BLOB NOT NULL, content BLOB NOT NULL,
    position INTEGER PRIMARY KEY AUTOINCREMENT, UNIQUE (owner, table_name, row_id) ON CONFLICT REPLACE
)
"""


def user_file(name: str) -> str:
    """Path in a folder for files of this user's workers, which nobody else may enter."""
    folder = f"{os.environ.get('TMPDIR') or '/tmp'}/vgi_fast_examples_{os.getuid()}"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if os.stat(folder).st_uid != os.getuid():
        raise StorageError(f"{folder} belongs to somebody else")
    return f"{folder}/{name}"


class RowStore:
    """The rows of one table of one owner. ``row_id`` is the last column."""

    def __init__(self, path: str, owner: str, table: str, columns: Schema) -> None:
        self.columns = columns
        self._path = path
        self._key = (owner, table)
        self._id: Field = columns.fields[-1]

    @contextmanager
    def _open(self) -> Iterator[Connection]:
        """A connection for one transaction."""
        import sqlite3  # not needed to list tables

        connection = sqlite3.connect(self._path, timeout=BUSY_S)
        try:
            with connection:
                connection.execute(_TABLE)
                yield connection
        finally:
            connection.close()

    def _id_blob(self, value: Any) -> bytes:
        return encode_row(Schema([self._id]), {self._id.name: value})

    def rows(self) -> list[dict[str, Any]]:
        """In the order of insertion."""
        with self._open() as connection:
            found = connection.execute(
                "SELECT content FROM rows WHERE owner = ? AND table_name = ? ORDER BY position", self._key
            )
            return [decode_row(content) for (content,) in found]

    def insert(self, rows: Iterable[dict[str, Any]]) -> None:
        """All or none; a row replaces one of the same row id."""
        values = [(*self._key, self._id_blob(row[self._id.name]), encode_row(self.columns, row)) for row in rows]
        with self._open() as connection:
            connection.executemany("INSERT INTO rows (owner, table_name, row_id, content) VALUES (?, ?, ?, ?)", values)

    def next_id(self) -> int:
        """One more than the greatest integer row id."""
        return max((row[self._id.name] for row in self.rows()), default=0) + 1

    def get(self, row_id: Any) -> dict[str, Any] | None:
        with self._open() as connection:
            found = connection.execute(
                "SELECT content FROM rows WHERE owner = ? AND table_name = ? AND row_id = ?",
                (*self._key, self._id_blob(row_id)),
            ).fetchone()
        return None if found is None else decode_row(found[0])

    def replace(self, rows: Iterable[dict[str, Any]]) -> None:
        """New contents under the same row ids."""
        values = [(encode_row(self.columns, row), *self._key, self._id_blob(row[self._id.name])) for row in rows]
        with self._open() as connection:
            connection.executemany(
                "UPDATE rows SET content = ? WHERE owner = ? AND table_name = ? AND row_id = ?", values
            )

    def delete(self, row_ids: Iterable[Any]) -> int:
        values = [(*self._key, self._id_blob(row_id)) for row_id in row_ids]
        with self._open() as connection:
            return connection.executemany(
                "DELETE FROM rows WHERE owner = ? AND table_name = ? AND row_id = ?", values
            ).rowcount


def columns_of(rows: list[dict[str, Any]], names: Iterable[str]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in names}


def rows_of(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def without(columns: Schema, name: str) -> Schema:
    return Schema([field for field in columns.fields if field.name != name])


def row_id_field(type: str, name: str = "rowid") -> Field:
    return Field(name, DataType(type), False, {b"is_row_id": b""})
