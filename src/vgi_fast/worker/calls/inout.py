"""The INPUT and FINALIZE phases of table-in-out functions (sections 7.3 to 7.5 of the function document).

Each substream is an init of its own with its own state, which stays in the session: the client asks for the
FINALIZE phase on the same connection, when it has ended the input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgi_fast._core import serve_exchange
from vgi_fast.errors import ProtocolError
from vgi_fast.functions.over_tables.inout import TableInOutSpec
from vgi_fast.functions.over_tables.row_transform import RowTransformSpec
from vgi_fast.worker.calls import pushdown
from vgi_fast.worker.calls.stream import (
    end_output,
    quietly,
    send_header,
    serve_producer_stream,
    stream_params,
)

if TYPE_CHECKING:
    from vgi_fast.functions.context import ProcessParams
    from vgi_fast.functions.invocation import Invocation
    from vgi_fast.functions.over_tables.inout_calls import InOutCall
    from vgi_fast.worker.calls.stream import Phased
    from vgi_fast.worker.dispatch import Call

INPUT = "INPUT"
FINALIZE = "FINALIZE"


class Substream:
    """What FINALIZE needs of its INPUT. The projection is not sent again, yet the client reads through it."""

    __slots__ = ("call", "params")

    def __init__(self, call: InOutCall, params: ProcessParams[Any]) -> None:
        self.call = call
        self.params = params


def init_in_out(call: Call, request: dict[str, Any], invocation: Invocation) -> None:
    spec: TableInOutSpec = invocation.spec  # type: ignore[assignment]
    if request["phase"] == FINALIZE:
        return _finalize(call, request, spec)
    if invocation.input_schema is None:
        raise ProtocolError(f"{spec.where}: the INPUT phase has no input schema")
    params: ProcessParams[Any] = stream_params(call, invocation, request)
    response, running = spec.start(params, invocation.values)
    input_schema = invocation.input_schema
    if isinstance(spec, RowTransformSpec):
        input_schema = spec.input_schema(input_schema)
    step = running.step if spec.keeps_state else pushdown.validated(running.step, params)
    session = call.session
    session.substream = Substream(running, params) if spec.has_finalize else None
    send_header(call, params.execution_id, response)
    call.begin_stream(params.output_schema)
    try:
        if session.input.read_schema() is not None:
            cancelled = serve_exchange(session.input, session.output, input_schema, params.output_schema, step)
            if cancelled:
                quietly(session, running.cancel)
    except Exception as error:
        session.substream = None
        session.fail(error, params.output_schema)
    else:
        end_output(session, params.output_schema)
    session.drain()


def _finalize(call: Call, request: dict[str, Any], spec: TableInOutSpec) -> None:
    session = call.session
    substream, session.substream = session.substream, None
    if substream is None or substream.params.execution_id != request["execution_id"]:
        raise ProtocolError(
            f"{spec.where}: the substream to finalize is unknown here; its input was not read on this connection"
        )
    params: ProcessParams[Any] = substream.params
    params.log = call.log
    producer = spec.producer(substream.call, params)
    send_header(call, params.execution_id, params.init_response)
    serve_producer_stream(call, producer, params.output_schema)


PHASED: Phased = dict.fromkeys((TableInOutSpec, RowTransformSpec), ((INPUT, FINALIZE), init_in_out))
