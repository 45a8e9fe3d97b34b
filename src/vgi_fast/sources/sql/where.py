"""Pushed filters as conditions of SQLAlchemy.

A condition may let more rows pass than its filter, never fewer: the framework applies the filters exactly to the rows
that come back. What a database compares in another way than DuckDB is therefore left out.
"""

from __future__ import annotations

import datetime as dt
import math
import operator
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID as Uuid

from vgi_fast.functions.filters import nodes as fl
from vgi_fast.sources.sql.plan import DOUBLE, PADDED, PLAIN, TEXT, UUID
from vgi_fast.wire.arrow import type_named

if TYPE_CHECKING:
    import sqlalchemy as sa

    from vgi_fast.functions.context import OrderHint
    from vgi_fast.sources.sql.plan import SqlColumn, TablePlan

    Condition = sa.ColumnElement[bool] | None

__all__ = ["conditions", "first_rows"]

_MAX_VALUES: Final = 5000
"""Longer IN lists cost the server more than they spare; the bounds that come with them are sent."""
_BYTE_ORDER: Final = {"postgresql": "C", "sqlite": "BINARY"}
"""Collations that compare texts as DuckDB does."""
_COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
_PYTHON: Final[dict[str, tuple[type, ...]]] = {
    "bool": (bool,),
    "decimal128": (Decimal,),
    "date32": (dt.date,),
    "time64": (dt.time,),
    "timestamp": (dt.datetime,),
    "float32": (float,),
    "float64": (float,),
    "utf8": (str,),
    **dict.fromkeys(("int16", "int32", "int64", "uint64"), (int,)),
}


def conditions(plan: TablePlan, filters: fl.PushdownFilters, dialect: str) -> list[sa.ColumnElement[bool]]:
    """For WHERE, one per filtered column at most."""
    found = []
    for node in filters:
        column = plan.by_name.get(node.column_name)
        condition = None if column is None else _condition(node, _Compared(plan, column, dialect))
        if condition is not None:
            found.append(condition)
    return found


class _Compared:
    """One column as it takes part in conditions."""

    __slots__ = ("column", "dialect", "expression", "kind", "type")

    def __init__(self, plan: TablePlan, column: SqlColumn, dialect: str) -> None:
        self.column = column
        self.dialect = dialect
        plain = column.form in (PLAIN, UUID)
        self.expression = plan.table.c[column.source] if plain else plan.read(column.name)
        self.kind = type_named(column.type).kind
        self.type = self.expression.type

    def literal(self, value: Any) -> Any:
        """None for a value that cannot be said so that everybody means the same."""
        import sqlalchemy as sa

        if not isinstance(value, _PYTHON.get(self.kind, ())) or not self._is_exact(value):
            return None
        return sa.literal(value, self.type)

    def _is_exact(self, value: Any) -> bool:
        if self.dialect == "sqlite" and self.kind in ("bool", "date32", "time64", "timestamp"):
            return False  # SQLite stores them as numbers and texts of more than one form
        if self.kind in ("float32", "float64"):
            return math.isfinite(value) and (self.kind == "float64" or self.dialect == "postgresql")
        if self.column.form == UUID:
            try:
                return bool(str(Uuid(value)) == value)
            except ValueError:
                return False
        return self.kind != "utf8" or (value != "" and "\0" not in value)

    def in_byte_order(self) -> sa.ColumnElement[Any] | None:
        """For comparisons other than ``=``; None where the database would follow another order."""
        if self.kind != "utf8":
            return self.expression
        collation = _BYTE_ORDER.get(self.dialect)
        if collation is None or self.column.form not in (PLAIN, TEXT, PADDED):
            return None
        return self.expression.collate(collation)


def _condition(node: fl.Filter, compared: _Compared) -> Condition:
    import sqlalchemy as sa

    if isinstance(node, fl.ConstantFilter):
        return _comparison(node, compared)
    if isinstance(node, fl.IsNullFilter):
        return compared.expression.is_(None)
    if isinstance(node, fl.IsNotNullFilter):
        return compared.expression.is_not(None)
    if isinstance(node, fl.InFilter):
        if len(node) > _MAX_VALUES:
            return None
        literals = [compared.literal(value) for value in node.values if value is not None]
        return compared.expression.in_(literals) if all(one is not None for one in literals) else None
    if isinstance(node, (fl.AndFilter, fl.OrFilter)):
        parts = [_condition(child, compared) for child in node.children]
        known = [part for part in parts if part is not None]
        if isinstance(node, fl.AndFilter):
            return sa.and_(*known) if known else None
        return sa.or_(*known) if known and len(known) == len(parts) else None
    return None


def _comparison(node: fl.ConstantFilter, compared: _Compared) -> Condition:
    literal = compared.literal(node.value)
    if literal is None:
        return None
    if node.op == "eq":
        return compared.expression == literal  # type: ignore[no-any-return]
    expression = compared.in_byte_order()
    if expression is None or compared.column.form == UUID:
        return None
    compare = _COMPARISONS.get(node.op)
    return None if compare is None else compare(expression, literal)


def first_rows(plan: TablePlan, hint: OrderHint | None, dialect: str, statement: sa.Select[Any]) -> sa.Select[Any]:
    """The statement for the first rows of an order only, together with all that are equal to the last of them.

    DuckDB sorts by further columns, and limits, by itself.
    """
    if hint is None or hint.limit is None or dialect != "postgresql":
        return statement
    column = plan.by_name.get(hint.column)
    if column is None or column.form not in (PLAIN, DOUBLE, TEXT, PADDED):
        return statement
    key = _Compared(plan, column, dialect).in_byte_order()
    if key is None:
        return statement
    key = key.desc() if hint.direction == "DESC" else key.asc()
    key = key.nulls_first() if hint.null_order == "NULLS_FIRST" else key.nulls_last()
    return statement.order_by(key).fetch(hint.limit, with_ties=True)
