"""Arrays and batches of every type through the C Data Interface, whole and sliced, and how long they live."""

import gc
import weakref
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.compare import check_arrays, same_array
from tests.generators import TYPES, batches, generators, random_array, random_batch, random_type, sliced_array
from vgi_fast._core import Array, DataType, Field, RecordBatch, Schema, decode_stream, encode_stream
from vgi_fast.errors import TypeMismatchError


@pytest.mark.parametrize("text", TYPES)
@pytest.mark.parametrize("length", [0, 1, 23])
def test_import_and_export(text: str, length: int) -> None:
    theirs = random_array(Random(text), TYPES[text], length)
    ours = Array.from_arrow(theirs)
    assert ours.type == DataType(text)
    check_arrays(ours, theirs)


@pytest.mark.parametrize("text", TYPES)
def test_import_of_slices(text: str) -> None:
    for length in (0, 1, 8, 21):
        check_arrays(Array.from_arrow(theirs := sliced_array(Random(f"{text}{length}"), TYPES[text], length)), theirs)


@pytest.mark.parametrize("text", TYPES)
def test_slices_of_ours(text: str) -> None:
    theirs = sliced_array(Random(text), TYPES[text], 30)
    ours = Array.from_arrow(theirs)
    for offset, length in [(0, 30), (0, 0), (30, 0), (3, 11), (9, 21), (29, 1)]:
        check_arrays(ours.slice(offset, length), theirs.slice(offset, length))
    check_arrays(ours.slice(4, 20).slice(3, 9), theirs.slice(7, 9))


@given(generators(), st.integers(0, 40))
def test_any_array(rng: Random, length: int) -> None:
    theirs = sliced_array(rng, random_type(rng, 3), length)
    ours = Array.from_arrow(theirs)
    check_arrays(ours, theirs)
    start = rng.randint(0, length)
    check_arrays(ours.slice(start, length - start), theirs.slice(start))


def test_bad_slices_and_positions() -> None:
    array = Array.from_pylist([1, 2, 3], "int64")
    for offset, length in [(-1, 1), (0, -1), (0, 4), (4, 0), (2**62, 2**62), (1, 2**63 - 1)]:
        with pytest.raises((IndexError, OverflowError)):
            array.slice(offset, length)
    assert array[-1] == 3
    for index in (3, -4, 2**62):
        with pytest.raises(IndexError):
            array[index]


@pytest.mark.parametrize("value", [None, 5, [1, 2], object()])
def test_what_cannot_be_imported(value: object) -> None:
    with pytest.raises(TypeError, match="__arrow_c_array__"):
        Array.from_arrow(value)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="__arrow_c_array__"):
        RecordBatch.from_arrow(value)  # type: ignore[arg-type]


def test_a_capsule_is_consumed_once() -> None:
    class Twice:
        def __init__(self) -> None:
            self.capsules = pa.array([1, 2]).__arrow_c_array__()

        def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
            return self.capsules  # type: ignore[no-any-return]

    source = Twice()
    assert Array.from_arrow(source).to_pylist() == [1, 2]
    with pytest.raises((TypeError, ValueError)):
        Array.from_arrow(source)


def test_unread_capsules_free_their_arrays() -> None:
    array = Array.from_pylist(["x"] * 10, "utf8")
    for _ in range(3):
        array.__arrow_c_array__()
        array.__arrow_c_schema__()
    RecordBatch(Schema.parse("a: utf8"), [array]).__arrow_c_array__()


def test_ours_are_their_own() -> None:
    array = Array.from_pylist([1], "int64")
    assert Array.from_arrow(array) is array
    batch = RecordBatch(Schema.parse("a: int64"), [array])
    assert RecordBatch.from_arrow(batch) is batch


def test_memory_of_the_producer_is_kept_and_released() -> None:
    import numpy as np

    class Owner(np.ndarray):
        """An array that can be referred to weakly."""

    memory = np.arange(1000).view(Owner)
    gone = weakref.ref(memory)
    theirs = pa.Array.from_buffers(pa.int64(), 1000, [None, pa.py_buffer(memory)])
    ours = Array.from_arrow(theirs)
    del memory, theirs
    gc.collect()
    assert gone() is not None
    view = ours.slice(10, 5).to_numpy()
    again = ours.to_arrow()
    del ours
    gc.collect()
    assert view.tolist() == list(range(10, 15))
    del view
    assert again[999].as_py() == 999
    del again
    gc.collect()
    assert gone() is None


def test_what_a_batch_gives_outlives_it() -> None:
    theirs = random_batch(Random(1), pa.schema([(f"c{i}", type) for i, type in enumerate(TYPES.values())]), 50)
    batch = RecordBatch.from_arrow(theirs)
    columns, exported = batch.columns, batch.to_arrow()
    slices = batch.slice(20, 10).columns
    del batch
    gc.collect()
    assert exported.equals(theirs)
    for ours, part, their in zip(columns, slices, theirs.columns, strict=True):
        check_arrays(ours, their)
        check_arrays(part, their.slice(20, 10))


def test_what_a_stream_gives_outlives_its_bytes() -> None:
    theirs = random_batch(Random(2), pa.schema([(f"c{i}", type) for i, type in enumerate(TYPES.values())]), 50)
    data = encode_stream(Schema.of(theirs.schema), [RecordBatch.from_arrow(theirs)])
    (batch,) = decode_stream(data)[1]
    column = batch.column(3)
    exported = batch.to_arrow()
    del batch, data
    gc.collect()
    assert exported.equals(theirs)
    assert same_array(column.to_arrow(), theirs.column(3))


# ---- batches ----


@given(batches())
def test_any_batch(theirs: pa.RecordBatch) -> None:
    ours = RecordBatch.from_arrow(theirs)
    assert ours.num_rows == theirs.num_rows
    back = ours.to_arrow()
    back.validate(full=True)
    assert back.schema.equals(theirs.schema, check_metadata=True)
    assert back.equals(theirs)
    half = theirs.num_rows // 2
    assert ours.slice(half, theirs.num_rows - half).to_arrow().equals(theirs.slice(half))


def test_batch_of_a_sliced_struct() -> None:
    theirs = pa.RecordBatch.from_struct_array(
        pa.StructArray.from_arrays([pa.array(range(20)), pa.array([str(i) for i in range(20)])], ["a", "b"]).slice(5, 9)
    )
    assert RecordBatch.from_arrow(theirs).to_arrow().equals(theirs)
    assert RecordBatch.from_arrow(theirs.slice(2, 4)).to_pydict() == theirs.slice(2, 4).to_pydict()


def test_rows_without_columns() -> None:
    batch = RecordBatch(Schema([]), [], 5)
    assert (batch.num_rows, batch.num_columns) == (5, 0)
    assert batch.to_arrow().num_rows == 5
    assert RecordBatch.from_arrow(batch.to_arrow()).num_rows == 5
    assert batch.slice(1, 3).num_rows == 3
    assert batch.select([]).num_rows == 5
    assert batch.row(4) == {}
    assert batch.to_pydict() == {}


def test_batches_are_checked() -> None:
    schema = Schema.parse("a: int64, b: utf8")
    a, b = Array.from_pylist([1, 2], "int64"), Array.from_pylist(["x", "y"], "utf8")
    with pytest.raises(ValueError, match="1 columns for a schema with 2 fields"):
        RecordBatch(schema, [a])
    with pytest.raises(TypeMismatchError, match="column 'a' is utf8, expected int64"):
        RecordBatch(schema, [b, a])
    with pytest.raises(ValueError, match="column 'b' has 1 rows, expected 2"):
        RecordBatch(schema, [a, b.slice(0, 1)])
    with pytest.raises(ValueError, match="column 'a' has 2 rows, expected 3"):
        RecordBatch(schema, [a, b], 3)
    with pytest.raises(TypeError, match="expected Array"):
        RecordBatch(schema, [[1, 2], b])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        RecordBatch(None, [a, b])  # type: ignore[arg-type]


def test_columns_rows_and_metadata() -> None:
    schema = Schema.parse("a: int64, b: binary, a: bool")
    batch = RecordBatch(
        schema,
        [
            Array.from_pylist([1, None], "int64"),
            Array.from_pylist([b"x", b""], "binary"),
            Array.from_pylist([True, None], "bool"),
        ],
        metadata={b"k": b"v"},
    )
    assert batch.column("a").to_pylist() == [1, None]
    assert batch.column(2).to_pylist() == [True, None]
    assert [column.to_pylist() for column in batch.columns] == [[1, None], [b"x", b""], [True, None]]
    assert batch.row(0) == {"a": 1, "b": b"x"}
    assert batch.row(1) == {"a": None, "b": b""}
    assert batch.metadata == {b"k": b"v"}
    assert batch.with_metadata({b"n": b""}).metadata == {b"n": b""}
    assert batch.with_metadata(None).metadata == {}
    assert batch.metadata == {b"k": b"v"}
    assert batch.select([2, 1]).schema.names == ["a", "b"]
    assert batch.select([2, 1]).column(0).to_pylist() == [True, None]
    for bad in (3, -1):
        with pytest.raises(IndexError):
            batch.column(bad)
    with pytest.raises(KeyError):
        batch.column("c")
    for bad in (2, -1):
        with pytest.raises(IndexError):
            batch.row(bad)
    for offset, length in [(0, 3), (-1, 1), (3, 0)]:
        with pytest.raises(IndexError):
            batch.slice(offset, length)


def test_rows_of_mappings() -> None:
    schema = Schema.parse("a: int64, b: utf8")
    assert RecordBatch.from_row(schema, {"b": "x"}).row(0) == {"a": None, "b": "x"}
    batch = RecordBatch.from_pydict(schema, {"a": range(3), "b": iter("xyz")})
    assert batch.to_pydict() == {"a": [0, 1, 2], "b": ["x", "y", "z"]}
    with pytest.raises(KeyError):
        RecordBatch.from_pydict(schema, {"a": []})


# ---- casts ----


def test_cast() -> None:
    array = Array.from_pylist([1, None, 300], "int64")
    assert array.cast("int64").to_pylist() == [1, None, 300]
    assert array.cast("utf8").to_pylist() == ["1", None, "300"]
    assert array.cast("float32").type == DataType("float32")
    with pytest.raises(TypeMismatchError, match="int64 cannot become int8"):
        array.cast("int8")
    with pytest.raises(TypeMismatchError, match="cannot become"):
        array.cast("list<int64>")
    assert Array.from_pylist([None, None], "null").cast("struct<a: int8>").to_pylist() == [None, None]


def test_cast_between_names_for_the_same_layout() -> None:
    array = Array.from_pylist([[1], None], "list<item: int64>")
    cast = array.cast("list<element: int64!>")
    assert cast.type == DataType("list<element: int64!>")
    assert cast.to_pylist() == [[1], None]


def test_coerce() -> None:
    for value in (
        [1, None],
        (1, None),
        pa.array([1, None]),
        pa.array([1, None], pa.int8()),
        pa.chunked_array([[1], [None]]),
        pa.chunked_array([[1, None]]),
        Array.from_pylist([1, None], "int16"),
    ):
        array = Array.coerce(value, "int64")
        assert array.type == DataType("int64")
        assert array.to_pylist() == [1, None]
    assert Array.coerce(pa.chunked_array([], pa.int64()), "int64").to_pylist() == []
    assert Array.coerce(range(3), "int64").to_pylist() == [0, 1, 2]
    for wrong in (5, "text", None, object(), {1, 2}):
        with pytest.raises(TypeMismatchError, match="Expected an array"):
            Array.coerce(wrong, "int64")


def test_size_in_bytes() -> None:
    assert Array.from_pylist([1, 2, 3], "int64").nbytes == 24
    assert Array.from_pylist([1, 2, 3], "int64").slice(1, 1).nbytes == 8
    assert Array.from_pylist([None] * 1000, "null").nbytes == 0
    assert Array.from_pylist([True] * 64, "bool").nbytes == 8


def test_fields_of_other_names_are_compatible() -> None:
    """Child names of lists and maps do not matter to the buffers; those of structs do."""
    array = Array.from_pylist([[1]], "list<element: int64>")
    assert RecordBatch(Schema([Field("a", "list<item: int64>")]), [array]).to_pydict() == {"a": [[1]]}
    struct = Array.from_pylist([{"x": 1}], "struct<x: int64>")
    with pytest.raises(TypeMismatchError):
        RecordBatch(Schema([Field("a", "struct<y: int64>")]), [struct])
