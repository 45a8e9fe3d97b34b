"""What the optimizer asks about a table function: cardinality, statistics, and its profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgi_fast.functions.context import BindParams, ExecutionParams
from vgi_fast.functions.over_tables.inout import TableInOutSpec
from vgi_fast.functions.statistics import encoded
from vgi_fast.functions.table import TableSpec
from vgi_fast.wire import records
from vgi_fast.worker.calls.bind import bind_params

if TYPE_CHECKING:
    from vgi_fast.worker.dispatch import Call, Reply


def cardinality(call: Call, row: dict[str, Any]) -> bytes | Reply:
    request = records.TABLE_FUNCTION_CARDINALITY_REQUEST.decode(row["request"], call.generation)
    invocation = call.service.invocations.understand(request["bind_call"], call.generation)
    spec = invocation.spec
    encode = records.TABLE_FUNCTION_CARDINALITY_RESPONSE.encode
    if not isinstance(spec, (TableSpec, TableInOutSpec)):
        return call.reply(None, lambda: encode({}, call.generation))
    answer = spec.cardinality(bind_params(call, invocation))
    return encode({"estimate": answer.estimate, "max": answer.max}, call.generation)


def statistics(call: Call, row: dict[str, Any]) -> bytes | Reply | None:
    """Where none are known, the optional result is absent."""
    request = records.TABLE_FUNCTION_STATISTICS_REQUEST.decode(row["request"], call.generation)
    invocation = call.service.invocations.understand(request["bind_call"], call.generation)
    spec = invocation.spec
    if not isinstance(spec, TableSpec) or not spec.has_statistics:
        return call.reply(None, lambda: None)
    params: BindParams[Any] = bind_params(call, invocation)
    found = spec.statistics(params)
    if not found:
        return call.reply(None, lambda: None)
    columns = spec.fixed_schema or spec.bind(params).output_schema
    return encoded(found, columns, spec.where)


def dynamic_to_string(call: Call, row: dict[str, Any]) -> bytes | Reply:
    """Never an error, also for an execution that this process has not seen."""
    encode = records.TABLE_FUNCTION_DYNAMIC_TO_STRING_RESPONSE.encode
    try:
        request = records.TABLE_FUNCTION_DYNAMIC_TO_STRING_REQUEST.decode(row["request"], call.generation)
        invocation = call.service.invocations.understand(request["bind_call"], call.generation)
        spec = invocation.spec
        if isinstance(spec, TableSpec) and spec.explains:
            params: ExecutionParams[Any] = bind_params(call, invocation, ExecutionParams)
            params.execution_id = request["global_execution_id"]
            shown = spec.dynamic_to_string(params)
            pairs = list(dict(shown or {}).items())
            keys, values = [str(key) for key, _ in pairs], [str(value) for _, value in pairs]
            return encode({"keys": keys, "values": values}, call.generation)
    except Exception as error:
        call.service.log.write("WARNING", "vgi.worker", f"{type(error).__name__} in dynamic_to_string: {error}")
    return call.reply(None, lambda: encode({"keys": [], "values": []}, call.generation))


HANDLERS = {
    "table_function_cardinality": cardinality,
    "table_function_statistics": statistics,
    "table_function_dynamic_to_string": dynamic_to_string,
}
