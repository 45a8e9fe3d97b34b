"""Producers: rows made from constant arguments."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

from vgi_fast import AnyArrowValue, Arg, Array, BindParams, ColumnStatisticsInput, Field, Projection, Schema, table

Count = Annotated[int, Arg(doc="Number of rows", ge=0)]
Start = Annotated[int, Arg(doc="First value")]
Stop = Annotated[int, Arg(doc="End, not included")]
BatchSize = Annotated[int, Arg(doc="Rows per batch", ge=1)]

VALUE: Final = {"value": "int64"}
ROWS: Final = 2048
SERIES_ROWS: Final = 1024
PROJECTED_ROWS: Final = 1000
PAIRS: Final = 5


def _parts(values: range, size: int) -> Iterator[range]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _steps(count: int, increment: float) -> dict[str, ColumnStatisticsInput]:
    if count <= 0:
        return {}
    bounds = 0 * increment, (count - 1) * increment
    return {"n": ColumnStatisticsInput(*bounds, has_null=False, distinct_count=count)}


@table(
    columns={"n": "int64"},
    cardinality=lambda args: args.count,
    statistics=lambda args: _steps(args.count, args.increment),
    projection_pushdown=True,
    filter_pushdown=True,
    categories=["generator", "utility"],
    examples=[
        "SELECT * FROM example.sequence(10)",
        ("SELECT * FROM example.sequence(5, increment := 10)", "0, 10, 20, 30, 40"),
    ],
)
def sequence(
    count: Count,
    *,
    batch_size: BatchSize = 2048,
    increment: Annotated[int, Arg(doc="Difference of neighbours", ge=1)] = 1,
) -> Iterator[dict[str, Any]]:
    """Generates a sequence of integers from 0 to n-1"""
    import numpy as np

    for part in _parts(range(0, count * increment, increment), batch_size):
        yield {"n": np.arange(part.start, part.stop, part.step)}


@table(
    columns={"n": "float64"},
    cardinality=lambda args: args.count,
    statistics=lambda args: _steps(args.count, args.increment),
)
def double_sequence(
    count: Count,
    *,
    batch_size: BatchSize = 2048,
    increment: Annotated[float, Arg(doc="Difference of neighbours", gt=0)] = 1.0,
) -> Iterator[dict[str, Any]]:
    """Generates a sequence of floating-point numbers from 0 to n-1"""
    import numpy as np

    for part in _parts(range(count), batch_size):
        yield {"n": np.arange(part.start, part.stop) * increment}


@table(
    columns={"id": "int64", "greeting": "utf8", "value": "int64", "float_value": "float64", "enabled": "bool"},
    cardinality=lambda args: args.count,
)
def named_params_echo(
    count: Count,
    *,
    greeting: Annotated[str, Arg(doc="Text of each row")] = "hello",
    multiplier: Annotated[int, Arg(doc="Factor of value")] = 1,
    scale: Annotated[float, Arg(doc="Factor of float_value")] = 1.0,
    enabled: Annotated[bool, Arg(doc="Flag of each row")] = True,
) -> Iterator[dict[str, Any]]:
    """Echoes named parameter values in output columns"""
    import numpy as np

    for part in _parts(range(count), ROWS):
        n = np.arange(part.start, part.stop)
        same = {"greeting": [greeting] * len(part), "enabled": [enabled] * len(part)}
        yield {"id": n, "value": n * multiplier, "float_value": n * scale, **same}


@table(
    columns={"id": "int64", "name": "utf8", "value": "float64", "extra": "int64"},
    cardinality=lambda args: args.count,
    projection_pushdown=True,
)
def projected_data(count: Count, wanted: Projection) -> Iterator[dict[str, Any]]:
    """Generates data with 4 columns, supporting projection pushdown"""
    import numpy as np

    for part in _parts(range(count), PROJECTED_ROWS):
        n = np.arange(part.start, part.stop)
        columns: dict[str, Any] = {"id": n}  # tells the number of rows when no column is wanted
        if "name" in wanted:
            columns["name"] = [f"item_{row}" for row in part]
        if "value" in wanted:
            columns["value"] = n * 1.5
        if "extra" in wanted:
            columns["extra"] = n * n
        yield columns


@table(columns={"n": "int64"}, categories=["testing"])
def generator_exception(fail_after: Annotated[int, Arg(doc="Number of batches", ge=0)]) -> Iterator[range]:
    """Raises an exception after N batches for testing"""
    for batch in range(fail_after):
        yield range(batch, batch + 1)
    raise ValueError(f"Intentional failure after {fail_after} batches")


@table(name="make_series", columns=VALUE, cardinality=lambda args: args.count)
def series_of_count(count: Count) -> Iterator[range]:
    """Generate integers from 0 to count-1"""
    return _parts(range(count), SERIES_ROWS)


@table(name="make_series", columns=VALUE)
def series_of_text(values: Annotated[str, Arg(doc="Integers between commas")]) -> list[int]:
    """Parse comma-separated integers into rows"""
    return [int(value) for value in values.split(",")]


@table(name="make_series", columns={"value": "float64"}, cardinality=10)
def series_of_step(step: Annotated[float, Arg(doc="Difference of neighbours")]) -> list[float]:
    """Generate 10 float values with given step size"""
    return [step * row for row in range(10)]


@table(name="make_series", columns=VALUE)
def series_between(start: Start, stop: Stop) -> Iterator[range]:
    """Generate integers from start to stop-1"""
    return _parts(range(start, stop), SERIES_ROWS)


@table(name="make_series", columns=VALUE)
def series_with_step(
    start: Start, stop: Stop, step: Annotated[int, Arg(doc="Difference of neighbours", ge=1)]
) -> Iterator[range]:
    """Generate integers from start to stop-1 with step"""
    return _parts(range(start, stop, step), SERIES_ROWS)


@table(name="make_pairs", columns={"a": "int64", "b": "int64"})
def pairs_of_numbers(start: Start, stop: Stop) -> dict[str, range]:
    """Generate integer pairs (i, i*2)"""
    return {"a": range(start, stop), "b": range(2 * start, 2 * stop, 2)}


@table(name="make_pairs", columns={"a": "int64", "b": "utf8"}, cardinality=PAIRS)
def pairs_mixed(start: Start, label: str) -> dict[str, Any]:
    """Generate mixed int/string pairs"""
    return {"a": range(start, start + PAIRS), "b": [f"{label}{row}" for row in range(PAIRS)]}


@table(name="make_pairs", columns={"a": "utf8", "b": "utf8"}, cardinality=PAIRS)
def pairs_of_texts(prefix: str, suffix: str) -> dict[str, list[str]]:
    """Generate string pairs with prefix and suffix"""
    return {name: [f"{text}{row}" for row in range(PAIRS)] for name, text in (("a", prefix), ("b", suffix))}


def _numbered(type: str, params: BindParams[Any]) -> dict[str, str]:
    return {f"v{index}": type for index in range(len(params.args.values))}


@table(name="repeat_value", columns=lambda params: _numbered("int64", params), cardinality=lambda args: args.count)
def repeat_numbers(count: int, *values: int) -> dict[str, list[int]]:
    """Rows that all hold the same numbers"""
    return {f"v{index}": [value] * count for index, value in enumerate(values)}


@table(name="repeat_value", columns=lambda params: _numbered("utf8", params), cardinality=lambda args: args.count)
def repeat_texts(count: int, *values: str) -> dict[str, list[str]]:
    """Rows that all hold the same texts"""
    return {f"v{index}": [value] * count for index, value in enumerate(values)}


def _given_columns(params: BindParams[Any]) -> Schema:
    """With the metadata of the arguments: a UUID, for one, is a binary column that says so."""
    given = enumerate(params.args.values)
    return Schema([Field(f"col_{index}", one.type, True, one.field.metadata) for index, one in given])


@table(columns=_given_columns, cardinality=lambda args: args.count)
def constant_columns(count: Count, *values: AnyArrowValue | None) -> Iterator[dict[str, Array]]:
    """Generates rows with constant values from varargs"""
    given = [one for one in values if one is not None]  # all of them: NULL too is a value with a type
    columns = [Array.from_pylist([one.value] * min(count, ROWS), one.type) for one in given]
    for part in _parts(range(count), ROWS):
        yield {f"col_{index}": column.slice(0, len(part)) for index, column in enumerate(columns)}


@table(columns={"n": "int64", "label": "utf8"}, cardinality=3)
def global_table() -> dict[str, Any]:
    """Table function that is also published globally"""
    return {"n": range(3), "label": [f"global_table:{row}" for row in range(3)]}


FUNCTIONS: Final = [
    sequence,
    double_sequence,
    named_params_echo,
    projected_data,
    generator_exception,
    series_of_count,
    series_of_text,
    series_of_step,
    series_between,
    series_with_step,
    pairs_of_numbers,
    pairs_mixed,
    pairs_of_texts,
    repeat_numbers,
    repeat_texts,
    constant_columns,
    global_table,
]
