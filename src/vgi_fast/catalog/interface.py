"""``CatalogInterface``: a catalog whose objects live elsewhere, by methods.

    class Files(CatalogInterface):
        def schema_contents(self, *, name, type, **call):
            return [table_of(path) for path in FOLDER.iterdir()] if type == "TABLE" else []

        def table_get(self, *, schema_name, name, **call):
            return table_of(FOLDER / name) if (FOLDER / name).exists() else None

    worker = Worker(catalogs=[Files(Catalog("files", functions=[read_file]))])

Methods take keywords and answer with the descriptors that declared catalogs are made of. Every call but the
first carries ``attach_opaque_data``, an ``AttachData``: the bytes that identify the attach, with its options, its
versions and the ``state`` that ``catalog_attach`` gave. Any process may be asked, so nothing else is remembered.
``transaction_opaque_data`` is what ``catalog_transaction_begin`` gave.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.catalog.descriptors import DEFAULT_SCHEMA, CatalogSchema
from vgi_fast.catalog.versions import resolve_version
from vgi_fast.errors import ArgumentError

if TYPE_CHECKING:
    from vgi_fast.catalog.descriptors import Catalog
    from vgi_fast.catalog.macros import Macro
    from vgi_fast.catalog.objects import ForeignKeyDef, Index, Table, View
    from vgi_fast.catalog.registry import Registry
    from vgi_fast.catalog.scans import ScanBranches, ScanFunction
    from vgi_fast.functions.context import CallerIdentity, ClientLog
    from vgi_fast.wire.arrow import Field, Schema
    from vgi_fast.wire.attach import AttachData

__all__ = ["AttachResult", "CatalogContext", "CatalogInterface"]

FROZEN_VERSION: Final = 1
"""Of a catalog that never changes; 0 would make DuckDB drop its caches for each statement."""


class CatalogContext:
    """Who attaches, and a way to log to them."""

    __slots__ = ("auth", "log")

    def __init__(self, auth: CallerIdentity, log: ClientLog) -> None:
        self.auth = auth
        self.log = log


class AttachResult:
    """Answer of ``catalog_attach``. What is not given here is as the catalog is declared.

    ``state`` comes back with every later call. ``catalog_version`` None means that the catalog never changes; otherwise
    DuckDB asks ``catalog_version`` at the start of each transaction and keeps what it knows while the number stays.
    """

    __slots__ = ("catalog_version", "changes", "data_version", "implementation_version", "state")

    def __init__(
        self,
        state: bytes = b"",
        *,
        catalog_version: int | None = None,
        data_version: str | None = None,
        implementation_version: str | None = None,
        **changes: Any,
    ) -> None:
        self.state = state
        self.catalog_version = catalog_version
        self.data_version = data_version
        self.implementation_version = implementation_version
        self.changes = changes
        """Fields of the record CatalogAttachResult, over the declared ones."""


class CatalogInterface:
    """The methods by which a worker answers for one catalog. ``catalog`` declares what is known beforehand.

    Override what the catalog has; the rest refuses with a clear error.
    """

    registry: Registry
    """Of the worker, from the moment it is added."""
    one_process = False
    """Its calls share variables, so the worker serves a socket with one process."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.catalog.name!r})"

    # -- the worker's side ------------------------------------------------------------------------

    def accepts(self, name: str) -> bool:
        """Whether ``ATTACH '<name>'`` means this catalog; asked when no catalog is declared by that name."""
        return name == self.catalog.name

    def cache_key(self, attach_opaque_data: AttachData) -> Hashable | None:
        """What the listings depend on besides their arguments. Equal keys are answered with the same bytes.

        None means that every call is to be asked.
        """
        return None

    def refusal(self, method: str) -> Exception:
        """The error of a method that is not overridden."""
        noun, _, verb = method.partition("_")
        return NotImplementedError(f"{noun.capitalize()} {verb.replace('_', ' ')} not implemented.")

    # -- lifecycle --------------------------------------------------------------------------------

    def catalogs(self) -> Iterable[Catalog]:
        """What ``vgi_catalogs()`` lists."""
        return [self.catalog]

    def catalog_attach(
        self,
        *,
        name: str,
        options: Mapping[str, Any],
        data_version_spec: str | None,
        implementation_version: str | None,
        ctx: CatalogContext,
    ) -> AttachResult:
        """Every declared option is in ``options``. By default the declared versions are resolved."""
        declared = self.catalog
        return AttachResult(
            implementation_version=resolve_version(
                "implementation_version", implementation_version, declared.implementation_versions, declared.name
            ),
            data_version=resolve_version("data_version_spec", data_version_spec, declared.data_versions, declared.name),
        )

    def catalog_detach(self, *, attach_opaque_data: AttachData) -> None:
        """DuckDB never says so."""

    def catalog_create(self, *, name: str, on_conflict: str, options: Mapping[str, Any]) -> None:
        raise self.refusal("catalog_create")

    def catalog_drop(self, *, name: str) -> None:
        raise self.refusal("catalog_drop")

    def catalog_version(self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes | None) -> int:
        """Changes with the objects. 0 means unknown: DuckDB then asks everything anew for each transaction."""
        return 0

    def catalog_transaction_begin(self, *, attach_opaque_data: AttachData) -> bytes | None:
        """Identifies the transaction in later calls; None for none. Asked if the attach said so.

        Functions find ``params.transaction_storage`` under these bytes, so no two transactions should share them.
        """
        raise self.refusal("catalog_transaction_begin")

    def catalog_transaction_commit(self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes) -> None:
        raise self.refusal("catalog_transaction_commit")

    def catalog_transaction_rollback(self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes) -> None:
        raise self.refusal("catalog_transaction_rollback")

    def copy_from_formats(self, *, attach_opaque_data: AttachData) -> Iterable[Mapping[str, Any]]:
        """Fields of the records CopyFromFormatInfo."""
        return ()

    def loggable_attach_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Attach options that may appear in logs."""
        return {}

    # -- discovery --------------------------------------------------------------------------------

    def schemas(
        self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes | None
    ) -> Iterable[CatalogSchema]:
        return [CatalogSchema(DEFAULT_SCHEMA)]

    def schema_get(
        self, *, attach_opaque_data: AttachData, name: str, transaction_opaque_data: bytes | None
    ) -> CatalogSchema | None:
        found = self.schemas(attach_opaque_data=attach_opaque_data, transaction_opaque_data=transaction_opaque_data)
        return next((schema for schema in found if schema.name.lower() == name.lower()), None)

    def schema_counts(
        self, *, attach_opaque_data: AttachData, schema: CatalogSchema, transaction_opaque_data: bytes | None
    ) -> Mapping[str, int] | None:
        """Number of objects by kind. 0 is a promise: DuckDB then asks nothing about that kind. None says nothing."""
        return None

    def schema_contents(
        self, *, attach_opaque_data: AttachData, name: str, type: str, transaction_opaque_data: bytes | None
    ) -> Iterable[Any]:
        """Objects of one schema; ``type`` is a member of ``records.OBJECT_TYPES``. None for an unknown schema."""
        raise self.refusal("schema_contents")

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
        """``at_unit`` is VERSION or TIMESTAMP; it and its value come together or not at all."""
        raise self.refusal("table_get")

    def view_get(
        self, *, attach_opaque_data: AttachData, schema_name: str, name: str, transaction_opaque_data: bytes | None
    ) -> View | None:
        return None

    def macro_get(
        self, *, attach_opaque_data: AttachData, schema_name: str, name: str, transaction_opaque_data: bytes | None
    ) -> Macro | None:
        return None

    def index_get(
        self, *, attach_opaque_data: AttachData, schema_name: str, name: str, transaction_opaque_data: bytes | None
    ) -> Index | None:
        return None

    def table_scan_function_get(
        self,
        *,
        attach_opaque_data: AttachData,
        schema_name: str,
        name: str,
        at_unit: str | None,
        at_value: str | None,
        transaction_opaque_data: bytes | None,
    ) -> ScanFunction:
        """The call that reads the table. By default that of ``table_get``."""
        table = self.table_get(
            attach_opaque_data=attach_opaque_data,
            schema_name=schema_name,
            name=name,
            at_unit=at_unit,
            at_value=at_value,
            transaction_opaque_data=transaction_opaque_data,
        )
        if table is None:
            raise ArgumentError(f"Table '{schema_name}.{name}' does not exist")
        if table.scan is None:
            raise ArgumentError(f"Table '{schema_name}.{name}' has no scan function")
        return table.scan

    def table_scan_branches_get(
        self,
        *,
        attach_opaque_data: AttachData,
        schema_name: str,
        name: str,
        at_unit: str | None,
        at_value: str | None,
        transaction_opaque_data: bytes | None,
    ) -> ScanBranches | ScanFunction:
        """The branches of ``table_get``, or the answer of ``table_scan_function_get`` as the only one."""
        call: dict[str, Any] = {
            "attach_opaque_data": attach_opaque_data,
            "schema_name": schema_name,
            "name": name,
            "at_unit": at_unit,
            "at_value": at_value,
            "transaction_opaque_data": transaction_opaque_data,
        }
        table = self.table_get(**call)
        if table is not None and table.branches is not None:
            from vgi_fast.catalog.scans import ScanBranches

            return ScanBranches(table.branches, table.required_extensions)
        return self.table_scan_function_get(**call)

    def table_column_statistics_get(
        self, *, attach_opaque_data: AttachData, schema_name: str, name: str, transaction_opaque_data: bytes | None
    ) -> bytes | None:
        """As ``encode_statistics`` makes them; None for none."""
        return None

    # -- writing ----------------------------------------------------------------------------------

    def table_insert_function_get(
        self,
        *,
        attach_opaque_data: AttachData,
        schema_name: str,
        name: str,
        transaction_opaque_data: bytes | None,
        writable_branch_function_name: str | None,
    ) -> ScanFunction:
        """By default that of ``table_get``; ``writable_branch_function_name`` belongs to tables with branches."""
        return self._write_function("insert", attach_opaque_data, schema_name, name, transaction_opaque_data)

    def table_update_function_get(
        self, *, attach_opaque_data: AttachData, schema_name: str, name: str, transaction_opaque_data: bytes | None
    ) -> ScanFunction:
        return self._write_function("update", attach_opaque_data, schema_name, name, transaction_opaque_data)

    def table_delete_function_get(
        self, *, attach_opaque_data: AttachData, schema_name: str, name: str, transaction_opaque_data: bytes | None
    ) -> ScanFunction:
        return self._write_function("delete", attach_opaque_data, schema_name, name, transaction_opaque_data)

    def _write_function(
        self, operation: str, attach: AttachData, schema_name: str, name: str, transaction: bytes | None
    ) -> ScanFunction:
        table = self.table_get(
            attach_opaque_data=attach,
            schema_name=schema_name,
            name=name,
            at_unit=None,
            at_value=None,
            transaction_opaque_data=transaction,
        )
        found: ScanFunction | None = getattr(table, f"{operation}_function", None)
        if found is None:
            raise ArgumentError(f"Table '{schema_name}.{name}' does not support {operation.upper()}.")
        return found

    # -- changes ----------------------------------------------------------------------------------
    # Each also takes attach_opaque_data and transaction_opaque_data; on_conflict is ERROR, IGNORE or REPLACE.

    def schema_create(
        self, *, name: str, on_conflict: str, comment: str | None, tags: dict[str, str], **call: Any
    ) -> None:
        raise self.refusal("schema_create")

    def schema_drop(self, *, name: str, ignore_not_found: bool, cascade: bool, **call: Any) -> None:
        raise self.refusal("schema_drop")

    def table_create(
        self,
        *,
        schema_name: str,
        name: str,
        columns: Schema,
        on_conflict: str,
        not_null_constraints: list[int],
        unique_constraints: list[list[int]],
        check_constraints: list[str],
        primary_key_constraints: list[list[int]],
        foreign_key_constraints: list[ForeignKeyDef],
        **call: Any,
    ) -> None:
        """Constraints name columns by position; a default is in the metadata of its column."""
        raise self.refusal("table_create")

    def table_drop(self, *, schema_name: str, name: str, ignore_not_found: bool, cascade: bool, **call: Any) -> None:
        raise self.refusal("table_drop")

    def table_rename(self, *, schema_name: str, name: str, new_name: str, ignore_not_found: bool, **call: Any) -> None:
        raise self.refusal("table_rename")

    def table_comment_set(
        self, *, schema_name: str, name: str, comment: str | None, ignore_not_found: bool, **call: Any
    ) -> None:
        raise self.refusal("table_comment_set")

    def table_column_comment_set(
        self,
        *,
        schema_name: str,
        name: str,
        column_name: str,
        comment: str | None,
        ignore_not_found: bool,
        **call: Any,
    ) -> None:
        """The name may be that of a view."""
        raise self.refusal("table_column_comment_set")

    def table_column_add(
        self,
        *,
        schema_name: str,
        name: str,
        column_definition: Field,
        ignore_not_found: bool,
        if_column_not_exists: bool,
        **call: Any,
    ) -> None:
        raise self.refusal("table_column_add")

    def table_column_drop(
        self,
        *,
        schema_name: str,
        name: str,
        column_name: str,
        ignore_not_found: bool,
        if_column_exists: bool,
        cascade: bool,
        **call: Any,
    ) -> None:
        raise self.refusal("table_column_drop")

    def table_column_rename(
        self,
        *,
        schema_name: str,
        name: str,
        column_name: str,
        new_column_name: str,
        ignore_not_found: bool,
        **call: Any,
    ) -> None:
        raise self.refusal("table_column_rename")

    def table_column_default_set(
        self,
        *,
        schema_name: str,
        name: str,
        column_name: str,
        expression: str,
        ignore_not_found: bool,
        **call: Any,
    ) -> None:
        raise self.refusal("table_column_default_set")

    def table_column_default_drop(
        self, *, schema_name: str, name: str, column_name: str, ignore_not_found: bool, **call: Any
    ) -> None:
        raise self.refusal("table_column_default_drop")

    def table_column_type_change(
        self,
        *,
        schema_name: str,
        name: str,
        column_definition: Field,
        expression: str | None,
        ignore_not_found: bool,
        **call: Any,
    ) -> None:
        """``expression`` gives the new value from the old row."""
        raise self.refusal("table_column_type_change")

    def table_not_null_set(
        self, *, schema_name: str, name: str, column_name: str, ignore_not_found: bool, **call: Any
    ) -> None:
        raise self.refusal("table_not_null_set")

    def table_not_null_drop(
        self, *, schema_name: str, name: str, column_name: str, ignore_not_found: bool, **call: Any
    ) -> None:
        raise self.refusal("table_not_null_drop")

    def view_create(self, *, schema_name: str, name: str, definition: str, on_conflict: str, **call: Any) -> None:
        raise self.refusal("view_create")

    def view_drop(self, *, schema_name: str, name: str, ignore_not_found: bool, cascade: bool, **call: Any) -> None:
        raise self.refusal("view_drop")

    def view_rename(self, *, schema_name: str, name: str, new_name: str, ignore_not_found: bool, **call: Any) -> None:
        raise self.refusal("view_rename")

    def view_comment_set(
        self, *, schema_name: str, name: str, comment: str | None, ignore_not_found: bool, **call: Any
    ) -> None:
        raise self.refusal("view_comment_set")

    def macro_create(
        self,
        *,
        schema_name: str,
        name: str,
        macro_type: str,
        parameters: list[str],
        definition: str,
        on_conflict: str,
        parameter_default_values: dict[str, Any],
        arguments_schema: Schema | None,
        **call: Any,
    ) -> None:
        """DuckDB does not send it."""
        raise self.refusal("macro_create")

    def macro_drop(self, *, schema_name: str, name: str, ignore_not_found: bool, **call: Any) -> None:
        raise self.refusal("macro_drop")

    def index_create(
        self,
        *,
        schema_name: str,
        name: str,
        table_name: str,
        index_type: str,
        constraint_type: str,
        expressions: list[str],
        on_conflict: str,
        options: dict[str, str],
        **call: Any,
    ) -> None:
        """DuckDB does not send it."""
        raise self.refusal("index_create")

    def index_drop(self, *, schema_name: str, name: str, ignore_not_found: bool, cascade: bool, **call: Any) -> None:
        raise self.refusal("index_drop")
