"""The ``catalog_*`` methods that change something: DDL and the ends of transactions.

A request is decoded completely before the catalog is asked, also one that will refuse, so that a client and a
worker that disagree about parameters never look as if the catalog were read-only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.catalog.objects import CONSTRAINT_TYPES, ForeignKeyDef
from vgi_fast.errors import ArgumentError, ProtocolError, StorageError
from vgi_fast.wire import records
from vgi_fast.wire.arrow import Field, Schema, decode_row
from vgi_fast.worker.calls.catalog import Asked, named, void

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgi_fast.worker.dispatch import Call, Reply

_ENDS: Final = ("catalog_transaction_commit", "catalog_transaction_rollback")


def change(call: Call, row: dict[str, Any]) -> Reply:
    """The parameters go to the interface's method of the same name, each in the form that authors use."""
    name = call.method.name
    if call.method.request is not None:
        row = call.method.request.decode(row["request"], call.generation)
        _check_required(call, row)
    asked = Asked(call, row)
    method = name if name.startswith("catalog_transaction") else name.removeprefix("catalog_")
    arguments = {key: _converted(key, value) for key, value in named(row).items()}
    try:
        getattr(asked.interface, method)(**arguments, **asked.common)
    finally:
        if name in _ENDS and asked.transaction:
            _forget(call, asked.transaction)
    return void(call)


def _forget(call: Call, transaction: bytes) -> None:
    """What was stored under the transaction goes. Never an error: the catalog's answer is what counts."""
    from vgi_fast.storage import default_storage, transaction_scope

    try:
        default_storage().execution_clear(transaction_scope(transaction))
    except (OSError, StorageError) as error:
        call.service.log.write("WARNING", "vgi.worker", f"the state of a transaction stays: {error}")


def create_catalog(call: Call, row: dict[str, Any]) -> Reply:
    """No attach says whose catalog it would be, so the first that does not decline makes it."""
    request = records.CATALOG_CREATE_REQUEST.decode(row["request"], call.generation)
    options = decode_row(request["options"]) if request["options"] else {}
    on_conflict = _member(request["on_conflict"], records.ON_CONFLICTS, "on_conflict")
    return _offer(call, "catalog_create", name=request["name"], on_conflict=on_conflict, options=options)


def drop_catalog(call: Call, row: dict[str, Any]) -> Reply:
    return _offer(call, "catalog_drop", name=row["name"])


def _offer(call: Call, method: str, **arguments: Any) -> Reply:
    from vgi_fast.catalog.interface import CatalogInterface

    interfaces = list(call.service.registry.interfaces.values())
    able = [one for one in interfaces if getattr(type(one), method) is not getattr(CatalogInterface, method)]
    if not interfaces:
        raise ArgumentError("this worker has no catalogs")
    getattr((able or interfaces)[0], method)(**arguments)
    return void(call)


def _check_required(call: Call, row: dict[str, Any]) -> None:
    assert call.method.request is not None
    for name in ("attach_opaque_data", "schema_name", "name"):
        if row[name] is None:
            raise ProtocolError(f"{call.method.request.name}: {name} is missing")


def _converted(name: str, value: Any) -> Any:
    convert = _CONVERSIONS.get(name)
    return value if convert is None else convert(value)


def _member(value: Any, members: tuple[str, ...], name: str) -> str:
    if value not in members:
        raise ArgumentError(f"{name} must be one of {', '.join(members)}, got {value!r}")
    return str(value)


def _columns(blob: bytes | None) -> Schema:
    return Schema.from_bytes(blob) if blob else Schema([])


def _column(blob: bytes | None) -> Field:
    schema = _columns(blob)
    if len(schema) != 1:
        raise ProtocolError(f"column_definition: expected a schema of one field, got {len(schema)}")
    return schema[0]


_CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "on_conflict": lambda value: _member(value, records.ON_CONFLICTS, "on_conflict"),
    "macro_type": lambda value: _member(value, ("SCALAR", "TABLE"), "macro_type"),
    "constraint_type": lambda value: _member(value, CONSTRAINT_TYPES, "constraint_type"),
    "tags": lambda value: dict(value or ()),
    "options": lambda value: dict(value or ()),
    "columns": _columns,
    "column_definition": _column,
    "not_null_constraints": lambda value: list(value or ()),
    "unique_constraints": lambda value: list(value or ()),
    "check_constraints": lambda value: list(value or ()),
    "primary_key_constraints": lambda value: list(value or ()),
    "foreign_key_constraints": lambda value: [ForeignKeyDef.decode(blob) for blob in value or ()],
    "parameters": lambda value: list(value or ()),
    "expressions": lambda value: list(value or ()),
    "parameter_default_values": lambda value: decode_row(value) if value else {},
    "arguments_schema": lambda value: Schema.from_bytes(value) if value else None,
}
