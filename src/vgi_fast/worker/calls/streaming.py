"""Streamed partitions: ``aggregate_streaming_open``, ``_chunk`` and ``_close`` (section 5 of the stateful document).

Each chunk of a session may come to another process. One that comes again because its process died before it
could answer is applied to the state before it. The session of a building block is a record, kept as those of
groups are; that of hooks is a value in the storage.
"""

from __future__ import annotations

import os
import pickle
import struct
import threading
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, cast

from vgi_fast._core import (
    Groups,
    HandledCalls,
    RecordBatch,
    cell_digest,
    encode_stream,
    partition_key,
    partition_starts,
)
from vgi_fast.errors import DefinitionError, ProtocolError, RowCountMismatchError, StorageError
from vgi_fast.functions.aggregates.engines import ReductionEngine
from vgi_fast.functions.arguments import decode_arguments
from vgi_fast.functions.overloads import resolve
from vgi_fast.storage import execution_scope, pack_int_key
from vgi_fast.storage.groups import GroupRecords, group_records
from vgi_fast.storage.mapped import MappedStorage
from vgi_fast.wire import records
from vgi_fast.wire.arrow import Array, Field, Schema, schema_from_bytes
from vgi_fast.worker.calls.aggregate import Fields, acknowledged, run_of
from vgi_fast.worker.dispatch import Reply, result_batch
from vgi_fast.worker.executions import new_execution_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgi_fast.functions.aggregates.context import Aggregation
    from vgi_fast.functions.aggregates.declaration import AggregateSpec
    from vgi_fast.storage.writers import Writer
    from vgi_fast.worker.calls.aggregate import Handler
    from vgi_fast.worker.dispatch import Call

_SESSION_NS: Final = b"_vgi/streaming_session"
_SESSION_KEY: Final = pack_int_key(0)
_HEAD: Final = struct.Struct("<QII16sQII")
"""Generation, numbers of keys, last chunk and who applied it, sizes of the state before and after it."""
_COUNTS: Final = struct.Struct("<II")
_NO_DIGEST: Final = bytes(16)
_KEY_BYTES: Final = 16
_LEAST_ROWS: Final = 64
_MAX_TEMPLATES: Final = 128
_PLAIN: Final = ("int64", "int32", "uint64", "uint32", "float64", "float32")


class RecordSession:
    """The session of a building block: group 0 of its execution.

    The record holds the numbers of keys, then twice the state and a digest of the partition key that it belongs
    to: after the last chunk, and before it. Rows come partition by partition, so one key is enough.
    """

    def __init__(self, run: Aggregation, engine: ReductionEngine) -> None:
        self._engine = engine
        self._half = engine.stride + _KEY_BYTES
        self._stride = 16 + 2 * self._half
        self.states: GroupRecords = group_records(run.storage, run.name, self._stride, b"session " + engine.layout)
        self._local = threading.local()

    def _groups(self) -> Groups:
        found: Groups | None = getattr(self._local, "groups", None)
        if found is None:
            found = self._local.groups = Groups(self._stride)
            self._local.group = Array.from_pylist([0], "int64")
        found.assign(self._local.group)
        return found

    def open(self, partition_keys: int, order_keys: int) -> None:
        groups = self._groups()
        self.states.load(groups)
        record = groups.records_view()
        record[0] = 1
        _COUNTS.pack_into(record, 8, partition_keys, order_keys)
        self.states.publish(groups, _NO_DIGEST)
        self.states.answered()

    def apply(self, run: Aggregation, digest: bytes, batch: RecordBatch, answer: Callable[[Array, int], Any]) -> Any:
        """What ``answer`` makes of the result column; all that can fail does so before the record changes.

        None where there is no such session. ``states`` wait to be told whether the client got it.
        """
        groups = self._groups()
        first_time = self.states.load(groups, digest)
        record = groups.records_view()
        if not record[0]:
            return None
        partition_keys, order_keys = _COUNTS.unpack_from(record, 8)
        keys = partition_keys + order_keys
        if not run.fits(batch.schema.types[keys:]):
            batch = _shaped(run, keys, batch)
        half = self._half
        before = bytes(record[16 : 16 + half] if first_time else record[16 + half : 16 + 2 * half])
        column, after = self._applied(before, batch, partition_keys, keys)
        made = answer(column, batch.num_rows)
        if first_time:
            record[16 + half : 16 + 2 * half] = before
        record[16 : 16 + half] = after
        self.states.publish(groups, digest)
        return made

    def _applied(self, before: bytes, batch: RecordBatch, keys: int, column: int) -> tuple[Array, bytes]:
        engine = self._engine
        state: bytes | None = before[: engine.stride]
        if batch.num_rows == 0:
            return engine.running(batch, column, b"", None)[0], before
        key = _key(batch, keys, 0)
        if before[0] == 0 or before[engine.stride :] != key:
            state = None
        starts = partition_starts(batch, keys)
        results, after = engine.running(batch, column, starts, state)
        return results, after + (_key(batch, keys, batch.num_rows - 1) if b"\1" in starts else key)


def _key(batch: RecordBatch, keys: int, row: int) -> bytes:
    return blake2b(partition_key(batch, keys, row), digest_size=_KEY_BYTES).digest()


class Chunks:
    """Answers chunks of one record session over one connection. Those that follow the first come from the core."""

    __slots__ = ("_call", "_run", "_session")

    def __init__(self, call: Call, run: Aggregation, session: RecordSession) -> None:
        self._call = call
        self._run = run
        self._session = session

    def __call__(self, digest: bytes, batch: RecordBatch) -> bytes | None:
        if not self._session.states.exists():
            return None
        answer: bytes | None = self._session.apply(self._run, digest, batch, self._stream)
        return answer

    def _stream(self, column: Array, rows: int) -> bytes:
        return _stream(self._call, self._run, column, rows)

    def answered(self) -> None:
        self._session.states.answered()

    def unanswered(self) -> None:
        self._session.states.unanswered()


def _record_session(run: Aggregation) -> RecordSession | None:
    if run.session is None and isinstance(run.engine, ReductionEngine):
        run.session = RecordSession(run, run.engine)
    session: RecordSession | None = run.session
    return session


def _unknown(call: Call) -> StorageError:
    return StorageError(f"{call.method.name}: unknown execution_id (streaming_open never ran or close already fired)")


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
    spec = cast("AggregateSpec", resolve(function, candidates, given, values))
    if not spec.options.streaming_partitioned:
        raise DefinitionError(f"{spec.where} does not stream partitions")
    spec.check_columns(values)
    result = schema_from_bytes(fields["output_schema"])[0].type
    request = {"arguments": fields["arguments"], "settings": b"", "input_schema": values.serialize()}
    execution_id = new_execution_id(spec, candidates.index(spec), request, bool(given.positional), result)
    run = call.service.executions.get((execution_id, function, fields["schema_name"], attach), call.method.name)
    kept = _record_session(run)
    if kept is not None:
        kept.open(partition_keys, order_keys)
    else:
        session = Session(partition_keys, order_keys, _pickled(run, _opened(run)))
        run.storage.state_put_many(execution_scope(run.name), _SESSION_NS, [(_SESSION_KEY, session.encode())])
    return records.AGGREGATE_STREAMING_OPEN_RESPONSE.encode({"execution_id": execution_id}, call.generation)


def _opened(run: Aggregation) -> Any:
    hook = getattr(run.spec.owner, "streaming_open", None)
    return None if hook is None else hook(run.params(run.result_schema()))


def chunk(call: Call, record: RecordBatch) -> bytes | Reply:
    fields = Fields(record)
    run = run_of(call, fields)
    kept = _record_session(run)
    if kept is None:
        column, rows = _by_hooks(call, run, fields)
        if call.session.output.open:  # something was logged
            assert run.output_type is not None
            return _response(call, run, column.cast(run.output_type), rows)
        return Reply.of_stream(_stream(call, run, column, rows))
    chunks = Chunks(call, run, kept)
    call.pledge = chunks
    stream = chunks(cell_digest(record, fields.need("input_batch")), fields.batch("input_batch"))
    if stream is None:
        raise _unknown(call)
    if not call.service.log.calls and call.session.request is not None:
        fixed = {name: fields[name] for name in fields.at if name != "input_batch"}
        call.session.calls = HandledCalls(*call.session.request, fixed, chunks)
    return Reply.of_stream(stream)


def _stream(call: Call, run: Aggregation, column: Array, rows: int) -> bytes:
    """The complete answer."""
    assert run.output_type is not None
    column = column.cast(run.output_type)
    if rows >= _LEAST_ROWS and run.output_type.kind in _PLAIN and not column.null_count:
        return _patched(call, run, column, rows)
    return encode_stream(call.method.result, [result_batch(call.method, _response(call, run, column, rows))])


def _response(call: Call, run: Aggregation, column: Array, rows: int) -> bytes:
    schema = run.result_schema()
    blob = encode_stream(schema, [RecordBatch(schema, [column], rows)])
    return records.AGGREGATE_STREAMING_CHUNK_RESPONSE.encode({"result_batch": blob}, call.generation)


def _patched(call: Call, run: Aggregation, column: Array, rows: int) -> bytes:
    """Answers of so many rows without nulls differ in their values only: three nested streams made once."""
    templates = call.service.templates
    key = (call.generation, run.output_type, rows)
    values: Any = column.to_numpy()
    parts = templates.get(key)
    if parts is None:
        assert run.output_type is not None
        placeholder = os.urandom(rows * run.output_type.byte_width)
        same_size = Array.from_numpy(type(values)(values.shape, values.dtype, placeholder), run.output_type)
        blob = _response(call, run, same_size, rows)
        stream = encode_stream(call.method.result, [result_batch(call.method, blob)])
        before, _, after = stream.partition(placeholder)
        if len(templates) >= _MAX_TEMPLATES:
            templates.clear()
        parts = templates[key] = (before, after)
    return b"".join((parts[0], values, parts[1]))


def _by_hooks(call: Call, run: Aggregation, fields: Fields) -> tuple[Array, int]:
    scope = execution_scope(run.name)
    (stored,) = run.storage.state_get_many(scope, _SESSION_NS, [_SESSION_KEY])
    if stored is None:
        raise _unknown(call)
    session = Session.decode(stored)
    digest = cell_digest(fields.record, fields.need("input_batch"))
    batch = _shaped(run, session.partition_keys + session.order_keys, fields.batch("input_batch"))
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
    return column, batch.num_rows


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


def _shaped(run: Aggregation, keys: int, batch: RecordBatch) -> RecordBatch:
    if run.fits(batch.schema.types[keys:]):
        return batch
    names = [field.name for field in batch.schema]
    types = [*batch.schema.types[:keys], *run.input_types]
    columns = [batch.column(index).cast(type) for index, type in enumerate(types)]
    schema = Schema([Field(name, type) for name, type in zip(names, types, strict=True)])
    return RecordBatch(schema, columns, batch.num_rows)


def _applied(run: Aggregation, session: Session, batch: RecordBatch) -> tuple[Array, bytes]:
    """The result of each row, and the state after them."""
    state = _unpickled(run, session.state)
    answer = run.spec.owner.streaming_chunk(
        batch.to_arrow(), state, session.partition_keys, session.order_keys, run.params(run.result_schema())
    )
    assert run.output_type is not None
    column = Array.coerce(answer, run.output_type)
    if len(column) != batch.num_rows:
        raise RowCountMismatchError(f"streaming_chunk returned {len(column)} values for {batch.num_rows} input rows")
    return column, _pickled(run, state)


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
    kept = _record_session(run)
    if kept is not None:
        kept.states.discard()
        return acknowledged(call, records.AGGREGATE_STREAMING_CLOSE_RESPONSE)
    if hasattr(run.spec.owner, "streaming_close"):
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
