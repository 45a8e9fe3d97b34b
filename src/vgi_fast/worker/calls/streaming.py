"""Streamed partitions: ``aggregate_streaming_open``, ``_chunk`` and ``_close`` (section 5 of the stateful document).

A session is one value in the storage: its state after the last chunk, the state before it, and which chunk that
was. Each chunk may come to another process; one that comes again because its process died before it could
answer is applied to the state before it.
"""

from __future__ import annotations

import pickle
import struct
from typing import TYPE_CHECKING, Any, Final

from vgi_fast._core import RecordBatch, cell_digest, encode_stream, partition_key, partition_starts
from vgi_fast.errors import DefinitionError, ProtocolError, RowCountMismatchError, StorageError
from vgi_fast.functions.aggregate_engines import ReductionEngine
from vgi_fast.functions.arguments import decode_arguments
from vgi_fast.functions.overloads import resolve
from vgi_fast.storage import execution_scope, pack_int_key
from vgi_fast.storage.mapped import MappedStorage
from vgi_fast.wire import records
from vgi_fast.wire.arrow import Array, Field, Schema, schema_from_bytes
from vgi_fast.worker.calls.aggregate import Fields, acknowledged, run_of
from vgi_fast.worker.executions import new_execution_id

if TYPE_CHECKING:
    from vgi_fast.functions.aggregate_context import Aggregation
    from vgi_fast.storage.writers import Writer
    from vgi_fast.worker.calls.aggregate import Handler
    from vgi_fast.worker.dispatch import Call, Reply

_SESSION_NS: Final = b"_vgi/streaming_session"
_SESSION_KEY: Final = pack_int_key(0)
_HEAD: Final = struct.Struct("<QII16sQII")
"""Generation, numbers of keys, last chunk and who applied it, sizes of the state before and after it."""
_NO_DIGEST: Final = bytes(16)


class Session:
    """A stored session taken apart."""

    __slots__ = ("before", "digest", "generation", "order_keys", "partition_keys", "state", "writer")

    def __init__(self, partition_keys: int, order_keys: int, state: bytes) -> None:
        self.generation = 0
        self.partition_keys = partition_keys
        self.order_keys = order_keys
        self.digest = _NO_DIGEST
        self.writer = 0
        self.before = b""
        self.state = state

    def encode(self) -> bytes:
        head = _HEAD.pack(
            self.generation,
            self.partition_keys,
            self.order_keys,
            self.digest,
            self.writer,
            len(self.before),
            len(self.state),
        )
        return head + self.before + self.state

    @classmethod
    def decode(cls, data: bytes) -> Session:
        if len(data) < _HEAD.size:
            raise StorageError("a stored session is cut off")
        generation, partition_keys, order_keys, digest, writer, before, after = _HEAD.unpack_from(data)
        if len(data) != _HEAD.size + before + after:
            raise StorageError("a stored session is damaged")
        found = cls(partition_keys, order_keys, data[_HEAD.size + before :])
        found.generation, found.digest, found.writer = generation, digest, writer
        found.before = data[_HEAD.size : _HEAD.size + before]
        return found


def open_session(call: Call, record: RecordBatch) -> bytes:
    fields = Fields(record)
    function = fields["function_name"]
    attach = fields["attach_opaque_data"] or None
    candidates = call.service.executions.candidates(function, fields["schema_name"], attach, call.method.name)
    partition_keys, order_keys = fields["partition_key_count"], fields["order_key_count"]
    schema = schema_from_bytes(fields["input_schema"])
    if min(partition_keys, order_keys) < 0 or partition_keys + order_keys > len(schema):
        raise ProtocolError(f"{partition_keys} partition and {order_keys} order keys of {len(schema)} columns")
    values = Schema(schema.fields[partition_keys + order_keys :])
    given = decode_arguments(fields["arguments"])
    spec = resolve(function, candidates, given, values)
    if not spec.options.streaming_partitioned:
        raise DefinitionError(f"{spec.where} does not stream partitions")
    spec.check_columns(values)
    result = schema_from_bytes(fields["output_schema"])[0].type
    request = {"arguments": fields["arguments"], "settings": b"", "input_schema": values.serialize()}
    execution_id = new_execution_id(spec, candidates.index(spec), request, bool(given.positional), result)
    run = call.service.executions.get(execution_id, function, fields["schema_name"], attach, call.method.name)
    state = b"" if isinstance(run.engine, ReductionEngine) else _pickled(run, _opened(run))
    session = Session(partition_keys, order_keys, state)
    run.storage.state_put_many(execution_scope(run.name), _SESSION_NS, [(_SESSION_KEY, session.encode())])
    return records.AGGREGATE_STREAMING_OPEN_RESPONSE.encode({"execution_id": execution_id}, call.generation)


def _opened(run: Aggregation) -> Any:
    hook = getattr(run.spec.owner, "streaming_open", None)
    return None if hook is None else hook(run.params(run.result_schema()))


def chunk(call: Call, record: RecordBatch) -> bytes:
    fields = Fields(record)
    run = run_of(call, fields)
    scope = execution_scope(run.name)
    (stored,) = run.storage.state_get_many(scope, _SESSION_NS, [_SESSION_KEY])
    if stored is None:
        raise StorageError(
            f"{call.method.name}: unknown execution_id (streaming_open never ran or close already fired)"
        )
    session = Session.decode(stored)
    digest = cell_digest(record, fields.need("input_batch"))
    batch = _shaped(run, session, fields.batch("input_batch"))
    writers = run.storage.writers() if isinstance(run.storage, MappedStorage) else None
    if digest == session.digest and writers is not None and writers.died_unanswered(session.writer, run.name, digest):
        session.state = session.before
    column, state = _applied(run, session, batch)
    session.before, session.state = session.state, state
    session.digest = digest
    session.generation += 1
    if writers is not None:
        writer = writers.acquire()
        session.writer = writer.name
        writer.journal.note(run.name, digest)
        call.pledge = Applied(writers, writer)
    run.storage.state_put_many(scope, _SESSION_NS, [(_SESSION_KEY, session.encode())])
    schema = run.result_schema()
    blob = encode_stream(schema, [RecordBatch(schema, [column.cast(schema[0].type)], batch.num_rows)])
    return records.AGGREGATE_STREAMING_CHUNK_RESPONSE.encode({"result_batch": blob}, call.generation)


class Applied:
    """A chunk that is part of the stored state and whose result is on its way."""

    __slots__ = ("_writer", "_writers")

    def __init__(self, writers: Any, writer: Writer) -> None:
        self._writers = writers
        self._writer = writer

    def answered(self) -> None:
        self._writer.journal.answered()
        self._writers.release(self._writer)

    def unanswered(self) -> None:
        self._writers.abandon(self._writer)


def _shaped(run: Aggregation, session: Session, batch: RecordBatch) -> RecordBatch:
    keys = session.partition_keys + session.order_keys
    if run.fits(batch.schema.types[keys:]):
        return batch
    names = [field.name for field in batch.schema]
    types = [*batch.schema.types[:keys], *run.input_types]
    columns = [batch.column(index).cast(type) for index, type in enumerate(types)]
    schema = Schema([Field(name, type) for name, type in zip(names, types, strict=True)])
    return RecordBatch(schema, columns, batch.num_rows)


def _applied(run: Aggregation, session: Session, batch: RecordBatch) -> tuple[Array, bytes]:
    """The result of each row, and the state after them."""
    if isinstance(run.engine, ReductionEngine):
        return _running(run.engine, session, batch)
    state = _unpickled(run, session.state)
    answer = run.spec.owner.streaming_chunk(
        batch.to_arrow(), state, session.partition_keys, session.order_keys, run.params(run.result_schema())
    )
    assert run.output_type is not None
    column = Array.coerce(answer, run.output_type)
    if len(column) != batch.num_rows:
        raise RowCountMismatchError(
            f"streaming_chunk returned {len(column)} values for {batch.num_rows} input rows"
        )
    return column, _pickled(run, state)


def _running(engine: ReductionEngine, session: Session, batch: RecordBatch) -> tuple[Array, bytes]:
    """State: the record and the key of the last row. Rows come partition by partition, so one is enough."""
    keys = session.partition_keys
    column = keys + session.order_keys
    record, key = session.state[: engine.stride] or None, session.state[engine.stride :]
    if record is not None and len(record) < engine.stride:
        raise StorageError("a stored session is damaged: its record is cut off")
    if batch.num_rows == 0:
        return engine.running(batch, column, b"", None)[0], session.state
    if partition_key(batch, keys, 0) != key:
        record = None
    results, after = engine.running(batch, column, partition_starts(batch, keys), record)
    return results, after + partition_key(batch, keys, batch.num_rows - 1)


def _pickled(run: Aggregation, state: Any) -> bytes:
    try:
        return pickle.dumps(state, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise DefinitionError(f"{run.spec.where}: the state of a session cannot be stored: {error}") from error


def _unpickled(run: Aggregation, data: bytes) -> Any:
    try:
        return pickle.loads(data)
    except Exception as error:
        raise StorageError(f"{run.spec.where}: a stored session cannot be read: {error}") from error


def close_session(call: Call, record: RecordBatch) -> Reply:
    fields = Fields(record)
    run = run_of(call, fields)
    scope = execution_scope(run.name)
    if not isinstance(run.engine, ReductionEngine) and hasattr(run.spec.owner, "streaming_close"):
        (stored,) = run.storage.state_get_many(scope, _SESSION_NS, [_SESSION_KEY])
        if stored is not None:
            state = _unpickled(run, Session.decode(stored).state)
            run.spec.owner.streaming_close(state, run.params(run.result_schema()))
    run.storage.execution_clear(scope)
    return acknowledged(call, records.AGGREGATE_STREAMING_CLOSE_RESPONSE)


HANDLERS: dict[str, Handler] = {
    "aggregate_streaming_open": open_session,
    "aggregate_streaming_chunk": chunk,
    "aggregate_streaming_close": close_session,
}
