"""Arrow IPC files, which many tools call Feather: ``COPY t TO 'x.arrow' (FORMAT w.arrow, compression 'zstd')``.

A file is read in its own batches, one for each tick, out of a memory map; columns are found by name. It is written
when all rows are there, to a name beside the file that then takes its place. Needs pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

from vgi_fast.errors import ArgumentError
from vgi_fast.functions.over_tables.copying import copy_from, copy_to, replacing
from vgi_fast.functions.parameters import Arg
from vgi_fast.wire.arrow import RecordBatch, Schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FUNCTIONS", "read_arrow", "write_arrow"]

FORMAT: Final = "arrow"
HANDLER: Final = "arrow_file"
DEFAULT_BATCH_ROWS: Final = 122_880
"""Of DuckDB's own row groups."""

Stream = Annotated[bool, Arg("stream", doc="The streaming form instead of the file form")]


@copy_from(FORMAT, name=HANDLER, comment="Arrow IPC files", tags={"category": "copy_from"})
def read_arrow(path: str, schema: Schema, *, stream: Stream = False) -> Iterator[Any]:
    """Arrow IPC files"""
    import pyarrow as pa

    with pa.memory_map(path) as source:
        reader = _reader(source, path, stream)
        missing = [name for name in schema.names if name not in reader.schema.names]
        if missing:
            raise ArgumentError(f"{path} has no column {missing[0]!r}; it has {reader.schema.names}")
        yield from _batches(reader, stream)


def _reader(source: Any, path: str, stream: bool) -> Any:
    import pyarrow as pa

    try:
        return pa.ipc.open_stream(source) if stream else pa.ipc.open_file(source)
    except pa.ArrowInvalid as error:
        raise ArgumentError(
            f"{path} is not an Arrow IPC {'stream' if stream else 'file'}: {error}",
            hint="the option stream tells one from the other",
        ) from error


def _batches(reader: Any, stream: bool) -> Iterator[pa.RecordBatch]:
    if stream:
        yield from reader
    else:
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)


@copy_to(FORMAT, name=HANDLER, comment="Arrow IPC files", tags={"category": "copy_to"}, sink_order_dependent=True)
def write_arrow(
    batches: Iterator[RecordBatch],
    path: str,
    schema: Schema,
    *,
    compression: Annotated[str, Arg("compression", doc="Of each buffer", choices=["none", "lz4", "zstd"])] = "none",
    batch_rows: Annotated[int, Arg("batch_rows", doc="Rows of a batch at most", ge=1)] = DEFAULT_BATCH_ROWS,
    stream: Stream = False,
) -> None:
    """Arrow IPC files"""
    import pyarrow as pa

    options = pa.ipc.IpcWriteOptions(compression=None if compression == "none" else compression)
    arrow_schema = pa.schema(schema)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with replacing(path) as name, pa.OSFile(name, "wb") as sink, make(sink, arrow_schema, options=options) as writer:
        for table in _grouped(batches, arrow_schema, batch_rows):
            writer.write_table(table, batch_rows)


def _grouped(batches: Iterator[RecordBatch], schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Tables of about so many rows, each in one chunk."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch.to_arrow())
        count += batch.num_rows
        if count >= rows:
            yield pa.Table.from_batches(held, schema).combine_chunks()
            held, count = [], 0
    if held:
        yield pa.Table.from_batches(held, schema).combine_chunks()


FUNCTIONS: Final = [read_arrow, write_arrow]
