"""Data in memory: Arrow tables, and what becomes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgi_fast.errors import DefinitionError
from vgi_fast.sources.base import BATCH_ROWS, SourceDefaults
from vgi_fast.sources.types import storable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa

    from vgi_fast.functions.statistics import ColumnStatisticsInput
    from vgi_fast.sources.base import ScanRequest

__all__ = ["ArrowSource", "arrow_table"]


class ArrowSource(SourceDefaults):
    """A pyarrow table, sent without a copy. ``make`` gives it when it is first needed."""

    __slots__ = ("_make", "_table", "_where")

    def __init__(self, make: Callable[[], Any], where: str) -> None:
        self._make: Callable[[], Any] | None = make
        self._table: pa.Table | None = None
        self._where = where

    @property
    def table(self) -> pa.Table:
        if self._table is None:
            assert self._make is not None
            table = arrow_table(self._make(), self._where)
            wanted = storable(table.schema, self._where)
            self._table = table if table.schema.equals(wanted) else table.cast(wanted)
            self._make = None
        return self._table

    def schema(self) -> pa.Schema:
        return self.table.schema

    def cardinality(self) -> int:
        return int(self.table.num_rows)

    def statistics(self) -> Mapping[str, ColumnStatisticsInput]:
        from vgi_fast.sources.statistics import arrow_statistics

        return arrow_statistics(self.table)

    def scan(self, request: ScanRequest) -> Iterator[Any]:
        yield from self.table.select(request.columns).to_batches(max_chunksize=BATCH_ROWS)


def arrow_table(data: Any, where: str) -> pa.Table:
    """A pyarrow table of anything that is one in essence; DefinitionError names what cannot be."""
    import pyarrow as pa

    try:
        if isinstance(data, pa.Table):
            return data
        if isinstance(data, pa.RecordBatch):
            return pa.Table.from_batches([data])
        if isinstance(data, pa.RecordBatchReader):
            return data.read_all()
        if isinstance(data, (list, tuple)) and data and all(isinstance(one, pa.RecordBatch) for one in data):
            return pa.Table.from_batches(data)
        if isinstance(data, dict):
            return pa.table(data)
        module = type(data).__module__.partition(".")[0]
        if module == "pandas":
            # An index with a name is a column that the author has set apart; a running number is none.
            named = [name for name in data.index.names if name is not None]
            return pa.Table.from_pandas(data.reset_index(level=named) if named else data, preserve_index=False)
        if module == "polars":
            return data.to_arrow()
        if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
            return pa.table(data)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DefinitionError(f"{where}: the data is no Arrow table", detail=str(error)) from error
    raise DefinitionError(
        f"{where}: cannot make a table of {type(data).__name__}",
        hint="give a pyarrow table, a pandas or polars frame, a path, or an object with schema() and scan()",
    )
