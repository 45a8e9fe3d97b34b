"""The catalog ``accumulate``: named collections of rows that outlive queries and workers.

Each ATTACH has its own. A call that adds rows writes the collection anew, as the next generation of its chunks.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from vgi_fast import (
    Arg,
    ArgumentError,
    BindParams,
    BufferingParams,
    Catalog,
    MonthDayNano,
    OutputCollector,
    ProcessParams,
    RecordBatch,
    Schema,
    TableBufferingFunction,
    TableFunctionGenerator,
    TableInput,
)

TIMESTAMP: Final = "_timestamp"
SCHEMAS: Final = b"schemas"
GENERATIONS: Final = b"generations"
CHUNKS: Final = b"chunks"
RESULT: Final = b"result"
MAX_NAME_BYTES: Final = 255
DAYS_OF_MONTH: Final = 30
ROWS_AT_ONCE: Final = 65_536

Name = Annotated[str, Arg(0, doc="Name of the collection")]


def _key(name: str) -> bytes:
    if not name.strip():
        raise ArgumentError("the name of an accumulation must be non-empty")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ArgumentError(f"the name of an accumulation has at most {MAX_NAME_BYTES} bytes")
    return name.encode()


class Collection:
    """One collection, as Arrow tables; each chunk is a stored batch."""

    def __init__(self, params: BindParams[Any], name: str) -> None:
        self.key = _key(name)
        self.storage = params.attach_storage

    def schema(self) -> Schema | None:
        """Of the input rows, as the first call had them."""
        found = self.storage.state_get(SCHEMAS, self.key)
        return None if found is None else Schema.from_bytes(found)

    def remember(self, schema: Schema) -> None:
        self.storage.state_put(SCHEMAS, self.key, schema.serialize())

    def generation(self) -> int:
        """Which set of chunks is the collection."""
        return self.storage.counter_get(GENERATIONS, self.key)

    def batches(self) -> list[RecordBatch]:
        """All rows, oldest first."""
        pairs = self.storage.state_scan(self._chunks(self.generation()))
        return [self.storage.deserialize_record_batch(value) for _, value in pairs]

    def replace(self, batches: Iterable[Any]) -> None:
        """The new chunks are complete before they take the place of the old ones."""
        current = self.generation()
        items = [(b"%08x" % index, self.storage.serialize_record_batch(one)) for index, one in enumerate(batches)]
        self.storage.state_delete(self._chunks(current + 1))
        self.storage.state_put_many(self._chunks(current + 1), items)
        self.storage.counter_set(GENERATIONS, self.key, current + 1)
        self.storage.state_delete(self._chunks(current))

    def clear(self) -> int:
        rows = sum(batch.num_rows for batch in self.batches())
        self.replace([])
        self.storage.state_delete(SCHEMAS, [self.key])
        return rows

    def _chunks(self, generation: int) -> bytes:
        return b"%s%08x-%s" % (CHUNKS, generation, self.key)


def _with_timestamp(schema: Schema) -> Any:
    import pyarrow as pa

    return pa.schema(schema).append(pa.field(TIMESTAMP, pa.timestamp("us")))


class AccumulateArguments(NamedTuple):
    name: Name
    data: Annotated[TableInput, Arg(1)]
    max_row_size: Annotated[int, Arg("max_row_size", doc="Rows to keep at most; 0 keeps all", ge=0)] = 0
    result: Annotated[str, Arg("result", doc="Which rows to give", choices=["all", "new", "none"])] = "all"
    ttl: Annotated[
        MonthDayNano | None, Arg("ttl", doc="Age up to which rows are kept", arrow_type="month_day_nano_interval")
    ] = None


class Accumulate(TableBufferingFunction[AccumulateArguments]):
    """Adds rows to a collection and gives its rows"""

    @classmethod
    def on_bind(cls, params: BindParams[AccumulateArguments]) -> Any:
        given = params.input_schema
        assert given is not None
        collection = Collection(params, params.args.name)
        if TIMESTAMP in given.names:
            raise ArgumentError(f"the input has the reserved '{TIMESTAMP}' column")
        known = collection.schema()
        if known is None:
            collection.remember(given)
        elif [(field.name, field.type) for field in known] != [(field.name, field.type) for field in given]:
            raise ArgumentError(f"the input ({given}) does not match the columns of '{params.args.name}' ({known})")
        return _with_timestamp(given)

    @classmethod
    def combine(cls, state_ids: list[bytes], params: BufferingParams[AccumulateArguments]) -> list[bytes]:
        import pyarrow as pa
        import pyarrow.compute as pc

        args = params.args
        collection = Collection(params, args.name)
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        schema = _with_timestamp(params.full_schema.select(range(len(params.full_schema) - 1)))
        kept = [batch.to_arrow() for batch in params.batches()]
        new = pa.Table.from_batches(kept, pa.schema(schema).remove(len(schema) - 1))
        new = new.append_column(schema.field(TIMESTAMP), pa.array([now] * new.num_rows, pa.timestamp("us")))
        old = [batch.to_arrow().cast(schema) for batch in collection.batches()]
        rows = pa.concat_tables([pa.Table.from_batches(old, schema), new])
        if args.ttl is not None:
            rows = rows.filter(pc.greater_equal(rows[TIMESTAMP], pa.scalar(now - _span(args.ttl), pa.timestamp("us"))))
        if args.max_row_size:
            rows = rows.slice(max(rows.num_rows - args.max_row_size, 0))
        collection.replace(rows.combine_chunks().to_batches(max_chunksize=ROWS_AT_ONCE))
        given = {"all": rows, "new": new, "none": rows.slice(0, 0)}[args.result]
        parts = given.combine_chunks().to_batches(max_chunksize=ROWS_AT_ONCE)
        for batch in parts:
            params.storage.state_append(RESULT, b"", params.storage.serialize_record_batch(batch))
        return [params.execution_id] if parts else []

    @classmethod
    def finalize(cls, params: BufferingParams[AccumulateArguments]) -> Iterator[RecordBatch]:
        for _, item in params.storage.state_log_scan(RESULT, b""):
            yield params.storage.deserialize_record_batch(item)


def _span(interval: MonthDayNano) -> dt.timedelta:
    return dt.timedelta(days=interval.days + DAYS_OF_MONTH * interval.months, microseconds=interval.nanoseconds // 1000)


class NameArguments(NamedTuple):
    name: Name


class AccumulateRead(TableFunctionGenerator[NameArguments, list[RecordBatch]]):
    """Gives the rows of a collection"""

    @classmethod
    def on_bind(cls, params: BindParams[NameArguments]) -> Any:
        schema = Collection(params, params.args.name).schema()
        if schema is None:
            raise ArgumentError(f"there is no accumulation named '{params.args.name}'")
        return _with_timestamp(schema)

    @classmethod
    def initial_state(cls, params: ProcessParams[NameArguments]) -> list[RecordBatch]:
        return Collection(params, params.args.name).batches()[::-1]

    @classmethod
    def process(cls, params: ProcessParams[NameArguments], state: list[RecordBatch], out: OutputCollector) -> None:
        if state:
            out.emit(state.pop())
        else:
            out.finish()


class AccumulateClear(TableFunctionGenerator[NameArguments]):
    """Removes a collection and gives how many rows it had"""

    FIXED_SCHEMA: ClassVar[Any] = {"name": "utf8", "rows_cleared": "int64"}

    @classmethod
    def process(cls, params: ProcessParams[NameArguments], state: None, out: OutputCollector) -> None:
        cleared = Collection(params, params.args.name).clear()
        out.emit({"name": [params.args.name], "rows_cleared": [cleared]})
        out.finish()


ACCUMULATE: Final = Catalog(
    "accumulate",
    functions=[Accumulate, AccumulateRead, AccumulateClear],
    data_versions=["2.0.0"],
    data_version_spec="2.0.0",
    implementation_versions=["1.0.0"],
    comment="Collections that grow",
)
