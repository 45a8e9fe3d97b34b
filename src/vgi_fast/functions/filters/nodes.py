"""Pushed filters as an author sees them: nodes, and what can be asked of all of them together.

    def process(cls, params, state, out):
        bounds = params.filters.bounds("n")
        if bounds.lower is not None: ...

A node never fails to be read: values of any type are at hand as Python values (``value``) and as one-element
arrays of the type in which they came (``array``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vgi_fast.functions.filters.expressions import ExpressionNode
    from vgi_fast.wire.arrow import Array, Field, RecordBatch

__all__ = [
    "AndFilter",
    "Bounds",
    "ConstantFilter",
    "ExpressionFilter",
    "Filter",
    "InFilter",
    "IsNotNullFilter",
    "IsNullFilter",
    "OrFilter",
    "PushdownFilters",
    "StructFilter",
]

SYMBOLS: Final = {"eq": "=", "ne": "!=", "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "unknown": "?"}
_SHOWN_VALUES: Final = 5
_SHOWN_OF_MORE: Final = 3
_COMPARISONS: Final = ("gt", "ge", "lt", "le")


class Constant:
    """One value with its Arrow type; ``field`` carries the metadata of extension types."""

    __slots__ = ("array", "field")

    def __init__(self, array: Array, field: Field) -> None:
        self.array = array
        self.field = field

    @property
    def value(self) -> Any:
        return self.array[0]


class Filter:
    """One node. Nodes below it, if there are any, are about the same column."""

    __slots__ = ("column_index", "column_name")

    def __init__(self, column_name: str, column_index: int) -> None:
        self.column_name = column_name
        self.column_index = column_index

    def to_sql(self, column: str | None = None) -> tuple[str, list[Any]]:
        """SQL with ``?`` for values, and the values."""
        raise NotImplementedError

    def column_sql(self, column: str | None) -> str:
        return self.column_name if column is None else column


class ConstantFilter(Filter):
    """``column op value``; ``op`` is eq, ne, gt, ge, lt, le, or unknown for one that may not be evaluated."""

    __slots__ = ("constant", "op", "value_ref")

    def __init__(self, column_name: str, column_index: int, op: str, constant: Constant, value_ref: int = -1) -> None:
        super().__init__(column_name, column_index)
        self.op = op
        self.constant = constant
        self.value_ref = value_ref

    @property
    def value(self) -> Any:
        return self.constant.value

    @property
    def array(self) -> Array:
        return self.constant.array

    def to_sql(self, column: str | None = None) -> tuple[str, list[Any]]:
        if self.op == "unknown":
            return "TRUE", []
        return f"{self.column_sql(column)} {SYMBOLS[self.op]} ?", [self.value]

    def __repr__(self) -> str:
        return f"ConstantFilter({self.column_name} {SYMBOLS[self.op]} {self.value})"


class IsNullFilter(Filter):
    __slots__ = ()

    def to_sql(self, column: str | None = None) -> tuple[str, list[Any]]:
        return f"{self.column_sql(column)} IS NULL", []

    def __repr__(self) -> str:
        return f"IsNullFilter({self.column_name} IS NULL)"


class IsNotNullFilter(Filter):
    __slots__ = ()

    def to_sql(self, column: str | None = None) -> tuple[str, list[Any]]:
        return f"{self.column_sql(column)} IS NOT NULL", []

    def __repr__(self) -> str:
        return f"IsNotNullFilter({self.column_name} IS NOT NULL)"


class InFilter(Filter):
    """Membership in a list, or in the keys of a join. ``identity`` names the bytes that the keys came in."""

    __slots__ = ("_values", "array", "field", "identity")

    def __init__(self, column_name: str, column_index: int, array: Array, field: Field, identity: Any = None) -> None:
        super().__init__(column_name, column_index)
        self.array = array
        self.field = field
        self.identity = identity
        self._values: list[Any] | None = None

    @property
    def values(self) -> list[Any]:
        if self._values is None:
            self._values = self.array.to_pylist()
        return self._values

    def __len__(self) -> int:
        return len(self.array)

    def to_sql(self, column: str | None = None) -> tuple[str, list[Any]]:
        if not self.values:
            return "FALSE", []
        return f"{self.column_sql(column)} IN ({', '.join('?' * len(self.values))})", list(self.values)

    def __repr__(self) -> str:
        count = len(self) if len(self) <= _SHOWN_VALUES else _SHOWN_OF_MORE
        shown = ", ".join(str(value) for value in self.array.slice(0, count))
        more = f"...({len(self)} total)" if len(self) > count else ""
        return f"InFilter({self.column_name} IN [{shown}]{more})"


class _Junction(Filter):
    __slots__ = ("children",)

    word = ""
    empty = ""

    def __init__(self, column_name: str, column_index: int, children: list[Filter]) -> None:
        super().__init__(column_name, column_index)
        self.children = children

    def to_sql(self, column: str | None = None) -> tuple[str, list[Any]]:
        parts = [child.to_sql(column) for child in self.children]
        if not parts:
            return self.empty, []
        return "(" + f" {self.word} ".join(text for text, _ in parts) + ")", [v for _, values in parts for v in values]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({f' {self.word} '.join(map(repr, self.children))})"


class AndFilter(_Junction):
    __slots__ = ()

    word = "AND"
    empty = "TRUE"


class OrFilter(_Junction):
    __slots__ = ()

    word = "OR"
    empty = "FALSE"


class StructFilter(Filter):
    """A filter on a member of a struct; ``child_name`` is empty where the member was named by position."""

    __slots__ = ("child_filter", "child_index", "child_name")

    def __init__(
        self, column_name: str, column_index: int, child_index: int, child_name: str, child_filter: Filter
    ) -> None:
        super().__init__(column_name, column_index)
        self.child_index = child_index
        self.child_name = child_name
        self.child_filter = child_filter

    def to_sql(self, column: str | None = None) -> tuple[str, list[Any]]:
        member = self.child_name or str(self.child_index + 1)
        return self.child_filter.to_sql(f"{self.column_sql(column)}.{member}")

    def __repr__(self) -> str:
        return f"StructFilter({self.column_name}.{self.child_name or self.child_index}: {self.child_filter!r})"


class ExpressionFilter(Filter):
    """A boolean expression over the column, of the functions that the worker has listed."""

    __slots__ = ("expression",)

    def __init__(self, column_name: str, column_index: int, expression: ExpressionNode) -> None:
        super().__init__(column_name, column_index)
        self.expression = expression

    def to_sql(self, column: str | None = None) -> tuple[str, list[Any]]:
        return self.expression.to_sql(self.column_sql(column))

    def __repr__(self) -> str:
        return f"ExpressionFilter({self.column_name}: {self.expression.literal_sql(self.column_name)})"


class Bounds:
    """The values a column may have; None on a side without a bound."""

    __slots__ = ("lower", "lower_inclusive", "upper", "upper_inclusive")

    def __init__(
        self, lower: Any = None, upper: Any = None, lower_inclusive: bool = True, upper_inclusive: bool = True
    ) -> None:
        self.lower = lower
        self.upper = upper
        self.lower_inclusive = lower_inclusive
        self.upper_inclusive = upper_inclusive

    def __bool__(self) -> bool:
        return self.lower is not None or self.upper is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bounds) and self._key() == other._key()

    __hash__ = None  # type: ignore[assignment]

    def _key(self) -> tuple[Any, ...]:
        return self.lower, self.upper, self.lower_inclusive, self.upper_inclusive

    def __repr__(self) -> str:
        low = "(-∞" if self.lower is None else f"{'[' if self.lower_inclusive else '('}{self.lower!r}"
        high = "∞)" if self.upper is None else f"{self.upper!r}{']' if self.upper_inclusive else ')'}"
        return f"Bounds({low}, {high})"

    def _tighten(self, op: str, value: Any) -> None:
        inclusive = op in ("ge", "le")
        if op in ("gt", "ge"):
            if self.lower is None or value > self.lower:
                self.lower, self.lower_inclusive = value, inclusive
            elif value == self.lower and inclusive:
                self.lower_inclusive = True
        elif self.upper is None or value < self.upper:
            self.upper, self.upper_inclusive = value, inclusive
        elif value == self.upper and inclusive:
            self.upper_inclusive = True


class PushdownFilters:
    """A conjunction of filters. Immutable. False when there are none."""

    __slots__ = ("filters", "is_dynamic")

    def __init__(self, filters: list[Filter] | tuple[Filter, ...] = (), is_dynamic: bool = False) -> None:
        self.filters = tuple(filters)
        self.is_dynamic = is_dynamic

    def __bool__(self) -> bool:
        return bool(self.filters)

    def __len__(self) -> int:
        return len(self.filters)

    def __iter__(self) -> Iterator[Filter]:
        return iter(self.filters)

    def __and__(self, other: PushdownFilters) -> PushdownFilters:
        """Both sets, as one conjunction."""
        if not other:
            return self
        return PushdownFilters((*self.filters, *other.filters), self.is_dynamic or other.is_dynamic)

    def __repr__(self) -> str:
        return f"PushdownFilters([{', '.join(map(repr, self.filters))}])"

    @property
    def columns(self) -> set[str]:
        """Names of the filtered columns."""
        return {node.column_name for node in self.filters}

    def has_filter(self, column: str) -> bool:
        return any(node.column_name == column for node in self.filters)

    def for_column(self, column: str) -> list[Filter]:
        """Top-level nodes."""
        return [node for node in self.filters if node.column_name == column]

    def _conjuncts(self, column: str) -> Iterator[Filter]:
        """Nodes that all have to hold, from any depth of AND."""
        pending = list(reversed(self.for_column(column)))
        while pending:
            node = pending.pop()
            if type(node) is AndFilter:
                pending.extend(reversed(node.children))
            else:
                yield node

    def constant(self, column: str) -> Any:
        """The value of ``column = value``; None without one."""
        for node in self._conjuncts(column):
            if type(node) is ConstantFilter and node.op == "eq":
                return node.value
        return None

    def in_values(self, column: str) -> list[Any] | None:
        """The values of the first IN, or the keys of a join."""
        for node in self._conjuncts(column):
            if type(node) is InFilter:
                return node.values
        return None

    def values(self, column: str) -> list[Any] | None:
        """All values that the column may have, when they are few: from ``=``, IN, or an OR of those."""
        found: list[Any] | None = None
        for node in self._conjuncts(column):
            discrete = _discrete(node)
            if discrete is not None and (found is None or type(node) is ConstantFilter):
                found = discrete
                if type(node) is ConstantFilter:
                    break
        return found

    def bounds(self, column: str) -> Bounds:
        """The tightest bounds; ``=`` gives both."""
        bounds = Bounds()
        for node in self._conjuncts(column):
            if type(node) is not ConstantFilter:
                continue
            value = node.value
            if node.op == "eq":
                return Bounds(value, value)
            if node.op in _COMPARISONS and value == value:
                bounds._tighten(node.op, value)
        return bounds

    def to_sql(self) -> tuple[str, list[Any]]:
        """A WHERE clause with ``?`` for values, and the values; the names are as the function declares them."""
        parts = [node.to_sql() for node in self.filters]
        return " AND ".join(text for text, _ in parts), [value for _, values in parts for value in values]

    def to_pyarrow(self, schema: Any = None) -> Any:
        """A ``pyarrow.compute.Expression``, for datasets and scanners; None without filters.

        What pyarrow cannot express is left out, so the result may let more rows pass.
        """
        from vgi_fast.functions.filters.translation import to_pyarrow

        return to_pyarrow(self, schema)

    def to_callable(self) -> Any:
        """A function of a mapping from column names to Python values: whether such a row passes."""
        from vgi_fast.functions.filters.translation import to_callable

        return to_callable(self)

    # Names that classes written for vgi-python use.
    get_column_filters = for_column
    get_column_bounds = bounds
    get_column_values = values
    get_column_constant = constant
    get_in_values = in_values
    has_filter_for_column = has_filter


def _discrete(node: Filter) -> list[Any] | None:
    if type(node) is ConstantFilter and node.op == "eq":
        return [node.value]
    if type(node) is InFilter:
        return node.values
    if type(node) is OrFilter and node.children:
        union: dict[Any, None] = {}
        for child in node.children:
            if not (type(child) is InFilter or (type(child) is ConstantFilter and child.op == "eq")):
                return None
            union.update(dict.fromkeys(_discrete(child) or ()))
        return list(union)
    return None


class CurrentFilters(Protocol):
    """The filters of one stream, as they are at the moment."""

    static: PushdownFilters
    current: PushdownFilters
    applies: bool

    def tick(self, value: bytes | None) -> None:
        """Take what came with a tick."""

    def apply(self, batch: RecordBatch) -> RecordBatch:
        """The rows that pass."""


NO_FILTERS: Final = PushdownFilters()
