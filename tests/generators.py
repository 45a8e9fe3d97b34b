"""Random Arrow types, arrays and batches, made by pyarrow; for tests and benchmarks.

Everything is a function of a ``random.Random`` and makes the same data for the same seed. ``types``, ``schemas``
and ``batches`` are hypothesis strategies over it.

    array = random_array(Random(7), pa.list_(pa.int64()), 1000)
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

TYPES: Final[dict[str, pa.DataType]] = {
    **{f"{sign}int{bits}": getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "null": pa.null(),
    "bool": pa.bool_(),
    "float16": pa.float16(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "decimal32(7, 2)": pa.decimal32(7, 2),
    "decimal64(15, 3)": pa.decimal64(15, 3),
    "decimal128(10, 2)": pa.decimal128(10, 2),
    "decimal128(38, -3)": pa.decimal128(38, -3),
    "decimal256(60, 5)": pa.decimal256(60, 5),
    "date32": pa.date32(),
    "date64": pa.date64(),
    "time32[s]": pa.time32("s"),
    "time32[ms]": pa.time32("ms"),
    "time64[us]": pa.time64("us"),
    "time64[ns]": pa.time64("ns"),
    "timestamp[s]": pa.timestamp("s"),
    "timestamp[ms]": pa.timestamp("ms"),
    "timestamp[us]": pa.timestamp("us"),
    "timestamp[ns]": pa.timestamp("ns"),
    "timestamp[us, tz=UTC]": pa.timestamp("us", "UTC"),
    "timestamp[ms, tz=+02:30]": pa.timestamp("ms", "+02:30"),
    "duration[s]": pa.duration("s"),
    "duration[ms]": pa.duration("ms"),
    "duration[us]": pa.duration("us"),
    "duration[ns]": pa.duration("ns"),
    "month_day_nano_interval": pa.month_day_nano_interval(),
    "utf8": pa.utf8(),
    "large_utf8": pa.large_utf8(),
    "utf8_view": pa.string_view(),
    "binary": pa.binary(),
    "large_binary": pa.large_binary(),
    "binary_view": pa.binary_view(),
    "fixed_size_binary[5]": pa.binary(5),
    "fixed_size_binary[0]": pa.binary(0),
    "list<item: int64>": pa.list_(pa.int64()),
    "list<item: utf8!>": pa.list_(pa.field("item", pa.utf8(), nullable=False)),
    "large_list<item: int32>": pa.large_list(pa.int32()),
    "list_view<item: int16>": pa.list_view(pa.int16()),
    "large_list_view<item: utf8>": pa.large_list_view(pa.utf8()),
    "fixed_size_list<item: float64>[2]": pa.list_(pa.float64(), 2),
    "fixed_size_list<item: bool>[0]": pa.list_(pa.bool_(), 0),
    "struct<lat: float64, lon: float64!>": pa.struct(
        [pa.field("lat", pa.float64()), pa.field("lon", pa.float64(), nullable=False)]
    ),
    "struct<>": pa.struct([]),
    "map<utf8, int64>": pa.map_(pa.utf8(), pa.int64()),
    "map<int32, utf8!, keys_sorted>": pa.map_(
        pa.int32(), pa.field("value", pa.utf8(), nullable=False), keys_sorted=True
    ),
    "sparse_union<0: a: int64, 1: b: utf8>": pa.sparse_union([pa.field("a", pa.int64()), pa.field("b", pa.utf8())]),
    "dense_union<3: a: int8, 7: b: bool>": pa.dense_union(
        [pa.field("a", pa.int8()), pa.field("b", pa.bool_())], [3, 7]
    ),
    "dictionary<int16, utf8>": pa.dictionary(pa.int16(), pa.utf8()),
    "dictionary<uint8, int64, ordered>": pa.dictionary(pa.uint8(), pa.int64(), ordered=True),
    "run_end_encoded<int16, utf8>": pa.run_end_encoded(pa.int16(), pa.utf8()),
    "run_end_encoded<int64, float64>": pa.run_end_encoded(pa.int64(), pa.float64()),
    "list<item: list<item: utf8>>": pa.list_(pa.list_(pa.utf8())),
    "list<item: dictionary<int8, utf8>>": pa.list_(pa.dictionary(pa.int8(), pa.utf8())),
    "struct<x: list<item: utf8_view>, y: map<int8, struct<z: date32>>>": pa.struct(
        [
            pa.field("x", pa.list_(pa.string_view())),
            pa.field("y", pa.map_(pa.int8(), pa.struct([pa.field("z", pa.date32())]))),
        ]
    ),
    "fixed_size_list<item: struct<u: dense_union<0: i: int32, 1: s: utf8>>>[3]": pa.list_(
        pa.struct([pa.field("u", pa.dense_union([pa.field("i", pa.int32()), pa.field("s", pa.utf8())]))]), 3
    ),
    "struct<r: run_end_encoded<int32, list<item: int8>>>": pa.struct(
        [pa.field("r", pa.run_end_encoded(pa.int32(), pa.list_(pa.int8())))]
    ),
    "dictionary<int32, struct<a: int32, d: dictionary<int8, utf8>>>": pa.dictionary(
        pa.int32(), pa.struct([pa.field("a", pa.int32()), pa.field("d", pa.dictionary(pa.int8(), pa.utf8()))])
    ),
}
"""Text form, as ``str(DataType)`` writes it, of every kind that pyarrow can hold, with pyarrow's own type."""

INTERVALS: Final = ("month_interval", "day_time_interval")
"""The kinds that pyarrow knows in messages but has no Python array for."""


# ---- types ----

_FLAT: Final[list[Callable[[Random], pa.DataType]]] = [
    lambda _: pa.null(),
    lambda _: pa.bool_(),
    lambda r: r.choice([pa.int8(), pa.int16(), pa.int32(), pa.int64()]),
    lambda r: r.choice([pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]),
    lambda r: r.choice([pa.float16(), pa.float32(), pa.float64()]),
    lambda r: pa.decimal32(r.randint(1, 9), r.randint(-2, 9)),
    lambda r: pa.decimal64(r.randint(1, 18), r.randint(-2, 18)),
    lambda r: pa.decimal128(r.randint(1, 38), r.randint(-5, 38)),
    lambda r: pa.decimal256(r.randint(1, 76), r.randint(-5, 76)),
    lambda r: r.choice([pa.date32(), pa.date64()]),
    lambda r: r.choice([pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]),
    lambda r: pa.timestamp(r.choice(["s", "ms", "us", "ns"]), r.choice([None, None, "UTC", "+05:30", "-01:00"])),
    lambda r: pa.duration(r.choice(["s", "ms", "us", "ns"])),
    lambda _: pa.month_day_nano_interval(),
    lambda r: r.choice([pa.utf8(), pa.large_utf8(), pa.string_view()]),
    lambda r: r.choice([pa.binary(), pa.large_binary(), pa.binary_view()]),
    lambda r: pa.binary(r.randint(0, 17)),
]
_NAMES: Final = ("a", "b", "value", "item", "", "name with spaces", "größe", "a", "x" * 40, "日本")


def random_field(rng: Random, depth: int, name: str | None = None) -> pa.Field:
    metadata = {b"key": b"value", b"": b"\0\xff"} if rng.random() < 0.05 else None
    type = random_type(rng, depth)
    nullable = rng.random() < 0.8 or pa.types.is_null(type)
    return pa.field(rng.choice(_NAMES) if name is None else name, type, nullable=nullable, metadata=metadata)


def random_type(rng: Random, depth: int = 2) -> pa.DataType:
    """Any type whose arrays pyarrow can build and compare; at most ``depth`` levels of nesting."""
    if depth <= 0 or rng.random() < 0.6:
        return rng.choice(_FLAT)(rng)
    kind = rng.randrange(10)
    if kind == 0:
        return pa.list_(random_field(rng, depth - 1, "item"))
    if kind == 1:
        return pa.large_list(random_field(rng, depth - 1, "element"))
    if kind == 2:
        return pa.list_view(random_field(rng, depth - 1, "item"))
    if kind == 3:
        return pa.large_list_view(random_field(rng, depth - 1, "item"))
    if kind == 4:
        return pa.list_(random_field(rng, depth - 1, "item"), rng.randint(0, 4))
    if kind == 5:
        return pa.struct([random_field(rng, depth - 1, f"f{i}") for i in range(rng.randint(0, 4))])
    if kind == 6:
        key = pa.field("key", rng.choice([pa.utf8(), pa.int32(), pa.date32()]), nullable=False)
        return pa.map_(key, random_field(rng, depth - 1, "value"), keys_sorted=rng.random() < 0.2)
    if kind == 7:
        count = rng.randint(1, 4)
        fields = [random_field(rng, depth - 1, f"m{i}") for i in range(count)]
        codes = sorted(rng.sample(range(128), count))
        return rng.choice([pa.sparse_union, pa.dense_union])(fields, codes)
    if kind == 8:
        index = rng.choice([pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32()])
        return pa.dictionary(index, _FLAT[rng.randrange(1, len(_FLAT))](rng), ordered=rng.random() < 0.2)
    ends = rng.choice([pa.int16(), pa.int32(), pa.int64()])
    return pa.run_end_encoded(ends, rng.choice(_FLAT)(rng))


def random_schema(rng: Random, most: int = 5, depth: int = 2) -> pa.Schema:
    metadata = {b"schema": b"metadata"} if rng.random() < 0.2 else None
    return pa.schema([random_field(rng, depth) for _ in range(rng.randint(0, most))], metadata)


# ---- arrays ----


def random_array(rng: Random, type: pa.DataType, length: int, null_share: float = 0.2) -> pa.Array:
    """Valid for ``validate(full=True)``. Null slots and bytes that no slot refers to hold arbitrary data."""
    if pa.types.is_null(type):
        return pa.nulls(length)
    maker = _nested_maker(type)
    if maker is not None:
        return maker(rng, type, length, null_share)
    return _flat_array(rng, type, length, null_share)


def sliced_array(rng: Random, type: pa.DataType, length: int, null_share: float = 0.2) -> pa.Array:
    """As ``random_array``, a slice that starts at an offset."""
    before, after = rng.randint(1, 11), rng.randint(0, 5)
    return random_array(rng, type, before + length + after, null_share).slice(before, length)


def random_batch(rng: Random, schema: pa.Schema, length: int, null_share: float = 0.2) -> pa.RecordBatch:
    if not len(schema):
        columns = pa.array([{}] * length, pa.struct([]))
        return pa.RecordBatch.from_struct_array(columns).replace_schema_metadata(schema.metadata)
    arrays = [random_array(rng, field.type, length, null_share if field.nullable else 0.0) for field in schema]
    return pa.record_batch(arrays, schema=schema)


def _validity(rng: Random, length: int, null_share: float) -> tuple[pa.Buffer | None, int]:
    if not null_share or rng.random() < 0.25:
        return None, 0
    valid = [rng.random() >= null_share for _ in range(length)]
    return pa.array(valid, pa.bool_()).buffers()[1], valid.count(False)


def _random_bytes(rng: Random, length: int) -> bytes:
    return rng.getrandbits(8 * length).to_bytes(length, "little") if length else b""


_BOUNDS: Final[dict[Any, Callable[[pa.DataType], tuple[str, int, int]]]] = {
    pa.types.is_date32: lambda _: ("i", -719162, 2932896),
    pa.types.is_time32: lambda t: ("i", 0, 86400 * (1 if t.unit == "s" else 1000) - 1),
    pa.types.is_time64: lambda t: ("q", 0, 86400 * (10**6 if t.unit == "us" else 10**9) - 1),
}
_UNIT: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def _flat_values(rng: Random, type: pa.DataType, length: int) -> bytes:
    """The values buffer of a fixed-width type."""
    for matches, bounds in _BOUNDS.items():
        if matches(type):
            code, low, high = bounds(type)
            return struct.pack(f"<{length}{code}", *(rng.randint(low, high) for _ in range(length)))
    if pa.types.is_date64(type):
        return struct.pack(f"<{length}q", *(86400000 * rng.randint(-719162, 2932896) for _ in range(length)))
    if pa.types.is_timestamp(type) or pa.types.is_duration(type):
        most = min(_UNIT[type.unit] * 60_000_000_000, 2**63 - 1)
        return struct.pack(f"<{length}q", *(rng.choice([0, rng.randint(-most, most)]) for _ in range(length)))
    if pa.types.is_decimal(type):
        most = 10**type.precision - 1
        numbers = (rng.choice([0, most, -most, rng.randint(-most, most)]) for _ in range(length))
        return b"".join(n.to_bytes(type.bit_width // 8, "little", signed=True) for n in numbers)
    if pa.types.is_floating(type):
        code = {16: "e", 32: "f", 64: "d"}[type.bit_width]
        usual = (0.0, -0.0, 1.5, float("inf"), float("-inf"))
        return struct.pack(f"<{length}{code}", *(rng.choice([*usual, rng.uniform(-999, 999)]) for _ in range(length)))
    return _random_bytes(rng, length * type.bit_width // 8)


def _random_text(rng: Random) -> str:
    if rng.random() < 0.2:
        return rng.choice(["", "a", "exactly 12 b", "exactly 13 by", "ä", "日本語のテキスト", "\0", "🦆" * 4])
    return "".join(rng.choice("abcdefghij é€") for _ in range(rng.randint(0, 20)))


def _flat_array(rng: Random, type: pa.DataType, length: int, null_share: float) -> pa.Array:
    validity, nulls = _validity(rng, length, null_share)
    if pa.types.is_boolean(type):
        data = _random_bytes(rng, (length + 7) // 8)
        return pa.Array.from_buffers(type, length, [validity, pa.py_buffer(data)], nulls)
    text = pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_string_view(type)
    if text or pa.types.is_binary(type) or pa.types.is_large_binary(type) or pa.types.is_binary_view(type):
        values = [_random_text(rng).encode() if text else _random_bytes(rng, rng.randint(0, 20)) for _ in range(length)]
        if pa.types.is_string_view(type) or pa.types.is_binary_view(type):
            mask = [null_share > 0 and rng.random() < null_share for _ in range(length)]
            shown = [None if masked else value for value, masked in zip(values, mask, strict=True)]
            return pa.array([v.decode() if text and v is not None else v for v in shown], type)
        large = pa.types.is_large_string(type) or pa.types.is_large_binary(type)
        offsets = [0]
        for value in values:
            offsets.append(offsets[-1] + len(value))
        packed = struct.pack(f"<{length + 1}{'q' if large else 'i'}", *offsets)
        return pa.Array.from_buffers(
            type, length, [validity, pa.py_buffer(packed), pa.py_buffer(b"".join(values))], nulls
        )
    data = _flat_values(rng, type, length)
    return pa.Array.from_buffers(type, length, [validity, pa.py_buffer(data)], nulls)


Maker = Callable[[Random, Any, int, float], pa.Array]


def _child(rng: Random, field: pa.Field, length: int, null_share: float) -> pa.Array:
    return random_array(rng, field.type, length, null_share if field.nullable else 0.0)


def _list_array(rng: Random, type: Any, length: int, null_share: float) -> pa.Array:
    validity, nulls = _validity(rng, length, null_share)
    offsets = [rng.randint(0, 2)]
    for _ in range(length):
        offsets.append(offsets[-1] + rng.randint(0, 3))
    if pa.types.is_map(type):
        fields = [type.key_field, type.item_field]
        children = [_child(rng, f, offsets[-1], null_share) for f in fields]
        child = pa.StructArray.from_arrays(children, fields=fields)
    else:
        child = _child(rng, type.value_field, offsets[-1] + rng.randint(0, 2), null_share)
    packed = struct.pack(f"<{length + 1}{'q' if pa.types.is_large_list(type) else 'i'}", *offsets)
    return pa.Array.from_buffers(type, length, [validity, pa.py_buffer(packed)], nulls, children=[child])


def _list_view_array(rng: Random, type: Any, length: int, null_share: float) -> pa.Array:
    # Views overlap and come in any order.
    validity, nulls = _validity(rng, length, null_share)
    total = rng.randint(1, 2 * length + 1)
    offsets = [rng.randint(0, total - 1) for _ in range(length)]
    sizes = [rng.randint(0, min(3, total - offset)) for offset in offsets]
    code = "q" if pa.types.is_large_list_view(type) else "i"
    buffers = [pa.py_buffer(struct.pack(f"<{length}{code}", *numbers)) for numbers in (offsets, sizes)]
    child = _child(rng, type.value_field, total, null_share)
    return pa.Array.from_buffers(type, length, [validity, *buffers], nulls, children=[child])


def _fixed_list_array(rng: Random, type: Any, length: int, null_share: float) -> pa.Array:
    validity, nulls = _validity(rng, length, null_share)
    child = _child(rng, type.value_field, length * type.list_size, null_share)
    return pa.Array.from_buffers(type, length, [validity], nulls, children=[child])


def _struct_array(rng: Random, type: Any, length: int, null_share: float) -> pa.Array:
    validity, nulls = _validity(rng, length, null_share)
    children = [_child(rng, field, length, null_share) for field in type]
    return pa.Array.from_buffers(type, length, [validity], nulls, children=children)


def _union_array(rng: Random, type: Any, length: int, null_share: float) -> pa.Array:
    members = [rng.randrange(type.num_fields) for _ in range(length)]
    # pyarrow's writer copies the slices of a union from longer pieces of these buffers than they are.
    padding = bytes(64)
    codes = pa.py_buffer(bytes(type.type_codes[m] for m in members) + padding)
    fields = [type.field(i) for i in range(type.num_fields)]
    if type.mode == "sparse":
        children = [_child(rng, field, length, null_share) for field in fields]
        return pa.Array.from_buffers(type, length, [None, codes], children=children)
    counts = [0] * len(fields)
    offsets = []
    for member in members:
        offsets.append(counts[member])
        counts[member] += 1
    children = [_child(rng, field, count, null_share) for field, count in zip(fields, counts, strict=True)]
    packed = pa.py_buffer(struct.pack(f"<{length}i", *offsets) + padding)
    return pa.Array.from_buffers(type, length, [None, codes, packed], children=children)


def _dictionary_array(rng: Random, type: Any, length: int, null_share: float) -> pa.Array:
    values = random_array(rng, type.value_type, rng.randint(1, 6), 0.0)
    shown = [None if null_share and rng.random() < null_share else rng.randrange(len(values)) for _ in range(length)]
    return pa.DictionaryArray.from_arrays(pa.array(shown, type.index_type), values, ordered=type.ordered)


def _run_array(rng: Random, type: Any, length: int, null_share: float) -> pa.Array:
    ends: list[int] = []
    while not ends or ends[-1] < length:
        ends.append((ends[-1] if ends else 0) + rng.randint(1, 4))
    ends[-1] = max(length, 1)
    while len(ends) > 1 and ends[-2] >= ends[-1]:
        del ends[-2]
    if not length:
        ends = []
    values = random_array(rng, type.value_type, len(ends), null_share)
    return pa.RunEndEncodedArray.from_arrays(pa.array(ends, type.run_end_type), values)


_MAKERS: Final[list[tuple[Callable[[pa.DataType], bool], Maker]]] = [
    (pa.types.is_dictionary, _dictionary_array),
    (pa.types.is_run_end_encoded, _run_array),
    (pa.types.is_union, _union_array),
    (pa.types.is_struct, _struct_array),
    (pa.types.is_fixed_size_list, _fixed_list_array),
    (lambda t: pa.types.is_list_view(t) or pa.types.is_large_list_view(t), _list_view_array),
    (lambda t: pa.types.is_list(t) or pa.types.is_large_list(t) or pa.types.is_map(t), _list_array),
]


def _nested_maker(type: pa.DataType) -> Maker | None:
    return next((maker for matches, maker in _MAKERS if matches(type)), None)


# ---- strategies ----


def generators() -> SearchStrategy[Random]:
    """Seeded; hypothesis' own ``randoms`` shrink further, and are a hundred times slower."""
    from hypothesis import strategies as st

    return st.integers(0, 2**32 - 1).map(Random)


def types(depth: int = 2) -> SearchStrategy[pa.DataType]:
    return generators().map(lambda rng: random_type(rng, depth))


def schemas(depth: int = 2) -> SearchStrategy[pa.Schema]:
    return generators().map(lambda rng: random_schema(rng, depth=depth))


def batches(depth: int = 2, most_rows: int = 20) -> SearchStrategy[pa.RecordBatch]:
    from hypothesis import strategies as st

    def make(rng: Random, columns: int, rows: int) -> pa.RecordBatch:
        return random_batch(rng, random_schema(rng, columns, depth), rows)

    return st.builds(make, generators(), st.integers(0, 5), st.integers(0, most_rows))
