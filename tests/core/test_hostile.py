"""Bytes from a hostile peer: they decode or raise ProtocolError, and never cost more than they are."""

import struct
from collections.abc import Callable
from time import perf_counter

import pyarrow as pa
import pytest

from tests.core import flat
from tests.core.compare import write_with_pyarrow
from tests.fuzz import fuzz_core
from tests.golden.make import read_golden
from vgi_fast._core import Array, Field, Input, RecordBatch, Schema, decode_stream, encode_stream, set_validation
from vgi_fast.errors import ProtocolError

GOLDEN = read_golden()
CLOCKS = ["type_date64", "type_time32_ms", "type_time32_s", "type_time64_ns", "type_time64_us",
          "type_timestamp_ms_tz_02_30", "type_timestamp_us_tz"]  # fmt: skip


def is_clock(name: str) -> bool:
    return name in CLOCKS or name == "many_columns" or "date" in name or "time" in name


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_every_prefix(name: str) -> None:
    data = GOLDEN[name]
    for size in range(len(data)):
        for reader in (fuzz_core.read_input, fuzz_core.read_stream, fuzz_core.read_schema):
            try:
                reader(data[:size])
            except ProtocolError:
                pass


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_every_byte_set_to_extremes(name: str) -> None:
    """In the first kilobyte of the first two messages, which hold all the offsets and lengths."""
    data = GOLDEN[name]
    for at in range(min(len(data), 1024)):
        for value in (0, 0x7F, 0x80, 0xFF):
            if data[at] != value:
                changed = bytearray(data)
                changed[at] = value
                try:
                    fuzz_core.read_input(bytes(changed))
                except ProtocolError:
                    pass


def test_seeded_mutations() -> None:
    golden = {name: data for name, data in GOLDEN.items() if not is_clock(name)}
    result = fuzz_core.run(8000, seed=20240229, golden=golden)
    assert not result.findings
    assert result.accepted > 100


def test_seeded_mutations_of_dates_and_times() -> None:
    golden = {name: data for name, data in GOLDEN.items() if is_clock(name)}
    assert not fuzz_core.run(4000, seed=20240229, golden=golden).findings


def batch_message(text: str, values: list[object]) -> tuple[bytes, bytearray]:
    """Schema message, and batch message with its body, of one column."""
    schema = Schema.of({"c": text})
    data = encode_stream(schema, [RecordBatch(schema, [Array.from_pylist(values, text)])])
    start = flat.frames(data)[1]
    return data[:start], bytearray(data[start:-8])


def buffer_at(message: bytearray, index: int) -> int:
    """Position of a buffer's bytes inside of a batch message."""
    vector = flat.follow(message, flat.slot(message, flat.header(message), 2))
    return 8 + flat.i32(message, 4) + flat.i64(message, vector + 4 + 16 * index)


def node_at(message: bytearray, index: int) -> int:
    """Position of a field node: length, null count."""
    return flat.follow(message, flat.slot(message, flat.header(message), 1)) + 4 + 16 * index


def buffer_entry(message: bytearray, index: int) -> int:
    """Position of a buffer's offset and length."""
    return flat.follow(message, flat.slot(message, flat.header(message), 2)) + 4 + 16 * index


def put(fmt: str, *numbers: int) -> Callable[[bytearray, int], None]:
    data = struct.pack(f"<{fmt}", *numbers)

    def write(message: bytearray, at: int) -> None:
        message[at : at + len(data)] = data

    return write


@pytest.mark.parametrize(
    ("text", "values", "place", "number", "refusal"),
    [
        ("utf8", ["ab", "cd"], (buffer_at, 1, 4), put("i", 100), "offsets that decrease or lead outside"),
        ("utf8", ["ab", "cd"], (buffer_at, 1, 4), put("i", -1), "offsets that decrease or lead outside"),
        ("utf8", ["ab", "cd"], (buffer_at, 1, 8), put("i", 2**31 - 1), "offsets that decrease or lead outside"),
        ("utf8", ["ab", "cd"], (buffer_at, 1, 0), put("i", -8), "offsets that decrease or lead outside"),
        ("large_utf8", ["ab", "cd"], (buffer_at, 1, 8), put("q", 2**62), "offsets that decrease or lead outside"),
        ("large_binary", [b"ab"], (buffer_at, 1, 8), put("q", -1), "offsets that decrease or lead outside"),
        ("utf8_view", ["x" * 20], (buffer_at, 1, 0), put("i", -1), "view outside"),
        ("utf8_view", ["x" * 20], (buffer_at, 1, 0), put("i", 21), "view outside"),
        ("utf8_view", ["x" * 20], (buffer_at, 1, 8), put("i", 1), "view outside"),
        ("utf8_view", ["x" * 20], (buffer_at, 1, 8), put("i", -1), "view outside"),
        ("utf8_view", ["x" * 20], (buffer_at, 1, 12), put("i", 1), "view outside"),
        ("utf8_view", ["x" * 20], (buffer_at, 1, 12), put("i", -1), "view outside"),
        ("list<int64>", [[1], [2]], (buffer_at, 1, 8), put("i", 3), "list offsets"),
        ("list<int64>", [[1], [2]], (buffer_at, 1, 4), put("i", -1), "list offsets"),
        ("large_list<int64>", [[1], [2]], (buffer_at, 1, 8), put("q", 2**63 - 1), "list offsets"),
        ("list_view<int64>", [[1], [2]], (buffer_at, 1, 4), put("i", 2), "list offsets"),
        ("list_view<int64>", [[1], [2]], (buffer_at, 2, 4), put("i", 2**31 - 1), "list offsets"),
        ("list_view<int64>", [[1], [2]], (buffer_at, 2, 4), put("i", -1), "list offsets"),
        ("large_list_view<int64>", [[1], [2]], (buffer_at, 1, 8), put("q", 2**63 - 1), "list offsets"),
        ("large_list_view<int64>", [[1], [2]], (buffer_at, 2, 8), put("q", 2**63 - 1), "list offsets"),
        ("map<utf8, int8>", [{"a": 1}], (buffer_at, 1, 4), put("i", 9), "list offsets"),
        ("sparse_union<0: a: int8, 1: b: int8>", [(0, 1)], (buffer_at, 0, 0), put("b", 2), "type code"),
        ("sparse_union<0: a: int8, 1: b: int8>", [(0, 1)], (buffer_at, 0, 0), put("b", -1), "type code"),
        ("dense_union<0: a: int8>", [(0, 1)], (buffer_at, 1, 0), put("i", 1), "union offset"),
        ("dense_union<0: a: int8>", [(0, 1)], (buffer_at, 1, 0), put("i", -1), "union offset"),
        ("int64", [1, 2], (node_at, 0, 0), put("q", 3), "3 rows in a batch of 2"),
        ("int64", [1, 2], (node_at, 0, 0), put("q", -1), "field node"),
        ("int64", [1, 2], (node_at, 0, 8), put("q", 3), "3 nulls"),
        ("int64", [1, 2], (node_at, 0, 8), put("q", -1), "nulls"),
        ("int64", [1, 2], (node_at, 0, 8), put("q", 1), "bitmap of 0 bytes for 2 values"),
        ("int64", [1, 2], (buffer_entry, 1, 8), put("q", 15), "buffer of 15 bytes for 2 values"),
        ("int64", [1, 2], (buffer_entry, 1, 8), put("q", 17), "in a body of 16"),
        ("int64", [1, 2], (buffer_entry, 1, 8), put("q", -1), "a buffer at"),
        ("int64", [1, 2], (buffer_entry, 1, 0), put("q", 8), "in a body of 16"),
        ("int64", [1, 2], (buffer_entry, 1, 0), put("q", 2**63 - 8), "in a body of 16"),
        ("int64", [1, 2], (buffer_entry, 1, 0), put("qq", 1, 8), "multiple of 8"),
        ("fixed_size_list<int8>[2]", [[1, 2]], (node_at, 1, 0), put("q", 1), "elements for 1 lists"),
        ("struct<a: int8>", [{"a": 1}] * 2, (node_at, 1, 0), put("q", 1), "child of 1 rows"),
        ("bool", [True] * 9, (buffer_entry, 1, 8), put("q", 1), "bitmap of 1 bytes for 9 values"),
    ],
)
def test_what_is_refused(
    text: str,
    values: list[object],
    place: tuple[Callable[[bytearray, int], int], int, int],
    number: Callable[[bytearray, int], None],
    refusal: str,
) -> None:
    schema, message = batch_message(text, values)
    find, index, more = place
    number(message, find(message, index) + more)
    with pytest.raises(ProtocolError, match=refusal):
        decode_stream(schema + message)


def test_dictionary_indices() -> None:
    schema = Schema.of({"c": "dictionary<int8, utf8>"})
    data = bytearray(encode_stream(schema, [RecordBatch.from_pydict(schema, {"c": ["a", "b"]})]))
    start = flat.frames(data)[2]
    for index in (2, -1, 127):
        message = data[start:-8]
        put("b", index)(message, buffer_at(message, 1))
        with pytest.raises(ProtocolError, match="dictionary index"):
            decode_stream(data[:start] + message)


def test_nulls_hide_their_values() -> None:
    """What lies behind a null slot is not looked at, so it may be anything."""
    schema = Schema.of({"c": "dictionary<int8, utf8>"})
    data = bytearray(encode_stream(schema, [RecordBatch.from_pydict(schema, {"c": ["a", None]})]))
    start = flat.frames(data)[2]
    message = data[start:-8]
    put("b", 99)(message, buffer_at(message, 1) + 1)
    assert decode_stream(data[:start] + message)[1][0].to_pydict() == {"c": ["a", None]}


@pytest.mark.parametrize(
    "text", ["null", "sparse_union<0: a: int8>", "dense_union<0: a: int8>", "struct<r: run_end_encoded<int32, int8>>"]
)
def test_null_counts_of_kinds_without_bitmap(text: str) -> None:
    if "run_end" in text:
        runs = pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array([7], pa.int8()))
        array = Array.from_arrow(pa.StructArray.from_arrays([runs], ["r"]))
        node = 1
    else:
        array, node = Array.from_pylist([None, None], text), 0
    schema = Schema.of({"c": array.type})
    data = encode_stream(schema, [RecordBatch(schema, [array])])
    start = flat.frames(data)[1]
    for nulls in (0, 1, 2):
        message = bytearray(data[start:-8])
        put("q", nulls)(message, node_at(message, node) + 8)
        (batch,) = decode_stream(data[:start] + message)[1]
        column = batch.column(0)
        valid = column.valid()
        assert column.null_count == (2 if text == "null" else 0)
        assert (valid is None) == (text != "null")
        assert column.to_pylist() == array.to_pylist()


def test_lengths_that_cost_nothing() -> None:
    """Columns of no width announce any length; only values that are asked for cost memory."""
    for text in ("null", "struct<>", "fixed_size_binary[0]", "fixed_size_list<int64>[0]"):
        schema, message = batch_message(text, [None] if text == "null" else [Array.from_pylist([None], text)[0]])
        if text != "null":
            schema = Schema.of({"c": text}).serialize()
            array = Array.from_pylist([{"struct<>": {}, "fixed_size_binary[0]": b""}.get(text, [])], text)
            data = encode_stream(Schema.of({"c": text}), [RecordBatch(Schema.of({"c": text}), [array])])
            message = bytearray(data[flat.frames(data)[1] : -8])
        put("q", 2**62)(message, node_at(message, 0))
        put("q", 2**62)(message, flat.slot(message, flat.header(message), 0))
        if text == "null":
            put("q", 2**62)(message, node_at(message, 0) + 8)
        (batch,) = decode_stream(schema + message)[1]
        assert batch.num_rows == len(batch.column(0)) == 2**62
        assert batch.column(0).slice(2**61, 2).null_count == (2 if text == "null" else 0)
        assert len(batch.column(0).slice(2**61, 2).to_pylist()) == 2
        again = decode_stream(encode_stream(batch.schema, [batch.slice(5, 2**61)]))[1][0]
        assert again.num_rows == 2**61


@pytest.mark.parametrize("length", [2**40, 2**61, 2**63 - 1])
def test_deltas_of_lengths_that_cost_nothing(length: int) -> None:
    arrays = [pa.DictionaryArray.from_arrays(pa.array([0], pa.int64()), pa.nulls(n)) for n in (1, 3)]
    batches = [pa.record_batch([array], ["d"]) for array in arrays]
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    data = bytearray(write_with_pyarrow(batches, batches[0].schema, options))
    _, first, _, delta, _ = flat.frames(data)
    for start in (first, delta):
        batch = flat.follow(data, flat.slot(data, flat.header(data, start), 1))
        put("qq", length, length)(data, flat.follow(data, flat.slot(data, batch, 1)) + 4)
        put("q", length)(data, flat.slot(data, batch, 0))
    if length > 2**61:
        with pytest.raises(ProtocolError, match="delta dictionary"):
            decode_stream(data)
    else:
        assert [b.to_pydict() for b in decode_stream(data)[1]] == [{"d": [None]}] * 2


@pytest.mark.parametrize("name", [n for n in sorted(GOLDEN) if n.startswith(("lz4", "zstd"))])
def test_compressed_lengths(name: str) -> None:
    """The uncompressed length in front of each buffer is a claim."""
    golden = fuzz_core.dissect(GOLDEN[name])
    for start, end in golden.bodies:
        for at in range(start, end - 8, 8):
            for claim in (-2, 0, 1, 2**31, 2**40, 2**62, 2**63 - 1):
                data = bytearray(golden.data)
                data[at : at + 8] = struct.pack("<q", claim)
                try:
                    fuzz_core.read_input(bytes(data))
                except ProtocolError:
                    pass


def test_utf8_is_checked_when_asked_for() -> None:
    schema, message = batch_message("utf8", ["abcd", None, "efgh"])
    message[buffer_at(message, 2)] = 0xFF
    (batch,) = decode_stream(schema + message)[1]
    with pytest.raises(ProtocolError, match="not UTF-8"):
        batch.column(0).to_pylist()
    set_validation("full")
    try:
        with pytest.raises(ProtocolError, match="value 0 of a utf8 column is not UTF-8"):
            decode_stream(schema + message)
        for text in ("utf8", "large_utf8", "utf8_view"):
            schema, message = batch_message(text, ["", "ä", "日本" * 20, "🦆", None, "\x7f\x80߿ࠀ\uffff\U0010ffff"])
            decode_stream(schema + message)
    finally:
        set_validation("standard")
    with pytest.raises(ValueError, match="validation must be"):
        set_validation("some")


@pytest.mark.parametrize(
    "text",
    [b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80",
     b"\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f\xa6", b"12345678\xff", b"1234567\xc3", b"\xf8\x88\x80\x80\x80"],
)  # fmt: skip
def test_what_is_not_utf8(text: bytes) -> None:
    batch = pa.record_batch([pa.array([b"fine", text]).view(pa.utf8())], ["c"])
    data = encode_stream(Schema.of(batch.schema), [RecordBatch.from_arrow(batch)])
    set_validation("full")
    try:
        with pytest.raises(ProtocolError, match="value 1 of a utf8 column"):
            decode_stream(data)
    finally:
        set_validation("standard")


def test_input_after_an_error() -> None:
    """It stays where it is and goes on refusing; nothing is read twice."""
    schema, message = batch_message("utf8", ["ab"])
    put("i", 100)(message, buffer_at(message, 1) + 4)
    input = Input(schema + message)
    input.read_schema()
    with pytest.raises(ProtocolError, match="offsets"):
        input.read_batch()
    assert input.read_batch() is None
    assert not input.open


def test_many_dictionaries_are_read_in_linear_time() -> None:
    schema = Schema([Field(str(i), "dictionary<int8, utf8>") for i in range(20_000)])
    message = schema.serialize()
    started = perf_counter()
    assert len(Schema.from_bytes(message)) == 20_000
    assert perf_counter() - started < 5
