"""Answers of a read-only catalog to everything that would change it (section 1.3 of the catalog document)."""

from __future__ import annotations

from typing import Final

from vgi_fast.errors import CatalogReadOnlyError

OPERATIONS: Final = {
    "catalog_create": "create catalog",
    "catalog_drop": "drop catalog",
    "catalog_transaction_begin": "begin transaction",
    "catalog_transaction_commit": "commit transaction",
    "catalog_transaction_rollback": "rollback transaction",
    "catalog_schema_create": "create schema",
    "catalog_schema_drop": "drop schema",
    "catalog_table_create": "create table",
    "catalog_table_drop": "drop table",
    "catalog_table_comment_set": "set table comment",
    "catalog_table_column_comment_set": "set column comment",
    "catalog_table_rename": "rename table",
    "catalog_table_column_add": "add column",
    "catalog_table_column_drop": "drop column",
    "catalog_table_column_rename": "rename column",
    "catalog_table_column_default_set": "set column default",
    "catalog_table_column_default_drop": "drop column default",
    "catalog_table_column_type_change": "change column type",
    "catalog_table_not_null_drop": "drop NOT NULL constraint",
    "catalog_table_not_null_set": "set NOT NULL constraint",
    "catalog_view_create": "create view",
    "catalog_view_drop": "drop view",
    "catalog_view_rename": "rename view",
    "catalog_view_comment_set": "set view comment",
    "catalog_macro_create": "create macro",
    "catalog_macro_drop": "drop macro",
    "catalog_index_create": "create index",
    "catalog_index_drop": "drop index",
}


def read_only_error(method: str) -> CatalogReadOnlyError:
    return CatalogReadOnlyError(f"Cannot {OPERATIONS[method]}: catalog is read-only")
