"""An attached catalog: its objects and its functions, called as DuckDB calls them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from vgi_fast._core import DataType, Field, Schema, decode_row
from vgi_fast.client import calls, values
from vgi_fast.client.aggregates import AggregateCall
from vgi_fast.client.calls import Bound, ScalarCall, TableCall
from vgi_fast.client.signatures import Argument, Function, choose, match, read_function
from vgi_fast.client.tables import CatalogTables
from vgi_fast.errors import ArgumentError, ProtocolError
from vgi_fast.wire import methods, records

if TYPE_CHECKING:
    import pyarrow as pa

    from vgi_fast.client.client import Client

FUNCTION_KINDS: Final = {
    "scalar": "SCALAR_FUNCTION",
    "table": "TABLE_FUNCTION",
    "aggregate": "AGGREGATE_FUNCTION",
}
Secrets = Mapping[str, Mapping[str, Any]]


class Catalog(CatalogTables):
    """Made by ``Client.attach``. Listings are read once and kept, as DuckDB does."""

    def __init__(self, client: "Client", name: str, result: Mapping[str, Any]) -> None:
        self.client = client
        self.name = name
        self.result = result
        """The CatalogAttachResult."""
        self.transaction: bytes | None = None
        self._attach: bytes = result["attach_opaque_data"] or b""
        self._settings = {spec["name"]: spec for spec in map(records.SETTING_SPEC.decode, result["settings"] or ())}
        self._schemas: list[dict[str, Any]] | None = None
        self._functions: dict[tuple[str, str], list[Function]] = {}

    # -- objects --------------------------------------------------------------------------------

    @property
    def default_schema(self) -> str:
        return self.result["default_schema"] or "main"

    def call(self, method: str, **params: Any) -> Any:
        """``Client.call`` with the attach and transaction bytes filled in where the method takes them."""
        declared = methods.method(method)
        names = (declared.request.schema() if declared.request else declared.params).names
        own = {"attach_opaque_data": self._attach, "transaction_opaque_data": self.transaction}
        return self.client.call(method, {name: own[name] for name in own if name in names} | params)

    def schemas(self) -> list[dict[str, Any]]:
        if self._schemas is None:
            self._schemas = self._list("catalog_schemas")
        return self._schemas

    def functions(self, schema: str | None = None, kind: str | None = None) -> list[Function]:
        """Overloads of one schema, or of all; ``kind`` is ``scalar``, ``table`` or ``aggregate``."""
        names = [entry["name"] for entry in self.schemas()] if schema is None else [schema]
        kinds = list(FUNCTION_KINDS) if kind is None else [kind]
        return [function for name in names for each in kinds for function in self._listing(name, each)]

    def version(self) -> int:
        return int(self.call("catalog_version")["version"])

    def refresh(self) -> None:
        """Forget the listings."""
        self._schemas = None
        self._functions.clear()

    def begin(self) -> None:
        self.transaction = self.call("catalog_transaction_begin")["transaction_opaque_data"]

    def commit(self) -> None:
        self._end_transaction("catalog_transaction_commit")

    def rollback(self) -> None:
        self._end_transaction("catalog_transaction_rollback")

    def detach(self) -> None:
        self.call("catalog_detach")

    # -- functions ------------------------------------------------------------------------------

    def scalar(
        self,
        name: str,
        data: Any,
        args: Sequence[Any] = (),
        *,
        batch_rows: int = values.DEFAULT_BATCH_ROWS,
        **options: Any,
    ) -> "pa.ChunkedArray":
        """Apply a scalar function to all rows of ``data``.

        ``data`` holds the columns in the order of the function's column parameters: a pyarrow table or batch,
        a mapping or sequence of columns, a single column, or the number of rows for a function without
        columns. ``args`` are its constants. ``options``: schema, settings, secrets.
        """
        table = values.as_table(data)
        with self.open_scalar(name, table.schema, args, **options) as call:
            return call.apply(table, batch_rows)

    def open_scalar(
        self,
        name: str,
        columns: "Sequence[DataType | str] | pa.Schema",
        args: Sequence[Any] = (),
        *,
        schema: str | None = None,
        settings: Mapping[str, Any] | None = None,
        secrets: Secrets | None = None,
    ) -> ScalarCall:
        """Bind and initialise a scalar function for columns of these types."""
        types = [DataType.of(column) for column in columns]
        function = self.resolve(name, "scalar", args, types, schema=schema)
        input_schema = scalar_input_schema(function, types)
        constants = self._constants(function, args)
        return ScalarCall(self._bind(function, constants, {}, input_schema, settings, secrets))

    def table(
        self,
        name: str,
        /,
        *args: Any,
        projection: Sequence[str | int] | None = None,
        named: Mapping[str, Any] | None = None,
        input: Any = None,
        batch_rows: int = values.DEFAULT_BATCH_ROWS,
        schema: str | None = None,
        settings: Mapping[str, Any] | None = None,
        secrets: Secrets | None = None,
        hints: Mapping[str, Any] | None = None,
        **named_args: Any,
    ) -> TableCall:
        """Call a table function. ``input`` are the rows of its TABLE argument.

        Named arguments are keywords, or in ``named`` where they share a name with a parameter here. ``hints``
        are further fields of InitRequest, such as ``order_by_limit``.
        """
        named_args = {**(named or {}), **named_args}
        table = None if input is None else values.as_table(input)
        bound = self.bind_table(name, args, named_args, table, schema=schema, settings=settings, secrets=secrets)
        columns = None if projection is None else _positions(bound.output_schema, projection)
        if table is None:
            return TableCall(bound, calls.producer_batches(bound, columns, **(hints or {})), columns)
        read = calls.buffered_batches if bound.function.kind == "TABLE_BUFFERING" else calls.in_out_batches
        return TableCall(bound, read(bound, table, batch_rows, columns), columns)

    def open_aggregate(
        self,
        name: str,
        columns: Mapping[str, Any] | None = None,
        args: Sequence[Any] = (),
        *,
        schema: str | None = None,
        settings: Mapping[str, Any] | None = None,
        secrets: Secrets | None = None,
    ) -> AggregateCall:
        """An aggregate, bound to columns of these types. ``args`` are its constants, which are not cast."""
        types = [DataType.of(type) for type in (columns or {}).values()]
        function = self._candidates(name, "aggregate", schema)
        if not function:
            raise ArgumentError(f"catalog {self.name!r} has no aggregate {name!r}")
        chosen = function[0] if len(function) == 1 else self.resolve(name, "aggregate", args, types, schema=schema)
        constants = [value if hasattr(value, "as_py") else _scalar(value) for value in args]
        resolved: dict[str, Mapping[str, Any]] = {}
        for need in chosen.info["required_secrets"] or ():
            resolved |= values.find_secret(secrets or {}, need["secret_type"], need["scope"], need["secret_name"])
        request = {
            "arguments": values.arguments_blob(constants, {}),
            "settings": self._settings_blob(chosen, settings or {}),
            "secrets": values.secrets_blob(resolved),
        }
        return AggregateCall(self.client, chosen, self._attach or None, aggregate_schema(chosen, types), request)

    def bind_table(
        self,
        name: str,
        args: Sequence[Any] = (),
        named: Mapping[str, Any] | None = None,
        input: "pa.Table | None" = None,
        *,
        schema: str | None = None,
        settings: Mapping[str, Any] | None = None,
        secrets: Secrets | None = None,
    ) -> Bound:
        columns = [] if input is None else [DataType.of(field) for field in input.schema]
        function = self.resolve(name, "table", args, columns, named or {}, schema=schema)
        if function.takes_input and input is None:
            raise ArgumentError(f"table function {name!r} needs input rows")
        input_schema = None if input is None else Schema.of(input.schema)
        constants = self._constants(function, args)
        named_values = {key: values.constant(value, function.named[key], name) for key, value in (named or {}).items()}
        return self._bind(function, constants, named_values, input_schema, settings, secrets)

    def bind_copy(
        self,
        handler: str,
        path: str,
        *,
        columns: "pa.Schema",
        direction: str,
        format: str = "",
        options: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        secrets: Secrets | None = None,
    ) -> Bound:
        """Bind the handler of a COPY format ``from`` or ``to`` a file. ``columns`` are those of the table."""
        kind = "TABLE_BUFFERING" if direction == "to" else "TABLE"
        listed = [one for one in self._candidates(handler, "table", None) if one.kind == kind]
        if not listed:
            raise ArgumentError(f"catalog {self.name!r} has no handler {handler!r} for COPY ... {direction.upper()}")
        given = {key: values.constant(value, listed[0].named[key], handler) for key, value in (options or {}).items()}
        schema = Schema.of(columns)
        copy: dict[str, Any] = {"format": format, "file_path": path}
        if direction == "to":
            return self._bind(listed[0], [], given, schema, settings, secrets, copy_to=copy)
        copy["expected_schema"] = schema.serialize()
        return self._bind(listed[0], [], given, None, settings, secrets, copy_from=copy)

    def resolve(
        self,
        name: str,
        kind: str,
        args: Sequence[Any] = (),
        columns: Sequence[DataType] = (),
        named: Mapping[str, Any] | None = None,
        *,
        schema: str | None = None,
    ) -> Function:
        """The overload for these arguments. Without ``schema`` the default schema comes first."""
        candidates = self._candidates(name, kind, schema)
        if not candidates:
            known = sorted({function.name for function in self.functions(schema, kind)})
            raise ArgumentError(
                f"catalog {self.name!r} has no {kind} function {name!r}",
                hint=f"known {kind} functions: {', '.join(known) or 'none'}",
            )
        constants = [(values.type_of(value), values.is_literal(value)) for value in args]
        return choose(candidates, constants, columns, named or {})

    # -- inner ----------------------------------------------------------------------------------

    def _list(self, method: str, **params: Any) -> list[dict[str, Any]]:
        return list(self.call(method, **params))

    def _listing(self, schema: str, kind: str) -> list[Function]:
        key = (schema, kind)
        if key not in self._functions:
            items = self._list("catalog_schema_contents_functions", name=schema, type=FUNCTION_KINDS[kind])
            self._functions[key] = [read_function(item) for item in items]
        return self._functions[key]

    def _candidates(self, name: str, kind: str, schema: str | None) -> list[Function]:
        others = [entry["name"] for entry in self.schemas() if entry["name"] != self.default_schema]
        for searched in [self.default_schema, *others] if schema is None else [schema]:
            found = [entry for entry in self._listing(searched, kind) if entry.name.lower() == name.lower()]
            if found:
                return found
        return []

    def _constants(self, function: Function, args: Sequence[Any]) -> "list[pa.Scalar]":
        declared = match(function.constants, len(args))
        return [values.constant(value, argument, function.name) for value, argument in zip(args, declared, strict=True)]

    def _bind(
        self,
        function: Function,
        positional: "Sequence[pa.Scalar]",
        named: "Mapping[str, pa.Scalar]",
        input_schema: Schema | None,
        settings: Mapping[str, Any] | None,
        secrets: Secrets | None,
        **fields: Any,
    ) -> Bound:
        """``bind``, and once more when the worker asks for secrets (section 4.4 of the function document)."""
        known = secrets or {}
        resolved: dict[str, Mapping[str, Any]] = {}
        for need in function.info["required_secrets"] or ():
            resolved |= values.find_secret(known, need["secret_type"], need["scope"], need["secret_name"])
        request = {
            "function_name": function.name,
            "arguments": values.arguments_blob(positional, named),
            "function_type": "TABLE" if function.kind.startswith("TABLE") else function.kind,
            "input_schema": None if input_schema is None else input_schema.serialize(),
            "settings": self._settings_blob(function, settings or {}),
            "secrets": values.secrets_blob(resolved),
            "attach_opaque_data": self._attach or None,
            "transaction_opaque_data": self.transaction,
            "resolved_secrets_provided": False,
            "schema_name": None if "copy_from" in fields or "copy_to" in fields else function.schema_name or None,
            **fields,
        }
        answer = self.client.call("bind", request)
        if answer["lookup_secret_types"]:
            for need in zip(
                answer["lookup_secret_types"], answer["lookup_scopes"], answer["lookup_names"], strict=True
            ):
                resolved |= values.find_secret(known, *need)
            request |= {"secrets": values.secrets_blob(resolved), "resolved_secrets_provided": True}
            answer = self.client.call("bind", request)
            if answer["lookup_secret_types"]:
                raise ProtocolError("Worker requested scoped secrets twice — only one retry allowed")
        if not answer["output_schema"]:
            raise ProtocolError(f"the bind response of {function.name!r} has no output schema")
        return Bound(
            catalog=self,
            function=function,
            request=records.BIND_REQUEST.encode(request),
            input_schema=input_schema,
            output_schema=Schema.from_bytes(answer["output_schema"]),
            opaque_data=answer["opaque_data"],
        )

    def _settings_blob(self, function: Function, given: Mapping[str, Any]) -> bytes | None:
        """All registered settings, those not given with their defaults (section 4.5)."""
        unknown = sorted(given.keys() - self._settings.keys())
        if unknown:
            raise ArgumentError(
                f"catalog {self.name!r} has no setting {unknown[0]!r}",
                hint=f"its settings: {', '.join(self._settings) or 'none'}",
            )
        missing = [name for name in function.info["required_settings"] or () if name not in self._settings]
        if missing:
            raise ArgumentError(
                f"Function '{function.name}' requires the following settings to be set: {', '.join(missing)}."
            )
        return values.row_blob(
            {name: typed_value(spec, given, f"setting {name!r}") for name, spec in self._settings.items()}
        )

    def _end_transaction(self, method: str) -> None:
        if self.transaction:
            self.call(method)
        self.transaction = None


def aggregate_schema(function: Function, types: Sequence[DataType]) -> Schema:
    """As of a scalar; nothing is checked, so that a worker can be asked anything."""
    declared = function.columns
    fields = []
    for index, actual in enumerate(types):
        argument = declared[min(index, len(declared) - 1)] if declared else None
        fields.append(Field(f"col_{index}", argument.type if argument is not None and argument.type else actual))
    return Schema(fields)


def _scalar(value: Any) -> "pa.Scalar":
    import pyarrow as pa

    return pa.scalar(value)


def scalar_input_schema(function: Function, types: Sequence[DataType]) -> Schema:
    """``col_0`` … with the declared types, or the caller's for any-typed parameters (section 4.6)."""
    declared = match(function.columns, len(types))
    return Schema(
        [
            Field(f"col_{index}", argument.type or actual)
            for index, (argument, actual) in enumerate(zip(declared, types, strict=True))
        ]
    )


def typed_value(spec: Mapping[str, Any], given: Mapping[str, Any], label: str) -> "pa.Scalar":
    """A setting's or attach option's value under its declared type; its default when it is not given."""
    import pyarrow as pa

    declared = Schema.from_bytes(spec["type"])[0].type
    argument = Argument(label, declared, True, False, False, False, "", {})
    if spec["name"] in given:
        return values.constant(given[spec["name"]], argument, label)
    default = spec["default_value"]
    row = decode_row(default) if default else {}
    return pa.scalar(row.get("value"), values.arrow_type(declared))


def _positions(schema: Schema, projection: Sequence[str | int]) -> list[int]:
    names = schema.names
    positions = []
    for column in projection:
        if isinstance(column, str) and column not in names:
            raise ArgumentError(f"no column {column!r}", hint=f"columns: {', '.join(names)}")
        positions.append(names.index(column) if isinstance(column, str) else column)
    return positions
