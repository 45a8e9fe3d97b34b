"""Catalog ``schema_reconcile``: tables that accept rows of exactly the declared types only."""

import os
from typing import Annotated, Any, Final, NamedTuple

from vgi_fast import (
    Arg,
    ArgumentError,
    BindParams,
    Catalog,
    CatalogSchema,
    OutputCollector,
    ProcessParams,
    RecordBatch,
    ScanFunction,
    Schema,
    SchemaValidationError,
    Table,
    TableFunctionGenerator,
    TableWriteFunction,
)
from vgi_fast.examples.row_store import RowStore, columns_of, row_id_field, rows_of, user_file

DATABASE: Final = "VGI_SCHEMA_RECONCILE_DB"
ROW_ID: Final = "rowid"

USER_COLUMNS: Final = Schema.parse(
    "id: int64!, ts: timestamp[ms, tz=UTC]!, nested: struct<a: int32!, b: utf8, ts2: timestamp[ms, tz=UTC]>!, "
    "tags: list<struct<k: utf8!, v: binary>!>!"
)


def with_row_id(type: str) -> Schema:
    return Schema([*USER_COLUMNS.fields, row_id_field(type, ROW_ID)])


COLUMNS: Final = {
    "demo": with_row_id("int64"),
    "ts_demo": with_row_id("timestamp[ms, tz=UTC]"),
    "struct_demo": with_row_id("struct<a: int64!, b: utf8>"),
}


class TableArguments(NamedTuple):
    table: Annotated[str, Arg(0, doc="Name of the table")]

    @property
    def columns(self) -> Schema:
        if self.table not in COLUMNS:
            raise ArgumentError(f"schema_reconcile: there is no table '{self.table}'")
        return COLUMNS[self.table]


Bound = BindParams[TableArguments]
Running = ProcessParams[TableArguments]


def store(params: Running) -> RowStore:
    """In the file that the test names, or one for the processes that were started together."""
    path = os.environ.get(DATABASE) or user_file(f"schema_reconcile_{os.getpgid(0)}.sqlite")
    return RowStore(path, "schema_reconcile", params.args.table, params.args.columns)


def new_row_id(table: str, row: dict[str, Any], first: int, index: int) -> Any:
    if table == "demo":
        return first + index
    return row["ts"] if table == "ts_demo" else {"a": row["id"], "b": row["nested"]["b"]}


class SchemaReconcileScan(TableFunctionGenerator[TableArguments, RowStore]):
    """Rows of a table"""

    class Meta:
        projection_pushdown = True

    @classmethod
    def on_bind(cls, params: Bound) -> Schema:
        return params.args.columns

    @classmethod
    def initial_state(cls, params: Running) -> RowStore:
        return store(params)

    @classmethod
    def process(cls, params: Running, state: RowStore, out: OutputCollector) -> None:
        out.emit(columns_of(state.rows(), state.columns.names))
        out.finish()


class Strict(TableWriteFunction[TableArguments, RowStore]):
    """Refuses input whose columns are not exactly as declared: names, types, nullability, at any depth."""

    @classmethod
    def expected(cls, params: Bound) -> Schema:
        raise NotImplementedError

    @classmethod
    def on_bind(cls, params: Bound) -> Schema:
        expected = cls.expected(params)
        assert params.input_schema is not None
        if not params.input_schema.equals(expected):
            raise SchemaValidationError(
                f"schema_reconcile: {params.function_name} expects {expected}, got {params.input_schema}"
            )
        return Schema.parse("count: int64!")

    @classmethod
    def initial_state(cls, params: Running) -> RowStore:
        return store(params)


class SchemaReconcileInsert(Strict):
    """Adds rows"""

    @classmethod
    def expected(cls, params: Bound) -> Schema:
        return USER_COLUMNS

    @classmethod
    def process(cls, params: Running, state: RowStore, rows: RecordBatch) -> int:
        table = params.args.table
        first = state.next_id() if table == "demo" else 0
        added = rows_of(rows.to_pydict())
        state.insert({**row, ROW_ID: new_row_id(table, row, first, index)} for index, row in enumerate(added))
        return len(added)


class SchemaReconcileUpdate(Strict):
    """Changes some columns of the rows that exist"""

    @classmethod
    def expected(cls, params: Bound) -> Schema:
        assert params.input_schema is not None
        columns = params.args.columns
        unknown = [name for name in params.input_schema.names if name not in columns.names]
        if unknown or ROW_ID not in params.input_schema.names:
            raise SchemaValidationError(f"schema_reconcile: cannot update {params.input_schema.names}")
        return columns.select([columns.index(name) for name in params.input_schema.names])

    @classmethod
    def process(cls, params: Running, state: RowStore, rows: RecordBatch) -> int:
        changed = []
        for change in rows_of(rows.to_pydict()):
            row = state.get(change[ROW_ID])
            if row is not None:
                changed.append({**row, **change})
        state.replace(changed)
        return len(changed)


class SchemaReconcileDelete(Strict):
    """Removes rows"""

    @classmethod
    def expected(cls, params: Bound) -> Schema:
        columns = params.args.columns
        return columns.select([columns.index(ROW_ID)])

    @classmethod
    def process(cls, params: Running, state: RowStore, rows: RecordBatch) -> int:
        return state.delete(rows.column(ROW_ID).to_pylist())


def reconciled(name: str) -> Table:
    return Table(
        name,
        columns=COLUMNS[name],
        scan=ScanFunction(SchemaReconcileScan, [name]),
        insert_function=ScanFunction(SchemaReconcileInsert, [name]),
        update_function=ScanFunction(SchemaReconcileUpdate, [name]),
        delete_function=ScanFunction(SchemaReconcileDelete, [name]),
        comment=f"Rows with the row id {COLUMNS[name][ROW_ID].type}",
    )


CATALOG: Final = Catalog(
    "schema_reconcile",
    schemas=[
        CatalogSchema(
            functions=[SchemaReconcileScan, SchemaReconcileInsert, SchemaReconcileUpdate, SchemaReconcileDelete],
            tables=[reconciled(name) for name in COLUMNS],
        )
    ],
    comment="Tables that accept exactly the declared types",
)
