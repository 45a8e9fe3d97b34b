"""``init``: starts a stream and serves it to its end (sections 4 of the RPC, 6 and 7 of the function document).

The header is flushed before the input is read, since the client sends nothing before it has the header.
Whatever happens, the output stream is ended and the input read to its end, so that the connection can
take the next request.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from vgi_fast._core import RecordBatch, encode_stream, serve_exchange, serve_producer
from vgi_fast.errors import ProtocolError
from vgi_fast.functions.context import GlobalInitResponse, ProcessParams, Projection
from vgi_fast.functions.scalar import ScalarSpec
from vgi_fast.functions.table import TableSpec
from vgi_fast.wire.arrow import schema_from_bytes
from vgi_fast.worker.calls import pushdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgi_fast._core import ScalarPlan, Schema
    from vgi_fast.functions.exchange import Exchange, ExchangeSpec
    from vgi_fast.functions.invocation import Invocation
    from vgi_fast.functions.output import Producer
    from vgi_fast.worker.calls.pushdown import Note
    from vgi_fast.worker.dispatch import Call, Session

    Phased = dict[type, tuple[tuple[str | None, ...], Callable[[Call, dict[str, Any], Invocation], None]]]

_ID_BYTES = 16
_MAX_PLANS = 64
_NO_PHASE = (None, "")
_PHASES_WITH_INPUT = ("INPUT",)


def init(call: Call, row: dict[str, Any]) -> None:
    """What is raised here becomes the init failure; afterwards errors belong to the output stream."""
    call.request_blob = row["request"]
    request, invocation = call.service.invocations.understand_init(row["request"], call.generation)
    spec = invocation.spec
    call.session.subject = spec.name
    phases, serve = _phased(type(spec)) or (_PHASES_WITH_INPUT if spec.is_exchange else _NO_PHASE, None)
    if request["phase"] not in phases:
        raise ProtocolError(f"{spec.where} has no phase '{request['phase']}'")
    if serve is not None:
        serve(call, request, invocation)
        return
    params: ProcessParams[Any] = stream_params(call, invocation, request)
    if isinstance(spec, ScalarSpec):
        plan, input_schema = _scalar_plan(call.session, spec, invocation, params)
        send_header(call, params.execution_id, GlobalInitResponse())
        _serve_scalar(call, plan, input_schema, params.output_schema)
    elif isinstance(spec, TableSpec):
        pushdown.prepare(spec, params, request)
        note = pushdown.listener(params)
        note(call.metadata)  # a client that knows its validators by now may send them with the request
        response, producer = spec.start(params, invocation.values)
        send_header(call, params.execution_id, pushdown.shared(spec, params, request, response))
        serve_producer_stream(call, producer, params.wire_schema, note)
    elif spec.is_exchange:
        response, exchange = cast("ExchangeSpec", spec).start(params)
        send_header(call, params.execution_id, response)
        _serve_exchange(call, exchange, invocation.input_schema, params.output_schema)
    else:
        raise ProtocolError(f"{spec.where} cannot be streamed")


P = TypeVar("P", bound="ProcessParams[Any]")


def stream_params(
    call: Call,
    invocation: Invocation,
    request: dict[str, Any],
    kind: type[P] = ProcessParams,  # type: ignore[assignment]
) -> P:
    spec = invocation.spec
    params = kind(
        invocation.request,
        spec.make_args(invocation.values),
        invocation.given,
        invocation.input_schema,
        auth=call.auth,
        log=call.log,
    )
    fixed: Schema | None = getattr(spec, "fixed_schema", None)
    full = fixed if fixed is not None else schema_from_bytes(request["output_schema"])
    ids = request["projection_ids"] if spec.options.projection_pushdown else None
    params.full_schema = full
    params.projection_ids = None if ids is None else list(ids)
    params.output_schema = full if ids is None else _projected(full, ids)
    params.projection = Projection(params.output_schema.names)
    params.is_secondary = bool(request["execution_id"])
    params.execution_id = request["execution_id"] or os.urandom(_ID_BYTES)
    params.bind_opaque_data = request["bind_opaque_data"]
    params.init_opaque_data = request["init_opaque_data"]
    params.substream_id = request["substream_id"]
    params.if_none_match = params.if_modified_since = None
    return params


def _projected(full: Schema, ids: list[int]) -> Schema:
    try:
        return full.select(ids)
    except IndexError:
        raise ProtocolError(f"projection_ids {ids} reach outside of the {len(full)} bound columns") from None


def _scalar_plan(
    session: Session, spec: ScalarSpec, invocation: Invocation, params: ProcessParams[Any]
) -> tuple[ScalarPlan, Schema]:
    """A session keeps its plans, since each thread of a query repeats the same call."""
    known = session.plans.get(invocation)
    if known is not None:
        return known
    input_schema = spec.input_schema(invocation.input_schema)
    plan = spec.plan(params, invocation.values, input_schema)
    if spec.reusable:
        if len(session.plans) >= _MAX_PLANS:
            session.plans.clear()
        session.plans[invocation] = plan, input_schema
    return plan, input_schema


def send_header(call: Call, execution_id: bytes, response: GlobalInitResponse) -> None:
    """Logs of the init, then the header, as one complete stream."""
    assert call.method.header is not None
    output = call.session.output
    if not call.pending and response.opaque_data is None and len(execution_id) == _ID_BYTES:
        output.raw(_plain_header(call, execution_id, response.max_workers))
    else:
        schema = call.method.header.schema(call.generation)
        output.schema(schema)
        for metadata in call.pending or ():
            output.empty_batch(metadata)
        values = {
            "execution_id": execution_id,
            "opaque_data": response.opaque_data,
            "max_workers": response.max_workers,
        }
        output.batch(RecordBatch.from_row(schema, values))
        output.eos()
    output.flush()


_headers: dict[tuple[int, int], tuple[bytes, bytes]] = {}


def _plain_header(call: Call, execution_id: bytes, max_workers: int) -> bytes:
    """The usual header differs from call to call in the 16 bytes of the id only."""
    key = (call.generation, max_workers)
    parts = _headers.get(key)
    if parts is None:
        assert call.method.header is not None
        schema = call.method.header.schema(call.generation)
        placeholder = b"\xa5placeholder\xa5\x5a\xa5\x5a"
        row = {"execution_id": placeholder, "opaque_data": None, "max_workers": max_workers}
        before, _, after = encode_stream(schema, [RecordBatch.from_row(schema, row)]).partition(placeholder)
        parts = _headers[key] = (before, after)
    return parts[0] + execution_id + parts[1]


def _serve_scalar(call: Call, plan: ScalarPlan, input_schema: Schema, output_schema: Schema) -> None:
    session = call.session
    call.begin_stream(output_schema)
    try:
        if session.input.read_schema() is not None:
            serve_exchange(session.input, session.output, input_schema, output_schema, plan)
    except Exception as error:
        session.fail(error, output_schema)
    else:
        end_output(session, output_schema)
    session.drain()


def _serve_exchange(call: Call, exchange: Exchange, input_schema: Schema | None, output_schema: Schema) -> None:
    """The statement is finished when its input ended as it should; otherwise what it did may be undone."""
    session = call.session
    call.begin_stream(output_schema)
    assert input_schema is not None
    try:
        cancelled = True
        if session.input.read_schema() is not None:
            cancelled = serve_exchange(session.input, session.output, input_schema, output_schema, exchange.step)
        if cancelled or session.input.truncated:
            exchange.abort()
        else:
            exchange.finish()
    except Exception as error:
        quietly(session, exchange.abort)
        session.fail(error, output_schema)
    else:
        end_output(session, output_schema)
    session.drain()


def serve_producer_stream(call: Call, producer: Producer, schema: Schema, note: Note | None = None) -> None:
    session = call.session
    call.begin_stream(schema)
    try:
        try:
            _produce(session, producer, schema, note)
        except Exception as error:
            session.fail(error, schema)
        else:
            end_output(session, schema)
        session.drain()
    finally:
        quietly(session, producer.close)


def _produce(session: Session, producer: Producer, schema: Schema, note: Note | None) -> None:
    """One batch per tick, until the producer or the client ends it."""
    if session.input.read_schema() is None:
        return
    if serve_producer(session.input, session.output, schema, producer.next, note):
        quietly(session, producer.cancel)


def end_output(session: Session, schema: Schema) -> None:
    session.input.release()  # once the client has the end, the segment is its to reset
    output = session.output
    if not output.open:
        output.schema(schema)
    output.eos()
    output.flush()


def quietly(session: Session, hook: Any) -> None:
    """Hooks at the end of a stream are best effort: the client is no longer interested."""
    try:
        hook()
    except Exception as error:
        session.service.log.write("WARNING", "vgi.worker", f"{type(error).__name__} in a stream's last hook: {error}")


PHASED: Phased = {}
"""By kind of function, the phases that an init of it has, and what serves them."""
_PHASED_IN: Final = {
    "TableInOutSpec": "inout",
    "RowTransformSpec": "inout",
    "BufferingSpec": "buffering",
    "CopyToSpec": "buffering",
    "CopyFromSpec": "copying",
}
"""The modules that add to it, imported with the first function of that kind."""


def _phased(kind: type) -> Any:
    found = PHASED.get(kind)
    if found is None and (module := _PHASED_IN.get(kind.__name__)) is not None:
        PHASED.update(import_module(f"{__package__}.{module}").PHASED)
        found = PHASED[kind]
    return found


HANDLERS = {"init": init}
