"""Functions bound and running: what ``Catalog.bind``, ``open_scalar`` and ``table`` return."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vgi_fast._core import Array, RecordBatch, Schema, encode_stream
from vgi_fast.client.connection import EMPTY_SCHEMA, Stream
from vgi_fast.client.signatures import Function
from vgi_fast.client.values import as_batches, as_table
from vgi_fast.errors import ProtocolError
from vgi_fast.wire import records

if TYPE_CHECKING:
    import pyarrow as pa

    from vgi_fast.client.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound call. ``request`` is the BindRequest that the worker answered; ``init`` embeds it."""

    catalog: "Catalog"
    function: Function
    request: bytes
    input_schema: Schema | None
    output_schema: Schema
    opaque_data: bytes | None

    def init(self, *, input_schema: Schema | None = None, **fields: Any) -> Stream:
        """Open a stream. ``fields`` are those of InitRequest; without ``input_schema`` it is a producer's."""
        values = {
            "bind_call": self.request,
            "output_schema": self.output_schema.serialize(),
            "bind_opaque_data": self.opaque_data,
            **fields,
        }
        return self.catalog.client.init(values, input_schema=EMPTY_SCHEMA if input_schema is None else input_schema)

    def cardinality(self) -> tuple[int | None, int | None]:
        """Estimated and largest number of rows, as far as the function tells."""
        answer = self._ask("table_function_cardinality")
        return (answer["estimate"], answer["max"]) if isinstance(answer, dict) else (None, None)

    def statistics(self) -> bytes | None:
        answer = self._ask("table_function_statistics")
        return answer if isinstance(answer, bytes) else None

    def explain(self, execution_id: bytes) -> dict[str, str]:
        """What the function adds to EXPLAIN ANALYZE."""
        answer = self._ask("table_function_dynamic_to_string", global_execution_id=execution_id)
        if not isinstance(answer, dict):
            return {}
        return dict(zip(answer["keys"] or (), answer["values"] or (), strict=True))

    def _ask(self, method: str, **fields: Any) -> Any:
        values = {"bind_call": self.request, "bind_opaque_data": self.opaque_data, **fields}
        return self.catalog.client.call(method, values)


class ScalarCall:
    """A scalar function, ready for columns of the types it was bound to. Use it as a context manager."""

    def __init__(self, bound: Bound) -> None:
        assert bound.input_schema is not None
        self.bound = bound
        self._input_schema = bound.input_schema
        self._stream = bound.init(input_schema=bound.input_schema)

    def apply(self, columns: Any, batch_rows: int | None = None) -> "pa.ChunkedArray":
        """Results for ``columns`` (see ``Catalog.scalar``), one chunk for each batch sent."""
        import pyarrow as pa

        table = as_table(columns)
        batches = as_batches(table, self._input_schema, batch_rows or max(table.num_rows, 1))
        chunks = [self.exchange(batch).to_arrow() for batch in batches]
        return pa.chunked_array(chunks, type=pa.field(self.bound.output_schema[0].type).type)

    def exchange(self, batch: RecordBatch) -> Array:
        """One batch, as the protocol has it: exactly one column comes back, of the same length."""
        answer = self._stream.exchange(batch)
        name = self.bound.function.name
        if answer is None:
            raise ProtocolError(f"{name} returned no output for {batch.num_rows} input rows")
        if answer.num_rows != batch.num_rows:
            raise ProtocolError(
                f"{name} returned {answer.num_rows} rows but expected {batch.num_rows} (1:1 mapping required)"
            )
        if answer.num_columns != 1:
            raise ProtocolError(f"{name} returned {answer.num_columns} columns, a scalar has one")
        return answer.column(0)

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> "ScalarCall":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.__exit__(kind, error, traceback)


class TableCall:
    """The rows of a table function: iterate over ``pyarrow.RecordBatch``, or ``read_all`` at once.

    A loop that stops early leaves the stream open; ``close`` (or the context manager) ends it.
    """

    def __init__(self, bound: Bound, batches: Iterator[RecordBatch], columns: Sequence[int] | None = None) -> None:
        self.bound = bound
        self._batches = batches
        self._columns = columns
        """Positions to keep where the worker sends more than was asked for."""
        self.metadata: dict[bytes, bytes] = {}
        """Metadata of the batch last read."""

    @property
    def schema(self) -> "pa.Schema":
        import pyarrow as pa

        schema = self.bound.output_schema
        return pa.schema(schema if self._columns is None else schema.select(self._columns))

    def __iter__(self) -> Iterator["pa.RecordBatch"]:
        for batch in self._batches:
            self.metadata = batch.metadata
            yield batch.to_arrow()

    def read_all(self) -> "pa.Table":
        import pyarrow as pa

        return pa.Table.from_batches(list(self), self.schema)

    def close(self) -> None:
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> "TableCall":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def producer_batches(bound: Bound, columns: Sequence[int] | None, **hints: Any) -> Iterator[RecordBatch]:
    """Batches of a producer. ``columns`` are pushed down where the function offers it, else selected here."""
    pushes = bool(bound.function.info["projection_pushdown"])
    stream = bound.init(projection_ids=list(columns) if columns and pushes else None, **hints)
    keep = columns if not pushes else None
    for batch in stream.batches():
        yield batch if keep is None else batch.select(keep)


def in_out_batches(
    bound: Bound, table: "pa.Table", batch_rows: int, columns: Sequence[int] | None = None
) -> Iterator[RecordBatch]:
    """Batches of a table-in-out function: one for each input batch, then those of its finalize phase."""
    assert bound.input_schema is not None
    pushed, keep = _pushed(bound, columns)
    for batch in _in_out_batches(bound, table, batch_rows, pushed):
        yield batch if keep is None else batch.select(keep)


def _pushed(bound: Bound, columns: Sequence[int] | None) -> tuple[list[int] | None, Sequence[int] | None]:
    """Columns to ask the function for, and those to select of what it gives."""
    if columns and bound.function.info["projection_pushdown"]:
        return list(columns), None
    return None, columns


def _in_out_batches(
    bound: Bound, table: "pa.Table", batch_rows: int, projection_ids: list[int] | None
) -> Iterator[RecordBatch]:
    assert bound.input_schema is not None
    stream = bound.init(input_schema=bound.input_schema, phase="INPUT", projection_ids=projection_ids)
    with stream:
        for batch in as_batches(table, bound.input_schema, batch_rows):
            answer = stream.exchange(batch)
            if answer is None:
                break
            if answer.num_rows:
                yield answer
    if bound.function.info["has_finalize"]:
        yield from bound.init(phase="FINALIZE", execution_id=stream.header["execution_id"]).batches()


def buffered_batches(
    bound: Bound, table: "pa.Table", batch_rows: int, columns: Sequence[int] | None = None
) -> Iterator[RecordBatch]:
    """Batches of a table-buffering function: sink, combine, and each source in turn, all on one connection."""
    pushed, keep = _pushed(bound, columns)
    if table.num_rows == 0:
        return  # nothing is called for a table without rows
    with Buffering(bound, projection_ids=pushed) as buffering:
        for batch in as_batches(table, buffering.input_schema, batch_rows):
            buffering.process(batch)
        for finalize_state_id in buffering.combine():
            for batch in buffering.source(finalize_state_id):
                yield batch if keep is None else batch.select(keep)


class Buffering:
    """One execution of a table-buffering function or a COPY TO; leaving the context ends it for the worker."""

    def __init__(self, bound: Bound, execution_id: bytes | None = None, **fields: Any) -> None:
        assert bound.input_schema is not None
        self.bound = bound
        self.input_schema = bound.input_schema
        self._fields = fields
        stream = bound.init(
            input_schema=self.input_schema, phase="TABLE_BUFFERING", execution_id=execution_id, **fields
        )
        stream.close()
        self.execution_id: bytes = stream.header["execution_id"]
        self._state_id: bytes | None = None

    def process(self, batch: RecordBatch, batch_index: int | None = None) -> bytes:
        """Hand one batch over; of these answers, DuckDB knows the last when it combines."""
        request = {**self._call(), "input_batch": encode_stream(batch.schema, [batch]), "batch_index": batch_index}
        answer = self.bound.catalog.client.call("table_buffering_process", request)
        self._state_id = bytes(answer["state_id"])
        return self._state_id

    def combine(self, state_ids: Sequence[bytes] | None = None) -> list[bytes]:
        """Ids to finalize. By default of what this object has processed."""
        if state_ids is None:
            state_ids = [] if self._state_id is None else [self._state_id]
        request = {**self._call(), "state_ids": list(state_ids)}
        answer = self.bound.catalog.client.call("table_buffering_combine", request)
        return list(answer["finalize_state_ids"] or ())

    def source(self, finalize_state_id: bytes) -> Iterator[RecordBatch]:
        stream = self.bound.init(
            phase="TABLE_BUFFERING_FINALIZE",
            execution_id=self.execution_id,
            finalize_state_id=finalize_state_id,
            **self._fields,
        )
        return stream.batches()

    def destroy(self) -> None:
        self.bound.catalog.client.call("table_buffering_destructor", self._call())

    def __enter__(self) -> "Buffering":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection = self.bound.catalog.client.connection
        if connection.usable and connection.stream is None:
            self.destroy()

    def _call(self) -> dict[str, Any]:
        request = records.BIND_REQUEST.decode(self.bound.request)
        return {
            "function_name": request["function_name"],
            "execution_id": self.execution_id,
            "attach_opaque_data": request["attach_opaque_data"],
            "schema_name": request["schema_name"],
        }
