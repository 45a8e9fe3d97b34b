"""The compiled core's types, for the packages that describe things but never touch bytes."""

from typing import TYPE_CHECKING

from vgi_fast._core import (
    Array,
    BatchBuilder,
    DataType,
    Field,
    FilterPlan,
    Kernel,
    KeySet,
    PartitionPlan,
    RecordBatch,
    ScalarPlan,
    Schema,
    Trace,
    column_extremes,
    column_summary,
    count_distinct,
    decode_row,
    decode_stream,
    different,
    encode_row,
    encode_stream,
    geometry_box,
    load_numpy,
    nested,
    plain_batch,
    reshape,
    set_validation,
    stored_bytes,
    unite_registers,
)

if TYPE_CHECKING:  # a name of the stub only
    from vgi_fast._core import TypeLike as TypeLike

__all__ = [
    "Array",
    "BatchBuilder",
    "DataType",
    "Field",
    "FilterPlan",
    "Kernel",
    "KeySet",
    "PartitionPlan",
    "RecordBatch",
    "ScalarPlan",
    "Schema",
    "Trace",
    "column_extremes",
    "column_summary",
    "count_distinct",
    "decode_row",
    "decode_stream",
    "different",
    "empty_schema",
    "encode_row",
    "encode_stream",
    "geometry_box",
    "load_numpy",
    "nested",
    "plain_batch",
    "reshape",
    "schema_from_bytes",
    "set_validation",
    "stored_bytes",
    "type_named",
    "unite_registers",
]

_types: dict[str, DataType] = {}
_schemas: dict[bytes, Schema] = {}
_MAX_SCHEMAS = 256
_empty: Schema | None = None


def type_named(text: str) -> DataType:
    """The type of that text form; parsed once per process."""
    known = _types.get(text)
    if known is None:
        known = _types[text] = DataType(text)
    return known


def empty_schema() -> Schema:
    global _empty
    if _empty is None:
        _empty = Schema([])
    return _empty


def schema_from_bytes(data: bytes) -> Schema:
    """Parsed once for equal bytes: a query repeats its schemas in bind, init and on every thread."""
    known = _schemas.get(data)
    if known is None:
        known = Schema.from_bytes(data) if data else empty_schema()
        if len(_schemas) >= _MAX_SCHEMAS:
            _schemas.clear()
        _schemas[data] = known
    return known
