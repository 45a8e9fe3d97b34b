"""The ``aggregate_*`` methods (sections 3 to 5 of the stateful document).

Handlers take the record inside of the request, read where it is: an update's batch is never copied.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, cast

from vgi_fast._core import (
    HandledCalls,
    RecordBatch,
    Schema,
    cell,
    cell_digest,
    cells,
    decode_stream,
    encode_stream,
    nested,
)
from vgi_fast.errors import ArgumentError, ProtocolError, RowCountMismatchError, StorageError
from vgi_fast.functions.aggregates.context import AggregateArguments, AggregateBindParams, WindowPartition
from vgi_fast.functions.aggregates.engines import ReductionEngine, frame_pairs
from vgi_fast.functions.arguments import bind_arguments, decode_arguments
from vgi_fast.functions.overloads import resolve
from vgi_fast.storage import default_storage, execution_scope, pack_int_key
from vgi_fast.wire import keys, records
from vgi_fast.wire.arrow import Array, schema_from_bytes
from vgi_fast.worker.dispatch import Reply, result_batch
from vgi_fast.worker.executions import new_execution_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgi_fast.functions.aggregates.context import Aggregation
    from vgi_fast.functions.aggregates.declaration import AggregateSpec
    from vgi_fast.wire.records import Record
    from vgi_fast.worker.dispatch import Call

    Handler = Callable[[Call, RecordBatch], bytes | Reply | None]

_PARTITIONS_NS: Final = b"_vgi/aggregate_window_partition"
_MAX_PARTITIONS: Final = 256
_SWEEP_EVERY_S: Final = 10.0
_RETIRED_S: Final = 5.0
IDLE_S: Final = 24 * 3600.0
"""Executions that nobody has changed for so long are removed. Prepared statements keep their constants, which
are in the execution id."""


class Fields:
    """Values of a record by name; a field that is not there is None. Positions are found once for each schema."""

    __slots__ = ("at", "owner", "record")

    def __init__(self, record: RecordBatch) -> None:
        self.record = record
        schema = record.schema
        known = _positions.get(id(schema))
        if known is None or known[0] is not schema:
            if len(_positions) > 256:
                _positions.clear()
            at = {name: index for index, name in reversed(list(enumerate(schema.names)))}
            known = _positions[id(schema)] = (schema, at, tuple(at.get(name) for name in _OWNER))
        _, self.at, self.owner = known

    def __getitem__(self, name: str) -> Any:
        index = self.at.get(name)
        return None if index is None else cell(self.record, index)

    def need(self, name: str) -> int:
        index = self.at.get(name)
        if index is None:
            raise ProtocolError(f"a request without the field '{name}'")
        return index

    def batch(self, name: str) -> RecordBatch:
        found = nested(self.record, self.need(name))
        if found is None:
            raise ProtocolError(f"the batch '{name}' of a request is empty")
        return found


_OWNER: Final = ("execution_id", "function_name", "schema_name", "attach_opaque_data")
"""What a request says about whose it is."""
_positions: dict[int, tuple[Schema, dict[str, int], tuple[int | None, ...]]] = {}
"""By identity: schemas are decoded once."""


class Running:
    """The states that one request has changed, until its client has the answer."""

    __slots__ = ("run",)

    def __init__(self, run: Aggregation) -> None:
        self.run = run

    def answered(self) -> None:
        self.run.records.answered()
        self.run.engine.answered()

    def unanswered(self) -> None:
        self.run.records.unanswered()
        self.run.engine.unanswered()


def run_of(call: Call, fields: Fields) -> Aggregation:
    return call.service.executions.get(cells(fields.record, fields.owner), call.method.name)


def acknowledged(call: Call, record: Record) -> Reply:
    return call.reply(None, lambda: record.encode({}, call.generation))


# -- plain aggregates ----------------------------------------------------------------------------


def bind(call: Call, record: RecordBatch) -> bytes:
    fields = Fields(record)
    request = {name: fields[name] for name in records.AGGREGATE_BIND_REQUEST.schema(call.generation).names}
    function = request["function_name"]
    attach = request["attach_opaque_data"] or None
    candidates = call.service.executions.candidates(function, request["schema_name"], attach, call.method.name)
    given = decode_arguments(request["arguments"])
    input_schema = schema_from_bytes(request["input_schema"]) if request["input_schema"] else Schema([])
    spec = cast("AggregateSpec", resolve(function, candidates, given, input_schema))
    spec.check_settings(request["settings"])
    values = bind_arguments(spec.signature, given, f"Function '{spec.name}'")
    spec.check_columns(input_schema)
    params: AggregateBindParams[Any] = AggregateBindParams(
        {
            **request,
            "transaction_opaque_data": None,
            "at_unit": None,
            "at_value": None,
            # There is no second bind in which a secret could be delivered.
            "resolved_secrets_provided": False,
        },
        AggregateArguments(values, given),
        given,
        input_schema,
        auth=call.auth,
        log=call.log,
    )
    schema = spec.bind(params).output_schema
    execution_id = new_execution_id(spec, candidates.index(spec), request, bool(given.positional), schema[0].type)
    return records.AGGREGATE_BIND_RESPONSE.encode(
        {"output_schema": schema.serialize(), "execution_id": execution_id}, call.generation
    )


def update(call: Call, record: RecordBatch) -> Reply:
    fields = Fields(record)
    run = run_of(call, fields)
    position = fields.need("input_batch")
    reply = acknowledged(call, records.AGGREGATE_UPDATE_RESPONSE)
    updates = call.pledge = Updates(run, reply.stream)
    updates(cell_digest(record, position), fields.batch("input_batch"))
    session = call.session
    # Not where authors' code runs: a call that fails is repeated, to be understood in full.
    if isinstance(run.engine, ReductionEngine) and session.request is not None and not call.service.log.calls:
        fixed = {name: fields[name] for name in fields.at if name != "input_batch"}
        session.calls = HandledCalls(*session.request, fixed, updates)
    return reply


class Updates:
    """Applies updates of one execution over one connection. Those that follow the first may come from the core."""

    __slots__ = ("_has_changed", "_reply", "_running")

    def __init__(self, run: Aggregation, reply: bytes) -> None:
        self._running = Running(run)
        self._reply = reply
        self._has_changed = False

    def __call__(self, digest: bytes, batch: RecordBatch) -> bytes:
        run = self._running.run
        self._has_changed = False
        ids, batch, columns = run.shaped(batch)
        groups, states = run.groups, run.records
        groups.assign(ids)
        if groups.count and states.load(groups, digest):
            run.engine.update(groups, batch, columns)
            self._has_changed = True
            states.publish(groups, digest)
        return self._reply

    def answered(self) -> None:
        if self._has_changed:
            self._running.answered()

    def unanswered(self) -> None:
        if self._has_changed:
            self._running.unanswered()


def combine(call: Call, record: RecordBatch) -> Reply:
    fields = Fields(record)
    run = run_of(call, fields)
    batch = fields.batch("merge_batch")
    groups = run.groups
    groups.assign_pairs(_column(batch, keys.SOURCE_GROUP), _column(batch, keys.TARGET_GROUP))
    digest = cell_digest(record, fields.need("merge_batch"))
    states = run.records
    if groups.count and states.load(groups, digest):
        states.settled(groups)
        run.engine.combine(groups)
        call.pledge = Running(run)
        states.publish(groups, digest)
    return acknowledged(call, records.AGGREGATE_COMBINE_RESPONSE)


def _column(batch: RecordBatch, name: str) -> Array:
    try:
        return batch.column(name)
    except KeyError:
        raise ProtocolError(f"a batch without the column '{name}': {batch.schema}") from None


def finalize(call: Call, record: RecordBatch) -> bytes:
    fields = Fields(record)
    run = run_of(call, fields)
    ids = _column(fields.batch("group_ids_batch"), keys.GROUPS_TO_FINALIZE)
    schema = schema_from_bytes(fields["output_schema"]) if fields["output_schema"] else run.result_schema()
    groups = run.groups
    groups.assign(ids)
    states = run.records
    states.load(groups)
    column = run.engine.finish(groups)
    states.settled(groups)
    return records.AGGREGATE_FINALIZE_RESPONSE.encode(
        {"result_batch": _one_column(run, schema, column, len(ids))}, call.generation
    )


def _one_column(run: Aggregation, schema: Schema, column: Array, rows: int) -> bytes:
    """The type must be exactly the one that was bound: the client does not look at it again."""
    if len(schema) != 1:
        raise ProtocolError(f"{run.spec.where}: a result schema of {len(schema)} fields")
    column = column.cast(schema[0].type)
    if len(column) != rows:
        raise RowCountMismatchError(
            f"{run.spec.where}: finalize() returned {len(column)} rows but expected {rows} (one per group_id)"
        )
    return encode_stream(schema, [RecordBatch(schema, [column], rows)])


def destructor(call: Call, record: RecordBatch) -> Reply:
    """A hint, which may come in the middle of a query: the execution is only retired."""
    fields = Fields(record)
    execution_id = fields["execution_id"]
    if execution_id:
        default_storage().retire(execution_scope(execution_id[:16]))
        call.pledge = _Sweeping(call)
    return acknowledged(call, records.AGGREGATE_DESTRUCTOR_RESPONSE)


class _Sweeping:
    """Sweeps once in a while, when a client has its answer."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    def answered(self) -> None:
        service = self._call.service
        now = time.monotonic()
        if now - service.swept >= _SWEEP_EVERY_S:
            service.swept = now
            sweep(service, _RETIRED_S)

    def unanswered(self) -> None:
        pass


def sweep(service: Any, retired_s: float) -> None:
    """Never an error: what cannot be removed now is removed later."""
    from vgi_fast.storage.mapped import MappedStorage

    storage = default_storage()
    try:
        if isinstance(storage, MappedStorage):
            storage.sweep(IDLE_S, retired_s)
        else:
            storage.sweep(IDLE_S)
    except (OSError, StorageError) as error:
        service.log.write("WARNING", "vgi.worker", f"sweeping state failed: {error}")


# -- windows -------------------------------------------------------------------------------------


class Partition:
    """A hash group, with what this process made of it."""

    __slots__ = ("data", "index")

    def __init__(self, data: WindowPartition, index: Any) -> None:
        self.data = data
        self.index = index


def window_init(call: Call, record: RecordBatch) -> Reply:
    fields = Fields(record)
    run = run_of(call, fields)
    number = fields["partition_id"]
    kept = encode_stream(record.schema, [record])
    run.storage.state_put_many(execution_scope(run.name), _PARTITIONS_NS, [(pack_int_key(number), kept)])
    # What is derived is made when first asked for: the calls for rows may all go to other processes.
    return acknowledged(call, records.AGGREGATE_WINDOW_INIT_RESPONSE)


def _partition(call: Call, run: Aggregation, number: int) -> Partition:
    known: OrderedDict[tuple[bytes, int], Partition] = call.service.partitions
    found = known.get((run.name, number))
    if found is None:
        (kept,) = run.storage.state_get_many(execution_scope(run.name), _PARTITIONS_NS, [pack_int_key(number)])
        if kept is None:
            raise StorageError(
                f"{call.method.name} called for unknown partition_id={number} (function {run.spec.name}); "
                "window_init never ran or destructor already fired"
            )
        fields = Fields(decode_stream(kept)[1][0])
        batch = fields.batch("partition_batch")
        if batch.num_rows != fields["row_count"]:
            raise ProtocolError(f"a partition of {batch.num_rows} rows, {fields['row_count']} were announced")
        if not run.fits(batch.schema.types):
            batch = run.cast(batch, list(range(batch.num_columns)))
        mask = fields["filter_mask"] or b""
        if mask and len(mask) < (batch.num_rows + 7) // 8:
            raise ProtocolError(f"a filter mask of {len(mask)} bytes for {batch.num_rows} rows")
        data = WindowPartition(batch, mask, fields["frame_stats"] or b"")
        found = known[run.name, number] = Partition(data, run.engine.index(data))
        while len(known) > _MAX_PARTITIONS:
            known.popitem(last=False)
    return found


def window(call: Call, record: RecordBatch) -> bytes | Reply:
    fields = Fields(record)
    run = run_of(call, fields)
    partition = _partition(call, run, fields["partition_id"])
    engine = run.engine
    if isinstance(engine, ReductionEngine) and engine.reduction.result == run.output_type:
        value = partition.index.one(record, fields.need("frame_starts"), fields.need("frame_ends"))
        return _one_value(call, run, value)
    frames = frame_pairs(fields["frame_starts"], fields["frame_ends"])
    return _window_response(call, run, _computed(run, partition, frames, fields["rid"] or 0), 1)


def _computed(run: Aggregation, partition: Partition, frames: list[tuple[int, int]], rid: int) -> Array:
    """The result of one row, as a column of one."""
    engine = run.engine
    if isinstance(engine, ReductionEngine):
        raise ArgumentError(f"{run.spec.where}: {engine.reduction.result} is not the bound result type")
    value = engine.window(partition.index, frames, rid)
    if hasattr(value, "as_py"):
        value = value.as_py()
    elif hasattr(value, "item"):
        value = value.item()
    assert run.output_type is not None
    return Array.from_pylist([value], run.output_type)


def _window_response(call: Call, run: Aggregation, column: Array, rows: int) -> bytes:
    assert call.method.response is not None
    blob = _one_column(run, run.result_schema(), column, rows)
    return call.method.response.encode({"result_batch": blob}, call.generation)


_PLACEHOLDERS: Final = {width: bytes(range(0xA1, 0xA1 + width)) for width in (1, 2, 4, 8)}


def _one_value(call: Call, run: Aggregation, value: bytes | None) -> bytes | Reply:
    """Answers of one row differ in the bytes of the value only."""
    assert run.output_type is not None
    if value is None:
        return call.reply(
            run.output_type,
            lambda: _window_response(call, run, Array.from_pylist([None], run.output_type), 1),  # type: ignore[arg-type]
        )
    if run.output_type.kind == "bool" or len(value) not in _PLACEHOLDERS or call.session.output.open:
        column = Array.from_pylist([_decoded(run, value)], run.output_type)
        return _window_response(call, run, column, 1)
    key = (call.generation, run.output_type)
    parts = call.service.templates.get(key)
    if parts is None:
        placeholder = _PLACEHOLDERS[len(value)]
        blob = _window_response(call, run, _column_of(run, placeholder), 1)
        stream = encode_stream(call.method.result, [result_batch(call.method, blob)])
        before, _, after = stream.partition(placeholder)
        parts = call.service.templates[key] = (before, after)
    return Reply.of_stream(parts[0] + value + parts[1])


def _column_of(run: Aggregation, value: bytes) -> Array:
    import numpy as np

    assert run.output_type is not None
    kind = run.output_type.kind
    width = len(value)
    if kind.startswith("float"):
        return Array.from_numpy(np.frombuffer(value, f"f{width}"), run.output_type)
    if kind == "date32":
        return Array.from_numpy(np.frombuffer(value, "i4"), run.output_type)
    unsigned = kind.startswith("uint")
    numbers = np.frombuffer(value, f"{'u' if unsigned else 'i'}{width}")
    if kind in ("timestamp", "duration", "date64"):
        unit = "ms" if kind == "date64" else run.output_type.unit
        numbers = numbers.view(f"{'m' if kind == 'duration' else 'M'}8[{unit}]")
    return Array.from_numpy(numbers, run.output_type)


def _decoded(run: Aggregation, value: bytes) -> Any:
    if run.output_type is not None and run.output_type.kind == "bool":
        return bool(value[0])
    return _column_of(run, value).to_pylist()[0]


def window_batch(call: Call, record: RecordBatch) -> bytes:
    fields = Fields(record)
    run = run_of(call, fields)
    count = fields["count"]
    per_row = fields["frames_per_row"]
    if len(per_row) != count:
        raise ProtocolError(f"aggregate_window_batch: count={count} but frames_per_row has {len(per_row)} entries")
    partition = _partition(call, run, fields["partition_id"])
    engine = run.engine
    if isinstance(engine, ReductionEngine):
        positions = [fields.need(name) for name in ("frames_per_row", "frame_starts", "frame_ends")]
        return _window_response(call, run, partition.index.many(record, *positions), count)
    frames = frame_pairs(fields["frame_starts"], fields["frame_ends"])
    if sum(per_row) != len(frames) or any(one < 0 for one in per_row):
        raise ProtocolError(f"frames_per_row counts {sum(per_row)} frames, there are {len(frames)}")
    rows, at = [], 0
    for one in per_row:
        rows.append(frames[at : at + one])
        at += one
    owner = run.spec.owner
    if owner is not None and hasattr(owner, "window_batch"):
        data, state = partition.index
        answer = Array.coerce(owner.window_batch(rows, data, state, run.params(run.result_schema())), run.output_type)  # type: ignore[arg-type]
        if len(answer) != count:
            raise RowCountMismatchError(f"window_batch returned {len(answer)} rows, expected {count}")
        return _window_response(call, run, answer, count)
    first = fields["row_idx"] or 0
    values = [_computed(run, partition, one, first + i)[0] for i, one in enumerate(rows)]
    assert run.output_type is not None
    return _window_response(call, run, Array.from_pylist(values, run.output_type), count)


def window_destructor(call: Call, record: RecordBatch) -> Reply:
    fields = Fields(record)
    run = run_of(call, fields)
    number = fields["partition_id"]
    call.service.partitions.pop((run.name, number), None)
    scope = execution_scope(run.name)
    run.storage.state_delete(scope, _PARTITIONS_NS, [pack_int_key(number)])
    run.storage.retire(scope)
    call.pledge = _Sweeping(call)
    return acknowledged(call, records.AGGREGATE_WINDOW_DESTRUCTOR_RESPONSE)


HANDLERS: dict[str, Handler] = {
    "aggregate_bind": bind,
    "aggregate_update": update,
    "aggregate_combine": combine,
    "aggregate_finalize": finalize,
    "aggregate_destructor": destructor,
    "aggregate_window_init": window_init,
    "aggregate_window": window,
    "aggregate_window_batch": window_batch,
    "aggregate_window_destructor": window_destructor,
}
