"""``data_table``: data of any kind as a table of a catalog, in one line.

CatalogSchema("main", tables=[data_table("flights", "flights/*.parquet"), data_table("airports", frame)])
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from vgi_fast.catalog.objects import Table
from vgi_fast.errors import DefinitionError
from vgi_fast.sources.base import Source, SourceScan, SourceSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vgi_fast.functions.caching import CacheControl
    from vgi_fast.functions.statistics import ColumnStatisticsInput

__all__ = ["data_table", "source_of"]


def data_table(
    name: str,
    data: Any,
    *,
    format: str | None = None,
    live: bool = False,
    statistics: bool | Mapping[str, ColumnStatisticsInput] = True,
    cache_control: CacheControl | None = None,
    **options: Any,
) -> Table:
    """A table over a pandas, polars or pyarrow table, a path, a directory, a ``Source``, or a function that gives one.

    A path is a file or several of Parquet, Arrow IPC or CSV, a pattern (``"logs/*.parquet"``), or a directory, whose
    folders named ``key=value`` become columns. ``live`` is for files that come and go while the worker runs.
    ``statistics`` False takes no look at the data beforehand. ``cache_control`` lets DuckDB keep results; with
    ``{"ttl": 0, "revalidatable": True}`` of files, they are read again only when one of them has changed. Further
    options are those of ``Table``.
    """
    where = f"table '{name}'"
    for fixed in ("columns", "function", "scan", "branches", "arguments"):
        if fixed in options:
            raise DefinitionError(f"{where}: {fixed} does not go with data")
    source = source_of(data, where, format=format, live=live)
    order = options.pop("order_preservation", None)
    spec = SourceSpec(f"scan_{name}", source, where, order_preservation=order, cache_control=cache_control)
    found = spec.table_statistics if statistics is True else None if statistics is False else statistics
    return Table(name, function=SourceScan(spec), statistics=found, **options)


def source_of(data: Any, where: str, *, format: str | None = None, live: bool = False) -> Source:
    """What ``data`` is as a source. Data frames and Arrow data are taken as they are now."""
    from vgi_fast.sources.files import FileSource

    if isinstance(data, (str, os.PathLike)):
        return FileSource(data, where, format=format, live=live)
    if isinstance(data, (list, tuple)) and data and all(isinstance(one, (str, os.PathLike)) for one in data):
        return FileSource(data, where, format=format, live=live)
    if format is not None or live:
        raise DefinitionError(f"{where}: format and live are about files, got {type(data).__name__}")
    kind = type(data)
    if kind.__module__.startswith("polars") and kind.__name__ == "LazyFrame":
        from vgi_fast.sources.lazy import PolarsSource

        return PolarsSource(data, where)
    if not isinstance(data, type) and isinstance(data, Source) and not hasattr(data, "__arrow_c_stream__"):
        return data
    from vgi_fast.sources.memory import ArrowSource

    if callable(data):
        return ArrowSource(data, where)
    source = ArrowSource(lambda: data, where)
    if not isinstance(data, dict):
        source.schema()  # what cannot be served is told to the author, not to the first query
    return source
