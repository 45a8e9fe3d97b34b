"""Tables, views, macros and indexes of an attached catalog: listed, read, written and changed as DuckDB does it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from vgi_fast._core import RecordBatch, Schema, decode_stream, encode_row
from vgi_fast.client import calls, values
from vgi_fast.client.calls import Bound, TableCall
from vgi_fast.client.signatures import Function, read_function
from vgi_fast.errors import ArgumentError, ProtocolError
from vgi_fast.wire import keys, methods, records

if TYPE_CHECKING:
    import pyarrow as pa

    from vgi_fast.client.client import Client

At = tuple[str, str]
"""``("VERSION", "3")`` or ``("TIMESTAMP", "2026-01-01 00:00:00")``."""

WRITE_OPTIONS: Final = Schema.parse("return_chunks: bool, on_conflict: utf8, on_conflict_columns: list<utf8>")
WRITE_BATCH_ROWS: Final = 2048


class CatalogTables:
    """What a catalog has besides functions; a part of ``Catalog``."""

    client: "Client"
    transaction: bytes | None
    _attach: bytes

    if TYPE_CHECKING:

        @property
        def default_schema(self) -> str: ...
        def call(self, method: str, **params: Any) -> Any: ...
        def functions(self, schema: str | None = None, kind: str | None = None) -> list[Function]: ...
        def _list(self, method: str, **params: Any) -> list[dict[str, Any]]: ...
        def _bind(self, *args: Any, **fields: Any) -> Bound: ...

    # -- listings -------------------------------------------------------------------------------

    def tables(self, schema: str | None = None) -> list[dict[str, Any]]:
        return self._list("catalog_schema_contents_tables", name=schema or self.default_schema)

    def views(self, schema: str | None = None) -> list[dict[str, Any]]:
        return self._list("catalog_schema_contents_views", name=schema or self.default_schema)

    def macros(self, kind: str, schema: str | None = None) -> list[dict[str, Any]]:
        """``kind`` is ``scalar`` or ``table``."""
        name = schema or self.default_schema
        return self._list("catalog_schema_contents_macros", name=name, type=f"{kind.upper()}_MACRO")

    def indexes(self, schema: str | None = None) -> list[dict[str, Any]]:
        return self._list("catalog_schema_contents_indexes", name=schema or self.default_schema)

    def copy_formats(self) -> list[dict[str, Any]]:
        return self._list("catalog_copy_from_formats")

    # -- single objects -------------------------------------------------------------------------

    def table_info(self, name: str, schema: str | None = None, *, at: At | None = None) -> dict[str, Any] | None:
        """The record TableInfo; None for an unknown table."""
        return self._one("table", name, schema, **_at(at))

    def view_info(self, name: str, schema: str | None = None) -> dict[str, Any] | None:
        return self._one("view", name, schema)

    def macro_info(self, name: str, schema: str | None = None) -> dict[str, Any] | None:
        return self._one("macro", name, schema)

    def index_info(self, name: str, schema: str | None = None) -> dict[str, Any] | None:
        return self._one("index", name, schema)

    def scan_branches(
        self, name: str, schema: str | None = None, *, at: At | None = None
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Records ScanBranch, and the DuckDB extensions that they need."""
        answer = self.call(
            "catalog_table_scan_branches_get", schema_name=schema or self.default_schema, name=name, **_at(at)
        )
        return [records.SCAN_BRANCH.decode(blob) for blob in answer["branches"]], answer["required_extensions"]

    def scan_function(self, name: str, schema: str | None = None, *, at: At | None = None) -> dict[str, Any]:
        """The record ScanFunctionResult."""
        found: dict[str, Any] = self.call(
            "catalog_table_scan_function_get", schema_name=schema or self.default_schema, name=name, **_at(at)
        )
        return found

    def statistics(self, name: str, schema: str | None = None) -> list[dict[str, Any]]:
        """A row for each column that has statistics."""
        blob = self.call("catalog_table_column_statistics_get", schema_name=schema or self.default_schema, name=name)
        return statistics_rows(blob)

    # -- reading --------------------------------------------------------------------------------

    def scan(
        self,
        name: str,
        schema: str | None = None,
        *,
        at: At | None = None,
        columns: list[str] | None = None,
        secrets: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> TableCall:
        """The rows of a table that one function scans. What the listing says already is not asked for again."""
        info = self._table(name, schema, at)
        blob = info["scan_function"]
        if blob:
            scan = records.SCAN_FUNCTION_RESULT.decode(blob)
        else:
            branches, _ = self.scan_branches(name, schema, at=at)
            if len(branches) != 1:
                raise ArgumentError(f"table {name!r} has {len(branches)} branches, which only DuckDB can join")
            scan = branches[0]
        names = Schema.from_bytes(info["columns"]).names
        positions = None if columns is None else [names.index(column) for column in columns]
        if info["bind_result"]:
            bound = self._bound_already(scan, info["bind_result"], at)
        else:
            function = self._function(scan["function_name"], info["schema_name"])
            positional, named = call_arguments(scan["arguments"])
            bound = self._bind(function, positional, named, None, None, secrets, **_at(at))
        return TableCall(bound, calls.producer_batches(bound, positions), positions)

    # -- writing --------------------------------------------------------------------------------

    def insert(self, name: str, data: Any, schema: str | None = None, *, returning: bool = False) -> Any:
        """Add rows: all columns but the row id. The number of rows, or with ``returning`` a ``pyarrow.Table``."""
        info = self._table(name, schema)
        visible = [i for i, field in enumerate(_columns(info)) if keys.IS_ROW_ID not in field.metadata]
        return self._write("insert", info, _columns(info).select(visible), data, returning)

    def update(self, name: str, data: Any, schema: str | None = None, *, returning: bool = False) -> Any:
        """Change rows: ``data`` holds the changed columns by name, and the row id."""
        info = self._table(name, schema)
        table, columns = values.as_table(data), _columns(info)
        row_id = next(field.name for field in columns if keys.IS_ROW_ID in field.metadata)
        ordered = [column for column in table.schema.names if column != row_id] + [row_id]
        chosen = columns.select([columns.index(column) for column in ordered])
        return self._write("update", info, chosen, table.select(ordered), returning)

    def delete(self, name: str, row_ids: Any, schema: str | None = None, *, returning: bool = False) -> Any:
        info = self._table(name, schema)
        row_id = [i for i, field in enumerate(_columns(info)) if keys.IS_ROW_ID in field.metadata]
        return self._write("delete", info, _columns(info).select(row_id), [row_ids], returning)

    def _write(self, operation: str, info: Mapping[str, Any], columns: Schema, data: Any, returning: bool) -> Any:
        import pyarrow as pa

        blob = info[f"{operation}_function"]
        if blob:
            write = records.SCAN_FUNCTION_RESULT.decode(blob)
        else:
            params = {"writable_branch_function_name": None} if operation == "insert" else {}
            write = self.call(
                f"catalog_table_{operation}_function_get",
                schema_name=info["schema_name"],
                name=info["name"],
                **params,
            )
        function = self._function(write["function_name"], info["schema_name"])
        positional, named = call_arguments(write["arguments"])
        options = {"return_chunks": returning, "on_conflict": "throw", "on_conflict_columns": []}
        named["write_options"] = pa.scalar(encode_row(WRITE_OPTIONS, options), pa.binary())
        bound = self._bind(function, positional, named, columns, None, None)
        answers: list[RecordBatch] = []
        with bound.init(input_schema=columns, phase="INPUT") as stream:
            for batch in values.as_batches(values.as_table(data), columns, WRITE_BATCH_ROWS):
                answer = stream.exchange(batch)
                if answer is None:
                    raise ProtocolError(f"{function.name} ended before its input did")
                answers.append(answer)
            answers += stream.finish()
        if returning:
            return pa.Table.from_batches([one.to_arrow() for one in answers], pa.schema(bound.output_schema))
        return sum(
            sum(one.column("count").to_pylist()) if "count" in one.schema.names else one.num_rows for one in answers
        )

    # -- changes --------------------------------------------------------------------------------

    def change(self, operation: str, **params: Any) -> None:
        """DDL: ``change("table_drop", name="t", ignore_not_found=True)``.

        Flags that are left out are false, the schema is the default one; ``columns`` and ``column_definition`` are
        schemas in any form.
        """
        method = methods.method(f"catalog_{operation}")
        declared = method.request.schema() if method.request is not None else method.params
        filled: dict[str, Any] = {}
        for field in declared.fields:
            name = field.name
            if name in params:
                filled[name] = _encoded(name, params[name])
            elif name == "schema_name":
                filled[name] = self.default_schema
            elif name == "on_conflict":
                filled[name] = "ERROR"
            elif field.type.kind in ("bool", "list", "map") and name not in ("tags",):
                filled[name] = {"bool": False, "list": [], "map": {}}[field.type.kind]
        unknown = params.keys() - set(declared.names)
        if unknown:
            raise ArgumentError(f"{operation} has no parameters {sorted(unknown)}; there are {declared.names}")
        self.call(method.name, **filled)

    # -- inner ----------------------------------------------------------------------------------

    def _one(self, kind: str, name: str, schema: str | None, **params: Any) -> dict[str, Any] | None:
        found = self._list(f"catalog_{kind}_get", schema_name=schema or self.default_schema, name=name, **params)
        return found[0] if found else None

    def _table(self, name: str, schema: str | None, at: At | None = None) -> dict[str, Any]:
        listed = [] if at is not None else self.tables(schema)
        info = next((one for one in listed if one["name"].lower() == name.lower()), None)
        info = info or self.table_info(name, schema, at=at)
        if info is None:
            raise ArgumentError(f"there is no table {name!r} in {schema or self.default_schema!r}")
        return info

    def _function(self, name: str, schema: str) -> Function:
        """A listed function of the table's schema or the default schema; otherwise one known by name only."""
        for searched in dict.fromkeys((schema, self.default_schema)):
            found = [one for one in self.functions(searched, "table") if one.name == name]
            if found:
                return found[0]
        return _unlisted(name)

    def _bound_already(self, scan: Mapping[str, Any], bind_result: bytes, at: At | None) -> Bound:
        positional, named = call_arguments(scan["arguments"])
        function = _unlisted(scan["function_name"])
        answer = records.BIND_RESPONSE.decode(bind_result)
        request = {
            "function_name": function.name,
            "arguments": values.arguments_blob(positional, named),
            "function_type": "TABLE",
            "attach_opaque_data": self._attach,
            "transaction_opaque_data": self.transaction,
            "resolved_secrets_provided": False,
            **_at(at),
        }
        return Bound(
            catalog=self,  # type: ignore[arg-type]
            function=function,
            request=records.BIND_REQUEST.encode(request),
            input_schema=None,
            output_schema=Schema.from_bytes(answer["output_schema"]),
            opaque_data=answer["opaque_data"],
        )


def call_arguments(blob: bytes | None) -> "tuple[list[pa.Scalar], dict[str, pa.Scalar]]":
    """Positional and named arguments of a ScanFunctionResult (section 2.8 of the catalog document)."""
    positional: dict[int, pa.Scalar] = {}
    named: dict[str, pa.Scalar] = {}
    if blob:
        schema, batches = decode_stream(blob)
        for name, column in zip(schema.names, batches[0].columns if batches else (), strict=False):
            value = column.to_arrow()[0]
            if name.startswith("arg_") and name[4:].isdigit():
                positional[int(name[4:])] = value
            else:
                named[name] = value
    return [positional[index] for index in range(len(positional))], named


def statistics_rows(blob: bytes | None) -> list[dict[str, Any]]:
    if not blob:
        return []
    _, batches = decode_stream(blob)
    return [batch.row(index) for batch in batches for index in range(batch.num_rows)]


def _columns(info: Mapping[str, Any]) -> Schema:
    return Schema.from_bytes(info["columns"])


def _at(at: At | None) -> dict[str, str | None]:
    unit, value = at or (None, None)
    return {"at_unit": unit, "at_value": value}


def _unlisted(name: str) -> Function:
    empty = Schema([]).serialize()
    info: dict[str, Any] = {
        "name": name,
        "schema_name": "",
        "function_type": "TABLE",
        "arguments": empty,
        "output_schema": empty,
        "description": "",
        "input_from_args": False,
        "projection_pushdown": False,
        "has_finalize": False,
        "required_settings": [],
        "required_secrets": [],
    }
    return read_function(info)


def _encoded(name: str, value: Any) -> Any:
    if name in ("columns", "column_definition", "arguments_schema") and not isinstance(value, (bytes, type(None))):
        return Schema.of(value).serialize()
    if name == "foreign_key_constraints":
        return [one if isinstance(one, bytes) else records.FOREIGN_KEY.encode(one) for one in value]
    return value
