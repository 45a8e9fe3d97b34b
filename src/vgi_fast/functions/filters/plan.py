"""Filters bound to the columns of a stream, and what each tick changes about them (sections 1.3, 2 and 4).

Columns are found by name: positions in a blob follow DuckDB's order of use, which for most functions is not the
order in which batches are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import FilterError, VgiError
from vgi_fast.functions.filters import nodes as fl
from vgi_fast.functions.filters.decoding import decode_dynamic
from vgi_fast.functions.filters.expression_plan import expression_step
from vgi_fast.functions.filters.ranges import comparisons, key_array, storage
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import Field, FilterPlan, KeySet, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vgi_fast.functions.filters.ranges import Path, Spec, Test
    from vgi_fast.wire.arrow import RecordBatch

__all__ = ["StreamFilters", "bind_filters", "filter_step"]

_ALL: Final[Spec] = ("all",)
_NONE: Final[Spec] = ("none",)
_MAX_SETS: Final = 32
_MAX_RANGES: Final = 64
"""Keys that stand for a range of stored values each are compared one by one, up to so many."""
_ORDER: Final = {"none": 0, "null": 1, "range": 2, "float": 3, "in": 5, "text": 6, "or": 7, "box": 8, "list": 9}
"""Cheap tests first: the others then see fewer rows."""

_sets: dict[tuple[Any, str, str], KeySet] = {}
"""Hashed keys by the bytes that they came in: the streams of a scan, and scans that repeat, share them."""


def bind_filters(filters: fl.PushdownFilters, schema: Schema) -> FilterPlan | None:
    """None when every row passes."""
    step = filter_step(filters, schema)
    return None if step == _ALL else FilterPlan(schema, step)


def filter_step(filters: fl.PushdownFilters, schema: Schema) -> Spec:
    """The plan's step for all filters together. A dynamic one that does not fit is left out."""
    return _conjunction([_top(node, schema, filters.is_dynamic) for node in filters.filters])


def _top(node: fl.Filter, schema: Schema, optional: bool) -> Spec:
    try:
        position = _position(node, schema)
        return _step(node, (position,), schema.fields[position])
    except VgiError:
        if optional:
            return _ALL
        raise


def _position(node: fl.Filter, schema: Schema) -> int:
    matches = [i for i, field in enumerate(schema.fields) if field.name == node.column_name]
    if len(matches) == 1:
        return matches[0]
    if not matches and node.column_name == keys.ROW_ID_COLUMN_NAME:
        matches = [i for i, field in enumerate(schema.fields) if keys.ROW_ID in field.metadata]
    if not matches:
        raise FilterError(f"a filter on column '{node.column_name}', but there is only ({schema})")
    return node.column_index if node.column_index in matches else matches[0]


def _step(node: fl.Filter, path: Path, field: Field) -> Spec:
    if isinstance(node, fl.ConstantFilter):
        return _conjunction(_constants(path, field, [node]))
    if isinstance(node, fl.AndFilter):
        return _and(node, path, field)
    if isinstance(node, fl.OrFilter):
        return _disjunction([_step(child, path, field) for child in node.children])
    if isinstance(node, (fl.IsNullFilter, fl.IsNotNullFilter)):
        return ("null", path, isinstance(node, fl.IsNullFilter))
    if isinstance(node, fl.InFilter):
        return _in(node, path, field)
    if isinstance(node, fl.StructFilter):
        index, member = _member(node, field)
        return _step(node.child_filter, (*path, index), member)
    if isinstance(node, fl.ExpressionFilter):
        return expression_step(node, path, field)
    raise FilterError(f"{type(node).__name__} cannot be evaluated")


def _constants(path: Path, field: Field, nodes: list[fl.ConstantFilter]) -> list[Spec]:
    # An operator that is not known stands where DuckDB tests again.
    tests: list[Test] = [(node.op, node.constant) for node in nodes if node.op != "unknown"]
    return comparisons(path, storage(field), tests) if tests else [_ALL]


def _and(node: fl.AndFilter, path: Path, field: Field) -> Spec:
    """Comparisons at any depth of AND become one range."""
    constants: list[fl.ConstantFilter] = []
    steps: list[Spec] = []
    pending: list[fl.Filter] = [node]
    while pending:
        each = pending.pop()
        if type(each) is fl.AndFilter:
            pending.extend(each.children)
        elif type(each) is fl.ConstantFilter:
            constants.append(each)
        else:
            steps.append(_step(each, path, field))
    return _conjunction(_constants(path, field, constants) + steps)


def _conjunction(steps: Iterable[Spec]) -> Spec:
    kept: list[Spec] = []
    for step in steps:
        if step[0] == "and":
            kept += step[1]
        elif step != _ALL:
            kept.append(step)
    if not kept:
        return _ALL
    if _NONE in kept:
        return _NONE
    if len(kept) == 1:
        return kept[0]
    return ("and", sorted(kept, key=lambda step: _ORDER.get(step[0], 10)))


def _disjunction(steps: list[Spec]) -> Spec:
    kept = [step for step in steps if step != _NONE]
    if _ALL in kept:
        return _ALL
    if len(kept) == 1:
        return kept[0]
    return ("or", kept) if kept else _NONE


def _member(node: fl.StructFilter, field: Field) -> tuple[int, Field]:
    children = field.type.children if field.type.kind == "struct" else ()
    if node.child_name:
        for index, child in enumerate(children):
            if child.name == node.child_name:
                return index, child
    if not 0 <= node.child_index < len(children):
        raise FilterError(f"a filter on member '{node.child_name}' of column '{node.column_name}', a {field.type}")
    return node.child_index, children[node.child_index]


def _in(node: fl.InFilter, path: Path, field: Field) -> Spec:
    column = storage(field)
    if column.kind == "null":
        return _NONE
    if column.kind in ("bool", "bool8") or column.tick < storage(node.field).tick:
        if len(node) > _MAX_RANGES:
            return _ALL  # joins and DuckDB itself test again
        tests = [fl.Constant(node.array.slice(i, 1), node.field) for i in range(len(node)) if node.array[i] is not None]
        return _disjunction([comparisons(path, column, [("eq", test)])[0] for test in tests])
    known = (node.identity, str(column.type), column.kind)
    found = _sets.get(known) if node.identity is not None else None
    if found is None:
        found = KeySet(key_array(column, node.array, node.field))
        if node.identity is not None:
            if len(_sets) >= _MAX_SETS:
                _sets.clear()
            _sets[known] = found
    return ("in", path, found) if len(found) else _NONE


def _leaves(step: Spec) -> list[Spec]:
    if step[0] in ("and", "or"):
        return [leaf for child in step[1] for leaf in _leaves(child)]
    return [] if step[0] in ("all", "none", "call") else [step]


def _shape(step: Spec) -> Any:
    """What two steps have in common when the constants of one can replace those of the other."""
    if step[0] in ("and", "or"):
        return (step[0], *[_shape(child) for child in step[1]])
    if step[0] == "in":
        return (*step[:2], str(step[2].type))
    return step[: {"range": 4, "text": 3}.get(step[0], 2)] if step[0] in ("range", "text", "float") else step


class StreamFilters:
    """The filters of one stream: static ones, and whatever the last tick brought.

    ``current`` is what an author sees. With ``applies`` false, batches pass unchanged.
    """

    __slots__ = ("_dynamic_step", "_last", "_log", "_plan", "_static_step", "applies", "current", "schema", "static")

    def __init__(
        self, static: fl.PushdownFilters, schema: Schema, applies: bool, log: Callable[[str], None] | None = None
    ) -> None:
        self.static = static
        self.current = static
        self.schema = schema
        self.applies = applies
        self._static_step = filter_step(static, schema) if applies else _ALL
        self._dynamic_step = _ALL
        self._plan = self._made()
        self._last: bytes | None = None
        self._log = log

    def _made(self) -> FilterPlan | None:
        step = self._static_step
        if self._dynamic_step != _ALL:
            # Last, so that its leaves are the last ones.
            step = ("and", [step, self._dynamic_step]) if step != _ALL else self._dynamic_step
        return None if step == _ALL else FilterPlan(self.schema, step)

    def tick(self, value: bytes | None) -> None:
        """Dynamic filters are optional: whatever is wrong with them, the others remain."""
        if value is None or value == self._last:
            return
        self._last = value
        try:
            dynamic = decode_dynamic(value)
            step = filter_step(dynamic, self.schema) if self.applies else _ALL
            if step != self._dynamic_step:
                self._replace(step)
        except (VgiError, ValueError, TypeError, OverflowError) as error:
            if self._log is not None:
                self._log(f"a dynamic filter is ignored: {error}")
            return
        self.current = self.static & dynamic

    def _replace(self, step: Spec) -> None:
        before, self._dynamic_step = self._dynamic_step, step
        if self._plan is not None and before != _ALL and _shape(before) == _shape(step):
            self._plan.patch(_leaves(step), len(_leaves(self._static_step)))
        else:
            self._plan = self._made()

    def apply(self, batch: RecordBatch) -> RecordBatch:
        plan = self._plan
        return batch if plan is None else plan.apply(batch)
