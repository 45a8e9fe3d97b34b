"""A dense tensor taken apart into its cells."""

from itertools import chain, product
from math import prod
from typing import Any, Final

from vgi_fast import ArgumentError, Array, BindParams, DataType, TableInput, scalar, table_in_out

LISTS: Final = ("list", "large_list", "fixed_size_list")


def _cell_fields(function: str, tensor: DataType) -> Any:
    """``value`` and ``axes`` with the types of the cells and of the coordinates."""
    import pyarrow as pa

    if tensor.kind != "struct":
        raise ArgumentError(f"{function}: the argument must be a struct, got {tensor}")
    parts = {field.name: field.type for field in tensor.children}
    if not {"tensor", "axes"} <= parts.keys():
        raise ArgumentError(f"{function}: the struct needs the fields 'tensor' and 'axes', got {list(parts)}")
    axes = parts["axes"]
    if axes.kind != "struct" or any(axis.type.kind not in LISTS for axis in axes.children):
        raise ArgumentError(f"{function}: 'axes' must be a struct of lists, got {axes}")
    cell, depth = _innermost(parts["tensor"])
    if depth != len(axes.children):
        raise ArgumentError(f"{function}: nesting depth {depth} of 'tensor' for {len(axes.children)} axes")
    coordinates = [pa.field(axis.name, pa.field(axis.type).type.value_type) for axis in axes.children]
    return [pa.field("value", pa.field(cell).type), pa.field("axes", pa.struct(coordinates))]


def _cells_type(params: BindParams[Any]) -> Any:
    import pyarrow as pa

    (tensor,) = params.input_types
    return pa.list_(pa.struct(_cell_fields("unnest_tensor", tensor)))


def _cell_columns(params: BindParams[Any]) -> Any:
    import pyarrow as pa

    types = params.input_types
    if len(types) != 1:
        raise ArgumentError(f"unnest_tensor_rows: the input must have exactly one column, it has {len(types)}")
    return pa.schema(_cell_fields("unnest_tensor_rows", types[0]))


def _innermost(type: DataType) -> tuple[DataType, int]:
    """Type of the elements of nested lists, and the number of levels."""
    depth = 0
    while type.kind in LISTS and type.value_type is not None:
        type = type.value_type
        depth += 1
    return type, depth


def _cells(row: dict[str, Any]) -> list[dict[str, Any]]:
    axes = row["axes"]
    if not axes or not all(axes.values()):
        return []
    values = row["tensor"]
    for _ in range(len(axes) - 1):
        values = chain.from_iterable(values)
    values = list(values)
    if len(values) != prod(map(len, axes.values())):
        raise ArgumentError(f"{len(values)} cells for axes of {list(map(len, axes.values()))}")
    return [
        {"value": value, "axes": dict(zip(axes, coordinates, strict=True))}
        for value, coordinates in zip(values, product(*axes.values()), strict=True)
    ]


@scalar(returns=_cells_type)
def unnest_tensor(tensor: Array) -> Any:
    """Cells of a tensor with their coordinates

    Args:
        tensor: A struct of nested lists and of the coordinates along each axis
    """
    return [None if row is None else _cells(row) for row in tensor.to_pylist()]


@table_in_out(columns=_cell_columns)
def unnest_tensor_rows(data: TableInput) -> dict[str, Any]:
    """Cells of each row's tensor, one row for each"""
    cells = [cell for row in data.column(0).to_pylist() if row is not None for cell in _cells(row)]
    return {name: [cell[name] for cell in cells] for name in ("value", "axes")}


FUNCTIONS: Final = [unnest_tensor, unnest_tensor_rows]
