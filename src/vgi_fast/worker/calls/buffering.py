"""Table buffering: sink, combine and source of an execution (section 6 of the stateful document).

Any process may serve any of the calls, so the first init is stored for all of them; what a session has understood
of it is kept until the session serves another execution.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from vgi_fast._core import SpoolCalls, decode_stream, serve_replay
from vgi_fast.errors import ProtocolError, StorageError
from vgi_fast.functions.context import GlobalInitResponse
from vgi_fast.functions.over_tables.buffering import BufferingParams, BufferingSpec
from vgi_fast.functions.over_tables.copying import CopyToSpec
from vgi_fast.wire import records
from vgi_fast.worker.calls.stream import end_output, quietly, send_header, serve_producer_stream, stream_params
from vgi_fast.worker.dispatch import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgi_fast._core import RecordBatch
    from vgi_fast.functions.invocation import Invocation
    from vgi_fast.storage import Storage
    from vgi_fast.worker.calls.catalog import Handler
    from vgi_fast.worker.calls.stream import Phased
    from vgi_fast.worker.dispatch import Call
    from vgi_fast.worker.spools import Spool

SINK: Final = "TABLE_BUFFERING"
SOURCE: Final = "TABLE_BUFFERING_FINALIZE"

_NAMESPACE: Final = b"_vgi/buffering_init"
_REQUEST: Final = b"request"
_OPAQUE: Final = b"opaque"
_ID_BYTES: Final = 16


def _spools() -> Any:
    """Imported when first needed: most workers never are asked to keep anything."""
    from vgi_fast.worker import spools

    return spools


def _scope(execution_id: bytes) -> tuple[bytes, Storage]:
    from vgi_fast.storage import default_storage, execution_scope

    return execution_scope(execution_id), default_storage()


class Execution:
    """One execution as this session knows it."""

    __slots__ = ("execution_id", "invocation", "params", "processor", "replies", "response", "spec", "spool", "target")

    def __init__(
        self, call: Call, request: dict[str, Any], invocation: Invocation, execution_id: bytes, *, projected: bool
    ) -> None:
        spec = invocation.spec
        if not isinstance(spec, BufferingSpec):
            raise ProtocolError(f"{spec.where} has no phase of table buffering")
        if invocation.input_schema is None:
            raise ProtocolError(f"{spec.where}: the bind has no input schema")
        if not projected:  # sinks see all columns
            request = {**request, "projection_ids": None}
        self.spec = spec
        self.invocation = invocation
        self.execution_id = execution_id
        self.params: BufferingParams[Any] = stream_params(call, invocation, request, BufferingParams)
        self.params.execution_id = execution_id
        self.params.batch_index = None
        self.spool: Spool = _spools().open_spool(execution_id, invocation.input_schema, ordered=spec.ordered_by_index)
        self.params.kept = self.spool
        self.params.values = invocation.values
        self.target = spec.target() if spec.owner is not None else None
        self.response = GlobalInitResponse()
        self.processor: Callable[[RecordBatch], bytes] | None = None
        self.replies: dict[bytes, Reply] = {}

    def reply(self, call: Call, state_id: bytes) -> Reply:
        """Nearly every function answers each batch with the same id."""
        known = self.replies.get(state_id)
        if known is None:
            self.replies.clear()
            blob = records.TABLE_BUFFERING_PROCESS_RESPONSE.encode({"state_id": state_id}, call.generation)
            known = self.replies[state_id] = Reply(call.method, blob)
        return known

    def pause(self) -> None:
        self.spool.pause()


def init_buffering(call: Call, request: dict[str, Any], invocation: Invocation) -> None:
    if request["phase"] == SOURCE:
        return _source(call, request, invocation)
    session = call.session
    execution_id = request["execution_id"]
    if execution_id:
        execution = _load(call, execution_id)
    else:
        execution = Execution(call, request, invocation, os.urandom(_ID_BYTES), projected=False)
        execution.response = execution.spec.prepare(execution.target, execution.params)
        execution.params.init_response = execution.response
        _publish(call, execution)
    session.keep(execution)
    schema = execution.params.output_schema
    send_header(call, execution.execution_id, execution.response)
    call.begin_stream(schema)
    if session.input.read_schema() is not None:  # of the table; nothing is sent on it
        session.drain()
    end_output(session, schema)


def _publish(call: Call, execution: Execution) -> None:
    """The first init, for whoever serves the later calls."""
    pairs = [(_REQUEST, call.request_blob)]
    if execution.response.opaque_data is not None:
        pairs.append((_OPAQUE, execution.response.opaque_data))
    scope, storage = _scope(execution.execution_id)
    storage.state_put_many(scope, _NAMESPACE, pairs)


def _load(call: Call, execution_id: bytes, *, projected: bool = False) -> Execution:
    scope, storage = _scope(execution_id)
    blob, opaque = storage.state_get_many(scope, _NAMESPACE, [_REQUEST, _OPAQUE])
    if blob is None:
        raise StorageError(
            f"table_buffering: unknown execution_id {execution_id.hex()} (init never ran or destructor already fired)"
        )
    request, invocation = call.service.invocations.understand_init(blob, call.generation)
    execution = Execution(call, request, invocation, execution_id, projected=projected)
    execution.response = GlobalInitResponse(1, opaque)
    execution.params.init_response = execution.response
    execution.params.init_opaque_data = opaque
    return execution


def _execution(call: Call, request: dict[str, Any]) -> Execution:
    execution_id = request["execution_id"] or b""
    found = call.session.execution
    if found is None or found.execution_id != execution_id:
        found = _load(call, execution_id)
        call.session.keep(found)
    if request["function_name"] != found.spec.name:
        raise ProtocolError(
            f"the execution {execution_id.hex()} is one of '{found.spec.name}', not of '{request['function_name']}'"
        )
    found.params.log = call.log
    return found


def process(call: Call, row: dict[str, Any]) -> Reply:
    request = records.TABLE_BUFFERING_PROCESS_REQUEST.decode(row["request"], call.generation)
    execution = _execution(call, request)
    spec, params = execution.spec, execution.params
    params.batch_index = request["batch_index"] if spec.ordered_by_index else None
    if spec.ordered_by_index and params.batch_index is None:
        raise ProtocolError(f"{spec.where}: a batch arrived without its batch_index")
    if spec.keeps:
        execution.spool.append(request["input_batch"], params.batch_index)
        reply = execution.reply(call, execution.execution_id)
        writer = execution.spool.writer
        if writer is not None and params.batch_index is None and not call.service.log.calls:
            fixed = {name: value for name, value in request.items() if name not in ("input_batch", "batch_index")}
            assert call.session.request is not None
            call.session.calls = SpoolCalls(*call.session.request, fixed, writer, execution.spool.schema, reply.stream)
        return reply
    if execution.processor is None:
        execution.processor = spec.processor(execution.target, params)
    _, batches = decode_stream(request["input_batch"])
    if len(batches) != 1:
        raise ProtocolError(f"{spec.where}: {len(batches)} batches where one is due")
    return execution.reply(call, execution.processor(_spools().reconciled(batches[0], execution.spool.schema)))


def combine(call: Call, row: dict[str, Any]) -> bytes:
    request = records.TABLE_BUFFERING_COMBINE_REQUEST.decode(row["request"], call.generation)
    execution = _execution(call, request)
    execution.pause()
    ids = execution.spec.combine(execution.target, execution.params, list(request["state_ids"] or ()))
    return records.TABLE_BUFFERING_COMBINE_RESPONSE.encode({"finalize_state_ids": ids}, call.generation)


def _source(call: Call, request: dict[str, Any], invocation: Invocation) -> None:
    spec = invocation.spec
    finalize_state_id = request["finalize_state_id"]
    if finalize_state_id is None:
        raise ProtocolError(f"{spec.where}: the {SOURCE} phase requires finalize_state_id")
    known = _load(call, request["execution_id"] or b"")
    execution = Execution(call, request, invocation, known.execution_id, projected=True)
    params = execution.params
    params.init_response = known.response
    params.init_opaque_data = known.params.init_opaque_data
    assert isinstance(spec, BufferingSpec)
    schema = params.output_schema
    spool = execution.spool
    if spec.replays and not spec.ordered_by_index and not spec.options.cache_control and spool.holds_frames:
        readers = spool.readers(finalize_state_id)
        send_header(call, execution.execution_id, execution.params.init_response)
        call.begin_stream(schema)
        session = call.session
        try:
            if session.input.read_schema() is not None:
                serve_replay(session.input, session.output, schema, readers, params.projection_ids)
        except Exception as error:
            session.fail(error, schema)
        else:
            end_output(session, schema)
        session.drain()
        return
    producer = spec.source_producer(execution.target, params, invocation.values, finalize_state_id)
    send_header(call, execution.execution_id, execution.params.init_response)
    serve_producer_stream(call, producer, schema)


def destructor(call: Call, row: dict[str, Any]) -> Reply:
    """A hint that may come late, often, or where nobody knows the execution."""
    request = records.TABLE_BUFFERING_DESTRUCTOR_REQUEST.decode(row["request"], call.generation)
    execution_id = request["execution_id"]
    session = call.session
    if session.execution is not None and session.execution.execution_id == execution_id:
        session.keep(None)
    if execution_id:
        scope, storage = _scope(execution_id)
        quietly(session, lambda: storage.execution_clear(scope))
    encode = records.TABLE_BUFFERING_DESTRUCTOR_RESPONSE.encode
    return call.reply(None, lambda: encode({}, call.generation))


PHASED: Phased = {BufferingSpec: ((SINK, SOURCE), init_buffering), CopyToSpec: ((SINK,), init_buffering)}

HANDLERS: dict[str, Handler] = {
    "table_buffering_process": process,
    "table_buffering_combine": combine,
    "table_buffering_destructor": destructor,
}
