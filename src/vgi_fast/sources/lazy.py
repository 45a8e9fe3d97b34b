"""Polars queries as tables: what DuckDB asks becomes part of the query."""

from __future__ import annotations

import datetime as dt
import operator
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.functions.filters import nodes as fl
from vgi_fast.sources.base import BATCH_ROWS, SourceDefaults
from vgi_fast.sources.memory import arrow_table
from vgi_fast.sources.types import storable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from vgi_fast.sources.base import ScanRequest

__all__ = ["PolarsSource"]

_COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


class PolarsSource(SourceDefaults):
    """A LazyFrame. Each scan runs it anew, for the columns and rows that are wanted."""

    __slots__ = ("_frame", "_schema", "_where")

    def __init__(self, frame: Any, where: str) -> None:
        self._frame = frame
        self._where = where
        self._schema: pa.Schema | None = None

    def schema(self) -> pa.Schema:
        if self._schema is None:
            empty = self._frame.head(0).collect()
            self._schema = storable(arrow_table(empty, self._where).schema, self._where)
        return self._schema

    def scan(self, request: ScanRequest) -> Iterator[Any]:
        frame = self._frame
        if request.filters:
            types = frame.collect_schema()
            for node in request.filters:
                condition = _condition(node, types)
                if condition is not None:
                    frame = frame.filter(condition)
        for part in frame.select(request.columns).collect_batches(chunk_size=BATCH_ROWS):
            yield from part.to_arrow().to_batches()


def _condition(node: fl.Filter, types: Any) -> Any:
    """As a polars expression; None for what polars may see in another way. It orders NaN and texts as DuckDB does."""
    import polars as pl

    if node.column_name not in types:
        return None
    column = pl.col(node.column_name)
    if isinstance(node, fl.ConstantFilter):
        compare = _COMPARISONS.get(node.op)
        alike = _alike(node.value, types[node.column_name])
        return compare(column, pl.lit(node.value)) if compare is not None and alike else None
    if isinstance(node, fl.IsNullFilter):
        return column.is_null()
    if isinstance(node, fl.IsNotNullFilter):
        return column.is_not_null()
    if isinstance(node, fl.InFilter):
        values = node.values
        return column.is_in(values) if all(_alike(value, types[node.column_name]) for value in values) else None
    if isinstance(node, (fl.AndFilter, fl.OrFilter)):
        parts = [_condition(child, types) for child in node.children]
        known = [part for part in parts if part is not None]
        if isinstance(node, fl.AndFilter):
            return pl.all_horizontal(known) if known else None
        return pl.any_horizontal(known) if known and len(known) == len(parts) else None
    return None


def _alike(value: Any, dtype: Any) -> bool:
    """The value is one of the column's own type, so that nothing is converted."""
    import polars as pl

    if isinstance(value, bool):
        return bool(dtype == pl.Boolean)
    if isinstance(value, int):
        return bool(dtype.is_integer())
    if isinstance(value, float):
        return bool(dtype == pl.Float64)
    if isinstance(value, dt.datetime):
        return False
    return bool(dtype == pl.String if isinstance(value, str) else dtype == pl.Date and isinstance(value, dt.date))
