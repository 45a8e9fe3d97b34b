"""Column statistics of data that is there: computed from Arrow data in one pass, or by DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgi_fast.functions.statistics import ColumnStatistics
from vgi_fast.wire.arrow import Array, Field, RecordBatch, Schema, column_summary, count_distinct, unite_registers

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["statistics_from_arrow", "statistics_from_duckdb"]


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
