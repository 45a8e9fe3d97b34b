"""A catalog whose schemas, tables and views are made, changed and dropped by its clients.

They are kept in the SQLite file CHANGING_DB, which all processes share; rolling back restores what was there at begin.
"""

import os
import pickle
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple

from vgi_fast import (
    Arg,
    ArgumentError,
    AttachData,
    AttachResult,
    Catalog,
    CatalogInterface,
    CatalogSchema,
    Field,
    ForeignKeyDef,
    OutputCollector,
    ProcessParams,
    RecordBatch,
    ScanFunction,
    Schema,
    Table,
    TableFunctionGenerator,
    TableWriteFunction,
    View,
    Worker,
)

State = dict[str, Any]
EMPTY: State = {"version": 1, "schemas": {"main": {"comment": None, "tables": {}, "views": {}}}, "open": {}}


@contextmanager
def state() -> Iterator[State]:
    """The state, locked; changes are kept when the block ends well."""
    connection = sqlite3.connect(os.environ["CHANGING_DB"], timeout=60, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE IF NOT EXISTS state (content BLOB)")
        row = connection.execute("SELECT content FROM state").fetchone()
        current = pickle.loads(row[0]) if row else pickle.loads(pickle.dumps(EMPTY))
        yield current
        connection.execute("DELETE FROM state")
        connection.execute("INSERT INTO state VALUES (?)", (pickle.dumps(current),))
        connection.execute("COMMIT")
    finally:
        connection.close()


class Name(NamedTuple):
    schema: Annotated[str, Arg(0)]
    table: Annotated[str, Arg(1)]


class ReadRows(TableFunctionGenerator[Name, None]):
    @classmethod
    def on_bind(cls, params: Any) -> Schema:
        with state() as now:
            return table_columns(now, *params.args)

    @classmethod
    def process(cls, params: ProcessParams[Name], state_: None, out: OutputCollector) -> None:
        with state() as now:
            rows = find(now, params.args.schema, "tables", params.args.table)["rows"]
        out.emit({name: [row[name] for row in rows] for name in params.output_schema.names})
        out.finish()


class AppendRows(TableWriteFunction[Name, list[dict[str, Any]]]):
    """Nothing is stored before the statement has ended well."""

    @classmethod
    def initial_state(cls, params: ProcessParams[Name]) -> list[dict[str, Any]]:
        return []

    @classmethod
    def process(cls, params: ProcessParams[Name], state_: list[dict[str, Any]], rows: RecordBatch) -> Any:
        added = rows.to_pydict()
        if any(value == "poison" for values in added.values() for value in values):
            raise ArgumentError("poison is not stored")
        state_.extend(dict(zip(added, values, strict=True)) for values in zip(*added.values(), strict=True))
        return added if params.write_options.return_chunks else rows.num_rows

    @classmethod
    def on_finish(cls, params: ProcessParams[Name], state_: list[dict[str, Any]]) -> None:
        with state() as now:
            find(now, params.args.schema, "tables", params.args.table)["rows"] += state_


def find(now: State, schema: str, kind: str, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = now["schemas"][schema][kind][name]
    except KeyError:
        raise ArgumentError(f"there is no {kind[:-1]} '{schema}.{name}'") from None
    return found


def table_columns(now: State, schema: str, table: str) -> Schema:
    return Schema.from_bytes(find(now, schema, "tables", table)["columns"])


def described(schema: str, name: str, table: dict[str, Any]) -> Table:
    columns = Schema.from_bytes(table["columns"])
    names = columns.names
    return Table(
        name,
        columns=columns,
        scan=ScanFunction(ReadRows, [schema, name]),
        insert_function=ScanFunction(AppendRows, [schema, name]),
        supports_returning=True,
        not_null=[names[index] for index in table["not_null"]],
        unique=[[names[index] for index in group] for group in table["unique"]],
        check=table["check"],
        primary_key=[names[index] for group in table["primary_key"] for index in group],
        foreign_key=[ForeignKeyDef(*key) for key in table["foreign_keys"]],
        comment=table["comment"],
    )


def annotated(field: Field) -> dict[Any, Any]:
    return dict(field.metadata)


class Changing(CatalogInterface):
    def catalog_attach(self, *, name: str, **call: Any) -> AttachResult:
        with state() as now:
            return AttachResult(name.encode(), catalog_version=now["version"])

    def catalog_version(self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes | None) -> int:
        assert attach_opaque_data.state == b"changing"
        with state() as now:
            return int(now["version"])

    def catalog_transaction_begin(self, *, attach_opaque_data: AttachData) -> bytes:
        key = os.urandom(8)
        with state() as now:
            now["open"][key] = pickle.dumps(now["schemas"])
        return key

    def catalog_transaction_commit(self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes) -> None:
        with state() as now:
            del now["open"][transaction_opaque_data]

    def catalog_transaction_rollback(self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes) -> None:
        with state() as now:
            now["schemas"] = pickle.loads(now["open"].pop(transaction_opaque_data))
            now["version"] += 1

    def schemas(self, **call: Any) -> list[CatalogSchema]:
        with state() as now:
            return [CatalogSchema(name, comment=one["comment"]) for name, one in now["schemas"].items()]

    def schema_contents(self, *, name: str, type: str, **call: Any) -> list[Any]:
        with state() as now:
            schema = now["schemas"][name]
        if type == "TABLE":
            return [described(name, table, one) for table, one in schema["tables"].items()]
        if type == "VIEW":
            return [View(view, **one) for view, one in schema["views"].items()]
        if type == "TABLE_FUNCTION" and name == "main":
            return list(self.registry.listing("changing", "main", type))
        return []

    def table_get(self, *, schema_name: str, name: str, at_unit: str | None, **call: Any) -> Table | None:
        with state() as now:
            found = now["schemas"].get(schema_name, {"tables": {}})["tables"].get(name)
        if at_unit is not None:
            raise ArgumentError("no time travel")
        return described(schema_name, name, found) if found else None

    def view_get(self, *, schema_name: str, name: str, **call: Any) -> View | None:
        with state() as now:
            found = now["schemas"][schema_name]["views"].get(name)
        return View(name, **found) if found else None

    # -- changes ------------------------------------------------------------------------------------

    def _create(self, owner: dict[str, Any], name: str, on_conflict: str, made: dict[str, Any]) -> None:
        if name in owner and on_conflict != "REPLACE":
            if on_conflict == "ERROR":
                raise ArgumentError(f"'{name}' exists already")
            return
        owner[name] = made

    def _drop(self, owner: dict[str, Any], name: str, ignore_not_found: bool) -> None:
        if owner.pop(name, None) is None and not ignore_not_found:
            raise ArgumentError(f"there is no '{name}'")

    def schema_create(self, *, name: str, on_conflict: str, comment: str | None, **call: Any) -> None:
        with state() as now:
            self._create(now["schemas"], name, on_conflict, {"comment": comment, "tables": {}, "views": {}})
            now["version"] += 1

    def schema_drop(self, *, name: str, ignore_not_found: bool, cascade: bool, **call: Any) -> None:
        with state() as now:
            if name in now["schemas"] and now["schemas"][name]["tables"] and not cascade:
                raise ArgumentError(f"schema '{name}' is not empty")
            self._drop(now["schemas"], name, ignore_not_found)
            now["version"] += 1

    def table_create(
        self,
        *,
        schema_name: str,
        name: str,
        columns: Schema,
        on_conflict: str,
        foreign_key_constraints: list[ForeignKeyDef],
        **call: Any,
    ) -> None:
        made = {
            "columns": columns.serialize(),
            "rows": [],
            "comment": None,
            "not_null": call["not_null_constraints"],
            "unique": call["unique_constraints"],
            "check": call["check_constraints"],
            "primary_key": call["primary_key_constraints"],
            "foreign_keys": [
                (key.columns, key.referenced_table, key.referenced_columns, key.referenced_schema)
                for key in foreign_key_constraints
            ],
        }
        with state() as now:
            self._create(now["schemas"][schema_name]["tables"], name, on_conflict, made)

    def table_drop(self, *, schema_name: str, name: str, ignore_not_found: bool, cascade: bool, **call: Any) -> None:
        with state() as now:
            self._drop(now["schemas"][schema_name]["tables"], name, ignore_not_found)

    def table_rename(self, *, schema_name: str, name: str, new_name: str, **call: Any) -> None:
        with state() as now:
            tables = now["schemas"][schema_name]["tables"]
            tables[new_name] = tables.pop(name)

    def table_comment_set(self, *, schema_name: str, name: str, comment: str | None, **call: Any) -> None:
        with state() as now:
            find(now, schema_name, "tables", name)["comment"] = comment

    def _recolumn(self, schema: str, name: str, change: Callable[[list[Field]], list[Field]]) -> None:
        with state() as now:
            table = find(now, schema, "tables", name)
            before = Schema.from_bytes(table["columns"]).names
            fields = change(list(Schema.from_bytes(table["columns"]).fields))
            table["columns"] = Schema(fields).serialize()
            after = [field.name for field in fields]
            renamed = dict(zip(before, after, strict=True)) if len(before) == len(after) else {}
            table["rows"] = [{renamed.get(key, key): value for key, value in row.items()} for row in table["rows"]]
            for row in table["rows"]:
                for field in fields:
                    row.setdefault(field.name, None)

    def _refield(self, call: dict[str, Any], column: str, change: Callable[[Field], Field]) -> None:
        self._recolumn(
            call["schema_name"], call["name"], lambda fields: [change(f) if f.name == column else f for f in fields]
        )

    def table_column_add(
        self, *, schema_name: str, name: str, column_definition: Field, if_column_not_exists: bool, **call: Any
    ) -> None:
        def add(fields: list[Field]) -> list[Field]:
            if any(field.name == column_definition.name for field in fields):
                if if_column_not_exists:
                    return fields
                raise ArgumentError(f"column '{column_definition.name}' exists already")
            return [*fields, column_definition]

        self._recolumn(schema_name, name, add)

    def table_column_drop(
        self, *, schema_name: str, name: str, column_name: str, if_column_exists: bool, **call: Any
    ) -> None:
        def drop(fields: list[Field]) -> list[Field]:
            kept = [field for field in fields if field.name != column_name]
            if len(kept) == len(fields) and not if_column_exists:
                raise ArgumentError(f"there is no column '{column_name}'")
            return kept

        self._recolumn(schema_name, name, drop)

    def table_column_rename(self, *, column_name: str, new_column_name: str, **call: Any) -> None:
        self._refield(call, column_name, lambda field: Field(new_column_name, field.type, True, annotated(field)))

    def table_column_default_set(self, *, column_name: str, expression: str, **call: Any) -> None:
        self._refield(call, column_name, lambda field: Field(field.name, field.type, True, {"default": expression}))

    def table_column_default_drop(self, *, column_name: str, **call: Any) -> None:
        self._refield(call, column_name, lambda field: Field(field.name, field.type))

    def table_column_comment_set(self, *, column_name: str, comment: str | None, **call: Any) -> None:
        metadata: dict[Any, Any] = {"comment": comment} if comment else {}
        self._refield(
            call, column_name, lambda field: Field(field.name, field.type, True, {**annotated(field), **metadata})
        )

    def table_column_type_change(self, *, column_definition: Field, expression: str | None, **call: Any) -> None:
        self._refield(call, column_definition.name, lambda field: column_definition)

    def table_not_null_set(self, *, schema_name: str, name: str, column_name: str, **call: Any) -> None:
        with state() as now:
            table = find(now, schema_name, "tables", name)
            table["not_null"].append(Schema.from_bytes(table["columns"]).index(column_name))

    def table_not_null_drop(self, *, schema_name: str, name: str, column_name: str, **call: Any) -> None:
        with state() as now:
            table = find(now, schema_name, "tables", name)
            table["not_null"].remove(Schema.from_bytes(table["columns"]).index(column_name))

    def view_create(self, *, schema_name: str, name: str, definition: str, on_conflict: str, **call: Any) -> None:
        with state() as now:
            self._create(now["schemas"][schema_name]["views"], name, on_conflict, {"definition": definition})

    def view_drop(self, *, schema_name: str, name: str, ignore_not_found: bool, **call: Any) -> None:
        with state() as now:
            self._drop(now["schemas"][schema_name]["views"], name, ignore_not_found)

    def view_rename(self, *, schema_name: str, name: str, new_name: str, **call: Any) -> None:
        with state() as now:
            views = now["schemas"][schema_name]["views"]
            views[new_name] = views.pop(name)

    def view_comment_set(self, *, schema_name: str, name: str, comment: str | None, **call: Any) -> None:
        with state() as now:
            find(now, schema_name, "views", name)["comment"] = comment


worker = Worker(
    "changing", catalogs=[Changing(Catalog("changing", functions=[ReadRows, AppendRows], transactions=True))]
)

if __name__ == "__main__":
    worker.run()
