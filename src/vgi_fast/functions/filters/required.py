"""Filters that a query must have on a table (section 7 of the pushdown document). DuckDB's extension enforces them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgi_fast.errors import DefinitionError

if TYPE_CHECKING:
    from vgi_fast.wire.arrow import DataType, Schema

__all__ = ["required_filters"]


def required_filters(given: Any, columns: Schema, where: str) -> list[list[str]]:
    """Groups, each of which needs a filter on one of its members; a member alone is a group of its own.

    Members are columns or dotted paths into structs.

    >>> from vgi_fast import Schema
    >>> required_filters(["day", ["s.a", "s.b"]], Schema.parse("day: date32, s: struct<a: int64, b: utf8>"), "t")
    [['day'], ['s.a', 's.b']]
    """
    if given is None:
        return []
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        raise DefinitionError(f"{where}: required_filters must be a list of columns or of lists of them, got {given!r}")
    groups = []
    for group in given:
        members = list(group) if isinstance(group, (list, tuple)) else [group]
        if not members:
            raise DefinitionError(f"{where}: an empty group in required_filters could never be satisfied")
        for member in members:
            _check(member, columns, where)
        groups.append([str(member) for member in members])
    return groups


def _check(path: Any, columns: Schema, where: str) -> None:
    if not isinstance(path, str):
        raise DefinitionError(f"{where}: required_filters names columns, got {path!r}")
    if path in columns.names:
        return
    name, *members = path.split(".")
    if name not in columns.names:
        raise DefinitionError(f"{where}: required filter '{path}' names no column; there are {columns.names}")
    type: DataType = columns[name].type
    for member in members:
        found = {child.name: child.type for child in type.children} if type.kind == "struct" else {}
        if member not in found:
            raise DefinitionError(f"{where}: required filter '{path}' names no member '{member}' of {type}")
        type = found[member]
