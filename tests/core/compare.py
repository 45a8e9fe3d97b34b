"""Comparing our values and batches with pyarrow's."""

from collections.abc import Iterable
from io import BytesIO
from typing import Any

import pyarrow as pa

from vgi_fast import UnionValue
from vgi_fast._core import Array, RecordBatch, decode_stream, encode_stream


def plain(value: Any) -> Any:
    """As pyarrow gives it: union values without their tag."""
    if isinstance(value, UnionValue):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(plain(item) for item in value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def has_nanoseconds(type: pa.DataType) -> bool:
    """pyarrow cannot turn these into Python values without pandas."""
    if type in (pa.time64("ns"), pa.timestamp("ns"), pa.duration("ns")):
        return True
    if pa.types.is_timestamp(type):
        return bool(type.unit == "ns")
    if pa.types.is_dictionary(type) or pa.types.is_run_end_encoded(type):
        return has_nanoseconds(type.value_type)
    return any(has_nanoseconds(type.field(i).type) for i in range(type.num_fields))


def check_values(ours: Array, theirs: pa.Array) -> None:
    """Equal values; NaN equals NaN. One by one is the same as all at once."""
    assert len(ours) == len(theirs)
    if has_nanoseconds(theirs.type):
        assert ours.to_arrow().equals(theirs)
        return
    values = ours.to_pylist()
    assert repr_of(plain(values)) == repr_of(theirs.to_pylist())
    assert repr_of([ours[i] for i in range(len(ours))]) == repr_of(values)


def repr_of(values: Any) -> str:
    # Zones have other classes in pyarrow: the moment counts.
    import datetime

    def same(value: Any) -> Any:
        if isinstance(value, datetime.datetime) and value.tzinfo is not None:
            return value.astimezone(datetime.UTC)
        if isinstance(value, list):
            return [same(item) for item in value]
        if isinstance(value, dict):
            return {key: same(item) for key, item in value.items()}
        if type(value) is tuple:
            return tuple(same(item) for item in value)
        return value

    return repr(same(values))


def check_arrays(ours: Array, theirs: pa.Array) -> None:
    """The same array, as seen by pyarrow and by values."""
    back = ours.to_arrow()
    assert back.type == theirs.type
    if len(theirs):  # pyarrow imports its own empty slices of views as invalid arrays
        back.validate(full=True)
        assert same_array(back, theirs)
    if not pa.types.is_union(theirs.type) and not pa.types.is_run_end_encoded(theirs.type):
        assert ours.null_count == theirs.null_count
        valid = ours.valid()
        assert (valid is None) == (theirs.null_count == 0)
        if valid is not None:
            assert valid.tolist() == theirs.is_valid().to_pylist()
    check_values(ours, theirs)


def same_array(one: pa.Array, other: pa.Array) -> bool:
    # Compared as batches: equal also where there is NaN or a kind without a Python class.
    return bool(pa.record_batch([one], ["c"]).equals(pa.record_batch([other], ["c"])))


def read_with_pyarrow(data: bytes) -> tuple[pa.Schema, list[pa.RecordBatch], list[dict[bytes, bytes]]]:
    """Schema, batches and their custom metadata of one stream, every batch validated."""
    reader = pa.ipc.open_stream(BytesIO(data))
    batches: list[pa.RecordBatch] = []
    metadata: list[dict[bytes, bytes]] = []
    while True:
        try:
            batch, custom = reader.read_next_batch_with_custom_metadata()
        except StopIteration:
            return reader.schema, batches, metadata
        batch.validate(full=True)
        batches.append(batch)
        metadata.append(dict(custom or {}))


def write_with_pyarrow(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, options: pa.ipc.IpcWriteOptions | None = None
) -> bytes:
    sink = BytesIO()
    with pa.ipc.new_stream(sink, schema, options=options or pa.ipc.IpcWriteOptions()) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()


def check_stream(
    theirs: list[pa.RecordBatch], schema: pa.Schema, options: pa.ipc.IpcWriteOptions | None = None
) -> None:
    """Read what pyarrow writes, and have pyarrow read what we write of it."""
    ours_schema, ours = decode_stream(write_with_pyarrow(theirs, schema, options))
    assert pa.schema(ours_schema).equals(schema, check_metadata=True)
    assert [batch.num_rows for batch in ours] == [batch.num_rows for batch in theirs]
    for our, their in zip(ours, theirs, strict=True):
        for i in range(their.num_columns):
            check_values(our.column(i), their.column(i))
    check_written(ours, theirs, schema)
    imported = [RecordBatch.from_arrow(batch) for batch in theirs]
    check_written(imported, theirs, schema)


def check_written(ours: list[RecordBatch], theirs: list[pa.RecordBatch], schema: pa.Schema) -> None:
    from vgi_fast._core import Schema

    back_schema, back, _ = read_with_pyarrow(encode_stream(Schema.of(schema), ours))
    assert back_schema.equals(schema, check_metadata=True)
    assert len(back) == len(theirs)
    for one, other in zip(back, theirs, strict=True):
        assert one.num_rows == other.num_rows
        assert one.equals(other)
