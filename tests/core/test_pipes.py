"""Input and Output over descriptors: any delivery, ends and failures, and memory that is never overwritten."""

import errno
import fcntl
import os
import resource
import struct
from collections.abc import Callable
from random import Random
from threading import Thread

import pyarrow as pa
import pytest

from tests.core.compare import read_with_pyarrow
from tests.fix_core import Pipe
from tests.generators import TYPES, random_batch, random_schema
from tests.golden.make import read_golden
from vgi_fast._core import Array, Input, Output, RecordBatch, Schema, decode_stream, encode_stream
from vgi_fast.errors import ProtocolError, TransportError

NUMBERS = Schema.parse("a: int64")


def numbers(start: int, count: int) -> RecordBatch:
    return RecordBatch.from_pydict(NUMBERS, {"a": range(start, start + count)})


def read_all(input: Input) -> list[RecordBatch]:
    batches = []
    while (batch := input.read_batch()) is not None:
        batches.append(batch)
    return batches


def non_blocking(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)


# ---- delivery ----


@pytest.mark.parametrize("name", sorted(read_golden()))
def test_one_byte_at_a_time(pipe: Pipe, name: str) -> None:
    data = read_golden()[name]
    pipe.send(data, 1)
    input = Input(pipe.read)
    schema = input.read_schema()
    got = [batch.to_pydict() for batch in read_all(input)]
    expected_schema, expected = decode_stream(data)
    assert schema == expected_schema
    assert repr(got) == repr([batch.to_pydict() for batch in expected])
    assert input.read_schema() is None
    assert input.bytes_read == len(data)


@pytest.mark.parametrize("step", [3, 7, 64, 1000, 65536, 1 << 20])
def test_any_delivery(pipe: Pipe, step: int) -> None:
    rng = Random(step)
    schema = random_schema(rng)
    theirs = [random_batch(rng, schema, n) for n in (0, 1, 500, 3)]
    data = encode_stream(Schema.of(schema), [RecordBatch.from_arrow(b) for b in theirs])
    pipe.send(data * 3, step)
    input = Input(pipe.read)
    for _ in range(3):
        assert input.read_schema() is not None
        for ours, their in zip(read_all(input), theirs, strict=True):
            assert ours.to_arrow().equals(their)
    assert input.read_schema() is None


def test_non_blocking_descriptors(pipe: Pipe) -> None:
    non_blocking(pipe.read)
    non_blocking(pipe.write)
    large = numbers(0, 200_000)
    output = Output(pipe.write)

    def write() -> None:
        output.schema(NUMBERS)
        output.batch(large)
        output.eos()
        output.flush()
        pipe.close_write()

    thread = Thread(target=write, daemon=True)
    thread.start()
    input = Input(pipe.read)
    assert input.read_schema() == NUMBERS
    (batch,) = read_all(input)
    thread.join(10)
    assert batch.to_arrow().equals(large.to_arrow())
    assert output.bytes_written == input.bytes_read


def test_large_batches_in_parts(pipe: Pipe) -> None:
    """More than a pipe holds, and more buffers than one writev takes."""
    many = Schema.of({f"c{i}": "int64" for i in range(1500)})
    wide = RecordBatch(many, [Array.from_pylist([i, None], "int64") for i in range(1500)])
    long = numbers(0, 100_000)

    def write() -> None:
        output = Output(pipe.write)
        for schema, batch in ((many, wide), (NUMBERS, long)):
            output.schema(schema)
            output.batch(batch)
            output.batch(batch)
            output.eos()
        output.flush()
        pipe.close_write()

    thread = Thread(target=write, daemon=True)
    thread.start()
    input = Input(pipe.read)
    for schema, batch in ((many, wide), (NUMBERS, long)):
        assert input.read_schema() == schema
        for got in read_all(input):
            assert got.to_arrow().equals(batch.to_arrow())
    thread.join(10)


def test_output_reaches_pyarrow(pipe: Pipe) -> None:
    output = Output(pipe.write)
    output.schema(NUMBERS)
    output.flush()
    for i in range(5):
        output.batch(numbers(i, 10), {b"i": b"%d" % i})
        output.flush()
    output.eos()
    output.flush()
    data = pipe.receive()
    assert len(data) == output.bytes_written
    _, batches, metadata = read_with_pyarrow(data)
    assert [b.column(0)[0].as_py() for b in batches] == list(range(5))
    assert metadata == [{b"i": b"%d" % i} for i in range(5)]
    with pytest.raises(ValueError, match="writes to a descriptor"):
        output.getvalue()


def test_discard_over_a_descriptor(pipe: Pipe) -> None:
    output = Output(pipe.write)
    output.schema(NUMBERS)
    output.flush()
    output.batch(numbers(0, 3))
    output.discard()
    output.eos()
    output.flush()
    assert read_with_pyarrow(pipe.receive())[1] == []


# ---- ends ----


def test_nothing_at_all(pipe: Pipe) -> None:
    pipe.close_write()
    assert Input(pipe.read).read_schema() is None


def test_end_after_every_byte(pipes: Callable[[], Pipe]) -> None:
    """At a boundary the stream ends; anywhere inside a message it is broken."""
    data = encode_stream(NUMBERS, [numbers(0, 2)])
    schema = len(NUMBERS.serialize())
    boundaries = {0, schema, len(data) - 8, len(data)}
    for size in range(len(data) + 1):
        pipe = pipes()
        os.write(pipe.write, data[:size])
        pipe.close_write()
        input = Input(pipe.read)
        if size in boundaries:
            assert (input.read_schema() is None) == (size == 0)
            assert size == 0 or len(read_all(input)) == (size > schema)
            assert input.read_schema() is None
        else:
            with pytest.raises(ProtocolError, match="ended inside a message"):
                input.read_schema()
                read_all(input)
        pipe.finish()


def test_streams_back_to_back(pipe: Pipe) -> None:
    schemas = [Schema.parse(text) for text in ("", "a: int64", "b: utf8, c: list<int64>")]
    for schema in schemas:
        batch = RecordBatch(schema, [Array.from_pylist([None] * 3, t) for t in schema.types], 3)
        os.write(pipe.write, encode_stream(schema, [batch] * 4))
    pipe.close_write()
    input = Input(pipe.read)
    assert input.read_schema() == schemas[0]
    input.drain()
    assert input.read_schema() == schemas[1]
    assert len(read_all(input)) == 4
    assert input.read_schema() == schemas[2]
    assert input.read_batch() is not None
    input.drain()
    assert input.read_schema() is None


def test_drain_of_a_broken_stream(pipe: Pipe) -> None:
    data = encode_stream(NUMBERS, [numbers(0, 2)] * 3)
    os.write(pipe.write, data[: len(data) - 20])
    pipe.close_write()
    input = Input(pipe.read)
    input.read_schema()
    with pytest.raises(ProtocolError, match="ended inside a message"):
        input.drain()


def test_drain_skips_what_cannot_be_read(pipe: Pipe) -> None:
    """Only the framing matters to it."""
    data = bytearray(encode_stream(NUMBERS, [numbers(0, 2)]))
    data[-8 - 24 : -8] = b"\xff" * 24
    os.write(pipe.write, bytes(data) + encode_stream(NUMBERS, []))
    input = Input(pipe.read)
    input.read_schema()
    input.drain()
    assert input.read_schema() == NUMBERS


def test_reader_is_gone(pipe: Pipe) -> None:
    pipe.close_read()
    output = Output(pipe.write)
    output.schema(NUMBERS)
    with pytest.raises(TransportError, match="Broken pipe"):
        output.flush()
    output.flush()  # what could not be written is forgotten


def test_reader_goes_while_it_is_written(pipe: Pipe) -> None:
    output = Output(pipe.write)
    output.schema(NUMBERS)
    output.batch(numbers(0, 200_000))

    def read() -> None:
        os.read(pipe.read, 1000)
        pipe.close_read()

    thread = Thread(target=read, daemon=True)
    thread.start()
    with pytest.raises(TransportError, match="Broken pipe"):
        output.flush()
    thread.join(10)


def test_descriptors_that_are_not_open(pipe: Pipe) -> None:
    output = Output(pipe.write)
    output.schema(NUMBERS)
    pipe.close_read()
    pipe.close_write()
    with pytest.raises(TransportError, match=os.strerror(errno.EBADF)):
        Input(pipe.read).read_schema()
    with pytest.raises(TransportError, match=os.strerror(errno.EBADF)):
        output.flush()


def test_wrong_end_of_a_pipe(pipe: Pipe) -> None:
    with pytest.raises(TransportError, match="reading failed"):
        Input(pipe.write).read_schema()


def test_signals_are_handled_while_waiting(pipe: Pipe) -> None:
    """A handler that raises ends a blocked read; one that does not lets it go on."""
    import signal

    calls = []

    def quiet(number: int, frame: object) -> None:
        calls.append(number)
        os.write(pipe.write, NUMBERS.serialize())

    def loud(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, quiet)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        input = Input(pipe.read)
        assert input.read_schema() == NUMBERS
        assert calls
        signal.signal(signal.SIGALRM, loud)
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            input.read_batch()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_truncated(pipes: Callable[[], Pipe]) -> None:
    """A stream that ends with the input, without its end marker."""
    data = encode_stream(NUMBERS, [numbers(0, 2)])
    for part, truncated in ((data, False), (data[:-8], True)):
        for read in (read_all, Input.drain):
            pipe = pipes()
            os.write(pipe.write, part)
            pipe.close_write()
            input = Input(pipe.read)
            assert not input.truncated
            input.read_schema()
            read(input)
            assert not input.open
            assert input.truncated == truncated
            pipe.finish()


def test_wait(pipe: Pipe) -> None:
    input = Input(pipe.read)
    assert not input.wait(0)
    data = encode_stream(NUMBERS, [numbers(0, 2)] * 2)
    os.write(pipe.write, data)
    assert input.wait(0)
    input.read_schema()
    for _ in range(2):
        assert input.wait(0)
        assert input.read_batch() is not None
    assert input.wait(0)
    assert input.read_batch() is None
    assert not input.wait(0)
    pipe.close_write()
    assert input.wait(10_000)
    assert input.read_schema() is None
    assert input.wait(0)
    assert Input(b"").wait(0)


# ---- memory ----


def test_kept_batches_are_never_overwritten(pipe: Pipe) -> None:
    """Some batches are kept, as batches, columns, slices or NumPy views, and some are dropped at once."""
    rng = Random(4)
    counts = [rng.choice([1, 10, 1000, 9000]) for _ in range(300)]
    starts = [rng.randrange(1 << 40) for _ in counts]
    data = encode_stream(NUMBERS, [numbers(start, count) for start, count in zip(starts, counts, strict=True)])
    pipe.send(data, 5000)
    input = Input(pipe.read)
    input.read_schema()
    kept = []
    for start, count in zip(starts, counts, strict=True):
        batch = input.read_batch()
        assert batch is not None
        assert batch.column(0)[count - 1] == start + count - 1
        keep = rng.randrange(6)
        if keep == 0:
            kept.append((start, count, batch.to_arrow().column(0).to_numpy))
        elif keep == 1:
            kept.append((start, count, batch.column(0).to_numpy))
        elif keep == 2:
            kept.append((start, count, batch.column(0).to_numpy().view().copy))
        elif keep == 3 and count > 1:
            kept.append((start + 1, count - 1, batch.slice(1, count - 1).column("a").to_numpy))
        if len(kept) > 40:
            start, count, values = kept.pop(rng.randrange(len(kept)))
            assert values().tolist() == list(range(start, start + count))
    assert input.read_batch() is None
    for start, count, values in kept:
        assert values().tolist() == list(range(start, start + count))


def test_kept_values_of_each_type(pipe: Pipe) -> None:
    schema = pa.schema([(f"c{i}", type) for i, type in enumerate(TYPES.values())])
    theirs = [random_batch(Random(i), schema, 40) for i in range(12)]
    pipe.send(encode_stream(Schema.of(schema), [RecordBatch.from_arrow(b) for b in theirs]), 777)
    input = Input(pipe.read)
    input.read_schema()
    batches = read_all(input)
    del input
    for ours, their in zip(batches, theirs, strict=True):
        assert ours.to_arrow().equals(their)


def test_batches_outlive_the_descriptor(pipe: Pipe) -> None:
    pipe.send(encode_stream(NUMBERS, [numbers(5, 3)]))
    input = Input(pipe.read)
    input.read_schema()
    batch = input.read_batch()
    del input
    pipe.close_read()
    assert batch is not None
    assert batch.to_pydict() == {"a": [5, 6, 7]}


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("body", [1 << 33, 1 << 39, (1 << 40) + 1, 1 << 62, -1])
def test_announced_bodies_are_not_allocated(pipe: Pipe, body: int) -> None:
    message = bytearray(numbers(0, 3).to_arrow().serialize().to_pybytes())
    where = message.index(struct.pack("<q", 24), 8)  # Message.bodyLength
    message[where : where + 8] = struct.pack("<q", body)
    os.write(pipe.write, NUMBERS.serialize() + message)
    pipe.close_write()
    before = peak_kib()
    input = Input(pipe.read)
    input.read_schema()
    with pytest.raises(ProtocolError, match="ended inside a message|body of|malformed"):
        input.read_batch()
    assert peak_kib() - before < 200_000


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0x40000000, 0x80000000, 0xFFFFFFFE])
def test_announced_headers_are_not_allocated(pipe: Pipe, length: int) -> None:
    os.write(pipe.write, b"\xff\xff\xff\xff" + struct.pack("<I", length) + bytes(64))
    pipe.close_write()
    before = peak_kib()
    with pytest.raises(ProtocolError):
        Input(pipe.read).read_schema()
    assert peak_kib() - before < 200_000


def test_message_limit(pipe: Pipe) -> None:
    data = encode_stream(NUMBERS, [numbers(0, 10), numbers(0, 1000)])
    pipe.send(data)
    input = Input(pipe.read, max_message_bytes=1000)
    input.read_schema()
    assert input.read_batch() is not None
    with pytest.raises(ProtocolError, match="at most 1000 are accepted"):
        input.read_batch()


def test_bad_arguments() -> None:
    for source in ("text", None, 1.5):
        with pytest.raises(TypeError):
            Input(source)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Output("text")  # type: ignore[arg-type]
