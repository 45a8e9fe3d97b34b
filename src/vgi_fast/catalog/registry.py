"""The one registry: every object by (catalog, schema, kind, name), for listing, lookup and dispatch."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.catalog.descriptors import Catalog, CatalogSchema
from vgi_fast.catalog.interface import CatalogInterface
from vgi_fast.catalog.readonly import ReadOnlyCatalogInterface
from vgi_fast.errors import ArgumentError, DefinitionError
from vgi_fast.functions.annotations import ARROW, ARROW_SCALAR, NUMPY
from vgi_fast.functions.spec import FunctionSpec, attached_specs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vgi_fast.functions.over_tables.copying import CopyFromSpec, CopyToSpec

__all__ = ["Registry", "specs_of"]

# Kinds that a bind's function_type may mean. In-out, buffering and COPY functions arrive as TABLE.
_KINDS: Final = {
    "SCALAR": ("SCALAR_FUNCTION",),
    "TABLE": ("TABLE_FUNCTION",),
    "TABLE_BUFFERING": ("TABLE_FUNCTION",),
    "AGGREGATE": ("AGGREGATE_FUNCTION",),
}

_COUNT_KEYS: Final = {
    "TABLE": "table",
    "VIEW": "view",
    "SCALAR_FUNCTION": "scalar_function",
    "TABLE_FUNCTION": "table_function",
    "AGGREGATE_FUNCTION": "aggregate_function",
    "SCALAR_MACRO": "macro",
    "TABLE_MACRO": "macro",
    "INDEX": "index",
}

_FUNCTIONS: Final = "vgi_fast.functions."
_CLASS_SPECS: Final = (
    ("scalar", "ScalarFunction", "scalar", "class_spec"),
    ("table", "TableFunctionGenerator", "table", "class_spec"),
    ("aggregates.declaration", "AggregateFunction", "aggregates.declared", "class_spec"),
    ("over_tables.row_transform", "RowTransformFunction", "over_tables.row_transform", "row_transform_class_spec"),
    ("over_tables.inout", "TableInOutGenerator", "over_tables.inout", "in_out_class_spec"),
    ("over_tables.inout", "TableInOutFunction", "over_tables.inout", "in_out_class_spec"),
    ("over_tables.buffering", "TableBufferingFunction", "over_tables.buffering", "buffering_class_spec"),
    ("over_tables.copying", "CopyFromFunction", "over_tables.copying", "copy_from_class_spec"),
    ("over_tables.copying", "CopyToFunction", "over_tables.copying", "copy_to_class_spec"),
    ("exchange", "TableWriteFunction", "exchange", "class_spec"),
)
"""The bases of function classes, and what makes specs of those derived: modules and names, as a worker imports the
kinds that it has."""

Key = tuple[str, str, str, str]


class Registry:
    """Names of catalogs are exact, names of schemas without case; names of functions exact, of other objects not."""

    def __init__(self) -> None:
        self.catalogs: dict[str, Catalog] = {}
        self.interfaces: dict[str, CatalogInterface] = {}
        self._objects: dict[Key, list[Any]] = {}
        self._unlisted: dict[Key, list[FunctionSpec]] = {}
        """Functions that only tables use: they can be called, but are not listed."""
        self._time_travel: dict[str, bool] = {}

    def add_catalog(self, source: Catalog | CatalogInterface) -> None:
        if not isinstance(source.catalog if isinstance(source, CatalogInterface) else source, Catalog):
            raise DefinitionError(f"expected a Catalog or a CatalogInterface over one, got {source!r}")
        interface = source if isinstance(source, CatalogInterface) else ReadOnlyCatalogInterface(source)
        catalog = interface.catalog
        if catalog.name in self.catalogs:
            raise DefinitionError(f"duplicate catalog name '{catalog.name}'")
        self.catalogs[catalog.name] = catalog
        self.interfaces[catalog.name] = interface
        interface.registry = self
        for schema in list(catalog.schemas):
            self._add_schema(catalog, schema)
        for listed in catalog.functions:
            for spec in specs_of(listed):
                self.add(catalog, spec.options.schema or catalog.default_schema, spec)

    def _add_schema(self, catalog: Catalog, schema: CatalogSchema) -> None:
        for source in schema.functions:
            for spec in specs_of(source):
                if spec.options.schema is not None and spec.options.schema.lower() != schema.name.lower():
                    raise DefinitionError(
                        f"{spec.where} says schema '{spec.options.schema}' but is listed in '{schema.name}'"
                    )
                self.add(catalog, schema.name, spec)
        for described in (*schema.tables, *schema.views, *schema.macros, *schema.indexes):
            self.add(catalog, schema.name, described)

    def add(self, catalog: Catalog, schema: str, described: Any) -> None:
        """A function of an equal name and kind is a further overload; a table may have one form per data version."""
        owner = catalog.schema(schema)
        if isinstance(described, FunctionSpec):
            key = (catalog.name, owner.name.lower(), described.object_type, described.name)
            if any(known is described for known in self._objects.get(key, ())):
                raise DefinitionError(f"{described.where} is registered twice in '{catalog.name}.{owner.name}'")
        else:
            kind = object_kind(described)
            key = (catalog.name, owner.name.lower(), kind, described.name.lower())
            for known in self._objects.get(key, ()):
                if _overlap(known.versions, described.versions):
                    noun = kind.replace("_", " ").lower()
                    raise DefinitionError(f"Duplicate {noun} '{described.name}' in schema '{owner.name}'")
        self._objects.setdefault(key, []).append(described)
        self._time_travel.clear()
        if key[2] == "TABLE":
            for call in described.functions():
                if call.spec is not None and call.spec.listed_with_table:
                    beside = (catalog.name, owner.name.lower(), call.spec.object_type, call.spec.name)
                    if call.spec not in self._objects.get(beside, ()):
                        self.add(catalog, owner.name, call.spec)

    def check(self) -> None:
        """What can only be done when everything is registered."""
        for catalog in self.catalogs.values():
            for name in catalog.global_functions:
                self.global_function(catalog, name)
            self.copy_formats(catalog.name)
        self._find_unlisted()

    def _find_unlisted(self) -> None:
        """The functions of a table can be called even where nobody lists them."""
        self._unlisted.clear()
        tables = [(key, one) for key, found in self._objects.items() if key[2] == "TABLE" for one in found]
        if not tables:
            return
        known = {(key[0], id(one)) for key, found in self._objects.items() for one in found}
        for (catalog, schema, _, _), described in tables:
            for call in described.functions():
                spec = call.spec
                if spec is None or (catalog, id(spec)) in known:
                    continue
                known.add((catalog, id(spec)))
                self._unlisted.setdefault((catalog, schema, spec.object_type, spec.name), []).append(spec)

    def delivers_numpy(self) -> bool:
        """Whether any scalar function or aggregate receives NumPy arrays."""
        return any(
            column.form == NUMPY
            for (_, _, kind, _), overloads in self._objects.items()
            if kind in ("SCALAR_FUNCTION", "AGGREGATE_FUNCTION")
            for spec in overloads
            for column in spec.signature.columns
        )

    def delivers_arrow(self) -> bool:
        """Whether any function receives or declares something of pyarrow."""
        return any(
            parameter.form in (ARROW, ARROW_SCALAR)
            for (_, _, kind, _), overloads in self._objects.items()
            if kind.endswith("_FUNCTION")
            for spec in overloads
            for parameter in spec.signature.parameters
        )

    def copy_formats(self, catalog: str) -> dict[str, list[CopyFromSpec | CopyToSpec]]:
        """Readers and writers by format: at most one for each direction, under one name."""
        found: dict[str, list[CopyFromSpec | CopyToSpec]] = {}
        copying: Any = sys.modules.get(f"{_FUNCTIONS}over_tables.copying")
        if copying is None:
            return found
        for (in_catalog, _, kind, _), overloads in self._objects.items():
            for spec in overloads if kind == "TABLE_FUNCTION" and in_catalog == catalog else ():
                if isinstance(spec, (copying.CopyFromSpec, copying.CopyToSpec)):
                    found.setdefault(spec.format_name.lower(), []).append(spec)
        for format_name, specs in found.items():
            if len({spec.direction for spec in specs}) != len(specs) or len({spec.name for spec in specs}) != 1:
                raise DefinitionError(
                    f"Catalog '{catalog}': format '{format_name}' has {', '.join(spec.where for spec in specs)}",
                    hint="a format has one reader and one writer at most, which share the name of their functions",
                )
        return found

    def interface(self, name: str) -> CatalogInterface:
        """Who answers for an ATTACH of that name."""
        found = self.interfaces.get(name)
        if found is None:
            found = next((one for one in self.interfaces.values() if one.accepts(name)), None)
        if found is None:
            raise ArgumentError(
                f"No worker handles catalog '{name}'", detail=f"Available catalogs: {list(self.catalogs)}"
            )
        return found

    def listing(self, catalog: str, schema: str, kind: str, version: str | None = None) -> Iterator[Any]:
        """Objects in the order of registration, overloads side by side."""
        wanted = schema.lower()
        for (in_catalog, in_schema, of_kind, _), found in self._objects.items():
            if in_catalog == catalog and in_schema == wanted and of_kind == kind:
                yield from (one for one in found if _in_version(one, version))

    def get(self, catalog: str, schema: str, kind: str, name: str, version: str | None = None) -> Any:
        """The object of that name; None when there is none. Not for functions, which may be overloaded."""
        found = self._objects.get((catalog, schema.lower(), kind, name.lower()), ())
        return next((one for one in found if _in_version(one, version)), None)

    def counts(self, catalog: str, schema: str, version: str | None = None) -> dict[str, int]:
        """Number of objects by key of ``estimated_object_count``."""
        counts = dict.fromkeys(_COUNT_KEYS.values(), 0)
        wanted = schema.lower()
        for (in_catalog, in_schema, kind, _), found in self._objects.items():
            if in_catalog == catalog and in_schema == wanted:
                counts[_COUNT_KEYS[kind]] += sum(_in_version(one, version) for one in found)
        return counts

    def has_time_travel(self, catalog: str) -> bool:
        """Whether any declared table of the catalog takes AT."""
        known = self._time_travel.get(catalog)
        if known is None:
            known = self._time_travel[catalog] = any(
                one.at is not None
                for (in_catalog, _, kind, _), found in self._objects.items()
                if in_catalog == catalog and kind == "TABLE"
                for one in found
            )
        return known

    def stateful(self, catalog: str) -> Iterator[FunctionSpec]:
        """Functions of the catalog on whose state its listings depend."""
        for (in_catalog, _, kind, _), found in self._objects.items():
            if kind == "TABLE_FUNCTION" and in_catalog == catalog:
                yield from (one for one in found if one.stateful)

    def global_function(self, catalog: Catalog, name: str) -> tuple[str, list[FunctionSpec]]:
        """Schema and overloads of a function to publish globally; it is in exactly one schema."""
        found = {
            schema: overloads
            for (in_catalog, schema, kind, in_name), overloads in self._objects.items()
            if in_catalog == catalog.name and in_name == name and kind.endswith("_FUNCTION")
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
                key = (catalog, schema.lower(), kind, name)
                found = self._objects.get(key) or self._unlisted.get(key)
                if found is not None:
                    return found
        matches: dict[str, list[FunctionSpec]] = {}
        for known in (self._objects, self._unlisted):
            for (in_catalog, in_schema, kind, in_name), overloads in known.items():
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
        here = [key for key in (*self._objects, *self._unlisted) if catalog in (None, key[0]) and key[2] in kinds]
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
    if isinstance(source, type) and (spec := _class_spec(source)) is not None:
        return (spec,)
    found = attached_specs(source)
    if found:
        return found
    shown = getattr(source, "__name__", None) or repr(source)
    raise DefinitionError(
        f"{shown} is not a function of a worker",
        hint="decorate it with @scalar, @table, @aggregate, @table_in_out, @row_transform or @table_buffering, or "
        f"derive a class from one of {', '.join(base for _, base, _, _ in _CLASS_SPECS)}",
    )


def _class_spec(source: type) -> FunctionSpec | None:
    for module, base, maker, make in _CLASS_SPECS:
        # A class cannot be derived from one whose module nobody has imported.
        loaded = sys.modules.get(_FUNCTIONS + module)
        if loaded is not None and issubclass(source, getattr(loaded, base)):
            spec: FunctionSpec = getattr(import_module(_FUNCTIONS + maker), make)(source)
            return spec
    return None


def is_object(source: Any) -> bool:
    """A table, view, macro or index; not a function."""
    return not isinstance(source, FunctionSpec) and getattr(source, "object_type", None) in _COUNT_KEYS


def object_kind(described: Any) -> str:
    """Member of ``records.OBJECT_TYPES`` of a descriptor that is not a function."""
    kind = getattr(described, "object_type", None)
    if kind not in _COUNT_KEYS:
        raise DefinitionError(f"expected a Table, View, Macro or Index, got {described!r}")
    return str(kind)


def _in_version(described: Any, version: str | None) -> bool:
    versions = getattr(described, "versions", None)
    return version is None or versions is None or version in versions


def _overlap(one: frozenset[str] | None, other: frozenset[str] | None) -> bool:
    return one is None or other is None or bool(one & other)


def _similar(name: str, available: list[str]) -> str | None:
    from difflib import get_close_matches

    close = get_close_matches(name, available, 3)
    return f"did you mean {', '.join(repr(one) for one in close)}?" if close else None
