"""DataType and Field: text form, properties, equality, and pyarrow's types both ways."""

import pickle
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given

from tests.generators import INTERVALS, TYPES, types
from vgi_fast._core import DataType, Field
from vgi_fast.errors import ProtocolError, TypeMismatchError


def to_pyarrow(type: DataType) -> pa.DataType:
    return pa.DataType._import_from_c_capsule(type.__arrow_c_schema__())


@pytest.mark.parametrize("text", [*TYPES, *INTERVALS])
def test_text_round_trip(text: str) -> None:
    type = DataType(text)
    assert str(type) == text
    assert DataType(str(type)) == type
    assert repr(type) == f"DataType({text!r})"
    assert DataType.of(text) == type
    assert pickle.loads(pickle.dumps(type)) == type


@pytest.mark.parametrize("text", TYPES)
def test_same_type_as_pyarrow(text: str) -> None:
    assert DataType.of(TYPES[text]) == DataType(text)
    assert to_pyarrow(DataType(text)) == TYPES[text]


@given(types(depth=3))
def test_any_type_through_the_c_interface(type: pa.DataType) -> None:
    ours = DataType.of(type)
    assert to_pyarrow(ours).equals(type, check_metadata=True)
    assert hash(ours) == hash(DataType.of(type))


@pytest.mark.parametrize("text", INTERVALS)
def test_interval_kinds(text: str) -> None:
    assert str(to_pyarrow(DataType(text))) == text
    assert DataType.of(to_pyarrow(DataType(text))) == DataType(text)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("boolean", "bool"),
        ("string", "utf8"),
        ("large_string", "large_utf8"),
        ("string_view", "utf8_view"),
        ("float", "float32"),
        ("double", "float64"),
        ("halffloat", "float16"),
        ("decimal(5)", "decimal128(5, 0)"),
        ("decimal128( 10 ,2 )", "decimal128(10, 2)"),
        ("  int64 ", "int64"),
        ("list<int64>", "list<item: int64>"),
        ("list<element: int64>", "list<element: int64>"),
        ("list<int64!>", "list<item: int64!>"),
        ("list<int64 not null>", "list<item: int64!>"),
        ("large_list<int8?>", "large_list<item: int8>"),
        ("fixed_size_list<float64>[2]", "fixed_size_list<item: float64>[2]"),
        ("fixed_size_list<list<int8>>[3]", "fixed_size_list<item: list<item: int8>>[3]"),
        ("sparse_union<a: int64, b: utf8>", "sparse_union<0: a: int64, 1: b: utf8>"),
        ("run_end_encoded<int32, decimal128(3, 1)>", "run_end_encoded<int32, decimal128(3, 1)>"),
        ("map<utf8!, int64>", "map<utf8, int64>"),
        ("timestamp[us,tz=Europe/Berlin]", "timestamp[us, tz=Europe/Berlin]"),
        ("struct<a: timestamp[us, tz=UTC]!, b: map<int8, struct<c: bool>>>",) * 2,
    ],
)
def test_other_ways_to_write(written: str, meant: str) -> None:
    assert str(DataType(written)) == meant
    assert DataType(written) == DataType(meant)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "int65",
        "list",
        "list<",
        "list<>",
        "list<int64",
        "list<int64, int8>",
        "list<int64>[3]",
        "struct<a>",
        "struct<a: >",
        "map<utf8>",
        "dictionary<int8>",
        "decimal128",
        "decimal128()",
        "decimal128(0, 0)",
        "decimal128(39, 0)",
        "decimal32(10, 0)",
        "decimal64(19, 0)",
        "decimal256(77, 0)",
        "decimal128(x, y)",
        "timestamp",
        "timestamp[]",
        "timestamp[h]",
        "timestamp[us, UTC]",
        "duration[us, tz=UTC]",
        "time32[us]",
        "time64[ms]",
        "fixed_size_binary[-1]",
        "fixed_size_binary[x]",
        "fixed_size_binary[99999999999]",
        "fixed_size_list<int8>",
        "fixed_size_list<int8>[x]",
        "int64(3",
        "int64]",
        "frobnicate<int8>",
    ],
)
def test_unreadable_text(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read the Arrow type"):
        DataType(text)


@pytest.mark.parametrize(
    "text", ["dictionary<utf8, utf8>", "sparse_union<1: a: int8, 1: b: int8>", "dense_union<200: a: int8>"]
)
def test_impossible_types(text: str) -> None:
    with pytest.raises((ValueError, ProtocolError)):
        DataType(text)


def test_properties() -> None:
    assert DataType("timestamp[ms, tz=UTC]").unit == "ms"
    assert DataType("timestamp[ms, tz=UTC]").timezone == "UTC"
    assert DataType("timestamp[ms]").timezone is None
    assert DataType("int64").unit is None
    decimal = DataType("decimal128(10, -2)")
    assert (decimal.kind, decimal.precision, decimal.scale, decimal.byte_width) == ("decimal128", 10, -2, 16)
    assert DataType("fixed_size_binary[5]").byte_width == 5
    assert [DataType(t).byte_width for t in ("bool", "utf8", "int16", "list<int8>", "float64")] == [0, 0, 2, 0, 8]
    assert DataType("fixed_size_list<int8>[4]").list_size == 4
    assert DataType("list<int8>").value_type == DataType("int8")
    assert DataType("map<utf8, int8>").value_type is None
    dictionary = DataType("dictionary<int16, utf8, ordered>")
    assert (dictionary.index_type, dictionary.value_type) == (DataType("int16"), DataType("utf8"))
    assert DataType("int16").index_type is None
    assert DataType("dense_union<3: a: int8, 7: b: bool>").type_codes == (3, 7)
    children = DataType("struct<lat: float64, lon: float64!>").children
    assert [(f.name, str(f.type), f.nullable) for f in children] == [
        ("lat", "float64", True),
        ("lon", "float64", False),
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("int8", "int16"),
        ("timestamp[us]", "timestamp[ns]"),
        ("timestamp[us]", "timestamp[us, tz=UTC]"),
        ("decimal128(10, 2)", "decimal128(10, 3)"),
        ("list<item: int8>", "list<element: int8>"),
        ("list<int8>", "list<int8!>"),
        ("struct<a: int8>", "struct<b: int8>"),
        ("map<utf8, int8>", "map<utf8, int8, keys_sorted>"),
        ("dictionary<int8, utf8>", "dictionary<int8, utf8, ordered>"),
        ("sparse_union<0: a: int8>", "sparse_union<1: a: int8>"),
        ("sparse_union<0: a: int8>", "dense_union<0: a: int8>"),
        ("fixed_size_binary[3]", "fixed_size_binary[4]"),
    ],
)
def test_different_types_differ(one: str, other: str) -> None:
    assert DataType(one) != DataType(other)
    assert DataType(one) == DataType(one)
    assert len({DataType(one), DataType(other), DataType(one)}) == 2


def test_comparison_with_other_objects() -> None:
    assert DataType("int8") != object()
    assert Field("a", "int8") != object()


@pytest.mark.parametrize("value", [None, 5, b"int8", object()])
def test_what_is_not_a_type(value: Any) -> None:
    with pytest.raises(TypeError, match="expected an Arrow type"):
        DataType.of(value)


def test_type_of_a_field_is_its_type() -> None:
    assert DataType.of(Field("a", "int8")) == DataType("int8")
    assert DataType.of(pa.field("a", pa.int8())) == DataType("int8")


def test_fields() -> None:
    field = Field("größe", "list<utf8>", False, {"k": "v", b"\xff": b"\0"})
    assert (field.name, str(field.type), field.nullable) == ("größe", "list<item: utf8>", False)
    assert field.metadata == {b"k": b"v", b"\xff": b"\0"}
    assert field == Field("größe", "list<utf8>", False)
    assert not field.equals(Field("größe", "list<utf8>", False), check_metadata=True)
    assert field.equals(pickle.loads(pickle.dumps(field)), check_metadata=True)
    assert hash(field) == hash(Field("größe", "list<utf8>", False))
    there = pa.Field._import_from_c_capsule(field.__arrow_c_schema__())
    assert there.equals(pa.field("größe", pa.list_(pa.utf8()), False, field.metadata), check_metadata=True)


def test_metadata_of_a_field_is_a_copy() -> None:
    field = Field("a", "int8", metadata={"k": "v"})
    field.metadata.clear()
    assert field.metadata == {b"k": b"v"}


def test_numpy_dtypes() -> None:
    import numpy as np

    names = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
    for name in [*names, "bool"]:
        assert DataType.from_numpy(np.dtype(name)) == DataType(name)
    assert DataType.from_numpy("M8[ns]") == DataType("timestamp[ns]")
    assert DataType.from_numpy("M8[D]") == DataType("date32")
    assert DataType.from_numpy("m8[ms]") == DataType("duration[ms]")
    assert DataType.from_numpy("U5") == DataType("utf8")
    assert DataType.from_numpy("S5") == DataType("binary")
    assert DataType.from_numpy(int) == DataType("int64")
    for dtype in ("O", "c16", "V8"):
        with pytest.raises(TypeMismatchError, match="NumPy dtype"):
            DataType.from_numpy(dtype)


def test_nesting_is_limited() -> None:
    assert DataType("list<" * 40 + "int8" + ">" * 40).kind == "list"
    deep = pa.int8()
    for _ in range(100):
        deep = pa.list_(deep)
    with pytest.raises(ProtocolError, match="nest deeper"):
        DataType.of(deep)


def test_nesting_of_text_is_limited() -> None:
    with pytest.raises(ValueError, match="nest"):
        DataType("list<" * 500 + "int8" + ">" * 500)


def test_internal_classes_are_not_made_by_hand() -> None:
    from vgi_fast import _core

    with pytest.raises(TypeError):
        _core.Array()
