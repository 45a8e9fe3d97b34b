"""Expression trees that DuckDB pushes for functions which a worker lists (section 1.7 of the pushdown document)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgi_fast.functions.filters.nodes import SYMBOLS, Constant
from vgi_fast.wire import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ColumnNode",
    "ComparisonNode",
    "ConjunctionNode",
    "ConstantNode",
    "ExpressionNode",
    "FunctionNode",
]


class ExpressionNode:
    """One node; ``to_sql`` has ``?`` for values, ``literal_sql`` has them spelled out, for display."""

    __slots__ = ()

    def to_sql(self, column: str) -> tuple[str, list[Any]]:
        values: list[Any] = []
        return self._sql(column, values), values

    def literal_sql(self, column: str) -> str:
        return self._sql(column, None)

    def _sql(self, column: str, values: list[Any] | None) -> str:
        raise NotImplementedError

    @property
    def children(self) -> Sequence[ExpressionNode]:
        return ()


class ColumnNode(ExpressionNode):
    __slots__ = ()

    def _sql(self, column: str, values: list[Any] | None) -> str:
        return '"' + column.replace('"', '""') + '"'


class ConstantNode(ExpressionNode):
    __slots__ = ("constant",)

    def __init__(self, constant: Constant) -> None:
        self.constant = constant

    @property
    def value(self) -> Any:
        return self.constant.value

    @property
    def is_geometry(self) -> bool:
        return self.constant.field.metadata.get(keys.EXTENSION_NAME) == keys.WKB

    def _sql(self, column: str, values: list[Any] | None) -> str:
        if values is None:
            return self._literal()
        values.append(self.value)
        return "ST_GeomFromWKB(?)" if self.is_geometry else "?"

    def _literal(self) -> str:
        value = self.value
        if value is None:
            return "NULL"
        if isinstance(value, bool):
            return "TRUE" if value else "FALSE"
        if isinstance(value, (int, float)):
            return str(value)
        if isinstance(value, (bytes, bytearray)):
            if self.is_geometry:
                return f"ST_GeomFromHEXWKB('{value.hex().upper()}')"
            return "'" + "".join(f"\\x{byte:02X}" for byte in value) + "'::BLOB"
        return "'" + str(value).replace("'", "''") + "'"


class FunctionNode(ExpressionNode):
    """A function by its bound name; operators are functions named by their symbol."""

    __slots__ = ("arguments", "name")

    def __init__(self, name: str, arguments: list[ExpressionNode]) -> None:
        self.name = name
        self.arguments = arguments

    @property
    def children(self) -> Sequence[ExpressionNode]:
        return self.arguments

    def _sql(self, column: str, values: list[Any] | None) -> str:
        parts = [argument._sql(column, values) for argument in self.arguments]
        if len(parts) == 2 and not any(letter.isalnum() or letter == "_" for letter in self.name):
            return f"({parts[0]} {self.name} {parts[1]})"
        return f"{self.name}({', '.join(parts)})"


class ComparisonNode(ExpressionNode):
    __slots__ = ("left", "op", "right")

    def __init__(self, op: str, left: ExpressionNode, right: ExpressionNode) -> None:
        self.op = op
        self.left = left
        self.right = right

    @property
    def children(self) -> Sequence[ExpressionNode]:
        return (self.left, self.right)

    def _sql(self, column: str, values: list[Any] | None) -> str:
        left = self.left._sql(column, values)
        return f"({left} {SYMBOLS[self.op]} {self.right._sql(column, values)})"


class ConjunctionNode(ExpressionNode):
    __slots__ = ("parts", "word")

    def __init__(self, word: str, parts: list[ExpressionNode]) -> None:
        self.word = word
        """``and`` or ``or``."""
        self.parts = parts

    @property
    def children(self) -> Sequence[ExpressionNode]:
        return self.parts

    def _sql(self, column: str, values: list[Any] | None) -> str:
        if not self.parts:
            return "TRUE" if self.word == "and" else "FALSE"
        return "(" + f" {self.word.upper()} ".join(part._sql(column, values) for part in self.parts) + ")"
