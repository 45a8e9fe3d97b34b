"""The one table of methods: parameters, result and records of each, by generation.

A line reads ``name(parameters) -> result``. Parameters are in the text form of a schema, with the
shorthands ``request=Record`` (a nested record), ``att``, ``txn``, ``enum`` and ``tags``. The result is
``bin`` or ``bin?`` (a not null or nullable binary column ``result``) with the record inside it, ``[Record]``
for a list of encoded records; ``void``; or ``stream`` with the record of the header.

    >>> from vgi_fast.wire.methods import method
    >>> method("catalog_version").response.name
    'CatalogVersionResponse'
"""

from typing import Final

from vgi_fast._core import Schema
from vgi_fast.errors import MethodNotImplementedError
from vgi_fast.wire import records, versions
from vgi_fast.wire.records import Record

# Section "Appendix B" of the RPC document; records from the function, stateful and catalog documents.
_TABLES: Final[dict[int, str]] = {
    1: """
aggregate_bind(request=AggregateBindRequest) -> bin? AggregateBindResponse
aggregate_combine(request=AggregateCombineRequest) -> bin? AggregateCombineResponse
aggregate_destructor(request=AggregateDestructorRequest) -> bin? AggregateDestructorResponse
aggregate_finalize(request=AggregateFinalizeRequest) -> bin? AggregateFinalizeResponse
aggregate_streaming_chunk(request=AggregateStreamingChunkRequest) -> bin? AggregateStreamingChunkResponse
aggregate_streaming_close(request=AggregateStreamingCloseRequest) -> bin? AggregateStreamingCloseResponse
aggregate_streaming_open(request=AggregateStreamingOpenRequest) -> bin? AggregateStreamingOpenResponse
aggregate_update(request=AggregateUpdateRequest) -> bin? AggregateUpdateResponse
aggregate_window(request=AggregateWindowRequest) -> bin? AggregateWindowResponse
aggregate_window_batch(request=AggregateWindowBatchRequest) -> bin? AggregateWindowBatchResponse
aggregate_window_destructor(request=AggregateWindowDestructorRequest) -> bin? AggregateWindowDestructorResponse
aggregate_window_init(request=AggregateWindowInitRequest) -> bin? AggregateWindowInitResponse
bind(request=BindRequest) -> bin? BindResponse
catalog_attach(request=CatalogAttachRequest) -> bin? CatalogAttachResult
catalog_catalogs() -> bin? [CatalogInfo]
catalog_copy_from_formats(att, txn) -> bin? [CopyFromFormatInfo]
catalog_create(request=CatalogCreateRequest) -> void
catalog_detach(att) -> void
catalog_drop(name: utf8!) -> void
catalog_index_create(request=IndexCreateRequest) -> void
catalog_index_drop(att, schema_name: utf8!, name: utf8!, ignore_not_found: bool!, cascade: bool!, txn) -> void
catalog_index_get(att, schema_name: utf8!, name: utf8!, txn) -> bin? [IndexInfo]
catalog_macro_create(request=MacroCreateRequest) -> void
catalog_macro_drop(att, schema_name: utf8!, name: utf8!, ignore_not_found: bool!, txn) -> void
catalog_macro_get(att, schema_name: utf8!, name: utf8!, txn) -> bin? [MacroInfo]
catalog_schema_contents_functions(att, name: utf8!, type: enum!, txn) -> bin? [FunctionInfo]
catalog_schema_contents_indexes(att, name: utf8!, txn) -> bin? [IndexInfo]
catalog_schema_contents_macros(att, name: utf8!, type: enum!, txn) -> bin? [MacroInfo]
catalog_schema_contents_tables(att, name: utf8!, txn) -> bin? [TableInfo]
catalog_schema_contents_views(att, name: utf8!, txn) -> bin? [ViewInfo]
catalog_schema_create(att, name: utf8!, on_conflict: enum!, comment: utf8, tags: tags, txn) -> void
catalog_schema_drop(att, name: utf8!, ignore_not_found: bool!, cascade: bool!, txn) -> void
catalog_schema_get(att, name: utf8!, txn) -> bin? [SchemaInfo]
catalog_schemas(att, txn) -> bin? [SchemaInfo]
catalog_table_column_add(att, schema_name: utf8!, name: utf8!, column_definition: binary!, ignore_not_found: bool!, \
if_column_not_exists: bool!, txn) -> void
catalog_table_column_comment_set(att, schema_name: utf8!, name: utf8!, column_name: utf8!, comment: utf8, \
ignore_not_found: bool!, txn) -> void
catalog_table_column_default_drop(att, schema_name: utf8!, name: utf8!, column_name: utf8!, \
ignore_not_found: bool!, txn) -> void
catalog_table_column_default_set(att, schema_name: utf8!, name: utf8!, column_name: utf8!, expression: utf8!, \
ignore_not_found: bool!, txn) -> void
catalog_table_column_drop(att, schema_name: utf8!, name: utf8!, column_name: utf8!, ignore_not_found: bool!, \
if_column_exists: bool!, cascade: bool!, txn) -> void
catalog_table_column_rename(att, schema_name: utf8!, name: utf8!, column_name: utf8!, new_column_name: utf8!, \
ignore_not_found: bool!, txn) -> void
catalog_table_column_statistics_get(att, schema_name: utf8!, name: utf8!, txn) -> bin?
catalog_table_column_type_change(att, schema_name: utf8!, name: utf8!, column_definition: binary!, \
expression: utf8, ignore_not_found: bool!, txn) -> void
catalog_table_comment_set(att, schema_name: utf8!, name: utf8!, comment: utf8, ignore_not_found: bool!, txn) -> void
catalog_table_create(request=TableCreateRequest) -> void
catalog_table_delete_function_get(att, schema_name: utf8!, name: utf8!, txn) -> bin ScanFunctionResult
catalog_table_drop(att, schema_name: utf8!, name: utf8!, ignore_not_found: bool!, cascade: bool!, txn) -> void
catalog_table_get(att, schema_name: utf8!, name: utf8!, at_unit: utf8, at_value: utf8, txn) -> bin? [TableInfo]
catalog_table_insert_function_get(att, schema_name: utf8!, name: utf8!, txn, \
writable_branch_function_name: utf8) -> bin ScanFunctionResult
catalog_table_not_null_drop(att, schema_name: utf8!, name: utf8!, column_name: utf8!, ignore_not_found: bool!, \
txn) -> void
catalog_table_not_null_set(att, schema_name: utf8!, name: utf8!, column_name: utf8!, ignore_not_found: bool!, \
txn) -> void
catalog_table_rename(att, schema_name: utf8!, name: utf8!, new_name: utf8!, ignore_not_found: bool!, txn) -> void
catalog_table_scan_branches_get(att, schema_name: utf8!, name: utf8!, at_unit: utf8, at_value: utf8, txn) \
-> bin ScanBranchesResult
catalog_table_scan_function_get(att, schema_name: utf8!, name: utf8!, at_unit: utf8, at_value: utf8, txn) \
-> bin ScanFunctionResult
catalog_table_update_function_get(att, schema_name: utf8!, name: utf8!, txn) -> bin ScanFunctionResult
catalog_transaction_begin(att) -> bin? TransactionBeginResponse
catalog_transaction_commit(att, transaction_opaque_data: binary!) -> void
catalog_transaction_rollback(att, transaction_opaque_data: binary!) -> void
catalog_version(att, txn) -> bin? CatalogVersionResponse
catalog_view_comment_set(att, schema_name: utf8!, name: utf8!, comment: utf8, ignore_not_found: bool!, txn) -> void
catalog_view_create(att, schema_name: utf8!, name: utf8!, definition: utf8!, on_conflict: enum!, txn) -> void
catalog_view_drop(att, schema_name: utf8!, name: utf8!, ignore_not_found: bool!, cascade: bool!, txn) -> void
catalog_view_get(att, schema_name: utf8!, name: utf8!, txn) -> bin? [ViewInfo]
catalog_view_rename(att, schema_name: utf8!, name: utf8!, new_name: utf8!, ignore_not_found: bool!, txn) -> void
init(request=InitRequest) -> stream GlobalInitResponse
table_buffering_combine(request=TableBufferingCombineRequest) -> bin? TableBufferingCombineResponse
table_buffering_destructor(request=TableBufferingDestructorRequest) -> bin? TableBufferingDestructorResponse
table_buffering_process(request=TableBufferingProcessRequest) -> bin? TableBufferingProcessResponse
table_function_cardinality(request=TableFunctionCardinalityRequest) -> bin? TableFunctionCardinalityResponse
table_function_dynamic_to_string(request=TableFunctionDynamicToStringRequest) \
-> bin? TableFunctionDynamicToStringResponse
table_function_statistics(request=TableFunctionStatisticsRequest) -> bin?
""",
}

_SHORTHANDS: Final = {
    "att": "attach_opaque_data: binary!",
    "txn": "transaction_opaque_data: binary",
}
_TYPE_SHORTHANDS: Final = {"enum!": "dictionary<int16, utf8>!", "tags": "map<utf8, utf8>"}
_RESULT_TEXTS: Final = {"bin": "result: binary!", "bin?": "result: binary", "void": "", "stream": ""}

DESCRIBE_SCHEMA_TEXT: Final = (
    "name: utf8, method_type: utf8, has_return: bool, params_schema_ipc: binary, result_schema_ipc: binary, "
    "has_header: bool, header_schema_ipc: binary, is_exchange: bool"
)


class Method:
    """One declared method. ``params`` and ``result`` are made when first used."""

    __slots__ = (
        "_params",
        "_params_text",
        "_result",
        "generation",
        "header",
        "kind",
        "name",
        "request",
        "response",
        "response_item",
    )

    def __init__(self, name: str, params_text: str, result_text: str, generation: int) -> None:
        kind, _, record = result_text.partition(" ")
        self.name = name
        self.generation = generation
        self.kind = kind
        """``bin``, ``bin?``, ``void`` or ``stream``."""
        self.request = records.ALL[params_text.removeprefix("request=")] if params_text.startswith("request=") else None
        """Record inside the only parameter ``request``, if the method has that shape."""
        self.response: Record | None = None
        self.response_item: Record | None = None
        """Record of each item when the response is a list."""
        self.header: Record | None = None
        if kind == "stream":
            self.header = records.ALL[record]
        elif record.startswith("["):
            self.response = records.ITEMS_RESPONSE
            self.response_item = records.ALL[record[1:-1]]
        elif record:
            self.response = records.ALL[record]
        self._params_text = params_text
        self._params: Schema | None = None
        self._result: Schema | None = None

    @property
    def is_stream(self) -> bool:
        return self.kind == "stream"

    @property
    def has_return(self) -> bool:
        return self.kind in ("bin", "bin?")

    @property
    def params(self) -> Schema:
        if self._params is None:
            self._params = Schema.parse(_expand(self._params_text))
        return self._params

    @property
    def result(self) -> Schema:
        if self._result is None:
            self._result = _result_schema(self.kind)
        return self._result

    def __repr__(self) -> str:
        return f"Method({self.name})"


_methods: dict[int, dict[str, Method]] = {}
_lines: dict[int, dict[str, tuple[str, str]]] = {}
_results: dict[str, Schema] = {}
_hashes: dict[int, str] = {}


def method(name: str, generation: int = 1) -> Method:
    """The declared method; MethodNotImplementedError for any other name."""
    known = _methods.setdefault(generation, {})
    found = known.get(name)
    if found is None:
        line = _declared(generation).get(name)
        if line is None:
            raise MethodNotImplementedError(f"Unknown method: {name!r}. Available methods: {names(generation)}")
        found = known[name] = Method(name, line[0], line[1], generation)
    return found


def names(generation: int = 1) -> list[str]:
    return sorted(_declared(generation))


def describe_rows(generation: int = 1) -> list[dict[str, object]]:
    """Rows of the answer to ``__describe__`` (section 6.1 of the RPC document)."""
    rows: list[dict[str, object]] = []
    for name in names(generation):
        entry = method(name, generation)
        rows.append(
            {
                "name": name,
                "method_type": "stream" if entry.is_stream else "unary",
                "has_return": entry.has_return,
                "params_schema_ipc": entry.params.serialize(),
                "result_schema_ipc": entry.result.serialize(),
                "has_header": entry.header is not None,
                "header_schema_ipc": entry.header.schema(generation).serialize() if entry.header else None,
                "is_exchange": None,  # the only stream method decides it from the request
            }
        )
    return rows


def protocol_hash(generation: int = 1) -> str:
    """Lower-case hex SHA-256 over the described methods (section 6.2 of the RPC document)."""
    known = _hashes.get(generation)
    if known is None:
        known = _hashes[generation] = hash_rows(versions.PROTOCOL_NAMES[generation], describe_rows(generation))
    return known


def hash_rows(protocol_name: str, rows: list[dict[str, object]]) -> str:
    from hashlib import sha256

    flags = {None: b"-", True: b"1", False: b"0"}
    digest = sha256(b"vgi_rpc.describe.v%s|%s|" % (versions.DESCRIBE_VERSION, versions.REQUEST_VERSION))
    digest.update(protocol_name.encode() + b"|")
    for row in sorted(rows, key=lambda row: str(row["name"])):
        parts = (
            str(row["method_type"]).encode(),
            flags[bool(row["has_return"])],
            flags[bool(row["has_header"])],
            flags[None if row["is_exchange"] is None else bool(row["is_exchange"])],
            row["params_schema_ipc"],
            row["result_schema_ipc"],
            row["header_schema_ipc"] or b"",
        )
        digest.update(b"\x1f" + str(row["name"]).encode())
        for part in parts:
            assert isinstance(part, bytes)
            digest.update(b"\x1e" + part)
    return digest.hexdigest()


def _declared(generation: int) -> dict[str, tuple[str, str]]:
    """Parameter and result text by method name."""
    lines = _lines.get(generation)
    if lines is None:
        lines = _lines[generation] = {}
        for line in _TABLES[generation].strip().splitlines():
            head, _, result = line.partition(" -> ")
            name, _, params = head.partition("(")
            lines[name] = (params.removesuffix(")"), result)
    return lines


def _expand(text: str) -> str:
    if text.startswith("request="):
        return "request: binary!"
    fields = []
    for part in text.split(", ") if text else ():
        name, _, type_text = part.partition(": ")
        fields.append(f"{name}: {_TYPE_SHORTHANDS.get(type_text, type_text)}" if type_text else _SHORTHANDS[name])
    return ", ".join(fields)


def _result_schema(kind: str) -> Schema:
    schema = _results.get(kind)
    if schema is None:
        schema = _results[kind] = Schema.parse(_RESULT_TEXTS[kind])
    return schema
