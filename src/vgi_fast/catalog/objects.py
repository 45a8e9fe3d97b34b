"""Descriptors of what a schema holds besides functions: tables, views, macros, indexes.

Table("large", function=sequence, arguments=[1_000_000], comment="A million integers")
Table("people", columns={"id": "int64", "name": "utf8"}, scan=people_scan, primary_key=["id"], not_null=["id"])
View("few", "SELECT * FROM large LIMIT 10")
Macro("clamp", "greatest(lo, least(hi, x))", ["x", "lo", "hi"], defaults={"lo": 0, "hi": 100})
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.catalog.scans import CallArguments, ScanBranch, ScanFunction
from vgi_fast.errors import DefinitionError
from vgi_fast.functions.table import TableSpec, table_schema
from vgi_fast.wire import keys, records
from vgi_fast.wire.arrow import Field, Schema

if TYPE_CHECKING:
    from vgi_fast.functions.statistics import ColumnStatisticsInput
from vgi_fast.catalog.literals import sql_literal

__all__ = ["ForeignKeyDef", "Index", "Table", "View"]

CONSTRAINT_TYPES: Final = ("NONE", "UNIQUE", "PRIMARY")


class ForeignKeyDef:
    """Columns that refer to columns of another table; by default of the same schema."""

    __slots__ = ("columns", "referenced_columns", "referenced_schema", "referenced_table")

    def __init__(
        self,
        columns: Iterable[str],
        referenced_table: str,
        referenced_columns: Iterable[str],
        referenced_schema: str | None = None,
    ) -> None:
        self.columns = list(columns)
        self.referenced_table = referenced_table
        self.referenced_columns = list(referenced_columns)
        self.referenced_schema = referenced_schema

    def encode(self, schema_name: str, generation: int = 1) -> bytes:
        return records.FOREIGN_KEY.encode(
            {
                "fk_columns": self.columns,
                "pk_columns": self.referenced_columns,
                "referenced_table": self.referenced_table,
                "referenced_schema": self.referenced_schema or schema_name,
            },
            generation,
        )

    @staticmethod
    def decode(blob: bytes, generation: int = 1) -> ForeignKeyDef:
        row = records.FOREIGN_KEY.decode(blob, generation)
        return ForeignKeyDef(
            row["fk_columns"] or (), row["referenced_table"], row["pk_columns"] or (), row["referenced_schema"]
        )

    def __repr__(self) -> str:
        return f"ForeignKeyDef({self.columns}, {self.referenced_table!r}, {self.referenced_columns})"


class Table:
    """A table. Its columns are declared, or those of the function that scans it.

    With ``columns`` the scan is ``scan`` or ``branches``; its columns are matched by position. ``row_id`` names the
    column that is hidden and addresses rows in UPDATE and DELETE. ``at`` gives the table of an
    ``AT (VERSION => …)`` or ``AT (TIMESTAMP => …)``. ``versions`` are the data versions that have the table; by
    default all.

    What the table and its function say about themselves (scan, bind, cardinality, statistics) travels with the
    listing, so that a query asks nothing more; ``inline_scan`` and ``inline_cardinality`` False switch that off.
    """

    object_type = "TABLE"

    __slots__ = (
        "_columns",
        "_given",
        "_statistics",
        "at",
        "branches",
        "cardinality_estimate",
        "cardinality_max",
        "check",
        "comment",
        "delete_function",
        "foreign_keys",
        "inline_bind",
        "inline_cardinality",
        "inline_scan",
        "insert_function",
        "name",
        "not_null",
        "primary_key",
        "required_extensions",
        "required_filters",
        "scan",
        "statistics_cache_max_age_seconds",
        "supports_returning",
        "tags",
        "unique",
        "update_function",
        "versions",
    )

    def __init__(
        self,
        name: str,
        *,
        columns: Any = None,
        function: Any = None,
        arguments: Any = None,
        scan: Any = None,
        branches: Iterable[ScanBranch] | None = None,
        required_extensions: Iterable[str] = (),
        insert_function: Any = None,
        update_function: Any = None,
        delete_function: Any = None,
        supports_returning: bool = False,
        row_id: str | None = None,
        not_null: Iterable[str] = (),
        unique: Iterable[str | Sequence[str]] = (),
        check: Iterable[str] = (),
        primary_key: str | Sequence[str] | Sequence[Sequence[str]] = (),
        foreign_key: ForeignKeyDef | Iterable[ForeignKeyDef] = (),
        defaults: Mapping[str, Any] | None = None,
        generated_columns: Mapping[str, str] | None = None,
        column_comments: Mapping[str, str] | None = None,
        required_filters: Iterable[Sequence[str]] = (),
        statistics: Mapping[str, ColumnStatisticsInput]
        | Callable[[], Mapping[str, ColumnStatisticsInput]]
        | None = None,
        statistics_cache_max_age_seconds: int | None = None,
        cardinality_estimate: int | None = None,
        cardinality_max: int | None = None,
        at: Callable[[str, str], Table] | None = None,
        versions: Iterable[str] | None = None,
        inline_scan: bool = True,
        inline_bind: bool | None = None,
        inline_cardinality: bool = True,
        comment: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        where = self._where
        if not name:
            raise DefinitionError("a table needs a name")
        if columns is None and function is None:
            raise DefinitionError(f"{where}: must specify either 'columns' or 'function'")
        if columns is not None and function is not None:
            raise DefinitionError(f"{where}: cannot specify both 'columns' and 'function'; with columns, give 'scan'")
        if function is not None and (scan is not None or branches is not None):
            raise DefinitionError(f"{where}: 'function' is the scan; 'scan' and 'branches' go with 'columns'")
        if scan is not None and branches is not None:
            raise DefinitionError(f"{where}: cannot specify both 'scan' and 'branches'")
        self.scan = _scan(function if function is not None else scan, arguments, where)
        if function is not None and (self.scan is None or not isinstance(self.scan.spec, TableSpec)):
            raise DefinitionError(
                f"{where}: function={function!r} has no columns of its own; give 'columns' and 'scan'"
            )
        self.branches = None if branches is None else list(branches)
        self.required_extensions = list(required_extensions)
        self.insert_function = ScanFunction.of(insert_function)
        self.update_function = ScanFunction.of(update_function)
        self.delete_function = ScanFunction.of(delete_function)
        self.supports_returning = supports_returning
        self.not_null = list(not_null)
        self.unique = [[group] if isinstance(group, str) else list(group) for group in unique]
        self.check = list(check)
        self.primary_key = _one_key(primary_key, where)
        self.foreign_keys = [foreign_key] if isinstance(foreign_key, ForeignKeyDef) else list(foreign_key)
        self.required_filters = [list(group) for group in required_filters]
        self._statistics = statistics or {}
        self.statistics_cache_max_age_seconds = statistics_cache_max_age_seconds
        self.cardinality_estimate = cardinality_estimate
        self.cardinality_max = cardinality_max
        self.at = at
        self.versions = None if versions is None else frozenset(versions)
        self.inline_scan = inline_scan
        self.inline_bind = inline_bind
        self.inline_cardinality = inline_cardinality
        self.comment = comment
        self.tags = {str(key): str(value) for key, value in (tags or {}).items()}
        self._given = (dict(defaults or {}), dict(generated_columns or {}), dict(column_comments or {}), row_id)
        self._columns: Schema | None = None
        if columns is not None:
            self._complete(table_schema(columns, where))
        elif not self._lazy and self._fixed is not None:
            self._complete(self._fixed)
        self._check()

    @property
    def _where(self) -> str:
        return f"Table '{self.name}'"

    @property
    def _fixed(self) -> Schema | None:
        """Columns of the scan function, when they depend on nothing."""
        return getattr(self.scan.spec, "fixed_schema", None) if self.scan is not None else None

    @property
    def _lazy(self) -> bool:
        return self.scan is not None and self.scan.spec is not None and self.scan.spec.lazy

    @property
    def columns(self) -> Schema:
        """With row id, defaults, generated columns and comments as field metadata."""
        if self._columns is None:
            from vgi_fast.catalog.derive import scan_columns

            assert self.scan is not None
            self._complete(scan_columns(self.scan, self._where))
            assert self._columns is not None
        return self._columns

    @property
    def row_id(self) -> str | None:
        return next((field.name for field in self.columns.fields if keys.IS_ROW_ID in field.metadata), None)

    @property
    def supports_time_travel(self) -> bool:
        return self.at is not None

    @property
    def has_statistics(self) -> bool:
        """Its own, or those that its function declares."""
        if self._statistics:
            return True
        if not self.inline_scan or self.scan is None:
            return False
        from vgi_fast.catalog.derive import has_declared_statistics

        return has_declared_statistics(self.scan.spec)

    def known_statistics(self) -> Mapping[str, ColumnStatisticsInput]:
        if self._statistics or not self.has_statistics or self.scan is None:
            return self.statistics
        from vgi_fast.catalog.derive import scan_statistics

        return scan_statistics(self.scan, self.columns)

    def _complete(self, plain: Schema) -> None:
        """Write into the columns what was declared about them, and check all that names a column."""
        defaults, generated, comments, row_id = self._given
        for option, names in (
            ("not_null", self.not_null),
            ("unique", [name for group in self.unique for name in group]),
            ("primary_key", self.primary_key),
            ("foreign_key", [name for key in self.foreign_keys for name in key.columns]),
            ("defaults", defaults),
            ("generated_columns", generated),
            ("column_comments", comments),
            ("row_id", [] if row_id is None else [row_id]),
        ):
            for name in names:
                if name not in plain.names:
                    raise DefinitionError(
                        f"{self._where}: {option} column '{name}' not found in schema. Available columns: {plain.names}"
                    )
        fields = []
        for field in plain.fields:
            metadata: dict[Any, Any] = dict(field.metadata)
            name = field.name
            if name in defaults and name in generated:
                raise DefinitionError(
                    f"{self._where}: column '{name}' cannot have both a default value and a generated expression"
                )
            if name in defaults:
                metadata[keys.COLUMN_DEFAULT] = sql_literal(
                    defaults[name], f"{self._where}, default of '{name}'"
                ).encode()
            if name in generated:
                metadata[keys.COLUMN_GENERATED] = generated[name].encode()
            if name in comments:
                metadata[keys.COLUMN_COMMENT] = comments[name].encode()
            if name == row_id:
                metadata[keys.IS_ROW_ID] = b""
            fields.append(Field(name, field.type, field.nullable, metadata))
        columns = Schema(fields)
        if sum(keys.IS_ROW_ID in field.metadata for field in fields) > 1:
            raise DefinitionError(f"{self._where} has multiple is_row_id columns — at most one is allowed")
        if not callable(self._statistics):
            self._check_statistics(columns)
        self._check_required_filters(columns)
        self._columns = columns
        for option in ("update_function", "delete_function"):
            if getattr(self, option) is not None and self.row_id is None:
                raise DefinitionError(
                    f"{self._where}: {option} needs a row id column to say which rows are meant",
                    hint="name it in row_id=, and list it in columns",
                )

    @property
    def statistics(self) -> Mapping[str, ColumnStatisticsInput]:
        """By column; a callable is asked whenever the table is listed."""
        return self._statistics() if callable(self._statistics) else self._statistics

    def _check_statistics(self, columns: Schema) -> None:
        if self._statistics:
            from vgi_fast.functions.statistics import check_statistics

            check_statistics(columns, self.statistics, self._where)

    def _check_required_filters(self, columns: Schema) -> None:
        for group in self.required_filters:
            if not group:
                raise DefinitionError(f"{self._where}: required_filters must not contain empty groups")
            for path in group:
                if not path:
                    raise DefinitionError(f"{self._where}: required_filters must not contain empty strings")
                if path.split(".")[0] not in columns.names:
                    raise DefinitionError(f"{self._where}: required_filters references unknown column '{path}'")

    def _check(self) -> None:
        for key in self.foreign_keys:
            if len(key.columns) != len(key.referenced_columns):
                raise DefinitionError(
                    f"{self._where}: foreign_key to '{key.referenced_table}' has {len(key.columns)} FK columns but "
                    f"{len(key.referenced_columns)} referenced columns — counts must match"
                )
        if self.branches is not None:
            writable = sum(branch.writable for branch in self.branches)
            if not self.branches:
                raise DefinitionError(f"{self._where}: branches must not be empty")
            if writable > 1:
                raise DefinitionError(f"{self._where}: {writable} branches are writable, at most one can be")
        if self.inline_bind:
            if self.scan is None or self.scan.spec is None:
                raise DefinitionError(f"{self._where}: inline_bind=True requires function= to be set")
            if self._fixed is None:
                raise DefinitionError(f"{self._where}: inline_bind=True requires a function with fixed columns")

    def functions(self) -> list[ScanFunction]:
        """Every call that DuckDB makes for the table."""
        calls = [self.scan, self.insert_function, self.update_function, self.delete_function]
        calls += [branch.function for branch in self.branches or ()]
        return [call for call in calls if call is not None]

    def __repr__(self) -> str:
        return f"Table({self.name!r})"


class View:
    """A named query. Names in it are looked up in the catalog and schema of the view first."""

    object_type = "VIEW"

    __slots__ = ("column_comments", "comment", "definition", "name", "tags", "versions")

    def __init__(
        self,
        name: str,
        definition: str,
        *,
        comment: str | None = None,
        column_comments: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        versions: Iterable[str] | None = None,
    ) -> None:
        if not name or not definition:
            raise DefinitionError(f"a view needs a name and a definition, got {name!r} and {definition!r}")
        self.name = name
        self.definition = definition
        self.comment = comment
        self.column_comments = dict(column_comments or {})
        self.tags = {str(key): str(value) for key, value in (tags or {}).items()}
        self.versions = None if versions is None else frozenset(versions)

    def __repr__(self) -> str:
        return f"View({self.name!r})"


class Index:
    """An index. DuckDB does not show it; other clients may."""

    object_type = "INDEX"

    __slots__ = (
        "comment",
        "constraint_type",
        "expressions",
        "index_type",
        "name",
        "options",
        "table_name",
        "tags",
        "versions",
    )

    def __init__(
        self,
        name: str,
        table_name: str,
        expressions: Iterable[str],
        *,
        index_type: str = "ART",
        constraint_type: str = "NONE",
        options: Mapping[str, str] | None = None,
        comment: str | None = None,
        tags: Mapping[str, str] | None = None,
        versions: Iterable[str] | None = None,
    ) -> None:
        if constraint_type not in CONSTRAINT_TYPES:
            allowed = ", ".join(CONSTRAINT_TYPES)
            raise DefinitionError(f"index '{name}': constraint_type must be one of {allowed}, got {constraint_type!r}")
        self.name = name
        self.table_name = table_name
        self.expressions = list(expressions)
        self.index_type = index_type
        self.constraint_type = constraint_type
        self.options = {str(key): str(value) for key, value in (options or {}).items()}
        self.comment = comment
        self.tags = {str(key): str(value) for key, value in (tags or {}).items()}
        self.versions = None if versions is None else frozenset(versions)

    def __repr__(self) -> str:
        return f"Index({self.name!r}, {self.table_name!r})"


def _scan(function: Any, arguments: Any, where: str) -> ScanFunction | None:
    if function is None:
        if arguments is not None:
            raise DefinitionError(f"{where}: arguments without a function")
        return None
    if isinstance(function, ScanFunction):
        if arguments is not None:
            raise DefinitionError(f"{where}: the arguments belong into the ScanFunction")
        return function
    return ScanFunction(function, CallArguments.of(arguments))


def _one_key(given: str | Sequence[str] | Sequence[Sequence[str]], where: str) -> list[str]:
    """Column names; a list of keys must hold one."""
    if isinstance(given, str):
        return [given]
    if any(not isinstance(one, str) for one in given):
        if len(given) > 1:
            raise DefinitionError(f"{where}: at most one primary_key constraint allowed, got {len(given)}")
        return [str(name) for name in given[0]]
    return [str(name) for name in given]
