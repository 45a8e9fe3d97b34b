"""Column statistics for the optimizer: what they say, and their form on the wire (section 10).

    @worker.table(columns={"n": "int64"}, statistics=lambda args: [ColumnStatistics("n", "int64", 0, args.count - 1)])

Bounds may be loose, never too tight: DuckDB leaves out scans and predicates on their word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import ArgumentError, DefinitionError
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import Array, DataType, Field, RecordBatch, Schema, encode_stream, type_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypedDict, Unpack

    from vgi_fast.wire.arrow import TypeLike

    class Known(TypedDict, total=False):
        has_null: bool
        has_not_null: bool
        distinct_count: int | None
        contains_unicode: bool | None
        max_string_length: int | None


__all__ = ["ColumnStatistics", "ColumnStatisticsInput", "encode_statistics"]

_TEXTS: Final = frozenset({"utf8", "large_utf8", "utf8_view"})
_BYTES: Final = frozenset({"binary", "large_binary", "binary_view"})


class ColumnStatisticsInput:
    """What is certain about a column. ``min`` and ``max`` are given both, or neither of them.

    Texts need ``max_string_length`` in bytes for their bounds; they may hold any character unless
    ``contains_unicode`` is False.
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
        type: TypeLike | None = None,
    ) -> None:
        if (min is None) != (max is None):
            raise DefinitionError(
                f"{self._title()} need both bounds or none: DuckDB takes a single one for both",
                detail=f"min={min!r}, max={max!r}",
            )
        self.min = min
        self.max = max
        self.has_null = has_null
        self.has_not_null = has_not_null
        self.distinct_count = distinct_count
        self.contains_unicode = contains_unicode
        self.max_string_length = max_string_length
        self.type = None if type is None else _of_values(DataType.of(type))
        """Of the bounds; by default that of the column."""

    def _title(self) -> str:
        return "statistics"

    def __repr__(self) -> str:
        return f"ColumnStatisticsInput({self.min!r}, {self.max!r})"

    def row(self, name: str, type: DataType, field: Field | None = None) -> dict[str, Any]:
        """As sent: what would mislead DuckDB is left out or filled in. ``field`` is the column, where it is known."""
        is_text = type.kind in _TEXTS or type.kind in _BYTES
        is_geometry = field is not None and field.metadata.get(keys.EXTENSION_NAME) == keys.WKB
        has_length = is_geometry or self.max_string_length is not None
        has_bounds = self.min is not None and (has_length or not is_text)
        unicode = True if self.contains_unicode is None else self.contains_unicode
        return {
            "type": type if has_bounds else type_named("null"),
            "column_name": name,
            "min": self.min if has_bounds else None,
            "max": self.max if has_bounds else None,
            "has_null": self.has_null,
            "has_not_null": self.has_not_null,
            "distinct_count": self.distinct_count,
            "contains_unicode": unicode if is_text else None,
            "max_string_length": self.max_string_length if is_text else None,
        }


class ColumnStatistics(ColumnStatisticsInput):
    """The same with the column's name and type, for lists.

    Without a length, the bounds of a text are not sent.
    """

    __slots__ = ("name",)

    type: DataType

    def __init__(self, name: str, type: TypeLike, min: Any = None, max: Any = None, **known: Unpack[Known]) -> None:
        self.name = name
        super().__init__(min, max, type=type, **known)

    def _title(self) -> str:
        return f"statistics of column '{self.name}'"

    def __repr__(self) -> str:
        return f"ColumnStatistics({self.name!r}, {self.type}, {self.min!r}, {self.max!r})"


def _of_values(type: DataType) -> DataType:
    return type.value_type if type.kind == "dictionary" and type.value_type is not None else type


def check_statistics(columns: Schema, statistics: Mapping[str, ColumnStatisticsInput], where: str) -> None:
    """Of a declaration by column: what would be left out or misread is refused."""
    _check_names(statistics, columns, where)
    for name, one in statistics.items():
        if one.min is not None and one.max_string_length is None and columns[name].type.kind in _TEXTS:
            raise DefinitionError(
                f"{where}: statistics of the text column '{name}' need max_string_length",
                hint="without it DuckDB takes the longer bound for the longest text, and returns wrong rows",
            )


def _check_names(named: Iterable[str], columns: Schema, where: str) -> None:
    known = columns.names
    for name in named:
        if name not in known:
            raise DefinitionError(
                f"{where}: statistics column '{name}' not found in schema. Available columns: {known}"
            )


def encode_statistics(
    columns: Schema, statistics: Mapping[str, ColumnStatisticsInput], max_age_s: int | None = None
) -> bytes:
    """One row per column that has statistics. ``max_age_s`` None is forever, 0 not at all."""
    types = {name: one.type or _of_values(columns[name].type) for name, one in statistics.items()}
    return _encode([one.row(name, types[name], columns[name]) for name, one in statistics.items()], max_age_s)


def encode_listed(
    listed: Sequence[ColumnStatistics], max_age_s: int | None = None, columns: Schema | None = None
) -> bytes:
    """The same of columns that say their names."""
    rows = [one.row(one.name, one.type, None if columns is None else columns[one.name]) for one in listed]
    return _encode(rows, max_age_s)


def _encode(rows: list[dict[str, Any]], max_age_s: int | None) -> bytes:
    types = list(dict.fromkeys(row["type"] for row in rows)) or [type_named("null")]
    union = type_named(f"sparse_union<{', '.join(f'{code}: {code}: {type}' for code, type in enumerate(types))}>")
    for row in rows:
        code = types.index(row["type"])
        row["min"], row["max"] = (code, row["min"]), (code, row["max"])
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
    arrays = [Array.from_pylist([row[field.name] for row in rows], field.type) for field in schema.fields]
    metadata = None if max_age_s is None else {keys.STATISTICS_MAX_AGE: str(max_age_s).encode()}
    return encode_stream(schema, [RecordBatch(schema, arrays, len(rows), metadata)])


def encoded(given: Any, columns: Schema, where: str) -> bytes | None:
    """Whatever an author gives: encoded bytes, statistics by column or in a list, or None for nothing known."""
    if given is None or isinstance(given, (bytes, bytearray)):
        return None if given is None else bytes(given)
    by_column = isinstance(given, Mapping)
    listed = list(given.values() if by_column else given)
    if by_column and not any(isinstance(one, ColumnStatistics) for one in listed):
        check_statistics(columns, given, where)
        return encode_statistics(columns, given)
    for one in listed:
        if not isinstance(one, ColumnStatistics):
            raise ArgumentError(f"{where}: statistics are ColumnStatistics, got {type(one).__name__}")
    _check_names((one.name for one in listed), columns, where)
    return encode_listed(listed, columns=columns)
