"""Pushed filters for sources that take filters themselves: pyarrow expressions and Python callables.

A translation may let more rows pass than the filters do, never fewer; the framework applies them exactly to what
comes back. What a source should be asked is therefore safe to take from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.functions.filters import nodes as fl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["to_callable", "to_pyarrow"]


# ---- pyarrow ----


def to_pyarrow(filters: fl.PushdownFilters, schema: Any = None) -> Any:
    """A ``pyarrow.compute.Expression``; None where nothing can be asked.

    With a ``schema`` (of the source) constants are cast to its types and columns that it lacks are left out.
    """
    import pyarrow.compute as pc

    found = None
    for node in filters.filters:
        if schema is not None and node.column_name not in schema.names:
            continue
        type = None if schema is None else schema.field(node.column_name).type
        part = _arrow(node, pc.field(node.column_name), type)
        if part is not None:
            found = part if found is None else found & part
    return found


def _arrow(node: fl.Filter, column: Any, type: Any) -> Any:
    """None for what cannot be said."""
    kind = type_of(node)
    if kind == "constant":
        return _arrow_comparison(node, column, type)  # type: ignore[arg-type]
    if kind == "is_null":
        return column.is_null()
    if kind == "is_not_null":
        return column.is_valid()
    if kind == "in":
        values = node.array.to_arrow()  # type: ignore[attr-defined]
        values = _cast(values, type)
        return None if values is None or _is_odd(values) else column.isin(values)
    if kind in ("and", "or"):
        parts = [_arrow(child, column, type) for child in node.children]  # type: ignore[attr-defined]
        if kind == "or" and (not parts or any(part is None for part in parts)):
            return None
        found = None
        for part in parts:
            if part is not None:
                found = part if found is None else (found & part if kind == "and" else found | part)
        return found
    if kind == "struct" and node.child_name:  # type: ignore[attr-defined]
        return _arrow_member(node, column, type)  # type: ignore[arg-type]
    return None


def _arrow_member(node: fl.StructFilter, column: Any, type: Any) -> Any:
    import pyarrow.compute as pc

    member = None
    if type is not None:
        index = type.get_field_index(node.child_name)
        if index < 0:
            return None
        member = type.field(index).type
    return _arrow(node.child_filter, pc.struct_field(column, node.child_name), member)


def _arrow_comparison(node: fl.ConstantFilter, column: Any, type: Any) -> Any:
    import pyarrow as pa

    values = _cast(node.array.to_arrow(), type)
    if node.op == "unknown" or values is None:
        return None
    value = values[0]
    if pa.types.is_floating(value.type):
        # There, NaN is less than nothing and equal to nothing; here it is the greatest number.
        number = value.as_py()
        if number != number:
            return None
        if node.op in ("gt", "ge"):
            return (column > value if node.op == "gt" else column >= value) | column.is_nan()
        if node.op == "ne":
            return column != value
    return {
        "eq": lambda: column == value,
        "ne": lambda: column != value,
        "gt": lambda: column > value,
        "ge": lambda: column >= value,
        "lt": lambda: column < value,
        "le": lambda: column <= value,
    }[node.op]()


def _cast(values: Any, type: Any) -> Any:
    import pyarrow as pa

    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if type is None or values.type == type:
        return values
    if pa.types.is_dictionary(type):
        type = type.value_type
    if _is_cut(values, type):
        return None
    try:
        return values.cast(type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _is_odd(values: Any) -> bool:
    """Floating point values whose equality is not pyarrow's: NaN, and zero with either sign."""
    import pyarrow as pa

    return pa.types.is_floating(values.type) and any(value != value or value == 0 for value in values.to_pylist())


def _is_cut(values: Any, type: Any) -> bool:
    """DuckDB reads the column in a coarser unit than its own, in which more rows are equal."""
    import pyarrow as pa

    if pa.types.is_date64(type):
        return bool(pa.types.is_date32(values.type))
    return (
        pa.types.is_timestamp(type)
        and pa.types.is_timestamp(values.type)
        and _UNITS.index(type.unit) > _UNITS.index(values.type.unit)
    )


# ---- Python ----

Row = "Mapping[str, Any]"


def to_callable(filters: fl.PushdownFilters) -> Callable[[Mapping[str, Any]], bool]:
    """``passes(row)``: whether a row, a mapping of Python values, passes; expression filters let every row pass."""
    tests = [(node.column_name, _test(node)) for node in filters.filters]

    def passes(row: Mapping[str, Any]) -> bool:
        return all(test(row.get(name)) for name, test in tests)

    return passes


def _test(node: fl.Filter) -> Callable[[Any], bool]:
    kind = type_of(node)
    if kind == "constant":
        return _comparison(node)  # type: ignore[arg-type]
    if kind == "is_null":
        return lambda value: value is None
    if kind == "is_not_null":
        return lambda value: value is not None
    if kind == "in":
        members = {_key(value) for value in node.values}  # type: ignore[attr-defined]
        return lambda value: value is not None and _key(value) in members
    if kind in ("and", "or"):
        tests = [_test(child) for child in node.children]  # type: ignore[attr-defined]
        if kind == "and":
            return lambda value: all(test(value) for test in tests)
        return lambda value: any(test(value) for test in tests)
    if kind == "struct":
        return _member(node)  # type: ignore[arg-type]
    return lambda value: True


def _member(node: fl.StructFilter) -> Callable[[Any], bool]:
    inner = _test(node.child_filter)

    def test(value: Any) -> bool:
        if value is None:
            return inner(None)
        if node.child_name:
            return inner(value.get(node.child_name))
        return inner(list(value.values())[node.child_index])

    return test


def _key(value: Any) -> Any:
    """Equal for what DuckDB takes for equal: texts compare by bytes, NaN is itself."""
    return _NAN if value != value else value


def _order(value: Any) -> Any:
    """A value that sorts as DuckDB sorts it."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, float):
        return (1, 0.0) if value != value else (0, value)
    return value


def _comparison(node: fl.ConstantFilter) -> Callable[[Any], bool]:
    constant, op = node.value, node.op
    if op == "unknown":
        return lambda value: True
    is_float = isinstance(constant, float)
    right = _order(constant)

    def test(value: Any) -> bool:
        if value is None:
            return False
        left = _order(float(value) if is_float else value)
        order = (left > right) - (left < right)
        return _OUTCOMES[op](order)

    return test


_NAN: Final = object()
_UNITS: Final = ("s", "ms", "us", "ns")
_OUTCOMES: Final[dict[str, Callable[[int], bool]]] = {
    "eq": lambda order: order == 0,
    "ne": lambda order: order != 0,
    "gt": lambda order: order > 0,
    "ge": lambda order: order >= 0,
    "lt": lambda order: order < 0,
    "le": lambda order: order <= 0,
}
_KINDS: Final = {
    fl.ConstantFilter: "constant",
    fl.IsNullFilter: "is_null",
    fl.IsNotNullFilter: "is_not_null",
    fl.InFilter: "in",
    fl.AndFilter: "and",
    fl.OrFilter: "or",
    fl.StructFilter: "struct",
    fl.ExpressionFilter: "expression",
}


def type_of(node: fl.Filter) -> str:
    return _KINDS[type(node)]
