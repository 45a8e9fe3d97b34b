"""Aggregates under the client: bind, then update, combine and finalize by group id, windows and streams.

total = catalog.open_aggregate("total", {"x": pa.int64()})
total.update([0, 0, 1], {"x": [1, 2, 3]})
total.finalize([0, 1]).to_pylist()          # [3, 3]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgi_fast._core import Array, DataType, Field, RecordBatch, Schema, decode_stream, encode_stream
from vgi_fast.client.values import arguments_blob, as_batches, as_table
from vgi_fast.errors import ProtocolError
from vgi_fast.wire import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vgi_fast.client.client import Client
    from vgi_fast.client.signatures import Function

__all__ = ["AggregateCall", "StreamedAggregate"]


class AggregateCall:
    """A bound aggregate. Several clients may use one: pass ``client`` to a call to send it elsewhere."""

    def __init__(
        self, client: Client, function: Function, attach: bytes | None, input_schema: Schema, request: dict[str, Any]
    ) -> None:
        self.client = client
        self.function = function
        self.input_schema = input_schema
        self._owner = {
            "function_name": function.name,
            "schema_name": function.schema_name,
            "attach_opaque_data": attach,
        }
        answer = client.call("aggregate_bind", {**self._owner, "input_schema": input_schema.serialize(), **request})
        self.output_schema = Schema.from_bytes(answer["output_schema"])
        self.execution_id: bytes = answer["execution_id"]
        if not self.execution_id:
            raise ProtocolError(f"aggregate_bind did not return an execution_id for '{function.name}'")

    def call(self, method: str, client: Client | None = None, **fields: Any) -> dict[str, Any]:
        values = {**self._owner, "execution_id": self.execution_id, **fields}
        answer: dict[str, Any] = (client or self.client).call(method, values)
        return answer

    def update_batch(self, group_ids: Any, columns: Any = None) -> bytes:
        """An update's embedded batch. ``columns`` is anything that makes a table, without it there are none."""
        ids = Array.coerce(group_ids, "int64")
        values = _one_batch(columns, self.input_schema).columns if columns else ()
        schema = Schema([Field(keys.GROUP_ID, "int64"), *self.input_schema])
        return encode_stream(schema, [RecordBatch(schema, [ids, *values], len(ids))])

    def update(self, group_ids: Any, columns: Any = None, client: Client | None = None) -> None:
        self.call("aggregate_update", client, input_batch=self.update_batch(group_ids, columns))

    def combine(self, pairs: Sequence[tuple[int, int]], client: Client | None = None) -> None:
        """Sources and targets, in order."""
        schema = Schema.parse(f"{keys.SOURCE_GROUP}: int64, {keys.TARGET_GROUP}: int64")
        columns = {keys.SOURCE_GROUP: [s for s, _ in pairs], keys.TARGET_GROUP: [t for _, t in pairs]}
        blob = encode_stream(schema, [RecordBatch.from_pydict(schema, columns)])
        self.call("aggregate_combine", client, merge_batch=blob)

    def finalize(self, group_ids: Any, client: Client | None = None) -> Array:
        blob = _group_ids(group_ids)
        output = self.output_schema.serialize()
        answer = self.call("aggregate_finalize", client, group_ids_batch=blob, output_schema=output)
        return self._column(answer["result_batch"], len(group_ids))

    def destroy(self, client: Client | None = None) -> None:
        self.call("aggregate_destructor", client, group_ids_batch=_group_ids([0]))

    def _column(self, blob: bytes, rows: int) -> Array:
        _, batches = decode_stream(blob)
        if len(batches) != 1 or batches[0].num_columns != 1 or batches[0].num_rows != rows:
            raise ProtocolError(f"{self.function.name} returned another shape than one column of {rows} rows")
        column = batches[0].column(0)
        if column.type != self.output_schema[0].type:
            raise ProtocolError(f"{self.function.name} returned {column.type}, bound to {self.output_schema[0].type}")
        return column

    # -- windows --

    def window_init(self, columns: Any, partition_id: int = 0, mask: bytes = b"", client: Client | None = None) -> None:
        batch = _one_batch(columns, self.input_schema)
        self.call(
            "aggregate_window_init",
            client,
            partition_id=partition_id,
            row_count=batch.num_rows,
            partition_batch=encode_stream(batch.schema, [batch]),
            output_schema=self.output_schema.serialize(),
            filter_mask=mask,
            frame_stats=bytes(32),
            all_valid=b"",
        )

    def window(
        self, frames: Sequence[tuple[int, int]], partition_id: int = 0, rid: int = 0, client: Client | None = None
    ) -> Any:
        answer = self.call(
            "aggregate_window",
            client,
            partition_id=partition_id,
            rid=rid,
            frame_starts=[start for start, _ in frames],
            frame_ends=[end for _, end in frames],
        )
        return self._column(answer["result_batch"], 1)[0]

    def window_batch(
        self, rows: Sequence[Sequence[tuple[int, int]]], partition_id: int = 0, client: Client | None = None
    ) -> Array:
        answer = self.call(
            "aggregate_window_batch",
            client,
            partition_id=partition_id,
            row_idx=0,
            count=len(rows),
            frames_per_row=[len(frames) for frames in rows],
            frame_starts=[start for frames in rows for start, _ in frames],
            frame_ends=[end for frames in rows for _, end in frames],
        )
        return self._column(answer["result_batch"], len(rows))

    def window_destroy(self, partition_id: int = 0, client: Client | None = None) -> None:
        self.call("aggregate_window_destructor", client, partition_id=partition_id)

    # -- streams --

    def stream(
        self, partition_keys: Sequence[DataType | str] = (), order_keys: Sequence[DataType | str] = ()
    ) -> StreamedAggregate:
        return StreamedAggregate(self, partition_keys, order_keys)


class StreamedAggregate:
    """A session of an aggregate over sorted partitions."""

    def __init__(
        self, bound: AggregateCall, partition_keys: Sequence[DataType | str], order_keys: Sequence[DataType | str]
    ) -> None:
        self._bound = bound
        fields = [Field(f"__pk_{i}", type) for i, type in enumerate(partition_keys)]
        fields += [Field(f"__ok_{i}", type) for i, type in enumerate(order_keys)]
        fields += [Field(f"__val_{i}", field.type) for i, field in enumerate(bound.input_schema)]
        self.schema = Schema(fields)
        answer = bound.call(
            "aggregate_streaming_open",
            arguments=arguments_blob([], {}),
            input_schema=self.schema.serialize(),
            partition_key_count=len(partition_keys),
            order_key_count=len(order_keys),
            output_schema=bound.output_schema.serialize(),
        )
        self.execution_id: bytes = answer["execution_id"]

    def chunk(self, columns: Sequence[Any], client: Client | None = None) -> Array:
        """Keys, order keys and values, column by column."""
        arrays = [Array.coerce(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
        batch = RecordBatch(self.schema, arrays)
        answer = self._bound.call(
            "aggregate_streaming_chunk",
            client,
            execution_id=self.execution_id,
            input_batch=encode_stream(self.schema, [batch]),
        )
        return self._bound._column(answer["result_batch"], batch.num_rows)

    def close(self, client: Client | None = None) -> None:
        self._bound.call("aggregate_streaming_close", client, execution_id=self.execution_id)


def _one_batch(columns: Any, schema: Schema) -> RecordBatch:
    table = as_table(columns)
    for batch in as_batches(table, schema, max(table.num_rows, 1)):
        return batch
    return RecordBatch(schema, [Array.from_pylist([], field.type) for field in schema], 0)


def _group_ids(group_ids: Any) -> bytes:
    schema = Schema.parse(f"{keys.GROUPS_TO_FINALIZE}: int64")
    ids = Array.coerce(group_ids, "int64")
    return encode_stream(schema, [RecordBatch(schema, [ids], len(ids))])
