"""Python values in and out: what each type takes, what it gives, and errors that name the position."""

import datetime as dt
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from tests.core.compare import check_arrays, has_nanoseconds, plain
from tests.generators import TYPES, generators, random_array, random_type
from vgi_fast import MonthDayNano, UnionValue
from vgi_fast._core import Array, DataType, RecordBatch, Schema, decode_row, decode_stream, encode_row, encode_stream
from vgi_fast.errors import ProtocolError, TypeMismatchError

UTC = dt.UTC


def is_built_from_values(type: pa.DataType) -> bool:
    if pa.types.is_run_end_encoded(type):
        return False
    if pa.types.is_dictionary(type):
        return not pa.types.is_nested(type.value_type) and is_built_from_values(type.value_type)
    return all(is_built_from_values(type.field(i).type) for i in range(type.num_fields))


@pytest.mark.parametrize(
    "text",
    [text for text, type in TYPES.items() if is_built_from_values(type)],
)
def test_values_of_each_type(text: str) -> None:
    theirs = random_array(Random(text), TYPES[text], 25)
    values = Array.from_arrow(theirs).to_pylist()
    array = Array.from_pylist(values, text)
    assert array.type == DataType(text)
    assert repr(array.to_pylist()) == repr(values)
    assert [array[i] for i in range(len(array))] == array.to_pylist() or "float" in text
    back = array.to_arrow()
    back.validate(full=True)
    if not has_nanoseconds(TYPES[text]) and "tz=" not in text:
        assert repr(plain(values)) == repr(back.to_pylist())


@given(generators())
def test_values_of_any_type(rng: Random) -> None:
    type = random_type(rng, 3)
    if not is_built_from_values(type) or has_nanoseconds(type) or "decimal" in str(type):
        return
    theirs = random_array(rng, type, rng.randint(0, 12))
    values = Array.from_arrow(theirs).to_pylist()
    array = Array.from_pylist(values, DataType.of(type))
    array.to_arrow().validate(full=True)
    assert repr(array.to_pylist()) == repr(values)


@pytest.mark.parametrize("text", [text for text, type in TYPES.items() if is_built_from_values(type)])
def test_nothing_and_nulls(text: str) -> None:
    assert Array.from_pylist([], text).to_pylist() == []
    nulls = Array.from_pylist([None, None], text)
    assert plain(nulls.to_pylist()) == [None, None]
    nulls.to_arrow().validate(full=True)
    check_stream_of(nulls)


def check_stream_of(array: Array) -> None:
    batch = RecordBatch(Schema.of({"c": array.type}), [array])
    assert decode_stream(encode_stream(batch.schema, [batch]))[1][0].to_pydict() == batch.to_pydict()


@pytest.mark.parametrize(
    ("text", "given", "stored"),
    [
        ("int8", [127, -128, True + 0, np.int64(5)], [127, -128, 1, 5]),
        ("uint64", [2**64 - 1, 0], [2**64 - 1, 0]),
        ("float64", [1, 2.5, np.float32(0.5), float("inf")], [1.0, 2.5, 0.5, float("inf")]),
        ("float32", [0.1], [float(np.float32(0.1))]),
        ("float16", [0.5, 65504.0], [0.5, 65504.0]),
        ("bool", [True, False, np.True_, np.False_], [True, False, True, False]),
        ("utf8", ["", "ä", "\0", "🦆"], ["", "ä", "\0", "🦆"]),
        ("binary", [b"", bytearray(b"a"), memoryview(b"b")], [b"", b"a", b"b"]),
        ("fixed_size_binary[2]", [b"ab", bytearray(b"cd")], [b"ab", b"cd"]),
        ("decimal128(5, 2)", [Decimal("1.50"), 2, "3.25", 0.1], [Decimal("1.50"), Decimal("2.00"), Decimal("3.25"), Decimal("0.10")]),
        ("decimal128(3, -2)", [Decimal(1200), -300], [Decimal("12E2"), Decimal("-3E2")]),
        ("decimal256(76, 0)", [10**76 - 1, 1 - 10**76], [Decimal(10**76 - 1), Decimal(1 - 10**76)]),
        ("date32", [dt.date(1, 1, 1), dt.date(9999, 12, 31), 0], [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(1970, 1, 1)]),
        ("date32", [np.datetime64("2024-02-29")], [dt.date(2024, 2, 29)]),
        ("date64", [dt.date(2024, 2, 29), dt.date(1969, 12, 31)], [dt.date(2024, 2, 29), dt.date(1969, 12, 31)]),
        ("time32[s]", [dt.time(23, 59, 59)], [dt.time(23, 59, 59)]),
        ("time64[us]", [dt.time(0, 0, 0, 1)], [dt.time(0, 0, 0, 1)]),
        ("timestamp[us]", [dt.datetime(1969, 12, 31, 23, 59, 59, 999999)], [dt.datetime(1969, 12, 31, 23, 59, 59, 999999)]),
        ("timestamp[us]", [dt.date(2024, 1, 1)], [dt.datetime(2024, 1, 1)]),
        ("timestamp[us]", [dt.datetime(2024, 1, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2)))], [dt.datetime(2024, 1, 1)]),
        ("timestamp[ns]", [np.datetime64("2024-01-01T00:00:00.000000001", "ns")], [np.datetime64("2024-01-01T00:00:00.000000001", "ns")]),
        ("timestamp[s, tz=UTC]", [dt.datetime(2024, 1, 1, tzinfo=UTC)], [dt.datetime(2024, 1, 1, tzinfo=UTC)]),
        ("timestamp[s, tz=+01:00]", [dt.datetime(2024, 1, 1, tzinfo=UTC)], [dt.datetime(2024, 1, 1, tzinfo=UTC)]),
        ("duration[ms]", [dt.timedelta(days=-1, milliseconds=5)], [dt.timedelta(days=-1, milliseconds=5)]),
        ("duration[ns]", [dt.timedelta(microseconds=1), np.timedelta64(1, "ns")], [dt.timedelta(microseconds=1), np.timedelta64(1, "ns")]),
        ("month_day_nano_interval", [(1, 2, 3), MonthDayNano(-1, 0, 5), dt.timedelta(days=1, seconds=2)],
         [MonthDayNano(1, 2, 3), MonthDayNano(-1, 0, 5), MonthDayNano(0, 1, 2_000_000_000)]),
        ("month_interval", [14, MonthDayNano(3, 0, 0)], [MonthDayNano(14, 0, 0), MonthDayNano(3, 0, 0)]),
        ("day_time_interval", [MonthDayNano(0, 2, 5_000_000)], [MonthDayNano(0, 2, 5_000_000)]),
        ("list<int64>", [[1, None], (), range(2), np.array([7])], [[1, None], [], [0, 1], [7]]),
        ("list_view<int64>", [[1, 2], None, []], [[1, 2], None, []]),
        ("large_list_view<utf8>", [["a"], None], [["a"], None]),
        ("fixed_size_list<int8>[2]", [[1, 2], None, (3, None)], [[1, 2], None, [3, None]]),
        ("struct<a: int8, b: utf8>", [{"a": 1}, {}, None, {"b": "x", "c": 0}],
         [{"a": 1, "b": None}, {"a": None, "b": None}, None, {"a": None, "b": "x"}]),
        ("map<utf8, int64>", [{"k": 1}, [("l", None), ("m", 2)], {}, None], [[("k", 1)], [("l", None), ("m", 2)], [], None]),
        ("sparse_union<0: a: int64, 1: b: utf8>", [("a", 1), (1, "x"), UnionValue("b", None)],
         [UnionValue("a", 1), UnionValue("b", "x"), UnionValue("b", None)]),
        ("dense_union<3: a: int8, 7: b: bool>", [(3, 1), ("b", True), None], [UnionValue("a", 1), UnionValue("b", True), UnionValue("a", None)]),
        ("dictionary<int8, utf8>", ["x", None, "x", "y"], ["x", None, "x", "y"]),
        ("utf8_view", ["exactly 12 b", "exactly 13 by", None, ""], ["exactly 12 b", "exactly 13 by", None, ""]),
    ],
)  # fmt: skip
def test_what_types_take(text: str, given: list[Any], stored: list[Any]) -> None:
    array = Array.from_pylist(given, text)
    assert array.to_pylist() == stored
    assert Array.from_pylist(stored, text).to_pylist() == stored
    if "interval" not in text or text.startswith("month_day"):
        array.to_arrow().validate(full=True)
        assert Array.from_arrow(array.to_arrow()).to_pylist() == stored
    check_stream_of(array)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("int8", 128),
        ("int8", "1"),
        ("int8", 1.0),
        ("int8", True),
        ("uint8", -1),
        ("uint64", 2**64),
        ("int64", 2**63),
        ("int64", b"1"),
        ("float64", "1.5"),
        ("float64", [1.5]),
        pytest.param("float16", "x"),
        ("bool", 1),
        ("bool", "true"),
        ("utf8", b"x"),
        ("utf8", 5),
        ("utf8_view", 5),
        ("large_utf8", b""),
        ("binary", "x"),
        ("binary", 5),
        ("binary_view", "x"),
        ("fixed_size_binary[2]", b"a"),
        ("fixed_size_binary[2]", "ab"),
        ("fixed_size_binary[2]", 2),
        ("decimal128(3, 1)", Decimal("100.0")),
        ("decimal128(3, 1)", Decimal("0.01")),
        ("decimal128(3, 1)", "x"),
        ("decimal128(3, 1)", Decimal("NaN")),
        ("decimal128(3, 1)", float("inf")),
        ("date32", "2024-01-01"),
        ("date32", 2**31),
        ("date64", 1.5),
        ("time32[s]", dt.time(0, 0, 0, 1)),
        ("time64[us]", "12:00"),
        ("timestamp[s]", dt.datetime(2024, 1, 1, 0, 0, 0, 1)),
        ("timestamp[us]", "now"),
        ("timestamp[ns]", dt.datetime(9999, 1, 1)),
        ("duration[s]", dt.timedelta(milliseconds=1)),
        ("duration[us]", 1.5),
        ("month_day_nano_interval", (1, 2)),
        ("month_day_nano_interval", 5),
        ("month_day_nano_interval", (2**31, 0, 0)),
        ("list<int64>", 5),
        ("list<int64>", "text"),
        ("list<utf8>", b"bytes"),
        ("fixed_size_list<int8>[2]", [1]),
        ("fixed_size_list<int8>[2]", [1, 2, 3]),
        ("struct<a: int8>", 5),
        ("struct<a: int8>", [1]),
        ("map<utf8, int64>", 5),
        ("sparse_union<0: a: int64, 1: b: utf8>", ("c", 1)),
        ("sparse_union<0: a: int64, 1: b: utf8>", (2, 1)),
        ("dense_union<3: a: int8, 7: b: bool>", 5),
        ("dictionary<int8, utf8>", 5),
        ("null", 0),
    ],
)
def test_errors_name_the_position(text: str, value: Any) -> None:
    good = Array.from_pylist([None], text).to_pylist()[0]
    for index in (0, 3):
        with pytest.raises(TypeMismatchError, match=rf"value {index if 'dictionary' not in text else 0} "):
            Array.from_pylist([good] * index + [value], text)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("list<int64>", [[1], [2, "x"]]),
        ("struct<a: int8>", [{"a": 1}, {"a": 300}]),
        ("map<utf8, int64>", [{"a": "x"}]),
        ("sparse_union<0: a: int64, 1: b: utf8>", [("a", "x")]),
        ("list<struct<a: list<bool>>>", [[{"a": [True, 5]}]]),
    ],
)
def test_errors_in_nested_values(text: str, values: list[Any]) -> None:
    with pytest.raises(TypeMismatchError, match=r"value \d+ \(.*\) does not fit"):
        Array.from_pylist(values, text)


def test_long_values_are_cut_in_errors() -> None:
    with pytest.raises(TypeMismatchError) as error:
        Array.from_pylist(["x" * 10_000], "int8")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("map<utf8, int64>", [5]),
        ("map<utf8, int64>", [("a", 1, 2)]),
        ("utf8", "\ud800"),
        ("dictionary<int8, utf8>", []),
    ],
)
def test_errors_that_lack_the_position(text: str, value: Any) -> None:
    with pytest.raises(TypeMismatchError, match="value 0 "):
        Array.from_pylist([value], text)


def test_dictionaries_that_overflow_their_indices() -> None:
    values = [str(i) for i in range(128)]
    assert Array.from_pylist(values, "dictionary<int8, utf8>").to_pylist() == values
    with pytest.raises(TypeMismatchError, match="129 distinct values"):
        Array.from_pylist([*values, "x"], "dictionary<int8, utf8>")
    assert len(Array.from_pylist([str(i) for i in range(256)], "dictionary<uint8, utf8>")) == 256


def test_dictionaries_tell_equal_values_of_other_types_apart() -> None:
    with pytest.raises(TypeMismatchError):
        Array.from_pylist([1, True], "dictionary<int8, int64>")


def test_run_ends_are_not_built_from_values() -> None:
    with pytest.raises(TypeMismatchError, match="run-end encoded"):
        Array.from_pylist([1], "run_end_encoded<int32, int64>")


# ---- values that Python has no class for ----


def theirs_of(text: str, numbers: list[int]) -> Array:
    width = TYPES[text].bit_width // 8
    data = b"".join(n.to_bytes(width, "little", signed=True) for n in numbers)
    return Array.from_arrow(pa.Array.from_buffers(TYPES[text], len(numbers), [None, pa.py_buffer(data)]))


def test_moments_outside_of_datetime() -> None:
    assert theirs_of("date32", [2**31 - 1]).to_pylist() == [np.datetime64(2**31 - 1, "D")]
    assert theirs_of("timestamp[s]", [2**62]).to_pylist() == [np.datetime64(2**62, "s")]
    assert theirs_of("timestamp[ns]", [1]).to_pylist() == [np.datetime64(1, "ns")]
    assert theirs_of("duration[s]", [2**62]).to_pylist() == [np.timedelta64(2**62, "s")]
    assert theirs_of("duration[ns]", [1]).to_pylist() == [np.timedelta64(1, "ns")]


@pytest.mark.parametrize(
    ("text", "number", "expected"),
    [
        ("date64", 2**60, np.datetime64(2**60, "ms")),
        ("date64", -(2**60), np.datetime64(-(2**60), "ms")),
        ("time32[s]", -1, np.timedelta64(-1, "s")),
        ("time64[us]", 86400 * 10**6, np.timedelta64(86400 * 10**6, "us")),
        ("time64[us]", 2**63 - 1, np.timedelta64(2**63 - 1, "us")),
        ("time64[ns]", 1, np.timedelta64(1, "ns")),
    ],
)
def test_more_moments_outside_of_datetime(text: str, number: int, expected: object) -> None:
    assert theirs_of(text, [number]).to_pylist() == [expected]


@pytest.mark.parametrize("zone", ["Nowhere/Land", "../etc/passwd", "+ab:cd", "+99:99", "America"])
def test_unknown_zones_keep_the_moment(zone: str) -> None:
    array = Array.from_arrow(pa.array([0], pa.timestamp("s", zone)))
    assert array.to_pylist() == [dt.datetime(1970, 1, 1, tzinfo=UTC)]


def test_zones_at_the_end_of_time() -> None:
    last = dt.datetime.max.replace(microsecond=0, tzinfo=UTC)
    array = Array.from_arrow(pa.array([int(last.timestamp())], pa.timestamp("s", "+05:00")))
    assert array.to_pylist() == [last]


def test_text_that_is_not_utf8() -> None:
    array = Array.from_arrow(pa.array([b"\xff"]).view(pa.utf8()))
    with pytest.raises(ProtocolError, match="not UTF-8"):
        array.to_pylist()


# ---- rows ----


def test_rows() -> None:
    schema = Schema.parse("a: int64, b: utf8, c: list<struct<x: binary>>, d: map<utf8, bool>")
    row = {"a": 1, "b": None, "c": [{"x": b"\0"}], "d": [("k", True)]}
    assert decode_row(encode_row(schema, row)) == row
    assert decode_row(encode_row(schema, {})) == dict.fromkeys(schema.names)
    assert decode_row(encode_row(Schema([]), {})) == {}
    assert pa.ipc.open_stream(encode_row(schema, row)).read_all().to_pylist() == [row]


def test_what_is_not_one_row() -> None:
    schema = Schema.parse("a: int64")
    batches = [RecordBatch.from_pydict(schema, {"a": values}) for values in ([1], [1, 2], [])]
    for chosen in ([], batches[1:2], batches[2:], [batches[0]] * 2):
        with pytest.raises(ProtocolError, match="expected one row"):
            decode_row(encode_stream(schema, chosen))
    with pytest.raises(ProtocolError):
        decode_row(b"")


def test_check_against_pyarrow() -> None:
    for text in ("list<item: list<item: utf8>>", "map<utf8, int64>", "struct<lat: float64, lon: float64!>"):
        theirs = random_array(Random(text), TYPES[text], 30)
        check_arrays(Array.from_pylist(Array.from_arrow(theirs).to_pylist(), text), theirs)
