"""The request loop: reads requests of one connection, checks them and calls the handlers.

A ``Service`` is what all connections of a worker share; a ``Session`` serves one connection, one call at
a time, and always leaves both channels at a stream boundary.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Protocol

from vgi_fast.errors import ArgumentError, MethodNotImplementedError, ProtocolError, TransportError, TypeMismatchError
from vgi_fast.functions.context import ANONYMOUS, ClientLog
from vgi_fast.functions.invocation import InvocationCache
from vgi_fast.storage import storage_in_use
from vgi_fast.wire import keys, methods, versions
from vgi_fast.wire.arrow import RecordBatch, Schema, empty_schema, encode_stream, nested
from vgi_fast.wire.attach import AttachData
from vgi_fast.worker.failures import error_metadata, log_metadata
from vgi_fast.worker.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vgi_fast._core import AlikeCalls
    from vgi_fast.catalog.interface import CatalogInterface
    from vgi_fast.catalog.registry import Registry
    from vgi_fast.functions.context import CallerIdentity
    from vgi_fast.functions.invocation import Invocation
    from vgi_fast.functions.spec import FunctionSpec
    from vgi_fast.transports.base import Connection
    from vgi_fast.transports.shared_memory import SharedMemory
    from vgi_fast.wire.arrow import ScalarPlan
    from vgi_fast.wire.methods import Method
    from vgi_fast.worker.calls.buffering import Execution
    from vgi_fast.worker.calls.inout import Substream
    from vgi_fast.worker.trace import Tracer

__all__ = ["Call", "Reply", "Service", "Session"]

_MAX_ATTACHES: Final = 256
_MAX_REPLIES: Final = 4096
_IDLE_MS: Final = 20
"""A client that sends nothing for so long is waiting for its user."""


class Pledge(Protocol):
    """Something that a call has done and that is only certain once its answer has left."""

    def answered(self) -> None: ...

    def unanswered(self) -> None: ...


class Reply:
    """A response that is always the same, kept as the complete stream."""

    __slots__ = ("blob", "stream")

    def __init__(self, method: Method, blob: bytes | None) -> None:
        self.blob = blob
        self.stream = encode_stream(method.result, [result_batch(method, blob)])

    @classmethod
    def of_stream(cls, stream: bytes) -> Reply:
        """From the complete stream; only where nothing was logged before."""
        made = cls.__new__(cls)
        made.blob, made.stream = None, stream
        return made


def result_batch(method: Method, blob: bytes | None) -> RecordBatch:
    if not method.has_return:
        return RecordBatch(method.result, [], 0)
    if blob is None and method.kind == "bin":
        raise TypeMismatchError(f"{method.name}() expected a non-None return value but got None")
    return RecordBatch.from_row(method.result, {"result": blob})


class Service:
    """Everything that does not depend on a connection. ``handlers`` maps method names to functions."""

    def __init__(
        self, registry: Registry, *, name: str = "vgi_fast", describe: bool = False, log: Log | None = None
    ) -> None:
        from vgi_fast.worker.calls import BUILTINS, HANDLERS, RECORD_HANDLERS
        from vgi_fast.worker.executions import Executions

        self.registry = registry
        self.name = name
        self.describe = describe
        self.log = log or Log()
        self.server_id = os.urandom(6).hex()
        self.tracer = _tracer()
        self.handlers: dict[str, Callable[[Call, dict[str, Any]], bytes | Reply | None]] = HANDLERS
        self.record_handlers: dict[str, Callable[[Call, RecordBatch], bytes | Reply | None]] = RECORD_HANDLERS
        """Of methods whose record is read in place."""
        self.builtins = BUILTINS
        self.invocations = InvocationCache(self._candidates)
        self.prepare: Callable[[], None] | None = None
        """What can be done ahead of the first query, as soon as a client leaves time for it."""
        self._attaches: dict[bytes, AttachData] = {}
        self.replies: dict[Any, Reply] = {}
        """Constant responses, by whatever determines them."""
        self.executions = Executions(self._aggregates)
        self.partitions: OrderedDict[tuple[bytes, int], Any] = OrderedDict()
        self.templates: dict[Any, tuple[bytes, bytes]] = {}
        self.swept = 0.0

    def end(self) -> None:
        """At the end of the process: nothing stays that the clients are done with."""
        if storage_in_use():
            from vgi_fast.worker.calls.aggregate import sweep

            sweep(self, 0.0)

    def renew(self) -> None:
        """In a forked process: an identifier of its own, and the environment that it was given."""
        self.server_id = os.urandom(6).hex()
        self.tracer = _tracer()

    def _candidates(self, request: Mapping[str, Any]) -> list[FunctionSpec]:
        attach = request["attach_opaque_data"]
        catalog = self.interface(self.open_attach(attach), "bind").catalog.name if attach else None
        return self.registry.find(catalog, request["schema_name"], request["function_type"], request["function_name"])

    def _aggregates(self, request: Mapping[str, Any], attach: bytes | None, method: str) -> list[FunctionSpec]:
        catalog = self.interface(self.open_attach(attach), method).catalog.name if attach else None
        return self.registry.find(catalog, request["schema_name"], request["function_type"], request["function_name"])

    def seal_attach(self, attach: AttachData, auth: CallerIdentity) -> bytes:
        """What the client receives. A transport whose callers are told apart binds it to the caller here."""
        return bytes(attach)

    def open_attach(self, attach_opaque_data: bytes, auth: CallerIdentity = ANONYMOUS) -> AttachData:
        """What an attach says about itself; remembered, since every call repeats it.

        Counterpart of ``seal_attach``: what was sealed has to be remembered together with the caller.
        """
        known = self._attaches.get(attach_opaque_data)
        if known is None:
            known = AttachData.open(attach_opaque_data)
            if len(self._attaches) >= _MAX_ATTACHES:
                self._attaches.clear()
            self._attaches[attach_opaque_data] = known
        return known

    def prebuild(self) -> None:
        """Encode the listings that are the same for every attach, for whoever starts sessions later, as by fork."""
        from vgi_fast.worker.calls.catalog import prebuild

        prebuild(self)

    def interface(self, attach: AttachData, method: str) -> CatalogInterface:
        """Who answers for the catalog that a call belongs to."""
        found = self.registry.interfaces.get(attach.catalog)
        if found is None:
            raise ArgumentError(f"Cannot route {method}: no catalog '{attach.catalog}'")
        return found


class Call:
    """One request being answered."""

    __slots__ = (
        "_request_id",
        "auth",
        "generation",
        "log",
        "log_schema",
        "metadata",
        "method",
        "pending",
        "pledge",
        "request_blob",
        "session",
    )

    def __init__(self, session: Session, method: Method, metadata: dict[bytes, bytes], generation: int) -> None:
        self.session = session
        self.method = method
        self.metadata = metadata
        self.generation = generation
        self.auth: CallerIdentity = ANONYMOUS
        self.log = ClientLog(self._write_log)
        self.log_schema = method.result
        self.pending: list[dict[bytes, bytes]] | None = [] if method.is_stream else None
        """Logs of an init, which wait for its success (section 4.2 of the RPC document)."""
        self.request_blob = b""
        """Of an init, as it was received."""
        self._request_id: str | None = ""
        self.pledge: Pledge | None = None
        """What has to know whether the client got the answer."""

    @property
    def service(self) -> Service:
        return self.session.service

    @property
    def request_id(self) -> str | None:
        """Made when first written; None once a stream runs."""
        if self._request_id == "":
            self._request_id = os.urandom(8).hex()
        return self._request_id

    def begin_stream(self, schema: Schema) -> None:
        """From now on logs go to the output stream."""
        self._request_id = None
        self.log_schema = schema
        self.pending = None
        self.session.answer_through_memory(self.metadata)

    def reply(self, key: Any, make: Callable[[], bytes | None]) -> Reply:
        """The constant response under ``key``, made when first needed."""
        replies = self.service.replies
        known = replies.get((self.method.name, self.generation, key))
        if known is None:
            made = Reply(self.method, make())
            if len(replies) >= _MAX_REPLIES:
                replies.clear()
            known = replies[self.method.name, self.generation, key] = made
        return known

    def _write_log(self, level: str, message: str, extra: dict[str, Any]) -> None:
        level = level.upper()
        if level == keys.EXCEPTION:
            level = "ERROR"  # EXCEPTION would end the call at the client
        metadata = log_metadata(level, message, extra, server_id=self.service.server_id, request_id=self.request_id)
        if self.pending is not None:
            self.pending.append(metadata)
            return
        output = self.session.output
        if not output.open:
            output.schema(self.log_schema)
        output.empty_batch(metadata)


class Session:
    """Serves one connection until the peer leaves."""

    def __init__(self, service: Service, connection: Connection) -> None:
        self.service = service
        self.connection = connection
        self.input = connection.input
        self.output = connection.output
        self.plans: dict[Invocation, tuple[ScalarPlan, Schema]] = {}
        """Plans of scalar calls that can be used again; a plan serves one thread."""
        self.subject = ""
        """The function of the current call, for the trace."""
        self.busy = False
        self.leaving = False
        self.requests = 0
        self.shared_memory: SharedMemory | None = None
        """Once a client has named a segment."""
        self.substream: Substream | None = None
        """Of a table-in-out function, between its two phases."""
        self.execution: Execution | None = None
        """Of a table-buffering function, while this connection fills it."""
        self.calls: AlikeCalls | None = None
        """What takes the next calls, if they are like the one before."""
        self.request: tuple[Schema, dict[bytes, bytes]] | None = None
        """Schema and metadata of the one being answered; its memory may be somebody else's by then."""
        self._may_be_abandoned = False
        self._lost = False
        self._trace = service.tracer.start() if service.tracer is not None else None
        self.input.trace = self.output.trace = self._trace
        if connection.capabilities.spin_us:
            self.input.spin(connection.capabilities.spin_us)

    def keep(self, execution: Execution | None) -> None:
        """The execution whose calls are expected next; the one before lets go of its files."""
        if self.execution is not None:
            self.execution.pause()
        self.execution = execution

    def run(self) -> None:
        """Returns when the peer has left or has sent something that is not a request."""
        try:
            while self.serve_one() and self._serve_calls():
                self.busy = False
                # Read after busy was cleared: whoever sets it looks at busy afterwards.
                if self.leaving:
                    return
                if self.execution is not None and not self.input.wait(_IDLE_MS):
                    self.execution.pause()
                if self.service.prepare is not None and not self.input.wait(_IDLE_MS):
                    # Another session may have taken it during the wait.
                    prepare, self.service.prepare = self.service.prepare, None
                    if prepare is not None:
                        prepare()
        except TransportError:
            self.output.discard()
        finally:
            self.keep(None)
            if self.shared_memory is not None:
                self.shared_memory.close()

    def _serve_calls(self) -> bool:
        """Let the core answer calls that are alike; False at the end of the connection."""
        while self.calls is not None:
            calls, self.calls = self.calls, None
            try:
                request, idle = calls.serve(self.input, self.output, _IDLE_MS)
            except ProtocolError as error:
                self.fail(error, empty_schema())
                return False
            if request is None:
                return idle
            self._answer(request, request.metadata)
            if self._lost:
                return False
        return True

    def serve_one(self) -> bool:
        """Serve one request; False at the end of the connection."""
        try:
            if self.input.read_schema() is None:
                return False
            self.busy = True
            self.requests += 1
            batch = self.input.read_batch(resolve=False)  # a pointer that leads nowhere is no end of the connection
            self.input.drain()
        except ProtocolError as error:
            self.fail(error, empty_schema())
            return False
        may_be_abandoned, self._may_be_abandoned = self._may_be_abandoned, False
        if batch is None:
            return may_be_abandoned
        metadata = batch.metadata
        if may_be_abandoned and keys.METHOD not in metadata:
            return True
        self._answer(batch, metadata)
        return not self._lost

    def drain(self) -> None:
        """Read the open input stream to its end; what cannot be read ends the connection afterwards."""
        try:
            self.input.drain()
        except ProtocolError:
            self._lost = True

    def _answer(self, batch: RecordBatch, metadata: dict[bytes, bytes]) -> None:
        """Checks in the order of section 3.2 of the RPC document, then the handler."""
        started = time.perf_counter() if self.service.log.calls else 0.0
        error_schema = empty_schema()
        name = "?"
        failure: Exception | None = None
        call: Call | None = None
        try:
            name = _method_name(metadata)
            builtin = self.service.builtins.get(name)
            if builtin is None and (keys.SHM_SEGMENT_NAME in metadata or keys.SHM_OFFSET in metadata):
                batch = self._through_memory(batch, metadata)
            _check_rows(batch, metadata)
            if builtin is not None and builtin(self, metadata):
                return
            generation = versions.generation_of(metadata)
            method = methods.method(name, generation)
            if not method.is_stream:
                error_schema = method.result
            versions.check_protocol_version(metadata.get(keys.PROTOCOL_VERSION), generation)
            call = Call(self, method, metadata, generation)
            in_place = self.service.record_handlers.get(name)
            self.request = (batch.schema, metadata)
            if in_place is not None:
                answer = in_place(call, _record(method, batch))
            else:
                row = _parameters(method, batch)
                del batch
                self.input.release()
                handler = self.service.handlers.get(name)
                if handler is None:
                    raise MethodNotImplementedError(f"Method '{name}' is not implemented by this worker")
                answer = handler(call, row)
            if not method.is_stream:
                self.answer_through_memory(metadata)
                self._send(method, answer)
                if call.pledge is not None:
                    call.pledge.answered()
        except TransportError:  # nobody is there to be told
            if call is not None and call.pledge is not None:
                call.pledge.unanswered()
            raise
        except Exception as error:
            failure = error
            if call is not None and call.pledge is not None:
                call.pledge.unanswered()
            self.fail(error, error_schema)
            self._may_be_abandoned = name == "init"
        if self.shared_memory is not None:
            self.shared_memory.answer_inline()
        if self.service.log.calls:
            self._report(name, failure, time.perf_counter() - started)
        if self._trace is not None and self.service.tracer is not None:
            self.service.tracer.write(name, self.subject, self._trace.take())
            self.subject = ""

    def _through_memory(self, batch: RecordBatch, metadata: dict[bytes, bytes]) -> RecordBatch:
        """Attach what the request names, and the batch that it is a pointer to."""
        if self.shared_memory is None:
            from vgi_fast.transports.shared_memory import SharedMemory

            self.shared_memory = SharedMemory(self.connection, self.service.log)
        self.shared_memory.attach(metadata)
        return self.input.resolve(batch)

    def answer_through_memory(self, metadata: dict[bytes, bytes]) -> None:
        """Data batches may from now on be pointers, if the request allows for it."""
        if self.shared_memory is not None:
            self.shared_memory.answer_to(metadata)

    def _send(self, method: Method, answer: bytes | Reply | None) -> None:
        output = self.output
        if type(answer) is Reply:
            if not output.open:
                output.raw(answer.stream)
                output.flush()
                return
            answer = answer.blob
        batch = result_batch(method, answer)  # type: ignore[arg-type]
        if not output.open:
            output.schema(method.result)
        output.batch(batch)
        output.eos()
        output.flush()

    def fail(self, error: BaseException, schema: Schema) -> None:
        """End the open output stream, or a new one on ``schema``, with an error."""
        self.input.release()
        output = self.output
        if not output.open:
            output.schema(schema)
        output.empty_batch(error_metadata(error, server_id=self.service.server_id, request_id=os.urandom(8).hex()))
        output.eos()
        output.flush()

    def _report(self, name: str, failure: Exception | None, seconds: float) -> None:
        status = "ok" if failure is None else "error"
        extra: dict[str, Any] = {"duration_ms": round(seconds * 1000, 3)}
        if failure is not None:
            extra["error_type"] = type(failure).__name__
        self.service.log.write("INFO", "vgi_rpc.access", f"{versions.PROTOCOL_NAMES[1]}.{name} {status}", **extra)


def _tracer() -> Tracer | None:
    if not os.environ.get("VGI_FAST_TRACE"):
        return None
    from vgi_fast.worker.trace import tracer_from

    return tracer_from(os.environ)


_REQUIRED: Final = "in request batch custom_metadata"


def _method_name(metadata: dict[bytes, bytes]) -> str:
    raw = metadata.get(keys.METHOD)
    if raw is None:
        raise ProtocolError(f"Missing 'vgi_rpc.method' {_REQUIRED}")
    versions.check_request_version(metadata.get(keys.REQUEST_VERSION))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ProtocolError(f"'vgi_rpc.method' {_REQUIRED} is not UTF-8: {raw!r}") from None


def _check_rows(batch: RecordBatch, metadata: dict[bytes, bytes]) -> None:
    if batch.num_columns and batch.num_rows != 1:
        if keys.LOCATION in metadata:
            raise ProtocolError("The request batch is a pointer to an external location, which this worker cannot read")
        raise ProtocolError(f"Expected 1 row in request batch, got {batch.num_rows}")


def _parameters(method: Method, batch: RecordBatch) -> dict[str, Any]:
    declared = method.params
    if not batch.schema.equals(declared):
        _check_parameters(method, batch.schema)
    if len(declared) == 0:
        return {}
    row = batch.row(0)
    for field in declared.fields:
        if row[field.name] is None and not field.nullable:
            raise TypeMismatchError(f"{method.name}() parameter '{field.name}' is not optional but got None")
    return row


def _record(method: Method, batch: RecordBatch) -> RecordBatch:
    """The nested request, where it lies."""
    if not batch.schema.equals(method.params):
        _check_parameters(method, batch.schema)
    record = nested(batch)
    if record is None:
        raise TypeMismatchError(f"{method.name}() parameter 'request' is not optional but got None")
    return record


def _check_parameters(method: Method, given: Schema) -> None:
    """Names, order and types must agree; nullability flags and metadata need not."""
    declared = method.params
    extra = [name for name in given.names if name not in declared.names]
    if extra:
        raise TypeMismatchError(f"{method.name}() got unexpected keyword argument(s): {extra}")
    missing = [name for name in declared.names if name not in given.names]
    if missing:
        raise TypeMismatchError(f"{method.name}() missing required argument(s): {missing}")
    for position, (mine, other) in enumerate(zip(declared.fields, given.fields, strict=True)):
        if mine.name != other.name:
            raise TypeMismatchError(
                f"{method.name}() parameter schema field {position} expected name '{mine.name}', got '{other.name}'"
            )
        if mine.type != other.type:
            raise TypeMismatchError(
                f"{method.name}() parameter '{mine.name}': expected Arrow type {mine.type} but the request batch "
                f"carried {other.type}"
            )
