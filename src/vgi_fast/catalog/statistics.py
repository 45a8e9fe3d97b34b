"""Column statistics: what they say, and their form on the wire (section 10.3 of the pushdown document)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import DefinitionError
from vgi_fast.wire.arrow import Array, DataType, Field, RecordBatch, Schema, encode_stream, type_named

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ColumnStatisticsInput", "encode_statistics"]

MAX_AGE: Final = b"cache_max_age_seconds"
_TEXTS: Final = ("utf8", "large_utf8", "utf8_view")


class ColumnStatisticsInput:
    """What is certain about a column. Bounds may be loose, but every value lies within them.

    DuckDB leaves out scans and predicates because of what is said here. Texts need ``max_string_length`` in bytes;
    they may hold any character unless ``contains_unicode`` is False.
    """

    __slots__ = (
        "contains_unicode",
        "distinct_count",
        "has_not_null",
        "has_null",
        "max",
        "max_string_length",
        "min",
        "type",
    )

    def __init__(
        self,
        min: Any = None,
        max: Any = None,
        *,
        has_null: bool = True,
        has_not_null: bool = True,
        distinct_count: int | None = None,
        contains_unicode: bool | None = None,
        max_string_length: int | None = None,
        type: Any = None,
    ) -> None:
        self.min = min
        self.max = max
        self.has_null = has_null
        self.has_not_null = has_not_null
        self.distinct_count = distinct_count
        self.contains_unicode = contains_unicode
        self.max_string_length = max_string_length
        self.type = None if type is None else DataType.of(type)
        """Of the bounds; by default that of the column."""
        if (min is None) != (max is None):
            raise DefinitionError(
                "statistics need both bounds or none: DuckDB takes a single one for both",
                detail=f"min={min!r}, max={max!r}",
            )


def encode_statistics(
    columns: Schema, statistics: Mapping[str, ColumnStatisticsInput], max_age_s: int | None = None
) -> bytes:
    """One row per column that has statistics. ``max_age_s`` None is forever, 0 not at all."""
    types = _bound_types(columns, statistics)
    distinct = list(dict.fromkeys(types.values())) or [type_named("null")]
    union = type_named(f"sparse_union<{', '.join(f'{code}: {code}: {type}' for code, type in enumerate(distinct))}>")
    schema = Schema(
        [
            Field("column_name", "utf8"),
            Field("min", union),
            Field("max", union),
            Field("has_null", "bool"),
            Field("has_not_null", "bool"),
            Field("distinct_count", "int64"),
            Field("contains_unicode", "bool"),
            Field("max_string_length", "uint64"),
        ]
    )
    rows = list(statistics.items())
    codes = [distinct.index(types[name]) for name, _ in rows]
    found: dict[str, list[Any]] = {
        "column_name": [name for name, _ in rows],
        "min": [(code, one.min) for code, (_, one) in zip(codes, rows, strict=True)],
        "max": [(code, one.max) for code, (_, one) in zip(codes, rows, strict=True)],
        "has_null": [one.has_null for _, one in rows],
        "has_not_null": [one.has_not_null for _, one in rows],
        "distinct_count": [one.distinct_count for _, one in rows],
        "contains_unicode": [_unicode(types[name], one) for name, one in rows],
        "max_string_length": [one.max_string_length for _, one in rows],
    }
    arrays = [Array.from_pylist(found[field.name], field.type) for field in schema.fields]
    metadata = None if max_age_s is None else {MAX_AGE: str(max_age_s).encode()}
    return encode_stream(schema, [RecordBatch(schema, arrays, len(rows), metadata)])


def check_statistics(columns: Schema, statistics: Mapping[str, ColumnStatisticsInput], where: str) -> None:
    names = columns.names
    for name, one in statistics.items():
        if name not in names:
            raise DefinitionError(
                f"{where}: statistics column '{name}' not found in schema. Available columns: {names}"
            )
        if one.min is not None and one.max_string_length is None and columns[name].type.kind in _TEXTS:
            raise DefinitionError(
                f"{where}: statistics of the text column '{name}' need max_string_length",
                hint="without it DuckDB takes the longer bound for the longest text, and returns wrong rows",
            )


def _bound_types(columns: Schema, statistics: Mapping[str, ColumnStatisticsInput]) -> dict[str, DataType]:
    types = {}
    for name, one in statistics.items():
        type = one.type or columns[name].type
        if one.min is None:
            type = type_named("null")
        elif type.kind == "dictionary" and type.value_type is not None:
            type = type.value_type
        types[name] = type
    return types


def _unicode(type: DataType, one: ColumnStatisticsInput) -> bool | None:
    """Anything but a promise of ASCII must be announced as Unicode."""
    if one.contains_unicode is None and type.kind in _TEXTS:
        return True
    return one.contains_unicode
