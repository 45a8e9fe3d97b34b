"""Comparisons with constants as ranges of the values that a column stores (sections 1.4 and 1.5).

DuckDB does not test again what it pushed, so the ranges are exact: constants are compared as numbers, instants
or bytes, whatever Arrow types they and the column have, in DuckDB's order. A range is a leaf of the core's plan.
"""

from __future__ import annotations

import json
import math
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import TypeMismatchError
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import stored_bytes, type_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vgi_fast.functions.filters.nodes import Constant
    from vgi_fast.wire.arrow import Array, DataType, Field

    Spec = tuple[Any, ...]
    Path = tuple[int, ...]
    Test = tuple[str, Constant]

__all__ = ["comparisons", "key_array", "storage"]

NANOSECONDS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_DAY: Final = 86_400 * 10**9
TEXTS: Final = frozenset({"utf8", "large_utf8", "utf8_view", "binary", "large_binary", "binary_view"})
STRINGS: Final = frozenset({"utf8", "large_utf8", "utf8_view"})
_INTEGERS: Final = {f"{sign}int{bits}": (bits // 8, sign == "") for sign in ("", "u") for bits in (8, 16, 32, 64)}
_DECIMALS: Final = {"decimal32": 4, "decimal64": 8, "decimal128": 16, "decimal256": 32}
_FLOATS: Final = {"float16": "<e", "float32": "<f", "float64": "<d"}
_INFINITY: Final = math.inf


class Storage:
    """What the slots of a column mean. ``kind``: bool, bool8, integer, float, text, uuid, null or other."""

    __slots__ = ("is_signed", "kind", "letter", "scale", "tick", "type", "width")

    def __init__(
        self,
        type: DataType,
        kind: str,
        width: int = 0,
        is_signed: bool = True,
        *,
        scale: int = 0,
        tick: int = 0,
        letter: str = "",
    ) -> None:
        self.type = type
        self.kind = kind
        self.width = width
        self.is_signed = is_signed
        self.scale = scale
        """Stored integers are values times 10**scale."""
        self.tick = tick
        """Nanoseconds that one stored unit counts; 0 for numbers."""
        self.letter = letter

    @property
    def least(self) -> int:
        return -(1 << (8 * self.width - 1)) if self.is_signed else 0

    @property
    def most(self) -> int:
        return (1 << (8 * self.width - self.is_signed)) - 1


def storage(field: Field) -> Storage:
    """Of the values of a dictionary or of runs, if the column has those."""
    type = field.type
    while type.kind in ("dictionary", "run_end_encoded"):
        inner = type.value_type if type.kind == "dictionary" else type.children[1].type
        assert inner is not None
        type = inner
    extension = field.metadata.get(keys.EXTENSION_NAME)
    kind = type.kind
    if extension is not None:
        special = _extension(type, extension, field.metadata.get(keys.EXTENSION_METADATA, b""))
        if special is not None:
            return special
    if kind in _INTEGERS:
        return Storage(type, "integer", *_INTEGERS[kind])
    if kind in TEXTS:
        return Storage(type, "text")
    if kind in _FLOATS:
        return Storage(type, "float", letter=_FLOATS[kind])
    if kind in _DECIMALS:
        return Storage(type, "integer", _DECIMALS[kind], scale=type.scale)
    if kind == "bool":
        return Storage(type, "bool")
    if kind in ("date32", "date64"):
        return Storage(type, "integer", 4 if kind == "date32" else 8, tick=_DAY if kind == "date32" else 10**6)
    if kind in ("timestamp", "time32", "time64", "duration"):
        return Storage(type, "integer", 4 if kind == "time32" else 8, tick=NANOSECONDS[type.unit or "s"])
    if kind == "fixed_size_binary":
        return Storage(type, "uuid" if type.byte_width == 16 else "text")
    return Storage(type, "null" if kind == "null" else "other")


def _extension(type: DataType, name: bytes, metadata: bytes) -> Storage | None:
    if name == b"arrow.bool8" and type.kind == "int8":
        return Storage(type, "bool8", 1)
    if name == b"arrow.uuid" and type.byte_width == 16:
        return Storage(type, "uuid")
    if name == b"arrow.opaque" and type.kind == "fixed_size_binary":
        try:
            named = json.loads(metadata or b"{}").get("type_name")
        except (ValueError, AttributeError):
            named = None
        if named in ("hugeint", "uhugeint") and type.byte_width == 16:
            return Storage(type, "integer", 16, named == "hugeint")
        if named == "time_tz":
            # The constant has lost its offset, so no answer would be DuckDB's.
            return Storage(type, "other")
    return None


# ---- constants ----


def _number(constant: Constant) -> int | Fraction | float | None:
    """Exact; a float stays one, since it may be infinite or NaN. None for what is no number."""
    held = storage(constant.field)
    if held.kind in ("bool", "bool8"):
        return int(bool(constant.value))
    if held.kind == "float":
        value: float = constant.value
        return value
    if held.kind != "integer" or held.tick:
        return None
    raw = _stored(constant.array, held)
    return raw if not held.scale else raw / Fraction(10) ** held.scale


def _stored(array: Array, held: Storage) -> int:
    return int.from_bytes(_slot(array), "little", signed=held.is_signed)


def _slot(array: Array) -> bytes:
    raw = stored_bytes(array, 0)
    if raw is None:
        raise TypeMismatchError("a filter compares with NULL")
    return raw


def _bytes(constant: Constant, column: Storage) -> bytes | None:
    """Of a text as the column stores it; None for what is no text."""
    value = constant.value
    if isinstance(value, str):
        if column.kind == "uuid":
            try:
                return bytes.fromhex(value.strip("{}").replace("-", ""))
            except ValueError:
                raise _mismatch(column, constant) from None
        return value.encode()
    return bytes(value) if isinstance(value, (bytes, bytearray)) else None


def _mismatch(column: Storage, constant: Constant) -> TypeMismatchError:
    return TypeMismatchError(
        f"a column of {column.type} cannot be compared with a constant of {constant.field.type}",
        hint="declare filter_pushdown for functions whose filtered columns have comparable types only",
    )


# ---- comparisons of one column, all of which have to hold ----


def comparisons(path: Path, column: Storage, tests: Sequence[Test]) -> list[Spec]:
    """Leaves of the plan whose conjunction is all ``tests``: one for the bounds, one for each ``!=``."""
    if column.kind == "null":
        return [("none",)]
    if column.kind in ("bool", "bool8"):
        return [_booleans(path, column, tests)]
    make = {"integer": _integers, "float": _floats, "text": _texts, "uuid": _texts}.get(column.kind)
    if make is None:
        raise _mismatch(column, tests[0][1])
    bounds = [test for test in tests if test[0] != "ne"]
    leaves = [make(path, column, bounds, False)] if bounds else []
    leaves += [make(path, column, [("eq", constant)], True) for op, constant in tests if op == "ne"]
    return leaves


_not_null: Final = "null"


def _everything(path: Path) -> Spec:
    return (_not_null, path, False)


def _compare(op: str, left: float, right: int | Fraction | float) -> bool:
    order = int(left > right) - int(left < right)
    return {"eq": order == 0, "ne": order != 0, "lt": order < 0, "le": order <= 0, "gt": order > 0, "ge": order >= 0}[
        op
    ]


def _booleans(path: Path, column: Storage, tests: Sequence[Test]) -> Spec:
    allowed = {0, 1}
    for op, constant in tests:
        number = _number(constant)
        if number is None:
            raise _mismatch(column, constant)
        allowed = {value for value in allowed if _compare(op, value, number)}
    if not allowed:
        return ("none",)
    if len(allowed) == 2:
        return _everything(path)
    # Any byte but zero is true.
    return ("range", path, column.width, True, 0, 0, allowed == {1})


def _integers(path: Path, column: Storage, tests: Sequence[Test], negate: bool) -> Spec:
    least, most = column.least, column.most
    low, high = least, most
    for op, constant in tests:
        below, above = _integer_range(column, op, constant)
        low, high = max(low, below), min(high, above)
    if low > high:
        return _everything(path) if negate else ("none",)
    if low == least and high == most:
        return ("none",) if negate else _everything(path)
    return ("range", path, column.width, column.is_signed, low, high, negate)


def _integer_range(column: Storage, op: str, constant: Constant) -> tuple[int, int]:
    """Stored values that pass, both ends included; clamped by the caller."""
    least, most = column.least, column.most
    value: int | Fraction
    if column.tick:
        held = storage(constant.field)
        if held.kind != "integer" or not held.tick:
            raise _mismatch(column, constant)
        raw = _stored(constant.array, held)
        if held.tick > column.tick:
            # DuckDB reads such a column in its own, coarser unit, cutting the rest off.
            return _cut_range(op, raw, held.tick // column.tick, least, most)
        value = Fraction(raw * held.tick, column.tick)
    else:
        number = _number(constant)
        if number is None:
            raise _mismatch(column, constant)
        if isinstance(number, float):
            if number != number or number in (_INFINITY, -_INFINITY):
                # All integers are less than infinity, which is less than NaN.
                passes = op in (("gt", "ge") if number == -_INFINITY else ("lt", "le"))
                return (least, most) if passes else (most, least)
            number = Fraction(number)
        value = number * 10**column.scale if column.scale >= 0 else Fraction(number) / 10**-column.scale
    if op == "le":
        return least, math.floor(value)
    if op == "lt":
        return least, math.ceil(value) - 1
    if op == "ge":
        return math.ceil(value), most
    if op == "gt":
        return math.floor(value) + 1, most
    return math.ceil(value), math.floor(value)


def _cut_range(op: str, raw: int, factor: int, least: int, most: int) -> tuple[int, int]:
    """Stored values v for which ``v / factor``, cut towards zero, compares with ``raw``."""

    def first(value: int) -> int:
        return value * factor if value > 0 else value * factor - (factor - 1)

    def last(value: int) -> int:
        return value * factor + (factor - 1) if value >= 0 else value * factor

    if op == "le":
        return least, last(raw)
    if op == "lt":
        return least, last(raw - 1)
    if op == "ge":
        return first(raw), most
    if op == "gt":
        return first(raw + 1), most
    return first(raw), last(raw)


# ---- floating point: NaN equals itself and is greater than everything ----


def _floats(path: Path, column: Storage, tests: Sequence[Test], negate: bool) -> Spec:
    low, high = -_INFINITY, _INFINITY
    with_nan = True
    without_numbers = False
    for op, constant in tests:
        value = _number(constant)
        if value is None:
            raise _mismatch(column, constant)
        if value != value:
            with_nan &= op not in ("lt", "gt")
            without_numbers |= op in ("eq", "ge", "gt")
            continue
        if op in ("lt", "le", "eq"):
            with_nan = False
        below, above, strict = _nearest(value, column.letter)
        if op == "eq":
            if strict:
                low, high = _INFINITY, -_INFINITY
            else:
                low, high = max(low, below), min(high, above)
        elif op in ("ge", "gt"):
            bound = _next(below, column.letter, 1) if op == "gt" and not strict else above if strict else below
            if op == "gt" and below == _INFINITY:
                without_numbers = True
            low = max(low, bound)
        else:
            bound = _next(above, column.letter, -1) if op == "lt" and not strict else below if strict else above
            if op == "lt" and above == -_INFINITY:
                without_numbers = True
            high = min(high, bound)
    if without_numbers or low > high:
        # Only NaN is left, if that.
        spec: Spec = ("float", path, -_INFINITY, _INFINITY, True) if with_nan else ("none",)
    elif not with_nan:
        spec = ("float", path, low, high, False)
    elif low == -_INFINITY:
        spec = _everything(path)
    else:
        spec = ("float", path, -_INFINITY, _next(low, column.letter, -1), True)
    return _negated(spec, path) if negate else spec


def _negated(spec: Spec, path: Path) -> Spec:
    if spec[0] == "none":
        return _everything(path)
    if spec[0] == _not_null:
        return ("none",)
    return (*spec[:-1], not spec[-1])


def _nearest(value: int | Fraction | float, letter: str) -> tuple[float, float, bool]:
    """The representable numbers around it, and whether it lies strictly between them."""
    if isinstance(value, float) and value in (_INFINITY, -_INFINITY):
        return value, value, False
    try:
        near = struct.unpack(letter, struct.pack(letter, value))[0]
    except OverflowError:
        near = _INFINITY if value > 0 else -_INFINITY
    if near == value:
        return near, near, False
    if near > value:
        return _next(near, letter, -1), near, True
    return near, _next(near, letter, 1), True


def _next(value: float, letter: str, direction: int) -> float:
    """The neighbour in the type's own precision; infinity has none beyond it."""
    if value == direction * _INFINITY:
        return value
    form, mask = {"<e": ("<H", 0x8000), "<f": ("<I", 1 << 31), "<d": ("<Q", 1 << 63)}[letter]
    bits = struct.unpack(form, struct.pack(letter, value or 0.0))[0]
    order = -(bits & ~mask) if bits & mask else bits
    order += direction
    bits = order if order >= 0 else mask | -order
    found: float = struct.unpack(letter, struct.pack(form, bits))[0]
    return found


# ---- texts: unsigned bytes, a prefix before what it begins ----


def _texts(path: Path, column: Storage, tests: Sequence[Test], negate: bool) -> Spec:
    low: bytes | None = None
    high: bytes | None = None
    low_open = high_open = False
    for op, constant in tests:
        value = _bytes(constant, column)
        if value is None:
            raise _mismatch(column, constant)
        if op in ("gt", "ge", "eq"):
            is_open = op == "gt"
            if low is None or (value, is_open) > (low, low_open):
                low, low_open = value, is_open
        if op in ("lt", "le", "eq"):
            is_open = op == "lt"
            if high is None or value < high or (value == high and is_open):
                high, high_open = value, is_open
    if low is not None and low == high and not low_open and not high_open:
        return ("text", path, "equal", low, negate)
    return ("text", path, "range", low, low_open, high, high_open, negate)


# ---- keys of IN lists ----


def key_array(column: Storage, values: Array, field: Field) -> Array:
    """The values as the column stores them; those that it cannot hold are left out."""
    from vgi_fast.functions.filters.nodes import Constant
    from vgi_fast.wire.arrow import Array as ArrowArray

    given = storage(field)
    same_numbers = (
        column.kind == given.kind == "integer"
        and (column.width, column.is_signed) == (given.width, given.is_signed)
        and (column.scale, column.tick) == (given.scale, given.tick)
    )
    same_floats = column.kind == given.kind == "float" and column.type == given.type
    fixed = "fixed_size_binary" in (column.type.kind, given.type.kind)
    both_text = column.kind == given.kind == "text" and (not fixed or column.type == given.type)
    if (same_numbers or same_floats or both_text) and values.type.kind not in ("dictionary", "run_end_encoded"):
        return values
    if column.kind == "uuid" or column.kind == "text":
        raw = [_bytes(Constant(values.slice(i, 1), field), column) for i in range(len(values)) if values[i] is not None]
        if column.type.kind == "fixed_size_binary":
            raw = [value for value in raw if value is not None and len(value) == column.type.byte_width]
            return ArrowArray.from_pylist(raw, column.type)
        return ArrowArray.from_pylist(raw, type_named("binary"))
    found: list[Any] = []
    for i in range(len(values)):
        if values[i] is None:
            continue
        constant = Constant(values.slice(i, 1), field)
        if column.kind == "integer":
            low, high = _integer_range(column, "eq", constant)
            if low == high and column.least <= low <= column.most:
                found.append(low)
        elif column.kind == "float":
            number = _number(constant)
            if number is None:
                raise _mismatch(column, constant)
            below, _, strict = (math.nan, 0.0, False) if number != number else _nearest(number, column.letter)
            if not strict:
                found.append(below)
        else:
            raise _mismatch(column, constant)
    if column.kind == "float":
        return ArrowArray.from_pylist(found, column.type)
    raw_type = type_named(f"fixed_size_binary[{column.width}]")
    if column.width >= 16:
        packed = [number.to_bytes(column.width, "little", signed=column.is_signed) for number in found]
        return ArrowArray.from_pylist(packed, raw_type)
    name = f"{'' if column.is_signed else 'u'}int{8 * column.width}"
    return ArrowArray.from_pylist(found, type_named(name))
