"""Macros of a catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from vgi_fast.errors import DefinitionError

__all__ = ["Macro"]


class Macro:
    """A SQL macro: an expression, or with ``table=True`` a query. Parameters with defaults can be left out."""

    __slots__ = (
        "comment",
        "default_types",
        "defaults",
        "definition",
        "docs",
        "name",
        "parameters",
        "table",
        "tags",
        "versions",
    )

    def __init__(
        self,
        name: str,
        definition: str,
        parameters: Iterable[str] = (),
        *,
        table: bool = False,
        defaults: Mapping[str, Any] | None = None,
        docs: Mapping[str, str] | None = None,
        comment: str | None = None,
        tags: Mapping[str, str] | None = None,
        versions: Iterable[str] | None = None,
    ) -> None:
        if not name or not definition:
            raise DefinitionError(f"a macro needs a name and a definition, got {name!r} and {definition!r}")
        self.name = name
        self.definition = definition
        self.parameters = list(parameters)
        self.table = table
        self.defaults = dict(defaults or {})
        self.docs = dict(docs or {})
        self.comment = comment
        self.tags = {str(key): str(value) for key, value in (tags or {}).items()}
        self.versions = None if versions is None else frozenset(versions)
        for option, names in (("defaults", self.defaults), ("docs", self.docs)):
            for parameter in names:
                if parameter not in self.parameters:
                    raise DefinitionError(
                        f"macro '{name}': {option} names {parameter!r}, but its parameters are {self.parameters}"
                    )
        self.default_types = {
            key: _default_type(value, f"macro '{name}', default of '{key}'") for key, value in self.defaults.items()
        }

    @property
    def object_type(self) -> str:
        return "TABLE_MACRO" if self.table else "SCALAR_MACRO"

    def __repr__(self) -> str:
        return f"Macro({self.name!r}, {self.parameters})"


_MACRO_TYPES: Final = {bool: "bool", int: "int64", float: "float64", str: "utf8"}


def _default_type(value: Any, where: str) -> str:
    text = _MACRO_TYPES.get(type(value))
    if text is None:
        raise DefinitionError(f"{where}: {value!r} is not a bool, int, float or str")
    return text
