"""NumPy both ways: dtypes, masks, read-only and strided memory, and what does not fit."""

import datetime as dt
from random import Random
from typing import Any

import numpy as np
import numpy.ma
import pyarrow as pa
import pytest

from tests.generators import TYPES, random_array, sliced_array
from vgi_fast._core import Array, DataType, Schema, plain_batch
from vgi_fast.errors import TypeMismatchError

NUMBERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
VIEWED = {
    **{name: name for name in NUMBERS},
    "date64": "M8[ms]",
    "timestamp[s]": "M8[s]",
    "timestamp[ms]": "M8[ms]",
    "timestamp[us]": "M8[us]",
    "timestamp[ns]": "M8[ns]",
    "timestamp[us, tz=UTC]": "M8[us]",
    "timestamp[ms, tz=+02:30]": "M8[ms]",
    "duration[s]": "m8[s]",
    "duration[ms]": "m8[ms]",
    "duration[us]": "m8[us]",
    "duration[ns]": "m8[ns]",
}


def address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize(("text", "dtype"), VIEWED.items())
def test_fixed_width_types_are_viewed(text: str, dtype: str) -> None:
    theirs = sliced_array(Random(text), TYPES[text], 13, 0.0)
    values = Array.from_arrow(theirs).to_numpy()
    assert values.dtype == np.dtype(dtype)
    assert not values.flags.writeable
    assert values.tobytes() == theirs.buffers()[1].slice(theirs.offset * values.itemsize, values.nbytes).to_pybytes()
    assert address(values) == theirs.buffers()[1].address + theirs.offset * values.itemsize
    with pytest.raises(ValueError, match="read-only"):
        values[0] = values[1]


@pytest.mark.parametrize(("text", "dtype"), VIEWED.items())
def test_own_dtype_is_not_copied(text: str, dtype: str) -> None:
    values = (np.arange(13) * (86_400_000 if text == "date64" else 1)).astype(dtype)
    array = Array.from_numpy(values, text)
    assert array.type == DataType(text)
    assert address(array.to_numpy()) == address(values)
    np.testing.assert_array_equal(array.to_numpy(), values)
    array.to_arrow().validate(full=True)


@pytest.mark.parametrize("text", [text for text in TYPES if text not in (*VIEWED, "bool", "date32")])
def test_other_types_become_objects(text: str) -> None:
    array = Array.from_arrow(random_array(Random(text), TYPES[text], 9))
    values = array.to_numpy()
    assert values.dtype == object
    assert values.shape == (9,)
    assert repr(values.tolist()) == repr(array.to_pylist())


def test_bools_and_dates() -> None:
    theirs = pa.array([True, False, None, True] * 5).slice(3)
    values = Array.from_arrow(theirs).to_numpy()
    assert values.dtype == bool
    assert [v for v, valid in zip(values.tolist(), theirs.is_valid().to_pylist(), strict=True) if valid] == [
        v for v in theirs.to_pylist() if v is not None
    ]
    dates = pa.array([0, 19000, -1], pa.date32())
    assert Array.from_arrow(dates).to_numpy().tolist() == dates.to_pylist()
    assert Array.from_arrow(dates).to_numpy().dtype == "M8[D]"


def test_nulls_are_in_valid() -> None:
    array = Array.from_arrow(pa.array([1, None, 3, None, 5]))
    assert array.valid().tolist() == [True, False, True, False, True]  # type: ignore[union-attr]
    assert array.slice(1, 2).valid().tolist() == [False, True]  # type: ignore[union-attr]
    assert array.slice(2, 1).valid() is None
    assert Array.from_arrow(pa.array([1, 2])).valid() is None
    assert Array.from_arrow(pa.nulls(2)).valid().tolist() == [False, False]  # type: ignore[union-attr]
    assert array.null_count == 2
    assert array.slice(0, 1).null_count == 0


def test_views_outlive_their_array() -> None:
    values = Array.from_pylist(list(range(1000)), "int64").slice(500, 3).to_numpy()
    assert values.tolist() == [500, 501, 502]
    kept = Array.from_numpy(np.arange(1000), "int64").slice(1, 2)
    assert kept.to_pylist() == [1, 2]


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 64, 65, 1000])
def test_masks(length: int) -> None:
    mask = np.array([i % 3 == 0 for i in range(length)], bool)
    for values, text in [
        (np.arange(length), "int64"),
        (np.arange(length) % 2 == 0, "bool"),
        (np.arange(length).astype(str), "utf8"),
    ]:
        array = Array.from_numpy(values, text, mask)
        expected = [None if m else v for v, m in zip(values.tolist(), mask, strict=True)]
        assert array.to_pylist() == expected
        assert array.null_count == expected.count(None)
        array.to_arrow().validate(full=True)
    assert Array.from_numpy(np.arange(length), "int64", np.zeros(length, bool)).null_count == 0
    assert Array.from_numpy(np.arange(length), "int64", np.ones(length, bool)).null_count == length


def test_masked_arrays() -> None:
    values = np.ma.MaskedArray([1, 2, 3], mask=[False, True, False])
    assert Array.coerce(values, "int64").to_pylist() == [1, None, 3]
    assert Array.coerce(np.ma.MaskedArray([1, 2]), "int64").to_pylist() == [1, 2]
    assert Array.coerce(np.ma.MaskedArray([1, 2], mask=True), "int64").to_pylist() == [None, None]
    assert Array.coerce(np.ma.MaskedArray(["a", "b"], mask=[True, False]), "utf8").to_pylist() == [None, "b"]
    assert Array.coerce(np.ma.MaskedArray([True, False], mask=[True, False]), "bool").to_pylist() == [None, False]


@pytest.mark.parametrize("mask", [np.zeros(2, bool), np.zeros((3, 1), bool)])
def test_masks_of_another_shape(mask: Any) -> None:
    with pytest.raises(TypeMismatchError, match="mask of shape"):
        Array.from_numpy(np.arange(3), "int64", mask)


@pytest.mark.parametrize("text", ["int64", "float64", "int16", "timestamp[us]", "bool", "utf8"])
def test_memory_of_any_form(text: str) -> None:
    dtype = {"timestamp[us]": "M8[us]", "utf8": "U4"}.get(text, text)
    base = np.arange(60).astype(dtype) if text != "bool" else np.arange(60) % 3 == 0
    table = base.reshape(20, 3)
    read_only = base.copy()
    read_only.flags.writeable = False
    swapped = base.astype(base.dtype.newbyteorder()) if text != "bool" else base
    packed = np.zeros(20, [("pad", "u1"), ("x", dtype)])
    packed["x"] = base[:20]
    for values in (base[::2], base[::-1], table[:, 1], base[5:9], read_only, swapped, packed["x"], base[:0]):
        array = Array.from_numpy(values, text)
        assert array.to_pylist() == values.astype(dtype).tolist()
        array.to_arrow().validate(full=True)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.array([1, 2], "int32"), "int64"),
        (np.array([1, 2], "int64"), "int8"),
        (np.array([1, 2], "uint64"), "int64"),
        (np.array([1, 2], "int64"), "uint8"),
        (np.array([1, 2], "int64"), "float64"),
        (np.array([1, 2], "float32"), "float64"),
        (np.array([1, 2], "float64"), "float16"),
        (np.array([True, False]), "int64"),
        (np.array([1, 2], "longlong"), "int64"),
        (np.array([1, 2], "M8[s]"), "timestamp[us]"),
        (np.array([1, 2], "M8[D]"), "timestamp[us]"),
        (np.array([1, 2], "M8[D]"), "date32"),
        (np.array([1, 2], "M8[s]"), "date32"),
        (np.array([1, 2], "int64"), "date32"),
        (np.array([1, 2], "int64"), "timestamp[us]"),
        (np.array([1, 2], "m8[s]"), "duration[ms]"),
        (np.array([b"a", b"b"]), "utf8"),
        (np.array([b"a", b"b"]), "binary"),
        (np.array(["a", "b"], "U1"), "large_utf8"),
        (np.array(["a", None], object), "utf8"),
        (np.array([1, None], object), "int64"),
        (np.array([{"a": 1}, None], object), "struct<a: int8>"),
    ],
)
def test_casts_of_the_same_kind(values: Any, text: str) -> None:
    array = Array.from_numpy(values, text)
    assert array.type == DataType(text)
    assert len(array) == 2
    array.to_arrow().validate(full=True)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.array([1.5]), "int64"),
        (np.array([1.0]), "int64"),
        (np.array([1j]), "float64"),
        (np.array([1]), "bool"),
        (np.array(["1"]), "int64"),
        (np.array([1]), "utf8"),
        (np.array([1], "M8[s]"), "int64"),
        (np.array([1], "M8[s]"), "duration[s]"),
        (np.array([1.5]), "timestamp[us]"),
        (np.array([True]), "timestamp[us]"),
        (np.array(["x"], object), "int64"),
        (np.zeros(1, [("a", int)]), "int64"),
        (np.array([b"x"]), "int64"),
    ],
)  # fmt: skip
def test_wrong_dtypes(values: Any, text: str) -> None:
    with pytest.raises(TypeMismatchError):
        Array.from_numpy(values, text)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.array([128]), "int8"),
        (np.array([-1]), "uint8"),
        (np.array([2**63], "uint64"), "int64"),
        (np.array([-1]), "uint64"),
        (np.array([2**31]), "int32"),
        pytest.param(np.array([2**31]), "date32"),
        pytest.param(np.array([2**40], "M8[D]"), "date32"),
    ],
)
def test_values_outside_of_the_type(values: Any, text: str) -> None:
    with pytest.raises(TypeMismatchError, match="outside of"):
        Array.from_numpy(values, text)
    assert len(Array.from_numpy(values[:0], text)) == 0


def test_masked_values_outside_of_the_type() -> None:
    """A null slot may hold anything."""
    numbers = np.ma.MaskedArray([1, 2**40], mask=[False, True])
    assert Array.coerce(numbers, "int32").to_pylist() == [1, None]
    assert Array.from_numpy(np.array([2**40]), "int32", np.array([True])).to_pylist() == [None]


def test_masked_moments() -> None:
    days = np.ma.MaskedArray(np.array(["NaT", "2024-02-29"], "M8[D]"), mask=[True, False])
    assert Array.coerce(days, "date32").to_pylist() == [None, dt.date(2024, 2, 29)]


def test_not_a_time_is_not_a_date() -> None:
    with pytest.raises(TypeMismatchError):
        Array.from_numpy(np.array(["NaT"], "M8[D]"), "date32")


def test_bytes_that_are_not_utf8() -> None:
    with pytest.raises(TypeMismatchError):
        Array.from_numpy(np.array([b"\xff"]), "utf8")


def test_shapes() -> None:
    for values in (np.zeros((2, 2)), np.zeros(()), np.zeros((1, 0))):
        with pytest.raises(TypeMismatchError, match="one dimension"):
            Array.from_numpy(values, "float64")
    with pytest.raises(TypeError, match="expected a NumPy array"):
        Array.from_numpy([1.0], "float64")  # type: ignore[arg-type]


def test_objects_with_to_numpy() -> None:
    class Series:
        def to_numpy(self) -> Any:
            return np.array([1, 2])

    assert Array.coerce(Series(), "int64").to_pylist() == [1, 2]


def test_an_array_shares_what_its_author_changes() -> None:
    # Documented: the own dtype is not copied.
    values = np.arange(3)
    array = Array.from_numpy(values, "int64")
    values[0] = 7
    assert array.to_pylist() == [7, 1, 2]
    assert Array.from_numpy(values.astype("int32"), "int64").to_pylist() == [7, 1, 2]


# ---- plain_batch ----


def test_plain_columns() -> None:
    schema = Schema.parse("n: int64, x: float32")
    columns: dict[str, Any] = {"x": np.arange(3, dtype="float32"), "n": np.arange(3)}
    batch = plain_batch(schema, columns)
    assert batch is not None
    del columns["n"], columns["x"]
    assert batch.to_pydict() == {"n": [0, 1, 2], "x": [0.0, 1.0, 2.0]}
    batch.to_arrow().validate(full=True)
    assert plain_batch(schema, {"n": np.arange(0), "x": np.zeros(0, "float32")}) is not None


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"n": np.arange(3)},
        {"n": np.arange(3), "x": [1.0, 2.0, 3.0]},
        {"n": np.arange(3), "x": np.arange(3)},
        {"n": np.arange(3), "x": np.zeros(2, "float32")},
        {"n": np.arange(3), "x": np.zeros((3, 1), "float32")},
        {"n": np.arange(6)[::2], "x": np.zeros(3, "float32")},
        {"n": np.arange(3).astype(">i8"), "x": np.zeros(3, "float32")},
        {"n": np.ma.MaskedArray([1, 2, 3]), "x": np.zeros(3, "float32")},
        {"n": None, "x": np.zeros(3, "float32")},
    ],
)
def test_columns_that_need_a_closer_look(columns: dict[str, Any]) -> None:
    assert plain_batch(Schema.parse("n: int64, x: float32"), columns) is None


def test_plain_columns_of_other_types() -> None:
    for text, values in [
        ("bool", np.ones(1, bool)),
        ("utf8", np.array(["a"])),
        ("timestamp[us]", np.zeros(1, "M8[us]")),
    ]:
        assert plain_batch(Schema.of({"c": text}), {"c": values}) is None
    assert plain_batch(Schema([]), {}) is None
    with pytest.raises(TypeError):
        plain_batch(Schema([]), None)  # type: ignore[arg-type]
