"""Functions that tell what DuckDB pushed to them, and some that profit from it."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

from vgi_fast import Arg, Field, ProcessParams, PushdownFilters, table
from vgi_fast.functions.filters import nodes as fl
from vgi_fast.wire import keys

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Count = Annotated[int, Arg(doc="Number of rows", ge=0)]
Rows = Annotated[int, Arg(doc="Number of rows", ge=1)]
BatchSize = Annotated[int, Arg(doc="Rows per batch", ge=1)]
Params = ProcessParams[Any]

NOTHING: Final = "(none)"
_SHOWN_KEYS: Final = 20


def _ranges(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def _numbers(part: range) -> "npt.NDArray[np.int64]":
    import numpy as np

    return np.arange(part.start, part.stop, part.step)


def _literal(value: Any) -> str:
    return "'" + str(value).replace("'", "''") + "'" if isinstance(value, str) else str(value)


def sql_of(node: fl.Filter) -> str:
    """One pushed filter as SQL with its values; longer IN lists by their length."""
    if isinstance(node, fl.ConstantFilter):
        return f"{node.column_name} {fl.SYMBOLS[node.op]} {_literal(node.value)}"
    if isinstance(node, fl.InFilter):
        values = ", ".join(map(_literal, node.values)) if len(node) <= _SHOWN_KEYS else f"{len(node)} values"
        return f"{node.column_name} IN ({values})"
    if isinstance(node, (fl.AndFilter, fl.OrFilter)):
        return "(" + f" {node.word} ".join(map(sql_of, node.children)) + ")"
    return node.to_sql()[0]


def pushed_sql(filters: PushdownFilters) -> str:
    return " AND ".join(map(sql_of, filters)) or NOTHING


@table(
    columns={"n": "int64", "s": "utf8", "pushed_filters": "utf8"},
    cardinality=lambda args: args.count,
    projection_pushdown=True,
    filter_pushdown=True,
)
def filter_echo(count: Count, params: Params, *, batch_size: BatchSize = 2048) -> Iterator[dict[str, Any]]:
    """Rows with the filters that were pushed for them"""
    yield from _echo(params, count, batch_size)


def _echo(params: Params, count: int, batch_size: int) -> Iterator[dict[str, Any]]:
    shown = pushed_sql(params.filters)
    for part in _ranges(count, batch_size):
        columns: dict[str, Any] = {}
        for name in params.required_columns:
            if name == "n":
                columns[name] = _numbers(part)
            else:
                columns[name] = [f"row_{n}" for n in part] if name == "s" else [shown] * len(part)
        yield columns


@table(
    columns={"n": "int64", "s": "utf8", "pushed_filters": "utf8"},
    projection_pushdown=True,
    filter_pushdown=True,
    supported_expression_filters=["prefix", "starts_with"],
)
def filter_echo_table_scan(params: Params) -> Iterator[dict[str, Any]]:
    """A hundred rows with the filters that were pushed for them"""
    yield from _echo(params, 100, 100)


@table(
    columns={
        "n": "int64",
        "tag": "utf8",
        "filtered_cols": "utf8",
        "has_n": "bool",
        "has_tag": "bool",
        "tag_values": "utf8",
    },
    cardinality=lambda args: args.count,
    projection_pushdown=True,
    filter_pushdown=True,
)
def filtered_columns_echo(count: Count, params: Params, *, batch_size: BatchSize = 2048) -> Iterator[dict[str, Any]]:
    """Which columns are filtered"""
    filters = params.filters
    tags = filters.values("tag")
    for part in _ranges(count, batch_size):
        same = {
            "filtered_cols": ",".join(sorted(filters.columns)),
            "has_n": filters.has_filter("n"),
            "has_tag": filters.has_filter("tag"),
            "tag_values": NOTHING if tags is None else ",".join(sorted(tags)),
        }
        columns: dict[str, Any] = {name: [value] * len(part) for name, value in same.items()}
        yield {"n": _numbers(part), "tag": [f"t{n}" for n in part], **columns}


@table(
    columns={"n": "int64", "resolved": "utf8"},
    cardinality=lambda args: args.count,
    projection_pushdown=True,
    filter_pushdown=True,
)
def value_prune(count: Count, params: Params, *, batch_size: BatchSize = 2048) -> Iterator[dict[str, Any]]:
    """Makes only the rows that a discrete filter asks for"""
    wanted = params.filters.values("n")
    if wanted is not None:
        values = sorted({value for value in wanted if 0 <= value < count})
        yield {"n": values, "resolved": [",".join(map(str, sorted(wanted)))] * len(values)}
        return
    for part in _ranges(count, batch_size):
        yield {"n": _numbers(part), "resolved": ["(scan)"] * len(part)}


@table(
    columns={"n": "int64", "s": "dictionary<int8, utf8>"},
    cardinality=lambda args: args.count,
    projection_pushdown=True,
    filter_pushdown=True,
)
def dict_filter_echo(count: Count, params: Params, *, batch_size: BatchSize = 2048) -> Iterator[dict[str, Any]]:
    """A dictionary column under filters on its texts"""
    colours = ("red", "green", "blue")
    for part in _ranges(count, batch_size):
        yield {"n": _numbers(part), "s": [colours[n % 3] for n in part]}


@table(
    columns={"n": "int64", "pushed_filters": "utf8"},
    cardinality=lambda args: args.count,
    projection_pushdown=True,
    filter_pushdown=True,
)
def dynamic_filter_echo(count: Rows, params: Params, *, batch_size: BatchSize = 100) -> Iterator[dict[str, Any]]:
    """The filters of the moment, on rows in descending order"""
    for start in range(count - 1, -1, -batch_size):
        part = range(start, max(start - batch_size, -1), -1)
        shown = repr(params.filters) if params.filters else NOTHING
        yield {"n": _numbers(part), "pushed_filters": [shown] * len(part)}


@table(
    columns={"id": "int64", "name": "utf8", "tags": "list<utf8>", "score": "float64"},
    cardinality=lambda args: args.count,
    projection_pushdown=True,
    filter_pushdown=True,
    supported_expression_filters=["list_contains", "prefix", "starts_with", "contains"],
)
def expression_filter_test(count: Rows, params: Params, *, batch_size: BatchSize = 1024) -> Iterator[dict[str, Any]]:
    """Rows for filters that are functions; those outside of the bounds of id are not made at all"""
    bounds = params.filters.bounds("id")
    first = 0 if bounds.lower is None else max(bounds.lower, 0)
    last = count if bounds.upper is None else min(bounds.upper + 1, count)
    for part in _ranges(max(last - first, 0), batch_size):
        part = range(first + part.start, first + part.stop)
        yield {
            "id": _numbers(part),
            "name": [f"item_{n}" for n in part],
            "tags": [[f"tag_{n % 5}", f"tag_{(n + 1) % 5}"] for n in part],
            "score": _numbers(part) * 1.1,
        }


@table(
    columns=[
        Field("n", "int64"),
        Field("x", "float64"),
        Field("y", "float64"),
        Field("geom", "binary", True, {keys.EXTENSION_NAME: keys.WKB, keys.EXTENSION_METADATA: b"{}"}),
    ],
    cardinality=lambda args: args.count,
    projection_pushdown=True,
    filter_pushdown=True,
    supported_expression_filters=["&&", "st_intersects_extent"],
)
def spatial_filter_example(count: Rows, params: Params, *, batch_size: BatchSize = 1024) -> Iterator[dict[str, Any]]:
    """Points of a grid"""
    import numpy as np

    width = max(1, math.ceil(math.sqrt(count)))
    point = np.dtype([("order", "u1"), ("type", "<u4"), ("x", "<f8"), ("y", "<f8")])
    for part in _ranges(count, batch_size):
        n = _numbers(part)
        x, y = n % width / width, n // width / width
        columns: dict[str, Any] = {"n": n, "x": x, "y": y}
        if "geom" in params.required_columns:
            wkb = np.empty(len(n), point)
            wkb["order"], wkb["type"], wkb["x"], wkb["y"] = 1, 1, x, y
            columns["geom"] = [row.tobytes() for row in wkb]
        yield columns


@table(
    columns={
        "n": "int64",
        "s": "utf8",
        "order_column": "utf8",
        "order_direction": "utf8",
        "order_null_order": "utf8",
        "order_limit": "int64",
    },
    cardinality=lambda args: args.count,
    projection_pushdown=True,
    filter_pushdown=True,
)
def order_echo(count: Count, params: Params, *, batch_size: BatchSize = 2048) -> Iterator[dict[str, Any]]:
    """The order that the query asks for"""
    hint = params.order_by
    same: dict[str, Any] = {
        "order_column": NOTHING if hint is None else hint.column,
        "order_direction": NOTHING if hint is None else hint.direction,
        "order_null_order": NOTHING if hint is None else hint.null_order,
        "order_limit": -1 if hint is None or hint.limit is None else hint.limit,
    }
    for part in _ranges(count, batch_size):
        columns: dict[str, Any] = {name: [value] * len(part) for name, value in same.items()}
        yield {"n": _numbers(part), "s": [f"row_{n}" for n in part], **columns}


@table(
    columns={"n": "int64", "s": "utf8", "sample_percentage": "float64", "sample_seed": "int64"},
    cardinality=lambda args: args.count,
    projection_pushdown=True,
    sampling_pushdown=True,
)
def sample_echo(count: Count, params: Params, *, batch_size: BatchSize = 2048) -> Iterator[dict[str, Any]]:
    """The sample that the query asks for"""
    hint = params.sample
    percentage = -1.0 if hint is None else hint.percentage
    seed = -1 if hint is None or hint.seed is None else hint.seed
    for part in _ranges(count, batch_size):
        columns: dict[str, Any] = {"sample_percentage": [percentage] * len(part), "sample_seed": [seed] * len(part)}
        yield {"n": _numbers(part), "s": [f"row_{n}" for n in part], **columns}


@table(
    columns={"n": "int64", "metadata": "struct<index: int64, label: utf8>", "history": "list<int64>"},
    cardinality=lambda args: args.count,
    projection_pushdown=True,
    filter_pushdown=True,
)
def nested_sequence(
    count: Count,
    *,
    batch_size: BatchSize = 2048,
    history_size: Annotated[int, Arg(doc="Longest history", ge=1)] = 20,
) -> Iterator[dict[str, Any]]:
    """Generates a sequence with nested struct and list columns"""
    for part in _ranges(count, batch_size):
        yield {
            "n": _numbers(part),
            "metadata": [{"index": n, "label": f"row_{n}"} for n in part],
            "history": [list(range(max(0, n - history_size + 1), n + 1)) for n in part],
        }


FUNCTIONS: Final = [
    nested_sequence,
    filter_echo,
    filter_echo_table_scan,
    filtered_columns_echo,
    value_prune,
    dict_filter_echo,
    dynamic_filter_echo,
    expression_filter_test,
    spatial_filter_example,
    order_echo,
    sample_echo,
]
