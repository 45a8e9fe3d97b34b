"""IPC streams in memory: every type and shape, read from pyarrow and read by pyarrow."""

from io import BytesIO
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import flat
from tests.core.compare import check_stream, check_values, read_with_pyarrow, write_with_pyarrow
from tests.generators import INTERVALS, TYPES, generators, random_array, random_batch, random_schema, sliced_array
from tests.golden.make import read_golden
from vgi_fast._core import (
    Array,
    Input,
    Output,
    RecordBatch,
    Schema,
    decode_stream,
    encode_stream,
)
from vgi_fast.errors import ProtocolError, TypeMismatchError

Options = pa.ipc.IpcWriteOptions


def batch_of(array: pa.Array) -> pa.RecordBatch:
    return pa.record_batch([array], ["c"])


@pytest.mark.parametrize("text", TYPES)
def test_each_type(text: str) -> None:
    rng = Random(text)
    arrays = [
        random_array(rng, TYPES[text], n, share) for n, share in [(9, 0.3), (0, 0.3), (1, 0.0), (100, 0.5), (1, 1.0)]
    ]
    schema = pa.schema([("c", TYPES[text])])
    check_stream([batch_of(array) for array in arrays], schema)


@pytest.mark.parametrize("text", TYPES)
def test_slices_of_each_type(text: str) -> None:
    rng = Random(text)
    arrays = [sliced_array(rng, TYPES[text], n) for n in (0, 1, 8, 9, 70)]
    check_stream([batch_of(array) for array in arrays], pa.schema([("c", TYPES[text])]))


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("text", TYPES)
def test_compressed_bodies(text: str, codec: str) -> None:
    rng = Random(text)
    arrays = [random_array(rng, TYPES[text], n) for n in (0, 5, 300)]
    schema = pa.schema([("c", TYPES[text])])
    data = write_with_pyarrow([batch_of(a) for a in arrays], schema, Options(compression=codec))
    for ours, theirs in zip(decode_stream(data)[1], arrays, strict=True):
        check_values(ours.column(0), theirs)


@pytest.mark.parametrize("text", TYPES)
@pytest.mark.parametrize("legacy", [False, True])
def test_older_formats(text: str, legacy: bool) -> None:
    version = pa.ipc.MetadataVersion.V5 if legacy else pa.ipc.MetadataVersion.V4
    theirs = batch_of(random_array(Random(text), TYPES[text], 20))
    options = Options(use_legacy_format=legacy, metadata_version=version)
    (ours,) = decode_stream(write_with_pyarrow([theirs], theirs.schema, options))[1]
    check_values(ours.column(0), theirs.column(0))


@given(generators(), st.sampled_from([None, "lz4", "zstd"]))
def test_any_stream(rng: Random, codec: str | None) -> None:
    schema = random_schema(rng, 4, 3)
    batches = [random_batch(rng, schema, rng.randint(0, 30)) for _ in range(rng.randint(0, 3))]
    batches = [b.slice(rng.randint(0, b.num_rows)) if rng.random() < 0.5 and b.num_columns else b for b in batches]
    check_stream(batches, schema, Options(compression=codec))


@pytest.mark.parametrize("name", sorted(read_golden()))
def test_golden_streams(name: str) -> None:
    data = read_golden()[name]
    schema, theirs, metadata = read_with_pyarrow(data)
    ours_schema, ours = decode_stream(data)
    assert pa.schema(ours_schema).equals(schema, check_metadata=True)
    assert [batch.metadata for batch in ours] == metadata
    back_schema, back, back_metadata = read_with_pyarrow(encode_stream(ours_schema, ours))
    assert back_schema.equals(schema, check_metadata=True)
    assert back_metadata == metadata
    for one, other in zip(back, theirs, strict=True):
        assert one.num_rows == other.num_rows
        assert one.equals(other)


@pytest.mark.parametrize("text", INTERVALS)
def test_intervals(text: str) -> None:
    array = Array.from_pylist([(1, 0, 0), None] if text == "month_interval" else [(0, 1, 5_000_000), None], text)
    data = encode_stream(Schema.of({"i": text}), [RecordBatch(Schema.of({"i": text}), [array])])
    assert decode_stream(data)[1][0].column(0).to_pylist() == array.to_pylist()
    (theirs,) = read_with_pyarrow(data)[1]
    assert theirs.num_rows == 2
    assert decode_stream(write_with_pyarrow([theirs], theirs.schema))[1][0].column(0).to_pylist() == array.to_pylist()


# ---- shapes ----


def test_rows_without_columns() -> None:
    theirs = pa.RecordBatch.from_struct_array(pa.array([{}] * 7, pa.struct([])))
    check_stream([theirs, theirs.slice(0, 0)], theirs.schema)
    data = encode_stream(Schema([]), [RecordBatch(Schema([]), [], n) for n in (0, 5, 2**40)])
    assert [batch.num_rows for batch in decode_stream(data)[1]] == [0, 5, 2**40]


def test_no_batches() -> None:
    data = encode_stream(Schema.parse("a: int64"), [])
    assert decode_stream(data) == (Schema.parse("a: int64"), [])
    assert read_with_pyarrow(data)[1] == []


def test_bytes_are_those_of_pyarrow() -> None:
    """Not promised, but the surest sign that nothing is left out."""
    theirs = pa.record_batch(
        {"a": pa.array([1, None, 3]), "b": pa.array(["x", None, "yy"]), "c": pa.array([True, None, False])}
    )
    assert encode_stream(Schema.of(theirs.schema), [RecordBatch.from_arrow(theirs)]) == write_with_pyarrow(
        [theirs], theirs.schema
    )


def test_bodies_are_aligned() -> None:
    schema = Schema.parse("a: int8, b: utf8, c: bool")
    batches = [RecordBatch.from_pydict(schema, {"a": range(n), "b": ["x" * n] * n, "c": [True] * n}) for n in range(9)]
    data = encode_stream(schema, batches)
    assert len(data) % 8 == 0
    assert all(start % 8 == 0 for start in flat.frames(data))


def test_metadata_of_batches() -> None:
    schema = Schema.parse("a: int64")
    batch = RecordBatch.from_pydict(schema, {"a": [1]})
    metadata = [{}, {b"k": b"v"}, {b"": b"", b"\xff": b"\0" * 100, "ü".encode(): b"x"}, {}]
    data = encode_stream(schema, [batch.with_metadata(m) for m in metadata])
    assert [b.metadata for b in decode_stream(data)[1]] == metadata
    assert read_with_pyarrow(data)[2] == metadata


def test_metadata_keeps_the_first_of_equal_keys() -> None:
    schema = Schema([])
    data = encode_stream(schema, [RecordBatch(schema, [], 1, {b"k1": b"first", b"k2": b"second"})])
    assert decode_stream(data.replace(b"k2", b"k1"))[1][0].metadata == {b"k1": b"first"}


def test_buffers_at_any_address() -> None:
    theirs = random_batch(Random(1), pa.schema([(f"c{i}", t) for i, t in enumerate(TYPES.values())]), 20)
    data = encode_stream(Schema.of(theirs.schema), [RecordBatch.from_arrow(theirs)])
    for shift in range(9):
        (batch,) = decode_stream(memoryview(bytes(shift) + data)[shift:])[1]
        assert batch.to_arrow().equals(theirs)


def test_metadata_of_odd_lengths() -> None:
    """A peer's header need not end at a multiple of 8; bodies are moved then."""
    schema = Schema.parse("a: int64")
    stream = encode_stream(schema, [RecordBatch.from_pydict(schema, {"a": [1, 2, 3]})])
    _, batch = flat.frames(stream)
    length = flat.i32(stream, batch + 4)
    for more in range(1, 8):
        message = bytearray(stream[batch:-8])
        message[4:8] = (length + more).to_bytes(4, "little")
        message[8 + length : 8 + length] = bytes(more)
        data = stream[:batch] + message * 2 + stream[-8:]
        assert [b.to_pydict() for b in decode_stream(data)[1]] == [{"a": [1, 2, 3]}] * 2


def test_what_follows_the_end_marker_is_left() -> None:
    one = encode_stream(Schema.parse("a: int64"), [])
    assert decode_stream(one + b"junk")[0] == Schema.parse("a: int64")


def test_streams_without_end_marker() -> None:
    schema = Schema.parse("a: int64")
    data = encode_stream(schema, [RecordBatch.from_pydict(schema, {"a": [1]})])
    assert len(decode_stream(data[:-8])[1]) == 1
    for marker in (b"\xff\xff\xff\xff\0\0\0\0", b"\0\0\0\0"):
        assert len(decode_stream(data[:-8] + marker)[1]) == 1


# ---- dictionaries ----


def dictionary(indices: list[int | None], values: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), pa.array(values))


def test_deltas_and_replacements() -> None:
    arrays = [
        dictionary([0, None, 1], ["a", "b"]),
        dictionary([2, 1, 0], ["a", "b", "c"]),
        dictionary([0, 0], ["z"]),
        dictionary([0], ["z"]),
    ]
    batches = [batch_of(array) for array in arrays]
    for deltas in (False, True):
        data = write_with_pyarrow(batches, batches[0].schema, Options(emit_dictionary_deltas=deltas))
        ours = decode_stream(data)[1]
        assert [b.column(0).to_pylist() for b in ours] == [a.to_pylist() for a in arrays]
        assert [b.column(0).to_pylist() for b in ours] == [a.to_pylist() for a in arrays]
    check_stream(batches, batches[0].schema)


@pytest.mark.parametrize(
    "text", [t for t, type in TYPES.items() if not pa.types.is_dictionary(type) and t not in ("null", "struct<>")]
)
def test_deltas_of_each_type(text: str) -> None:
    values = random_array(Random(text), TYPES[text], 9, 0.0)
    arrays = [pa.DictionaryArray.from_arrays(pa.array([0, n - 1, None], pa.int8()), values[:n]) for n in (3, 5, 9)]
    batches = [batch_of(array) for array in arrays]
    data = write_with_pyarrow(batches, batches[0].schema, Options(emit_dictionary_deltas=True))
    for ours, theirs in zip(decode_stream(data)[1], arrays, strict=True):
        check_values(ours.column(0), theirs)


def test_nested_dictionaries() -> None:
    inner = dictionary([0, 1, 0], ["p", "q"])
    for values in (
        pa.StructArray.from_arrays([inner, pa.array([1, 2, 3])], ["d", "n"]),
        pa.ListArray.from_arrays([0, 1, 3, 3], inner),
    ):
        outer = pa.DictionaryArray.from_arrays(pa.array([2, None, 0, 1], pa.int8()), values)
        check_stream([batch_of(outer), batch_of(outer.slice(1, 2))], batch_of(outer).schema)
        nested = pa.ListArray.from_arrays([0, 3, 4], outer)
        check_stream([batch_of(nested)], batch_of(nested).schema)


def renumbered(data: bytes, ids: dict[int, int]) -> bytearray:
    """The stream with other dictionary ids, in the schema and in the dictionaries; id 0 cannot be named."""
    out = bytearray(data)
    for table in flat.fields(out):
        encoding = flat.follow(out, flat.slot(out, table, 4))
        if flat.has(out, encoding, 0):
            at = flat.slot(out, encoding, 0)
            out[at : at + 8] = ids[flat.i64(out, at)].to_bytes(8, "little")
    for start in flat.frames(out)[1:]:
        if out[flat.slot(out, flat.follow(out, start + 8), 1)] == 2 and flat.has(out, flat.header(out, start), 0):
            at = flat.slot(out, flat.header(out, start), 0)
            out[at : at + 8] = ids[flat.i64(out, at)].to_bytes(8, "little")
    return out


def three_dictionaries() -> pa.RecordBatch:
    arrays = [dictionary([0, 1], ["a", "b"]), dictionary([1, 0], ["c", "d"]), dictionary([0, 0], ["e", "f"])]
    return pa.record_batch(arrays, ["x", "y", "z"])


def test_any_dictionary_ids() -> None:
    """Ids are the writer's choice; what is written again is numbered anew."""
    theirs = three_dictionaries()
    data = renumbered(write_with_pyarrow([theirs, theirs], theirs.schema), {0: 0, 1: 7, 2: 2**40})
    schema, ours = decode_stream(data)
    assert [b.to_pydict() for b in ours] == [theirs.to_pydict()] * 2
    (one, two) = read_with_pyarrow(encode_stream(schema, ours))[1]
    assert one.equals(theirs)
    assert two.equals(theirs)


def test_shared_dictionaries() -> None:
    """Columns may name one dictionary: what is received last holds for all. Columns made later need not."""
    theirs = three_dictionaries()
    data = renumbered(write_with_pyarrow([theirs], theirs.schema), {1: 5, 2: 5})
    schema, (ours,) = decode_stream(data)
    assert ours.to_pydict() == {"x": ["a", "b"], "y": ["f", "e"], "z": ["e", "e"]}
    fresh = RecordBatch(schema, [Array.from_arrow(c) for c in theirs.columns])
    assert read_with_pyarrow(encode_stream(schema, [fresh]))[1][0].equals(theirs)


def test_shared_ids_of_other_types_are_refused() -> None:
    theirs = pa.record_batch(
        [
            pa.array(["a"]).dictionary_encode(),
            pa.array([1.5]).dictionary_encode(),
            pa.array([b"x"]).dictionary_encode(),
        ],
        ["x", "y", "z"],
    )
    data = renumbered(write_with_pyarrow([theirs], theirs.schema), {1: 5, 2: 5})
    with pytest.raises(ProtocolError, match="dictionary 5 has values of"):
        decode_stream(data)


def test_dictionaries_that_never_come() -> None:
    theirs = batch_of(dictionary([None, None], ["a"]))
    data = write_with_pyarrow([theirs], theirs.schema)
    _, first, second = flat.frames(data)
    assert decode_stream(data[:first] + data[second:])[1][0].to_pydict() == {"c": [None, None]}
    theirs = batch_of(dictionary([None, 0], ["a"]))
    data = write_with_pyarrow([theirs], theirs.schema)
    _, first, second = flat.frames(data)
    with pytest.raises(ProtocolError, match="before its dictionary"):
        decode_stream(data[:first] + data[second:])


def test_empty_batches_have_dictionaries() -> None:
    out = Output()
    out.schema(Schema.parse("d: dictionary<int8, struct<e: dictionary<int8, utf8>>>, u: dense_union<3: a: utf8>"))
    out.empty_batch({b"k": b"v"})
    out.eos()
    out.flush()
    _, (batch,), metadata = read_with_pyarrow(out.getvalue())
    assert batch.num_rows == 0
    assert metadata == [{b"k": b"v"}]


# ---- Output and Input in memory ----


def test_output_parts() -> None:
    out = Output()
    schema = Schema.parse("a: int64")
    batch = RecordBatch.from_pydict(schema, {"a": [1]}).with_metadata({b"own": b"1"})
    with pytest.raises(ProtocolError, match="no stream is open"):
        out.batch(batch)
    with pytest.raises(ProtocolError, match="no stream is open"):
        out.empty_batch()
    with pytest.raises(ProtocolError, match="no stream is open"):
        out.eos()
    assert not out.open
    out.schema(schema)
    assert out.open
    with pytest.raises(ProtocolError, match="open already"):
        out.schema(schema)
    out.batch(batch)
    out.batch(batch, {b"other": b"2"})
    out.batch(batch, {})
    out.empty_batch()
    assert out.getvalue() == b""
    out.flush()
    assert out.bytes_written == len(out.getvalue())
    out.batch(batch)
    out.discard()
    out.eos()
    out.flush()
    assert not out.open
    _, batches, metadata = read_with_pyarrow(out.getvalue())
    assert [b.num_rows for b in batches] == [1, 1, 1, 0]
    assert metadata == [{b"own": b"1"}, {b"other": b"2"}, {}, {}]
    assert out.bytes_written == len(out.getvalue())


def test_raw_parts() -> None:
    stream = encode_stream(Schema.parse("a: int64"), [])
    out = Output()
    out.raw(stream)
    out.raw(stream)
    out.flush()
    assert out.getvalue() == stream * 2
    with pytest.raises(TypeError):
        out.raw("text")  # type: ignore[arg-type]


def test_batches_of_another_schema() -> None:
    out = Output()
    out.schema(Schema.parse("a: int64"))
    other = RecordBatch.from_pydict(Schema.parse("b: int64"), {"b": [1]})
    out.batch(other)
    with pytest.raises(TypeMismatchError, match="in a stream of"):
        out.batch(RecordBatch.from_pydict(Schema.parse("a: utf8"), {"a": ["x"]}))
    with pytest.raises(TypeMismatchError, match="in a stream of"):
        out.batch(RecordBatch(Schema([]), [], 1))
    out.eos()
    out.flush()
    assert read_with_pyarrow(out.getvalue())[1][0].to_pydict() == {"a": [1]}


def test_input_in_memory() -> None:
    schema = Schema.parse("a: int64")
    stream = encode_stream(schema, [RecordBatch.from_pydict(schema, {"a": [1]})] * 3)
    for source in (stream * 3, bytearray(stream * 3), memoryview(stream * 3)):
        input = Input(source)
        assert not input.open
        with pytest.raises(ProtocolError, match="no stream is open"):
            input.read_batch()
        input.drain()
        assert input.read_schema() == schema
        assert input.open
        with pytest.raises(ProtocolError, match="not read to its end"):
            input.read_schema()
        assert input.read_batch() is not None
        input.drain()
        assert not input.open
        assert input.read_schema() == schema
        for _ in range(3):
            assert input.read_batch() is not None
        assert input.read_batch() is None
        assert input.read_schema() == schema
        input.drain()
        assert input.read_schema() is None
        assert input.read_schema() is None
        assert input.bytes_read == 3 * len(stream)


def test_schemas_inside_of_streams() -> None:
    schema = Schema.parse("a: int64")
    with pytest.raises(ProtocolError, match="second schema"):
        decode_stream(schema.serialize() * 2)
    batch = pa.record_batch({"a": [1]}).serialize().to_pybytes()
    with pytest.raises(ProtocolError, match="expected a schema"):
        decode_stream(batch)


def test_pyarrow_reads_ours_from_a_file(tmp_path: object) -> None:
    theirs = random_batch(Random(3), pa.schema([(f"c{i}", t) for i, t in enumerate(TYPES.values())]), 11)
    data = encode_stream(Schema.of(theirs.schema), [RecordBatch.from_arrow(theirs)])
    assert pa.ipc.open_stream(BytesIO(data)).read_all().to_batches()[0].equals(theirs)
