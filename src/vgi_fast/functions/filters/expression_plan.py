"""Expression filters as steps of a plan: natively where a kernel has DuckDB's meaning, otherwise in DuckDB itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import FilterError, VgiError
from vgi_fast.functions.filters import expressions as ex
from vgi_fast.functions.filters.ranges import STRINGS, comparisons, storage
from vgi_fast.wire import keys

if TYPE_CHECKING:
    from vgi_fast.functions.filters.nodes import Constant, ExpressionFilter
    from vgi_fast.functions.filters.ranges import Path, Spec
    from vgi_fast.wire.arrow import DataType, Field

__all__ = ["expression_step"]

_PREFIX: Final = frozenset({"prefix", "starts_with", "^@"})
_SUFFIX: Final = frozenset({"suffix", "ends_with"})
_CONTAINS_LIST: Final = frozenset({"list_contains", "array_contains", "list_has", "array_has"})
_OVERLAPS: Final = frozenset({"&&", "st_intersects_extent"})
_LENGTH: Final = frozenset({"length", "len", "char_length", "character_length"})
_ARITHMETIC: Final = frozenset({"+", "-", "*", "%"})
_MIRRORED: Final = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
_MOST: Final = 2**62


class _NotNative(Exception):
    """There is no kernel for this."""


def expression_step(node: ExpressionFilter, path: Path, field: Field) -> Spec:
    try:
        return _step(node.expression, path, field)
    except (_NotNative, VgiError):
        from vgi_fast.functions.filters.expression_engine import EngineFilter

        if len(path) > 1:
            raise FilterError(f"an expression over a member of column '{node.column_name}'") from None
        return ("call", EngineFilter(node.expression, path[0], field))


def _step(node: ex.ExpressionNode, path: Path, field: Field) -> Spec:
    if isinstance(node, ex.ConjunctionNode):
        steps = [_step(part, path, field) for part in node.parts]
        return (node.word, steps)
    if isinstance(node, ex.ComparisonNode):
        return _comparison(node, path, field)
    if isinstance(node, ex.ColumnNode):
        if storage(field).kind not in ("bool", "bool8"):
            raise _NotNative
        return ("range", path, storage(field).width, True, 0, 0, True)
    if isinstance(node, ex.FunctionNode):
        return _function(node, path, field)
    raise _NotNative


def _operand(node: ex.ExpressionNode, path: Path, field: Field) -> tuple[Path, Field]:
    """The column, or a member of it."""
    if isinstance(node, ex.ColumnNode):
        return path, field
    if isinstance(node, ex.FunctionNode) and node.name == "struct_extract" and len(node.arguments) == 2:
        inner, struct = _operand(node.arguments[0], path, field)
        name = _constant(node.arguments[1]).value
        for index, child in enumerate(struct.type.children if struct.type.kind == "struct" else ()):
            if isinstance(name, str) and child.name.lower() == name.lower():
                return (*inner, index), child
    raise _NotNative


def _constant(node: ex.ExpressionNode) -> Constant:
    if not isinstance(node, ex.ConstantNode) or node.value is None:
        raise _NotNative
    return node.constant


def _comparison(node: ex.ComparisonNode, path: Path, field: Field) -> Spec:
    op, left, right = node.op, node.left, node.right
    if isinstance(left, ex.ConstantNode):
        op, left, right = _MIRRORED[op], right, left
    constant = _constant(right)
    if isinstance(left, ex.FunctionNode) and left.name in _LENGTH and len(left.arguments) == 1:
        inner, column = _operand(left.arguments[0], path, field)
        if _value_type(column).kind not in STRINGS or not isinstance(constant.value, int):
            raise _NotNative
        return _lengths(op, inner, constant.value)
    operations: list[tuple[str, int]] = []
    left = _without_arithmetic(left, operations)
    inner, column = _operand(left, path, field)
    if operations:
        if column.type.kind != "int64" or column.metadata or constant.field.type.kind != "int64" or len(operations) > 8:
            raise _NotNative
        low, high = _limits(op, constant.value)
        return ("arithmetic", inner, operations[::-1], low, high, op == "ne")
    leaves = comparisons(inner, storage(column), [(op, constant)])
    return leaves[0] if len(leaves) == 1 else ("and", leaves)


def _without_arithmetic(node: ex.ExpressionNode, operations: list[tuple[str, int]]) -> ex.ExpressionNode:
    """The operand; its operations with 64-bit constants, outermost first, are added to the list."""
    while isinstance(node, ex.FunctionNode) and node.name in _ARITHMETIC and len(node.arguments) == 2:
        name, (left, right) = node.name, node.arguments
        if isinstance(left, ex.ConstantNode):
            if name == "%":
                raise _NotNative
            name, left, right = "from" if name == "-" else name, right, left
        constant = _constant(right)
        if constant.field.type.kind != "int64" or (name == "%" and constant.value == 0):
            raise _NotNative
        operations.append((name, constant.value))
        node = left
    return node


def _limits(op: str, number: int) -> tuple[int, int]:
    """Both ends included; the range is empty for what no 64-bit integer satisfies."""
    least, most = -(2**63), 2**63 - 1
    if op == "lt":
        return (least, number - 1) if number > least else (1, 0)
    if op == "gt":
        return (number + 1, most) if number < most else (1, 0)
    return number if op != "le" else least, number if op != "ge" else most


def _value_type(field: Field) -> DataType:
    return storage(field).type


def _lengths(op: str, path: Path, number: int) -> Spec:
    least = {"eq": number, "ne": number, "gt": number + 1, "ge": number}.get(op, 0)
    most = {"eq": number, "ne": number, "lt": number - 1, "le": number}.get(op, _MOST)
    return ("text", path, "length", max(min(least, _MOST), 0), max(min(most, _MOST), -1), op == "ne")


def _function(node: ex.FunctionNode, path: Path, field: Field) -> Spec:
    if len(node.arguments) != 2:
        raise _NotNative
    first, second = node.arguments
    if node.name in _OVERLAPS:
        return _overlap(first, second, path, field)
    inner, column = _operand(first, path, field)
    constant = _constant(second)
    if node.name in _CONTAINS_LIST:
        return _any_element(inner, column, constant)
    if _value_type(column).kind not in STRINGS or not isinstance(constant.value, str):
        raise _NotNative
    text = constant.value.encode()
    if node.name in _PREFIX:
        return ("text", inner, "prefix", text, False)
    if node.name in _SUFFIX:
        return ("text", inner, "suffix", text, False)
    if node.name == "contains":
        return ("text", inner, "contains", text, False)
    if node.name in ("~~", "!~~"):
        return _like(inner, text, node.name == "!~~")
    raise _NotNative


def _like(path: Path, pattern: bytes, negate: bool) -> Spec:
    inner = pattern.strip(b"%")
    if b"%" not in inner and b"_" not in inner and inner:
        starts, ends = pattern.startswith(b"%"), pattern.endswith(b"%")
        test = "contains" if starts and ends else "suffix" if starts else "prefix" if ends else "equal"
        return ("text", path, test, inner, negate)
    return ("text", path, "like", pattern, negate)


def _any_element(path: Path, column: Field, constant: Constant) -> Spec:
    type = column.type
    if type.kind not in ("list", "large_list", "fixed_size_list", "list_view", "large_list_view"):
        raise _NotNative
    leaves = comparisons((0,), storage(type.children[0]), [("eq", constant)])
    if len(leaves) != 1 or leaves[0][0] not in ("range", "float", "text"):
        raise _NotNative
    return ("list", path, leaves[0])


def _overlap(first: ex.ExpressionNode, second: ex.ExpressionNode, path: Path, field: Field) -> Spec:
    """Bounding boxes touch; edges belong to them."""
    if isinstance(first, ex.ConstantNode):
        first, second = second, first
    if not isinstance(first, ex.ColumnNode) or not isinstance(second, ex.ConstantNode) or not second.is_geometry:
        raise _NotNative
    if field.metadata.get(keys.EXTENSION_NAME) != keys.WKB or storage(field).kind != "text":
        raise _NotNative
    box = wkb_box(second.value)
    if box is None:
        raise _NotNative
    return ("box", path, *box)


def wkb_box(blob: Any) -> tuple[float, float, float, float] | None:
    from vgi_fast.wire.arrow import geometry_box

    return geometry_box(blob)
