"""Metadata keys, error kinds and log levels (section 2 of the RPC document)."""

from typing import Final

# Requests, on the single batch of a request stream.
METHOD: Final = b"vgi_rpc.method"
REQUEST_VERSION: Final = b"vgi_rpc.request_version"
PROTOCOL_VERSION: Final = b"vgi_rpc.protocol_version"
REQUEST_ID: Final = b"vgi_rpc.request_id"
PROTOCOL: Final = b"vgi_rpc.protocol"  # routing key, from generation 2 on
TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"

# Stream input.
CANCEL: Final = b"vgi_rpc.cancel"
PUSHDOWN_FILTERS: Final = b"vgi_pushdown_filters"
CACHE_IF_NONE_MATCH: Final = b"vgi.cache.if_none_match"
CACHE_IF_MODIFIED_SINCE: Final = b"vgi.cache.if_modified_since"

# Logs and errors.
LOG_LEVEL: Final = b"vgi_rpc.log_level"
LOG_MESSAGE: Final = b"vgi_rpc.log_message"
LOG_EXTRA: Final = b"vgi_rpc.log_extra"
ERROR_KIND: Final = b"vgi_rpc.error_kind"
ERROR_CODE: Final = b"vgi_rpc.error_code"  # from generation 2 on
ERROR_DETAILS: Final = b"vgi_rpc.error_details"  # from generation 2 on
SERVER_ID: Final = b"vgi_rpc.server_id"
LEGACY_LOG_LEVEL: Final = b"vgi.log_level"  # readers only
LEGACY_LOG_MESSAGE: Final = b"vgi.log_message"
LEGACY_LOG_EXTRA: Final = b"vgi.log_extra"

# Shared memory, external locations and transport options.
SHM_SEGMENT_NAME: Final = b"vgi_rpc.shm_segment_name"
SHM_SEGMENT_SIZE: Final = b"vgi_rpc.shm_segment_size"
SHM_OFFSET: Final = b"vgi_rpc.shm_offset"
SHM_LENGTH: Final = b"vgi_rpc.shm_length"
SHM_SOURCE: Final = b"vgi_rpc.shm_source"  # added by the receiver, never on the wire
LOCATION: Final = b"vgi_rpc.location"
LOCATION_SHA256: Final = b"vgi_rpc.location.sha256"
LOCATION_FETCH_MS: Final = b"vgi_rpc.location.fetch_ms"  # added by the receiver
LOCATION_SOURCE: Final = b"vgi_rpc.location.source"  # added by the receiver
TRANSPORT_SHM: Final = b"vgi_rpc.transport.shm"

# The answer to __describe__.
PROTOCOL_NAME: Final = b"vgi_rpc.protocol_name"
DESCRIBE_VERSION: Final = b"vgi_rpc.describe_version"
PROTOCOL_HASH: Final = b"vgi_rpc.protocol_hash"

# HTTP only.
STREAM_STATE: Final = b"vgi_rpc.stream_state#b64"
CALL_STATE: Final = b"vgi_rpc.call_state#b64"

# Pushed filters and join keys: field and schema metadata (sections 1.1 and 3 of the pushdown document).
FILTER_VERSION: Final = b"vgi_filter_version"
FILTER_VERSION_1: Final = b"1"
JOIN_KEYS_VERSION: Final = b"vgi_join_keys_version"
STATISTICS_MAX_AGE: Final = b"cache_max_age_seconds"
EXTENSION_NAME: Final = b"ARROW:extension:name"
EXTENSION_METADATA: Final = b"ARROW:extension:metadata"
WKB: Final = b"geoarrow.wkb"
ROW_ID_COLUMN_NAME: Final = "18446744073709551615"
"""How a dynamic filter names the row id."""

# Application keys on output data batches.
BATCH_INDEX: Final = b"vgi_batch_index"
PARTITION_VALUES: Final = b"vgi_partition_values#b64"
PARENT_ROW: Final = b"vgi_rpc.parent_row#b64"
CACHE_PREFIX: Final = b"vgi.cache."
CACHE_CONTROL_NAMES: Final = (
    "ttl",
    "expires",
    "no_store",
    "scope",
    "etag",
    "last_modified",
    "revalidatable",
    "stale_while_revalidate",
    "stale_if_error",
    "not_modified",
    "partition_scope",
    "per_value",
)

# Field metadata: argument schemas (section 2.3 of the function document), return types, columns.
ARG: Final = b"vgi_arg"
ARG_NAMED: Final = b"named"
ARG_TYPE: Final = b"vgi_type"
ARG_TYPE_TABLE: Final = b"table"
ARG_TYPE_ANY: Final = b"any"
ARG_CONST: Final = b"vgi_const"
ARG_VARARGS: Final = b"vgi_varargs"
ARG_DOC: Final = b"vgi_doc"
ARG_DEFAULT: Final = b"vgi_default"
ARG_CHOICES: Final = b"vgi_choices"
ARG_RANGE: Final = b"vgi_range"
ARG_PATTERN: Final = b"vgi_pattern"
RETURN_ANY: Final = b"vgi:any"
IS_ROW_ID: Final = b"is_row_id"
COLUMN_DEFAULT: Final = b"default"
COLUMN_GENERATED: Final = b"generated_expression"
COLUMN_COMMENT: Final = b"comment"
PARTITION_COLUMN: Final = b"vgi.partition_column"
ROW_ID: Final = b"is_row_id"
REDACT: Final = b"redact"
TRUE: Final = b"true"
FALSE: Final = b"false"

# Reserved tags of a catalog.
SECRET_SERVICE_URL_TAG: Final = "vgi_secret_service_url"
# Columns of the batches of aggregates (section 1.7 of the stateful document).
GROUP_ID: Final = "__vgi_group_id"
GROUPS_TO_FINALIZE: Final = "group_id"
SOURCE_GROUP: Final = "source_group_id"
TARGET_GROUP: Final = "target_group_id"

# Built-in methods, not part of any protocol's table.
DESCRIBE_METHOD: Final = "__describe__"
TRANSPORT_OPTIONS_METHOD: Final = "__transport_options__"

# Error kinds.
KIND_METHOD_NOT_IMPLEMENTED: Final = "method_not_implemented"
KIND_PROTOCOL_VERSION_MISMATCH: Final = "protocol_version_mismatch"
KIND_SESSION_LOST: Final = "session_lost"
KIND_SERVER_DRAINING: Final = "server_draining"

# Log levels. EXCEPTION makes a batch an error.
EXCEPTION: Final = "EXCEPTION"
LOG_LEVELS: Final = ("ERROR", "WARN", "INFO", "DEBUG", "TRACE")

MAX_TRACEBACK_CHARS: Final = 16_000
TRACEBACK_TRUNCATED: Final = "\n… <traceback truncated>"
MAX_ERROR_FRAMES: Final = 5
