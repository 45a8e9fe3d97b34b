"""The ``catalog_*`` methods that ask: lifecycle, listings, single objects, scans.

Answers of a catalog with a cache key are encoded once and kept as complete streams.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.catalog import encode
from vgi_fast.catalog.interface import FROZEN_VERSION, CatalogContext
from vgi_fast.errors import ArgumentError, ProtocolError
from vgi_fast.wire import methods, records
from vgi_fast.wire.arrow import Array, Field, RecordBatch, Schema, decode_stream, encode_stream
from vgi_fast.wire.attach import AttachData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vgi_fast.catalog.descriptors import Catalog, CatalogSchema
    from vgi_fast.catalog.interface import AttachResult, CatalogInterface
    from vgi_fast.worker.dispatch import Call, Reply, Service

    Handler = Callable[[Call, dict[str, Any]], bytes | Reply | None]

_FUNCTION_TYPES: Final = ("SCALAR_FUNCTION", "TABLE_FUNCTION", "AGGREGATE_FUNCTION")
_MACRO_TYPES: Final = ("SCALAR_MACRO", "TABLE_MACRO")


class Asked:
    """A call about one attach: who answers, and the keywords that every answer takes."""

    __slots__ = ("attach", "call", "interface", "row", "transaction")

    def __init__(self, call: Call, row: dict[str, Any]) -> None:
        self.call = call
        self.row = row
        self.attach = call.service.open_attach(row["attach_opaque_data"], call.auth)
        self.interface: CatalogInterface = call.service.interface(self.attach, call.method.name)
        self.transaction = row.get("transaction_opaque_data")

    @property
    def common(self) -> dict[str, Any]:
        return {"attach_opaque_data": self.attach, "transaction_opaque_data": self.transaction}

    def reply(self, key: Any, make: Callable[[], bytes | None]) -> Reply | bytes | None:
        """Kept under ``key`` if the catalog's answers depend on nothing else."""
        shared = self.interface.cache_key(self.attach)
        if shared is None:
            return make()
        return self.call.reply((self.attach.catalog, shared, key), make)

    def items(self, found: Iterable[Any], schema_name: str) -> bytes:
        return encode.items([encode.item(one, schema_name, self.call.generation) for one in found])

    def schema_name(self, name: str) -> str | None:
        """As the catalog spells it; None for a schema that it does not have."""
        schema = self.interface.schema_get(name=name, **self.common)
        return None if schema is None else schema.name


# --- lifecycle --------------------------------------------------------------------------------------------


def catalogs(call: Call, row: dict[str, Any]) -> bytes:
    found = [catalog for interface in call.service.registry.interfaces.values() for catalog in interface.catalogs()]
    return encode.items([encode.catalog_info(catalog, call.generation) for catalog in found])


def attach(call: Call, row: dict[str, Any]) -> bytes:
    request = records.CATALOG_ATTACH_REQUEST.decode(row["request"], call.generation)
    name = request["name"]
    interface = call.service.registry.interface(name)
    catalog = interface.catalog
    options_blob = merged_options(catalog, request["options"])
    result = interface.catalog_attach(
        name=name,
        options=_one_row(options_blob),
        data_version_spec=request["data_version_spec"] or None,
        implementation_version=request["implementation_version"] or None,
        ctx=CatalogContext(call.auth, call.log),
    )
    made = AttachData.new(
        catalog.name,
        name=name,
        data_version=result.data_version,
        implementation_version=result.implementation_version,
        options_blob=options_blob,
        state=result.state,
    )
    return records.CATALOG_ATTACH_RESULT.encode(_attach_result(call, interface, result, made), call.generation)


def _attach_result(call: Call, interface: CatalogInterface, result: AttachResult, made: AttachData) -> dict[str, Any]:
    catalog = interface.catalog
    declared = {
        "attach_opaque_data": call.service.seal_attach(made, call.auth),
        "supports_transactions": catalog.transactions,
        "supports_time_travel": call.service.registry.has_time_travel(catalog.name),
        "catalog_version_frozen": result.catalog_version is None,
        "catalog_version": FROZEN_VERSION if result.catalog_version is None else result.catalog_version,
        "attach_opaque_data_required": True,
        "default_schema": catalog.default_schema,
        "settings": [setting.encode(call.generation) for setting in catalog.settings],
        "secret_types": [secret_type.encode(call.generation) for secret_type in catalog.secret_types],
        "attach_catalogs": [companion.encode(call.generation) for companion in catalog.companions],
        "comment": catalog.comment,
        "tags": catalog.tags,
        "supports_column_statistics": True,  # each table says for itself
        "global_functions": _global_functions(call, catalog),
        "global_function_prefix": catalog.global_function_prefix,
        "resolved_data_version": result.data_version,
        "resolved_implementation_version": result.implementation_version,
    }
    unknown = result.changes.keys() - declared.keys()
    if unknown:
        raise ArgumentError(f"catalog_attach: unknown fields {sorted(unknown)}; there are {sorted(declared)}")
    return {**declared, **result.changes}


def merged_options(catalog: Catalog, blob: bytes | None) -> bytes:
    """Every declared option as one row: the given values as the declared types, defaults for the rest.

    DuckDB applies neither defaults nor ``required`` (section 3.3 of the catalog document).
    """
    given = _given_options(blob)
    declared = {option.name.lower(): option for option in catalog.attach_options}
    unknown = sorted(name for name in given if name.lower() not in declared)
    if unknown:
        accepted = ", ".join(option.name for option in catalog.attach_options)
        raise ArgumentError(
            f"Unknown ATTACH options {unknown}: catalog '{catalog.name}' has "
            + (f"the options {accepted}" if accepted else "none")
        )
    by_name = {name.lower(): value for name, value in given.items()}
    missing = [repr(option.name) for key, option in declared.items() if option.required and key not in by_name]
    if missing:
        raise ArgumentError(
            f"Catalog '{catalog.name}' cannot be attached without the required "
            f"option{'s' if len(missing) > 1 else ''} {', '.join(missing)}."
        )
    if not declared:
        return b""
    columns = []
    for key, option in declared.items():
        value = by_name.get(key)
        columns.append(Array.from_pylist([option.default], option.type) if value is None else value.cast(option.type))
    schema = Schema([Field(option.name, option.type) for option in declared.values()])
    return encode_stream(schema, [RecordBatch(schema, columns, 1)])


def _given_options(blob: bytes | None) -> dict[str, Array]:
    if not blob:
        return {}
    schema, batches = decode_stream(blob)
    if len(batches) != 1 or batches[0].num_rows != 1:
        raise ProtocolError("the options of an attach are one row")
    return dict(zip(schema.names, batches[0].columns, strict=True))


def _one_row(blob: bytes) -> dict[str, Any]:
    return decode_stream(blob)[1][0].row(0) if blob else {}


def _global_functions(call: Call, catalog: Catalog) -> list[bytes]:
    blobs = []
    for name in catalog.global_functions:
        schema, specs = call.service.registry.global_function(catalog, name)
        blobs += [spec.info(schema, call.generation) for spec in specs]
    return blobs


def detach(call: Call, row: dict[str, Any]) -> Reply:
    asked = Asked(call, row)
    asked.interface.catalog_detach(attach_opaque_data=asked.attach)
    return void(call)


def version(call: Call, row: dict[str, Any]) -> bytes:
    asked = Asked(call, row)
    return records.CATALOG_VERSION_RESPONSE.encode(
        {"version": asked.interface.catalog_version(**asked.common)}, call.generation
    )


def begin(call: Call, row: dict[str, Any]) -> bytes:
    asked = Asked(call, row)
    found = asked.interface.catalog_transaction_begin(attach_opaque_data=asked.attach)
    return records.TRANSACTION_BEGIN_RESPONSE.encode({"transaction_opaque_data": found or None}, call.generation)


# --- listings and objects ---------------------------------------------------------------------------------


def schemas(call: Call, row: dict[str, Any]) -> Reply | bytes | None:
    asked = Asked(call, row)
    return asked.reply(
        None, lambda: encode.items([_schema_info(asked, one) for one in asked.interface.schemas(**asked.common)])
    )


def schema_get(call: Call, row: dict[str, Any]) -> Reply | bytes | None:
    asked = Asked(call, row)
    schema = asked.interface.schema_get(name=row["name"], **asked.common)
    if schema is None:
        return nothing(call)
    return asked.reply(schema.name, lambda: encode.items([_schema_info(asked, schema)]))


def _schema_info(asked: Asked, schema: CatalogSchema) -> bytes:
    """Counts are exact: DuckDB takes 0 as a promise and asks nothing about that kind."""
    counts = asked.interface.schema_counts(schema=schema, **asked.common)
    return encode.schema_info(schema, counts, asked.call.generation)


def contents(call: Call, row: dict[str, Any]) -> Reply | bytes | None:
    """Encoded once per schema and kind: these are the costly listings."""
    asked = Asked(call, row)
    kind = _listed_type(call.method.name, row)
    schema = asked.schema_name(row["name"])
    if schema is None:
        return nothing(call)
    return asked.reply(
        (schema, kind),
        lambda: asked.items(asked.interface.schema_contents(name=schema, type=kind, **asked.common), schema),
    )


def _listed_type(method: str, row: dict[str, Any]) -> str:
    if "type" not in row:
        return _CONTENTS[method][0]
    allowed = _CONTENTS[method]
    kind = row["type"]
    if kind not in allowed:
        noun = "macro" if allowed is _MACRO_TYPES else "function"
        raise ArgumentError(f"'{kind}' is not a type of {noun}; there are {list(allowed)}")
    return str(kind)


_CONTENTS: Final[dict[str, tuple[str, ...]]] = {
    "catalog_schema_contents_functions": _FUNCTION_TYPES,
    "catalog_schema_contents_tables": ("TABLE",),
    "catalog_schema_contents_views": ("VIEW",),
    "catalog_schema_contents_macros": _MACRO_TYPES,
    "catalog_schema_contents_indexes": ("INDEX",),
}


def one_object(call: Call, row: dict[str, Any]) -> Reply | bytes | None:
    """``catalog_table_get`` and its likes; what is not found is an empty list."""
    asked = Asked(call, row)
    arguments = named(row)
    get = getattr(asked.interface, call.method.name.removeprefix("catalog_"))
    if "at_unit" in row:
        check_at(row)
    found = get(**arguments, **asked.common)
    if found is None:
        return nothing(call)
    schema = asked.schema_name(row["schema_name"]) or row["schema_name"]
    if row.get("at_unit") is not None:
        return asked.items([found], schema)
    return asked.reply((schema, getattr(found, "name", row["name"])), lambda: asked.items([found], schema))


def scan_function(call: Call, row: dict[str, Any]) -> bytes:
    asked = Asked(call, row)
    check_at(row)
    return asked.interface.table_scan_function_get(**named(row), **asked.common).encode(call.generation)


def scan_branches(call: Call, row: dict[str, Any]) -> bytes:
    from vgi_fast.catalog.scans import ScanBranches

    asked = Asked(call, row)
    check_at(row)
    return ScanBranches.of(asked.interface.table_scan_branches_get(**named(row), **asked.common)).encode(
        call.generation
    )


def write_function(call: Call, row: dict[str, Any]) -> bytes:
    asked = Asked(call, row)
    get = getattr(asked.interface, call.method.name.removeprefix("catalog_"))
    found = get(**named(row), **asked.common)
    return found.encode(call.generation)  # type: ignore[no-any-return]


def column_statistics(call: Call, row: dict[str, Any]) -> Reply | bytes:
    asked = Asked(call, row)
    found = asked.interface.table_column_statistics_get(**named(row), **asked.common)
    return void(call) if found is None else found


def check_at(row: dict[str, Any]) -> None:
    if (row["at_unit"] is None) != (row["at_value"] is None):
        raise ArgumentError("at_unit and at_value must both be provided or both be None")


def named(row: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a request that are not common to all."""
    return {name: value for name, value in row.items() if name not in _COMMON}


_COMMON: Final = ("attach_opaque_data", "transaction_opaque_data")


def nothing(call: Call) -> Reply:
    """No such object, or none of that kind."""
    return call.reply(None, lambda: encode.items([]))


def void(call: Call) -> Reply:
    return call.reply(None, lambda: None)


class _Nobody:
    """In the place of a session while nobody is connected."""

    def __init__(self, service: Service) -> None:
        self.service = service


def prebuild(service: Service, generation: int = 1) -> None:
    """Make the replies of all listings of catalogs with a cache key, in each data version.

    What fails is left for the call that asks for it, which can report it.
    """
    from vgi_fast.worker.calls.copying import formats
    from vgi_fast.worker.dispatch import Call

    def ask(handler: Handler, method: str, attach: AttachData, **params: Any) -> None:
        call = Call(_Nobody(service), methods.method(method, generation), {}, generation)  # type: ignore[arg-type]
        row = {"attach_opaque_data": bytes(attach), "transaction_opaque_data": None, **params}
        with suppress(Exception):
            handler(call, row)

    for name, interface in service.registry.interfaces.items():
        for version in interface.catalog.data_versions or [""]:
            attach = AttachData.new(name, data_version=version)
            if interface.cache_key(attach) is None:
                continue
            ask(formats, "catalog_copy_from_formats", attach)
            ask(schemas, "catalog_schemas", attach)
            for schema in interface.schemas(attach_opaque_data=attach, transaction_opaque_data=None):
                for method, kinds in _CONTENTS.items():
                    for kind in kinds:
                        more = {"type": kind} if len(kinds) > 1 else {}
                        ask(contents, method, attach, name=schema.name, **more)


HANDLERS: dict[str, Handler] = {
    "catalog_catalogs": catalogs,
    "catalog_attach": attach,
    "catalog_detach": detach,
    "catalog_version": version,
    "catalog_transaction_begin": begin,
    "catalog_schemas": schemas,
    "catalog_schema_get": schema_get,
    **dict.fromkeys(_CONTENTS, contents),
    "catalog_table_get": one_object,
    "catalog_view_get": one_object,
    "catalog_macro_get": one_object,
    "catalog_index_get": one_object,
    "catalog_table_scan_function_get": scan_function,
    "catalog_table_scan_branches_get": scan_branches,
    "catalog_table_insert_function_get": write_function,
    "catalog_table_update_function_get": write_function,
    "catalog_table_delete_function_get": write_function,
    "catalog_table_column_statistics_get": column_statistics,
}
