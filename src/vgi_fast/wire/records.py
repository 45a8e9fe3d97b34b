"""Every record of the protocol as data: field order, types and nullability by generation.

A peer that is DuckDB compares responses exactly, so the texts below are the contract. ``!`` marks
a field declared not null; some of those still carry a null cell when absent (section 0.4 of the
catalog document), which is why ``encode`` never refuses one. Requests are read by name, whatever
their order, and a missing field is None.

    >>> from vgi_fast.wire import records
    >>> blob = records.CATALOG_VERSION_RESPONSE.encode({"version": 7})
    >>> records.CATALOG_VERSION_RESPONSE.decode(blob)
    {'version': 7}
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from vgi_fast._core import RecordBatch, Schema, decode_row, encode_row, encode_stream
from vgi_fast.errors import ProtocolError

_ENUM: Final = "dictionary<int16, utf8>"
_TAGS: Final = "map<utf8, utf8>!"

# Members of the enumerations. The wire carries the name; its position never matters.
FUNCTION_TYPES: Final = ("SCALAR", "TABLE", "TABLE_BUFFERING", "AGGREGATE")
STABILITIES: Final = ("CONSISTENT", "VOLATILE", "CONSISTENT_WITHIN_QUERY")
NULL_HANDLINGS: Final = ("DEFAULT", "SPECIAL")
ORDER_PRESERVATIONS: Final = ("PRESERVES_ORDER", "NO_ORDER_GUARANTEE", "FIXED_ORDER")
PARTITION_KINDS: Final = (
    "NOT_PARTITIONED",
    "SINGLE_VALUE_PARTITIONS",
    "OVERLAPPING_PARTITIONS",
    "DISJOINT_PARTITIONS",
)
ORDER_DEPENDENCES: Final = ("ORDER_DEPENDENT", "NOT_ORDER_DEPENDENT")
DISTINCT_DEPENDENCES: Final = ("DISTINCT_DEPENDENT", "NOT_DISTINCT_DEPENDENT")
PHASES: Final = ("INPUT", "FINALIZE", "TABLE_BUFFERING", "TABLE_BUFFERING_FINALIZE")
ORDER_DIRECTIONS: Final = ("ASC", "DESC")
NULL_ORDERS: Final = ("NULLS_FIRST", "NULLS_LAST")
ON_CONFLICTS: Final = ("ERROR", "IGNORE", "REPLACE")
OBJECT_TYPES: Final = (
    "TABLE",
    "VIEW",
    "SCALAR_FUNCTION",
    "TABLE_FUNCTION",
    "AGGREGATE_FUNCTION",
    "SCALAR_MACRO",
    "TABLE_MACRO",
    "INDEX",
)
OBJECT_COUNT_KEYS: Final = (
    "table",
    "view",
    "scalar_function",
    "aggregate_function",
    "table_function",
    "macro",
    "index",
)

ALL: Final[dict[str, "Record"]] = {}
"""Every record by name."""


class Record:
    """One record, with its fields as text by generation; schemas are made when first used."""

    __slots__ = ("_schemas", "name", "texts")

    def __init__(self, name: str, texts: Mapping[int, str]) -> None:
        self.name = name
        self.texts = texts
        self._schemas: dict[int, Schema] = {}
        ALL[name] = self

    def schema(self, generation: int = 1) -> Schema:
        schema = self._schemas.get(generation)
        if schema is None:
            text = self.texts.get(generation)
            if text is None:
                raise ProtocolError(f"record {self.name} has no form in protocol generation {generation}")
            schema = self._schemas[generation] = Schema.parse(text)
        return schema

    def encode(self, values: Mapping[str, Any], generation: int = 1) -> bytes:
        """A complete IPC stream of one row; a name missing from ``values`` becomes null.

        A record without fields is the acknowledgement: one batch of zero rows (section 3.7 of the
        RPC document).
        """
        schema = self.schema(generation)
        if len(schema) == 0:
            return encode_stream(schema, [RecordBatch(schema, [], 0)])
        return encode_row(schema, values)

    def decode(self, data: bytes | bytearray | memoryview | None, generation: int = 1) -> dict[str, Any]:
        """By name: further columns are ignored, missing ones are None. No bytes means all None."""
        row = decode_row(data) if data else {}
        return {name: row.get(name) for name in self.schema(generation).names}

    def __repr__(self) -> str:
        return f"Record({self.name})"


def bind_response(
    output_schema: Schema,
    opaque_data: bytes | None = None,
    lookups: Iterable[tuple[str, str, str]] = (),
    *,
    generation: int = 1,
) -> bytes:
    """A BindResponse, or a request for secrets when there are lookups ``(type, scope, name)``."""
    wanted = list(lookups)
    return BIND_RESPONSE.encode(
        {
            "output_schema": output_schema.serialize(),
            "opaque_data": opaque_data,
            "lookup_secret_types": [lookup[0] for lookup in wanted],
            "lookup_scopes": [lookup[1] for lookup in wanted],
            "lookup_names": [lookup[2] for lookup in wanted],
        },
        generation,
    )


# --- functions ------------------------------------------------------------------------------------

BIND_REQUEST: Final = Record(
    "BindRequest",
    {
        1: "function_name: utf8!, arguments: binary!, "
        f"function_type: {_ENUM}!, input_schema: binary!, settings: binary!, secrets: binary!, "
        "attach_opaque_data: binary, transaction_opaque_data: binary, resolved_secrets_provided: bool!, "
        "at_unit: utf8, at_value: utf8, "
        "copy_from: struct<format: utf8!, file_path: utf8!, expected_schema: binary!>, "
        "copy_to: struct<format: utf8!, file_path: utf8!>, schema_name: utf8"
    },
)
BIND_RESPONSE: Final = Record(
    "BindResponse",
    {
        1: "output_schema: binary!, opaque_data: binary!, lookup_secret_types: list<utf8>!, "
        "lookup_scopes: list<utf8>!, lookup_names: list<utf8>!"
    },
)
INIT_REQUEST: Final = Record(
    "InitRequest",
    {
        1: "bind_call: binary!, output_schema: binary!, bind_opaque_data: binary!, projection_ids: list<int64>, "
        f"pushdown_filters: large_binary!, join_keys: list<large_binary>!, phase: {_ENUM}, "
        "finalize_state_id: binary, execution_id: binary, init_opaque_data: binary!, substream_id: binary, "
        f"order_by_column_name: utf8, order_by_direction: {_ENUM}, order_by_null_order: {_ENUM}, "
        "order_by_limit: int64, tablesample_percentage: float64, tablesample_seed: int64"
    },
)
GLOBAL_INIT_RESPONSE: Final = Record(
    "GlobalInitResponse", {1: "execution_id: binary!, opaque_data: binary!, max_workers: int64!"}
)
TABLE_FUNCTION_CARDINALITY_REQUEST: Final = Record(
    "TableFunctionCardinalityRequest", {1: "bind_call: binary!, bind_opaque_data: binary!"}
)
TABLE_FUNCTION_CARDINALITY_RESPONSE: Final = Record(
    "TableFunctionCardinalityResponse", {1: "estimate: int64, max: int64"}
)
TABLE_FUNCTION_STATISTICS_REQUEST: Final = Record(
    "TableFunctionStatisticsRequest", {1: "bind_call: binary!, bind_opaque_data: binary!"}
)
TABLE_FUNCTION_DYNAMIC_TO_STRING_REQUEST: Final = Record(
    "TableFunctionDynamicToStringRequest",
    {1: "bind_call: binary!, bind_opaque_data: binary!, global_execution_id: binary!"},
)
TABLE_FUNCTION_DYNAMIC_TO_STRING_RESPONSE: Final = Record(
    "TableFunctionDynamicToStringResponse", {1: "keys: list<utf8>!, values: list<utf8>!"}
)
FUNCTION_INFO: Final = Record(
    "FunctionInfo",
    {
        1: f"comment: utf8, tags: {_TAGS}, name: utf8!, schema_name: utf8!, function_type: {_ENUM}!, "
        f"arguments: binary!, output_schema: binary!, stability: {_ENUM}, null_handling: {_ENUM}, "
        "description: utf8!, "
        "examples: list<struct<sql: utf8!, description: utf8!, expected_output: utf8>>!, categories: list<utf8>!, "
        "projection_pushdown: bool, filter_pushdown: bool, sampling_pushdown: bool, late_materialization: bool, "
        f"supported_expression_filters: list<utf8>!, order_preservation: {_ENUM}, max_workers: int32!, "
        f"supports_batch_index: bool!, partition_kind: {_ENUM}!, order_dependent: {_ENUM}!, "
        f"distinct_dependent: {_ENUM}!, supports_window: bool!, streaming_partitioned: bool!, has_finalize: bool!, "
        "source_order_dependent: bool!, sink_order_dependent: bool!, requires_input_batch_index: bool!, "
        "input_from_args: bool!, required_settings: list<utf8>!, "
        "required_secrets: list<struct<secret_type: utf8!, scope: utf8, secret_name: utf8>>!"
    },
)
COPY_FROM_FORMAT_INFO: Final = Record(
    "CopyFromFormatInfo",
    {
        1: f"comment: utf8, tags: {_TAGS}, format_name: utf8!, handler: utf8!, options: binary!, direction: utf8!, "
        "description: utf8!, ordered: bool!"
    },
)

# --- table buffering ------------------------------------------------------------------------------

TABLE_BUFFERING_PROCESS_REQUEST: Final = Record(
    "TableBufferingProcessRequest",
    {
        1: "function_name: utf8!, execution_id: binary!, input_batch: binary!, attach_opaque_data: binary, "
        "transaction_id: binary, batch_index: int64, schema_name: utf8"
    },
)
TABLE_BUFFERING_PROCESS_RESPONSE: Final = Record("TableBufferingProcessResponse", {1: "state_id: binary!"})
TABLE_BUFFERING_COMBINE_REQUEST: Final = Record(
    "TableBufferingCombineRequest",
    {
        1: "function_name: utf8!, execution_id: binary!, state_ids: list<binary>!, attach_opaque_data: binary, "
        "transaction_id: binary, schema_name: utf8"
    },
)
TABLE_BUFFERING_COMBINE_RESPONSE: Final = Record(
    "TableBufferingCombineResponse", {1: "finalize_state_ids: list<binary>!"}
)
TABLE_BUFFERING_DESTRUCTOR_REQUEST: Final = Record(
    "TableBufferingDestructorRequest",
    {
        1: "function_name: utf8!, execution_id: binary!, attach_opaque_data: binary, transaction_id: binary, "
        "schema_name: utf8"
    },
)
TABLE_BUFFERING_DESTRUCTOR_RESPONSE: Final = Record("TableBufferingDestructorResponse", {1: ""})

# --- aggregates -----------------------------------------------------------------------------------

_OWNER: Final = "attach_opaque_data: binary, schema_name: utf8"
_STATE: Final = "function_name: utf8!, execution_id: binary!"

AGGREGATE_BIND_REQUEST: Final = Record(
    "AggregateBindRequest",
    {
        1: "function_name: utf8!, arguments: binary!, input_schema: binary!, settings: binary!, secrets: binary!, "
        + _OWNER
    },
)
AGGREGATE_BIND_RESPONSE: Final = Record("AggregateBindResponse", {1: "output_schema: binary!, execution_id: binary!"})
AGGREGATE_UPDATE_REQUEST: Final = Record("AggregateUpdateRequest", {1: f"{_STATE}, input_batch: binary!, {_OWNER}"})
AGGREGATE_UPDATE_RESPONSE: Final = Record("AggregateUpdateResponse", {1: ""})
AGGREGATE_COMBINE_REQUEST: Final = Record("AggregateCombineRequest", {1: f"{_STATE}, merge_batch: binary!, {_OWNER}"})
AGGREGATE_COMBINE_RESPONSE: Final = Record("AggregateCombineResponse", {1: ""})
AGGREGATE_FINALIZE_REQUEST: Final = Record(
    "AggregateFinalizeRequest", {1: f"{_STATE}, group_ids_batch: binary!, output_schema: binary!, {_OWNER}"}
)
AGGREGATE_FINALIZE_RESPONSE: Final = Record("AggregateFinalizeResponse", {1: "result_batch: binary!"})
AGGREGATE_DESTRUCTOR_REQUEST: Final = Record(
    "AggregateDestructorRequest", {1: f"{_STATE}, group_ids_batch: binary!, {_OWNER}"}
)
AGGREGATE_DESTRUCTOR_RESPONSE: Final = Record("AggregateDestructorResponse", {1: ""})
AGGREGATE_WINDOW_INIT_REQUEST: Final = Record(
    "AggregateWindowInitRequest",
    {
        1: f"{_STATE}, partition_id: int64!, row_count: int64!, partition_batch: binary!, output_schema: binary!, "
        f"filter_mask: binary!, frame_stats: binary!, all_valid: binary!, {_OWNER}"
    },
)
AGGREGATE_WINDOW_INIT_RESPONSE: Final = Record("AggregateWindowInitResponse", {1: ""})
AGGREGATE_WINDOW_REQUEST: Final = Record(
    "AggregateWindowRequest",
    {
        1: f"{_STATE}, partition_id: int64!, rid: int64!, frame_starts: list<int64>!, frame_ends: list<int64>!, "
        + _OWNER
    },
)
AGGREGATE_WINDOW_RESPONSE: Final = Record("AggregateWindowResponse", {1: "result_batch: binary!"})
AGGREGATE_WINDOW_BATCH_REQUEST: Final = Record(
    "AggregateWindowBatchRequest",
    {
        1: f"{_STATE}, partition_id: int64!, row_idx: int64!, count: int64!, frames_per_row: list<int64>!, "
        f"frame_starts: list<int64>!, frame_ends: list<int64>!, {_OWNER}"
    },
)
AGGREGATE_WINDOW_BATCH_RESPONSE: Final = Record("AggregateWindowBatchResponse", {1: "result_batch: binary!"})
AGGREGATE_WINDOW_DESTRUCTOR_REQUEST: Final = Record(
    "AggregateWindowDestructorRequest", {1: f"{_STATE}, partition_id: int64!, {_OWNER}"}
)
AGGREGATE_WINDOW_DESTRUCTOR_RESPONSE: Final = Record("AggregateWindowDestructorResponse", {1: ""})
AGGREGATE_STREAMING_OPEN_REQUEST: Final = Record(
    "AggregateStreamingOpenRequest",
    {
        1: "function_name: utf8!, arguments: binary!, input_schema: binary!, partition_key_count: int64!, "
        f"order_key_count: int64!, output_schema: binary!, settings: binary!, secrets: binary!, {_OWNER}"
    },
)
AGGREGATE_STREAMING_OPEN_RESPONSE: Final = Record("AggregateStreamingOpenResponse", {1: "execution_id: binary!"})
AGGREGATE_STREAMING_CHUNK_REQUEST: Final = Record(
    "AggregateStreamingChunkRequest", {1: f"{_STATE}, input_batch: binary!, {_OWNER}"}
)
AGGREGATE_STREAMING_CHUNK_RESPONSE: Final = Record("AggregateStreamingChunkResponse", {1: "result_batch: binary!"})
AGGREGATE_STREAMING_CLOSE_REQUEST: Final = Record("AggregateStreamingCloseRequest", {1: f"{_STATE}, {_OWNER}"})
AGGREGATE_STREAMING_CLOSE_RESPONSE: Final = Record("AggregateStreamingCloseResponse", {1: ""})

# --- catalog --------------------------------------------------------------------------------------

ITEMS_RESPONSE: Final = Record("ItemsResponse", {1: "items: list<binary>!"})
CATALOG_ATTACH_REQUEST: Final = Record(
    "CatalogAttachRequest",
    {1: "name: utf8!, options: binary!, data_version_spec: utf8, implementation_version: utf8"},
)
CATALOG_ATTACH_RESULT: Final = Record(
    "CatalogAttachResult",
    {
        1: "attach_opaque_data: binary!, supports_transactions: bool!, supports_time_travel: bool!, "
        "catalog_version_frozen: bool!, catalog_version: int64!, attach_opaque_data_required: bool!, "
        "default_schema: utf8!, settings: list<binary>!, secret_types: list<binary>!, "
        f"attach_catalogs: list<binary>!, comment: utf8, tags: {_TAGS}, supports_column_statistics: bool!, "
        "global_functions: list<binary>!, global_function_prefix: utf8!, resolved_data_version: utf8, "
        "resolved_implementation_version: utf8"
    },
)
CATALOG_CREATE_REQUEST: Final = Record(
    "CatalogCreateRequest", {1: f"name: utf8!, on_conflict: {_ENUM}!, options: binary!"}
)
CATALOG_VERSION_RESPONSE: Final = Record("CatalogVersionResponse", {1: "version: int64!"})
TRANSACTION_BEGIN_RESPONSE: Final = Record("TransactionBeginResponse", {1: "transaction_opaque_data: binary"})
CATALOG_INFO: Final = Record(
    "CatalogInfo",
    {
        1: "name: utf8!, implementation_version: utf8, data_version_spec: utf8, attach_option_specs: list<binary>!, "
        "releases: list<struct<version: utf8!, released_at: timestamp[us, tz=UTC]!, summary: utf8!, "
        "notes_url: utf8>>!, source_url: utf8"
    },
)
SCHEMA_INFO: Final = Record(
    "SchemaInfo",
    {
        1: f"comment: utf8, tags: {_TAGS}, attach_opaque_data: binary!, name: utf8!, "
        "estimated_object_count: map<utf8, int64>"
    },
)
TABLE_INFO: Final = Record(
    "TableInfo",
    {
        1: f"comment: utf8, tags: {_TAGS}, name: utf8!, schema_name: utf8!, columns: binary!, "
        "not_null_constraints: list<int32>!, unique_constraints: list<list<int32>>!, check_constraints: list<utf8>!, "
        "primary_key_constraints: list<list<int32>>!, foreign_key_constraints: list<binary>!, "
        "supports_insert: bool!, supports_update: bool!, supports_delete: bool!, supports_returning: bool!, "
        "supports_column_statistics: bool!, scan_function: binary!, insert_function: binary!, "
        "update_function: binary!, delete_function: binary!, cardinality_estimate: int64!, cardinality_max: int64!, "
        "column_statistics: binary!, bind_result: binary!, required_filters: list<list<utf8>>!"
    },
)
FOREIGN_KEY: Final = Record(
    "ForeignKey",
    {1: "fk_columns: list<utf8>, pk_columns: list<utf8>, referenced_table: utf8, referenced_schema: utf8"},
)
VIEW_INFO: Final = Record(
    "ViewInfo",
    {1: f"comment: utf8, tags: {_TAGS}, name: utf8!, schema_name: utf8!, definition: utf8!, column_comments: {_TAGS}"},
)
MACRO_INFO: Final = Record(
    "MacroInfo",
    {
        1: f"comment: utf8, tags: {_TAGS}, name: utf8!, schema_name: utf8!, macro_type: {_ENUM}!, "
        "parameters: list<utf8>!, parameter_default_values: binary!, definition: utf8!, arguments_schema: binary!"
    },
)
INDEX_INFO: Final = Record(
    "IndexInfo",
    {
        1: f"comment: utf8, tags: {_TAGS}, name: utf8!, schema_name: utf8!, table_name: utf8!, index_type: utf8!, "
        f"constraint_type: {_ENUM}!, expressions: list<utf8>!, options: {_TAGS}"
    },
)
SCAN_FUNCTION_RESULT: Final = Record(
    "ScanFunctionResult", {1: "function_name: utf8!, arguments: binary!, required_extensions: list<utf8>!"}
)
SCAN_BRANCH: Final = Record(
    "ScanBranch",
    {
        1: "function_name: utf8!, arguments: binary!, branch_filter: utf8, writable: bool!, source_catalog: utf8, "
        "source_schema: utf8, source_table: utf8"
    },
)
SCAN_BRANCHES_RESULT: Final = Record(
    "ScanBranchesResult", {1: "branches: list<binary>!, required_extensions: list<utf8>!"}
)
SETTING_SPEC: Final = Record(
    "SettingSpec", {1: "name: utf8!, description: utf8!, type: binary!, default_value: binary"}
)
ATTACH_OPTION_SPEC: Final = Record(
    "AttachOptionSpec",
    {1: "name: utf8!, description: utf8!, type: binary!, default_value: binary, required: bool"},
)
SECRET_TYPE_SPEC: Final = Record("SecretTypeSpec", {1: "name: utf8!, description: utf8!, parameters_schema: binary!"})
ATTACH_CATALOG_INFO: Final = Record(
    "AttachCatalogInfo",
    {
        1: f"alias: utf8!, target: utf8!, db_type: utf8!, options: {_TAGS}, hidden: bool!, required: bool!, "
        "secret_ref: utf8!"
    },
)
SECRET_LOOKUP_RESPONSE: Final = Record(
    "SecretLookupResponse",
    {
        1: "found: bool!, secret_type: utf8!, provider: utf8!, name: utf8!, scope: list<utf8>!, values: binary!, "
        "redact_keys: list<utf8>!, ttl_seconds: int64!, expires_at_unix: int64!"
    },
)
TABLE_CREATE_REQUEST: Final = Record(
    "TableCreateRequest",
    {
        1: f"attach_opaque_data: binary!, schema_name: utf8!, name: utf8!, columns: binary!, on_conflict: {_ENUM}!, "
        "not_null_constraints: list<int32>!, unique_constraints: list<list<int32>>!, check_constraints: list<utf8>!, "
        "primary_key_constraints: list<list<int32>>!, foreign_key_constraints: list<binary>!, "
        "transaction_opaque_data: binary"
    },
)
MACRO_CREATE_REQUEST: Final = Record(
    "MacroCreateRequest",
    {
        1: f"attach_opaque_data: binary!, schema_name: utf8!, name: utf8!, macro_type: {_ENUM}!, "
        f"parameters: list<utf8>!, definition: utf8!, on_conflict: {_ENUM}!, parameter_default_values: binary!, "
        "arguments_schema: binary!, transaction_opaque_data: binary"
    },
)
INDEX_CREATE_REQUEST: Final = Record(
    "IndexCreateRequest",
    {
        1: "attach_opaque_data: binary!, schema_name: utf8!, name: utf8!, table_name: utf8!, index_type: utf8!, "
        f"constraint_type: {_ENUM}!, expressions: list<utf8>!, on_conflict: {_ENUM}!, options: {_TAGS}, "
        "transaction_opaque_data: binary"
    },
)
