"""One connection to a worker: requests, responses, streams (sections 3 and 4 of the RPC document).

One call at a time and one thread at a time, as the protocol has it. Whatever goes wrong below the level of an
answer (bytes, peer, deadline) leaves the connection broken; a ``RemoteError`` does not.
"""

from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final

from vgi_fast._core import Input, Output, RecordBatch, Schema
from vgi_fast.client.channels import EXIT_WAIT_S, Channel
from vgi_fast.client.messages import LogRecord, Meaning, meaning, read_error, read_log
from vgi_fast.client.shared_memory import SharedMemory
from vgi_fast.client.watchdog import Watchdog
from vgi_fast.errors import ProtocolError, RemoteError, TransportError
from vgi_fast.wire import keys, versions

__all__ = ["Connection", "Stream"]

EMPTY_SCHEMA: Final = Schema([])
POST_MORTEM_WAIT_S: Final = 1.0  # how long a peer that hung up may take to have an exit status


class Connection:
    def __init__(
        self,
        channel: Channel,
        on_log: Callable[[LogRecord], None],
        *,
        timeout_s: float | None = None,
        generation: int = versions.DEFAULT_GENERATION,
        shared_memory_bytes: int | None = None,
        min_shared_batch_bytes: int | None = None,
    ) -> None:
        self.channel = channel
        self.timeout_s = timeout_s
        self.generation = generation
        self.input = Input(channel.read_fd)
        self.output = Output(channel.write_fd)
        self.stream: Stream | None = None
        """The open stream; no request may be sent while there is one."""
        self.usable = True
        self.shared_memory: SharedMemory | None = None
        """From the first stream on, where it was asked for and the worker can."""
        self._shared_memory_bytes = shared_memory_bytes
        self._min_shared_batch_bytes = min_shared_batch_bytes
        self._on_log = on_log
        self._watchdog = Watchdog(channel.abort)

    def request_metadata(self, method: str) -> dict[bytes, bytes]:
        return {
            keys.METHOD: method.encode(),
            keys.REQUEST_VERSION: versions.REQUEST_VERSION,
            keys.PROTOCOL_VERSION: versions.GENERATIONS[self.generation].encode(),
        }

    def call(
        self, method: str, request: RecordBatch, metadata: Mapping[bytes, bytes] | None = None
    ) -> tuple[Schema, RecordBatch | None]:
        """A unary call: the response's schema and its data batch. ``metadata`` replaces the request's own."""
        self._check_idle()
        memory = self.shared_memory
        with self.guard(f"the answer to {method!r}"):
            if memory is not None:
                memory.start_placing()
            self._send_request(method, request, metadata)
            if memory is not None:
                memory.stop_placing()
            return self.read_single(method)

    def open(self, method: str, request: RecordBatch, input_schema: Schema) -> "Stream":
        """A streaming call, up to and including its header."""
        self._check_idle()
        metadata = self.request_metadata(method) | self._offer_memory()
        with self.guard(f"the header of {method!r}"):
            self._send_request(method, request, metadata)
            schema, header = self.read_single(method)
            if len(schema) == 0 or header is None:
                raise ProtocolError(f"the header of {method!r} is empty and carries no error")
        if self.shared_memory is not None:
            self.shared_memory.start_placing()
        self.stream = Stream(self, header.row(0), input_schema)
        return self.stream

    def close(self, wait_s: float = EXIT_WAIT_S) -> int | None:
        """Safe to repeat. The exit status where the peer is a process."""
        self.usable = False
        self._watchdog.close()
        try:
            return self.channel.close(wait_s)
        finally:
            if self.shared_memory is not None:
                self.shared_memory.close()

    # -- for Stream -----------------------------------------------------------------------------

    def guard(self, awaited: str) -> "_Guard":
        if not self.usable:
            raise TransportError("the connection to the worker is closed or broken")
        return _Guard(self, self._watchdog, awaited)

    def read_single(self, method: str) -> tuple[Schema, RecordBatch | None]:
        """A whole response stream. Raises the worker's error, once the stream's end was read."""
        schema = self.input.read_schema()
        if schema is None:
            raise TransportError("the worker hung up")
        data: RecordBatch | None = None
        failure: RemoteError | None = None
        while (batch := self.next_answer()) is not None:
            if isinstance(batch, RemoteError):
                failure = failure or batch
            elif data is not None:
                raise ProtocolError(f"the answer to {method!r} has more than one data batch")
            else:
                data = batch
        if failure is not None:
            raise failure
        return schema, data

    def next_answer(self) -> RecordBatch | RemoteError | None:
        """Data or error of the open output stream, None at its end; logs are delivered on the way."""
        while (batch := self.input.read_batch()) is not None:
            kind = meaning(batch)
            if kind is Meaning.DATA:
                return batch
            if kind is Meaning.ERROR:
                return read_error(batch.metadata)
            self._on_log(read_log(batch.metadata))
        # The end of a pipe between two messages reads like the end of the stream.
        if self.channel.is_crashed():
            raise TransportError("the worker hung up")
        return None

    def post_mortem(self, error: TransportError | ProtocolError, awaited: str) -> TransportError | ProtocolError:
        """``error`` again, with what is known about the peer's end. Bytes that a dying worker cut off are its end."""
        ending = self.channel.ending(POST_MORTEM_WAIT_S)
        if self._watchdog.expired:
            message = f"the worker was ended: {awaited} took longer than {self.timeout_s} s"
        elif ending is not None:
            message = f"the worker {ending} before {awaited}"
        else:
            message = f"{error.message} before {awaited}"
        tail = self.channel.stderr_tail()
        detail = f"worker: {self.channel.name}" + (f"\nworker stderr:\n{tail}" if tail else "")
        if isinstance(error, ProtocolError) and ending is None:
            return ProtocolError(error.message, detail=detail)
        return TransportError(message, detail=detail)

    def end_stream(self) -> None:
        self.stream = None
        if self.shared_memory is not None:
            self.shared_memory.stop_placing()

    def _offer_memory(self) -> dict[bytes, bytes]:
        """Negotiated once, before the first stream (sections 7 and 8.4)."""
        size, self._shared_memory_bytes = self._shared_memory_bytes, None
        if size is not None:
            method = keys.TRANSPORT_OPTIONS_METHOD
            metadata = self.request_metadata(method) | {keys.TRANSPORT_SHM: keys.TRUE}
            _, answer = self.call(method, RecordBatch(EMPTY_SCHEMA, [], 1), metadata)
            if answer is not None and answer.metadata.get(keys.TRANSPORT_SHM) == keys.TRUE:
                self.shared_memory = SharedMemory(self.input, self.output, size, self._min_shared_batch_bytes)
        return {} if self.shared_memory is None else self.shared_memory.offer()

    def _check_idle(self) -> None:
        if self.stream is not None and self.usable:
            raise TransportError("a stream is open on this connection; close it before the next call")

    def _send_request(self, method: str, request: RecordBatch, metadata: Mapping[bytes, bytes] | None) -> None:
        output = self.output
        output.schema(request.schema)
        output.batch(request, self.request_metadata(method) if metadata is None else metadata)
        output.eos()
        output.flush()


class _Guard:
    """Deadline and failure handling of one exchange of messages."""

    __slots__ = ("_awaited", "_connection", "_watchdog")

    def __init__(self, connection: Connection, watchdog: Watchdog, awaited: str) -> None:
        self._connection = connection
        self._watchdog = watchdog
        self._awaited = awaited

    def __enter__(self) -> None:
        if self._connection.timeout_s is not None:
            self._watchdog.arm(self._connection.timeout_s)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._connection.timeout_s is not None:
            self._watchdog.disarm()
        if error is None or isinstance(error, RemoteError):
            return
        self._connection.usable = False
        if self._connection.shared_memory is not None:
            self._connection.shared_memory.unlink()
        if isinstance(error, (TransportError, ProtocolError)):
            raise self._connection.post_mortem(error, self._awaited) from error


class Stream:
    """The two lockstep streams of an ``init`` (sections 4.4 and 4.5).

    ``tick`` drives a producer, ``exchange`` an exchange; each returns the answer, or None at the end of the
    output. An error of the worker is raised after both streams were ended, so the connection stays usable.
    """

    def __init__(self, connection: Connection, header: dict[str, Any], input_schema: Schema) -> None:
        self.header = header
        self.input_schema = input_schema
        self.output_schema: Schema | None = None
        """Known from the first answer on."""
        self._connection = connection
        self._input_started = False
        self._input_open = True
        self._ended = False
        self._closed = False

    def tick(self, metadata: Mapping[bytes, bytes] | None = None) -> RecordBatch | None:
        self.send_tick(metadata)
        return self.receive()

    def exchange(self, batch: RecordBatch, metadata: Mapping[bytes, bytes] | None = None) -> RecordBatch | None:
        self._send(batch, metadata)
        return self.receive()

    def send_tick(self, metadata: Mapping[bytes, bytes] | None = None) -> None:
        """Ask for a batch without waiting for it; at most one ahead of ``receive``."""
        self._send(None, metadata)

    def receive(self) -> RecordBatch | None:
        """The next data batch, or None at the end of the output."""
        if self._ended:
            self.close()
            return None
        with self._guard():
            answer = self._next_answer()
        if isinstance(answer, RecordBatch):
            return answer
        self.close()
        if answer is not None:
            raise answer
        return None

    def batches(self, ticks_ahead: int = 1) -> Iterator[RecordBatch]:
        """All batches of a producer. DuckDB is one tick ahead; 0 asks for a batch only when it is wanted."""
        try:
            self.send_tick()
            while (batch := self.receive()) is not None:
                if ticks_ahead:
                    self.send_tick()
                    yield batch
                else:
                    yield batch
                    self.send_tick()
        finally:
            if self._connection.usable:
                self.close()

    def cancel(self) -> None:
        """Tell the worker to stop, end both streams (section 4.7)."""
        if self._closed or self._ended:
            return self.close()
        with self._guard():
            self._start_input()
            if self._input_open:
                self._write(None, {keys.CANCEL: b"1"})
        self.close()

    def finish(self) -> list[RecordBatch]:
        """End the input and read the rest of the output; an error in it is raised."""
        with self._guard():
            self._end_input()
        rest = []
        while (batch := self.receive()) is not None:
            rest.append(batch)
        return rest

    def close(self) -> None:
        """End the input, discard what is left of the output. Safe to repeat."""
        if self._closed:
            return
        self._closed = True
        with self._guard():
            self._end_input()
            while not self._ended:
                self._next_answer()
        self._connection.end_stream()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._connection.usable:
            self.close()

    def _guard(self) -> _Guard:
        return self._connection.guard("the end of the stream" if self._closed else "the next batch")

    def _send(self, batch: RecordBatch | None, metadata: Mapping[bytes, bytes] | None) -> None:
        if self._closed:
            raise TransportError("the stream is closed")
        with self._guard():
            self._start_input()
            if self._input_open:
                self._write(batch, metadata)

    def _start_input(self) -> None:
        if not self._input_started:
            self._input_started = True
            self._connection.output.schema(self.input_schema)

    def _write(self, batch: RecordBatch | None, metadata: Mapping[bytes, bytes] | None) -> None:
        output = self._connection.output
        try:
            if batch is None:
                output.empty_batch(metadata)
            else:
                # Exchanges are lockstep: the worker waits, and may have the room of the last answer.
                self._connection.input.give_back()
                output.batch(batch, metadata)
            output.flush()
        except TransportError:
            # The worker may have answered before it left: read on, as DuckDB does.
            output.discard()
            self._input_open = False

    def _end_input(self) -> None:
        self._start_input()
        if not self._input_open:
            return
        self._input_open = False
        try:
            self._connection.output.eos()
            self._connection.output.flush()
        except TransportError:
            self._connection.output.discard()

    def _next_answer(self) -> RecordBatch | RemoteError | None:
        if self.output_schema is None:
            self.output_schema = self._connection.input.read_schema()
            if self.output_schema is None:
                raise TransportError("the worker hung up")
        answer = self._connection.next_answer()
        if answer is None:
            self._ended = True
        return answer
