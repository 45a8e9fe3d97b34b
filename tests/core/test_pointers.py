"""Batches in shared memory: what lies in a slot, what may not lie there, and views that outlive it."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from tests.fix_core import Pipe
from tests.fix_segments import DATA, Made
from tests.generators import batches
from vgi_fast._core import (
    Array,
    Input,
    Output,
    RecordBatch,
    ScalarPlan,
    Schema,
    Segment,
    decode_stream,
    encode_stream,
    serve_exchange,
)
from vgi_fast.errors import ProtocolError, TransportError
from vgi_fast.wire import keys

Make = Callable[..., Made]
NUMBERS = Schema.parse("a: int64")
WORDS = Schema.parse("w: dictionary<int8, utf8>")
NESTED = Schema.parse("l: list<item: dictionary<int8, utf8>>")


def numbers(start: int, count: int, schema: Schema = NUMBERS) -> RecordBatch:
    return RecordBatch.from_pydict(schema, {"a": range(start, start + count)})


def rows_of(input: Input) -> int:
    """Of the next batch."""
    batch = input.read_batch()
    assert batch is not None
    return batch.num_rows


def pointer_to(offset: int, length: int, **more: bytes) -> dict[bytes, bytes]:
    return {
        keys.SHM_OFFSET: str(offset).encode(),
        keys.SHM_LENGTH: str(length).encode(),
        **{key.encode(): value for key, value in more.items()},
    }


def pointers(schema: Schema, *metadata: dict[bytes, bytes]) -> bytes:
    """A stream of pointer batches."""
    out = Output()
    out.schema(schema)
    for each in metadata:
        out.empty_batch(each)
    out.eos()
    out.flush()
    return out.getvalue()


def input_of(data: bytes, made: Made) -> Input:
    """As a peer sees it that has a mapping of its own."""
    input = Input(data)
    input.attach_segment(Segment.attach(made.segment.name))
    input.read_schema()
    return input


def written(made: Made, schema: Schema, *given: RecordBatch, least: int = 0) -> bytes:
    out = Output()
    out.attach_segment(made.segment, least)
    out.schema(schema)
    for batch in given:
        out.batch(batch)
    out.eos()
    out.flush()
    return out.getvalue()


def inline(data: bytes) -> list[tuple[pa.RecordBatch, dict[bytes, bytes]]]:
    reader = pa.ipc.open_stream(BytesIO(data))
    found: list[tuple[pa.RecordBatch, dict[bytes, bytes]]] = []
    while True:
        try:
            batch, metadata = reader.read_next_batch_with_custom_metadata()
        except StopIteration:
            return found
        found.append((batch, dict(metadata or {})))


# ---- out: the bytes in a slot, read by pyarrow ----


def test_a_slot_holds_a_complete_stream(segments: Make) -> None:
    made = segments()
    data = written(made, NUMBERS, numbers(0, 1000).with_metadata({b"vgi_batch_index": b"7"}))
    ((batch, metadata),) = inline(data)
    assert (batch.num_rows, batch.schema) == (0, pa.schema([("a", pa.int64())]))
    ((offset, length),) = made.segment.entries()
    assert metadata == {b"vgi_batch_index": b"7", **pointer_to(offset, length)}
    assert next(iter(metadata)) == b"vgi_batch_index"
    ((stored, inner),) = inline(made.bytes[offset : offset + length])
    assert stored.column(0).to_pylist() == list(range(1000))
    assert inner == {}
    # Nothing but one stream, and no byte more than its length.
    assert made.bytes[offset : offset + length] == encode_stream(NUMBERS, [numbers(0, 1000)])


def test_a_dictionary_column_leaves_out_both_ends(segments: Make) -> None:
    made = segments()
    batch = RecordBatch.from_pydict(WORDS, {"w": ["x", None, "y", "x"]})
    ((empty, metadata),) = inline(written(made, WORDS, batch))
    assert empty.num_rows == 0
    ((offset, length),) = made.segment.entries()
    assert metadata == pointer_to(offset, length)
    stored = made.bytes[offset : offset + length]
    ((found, _),) = inline(WORDS.serialize() + stored + b"\xff\xff\xff\xff\0\0\0\0")
    assert found.column(0).to_pylist() == ["x", None, "y", "x"]
    assert stored == encode_stream(WORDS, [batch])[len(WORDS.serialize()) : -8]


def test_a_nested_dictionary_is_in_a_complete_stream(segments: Make) -> None:
    made = segments()
    batch = RecordBatch.from_pydict(NESTED, {"l": [["x", "y"], None, []]})
    assert len(inline(written(made, NESTED, batch))) == 1
    ((offset, length),) = made.segment.entries()
    assert made.bytes[offset : offset + length] == encode_stream(NESTED, [batch])


def test_small_and_empty_batches_stay_inline(segments: Make) -> None:
    made = segments()
    given = [numbers(0, 1000), numbers(0, 10).with_metadata({b"k": b"v"}), numbers(0, 0), numbers(0, 1001)]
    got = inline(written(made, NUMBERS, *given, least=8000))
    assert [batch.num_rows for batch, _ in got] == [0, 10, 0, 0]
    assert [sorted(metadata) for _, metadata in got] == [
        [keys.SHM_LENGTH, keys.SHM_OFFSET],
        [b"k"],
        [],
        [keys.SHM_LENGTH, keys.SHM_OFFSET],
    ]
    assert len(made.segment.entries()) == 2


def test_the_threshold_counts_what_a_slot_would_hold(segments: Make) -> None:
    made = segments()
    size = len(encode_stream(NUMBERS, [numbers(0, 100)]))
    assert inline(written(made, NUMBERS, numbers(0, 100), least=size + 1))[0][0].num_rows == 100
    assert inline(written(made, NUMBERS, numbers(0, 100), least=size))[0][0].num_rows == 0


def test_a_full_segment_sends_inline(segments: Make) -> None:
    made = segments(size=DATA + 20_000)
    given = [numbers(start, 1000).with_metadata({b"start": str(start).encode()}) for start in range(4)]
    got = inline(written(made, NUMBERS, *given))
    assert [batch.num_rows for batch, _ in got] == [0, 0, 1000, 1000]
    assert [metadata[b"start"] for _, metadata in got] == [b"0", b"1", b"2", b"3"]
    assert got[3][0].column(0)[0].as_py() == 3
    assert all(keys.SHM_OFFSET not in metadata for _, metadata in got[2:])


def test_a_corrupt_table_is_an_error_and_leaves_nothing_behind(segments: Make) -> None:
    made = segments()
    out = Output()
    out.attach_segment(made.segment, 0)
    out.schema(NUMBERS)
    made.set_count(2**31)
    with pytest.raises(ProtocolError, match="slots"):
        out.batch(numbers(0, 10))
    out.empty_batch({b"k": b"v"})
    out.eos()
    out.flush()
    assert [(batch.num_rows, metadata) for batch, metadata in inline(out.getvalue())] == [(0, {b"k": b"v"})]


def test_an_input_in_a_table_that_became_corrupt(segments: Make, pipe: Pipe) -> None:
    peer = Peer(segments(), pipe)
    peer.open()
    peer.send(0)
    kept = peer.send(1)
    peer.made.set_count(2**32 - 1)
    peer.end()
    peer.input.release()
    peer.scribble()
    assert kept.column(0)[0] == 1


def test_pointers_count_their_digits_anew(segments: Make) -> None:
    """Offsets and lengths of other widths, with and without metadata."""
    made = segments(size=1 << 24)
    for metadata in (None, {b"k": b"v"}, {b"k": b"-----"}):
        given = [numbers(0, count).with_metadata(metadata) for count in (1, 1, 1, 10_000, 1, 200_000, 1, 10_000)]
        data = written(made, NUMBERS, *given)
        input = input_of(data, made)
        for batch in given:
            got = input.read_batch()
            assert got is not None
            assert (got.num_rows, got.metadata) == (batch.num_rows, metadata or {})
            assert got.column(0)[-1] == batch.num_rows - 1
        made.segment.reset()


def test_one_thread_changes_schema(segments: Make) -> None:
    made = segments()
    out = Output()
    out.attach_segment(made.segment, 0)
    for schema in (NUMBERS, Schema.parse("b: utf8"), NUMBERS):
        out.schema(schema)
        for _ in range(3):
            out.batch(RecordBatch.from_pydict(schema, {schema.names[0]: [1] if schema == NUMBERS else ["x"]}))
        out.eos()
    out.attach_segment(None)
    out.schema(NUMBERS)
    out.batch(numbers(0, 5))
    out.flush()
    assert out.pointers_written == 9
    source = Input(out.getvalue())
    source.attach_segment(Segment.attach(made.segment.name))
    for expected in (1, "x", 1):
        assert source.read_schema() is not None
        assert [batch.column(0)[0] for batch in iter(source.read_batch, None)] == [expected] * 3
    source.read_schema()
    assert rows_of(source) == 5


@given(batches(most_rows=40))
def test_any_batch_there_and_back(batch: pa.RecordBatch) -> None:
    made = Made(1 << 20)
    try:
        ours = RecordBatch.from_arrow(batch)
        data = written(made, ours.schema, ours, ours)
        input = input_of(data, made)
        for _ in range(2):
            got = input.read_batch()
            assert got is not None
            assert encode_stream(ours.schema, [got]) == encode_stream(ours.schema, [ours])
        assert input.read_batch() is None
        assert made.segment.entries() == [] or got is not None
        del got
        input.release()
        assert made.segment.entries() == []
    finally:
        made.segment.unlink()
        made.segment.close()
        made.bytes.close()


# ---- in: what pyarrow wrote ----


def arrow_stream(batch: pa.RecordBatch, **options: Any) -> bytes:
    sink = BytesIO()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


@pytest.mark.parametrize("options", [{}, {"compression": "zstd"}, {"use_legacy_format": True}])
def test_a_stream_of_pyarrow(segments: Make, options: dict[str, Any]) -> None:
    made = segments()
    batch = pa.record_batch({"a": list(range(100)), "s": ["é" * 3, None] * 50})
    region = arrow_stream(batch, **options)
    offset = made.place(region)
    schema = Schema.of(batch.schema)
    input = input_of(pointers(schema, pointer_to(offset, len(region), k=b"v")), made)
    got = input.read_batch()
    assert got is not None
    assert got.metadata == {b"k": b"v"}
    assert got.to_arrow() == batch


def test_a_slot_may_be_longer_than_the_pointer(segments: Make) -> None:
    made = segments()
    region = encode_stream(NUMBERS, [numbers(0, 10)])
    offset = made.place(region + bytes(4096))
    input = input_of(pointers(NUMBERS, pointer_to(offset, len(region))), made)
    assert rows_of(input) == 10
    input.read_batch()
    assert made.segment.entries() == []


def test_an_odd_offset(segments: Make) -> None:
    made = segments()
    region = encode_stream(NUMBERS, [numbers(0, 100)])
    made.place(b"odd")
    offset = made.place(region)
    assert offset % 8
    input = input_of(pointers(NUMBERS, pointer_to(offset, len(region))), made)
    got = input.read_batch()
    assert got is not None
    assert got.column(0).to_numpy().flags.aligned
    assert got.column(0).to_numpy().sum() == 4950


def test_a_dictionary_of_a_region_is_its_own(segments: Make) -> None:
    """Inline batches of the same stream keep theirs."""
    made = segments()
    inside = RecordBatch.from_pydict(WORDS, {"w": ["inside"]})
    region = encode_stream(WORDS, [inside])[len(WORDS.serialize()) : -8]
    offset = made.place(region)
    out = Output()
    out.schema(WORDS)
    out.batch(RecordBatch.from_pydict(WORDS, {"w": ["outside"]}))
    pointer = pointers(WORDS, pointer_to(offset, len(region)))[len(WORDS.serialize()) : -8]
    out.raw(pointer)
    out.batch(RecordBatch.from_pydict(WORDS, {"w": ["again"]}))
    out.flush()
    input = input_of(out.getvalue(), made)
    assert [batch.to_pydict() for batch in iter(input.read_batch, None)] == [
        {"w": ["outside"]},
        {"w": ["inside"]},
        {"w": ["again"]},
    ]
    # A dictionary that was read from the slot does not hold it back.
    assert made.segment.entries() == []


def test_unresolved_until_asked(segments: Make) -> None:
    made = segments()
    region = encode_stream(NUMBERS, [numbers(0, 10)])
    metadata = pointer_to(made.place(region), len(region))
    input = input_of(pointers(NUMBERS, metadata), made)
    pointer = input.read_batch(resolve=False)
    assert pointer is not None
    assert (pointer.num_rows, pointer.metadata) == (0, metadata)
    input.drain()
    got = input.resolve(pointer)
    assert got.num_rows == 10
    assert input.resolve(got) is got


# ---- hostile pointers and regions ----

GOOD = encode_stream(NUMBERS, [numbers(0, 10)])
SCHEMA = NUMBERS.serialize()
BATCH = GOOD[len(SCHEMA) : -8]
END = GOOD[-8:]


def test_no_segment() -> None:
    input = Input(pointers(NUMBERS, pointer_to(DATA, 8)) + GOOD)
    input.read_schema()
    with pytest.raises(ProtocolError, match="no segment is attached"):
        input.read_batch()
    input.drain()
    input.read_schema()
    assert rows_of(input) == 10


@pytest.mark.parametrize(
    "metadata",
    [
        {keys.SHM_OFFSET: b"65536"},
        pointer_to(0, 8),
        pointer_to(DATA - 8, 8),
        pointer_to(1 << 20, 8),
        pointer_to((1 << 20) + 8, 0),
        pointer_to(DATA, (1 << 20) - DATA + 1),
        pointer_to(DATA, 2**62),
        pointer_to(2**62, 2**62),
        pointer_to(10**17, 10**17),
        pointer_to(2**63, 8),
        pointer_to(2**64 + DATA, 8),
        pointer_to(10**4000, 8),
        *({keys.SHM_OFFSET: text, keys.SHM_LENGTH: b"8"} for text in (b"", b"-1", b"+65536", b" 65536", b"0x10000")),
        *({keys.SHM_OFFSET: b"65536", keys.SHM_LENGTH: text} for text in (b"", b"-8", b"8.0", b"\xff", b"1_0")),
    ],
)
def test_impossible_pointers(segments: Make, metadata: dict[bytes, bytes]) -> None:
    made = segments(size=1 << 20)
    input = input_of(pointers(NUMBERS, metadata) + GOOD, made)
    with pytest.raises(ProtocolError, match="pointer"):
        input.read_batch()
    input.drain()
    input.read_schema()
    assert rows_of(input) == 10


OTHER = Schema.parse("b: int64")
TEXT = Schema.parse("a: utf8")


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (b"", "no batch"),
        (END, "no batch"),
        (SCHEMA, "no batch"),
        (SCHEMA + END, "no batch"),
        (BATCH + END, "expected a schema"),
        (SCHEMA + SCHEMA + BATCH + END, "schema message"),
        (SCHEMA + BATCH + BATCH + END, "more than one"),
        (GOOD + bytes(8), "8 bytes after"),
        (GOOD + GOOD, "after the end"),
        (encode_stream(OTHER, [RecordBatch.from_pydict(OTHER, {"b": [1]})]), "a pointer of"),
        (encode_stream(TEXT, [RecordBatch.from_pydict(TEXT, {"a": ["x"]})]), "a pointer of"),
        (GOOD[:3], "are left"),
        (GOOD[:6], "are left"),
        (GOOD[:40], "are left"),
        (SCHEMA + BATCH[:-8], "are left"),
        (b"\xff\xff\xff\xff" + (2**31 - 1).to_bytes(4, "little"), "are left"),
        (b"\xff\xff\xff\xff\xfe\xff\xff\xff", "header of -2"),
        (b"\xff\xff\xff\xff\x10\0\0\0" + bytes(16), "malformed"),
    ],
)
def test_wrong_regions(segments: Make, region: bytes, message: str) -> None:
    made = segments()
    offset = made.place(region) if region else DATA
    input = input_of(pointers(NUMBERS, pointer_to(offset, len(region))) + GOOD, made)
    with pytest.raises(ProtocolError, match=message):
        input.read_batch()
    input.drain()
    input.release()
    assert made.segment.entries() == []
    input.read_schema()
    assert rows_of(input) == 10


def test_a_stream_where_its_messages_are_due(segments: Make) -> None:
    made = segments()
    region = encode_stream(WORDS, [RecordBatch.from_pydict(WORDS, {"w": ["x"]})])
    input = input_of(pointers(WORDS, pointer_to(made.place(region), len(region))), made)
    with pytest.raises(ProtocolError, match="schema message"):
        input.read_batch()


def test_every_cut_and_every_bit(segments: Make) -> None:
    schema = Schema.parse("a: int64, s: utf8")
    batch = RecordBatch.from_pydict(schema, {"a": [1, 2, None], "s": ["x", None, "yz"]})
    region = encode_stream(schema, [batch])
    made = segments()
    offset = made.place(region)
    for size in range(len(region)):
        if size != len(region) - 8:  # the end marker may be missing, as at the end of a connection
            with pytest.raises(ProtocolError):
                input_of(pointers(schema, pointer_to(offset, size)), made).read_batch()
    rng = Random(7)
    for _ in range(3000):
        bit = rng.randrange(8 * len(region))
        made.bytes[offset + bit // 8] ^= 1 << bit % 8
        try:
            got = input_of(pointers(schema, pointer_to(offset, len(region))), made).read_batch()
            assert got is not None
            got.to_pydict()
        except ProtocolError:
            pass
        made.bytes[offset + bit // 8] ^= 1 << bit % 8
    assert made.bytes[offset : offset + len(region)] == region


# ---- slots, and views that outlive them ----


class Peer:
    """Writes pointers into a pipe, one at a time, into slots that it owns."""

    def __init__(self, made: Made, pipe: Pipe) -> None:
        self.made = made
        self.out = Output(pipe.write)
        self.out.attach_segment(made.segment, 0)
        self.input = Input(pipe.read)
        self.other = Segment.attach(made.segment.name)
        self.input.attach_segment(self.other)

    def open(self) -> None:
        self.made.segment.reset()
        self.out.schema(NUMBERS)
        self.out.flush()
        self.input.read_schema()

    def send(self, start: int, count: int = 1000) -> RecordBatch:
        self.out.batch(numbers(start, count))
        self.out.flush()
        got = self.input.read_batch()
        assert got is not None
        return got

    def end(self) -> None:
        self.out.eos()
        self.out.flush()
        assert self.input.read_batch() is None

    def close(self) -> None:
        """pytest keeps its fixtures for longer than a debug build likes."""
        self.input.attach_segment(None)
        self.other.close()
        del self.input, self.out

    def scribble(self) -> None:
        """Over all slots, as the next calls of the peer would."""
        self.made.bytes[DATA:] = b"\xee" * (len(self.made.bytes) - DATA)


@pytest.fixture
def peer(segments: Make, pipe: Pipe) -> Iterator[Peer]:
    peer = Peer(segments(), pipe)
    yield peer
    peer.close()


def test_a_slot_is_free_when_the_next_batch_is_read(peer: Peer) -> None:
    peer.open()
    peer.send(0)
    for start in range(1, 50):
        peer.send(start)
        assert len(peer.made.segment.entries()) == 1
    peer.end()
    assert peer.made.segment.entries() == []


def test_a_viewed_slot_is_held_back(peer: Peer) -> None:
    peer.open()
    view = peer.send(0).column(0).to_numpy()
    for start in range(1, 10):
        peer.send(start)
        assert len(peer.made.segment.entries()) == 2
        assert view[0] == 0
        assert view[-1] == 999
    del view
    peer.send(10)
    assert len(peer.made.segment.entries()) == 1
    peer.end()


KEEPERS: dict[str, Callable[[RecordBatch], Any]] = {
    "batch": lambda batch: batch,
    "array": lambda batch: batch.column(0),
    "slice": lambda batch: batch.column(0).slice(10, 20).slice(0, 5),
    "batch of a slice": lambda batch: batch.slice(0, 10),
    "numpy": lambda batch: batch.column(0).to_numpy(),
    "numpy slice": lambda batch: batch.column(0).to_numpy()[5:50:5],
    "memoryview": lambda batch: batch.column(0).to_numpy().data,
    "arrow": lambda batch: batch.column(0).to_arrow(),
    "arrow slice": lambda batch: batch.to_arrow().slice(100).column(0),
    "arrow buffer": lambda batch: batch.column(0).to_arrow().buffers()[1],
    "capsules": lambda batch: batch.__arrow_c_array__(),
}


def contents(kept: Any) -> Any:
    if isinstance(kept, RecordBatch):
        return kept.to_pydict()
    if isinstance(kept, pa.Buffer):
        return np.frombuffer(kept, np.int64).tolist()
    if isinstance(kept, tuple):
        return None
    return list(kept)


@pytest.mark.parametrize("how", KEEPERS)
def test_views_outlive_their_stream(peer: Peer, how: str) -> None:
    keep = KEEPERS[how]
    kept = []
    expected = []
    for stream in range(3):
        peer.open()
        for start in range(4):
            batch = peer.send(1000 * (4 * stream + start))
            kept.append(keep(batch))
            expected.append(contents(keep(RecordBatch.from_pydict(NUMBERS, batch.to_pydict()))))
            del batch
        peer.end()
        peer.input.release()
        assert peer.made.segment.entries() == []
        peer.scribble()
        assert [contents(each) for each in kept] == expected
    if how == "capsules":
        arrays = [pa.Array._import_from_c_capsule(*each) for each in kept]
        assert [each.field(0)[0].as_py() for each in arrays] == [1000 * i for i in range(12)]
        del arrays
    # The connection goes on with the same segment.
    peer.open()
    assert peer.send(7).column(0)[0] == 7
    peer.end()
    del kept
    gc.collect()
    peer.input.release()
    peer.scribble()


def test_views_outlive_the_segment(peer: Peer) -> None:
    peer.open()
    view = peer.send(0).column(0).to_numpy()
    peer.input.attach_segment(None)
    peer.made.segment.unlink()
    peer.scribble()
    assert view.sum() == 499_500
    assert peer.made.segment.entries() == []


def test_neighbours_on_one_page(segments: Make, pipe: Pipe) -> None:
    """Slots smaller than a page: keeping one keeps nothing else, and moves nothing else."""
    peer = Peer(segments(), pipe)
    peer.open()
    views = [peer.send(10 * index, 3).column(0).to_numpy() for index in range(40)]
    addresses = [view.ctypes.data for view in views]
    del views[1::2], addresses[1::2]
    answer = peer.made.segment.allocate(512)
    assert answer is not None
    peer.made.bytes[answer : answer + 512] = b"A" * 512
    peer.end()
    peer.input.release()
    assert peer.made.bytes[answer : answer + 512] == b"A" * 512
    peer.scribble()
    assert [view.tolist() for view in views] == [[n, n + 1, n + 2] for n in range(0, 400, 20)]
    assert [view.ctypes.data for view in views] == addresses


def test_readers_in_other_threads_see_no_change(peer: Peer) -> None:
    from threading import Event, Thread

    view = np.empty(0)
    stop = Event()
    wrong: list[int] = []

    def read() -> None:
        while not stop.is_set():
            total = int(view.sum())
            if total != expected:
                wrong.append(total)
                return

    for stream in range(20):
        peer.open()
        view = peer.send(stream, 60_000).column(0).to_numpy()
        expected = int(view.sum())
        stop.clear()
        thread = Thread(target=read)
        thread.start()
        peer.end()
        peer.input.release()
        peer.scribble()
        stop.set()
        thread.join()
    assert wrong == []


def test_no_descriptor_and_no_mapping_is_left(peer: Peer) -> None:
    def count() -> tuple[int, int]:
        with open("/proc/self/maps", encoding="ascii") as maps:
            mapped = sum("vgi_" in line for line in maps)
        return len(os.listdir("/proc/self/fd")), mapped

    if not os.path.exists("/proc/self/maps"):
        pytest.skip("needs /proc")
    gc.collect()
    before = count()
    for stream in range(5):
        peer.open()
        kept = [peer.send(start).column(0).to_numpy() for start in range(5)]
        peer.end()
        peer.input.release()
        assert kept[stream][0] == stream
        del kept
    gc.collect()
    assert count() == before


def test_an_answer_may_view_the_input(segments: Make, pipes: Callable[[], Pipe]) -> None:
    """What a step gives back unchanged lies in the client's slot until it is written, inline or not."""
    for size, at_once in ((1 << 20, False), (DATA + 9_000, True)):
        made = segments(size=size)
        there, back = pipes(), pipes()
        ours, theirs = Segment.attach(made.segment.name), made.segment
        out, answers = Output(there.write), Input(back.read)
        out.attach_segment(theirs, 0)
        answers.attach_segment(theirs)
        out.schema(NUMBERS)
        for start in (1, 2, 3):
            out.batch(numbers(start, 1000))
            if at_once:
                break
        out.eos()
        out.flush()
        input, output = Input(there.read), Output(back.write)
        input.attach_segment(ours)
        output.attach_segment(ours, 0)
        input.read_schema()
        assert serve_exchange(input, output, NUMBERS, NUMBERS, lambda batch: batch.slice(0, 900)) is False
        output.eos()
        output.flush()
        answers.read_schema()
        got = list(iter(answers.read_batch, None))
        assert [batch.column(0)[0] for batch in got] == ([1] if at_once else [1, 2, 3])
        assert all(batch.num_rows == 900 for batch in got)
        assert (output.pointers_written == 0) is at_once


def test_a_plan_answers_from_slot_to_slot(segments: Make, pipes: Callable[[], Pipe]) -> None:
    made = segments()
    there, back = pipes(), pipes()
    ours = Segment.attach(made.segment.name)
    out, answers = Output(there.write), Input(back.read)
    out.attach_segment(made.segment, 0)
    answers.attach_segment(made.segment)
    input, output = Input(there.read), Output(back.write)
    input.attach_segment(ours)
    output.attach_segment(ours, 0)
    plan = ScalarPlan(np.negative, [("numpy", 0)], NUMBERS, NUMBERS)
    out.schema(NUMBERS)
    out.batch(numbers(5, 1000))
    out.eos()
    out.flush()
    input.read_schema()
    serve_exchange(input, output, NUMBERS, NUMBERS, plan)
    ((answer, _),) = made.segment.entries()
    assert answer > DATA  # the input's slot is free before the client hears of the answer
    output.eos()
    output.flush()
    answers.read_schema()
    got = answers.read_batch()
    assert got is not None
    assert got.column(0)[0] == -5


def test_memory_that_the_system_does_not_have(tmp_path: Any) -> None:
    """A store to a page that cannot be had would end the process: such batches stay inline."""
    source = """
import os, sys
from vgi_fast._core import Input, Output, RecordBatch, Schema, Segment
schema = Schema.parse("a: int64")
segment = Segment.create("vgi_shm_test_small", 16 << 20)
out = Output()
out.attach_segment(segment, 0)
out.schema(schema)
for count in (1000, 300_000, 1000, 300_000, 10_000):
    out.batch(RecordBatch.from_pydict(schema, {"a": range(count)}))
out.eos(); out.flush()
source = Input(out.getvalue())
source.read_schema()
rows = []
while (batch := source.read_batch(resolve=False)) is not None:
    rows.append(len(batch))
segment.unlink()
print(rows)
"""
    script = f"mount -t tmpfs -o size=2m none /dev/shm && exec {sys.executable} -c '{source}'"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("needs a mount namespace")
    assert (done.stdout, done.stderr, done.returncode) == ("[0, 300000, 0, 300000, 0]\n", "", 0)


def test_decoded_streams_have_no_segment() -> None:
    with pytest.raises(ProtocolError, match="no segment"):
        decode_stream(pointers(NUMBERS, pointer_to(DATA, 8)))


def test_a_closed_segment(peer: Peer) -> None:
    peer.open()
    peer.made.segment.close()
    with pytest.raises(TransportError, match="closed"):
        peer.out.batch(RecordBatch(NUMBERS, [Array.from_pylist([1], "int64")]))
    peer.out.discard()
