"""Arrow types as DuckDB can take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vgi_fast.errors import DefinitionError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["storable"]

MAX_DECIMAL_PRECISION = 38


def storable(schema: pa.Schema, where: str) -> pa.Schema:
    """The schema without what DuckDB's importer refuses; DefinitionError where no type holds the same values."""
    import pyarrow as pa

    fields = [pa.field(field.name, _storable(field.type, f"{where}, column '{field.name}'")) for field in schema]
    return pa.schema(fields)


def _storable(type: pa.DataType, where: str) -> pa.DataType:
    import pyarrow as pa
    from pyarrow import types

    if types.is_null(type):
        return pa.int32()  # a column of DuckDB's NULL type cannot be joined or stored
    if types.is_float16(type):
        return pa.float32()
    if types.is_decimal256(type):
        if type.precision > MAX_DECIMAL_PRECISION:
            raise DefinitionError(
                f"{where}: {type} has more than the {MAX_DECIMAL_PRECISION} digits of DuckDB's DECIMAL",
                hint="cast the column to a smaller decimal, to double or to text",
            )
        return pa.decimal128(type.precision, type.scale)
    if types.is_dictionary(type):
        value = _storable(type.value_type, where)
        # DuckDB reads dictionaries of texts as texts; other values it may refuse.
        return type if types.is_string(value) or types.is_large_string(value) else value
    if types.is_run_end_encoded(type):
        return _storable(type.value_type, where)
    if isinstance(type, pa.BaseExtensionType):
        known = type.extension_name in ("arrow.uuid", "arrow.json", "arrow.bool8")
        return type if known else _storable(type.storage_type, where)
    if types.is_struct(type):
        fields = [pa.field(one.name, _storable(one.type, f"{where}.{one.name}")) for one in type]
        names = [field.name.lower() for field in fields]
        if not fields or len(set(names)) < len(names):
            raise DefinitionError(f"{where}: a struct needs members of distinct names, got {type}")
        return pa.struct(fields)
    if types.is_fixed_size_list(type):
        return pa.list_(pa.field(type.value_field.name, _storable(type.value_type, where)), type.list_size)
    for is_list, make in ((types.is_list, pa.list_), (types.is_large_list, pa.large_list)):
        if is_list(type):
            return make(pa.field(type.value_field.name, _storable(type.value_type, where)))
    if types.is_map(type):
        return pa.map_(_storable(type.key_type, where), _storable(type.item_type, where))
    return type
