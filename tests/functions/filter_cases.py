"""Random predicates over random columns, as a filter blob and as SQL; shared by tests and fuzzing.

``cases(seed, kind, count)`` gives a column, and predicates of it whose answers DuckDB can be asked for.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from vgi_fast import Array, Field, RecordBatch, Schema
from vgi_fast.wire.arrow import encode_stream

OPS: Final = {"eq": "=", "ne": "<>", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_LETTERS: Final = ["a", "b", "ab", "abc", "B", "Z", "é", "ÿ", "日本", "\U0001f600", "\x00", "%", "_", " "]


def _integers(bits: int, signed: bool) -> Callable[[Random], int]:
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    edges = [low, low + 1, high - 1, high, 0, 1, *([-1] if signed else [])]

    def make(rng: Random) -> int:
        how = rng.random()
        if how < 0.3:
            return rng.choice(edges)
        return max(low, min(high, rng.randint(-9, 9))) if how < 0.8 else rng.randint(low, high)

    return make


def _floats(letter: str) -> Callable[[Random], float]:
    edges = [0.0, -0.0, math.nan, math.inf, -math.inf, 1.0, -1.0, 0.5, 5e-324 if letter == "d" else 1.4e-45]
    edges += [1.7976931348623157e308, -1.7976931348623157e308] if letter == "d" else [3.4028234663852886e38]

    def make(rng: Random) -> float:
        value = rng.choice(edges) if rng.random() < 0.6 else rng.uniform(-3, 3)
        found: float = struct.unpack(letter, struct.pack(letter, value))[0]
        return found

    return make


def _decimals(precision: int, scale: int) -> Callable[[Random], Any]:
    from decimal import Decimal

    most = 10**precision - 1

    def make(rng: Random) -> Decimal:
        raw = (
            rng.choice([most, -most, 0, 1, -1]) if rng.random() < 0.3 else rng.randint(-min(most, 999), min(most, 999))
        )
        sign = 1 if raw < 0 else 0
        return Decimal((sign, tuple(int(c) for c in str(abs(raw))), -scale))

    return make


def _ticks(bits: int, low: int, high: int, infinite: bool = True) -> Callable[[Random], int]:
    edge = (1 << (bits - 1)) - 1

    def make(rng: Random) -> int:
        how = rng.random()
        if how < 0.15 and infinite:
            return rng.choice([edge, -edge])
        return rng.randint(-5, 5) if how < 0.5 and low < 0 else rng.randint(low, high)

    return make


def _text(rng: Random) -> str:
    return "".join(rng.choice(_LETTERS) for _ in range(rng.choice([0, 1, 1, 2, 3, 5, 9])))


def _bytes(rng: Random) -> bytes:
    return bytes(rng.choice([0, 1, 65, 127, 128, 255]) for _ in range(rng.choice([0, 1, 2, 3, 8, 13, 20])))


@dataclass(frozen=True)
class Kind:
    """A type of columns. ``storage`` holds what ``make`` gives; ``type`` views it. Constants have ``constant``."""

    make: Callable[[Random], Any]
    type: pa.DataType
    storage: pa.DataType | None = None
    constant: pa.DataType | None = None
    encodings: tuple[str, ...] = ("plain", "dictionary")
    exclude: frozenset[str] = field(default_factory=frozenset)

    def array(self, values: list[Any], type: pa.DataType | None = None) -> pa.Array:
        made = pa.array(values, self.storage or self.type)
        wanted = type or self.type
        if self.storage is None:
            return made if made.type == wanted else made.cast(wanted)
        if isinstance(wanted, pa.BaseExtensionType):
            return wanted.wrap_array(made)
        return made.view(wanted) if made.type.bit_width == wanted.bit_width else made.cast(wanted)


_TIMESTAMPS: Final = _ticks(64, -(10**12), 10**12)
KINDS: Final[dict[str, Kind]] = {
    **{
        f"{'' if signed else 'u'}int{bits}": Kind(
            _integers(bits, signed), getattr(pa, f"{'' if signed else 'u'}int{bits}")(), encodings=("plain", "runs")
        )
        for bits in (8, 16, 32, 64)
        for signed in (True, False)
    },
    "bool": Kind(lambda rng: rng.random() < 0.5, pa.bool_(), encodings=("plain",)),
    "float32": Kind(_floats("f"), pa.float32(), encodings=("plain", "runs")),
    "float64": Kind(_floats("d"), pa.float64(), encodings=("plain", "runs")),
    "decimal(4,2)": Kind(_decimals(4, 2), pa.decimal128(4, 2), encodings=("plain",)),
    "decimal(18,3)": Kind(_decimals(18, 3), pa.decimal128(18, 3), encodings=("plain",)),
    "decimal(38,0)": Kind(_decimals(38, 0), pa.decimal128(38, 0), encodings=("plain",)),
    "decimal64": Kind(_decimals(10, 2), pa.decimal64(10, 2), constant=pa.decimal128(10, 2), encodings=("plain",)),
    "decimal32": Kind(_decimals(7, 1), pa.decimal32(7, 1), constant=pa.decimal128(7, 1), encodings=("plain",)),
    "date32": Kind(_ticks(32, -100000, 100000), pa.date32(), pa.int32(), encodings=("plain",)),
    "date64": Kind(
        _ticks(64, -(10**10), 10**10, infinite=False), pa.date64(), pa.int64(), pa.date32(), encodings=("plain",)
    ),
    "time64[us]": Kind(
        _ticks(64, 0, 86_399_999_999, infinite=False), pa.time64("us"), pa.int64(), encodings=("plain",)
    ),
    "time32[ms]": Kind(
        _ticks(32, 0, 86_399_999, infinite=False), pa.time32("ms"), pa.int32(), pa.time64("us"), encodings=("plain",)
    ),
    **{
        f"timestamp[{unit}]": Kind(
            _TIMESTAMPS if unit == "us" else _ticks(64, -(10**9), 10**9, infinite=False),
            pa.timestamp(unit),
            pa.int64(),
            encodings=("plain",),
        )
        for unit in ("s", "ms", "us", "ns")
    },
    "timestamp[us, tz]": Kind(
        _TIMESTAMPS, pa.timestamp("us", "America/New_York"), pa.int64(), pa.timestamp("us", "UTC"), encodings=("plain",)
    ),
    "timestamp[ms, tz]": Kind(
        _ticks(64, -(10**9), 10**9, infinite=False),
        pa.timestamp("ms", "UTC"),
        pa.int64(),
        pa.timestamp("us", "UTC"),
        encodings=("plain",),
    ),
    "timestamp[ns, tz]": Kind(
        _ticks(64, -3000, 3000, infinite=False),
        pa.timestamp("ns", "UTC"),
        pa.int64(),
        pa.timestamp("us", "UTC"),
        encodings=("plain",),
    ),
    "utf8": Kind(_text, pa.utf8(), encodings=("plain", "dictionary", "runs")),
    "large_utf8": Kind(_text, pa.large_utf8(), constant=pa.utf8()),
    "utf8_view": Kind(_text, pa.string_view(), constant=pa.utf8(), encodings=("plain",)),
    "utf8, view constant": Kind(_text, pa.utf8(), constant=pa.string_view(), encodings=("plain",)),
    "binary": Kind(_bytes, pa.binary()),
    "binary_view": Kind(_bytes, pa.binary_view(), constant=pa.binary(), encodings=("plain",)),
    "fixed_size_binary": Kind(
        lambda rng: bytes(rng.choice([0, 1, 255]) for _ in range(3)), pa.binary(3), constant=pa.binary(),
        encodings=("plain",),
    ),
    "uuid": Kind(
        lambda rng: bytes(rng.choice([0, 1, 127, 128, 255]) for _ in range(16)), pa.uuid(), pa.binary(16),
        encodings=("plain",),
    ),
    "bool8": Kind(lambda rng: rng.choice([0, 1, 2, -1]), pa.bool8(), pa.int8(), encodings=("plain",)),
}  # fmt: skip


@dataclass
class Predicate:
    """A node of the blob's JSON, and the same as SQL over ``v`` and the constants ``k0`` …"""

    node: dict[str, Any]
    sql: str


@dataclass
class Cases:
    kind: str
    table: pa.Table
    constants: pa.Table
    predicates: list[Predicate]
    join_keys: list[tuple[str, pa.Array]]

    def blob(self, predicate: Predicate) -> bytes:
        return filter_blob([predicate.node], self.constants)

    def keys(self, predicate: Predicate) -> list[bytes]:
        wanted = list(_key_names(predicate.node))
        return [keys_blob(name, values) for name, values in self.join_keys if name in wanted]


def _key_names(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_key_names, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    return {node["keys_column"]} if "keys_column" in node else set().union(*map(_key_names, node.values()))


def filter_blob(nodes: list[Any], constants: pa.Table | None, version: bytes | None = b"1") -> bytes:
    text = pa.array([json.dumps(nodes, ensure_ascii=False, separators=(",", ":"))])
    metadata: dict[bytes | str, bytes | str] | None = None if version is None else {b"vgi_filter_version": version}
    columns = [] if constants is None else constants.to_batches()[0].columns
    fields = [Field("filter_spec", "utf8", True, metadata)]
    arrays = [Array.from_arrow(text)]
    for i, column in enumerate(columns):
        fields.append(_field(i, column))
        arrays.append(Array.from_arrow(column))
    schema = Schema(fields)
    return encode_stream(schema, [RecordBatch(schema, arrays)])


def _field(i: int, column: pa.Array) -> Field:
    imported = Schema.of(pa.schema([pa.field(f"_val_{i}", column.type)])).fields[0]
    return Field(f"_val_{i}", imported.type, True, imported.metadata)  # type: ignore[arg-type]


def keys_blob(name: str, values: pa.Array) -> bytes:
    field = Schema.of(pa.schema([pa.field(name, values.type)])).fields[0]
    schema = Schema([field], {b"vgi_join_keys_version": b"2"})
    return encode_stream(schema, [RecordBatch(schema, [Array.from_arrow(values)])])


def make_cases(seed: int, name: str, predicates: int, rows: int = 60) -> Cases:
    rng = Random(f"{seed} {name}")
    kind = KINDS[name]
    pool = [kind.make(rng) for _ in range(12)]
    null_share = rng.choice([0.0, 0.2, 0.2, 1.0 if rng.random() < 0.05 else 0.5])

    def value() -> Any:
        return rng.choice(pool) if rng.random() < 0.7 else kind.make(rng)

    values = [None if rng.random() < null_share else value() for _ in range(rows)]
    column = kind.array(values)
    how = rng.choice(kind.encodings)
    if how == "dictionary":
        column = column.dictionary_encode()
    elif how == "runs":
        values = [item for item in values[: rows // 3] for _ in range(3)]
        column = pc.run_end_encode(kind.array(values))
    cut = rng.choice([0, 0, 1, 3, 9])
    column = column.slice(cut)
    # DuckDB 1.5 reads nulls of fixed_size_binary inside of structs as values, so it is no oracle for those.
    odd = isinstance(column.type, pa.BaseExtensionType) or pa.types.is_fixed_size_binary(column.type)
    nested = rng.random() < 0.2 and how == "plain" and not odd
    made = [value() for _ in range(16)]
    typed = kind.array(made, None)
    if kind.constant is not None:
        typed = (
            pa.array([item // 86_400_000 for item in made], pa.int32()).view(pa.date32())
            if name == "date64"
            else _constants(name, kind, made)
        )
    constants = pa.table({f"k{i}": typed.slice(i, 1) for i in range(len(made))})
    key_sets: list[tuple[str, pa.Array]] = []
    found = [_predicate(rng, len(made), typed, key_sets, 0) for _ in range(predicates)]
    if nested:
        mask = pa.array([rng.random() < 0.2 for _ in range(len(column))])
        struct = pa.StructArray.from_arrays([column, column], names=["other", "v"], mask=mask)
        table = pa.table({"s": struct})
        for predicate in found:
            predicate.node = {
                **_named("s", "struct"),
                "child_index": 1,
                "child_name": "v",
                "child_filter": predicate.node,
            }
            predicate.sql = predicate.sql.replace("t.v", "t.s.v")
    else:
        table = pa.table({"v": column})
    return Cases(name, table, constants, found, key_sets)


def _constants(name: str, kind: Kind, made: list[Any]) -> pa.Array:
    assert kind.constant is not None
    factor = {"timestamp[ms, tz]": 1000, "time32[ms]": 1000}.get(name, 1)
    if name == "timestamp[ns, tz]":
        made = [int(item / 1000) for item in made]
    elif factor != 1:
        made = [item * factor for item in made]
    if kind.storage is not None:
        return pa.array(made, pa.int64()).view(kind.constant)
    return pa.array(made, kind.constant)


def _named(column: str, kind: str) -> dict[str, Any]:
    return {"column_name": column, "column_index": 0, "type": kind}


def _predicate(rng: Random, n: int, typed: pa.Array, key_sets: list[tuple[str, pa.Array]], depth: int) -> Predicate:
    how = rng.random()
    if how < 0.55 or depth > 3:
        op, k = rng.choice(list(OPS)), rng.randrange(n)
        return Predicate({**_named("v", "constant"), "op": op, "value_ref": k}, f"t.v {OPS[op]} c.k{k}")
    if how < 0.63:
        is_null = rng.random() < 0.5
        return Predicate(
            _named("v", "is_null" if is_null else "is_not_null"), f"t.v IS {'' if is_null else 'NOT '}NULL"
        )
    if how < 0.73:
        chosen = sorted(rng.sample(range(n), rng.randint(1, 6)))
        name = f"keys{len(key_sets)}"
        key_sets.append((name, pa.concat_arrays([typed.slice(k, 1) for k in chosen])))
        node = {**_named("v", "join_keys"), "keys_column": name}
        return Predicate(node, f"t.v IN ({', '.join(f'c.k{k}' for k in chosen)})")
    word = rng.choice(["and", "or"])
    children = [_predicate(rng, n, typed, key_sets, depth + 1) for _ in range(rng.randint(1, 3))]
    sql = "(" + f" {word} ".join(child.sql for child in children) + ")"
    return Predicate({**_named("v", word), "children": [child.node for child in children]}, sql)
