"""What do reading and writing one batch cost, over memory and through a pipe?

2,048 rows of one int64 column, the usual exchange; a stream is open all the time.
"""

import os
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from benchmarks.data import int64_batch, stream_of
from benchmarks.harness import Case, core_main
from vgi_fast import RecordBatch, Schema
from vgi_fast._core import Input, Output

BATCHES = 64


def cases() -> list[Case]:
    return [_reading(), _writing(), _piping(), _ticking()]


def last_column(batch: Any) -> list[Any]:
    column: list[Any] = batch.column(0).to_pylist()
    return column


def _reading() -> Case:
    stream = stream_of(int64_batch(), BATCHES)

    def ours() -> RecordBatch | None:
        source = Input(stream)
        source.read_schema()
        batch = None
        for _ in range(BATCHES):
            batch = source.read_batch()
        return batch

    def arrow() -> pa.RecordBatch:
        reader = pa.ipc.open_stream(pa.py_buffer(stream))
        batch = None
        for _ in range(BATCHES):
            batch = reader.read_next_batch()
        return batch

    return Case("read from memory", {"vgi_fast": ours, "pyarrow": arrow}, BATCHES, last_column)


def _writing() -> Case:
    theirs = int64_batch()
    mine = RecordBatch.from_arrow(theirs)

    def ours() -> bytes:
        sink = Output()
        sink.schema(mine.schema)
        for _ in range(BATCHES):
            sink.batch(mine)
            sink.flush()
        return sink.getvalue()

    def arrow() -> pa.Buffer:
        sink = pa.BufferOutputStream()
        writer = pa.ipc.new_stream(sink, theirs.schema)
        for _ in range(BATCHES):
            writer.write_batch(theirs)
        return sink.getvalue()

    def plain(stream: Any) -> list[Any]:
        reader = pa.ipc.open_stream(stream)
        return [reader.read_next_batch().to_pydict() for _ in range(BATCHES)]

    return Case("write to memory", {"vgi_fast": ours, "pyarrow": arrow}, BATCHES, plain)


def _piping() -> Case:
    """Write, then read, in one thread: the message fits into the pipe."""
    theirs = int64_batch()
    mine = RecordBatch.from_arrow(theirs)
    return Case(
        "write and read through a pipe",
        {"vgi_fast": _loop(mine), "pyarrow": _arrow_loop(theirs)},
        plain=last_column,
    )


def _ticking() -> Case:
    """A message without rows: what is left when there is no data to move."""
    empty = pa.RecordBatch.from_pylist([], pa.schema([]))
    mine = RecordBatch(Schema([]), [], 0)
    return Case(
        "tick through a pipe",
        {"vgi_fast": _loop(mine), "pyarrow": _arrow_loop(empty)},
        plain=lambda batch: batch.num_rows,
    )


def _loop(batch: RecordBatch) -> Callable[[], RecordBatch | None]:
    read_fd, write_fd = os.pipe()
    source, sink = Input(read_fd), Output(write_fd)
    sink.schema(batch.schema)
    sink.flush()
    source.read_schema()

    def loop() -> RecordBatch | None:
        sink.batch(batch)
        sink.flush()
        return source.read_batch()

    return loop


def _arrow_loop(batch: pa.RecordBatch) -> Callable[[], pa.RecordBatch]:
    read_fd, write_fd = os.pipe()
    # Unbuffered writing joins nothing; buffered reading saves the reader's small reads.
    sink = pa.PythonFile(os.fdopen(write_fd, "wb", 0), "w")
    writer = pa.ipc.new_stream(sink, batch.schema)
    writer.write_batch(batch)  # the schema leaves with the first batch
    reader = pa.ipc.open_stream(pa.PythonFile(os.fdopen(read_fd, "rb", 1 << 16), "r"))
    reader.read_next_batch()

    def loop() -> pa.RecordBatch:
        writer.write_batch(batch)
        return reader.read_next_batch()

    return loop


if __name__ == "__main__":
    core_main("core.framing", __doc__, cases())
