"""``ReadOnlyCatalogInterface``: answers from a declaration, and refuses changes (section 1.3 of the catalog document).

Derive from it to change single answers of a declared catalog.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.catalog.interface import FROZEN_VERSION, AttachResult, CatalogInterface
from vgi_fast.errors import ArgumentError, CatalogReadOnlyError

if TYPE_CHECKING:
    from vgi_fast.catalog.descriptors import CatalogSchema
    from vgi_fast.catalog.macros import Macro
    from vgi_fast.catalog.objects import Index, Table, View
    from vgi_fast.wire.attach import AttachData

__all__ = ["ReadOnlyCatalogInterface"]

OPERATIONS: Final = {
    "catalog_create": "create catalog",
    "catalog_drop": "drop catalog",
    "catalog_transaction_begin": "begin transaction",
    "catalog_transaction_commit": "commit transaction",
    "catalog_transaction_rollback": "rollback transaction",
    "schema_create": "create schema",
    "schema_drop": "drop schema",
    "table_create": "create table",
    "table_drop": "drop table",
    "table_comment_set": "set table comment",
    "table_column_comment_set": "set column comment",
    "table_rename": "rename table",
    "table_column_add": "add column",
    "table_column_drop": "drop column",
    "table_column_rename": "rename column",
    "table_column_default_set": "set column default",
    "table_column_default_drop": "drop column default",
    "table_column_type_change": "change column type",
    "table_not_null_drop": "drop NOT NULL constraint",
    "table_not_null_set": "set NOT NULL constraint",
    "view_create": "create view",
    "view_drop": "drop view",
    "view_rename": "rename view",
    "view_comment_set": "set view comment",
    "macro_create": "create macro",
    "macro_drop": "drop macro",
    "index_create": "create index",
    "index_drop": "drop index",
}

_TRANSACTION_BYTES: Final = 16


class ReadOnlyCatalogInterface(CatalogInterface):
    """Serves a ``Catalog`` as it is declared."""

    def cache_key(self, attach_opaque_data: AttachData) -> Hashable | None:
        return attach_opaque_data.data_version, *self._states()

    def _states(self) -> Iterable[str | None]:
        return [spec.state() for spec in self.registry.stateful(self.catalog.name)]

    def catalog_attach(self, **call: Any) -> AttachResult:
        result = super().catalog_attach(**call)
        if any(spec.live for spec in self.registry.stateful(self.catalog.name)):
            result.catalog_version = self._version()
        return result

    def _version(self) -> int:
        """Of the state of all data, never 0, which would mean that nobody knows."""
        import hashlib

        digest = hashlib.blake2b(repr(self._states()).encode(), digest_size=7).digest()
        return int.from_bytes(digest, "little") | 1

    def refusal(self, method: str) -> Exception:
        operation = OPERATIONS.get(method)
        if operation is None:
            return super().refusal(method)
        return CatalogReadOnlyError(f"Cannot {operation}: catalog is read-only")

    def catalog_version(self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes | None) -> int:
        return self._version() if any(self.registry.stateful(self.catalog.name)) else FROZEN_VERSION

    def catalog_transaction_begin(self, *, attach_opaque_data: AttachData) -> bytes | None:
        if not self.catalog.transactions:
            raise self.refusal("catalog_transaction_begin")
        return os.urandom(_TRANSACTION_BYTES)

    def catalog_transaction_commit(self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes) -> None:
        if not self.catalog.transactions:
            raise self.refusal("catalog_transaction_commit")
        self.transaction_ended(transaction_opaque_data)

    def catalog_transaction_rollback(self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes) -> None:
        if not self.catalog.transactions:
            raise self.refusal("catalog_transaction_rollback")
        self.transaction_ended(transaction_opaque_data)

    def transaction_ended(self, transaction_opaque_data: bytes) -> None:
        """What was kept under the transaction may go; its storage is erased in any case."""

    def schemas(
        self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes | None
    ) -> Iterable[CatalogSchema]:
        return self.catalog.schemas

    def schema_counts(
        self, *, attach_opaque_data: AttachData, schema: CatalogSchema, transaction_opaque_data: bytes | None
    ) -> Mapping[str, int] | None:
        if not schema.exact_counts:
            return None
        return self.registry.counts(self.catalog.name, schema.name, _version(attach_opaque_data))

    def schema_contents(
        self, *, attach_opaque_data: AttachData, name: str, type: str, transaction_opaque_data: bytes | None
    ) -> Iterable[Any]:
        return self.registry.listing(self.catalog.name, name, type, _version(attach_opaque_data))

    def table_get(
        self,
        *,
        attach_opaque_data: AttachData,
        schema_name: str,
        name: str,
        at_unit: str | None,
        at_value: str | None,
        transaction_opaque_data: bytes | None,
    ) -> Table | None:
        table: Table | None = self._object("TABLE", attach_opaque_data, schema_name, name)
        if table is None or at_unit is None or at_value is None:
            return table
        if table.at is None:
            raise ArgumentError(f"Table '{schema_name}.{name}' does not support time travel queries")
        return table.at(at_unit, at_value)

    def view_get(
        self, *, attach_opaque_data: AttachData, schema_name: str, name: str, transaction_opaque_data: bytes | None
    ) -> View | None:
        return self._object("VIEW", attach_opaque_data, schema_name, name)  # type: ignore[no-any-return]

    def macro_get(
        self, *, attach_opaque_data: AttachData, schema_name: str, name: str, transaction_opaque_data: bytes | None
    ) -> Macro | None:
        scalar = self._object("SCALAR_MACRO", attach_opaque_data, schema_name, name)
        return scalar or self._object("TABLE_MACRO", attach_opaque_data, schema_name, name)  # type: ignore[no-any-return]

    def index_get(
        self, *, attach_opaque_data: AttachData, schema_name: str, name: str, transaction_opaque_data: bytes | None
    ) -> Index | None:
        return self._object("INDEX", attach_opaque_data, schema_name, name)  # type: ignore[no-any-return]

    def table_column_statistics_get(
        self, *, attach_opaque_data: AttachData, schema_name: str, name: str, transaction_opaque_data: bytes | None
    ) -> bytes | None:
        from vgi_fast.catalog.encode import table_statistics

        table = self._object("TABLE", attach_opaque_data, schema_name, name)
        return None if table is None else table_statistics(table)

    def _object(self, kind: str, attach: AttachData, schema_name: str, name: str) -> Any:
        return self.registry.get(self.catalog.name, schema_name, kind, name, _version(attach))


def _version(attach: AttachData) -> str | None:
    return attach.data_version or None
