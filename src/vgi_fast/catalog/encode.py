"""Descriptors to the records that announce them (section 2 of the catalog document).

Each ATTACH needs some of it, and few workers have tables: what only tables need is imported with the first one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.functions.spec import FunctionSpec
from vgi_fast.wire import keys, records
from vgi_fast.wire.arrow import Field, Schema, encode_row, type_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vgi_fast.catalog.descriptors import Catalog, CatalogSchema
    from vgi_fast.catalog.macros import Macro
    from vgi_fast.catalog.objects import Index, Table, View

UNKNOWN: Final = -1
"""Cardinality that is not known and need not be asked for."""


def item(described: Any, schema_name: str, generation: int = 1) -> bytes:
    """The record of any listed object; bytes are taken as encoded already."""
    if isinstance(described, bytes):
        return described
    if isinstance(described, FunctionSpec):
        return described.info(schema_name, generation)
    return _ENCODERS[described.object_type](described, schema_name, generation)


def items(blobs: list[bytes]) -> bytes:
    return records.ITEMS_RESPONSE.encode({"items": blobs})


def catalog_info(catalog: Catalog, generation: int = 1) -> bytes:
    return records.CATALOG_INFO.encode(
        {
            "name": catalog.name,
            "implementation_version": next(iter(catalog.implementation_versions), None),
            "data_version_spec": catalog.data_version_spec,
            "attach_option_specs": [option.encode(generation) for option in catalog.attach_options],
            "releases": [release.values() for release in catalog.releases],
            "source_url": catalog.source_url,
        },
        generation,
    )


def schema_info(schema: CatalogSchema, counts: Mapping[str, int] | None, generation: int = 1) -> bytes:
    """The attach bytes stay empty: DuckDB ignores them, and a listing is then the same for every attach."""
    return records.SCHEMA_INFO.encode(
        {
            "comment": schema.comment,
            "tags": schema.tags,
            "attach_opaque_data": b"",
            "name": schema.name,
            "estimated_object_count": None if counts is None else dict(counts),
        },
        generation,
    )


def table_info(table: Table, schema_name: str, generation: int = 1) -> bytes:
    columns = table.columns
    names = columns.names

    def indices(group: list[str]) -> list[int]:
        return [names.index(name) for name in group]

    def call(function: Any) -> bytes | None:
        return None if function is None else function.encode(generation)

    estimate, largest = _cardinality(table)
    return records.TABLE_INFO.encode(
        {
            "comment": table.comment,
            "tags": table.tags,
            "name": table.name,
            "schema_name": schema_name,
            "columns": columns.serialize(),
            "not_null_constraints": indices(table.not_null),
            "unique_constraints": [indices(group) for group in table.unique],
            "check_constraints": table.check,
            "primary_key_constraints": [indices(table.primary_key)] if table.primary_key else [],
            "foreign_key_constraints": [key.encode(schema_name, generation) for key in table.foreign_keys],
            "supports_insert": table.insert_function is not None,
            "supports_update": table.update_function is not None,
            "supports_delete": table.delete_function is not None,
            "supports_returning": table.supports_returning,
            "supports_column_statistics": table.has_statistics,
            "scan_function": call(table.scan) if table.inline_scan else None,
            "insert_function": call(table.insert_function),
            "update_function": call(table.update_function),
            "delete_function": call(table.delete_function),
            "cardinality_estimate": estimate,
            "cardinality_max": largest,
            "column_statistics": _statistics(table),
            "bind_result": _bind_result(table, generation),
            "required_filters": table.required_filters,
        },
        generation,
    )


def table_statistics(table: Table) -> bytes | None:
    known = table.known_statistics()
    if not known:
        return None
    from vgi_fast.functions.statistics import encode_statistics

    return encode_statistics(table.columns, known, table.statistics_cache_max_age_seconds)


def _cardinality(table: Table) -> tuple[int | None, int | None]:
    if table.cardinality_estimate is not None or table.cardinality_max is not None:
        return table.cardinality_estimate, table.cardinality_max
    if not table.inline_cardinality or table.scan is None:
        return None, None
    from vgi_fast.catalog.derive import scan_cardinality

    found = scan_cardinality(table.scan)
    if found is None:
        return None, None
    return (UNKNOWN if found.estimate is None else found.estimate), found.max


def _statistics(table: Table) -> bytes | None:
    """None where they have to be asked for: those that expire at once, and those that only a call can tell."""
    if table.has_statistics:
        return table_statistics(table) if table.statistics_cache_max_age_seconds != 0 else None
    spec = table.scan.spec if table.scan is not None else None
    if spec is None or spec.has_statistics:
        return None
    from vgi_fast.functions.statistics import encode_statistics

    return encode_statistics(table.columns, {})


def _bind_result(table: Table, generation: int) -> bytes | None:
    from vgi_fast.catalog.derive import has_fixed_bind

    scan = table.scan
    wanted = table.inline_scan if table.inline_bind is None else table.inline_bind
    if not wanted or scan is None or not has_fixed_bind(scan.spec):
        return None
    return records.bind_response(scan.spec.fixed_schema, generation=generation)  # type: ignore[union-attr]


def view_info(view: View, schema_name: str, generation: int = 1) -> bytes:
    return records.VIEW_INFO.encode(
        {
            "comment": view.comment,
            "tags": view.tags,
            "name": view.name,
            "schema_name": schema_name,
            "definition": view.definition,
            "column_comments": view.column_comments,
        },
        generation,
    )


def macro_info(macro: Macro, schema_name: str, generation: int = 1) -> bytes:
    types = {name: type_named(text) for name, text in macro.default_types.items()}
    defaults = Schema([Field(name, type) for name, type in types.items()])
    arguments = [
        Field(
            name,
            types.get(name, type_named("null")),
            True,
            {keys.ARG_DOC: macro.docs[name]} if name in macro.docs else None,
        )
        for name in macro.parameters
    ]
    return records.MACRO_INFO.encode(
        {
            "comment": macro.comment,
            "tags": macro.tags,
            "name": macro.name,
            "schema_name": schema_name,
            "macro_type": "TABLE" if macro.table else "SCALAR",
            "parameters": macro.parameters,
            "parameter_default_values": encode_row(defaults, macro.defaults) if macro.defaults else None,
            "definition": macro.definition,
            "arguments_schema": Schema(arguments).serialize() if arguments else None,
        },
        generation,
    )


def index_info(index: Index, schema_name: str, generation: int = 1) -> bytes:
    values = {
        name: getattr(index, name) for name in records.INDEX_INFO.schema(generation).names if name != "schema_name"
    }
    return records.INDEX_INFO.encode({**values, "schema_name": schema_name}, generation)


_ENCODERS: Final[dict[str, Callable[[Any, str, int], bytes]]] = {
    "TABLE": table_info,
    "VIEW": view_info,
    "SCALAR_MACRO": macro_info,
    "TABLE_MACRO": macro_info,
    "INDEX": index_info,
}
