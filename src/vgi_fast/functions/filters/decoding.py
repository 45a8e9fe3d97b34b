"""From the bytes of a filter blob to nodes (sections 1.1, 1.2, 1.8 and 3 of the pushdown document).

The bytes come from a peer: whatever is wrong with them is a ``FilterError``, and depth and size are limited
before anything is built.
"""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import FilterDeserializationError, FilterVersionError, VgiError
from vgi_fast.functions.filters import expressions as ex
from vgi_fast.functions.filters import nodes as fl
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import Array, decode_stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vgi_fast.wire.arrow import RecordBatch

__all__ = ["decode_dynamic", "decode_filters", "read_spec"]

MAX_DEPTH: Final = 100
_MAX_REMEMBERED: Final = 64

_trees: dict[str, Any] = {}
"""Parsed JSON by its text: a tightening scan repeats it with every tick."""


def decode_filters(blob: bytes | None, join_keys: Iterable[bytes | None] | None = None) -> fl.PushdownFilters:
    """The filters of an init request."""
    if not blob:
        return fl.NO_FILTERS
    text, batch = read_spec(blob)
    return build(text, batch, [key for key in join_keys or () if key])


def decode_dynamic(value: bytes) -> fl.PushdownFilters:
    """The filters of one tick: base64 of a blob without join keys."""
    try:
        blob = b64decode(value, validate=True)
    except ValueError as error:
        raise FilterDeserializationError(f"Dynamic filters are not base64: {error}") from None
    found = decode_filters(blob)
    return fl.PushdownFilters(found.filters, is_dynamic=True)


def read_spec(blob: bytes) -> tuple[str, RecordBatch]:
    """The JSON text and the batch of constants."""
    try:
        schema, batches = decode_stream(blob)
    except VgiError as error:
        raise FilterDeserializationError(f"Failed to parse filters: {error}") from error
    if not len(schema):
        raise FilterVersionError("Missing vgi_filter_version metadata")
    version = schema.fields[0].metadata.get(keys.FILTER_VERSION)
    if version is None:
        raise FilterVersionError("Missing vgi_filter_version metadata")
    if version != keys.FILTER_VERSION_1:
        raise FilterVersionError(f"Unsupported filter version: '{version.decode(errors='replace')}'")
    if len(batches) != 1 or batches[0].num_rows != 1:
        raise FilterDeserializationError(
            f"Failed to parse filters: expected one batch of one row, got {[batch.num_rows for batch in batches]}"
        )
    try:
        text = batches[0].column(0)[0]
    except VgiError as error:
        raise FilterDeserializationError(f"Failed to parse filter JSON: {error}") from error
    if not isinstance(text, str):
        raise FilterDeserializationError(f"Failed to parse filter JSON: column 0 is {schema.fields[0].type}")
    return text, batches[0]


def build(text: str, batch: RecordBatch, join_keys: list[bytes]) -> fl.PushdownFilters:
    tree = _trees.get(text)
    if tree is None:
        tree = _parse(text)
        if len(_trees) >= _MAX_REMEMBERED:
            _trees.clear()
        _trees[text] = tree
    reader = _Reader(batch, join_keys)
    try:
        nodes = [reader.node(item, 0) for item in tree]
    except FilterDeserializationError:
        raise
    except (VgiError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise _failure(f"{type(error).__name__}: {error}") from error
    return fl.PushdownFilters([node for node in nodes if node is not None])


def _parse(text: str) -> list[Any]:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FilterDeserializationError(f"Failed to parse filter JSON: {error}") from None
    if not isinstance(tree, list):
        raise _failure(f"expected an array of filters, got {type(tree).__name__}")
    return tree


def _failure(detail: str) -> FilterDeserializationError:
    return FilterDeserializationError(f"Failed to parse filters: {detail}")


def _member(item: dict[str, Any], name: str, kind: type) -> Any:
    try:
        value = item[name]
    except KeyError:
        raise _failure(f"a filter of type {item.get('type', item.get('expr_type'))!r} has no '{name}'") from None
    if type(value) is not kind:
        raise _failure(f"'{name}' is {value!r:.60}, expected {kind.__name__}")
    return value


class _Reader:
    """Builds the nodes of one blob."""

    def __init__(self, batch: RecordBatch, join_keys: list[bytes]) -> None:
        self.batch = batch
        self.join_keys = join_keys
        self._sets: dict[str, list[tuple[bytes, Array, Any]]] | None = None

    def node(self, item: Any, depth: int) -> fl.Filter | None:
        """None for a node that may be, and has to be, dropped."""
        if type(item) is not dict:
            raise _failure(f"a filter is {item!r:.60}, expected an object")
        if depth > MAX_DEPTH:
            raise _failure(f"filters nest deeper than {MAX_DEPTH} levels")
        kind = _member(item, "type", str)
        name, index = _member(item, "column_name", str), _member(item, "column_index", int)
        if kind == "constant":
            ref = _member(item, "value_ref", int)
            return fl.ConstantFilter(name, index, _op(item), self.constant(ref), ref)
        if kind in ("and", "or"):
            return self.junction(item, depth, kind, name, index)
        if kind == "is_null":
            return fl.IsNullFilter(name, index)
        if kind == "is_not_null":
            return fl.IsNotNullFilter(name, index)
        if kind == "join_keys":
            return self.join(name, index, _member(item, "keys_column", str))
        if kind == "in":
            return self.members(name, index, _member(item, "value_ref", int))
        if kind == "struct":
            child = self.node(_member(item, "child_filter", dict), depth + 1)
            child_index, child_name = _member(item, "child_index", int), _member(item, "child_name", str)
            return None if child is None else fl.StructFilter(name, index, child_index, child_name, child)
        if kind == "expression":
            return fl.ExpressionFilter(name, index, self.expression(_member(item, "expr", dict), depth + 1))
        raise _failure(f"Unknown filter type: {kind}")

    def junction(self, item: dict[str, Any], depth: int, kind: str, name: str, index: int) -> fl.Filter | None:
        given = _member(item, "children", list)
        children = [self.node(child, depth + 1) for child in given]
        kept = [child for child in children if child is not None]
        if kind == "and":
            return fl.AndFilter(name, index, kept) if kept or not given else None
        # Without one of its arms an OR would let too few rows pass.
        return fl.OrFilter(name, index, kept) if len(kept) == len(given) else None

    def constant(self, ref: int) -> fl.Constant:
        if not 0 <= ref < self.batch.num_columns - 1:
            raise _failure(f"value_ref {ref} of {self.batch.num_columns - 1} values")
        return fl.Constant(self.batch.column(ref + 1), self.batch.schema.fields[ref + 1])

    def members(self, name: str, index: int, ref: int) -> fl.Filter:
        constant = self.constant(ref)
        inner = constant.array.type.value_type
        if inner is None or constant.array.type.kind == "dictionary":
            raise _failure(f"an IN list of {constant.array.type}")
        values = constant.value
        if values is None:
            raise _failure("an IN list that is null")
        field = constant.array.type.children[0]
        return fl.InFilter(name, index, Array.from_pylist(values, inner), field)

    def join(self, name: str, index: int, keys_column: str) -> fl.Filter | None:
        """Elements of one name are taken in order of appearance; the last serves any further node."""
        if self._sets is None:
            self._sets = {}
            for blob in self.join_keys:
                column, array, field = _read_keys(blob)
                self._sets.setdefault(column, []).append((blob, array, field))
        queue = self._sets.get(keys_column)
        if not queue:
            return None
        blob, array, field = queue.pop(0) if len(queue) > 1 else queue[0]
        return fl.InFilter(name, index, array, field, identity=blob)

    def expression(self, item: Any, depth: int) -> ex.ExpressionNode:
        if type(item) is not dict:
            raise _failure(f"an expression is {item!r:.60}, expected an object")
        if depth > MAX_DEPTH:
            raise _failure(f"expressions nest deeper than {MAX_DEPTH} levels")
        kind = _member(item, "expr_type", str)
        if kind == "column_ref":
            return ex.ColumnNode()
        if kind == "constant":
            return ex.ConstantNode(self.constant(_member(item, "value_ref", int)))
        if kind == "function":
            arguments = [self.expression(child, depth + 1) for child in _member(item, "children", list)]
            return ex.FunctionNode(_member(item, "function_name", str), arguments)
        if kind == "comparison":
            op = _op(item)
            if op == "unknown":
                # DuckDB keeps nothing above the scan, and the two comparisons this may stand for are opposites.
                raise _failure("'unknown' is not a valid ComparisonOp")
            left, right = (self.expression(item.get(side), depth + 1) for side in ("left", "right"))
            return ex.ComparisonNode(op, left, right)
        if kind == "conjunction":
            word = _member(item, "conjunction_type", str)
            if word not in ("and", "or"):
                raise _failure(f"'{word}' is not a valid conjunction")
            return ex.ConjunctionNode(
                word, [self.expression(child, depth + 1) for child in _member(item, "children", list)]
            )
        raise _failure(f"Unknown expression node type: {kind}")


def _op(item: dict[str, Any]) -> str:
    op: str = _member(item, "op", str)
    if op not in fl.SYMBOLS:
        raise _failure(f"'{op}' is not a valid ComparisonOp")
    return op


def _read_keys(blob: bytes) -> tuple[str, Array, Any]:
    schema, batches = decode_stream(blob)
    if len(schema) != 1 or len(batches) != 1:
        raise _failure(f"join keys of {len(schema)} columns in {len(batches)} batches, expected one of each")
    return schema.fields[0].name, batches[0].column(0), schema.fields[0]
