"""The ``catalog_*`` methods of read-only catalogs that hold functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast._core import decode_row
from vgi_fast.catalog.attach import new_attach_data
from vgi_fast.catalog.readonly import OPERATIONS, read_only_error
from vgi_fast.errors import ArgumentError
from vgi_fast.wire import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgi_fast.catalog.descriptors import Catalog, CatalogSchema
    from vgi_fast.worker.dispatch import Call, Reply

    Handler = Callable[[Call, dict[str, Any]], bytes | Reply | None]

CATALOG_VERSION: Final = 1
"""Of a catalog that never changes; 0 would make DuckDB drop its caches for each statement."""

_KIND_OF: Final = {
    "SCALAR_FUNCTION": "scalar",
    "TABLE_FUNCTION": "table",
    "AGGREGATE_FUNCTION": "aggregate",
}


def catalogs(call: Call, row: dict[str, Any]) -> Reply:
    return call.reply(None, lambda: _items([_catalog_info(call, c) for c in call.service.registry.catalogs.values()]))


def _catalog_info(call: Call, catalog: Catalog) -> bytes:
    return records.CATALOG_INFO.encode(
        {"name": catalog.name, "attach_option_specs": [], "releases": [], "source_url": catalog.source_url},
        call.generation,
    )


def attach(call: Call, row: dict[str, Any]) -> bytes:
    request = records.CATALOG_ATTACH_REQUEST.decode(row["request"], call.generation)
    name = request["name"]
    registry = call.service.registry
    catalog = registry.catalogs.get(name)
    if catalog is None:
        raise ArgumentError(
            f"No worker handles catalog '{name}'", detail=f"Available catalogs: {list(registry.catalogs)}"
        )
    _refuse_versions(catalog, request)
    return records.CATALOG_ATTACH_RESULT.encode(
        {
            "attach_opaque_data": new_attach_data(name),
            "supports_transactions": False,
            "supports_time_travel": False,
            "catalog_version_frozen": True,
            "catalog_version": CATALOG_VERSION,
            "attach_opaque_data_required": True,
            "default_schema": catalog.default_schema,
            "settings": [setting.encode(call.generation) for setting in catalog.settings],
            "secret_types": [secret_type.encode(call.generation) for secret_type in catalog.secret_types],
            "attach_catalogs": [],
            "comment": catalog.comment,
            "tags": catalog.tags,
            "supports_column_statistics": False,
            "global_functions": _global_functions(call, catalog),
            "global_function_prefix": catalog.global_function_prefix,
        },
        call.generation,
    )


def _refuse_versions(catalog: Catalog, request: dict[str, Any]) -> None:
    """These catalogs have no versions and no options, so whatever is asked for cannot be met."""
    if request["data_version_spec"]:
        raise ArgumentError(
            f"Unsupported data_version_spec '{request['data_version_spec']}': "
            f"catalog '{catalog.name}' has no data versions"
        )
    if request["implementation_version"]:
        raise ArgumentError(
            f"Unsupported implementation_version '{request['implementation_version']}': "
            f"catalog '{catalog.name}' has no implementation versions"
        )
    options = decode_row(request["options"]) if request["options"] else {}
    if options:
        raise ArgumentError(f"Unknown ATTACH options {sorted(options)}: catalog '{catalog.name}' has none")


def _global_functions(call: Call, catalog: Catalog) -> list[bytes]:
    blobs = []
    for name in catalog.global_functions:
        schema, specs = call.service.registry.global_function(catalog, name)
        blobs += [spec.info(schema, call.generation) for spec in specs]
    return blobs


def schemas(call: Call, row: dict[str, Any]) -> Reply:
    catalog = _catalog(call, row)
    return call.reply(catalog.name, lambda: _items([_schema_info(call, catalog, s) for s in catalog.schemas]))


def schema_get(call: Call, row: dict[str, Any]) -> Reply:
    catalog = _catalog(call, row)
    wanted = row["name"].lower()
    found = [schema for schema in catalog.schemas if schema.name.lower() == wanted]
    key = (catalog.name, wanted) if found else None
    return call.reply(key, lambda: _items([_schema_info(call, catalog, schema) for schema in found]))


def _schema_info(call: Call, catalog: Catalog, schema: CatalogSchema) -> bytes:
    """Counts are exact: DuckDB takes 0 as a promise and asks nothing about that kind."""
    counts = {**dict.fromkeys(records.OBJECT_COUNT_KEYS, 0), **call.service.registry.counts(catalog.name, schema.name)}
    return records.SCHEMA_INFO.encode(
        {
            "comment": schema.comment,
            "tags": schema.tags,
            "attach_opaque_data": b"",
            "name": schema.name,
            "estimated_object_count": counts,
        },
        call.generation,
    )


def contents_functions(call: Call, row: dict[str, Any]) -> Reply:
    """Encoded once per schema and kind: this is the costly listing."""
    catalog = _catalog(call, row)
    wanted = row["name"].lower()
    kind = _KIND_OF.get(row["type"])
    if kind is None:
        raise ArgumentError(f"'{row['type']}' is not a type of function; there are {list(_KIND_OF)}")
    schema = next((schema for schema in catalog.schemas if schema.name.lower() == wanted), None)
    if schema is None:
        return nothing(call, row)
    specs = call.service.registry.in_schema(catalog.name, wanted, kind)
    return call.reply(
        (catalog.name, wanted, kind), lambda: _items([spec.info(schema.name, call.generation) for spec in specs])
    )


def nothing(call: Call, row: dict[str, Any]) -> Reply:
    """No such object, or none of that kind."""
    return call.reply(None, lambda: _items([]))


def version(call: Call, row: dict[str, Any]) -> Reply:
    encode = records.CATALOG_VERSION_RESPONSE.encode
    return call.reply(None, lambda: encode({"version": CATALOG_VERSION}, call.generation))


def void(call: Call, row: dict[str, Any]) -> Reply:
    return call.reply(None, lambda: None)


def refuse(call: Call, row: dict[str, Any]) -> bytes:
    raise read_only_error(call.method.name)


def _catalog(call: Call, row: dict[str, Any]) -> Catalog:
    return call.service.catalog(row["attach_opaque_data"], call.method.name)


def _items(blobs: list[bytes]) -> bytes:
    return records.ITEMS_RESPONSE.encode({"items": blobs})


HANDLERS: dict[str, Handler] = {
    "catalog_catalogs": catalogs,
    "catalog_attach": attach,
    "catalog_detach": void,
    "catalog_version": version,
    "catalog_copy_from_formats": nothing,
    "catalog_schemas": schemas,
    "catalog_schema_get": schema_get,
    "catalog_schema_contents_functions": contents_functions,
    "catalog_schema_contents_tables": nothing,
    "catalog_schema_contents_views": nothing,
    "catalog_schema_contents_macros": nothing,
    "catalog_schema_contents_indexes": nothing,
    "catalog_table_get": nothing,
    "catalog_view_get": nothing,
    "catalog_macro_get": nothing,
    "catalog_index_get": nothing,
    "catalog_table_column_statistics_get": void,
    **dict.fromkeys(OPERATIONS, refuse),
}
