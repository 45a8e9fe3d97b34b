"""The one registry: every function by (catalog, schema, kind, name), for listing, lookup and dispatch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.catalog.descriptors import Catalog
from vgi_fast.errors import ArgumentError, DefinitionError
from vgi_fast.functions import aggregate, aggregate_declared, scalar, table
from vgi_fast.functions.annotations import NUMPY
from vgi_fast.functions.spec import FunctionSpec, attached_specs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Registry", "specs_of"]

# Kinds that a bind's function_type may mean. In-out, buffering and COPY functions arrive as TABLE.
_KINDS: Final = {"SCALAR": ("scalar",), "TABLE": ("table",), "TABLE_BUFFERING": ("table",), "AGGREGATE": ("aggregate",)}

_COUNT_KEYS: Final = {"scalar": "scalar_function", "table": "table_function", "aggregate": "aggregate_function"}

Key = tuple[str, str, str, str]


class Registry:
    """Names of catalogs are exact, names of schemas without case, names of functions exact."""

    def __init__(self) -> None:
        self.catalogs: dict[str, Catalog] = {}
        self._functions: dict[Key, list[FunctionSpec]] = {}

    def add_catalog(self, catalog: Catalog) -> None:
        if catalog.name in self.catalogs:
            raise DefinitionError(f"duplicate catalog name '{catalog.name}'")
        self.catalogs[catalog.name] = catalog
        for schema in list(catalog.schemas):
            for source in schema.functions:
                for spec in specs_of(source):
                    if spec.options.schema is not None and spec.options.schema.lower() != schema.name.lower():
                        raise DefinitionError(
                            f"{spec.where} says schema '{spec.options.schema}' but is listed in '{schema.name}'"
                        )
                    self.add(catalog, schema.name, spec)
        for source in catalog.functions:
            for spec in specs_of(source):
                self.add(catalog, spec.options.schema or catalog.default_schema, spec)

    def add(self, catalog: Catalog, schema: str, spec: FunctionSpec) -> None:
        """An equal name of the same kind in the schema is a further overload."""
        owner = catalog.schema(schema)
        overloads = self._functions.setdefault((catalog.name, owner.name.lower(), spec.kind, spec.name), [])
        if any(known is spec for known in overloads):
            raise DefinitionError(f"{spec.where} is registered twice in '{catalog.name}.{owner.name}'")
        overloads.append(spec)

    def check(self) -> None:
        """What can only be checked when everything is registered."""
        for catalog in self.catalogs.values():
            for name in catalog.global_functions:
                self.global_function(catalog, name)

    def delivers_numpy(self) -> bool:
        """Whether any scalar function or aggregate receives NumPy arrays."""
        return any(
            column.form == NUMPY
            for (_, _, kind, _), overloads in self._functions.items()
            if kind in ("scalar", "aggregate")
            for spec in overloads
            for column in spec.signature.columns
        )

    def in_schema(self, catalog: str, schema: str, kind: str | None = None) -> Iterator[FunctionSpec]:
        """Functions in the order of registration, overloads side by side."""
        wanted = schema.lower()
        for (in_catalog, in_schema, of_kind, _), overloads in self._functions.items():
            if in_catalog == catalog and in_schema == wanted and kind in (None, of_kind):
                yield from overloads

    def counts(self, catalog: str, schema: str) -> dict[str, int]:
        """Number of functions by key of ``estimated_object_count``."""
        counts = dict.fromkeys(_COUNT_KEYS.values(), 0)
        for spec in self.in_schema(catalog, schema):
            counts[_COUNT_KEYS[spec.kind]] += 1
        return counts

    def global_function(self, catalog: Catalog, name: str) -> tuple[str, list[FunctionSpec]]:
        """Schema and overloads of a function to publish globally; it is in exactly one schema."""
        found = {
            schema: overloads
            for (in_catalog, schema, _, in_name), overloads in self._functions.items()
            if in_catalog == catalog.name and in_name == name
        }
        if len(found) != 1:
            raise DefinitionError(
                f"Catalog '{catalog.name}': global function '{name}' must be in exactly one schema, "
                f"it is in {sorted(found)}"
            )
        ((schema, overloads),) = found.items()
        return catalog.schema(schema).name, overloads

    def find(self, catalog: str | None, schema: str | None, function_type: str, name: str) -> list[FunctionSpec]:
        """Overloads meant by a bind (step 1 of section 4.1 of the function document).

        No schema means every schema, no catalog every catalog; what is found in several is ambiguous
        between catalogs and competes as overloads between schemas.
        """
        kinds = _KINDS.get(function_type, ())
        if catalog is not None and schema is not None:  # the usual call, without a search
            for kind in kinds:
                found = self._functions.get((catalog, schema.lower(), kind, name))
                if found is not None:
                    return found
        matches: dict[str, list[FunctionSpec]] = {}
        for (in_catalog, in_schema, kind, in_name), overloads in self._functions.items():
            if (
                in_name == name
                and kind in kinds
                and catalog in (None, in_catalog)
                and (schema is None or schema.lower() == in_schema)
            ):
                matches.setdefault(in_catalog, []).extend(overloads)
        if len(matches) == 1:
            return next(iter(matches.values()))
        if matches:
            raise ArgumentError(
                f"Cannot route '{name}': catalogs {sorted(matches)} all have it, and the call names none"
            )
        raise self._unknown(catalog, schema, kinds, name)

    def _unknown(self, catalog: str | None, schema: str | None, kinds: Iterable[str], name: str) -> ArgumentError:
        here = [key for key in self._functions if catalog in (None, key[0]) and key[2] in kinds]
        elsewhere = sorted({key[1] for key in here if key[3] == name})
        if schema is not None and elsewhere:
            return ArgumentError(
                f"Function '{name}' is not registered in schema '{schema}'. It is available in: {elsewhere}"
            )
        available = sorted({key[3] for key in here})
        return ArgumentError(
            f"Unknown function: '{name}'", detail=f"Available functions: {available}", hint=_similar(name, available)
        )


def specs_of(source: Any) -> tuple[FunctionSpec, ...]:
    """Specs of anything that can be listed as a function: decorated functions, classes, specs."""
    if isinstance(source, FunctionSpec):
        return (source,)
    if isinstance(source, type):
        if issubclass(source, scalar.ScalarFunction):
            return (scalar.class_spec(source),)
        if issubclass(source, table.TableFunctionGenerator):
            return (table.class_spec(source),)
        if issubclass(source, aggregate.AggregateFunction):
            return (aggregate_declared.class_spec(source),)
    found = attached_specs(source)
    if found:
        return found
    shown = getattr(source, "__name__", None) or repr(source)
    raise DefinitionError(
        f"{shown} is not a function of a worker",
        hint="decorate it with @scalar, @table or @aggregate, or derive a class from ScalarFunction, "
        "TableFunctionGenerator or AggregateFunction",
    )


def _similar(name: str, available: list[str]) -> str | None:
    from difflib import get_close_matches

    close = get_close_matches(name, available, 3)
    return f"did you mean {', '.join(repr(one) for one in close)}?" if close else None
