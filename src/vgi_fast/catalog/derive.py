"""What a table's scan function says about itself, asked when the table is described instead of by each query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgi_fast.errors import ArgumentError, DefinitionError
from vgi_fast.functions.arguments import GivenArguments, bind_arguments
from vgi_fast.functions.context import BindParams, TableCardinality
from vgi_fast.functions.parameters import AnyArrowValue
from vgi_fast.functions.table import TableSpec
from vgi_fast.wire.arrow import Schema, decode_stream

if TYPE_CHECKING:
    from vgi_fast.catalog.scans import ScanFunction
    from vgi_fast.functions.spec import FunctionSpec
    from vgi_fast.functions.statistics import ColumnStatisticsInput


def scan_columns(scan: ScanFunction, where: str) -> Schema:
    """Columns of the function for these arguments; without secrets if it asks for some."""
    spec = scan.spec
    if not isinstance(spec, TableSpec):
        raise DefinitionError(f"{where}: {scan.name!r} has no columns of its own")
    try:
        return _bind(scan, spec)
    except Exception as error:
        raise ArgumentError(f"{where}: the columns of {scan.name!r} cannot be found: {error}") from error


def _bind(scan: ScanFunction, spec: TableSpec) -> Schema:
    params = _params(scan, spec, resolved=False)
    try:
        spec.request_secrets(params)
        outcome = spec.bind(params)
    except Exception:
        # Without the secret that it has just asked for, an author's hook may well fail.
        if not params.secrets.needs_resolution:
            raise
    if params.secrets.needs_resolution:
        outcome = spec.bind(_params(scan, spec, resolved=True))
    return outcome.output_schema


def scan_cardinality(scan: ScanFunction) -> TableCardinality | None:
    """What the function declares for these arguments; None when only a call can tell."""
    spec = scan.spec
    if not isinstance(spec, TableSpec) or "cardinality" in spec.hooks:
        return None
    return spec.cardinality(_params(scan, spec, resolved=True))


def has_declared_statistics(spec: FunctionSpec | None) -> bool:
    """The function tells statistics of a call without being asked by one."""
    return isinstance(spec, TableSpec) and spec.has_statistics and "statistics" not in spec.hooks


def scan_statistics(scan: ScanFunction, columns: Schema) -> dict[str, ColumnStatisticsInput]:
    """What the function declares for these arguments, by the table's names of its columns."""
    spec = scan.spec
    if not isinstance(spec, TableSpec) or not has_declared_statistics(spec):
        return {}
    params = _params(scan, spec, resolved=True)
    own = (spec.fixed_schema or spec.bind(params).output_schema).names
    renamed = dict(zip(own, columns.names, strict=False))
    return {renamed[name]: one for name, one in (spec.statistics(params) or {}).items() if name in renamed}


def has_fixed_bind(spec: FunctionSpec | None) -> bool:
    """The answer to its bind depends on nothing."""
    return (
        isinstance(spec, TableSpec)
        and spec.fixed_schema is not None
        and not spec.required_secrets
        and not spec.required_settings
    )


def _params(scan: ScanFunction, spec: FunctionSpec, *, resolved: bool) -> BindParams[Any]:
    given = _given(scan.arguments_blob())
    values = bind_arguments(spec.signature, given, f"Function '{spec.name}'")
    request = {
        "function_name": spec.name,
        "schema_name": None,
        "attach_opaque_data": None,
        "transaction_opaque_data": None,
        "at_unit": None,
        "at_value": None,
        "settings": None,
        "secrets": None,
        "resolved_secrets_provided": resolved,
    }
    return BindParams(request, spec.make_args(values), given, None)


def _given(blob: bytes) -> GivenArguments:
    if not blob:
        return GivenArguments([], {})
    schema, batches = decode_stream(blob)
    row = batches[0].row(0)
    positional, named = [], {}
    for field in schema.fields:
        value = AnyArrowValue(row[field.name], field)
        if field.name.startswith("arg_"):
            positional.append(value)
        else:
            named[field.name] = value
    return GivenArguments(positional, named)
