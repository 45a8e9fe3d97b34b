"""Column statistics from data at hand, and from what Parquet files say about themselves.

Bounds may be loose but never wrong: DuckDB leaves out scans because of them (section 10.4 of the pushdown document).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.functions.statistics import ColumnStatisticsInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

__all__ = ["LONGEST_TEXT", "arrow_statistics", "bounds_value", "parquet_statistics"]

LONGEST_TEXT: Final = 2**31 - 1
"""A bound of text lengths where nothing is known: without one DuckDB takes that of the longer bound."""

_SAMPLE_ROWS: Final = 20_000


def arrow_statistics(table: pa.Table) -> dict[str, ColumnStatisticsInput]:
    """One pass over each column of a table."""
    found = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        one = _column_statistics(column)
        if one is not None:
            found[name] = one
    return found


def _column_statistics(column: pa.ChunkedArray) -> ColumnStatisticsInput | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column.type, pa.BaseExtensionType) or len(column) == column.null_count:
        return None
    if pa.types.is_dictionary(column.type):
        # Values that no row refers to widen the bounds, which is allowed.
        values = pa.chunked_array([chunk.dictionary for chunk in column.chunks], column.type.value_type)
        one = _column_statistics(values)
        if one is not None:
            one.has_null = column.null_count > 0 or one.has_null
        return one
    more: dict[str, Any] = {}
    if _is_text(column.type):
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            column = column.cast(pa.large_string())
        more["max_string_length"] = pc.max(pc.binary_length(column)).as_py()
        more["contains_unicode"] = not pc.all(pc.string_is_ascii(column)).as_py()
    elif not _is_ordered(column.type):
        return None
    bounds = pc.min_max(column)
    low, high = bounds_value(bounds["min"]), bounds_value(bounds["max"])
    if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
        high = float("nan")  # the greatest of all to DuckDB; Arrow leaves it out
    if low is None or high is None:
        return None
    return ColumnStatisticsInput(low, high, has_null=column.null_count > 0, distinct_count=_distinct(column), **more)


def _distinct(column: pa.ChunkedArray) -> int:
    """An estimate from a sample: DuckDB takes 1 where nothing is said."""
    import pyarrow.compute as pc

    rows = len(column)
    if rows <= _SAMPLE_ROWS:
        return int(pc.count_distinct(column).as_py())
    # Slices from all over the column, since neighbours tend to be alike.
    step = rows // 20
    parts = [column.slice(at, _SAMPLE_ROWS // 20) for at in range(0, step * 20, step)]
    sample = [chunk for part in parts for chunk in part.chunks]
    import pyarrow as pa

    distinct = int(pc.count_distinct(pa.chunked_array(sample)).as_py())
    return distinct if distinct < _SAMPLE_ROWS // 2 else distinct * rows // _SAMPLE_ROWS


def _is_text(type: pa.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_string(type) or types.is_large_string(type) or types.is_string_view(type))


def _is_ordered(type: pa.DataType) -> bool:
    """Numbers, dates and times: types whose order is the same everywhere."""
    from pyarrow import types

    return bool(
        types.is_integer(type)
        or types.is_float32(type)
        or types.is_float64(type)
        or types.is_boolean(type)
        or types.is_decimal128(type)
        or types.is_date(type)
        or types.is_timestamp(type)
        or types.is_time64(type)
    )


def bounds_value(scalar: pa.Scalar) -> Any:
    """As ``Array.from_pylist`` takes it: ticks for what Python's calendar may not hold."""
    from pyarrow import types

    if not scalar.is_valid:
        return None
    if types.is_temporal(scalar.type):
        return scalar.value
    return scalar.as_py()


def parquet_statistics(schema: pa.Schema, files: Iterable[Any]) -> dict[str, ColumnStatisticsInput]:
    """From the footers of ``FileMetaData`` objects; a column is left out where any row group says nothing."""
    totals: dict[str, _Total] = {field.name: _Total(field.type) for field in schema if _known(field.type)}
    for metadata in files:
        columns = {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}
        types = metadata.schema.to_arrow_schema()
        for name in list(totals):
            at = columns.get(name)
            if at is None:
                totals[name].absent(metadata.num_rows)
                continue
            for group in range(metadata.num_row_groups):
                chunk = metadata.row_group(group).column(at)
                if not totals[name].add(chunk, types.field(name).type):
                    del totals[name]
                    break
    return {name: one for name, total in totals.items() if (one := total.statistics()) is not None}


def _known(type: pa.DataType) -> bool:
    return _is_text(type) or _is_ordered(type)


class _Total:
    """Statistics of one column over row groups."""

    __slots__ = ("has_null", "high", "low", "rows", "type")

    def __init__(self, type: pa.DataType) -> None:
        self.type = type
        self.low: Any = None
        self.high: Any = None
        self.has_null = False
        self.rows = 0

    def absent(self, rows: int) -> None:
        """A file without the column: its rows are null."""
        self.has_null = self.has_null or rows > 0

    def add(self, chunk: Any, stored: pa.DataType) -> bool:
        """False when the group does not say enough."""
        if chunk.num_values == 0:
            return True
        found = chunk.statistics
        if found is None or not found.has_null_count:
            return False
        self.has_null = self.has_null or found.null_count > 0
        if found.num_values == 0:
            return True
        if not found.has_min_max:
            return False
        self.rows += found.num_values
        low, high = (
            _scalar(found.min, found.min_raw, stored, self.type),
            _scalar(found.max, found.max_raw, stored, self.type),
        )
        if low is None or high is None:
            return False
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)
        return True

    def statistics(self) -> ColumnStatisticsInput | None:
        from pyarrow import types

        if self.low is None:
            return None
        more: dict[str, Any] = {"distinct_count": self.rows}
        low, high = self.low, self.high
        if types.is_floating(self.type):
            high = float("nan")  # writers leave NaN out of their bounds
        elif types.is_integer(self.type) or types.is_date32(self.type):
            more["distinct_count"] = min(self.rows, high - low + 1)
        elif _is_text(self.type):
            # A shortened bound need not be text any more.
            low, high = low.decode(errors="strict"), high.decode(errors="strict")
            more |= {"max_string_length": LONGEST_TEXT, "contains_unicode": True}
        return ColumnStatisticsInput(low, high, has_null=self.has_null, **more)


def _scalar(value: Any, raw: Any, stored: pa.DataType, wanted: pa.DataType) -> Any:
    """A bound as a value of the table's type, comparable with those of other files; None if there is no such value."""
    import pyarrow as pa

    if _is_text(wanted):
        text = value if isinstance(value, bytes) else str(value).encode()
        try:
            text.decode()
        except UnicodeDecodeError:
            return None
        return text
    if pa.types.is_temporal(stored) and isinstance(raw, int):
        value = raw
    try:
        scalar = pa.scalar(value, stored)
        return bounds_value(scalar if stored == wanted else scalar.cast(wanted))
    except (pa.ArrowException, OverflowError, TypeError):
        return None
