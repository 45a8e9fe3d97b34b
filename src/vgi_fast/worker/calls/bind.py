"""``bind``: which columns a call gives (section 4 of the function document)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from vgi_fast.functions.context import BindParams
from vgi_fast.functions.signature import SECRET
from vgi_fast.wire import records
from vgi_fast.wire.arrow import empty_schema

if TYPE_CHECKING:
    from vgi_fast._core import Schema
    from vgi_fast.functions.invocation import Invocation
    from vgi_fast.worker.dispatch import Call, Reply


def bind(call: Call, row: dict[str, Any]) -> bytes | Reply:
    invocation = call.service.invocations.understand(row["request"], call.generation)
    spec = invocation.spec
    fixed: Schema | None = getattr(spec, "fixed_schema", None)
    if fixed is not None and not spec.signature.injects(SECRET):
        return call.reply(spec, lambda: records.bind_response(fixed, generation=call.generation))
    params: BindParams[Any] = bind_params(call, invocation)
    secrets = params.secrets
    try:
        spec.request_secrets(params)
        outcome = spec.bind(params)
    except Exception:
        # Without the secret that it has just asked for, an author's hook may well fail.
        if not secrets.needs_resolution:
            raise
    if secrets.needs_resolution:
        lookups = [(one.type, one.scope, one.name) for one in secrets.pending_lookups]
        return records.bind_response(empty_schema(), lookups=lookups, generation=call.generation)
    return records.bind_response(outcome.output_schema, outcome.opaque_data, generation=call.generation)


P = TypeVar("P", bound="BindParams[Any]")


def bind_params(
    call: Call,
    invocation: Invocation,
    kind: type[P] = BindParams,  # type: ignore[assignment]
) -> P:
    return kind(
        invocation.request,
        invocation.spec.make_args(invocation.values),
        invocation.given,
        invocation.input_schema,
        auth=call.auth,
        log=call.log,
    )


HANDLERS = {"bind": bind}
