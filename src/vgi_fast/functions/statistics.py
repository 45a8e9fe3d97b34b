"""Column statistics for the optimizer: computed from Arrow data or by DuckDB, and encoded (section 10).

    @worker.table(columns={"n": "int64"}, statistics=lambda args: [ColumnStatistics("n", "int64", 0, args.count - 1)])

Bounds may be loose, never too tight: DuckDB leaves out scans and predicates on their word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import ArgumentError, DefinitionError
from vgi_fast.values import UnionValue
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import (
    Array,
    DataType,
    Field,
    RecordBatch,
    Schema,
    column_summary,
    count_distinct,
    encode_stream,
    type_named,
    unite_registers,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vgi_fast.wire.arrow import TypeLike

__all__ = ["ColumnStatistics", "encode_statistics", "statistics_from_arrow", "statistics_from_duckdb"]

_TEXTS: Final = frozenset({"utf8", "large_utf8", "utf8_view"})
_BYTES: Final = frozenset({"binary", "large_binary", "binary_view"})


class ColumnStatistics:
    """What is known of one column. ``min`` and ``max`` are given both, or neither of them.

    For texts, ``contains_unicode`` and ``max_string_length`` (bytes) are assumed at their safest where they are not
    given: without a length, the bounds are not sent at all.
    """

    __slots__ = (
        "contains_unicode",
        "distinct_count",
        "has_not_null",
        "has_null",
        "max",
        "max_string_length",
        "min",
        "name",
        "type",
    )

    def __init__(
        self,
        name: str,
        type: TypeLike,
        min: Any = None,
        max: Any = None,
        *,
        has_null: bool = True,
        has_not_null: bool = True,
        distinct_count: int | None = None,
        contains_unicode: bool | None = None,
        max_string_length: int | None = None,
    ) -> None:
        if (min is None) != (max is None):
            # DuckDB would take the one for both.
            raise DefinitionError(f"statistics of column '{name}': min and max are given both or not at all")
        self.name = name
        self.type = DataType.of(type)
        if self.type.kind == "dictionary":
            assert self.type.value_type is not None
            self.type = self.type.value_type
        self.min = min
        self.max = max
        self.has_null = has_null
        self.has_not_null = has_not_null
        self.distinct_count = distinct_count
        self.contains_unicode = contains_unicode
        self.max_string_length = max_string_length

    def __repr__(self) -> str:
        return f"ColumnStatistics({self.name!r}, {self.type}, {self.min!r}, {self.max!r})"

    def row(self) -> dict[str, Any]:
        """As sent: what would mislead DuckDB is left out or filled in."""
        is_text = self.type.kind in _TEXTS or self.type.kind in _BYTES
        low, high = self.min, self.max
        unicode = self.contains_unicode
        if is_text:
            if self.max_string_length is None:
                low = high = None
            if unicode is None:
                unicode = True
        return {
            "column_name": self.name,
            "min": low,
            "max": high,
            "has_null": self.has_null,
            "has_not_null": self.has_not_null,
            "distinct_count": self.distinct_count,
            "contains_unicode": unicode if is_text else None,
            "max_string_length": self.max_string_length if is_text else None,
        }


def encode_statistics(columns: Sequence[ColumnStatistics], max_age_s: int | None = None) -> bytes:
    """One batch with a row per column; ``max_age_s`` limits how long a table's statistics are kept."""
    rows = [column.row() for column in columns]
    types: list[DataType] = []
    for column, row in zip(columns, rows, strict=True):
        kind = type_named("null") if row["min"] is None else column.type
        row["type"] = kind
        if kind not in types:
            types.append(kind)
    if not types:
        types.append(type_named("null"))
    members = ", ".join(f"{code}: {code}: {type}" for code, type in enumerate(types))
    union = type_named(f"sparse_union<{members}>")

    def cells(side: str) -> Array:
        values = [UnionValue(str(types.index(row["type"])), row[side]) for row in rows]
        return Array.from_pylist(values, union)

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
    arrays = [
        cells(field.name)
        if field.name in ("min", "max")
        else Array.from_pylist([row[field.name] for row in rows], field.type)
        for field in schema.fields
    ]
    metadata = None if max_age_s is None else {keys.STATISTICS_MAX_AGE: str(max_age_s).encode()}
    return encode_stream(schema, [RecordBatch(schema, arrays, len(rows), metadata)])


def encoded(given: Any, names: Iterable[str], where: str) -> bytes | None:
    """Whatever an author gives: encoded bytes, a list, or None for nothing known."""
    if given is None or isinstance(given, (bytes, bytearray)):
        return None if given is None else bytes(given)
    columns = list(given.values()) if hasattr(given, "values") else list(given)
    known = set(names)
    for column in columns:
        if not isinstance(column, ColumnStatistics):
            raise ArgumentError(f"{where}: statistics are ColumnStatistics, got {type(column).__name__}")
        if column.name not in known:
            raise ArgumentError(f"{where}: statistics column '{column.name}' not found")
    return encode_statistics(columns)


# ---- from Arrow data ----


class _Gathered:
    """Statistics of one column over any number of arrays."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.low: Array | None = None
        self.high: Array | None = None
        self.nulls = 0
        self.rows = 0
        self.longest = 0
        self.is_ascii = True
        self.registers: bytes | None = None
        self.is_ordered = True

    def add(self, array: Array) -> None:
        self.rows += len(array)
        if array.type.kind == "dictionary":
            array = Array.from_arrow(array.to_arrow().dictionary_decode())
        summary = column_summary(array)
        if summary is None:
            self.is_ordered = False
            self.nulls += array.null_count
            return
        first, last, nulls, longest, is_ascii, registers = summary
        self.nulls += nulls
        self.longest = max(self.longest, longest)
        self.is_ascii &= is_ascii
        self.registers = registers if self.registers is None else unite_registers(self.registers, registers)
        if first >= 0:
            self.low = self._kept(self.low, array.slice(first, 1), 0)
            self.high = self._kept(self.high, array.slice(last, 1), 1)

    def _kept(self, known: Array | None, other: Array, side: int) -> Array:
        if known is None:
            return other
        both = Array.from_pylist([known[0], other[0]], known.type)
        summary = column_summary(both)
        assert summary is not None
        return known if summary[side] == 0 else other

    def statistics(self) -> ColumnStatistics:
        has_bounds = self.is_ordered and self.low is not None and self.high is not None
        return ColumnStatistics(
            self.field.name,
            self.field.type,
            self.low[0] if has_bounds else None,  # type: ignore[index]
            self.high[0] if has_bounds else None,  # type: ignore[index]
            has_null=self.nulls > 0,
            has_not_null=self.nulls < self.rows,
            distinct_count=count_distinct(self.registers) if self.registers is not None else None,
            contains_unicode=not self.is_ascii,
            max_string_length=self.longest,
        )


def statistics_from_arrow(data: Any) -> list[ColumnStatistics]:
    """Of a pyarrow table or batch, a RecordBatch, a data frame, or an iterable of batches: one pass, compiled.

    Distinct values are estimated. Columns without order here (lists, structs, intervals) get no bounds.
    """
    gathered: list[_Gathered] | None = None
    for batch in _batches(data):
        if gathered is None:
            gathered = [_Gathered(field) for field in batch.schema.fields]
        for column, array in zip(gathered, batch.columns, strict=True):
            column.add(array)
    return [column.statistics() for column in gathered or ()]


def _batches(data: Any) -> Iterable[RecordBatch]:
    if isinstance(data, RecordBatch):
        return [data]
    if hasattr(data, "__arrow_c_stream__"):
        import pyarrow as pa

        return (RecordBatch.from_arrow(batch) for batch in pa.RecordBatchReader.from_stream(data))
    if hasattr(data, "__arrow_c_array__"):
        return [RecordBatch.from_arrow(data)]
    return (batch if isinstance(batch, RecordBatch) else RecordBatch.from_arrow(batch) for batch in data)


# ---- from DuckDB ----


def statistics_from_duckdb(connection: Any, relation: str) -> list[ColumnStatistics]:
    """Of a table or view of a DuckDB connection, in one query; ``relation`` is SQL, such as ``main.flights``."""
    described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    columns = [(row[0], row[1]) for row in described]
    schema = Schema.of(connection.execute(f"SELECT * FROM {relation} LIMIT 0").to_arrow_table().schema)
    parts = []
    for name, sql_type in columns:
        quoted = '"' + name.replace('"', '""') + '"'
        parts += [f"count({quoted})", "count(*)", f"approx_count_distinct({quoted})"]
        ordered = not sql_type.endswith("]") and not sql_type.startswith(("STRUCT", "MAP", "UNION", "GEOMETRY"))
        parts += [f"min({quoted})", f"max({quoted})"] if ordered else ["NULL", "NULL"]
        if sql_type == "VARCHAR":
            parts += [f"max(strlen({quoted}))", f"bool_or(strlen({quoted}) <> length({quoted}))"]
        elif sql_type == "BLOB":
            parts += [f"max(octet_length({quoted}))", "NULL"]
        else:
            parts += ["NULL", "NULL"]
    row = connection.execute(f"SELECT {', '.join(parts)} FROM {relation}").to_arrow_table()
    cells = [Array.from_arrow(column.combine_chunks())[0] for column in row.columns]
    found = []
    for index, (name, _) in enumerate(columns):
        valid, total, distinct, low, high, longest, unicode = cells[7 * index : 7 * index + 7]
        found.append(
            ColumnStatistics(
                name,
                schema.fields[index].type,
                low,
                high,
                has_null=valid < total,
                has_not_null=valid > 0,
                distinct_count=distinct,
                contains_unicode=unicode,
                max_string_length=longest,
            )
        )
    return found
