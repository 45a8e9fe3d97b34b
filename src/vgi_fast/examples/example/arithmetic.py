"""Numbers: fixed types, any type, variable numbers of arguments."""

from functools import reduce
from typing import Annotated, Any, Final

from vgi_fast import Array, BindParams, DataType, Int64, Param, scalar
from vgi_fast.examples.example.columns import ArrowText, Text, Texts

# The next wider type, with room for one addition.
WIDER: Final = {
    "int8": "int16",
    "int16": "int32",
    "int32": "int64",
    "int64": "int64",
    "uint8": "uint16",
    "uint16": "uint32",
    "uint32": "uint64",
    "uint64": "uint64",
    "float16": "float64",
    "float32": "float64",
    "float64": "float64",
}
TEMPORAL: Final = ("date32", "date64", "time32", "time64", "timestamp", "duration", "month_day_nano_interval")
MAX_DIGITS: Final = 38


def _is_multipliable_type(type: DataType) -> bool:
    return type.kind in WIDER or type.kind.startswith("decimal")


def _is_addable_type(type: DataType) -> bool:
    return _is_multipliable_type(type) or type.kind in TEMPORAL


def _promoted(type: DataType) -> DataType:
    if type.kind.startswith("decimal"):
        return DataType(f"decimal128({min(type.precision + 1, MAX_DIGITS)}, {type.scale})")
    return DataType(WIDER[type.kind]) if type.kind in WIDER else type


def _roomy(column: Array) -> Any:
    """As a pyarrow array to compute with: Arrow adds integers within their width, decimals one digit wider."""
    import pyarrow as pa

    type = column.type
    if type.kind.startswith("decimal"):
        return column.to_arrow().cast(pa.decimal256(type.precision, type.scale))
    return column.to_arrow().cast(WIDER[type.kind]) if type.kind in WIDER else column.to_arrow()


multiply = scalar.from_ufunc(
    "multiply",
    "numpy.multiply",
    "value: int64, factor: const int64 -> int64",
    description="Multiplies a value by a constant factor",
    docs={"value": "Integer value to multiply", "factor": "Multiplication factor"},
    examples=["SELECT example.multiply(n, 3) FROM example.sequence(5)"],
)


@scalar(
    returns=lambda params: _promoted(params.input_types[0]),
    examples=[("SELECT example.double(1.25::DECIMAL(10, 2))", "One digit more than the argument", "2.50")],
)
def double(value: Annotated[Array, Param(type_bound=_is_multipliable_type)]) -> Any:
    """Doubles numeric values

    Args:
        value: A number of any type
    """
    if value.type.kind in WIDER:
        return value.to_numpy().astype(WIDER[value.type.kind]) * 2
    import pyarrow.compute as pc

    return pc.add(_roomy(value), _roomy(value))  # the result is fitted to the declared digits


def _sum_type(params: BindParams[Any]) -> Any:
    """What Arrow's rules make of two columns: exact for integers, float64 where one is floating."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.add(*(_roomy(Array.from_pylist([], type)) for type in params.input_types)).type
    return _promoted(DataType.of(found)) if pa.types.is_decimal(found) else found


@scalar(returns=_sum_type)
def add_values(
    col1: Annotated[Array, Param("First addend", type_bound=_is_addable_type)],
    col2: Annotated[Array, Param("Second addend", type_bound=_is_addable_type)],
) -> Any:
    """Adds two numeric values"""
    import pyarrow.compute as pc

    return pc.add(_roomy(col1), _roomy(col2))


@scalar(returns=lambda params: _promoted(params.input_types[0]))
def sum_values(*values: Annotated[Array, Param("Numbers to add", type_bound=_is_addable_type)]) -> Any:
    """Sum multiple numeric values"""
    import pyarrow.compute as pc

    return reduce(pc.add, map(_roomy, values))


@scalar(name="concat_values")
def concat_numbers(*values: Int64) -> Texts:
    """Sum of integers as text"""
    return [str(total) for total in sum(values[1:], values[0]).tolist()]


@scalar(name="concat_values")
def concat_texts(*values: Text) -> ArrowText:
    """Texts one after the other"""
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(*(value.to_arrow() for value in values), "")


@scalar(null_handling="special")
def null_handling(value: Int64) -> Int64:
    """Returns value or -5000 if null"""
    import numpy as np

    filled: Int64 = np.ma.filled(value, -5000)
    return filled


@scalar(stability="consistent_within_query")
def query_seed(value: Int64) -> Int64:
    """Adds an offset that is fixed within a query"""
    return value + 1000


@scalar
def collatz_steps(value: Annotated[Array, Param("Where to start", arrow_type="int64")]) -> Int64:
    """Steps of the 3n+1 iteration until it reaches 1"""
    import numpy as np

    return np.fromiter(map(_collatz, value.to_pylist()), np.int64, len(value))


def _collatz(number: int | None) -> int:
    steps = 0
    while number is not None and number > 1:
        number = 3 * number + 1 if number % 2 else number // 2
        steps += 1
    return steps


FUNCTIONS: Final = [
    multiply,
    double,
    add_values,
    sum_values,
    concat_numbers,
    concat_texts,
    null_handling,
    query_seed,
    collatz_steps,
]
