"""Rows collected into a dense tensor: the inverse of ``unnest_tensor``."""

import os
from itertools import product
from math import prod
from typing import Annotated, Any, Final

from vgi_fast import (
    AggregateBindParams,
    AggregateFunction,
    AggregateParams,
    ArgumentError,
    Array,
    BindResponse,
    DataType,
    Param,
)

MAX_CELLS_VARIABLE: Final = "VGI_NEST_TENSOR_MAX_CELLS"
DEFAULT_MAX_CELLS: Final = 10_000_000
NESTED: Final = ("list", "large_list", "fixed_size_list", "list_view", "struct", "map", "sparse_union", "dense_union")
FLOATING: Final = ("float16", "float32", "float64")


class NestTensorError(ArgumentError):
    """Rows that do not make a tensor."""


class Cells(dict[tuple[Any, ...], Any]):
    """Value by coordinates."""


class NestTensor(AggregateFunction[Cells]):
    """Collect rows into a dense tensor

    Args:
        value: The cell
        axes: A struct of coordinates, one field for each axis
    """

    class Meta:
        name = "nest_tensor"

    @classmethod
    def on_bind(cls, params: AggregateBindParams[Any]) -> BindResponse:
        value, axes = params.input_types
        if axes.kind != "struct" or not axes.children:
            raise ArgumentError(f"nest_tensor: the axes must be a struct with at least one field, got {axes}")
        for axis in axes.children:
            kind = axis.type.value_type.kind if axis.type.kind == "dictionary" else axis.type.kind  # type: ignore[union-attr]
            if kind in FLOATING:
                raise ArgumentError(f"nest_tensor: axis '{axis.name}' is floating-point ({axis.type})")
            if kind in NESTED:
                raise ArgumentError(f"nest_tensor: axis '{axis.name}' is nested ({axis.type})")
        return BindResponse(_tensor_type(value, axes))

    @classmethod
    def update(
        cls,
        states: dict[int, Cells],
        group_ids: Array,
        value: Annotated[Array, Param()],
        axes: Annotated[Array, Param()],
    ) -> None:
        for group, cell, coordinates in zip(group_ids, value, axes, strict=True):
            if coordinates is None:
                continue
            for name, coordinate in coordinates.items():
                if coordinate is None:
                    raise NestTensorError(f"nest_tensor: null coord value for axis '{name}'")
            cells = states[group]
            key = tuple(coordinates.values())
            if key in cells:
                raise _duplicate(key)
            cells[key] = cell
            states[group] = cells

    @classmethod
    def combine(cls, source: Cells, target: Cells, params: AggregateParams) -> Cells:
        for key, cell in source.items():
            if key in target:
                raise _duplicate(key)
            target[key] = cell
        return target

    @classmethod
    def finalize(cls, group_ids: Array, states: dict[int, Cells | None], params: AggregateParams) -> Array:
        result = params.output_schema[0].type
        names = [axis.name for axis in _child(result, "axes").children]
        tensors = {group: _tensor(cells or Cells(), names) for group, cells in states.items()}
        return Array.from_pylist([tensors[group] for group in group_ids], result)


def _tensor_type(value: DataType, axes: DataType) -> Any:
    import pyarrow as pa

    nested = pa.field(value).type
    for _ in axes.children:
        nested = pa.list_(nested)
    coordinates = [pa.field(axis.name, pa.list_(pa.field(_plain(axis.type)).type)) for axis in axes.children]
    return pa.schema(
        [pa.field("result", pa.struct([pa.field("tensor", nested), pa.field("axes", pa.struct(coordinates))]))]
    )


def _plain(type: DataType) -> DataType:
    return type.value_type if type.kind == "dictionary" and type.value_type is not None else type


def _child(type: DataType, name: str) -> DataType:
    return next(field.type for field in type.children if field.name == name)


def _duplicate(key: tuple[Any, ...]) -> NestTensorError:
    return NestTensorError(f"nest_tensor: duplicate coordinate {key}")


def _max_cells() -> int:
    text = os.environ.get(MAX_CELLS_VARIABLE, "")
    return int(text) if text.isdigit() and int(text) > 0 else DEFAULT_MAX_CELLS


def _tensor(cells: Cells, names: list[str]) -> dict[str, Any]:
    axes = [sorted({key[index] for key in cells}) for index in range(len(names))]
    size, limit = prod(map(len, axes)), _max_cells()
    if size > limit:
        raise NestTensorError(f"nest_tensor: a tensor of {size} cells, the limit is {limit} ({MAX_CELLS_VARIABLE})")
    values: list[Any] = [cells.get(key) for key in product(*axes)]
    for axis in reversed(axes[1:]):
        values = [values[at : at + len(axis)] for at in range(0, len(values), len(axis))]
    return {"tensor": values, "axes": dict(zip(names, axes, strict=True))}


FUNCTIONS: Final = [NestTensor]
