"""A catalog whose tables can be written: INSERT, UPDATE, DELETE, and RETURNING.

Each ATTACH has tables of its own, which all processes of the worker see.

    ATTACH 'simple_writable' AS w (TYPE vgi, LOCATION 'vgi-fast-simple-writable-worker');
    INSERT INTO w.items VALUES (1, 'one', 10) RETURNING *;
    UPDATE w.items SET qty = qty + 1 WHERE id = 1;
"""

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
    Table,
    TableFunctionGenerator,
    TableWriteFunction,
    Worker,
)
from vgi_fast.examples.row_store import RowStore, columns_of, row_id_field, rows_of, user_file, without

ROW_ID: Final = "rowid"


def with_row_id(columns: str) -> Schema:
    return Schema([*Schema.parse(columns).fields, row_id_field("int64", ROW_ID)])


COLUMNS: Final = {
    "items": with_row_id("id: int64, name: utf8, qty: int64"),
    "items_no_returning": with_row_id("id: int64, name: utf8, qty: int64"),
    "items_insert_only": with_row_id("id: int64, name: utf8"),
    "items_broken_returning": with_row_id("id: int64, name: utf8"),
}


class TableArguments(NamedTuple):
    table: Annotated[str, Arg(0, doc="Schema and name of the table")]

    @property
    def name(self) -> str:
        name = self.table.removeprefix("main.")
        if name not in COLUMNS:
            raise ArgumentError(f"there is no table '{self.table}'")
        return name


Bound = BindParams[TableArguments]
Running = ProcessParams[TableArguments]


def store(params: Running) -> RowStore:
    name = params.args.name
    return RowStore(user_file("simple_writable.sqlite"), params.attach.identity.hex(), name, COLUMNS[name])


class SimpleWritableScan(TableFunctionGenerator[TableArguments, RowStore]):
    """Rows of a table in the order of insertion"""

    class Meta:
        projection_pushdown = True

    @classmethod
    def on_bind(cls, params: Bound) -> Schema:
        return COLUMNS[params.args.name]

    @classmethod
    def initial_state(cls, params: Running) -> RowStore:
        return store(params)

    @classmethod
    def process(cls, params: Running, state: RowStore, out: OutputCollector) -> None:
        out.emit(columns_of(state.rows(), state.columns.names))
        out.finish()


class Writing(TableWriteFunction[TableArguments, RowStore]):
    """What the functions that write have in common."""

    @classmethod
    def returning(cls, params: Bound) -> Schema:
        return without(COLUMNS[params.args.name], ROW_ID)

    @classmethod
    def initial_state(cls, params: Running) -> RowStore:
        return store(params)


def answer(params: Running, state: RowStore, rows: list[dict[str, Any]]) -> Any:
    """The rows for RETURNING, else their number."""
    if params.write_options.return_chunks:
        return columns_of(rows, state.columns.names[:-1])
    return len(rows)


class SimpleWritableInsert(Writing):
    """Adds rows"""

    @classmethod
    def process(cls, params: Running, state: RowStore, rows: RecordBatch) -> Any:
        first = state.next_id()
        added = [{**row, ROW_ID: first + index} for index, row in enumerate(rows_of(rows.to_pydict()))]
        state.insert(added)
        return answer(params, state, added)


class SimpleWritableUpdate(Writing):
    """Changes rows: columns by name, and the row id"""

    @classmethod
    def process(cls, params: Running, state: RowStore, rows: RecordBatch) -> Any:
        changed = [{**existing(state, change[ROW_ID]), **change} for change in rows_of(rows.to_pydict())]
        state.replace(changed)
        return answer(params, state, changed)


class SimpleWritableDelete(Writing):
    """Removes rows by row id"""

    @classmethod
    def process(cls, params: Running, state: RowStore, rows: RecordBatch) -> Any:
        row_ids = rows.column(ROW_ID).to_pylist()
        removed = [existing(state, row_id) for row_id in row_ids]
        state.delete(row_ids)
        return answer(params, state, removed)


class SimpleWritableBrokenReturningInsert(SimpleWritableInsert):
    """Adds rows, and never returns them"""

    @classmethod
    def on_bind(cls, params: Bound) -> dict[str, str]:
        return {"count": "int64"}

    @classmethod
    def process(cls, params: Running, state: RowStore, rows: RecordBatch) -> int:
        super().process(params, state, rows)
        return rows.num_rows


def existing(state: RowStore, row_id: int) -> dict[str, Any]:
    row = state.get(row_id)
    if row is None:
        raise ArgumentError(f"there is no row {row_id}")
    return row


def writable(name: str, insert: Any = SimpleWritableInsert, *, changes: bool = True, returning: bool = True) -> Table:
    arguments = [f"main.{name}"]
    return Table(
        name,
        columns=COLUMNS[name],
        scan=ScanFunction(SimpleWritableScan, arguments),
        insert_function=ScanFunction(insert, arguments),
        update_function=ScanFunction(SimpleWritableUpdate, arguments) if changes else None,
        delete_function=ScanFunction(SimpleWritableDelete, arguments) if changes else None,
        supports_returning=returning,
    )


CATALOG: Final = Catalog(
    "simple_writable",
    schemas=[
        CatalogSchema(
            functions=[
                SimpleWritableScan,
                SimpleWritableInsert,
                SimpleWritableUpdate,
                SimpleWritableDelete,
                SimpleWritableBrokenReturningInsert,
            ],
            tables=[
                writable("items"),
                writable("items_no_returning", returning=False),
                writable("items_insert_only", changes=False),
                writable("items_broken_returning", SimpleWritableBrokenReturningInsert, changes=False),
            ],
        )
    ],
    comment="Tables that can be written, fresh for each ATTACH",
)
worker = Worker("vgi-fast-simple-writable-worker", catalogs=[CATALOG])


def main() -> None:
    worker.run()


if __name__ == "__main__":
    main()
