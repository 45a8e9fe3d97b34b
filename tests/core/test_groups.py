"""Nested records, groups, reductions, collected values and window indexes of the core."""

import math
import random
import struct
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgi_fast._core import (
    REDUCTIONS,
    STATE_LAYOUT,
    Array,
    Groups,
    GroupStore,
    RecordBatch,
    Reduction,
    Schema,
    StateJournal,
    WindowIndex,
    cell,
    cell_digest,
    collect_parts,
    encode_row,
    encode_stream,
    join_parts,
    list_array,
    nested,
    partition_key,
    partition_starts,
    parts_to_array,
    running,
)
from vgi_fast.errors import ProtocolError, StorageError, TypeMismatchError, VgiError

INNER = Schema.parse("__vgi_group_id: int64, col_0: utf8")
RECORD = Schema.parse("name: utf8, batch: binary, other: binary, list: list<int64>")
OUTER = Schema.parse("request: binary")


def request(rows: int = 3) -> RecordBatch:
    inner = RecordBatch.from_pydict(INNER, {"__vgi_group_id": range(rows), "col_0": ["x" * n for n in range(rows)]})
    record = encode_row(RECORD, {"name": "f", "batch": encode_stream(INNER, [inner]), "list": [1, 2]})
    return RecordBatch.from_row(OUTER, {"request": record})


# -- nested records ------------------------------------------------------------------------------


def test_records_are_read_in_place() -> None:
    record = nested(request())
    assert record is not None
    assert (cell(record, 0), cell(record, 2), cell(record, 3)) == ("f", None, [1, 2])
    batch = nested(record, 1)
    assert batch is not None
    del record
    assert batch.to_pydict() == {"__vgi_group_id": [0, 1, 2], "col_0": ["", "x", "xx"]}


def test_absent_cells() -> None:
    record = nested(request())
    assert record is not None
    assert nested(record, 2) is None
    for column in (-1, 4):
        with pytest.raises(IndexError):
            nested(record, column)
        with pytest.raises(IndexError):
            cell(record, column)
    with pytest.raises(ProtocolError, match="not binary"):
        nested(record, 3)
    with pytest.raises(ProtocolError, match="expected one row"):
        nested(RecordBatch.from_pydict(OUTER, {"request": []}))


def test_digests_tell_requests_apart() -> None:
    digests = {cell_digest(request(rows), 0) for rows in range(60)}
    assert len(digests) == 60
    assert cell_digest(request(5), 0) == cell_digest(request(5), 0)
    flipped = []
    good = cell(request(5), 0)
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1
        flipped.append(cell_digest(RecordBatch.from_row(OUTER, {"request": bytes(bad)}), 0))
    assert len(set(flipped)) == len(good)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32))
def test_mutated_requests_raise_or_decode(seed: int) -> None:
    rng = random.Random(seed)
    bad = bytearray(cell(request(8), 0))
    for _ in range(rng.randrange(1, 6)):
        bad[rng.randrange(len(bad))] = rng.randrange(256)
    if rng.random() < 0.3:
        del bad[rng.randrange(len(bad)) :]
    try:
        record = nested(RecordBatch.from_row(OUTER, {"request": bytes(bad)}))
        batch = None if record is None else nested(record, 1)
        if batch is not None:
            groups = Groups(16)
            groups.assign(batch.column(0))
            collect_parts(groups, batch.column(1))
    except (VgiError, IndexError, KeyError):
        pass


# -- groups --------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [1, 5, 5000, 2**39])
def test_groups_of_rows(spread: int) -> None:
    rng = random.Random(spread)
    groups = Groups(16)
    for rows in (0, 1, 2, 100, 3000):
        ids = [rng.randrange(spread) for _ in range(rows)]
        assert groups.assign(Array.from_pylist(ids, "int64")) == len(set(ids))
        distinct = groups.ids_list()
        assert distinct == list(dict.fromkeys(ids))
        assert [distinct[position] for position in groups.locals_list()] == ids
        assert groups.locals_array().tolist() == groups.locals_list()


def test_bad_group_ids() -> None:
    groups = Groups(16)
    with pytest.raises(ProtocolError, match="null"):
        groups.assign(Array.from_pylist([1, None], "int64"))
    with pytest.raises(TypeMismatchError, match="int64"):
        groups.assign(Array.from_pylist([1], "int32"))
    for bad in (-1, 2**41):
        with pytest.raises(ProtocolError, match="group ids"):
            groups.assign_list([1, bad])
    with pytest.raises(ValueError, match="records of"):
        Groups(7)


def test_views_outlive_the_next_request() -> None:
    groups = Groups(16)
    groups.assign_list([1, 2])
    groups.set_records([b"\x01" * 16, None])
    kept = np.frombuffer(groups.records_view(), np.uint8)
    groups.assign_list([3, 4])
    groups.set_records([None, b"\x02" * 16])
    assert kept[:16].tolist() == [1] * 16
    with pytest.raises(StorageError, match="5 bytes where 16"):
        groups.set_records([b"\x01" * 5, None])


# -- reductions ----------------------------------------------------------------------------------

NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "bool")
OTHERS = ("date32", "timestamp[us]", "time64[us]", "duration[ns]", "float16")


def values_of(type: str, rows: int, rng: random.Random) -> list[Any]:
    kind = Array.from_pylist([], type).type.kind
    if kind == "bool":
        values: list[Any] = [rng.random() < 0.5 for _ in range(rows)]
    elif kind.startswith("float"):
        values = [float(rng.randrange(-99, 100)) for _ in range(rows)]
    elif kind.startswith(("int", "uint")):
        bits = int(kind.lstrip("uint"))
        low = 0 if kind.startswith("u") else -(2 ** (bits - 1))
        values = [rng.randrange(low, low + 2**bits) for _ in range(rows)]
    else:
        raw = np.array([rng.randrange(0, 86_400) for _ in range(rows)], "i4" if kind == "date32" else "i8")
        exact = raw if kind == "date32" else raw.view("M8[us]") if kind == "timestamp" else raw
        if kind == "duration":
            exact = raw.view("m8[ns]")
        if kind == "time64":
            import datetime

            values = [datetime.time(n // 3600, n // 60 % 60, n % 60) for n in raw.tolist()]
        else:
            values = Array.from_numpy(exact, type).to_pylist()
    return [None if rng.random() < 0.2 else value for value in values]


def expected(name: str, type: str, values: list[Any]) -> Any:
    some = [value for value in values if value is not None]
    if name == "count":
        return len(some)
    if not some:
        return None
    integers = not type.startswith("float")
    match name:
        case "sum" | "product":
            whole = sum(some) if name == "sum" else math.prod(some)
            if not integers:
                return pytest.approx(whole)
            modulo = int(whole) % 2**64
            return modulo if type.startswith("uint") or modulo < 2**63 else modulo - 2**64
        case "mean":
            return pytest.approx(math.fsum(some) / len(some))
        case "min" | "max":
            return (min if name == "min" else max)(some)
        case "first" | "last":
            return some[0 if name == "first" else -1]
    found = some[0]
    for value in some[1:]:
        found = found & value if name == "bit_and" else found | value if name == "bit_or" else found ^ value
    return found


@pytest.mark.parametrize("type", [*NUMBERS, *OTHERS])
@pytest.mark.parametrize("name", sorted(set(REDUCTIONS) - {"count_rows", "variance", "approx_distinct"}))
def test_reductions_against_python(name: str, type: str) -> None:
    try:
        reduction = Reduction(name, type)
    except TypeMismatchError:
        assert name not in ("count", "min", "max", "first", "last")
        return
    rng = random.Random(f"{name}{type}")
    schema = Schema.parse(f"a: int64, x: {type}")
    groups = Groups(reduction.stride)
    stored: dict[int, bytes | None] = {}
    model: dict[int, list[Any]] = defaultdict(list)
    for rows, spread in ((0, 1), (1, 1), (50, 1), (50, 7), (300, 30)):
        ids = [rng.randrange(spread) for _ in range(rows)]
        values = values_of(type, rows, rng)
        whole = RecordBatch.from_pydict(schema, {"a": [0, *ids], "x": [None, *values]})
        batch = whole.slice(1, rows)  # so that buffers start in the middle
        groups.assign(batch.column(0))
        groups.set_records([stored.get(one) for one in groups.ids_list()])
        reduction.update(groups, batch, 1)
        stored.update(zip(groups.ids_list(), groups.get_records(), strict=True))
        for one, value in zip(ids, values, strict=True):
            model[one].append(value)
    pairs = [(rng.randrange(30), rng.randrange(40, 44)) for _ in range(20)]
    groups.assign_pairs(*(Array.from_pylist([pair[i] for pair in pairs], "int64") for i in range(2)))
    groups.set_records([stored.get(one) for one in groups.ids_list()])
    reduction.combine(groups)
    stored.update(zip(groups.ids_list(), groups.get_records(), strict=True))
    for source, target in pairs:
        model[target] = model[target] + model[source]
    wanted = [rng.randrange(45) for _ in range(60)]
    groups.assign_list(wanted)
    groups.set_records([stored.get(one) for one in groups.ids_list()])
    answer = reduction.finish(groups)
    assert answer.type == reduction.result
    assert answer.to_pylist() == [expected(name, type, model[one]) for one in wanted]


def test_nan_is_the_greatest() -> None:
    nan = math.nan
    schema = Schema.parse("x: float64")
    for name, values, result in (("max", [1.0, nan, 2.0], nan), ("min", [nan, 3.0, nan], 3.0), ("min", [nan], nan)):
        reduction = Reduction(name, "float64")
        groups = Groups(reduction.stride)
        groups.assign_list([0] * len(values))
        groups.set_records([None])
        reduction.update(groups, RecordBatch.from_pydict(schema, {"x": values}), 0)
        found = reduction.finish(groups)[0]
        assert math.isnan(found) if math.isnan(result) else found == result


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("median", "int64"), "no reduction 'median'"),
        (("sum",), "sum takes a column"),
        (("sum", "utf8"), "sum of utf8 is not possible"),
        (("sum", "date32"), "sum of date32 is not possible"),
        (("bit_or", "float64"), "bit_or of float64 is not possible"),
        (("min", "int64", "int32"), "min gives int64, not int32"),
    ],
)
def test_impossible_reductions(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises((ValueError, TypeMismatchError), match=message):
        Reduction(*arguments)  # type: ignore[arg-type]


def test_a_column_of_another_type() -> None:
    reduction = Reduction("sum", "int64")
    groups = Groups(reduction.stride)
    groups.assign_list([0])
    groups.set_records([None])
    with pytest.raises(TypeMismatchError, match="expected a column of int64, got utf8"):
        reduction.update(groups, RecordBatch.from_pydict(Schema.parse("x: utf8"), {"x": ["a"]}), 0)
    with pytest.raises(ProtocolError, match="column 1 is missing"):
        reduction.update(groups, RecordBatch.from_pydict(Schema.parse("x: int64"), {"x": [1]}), 1)


# -- collected values ----------------------------------------------------------------------------


@pytest.mark.parametrize("type", ["int64", "int8", "bool", "utf8", "large_binary", "decimal128(20, 2)", "date32"])
@pytest.mark.parametrize("keep", [False, True])
def test_values_survive_being_collected(type: str, keep: bool) -> None:
    rng = random.Random(type)
    if type in ("utf8", "large_binary"):
        values: list[Any] = [rng.choice([None, "", "ä" * rng.randrange(5), "text"]) for _ in range(200)]
        if type == "large_binary":
            values = [None if value is None else value.encode() for value in values]
    elif type.startswith("decimal"):
        from decimal import Decimal

        values = [rng.choice([None, Decimal(rng.randrange(-(10**15), 10**15)).scaleb(-2)]) for _ in range(200)]
    else:
        values = values_of(type, 200, rng)
    ids = [rng.randrange(9) for _ in values]
    groups = Groups(24)
    groups.assign_list(ids)
    parts = collect_parts(groups, Array.from_pylist(values, type), keep)
    for one, part in zip(groups.ids_list(), parts, strict=True):
        mine = [v for v, group in zip(values, ids, strict=True) if group == one and (keep or v is not None)]
        if part is None:
            assert mine == []
            continue
        twice = parts_to_array([part, part], type, keep)
        assert str(twice.type) == type
        assert twice.to_pylist() == mine * 2
        listed = list_array(twice, [len(mine), None, len(mine), 0])
        assert listed.to_pylist() == [mine, None, mine, []]
        if type == "utf8" and not keep:
            assert join_parts([part, part], b", ") == ", ".join(mine * 2).encode()


def test_values_that_cannot_be_collected() -> None:
    groups = Groups(24)
    groups.assign_list([0])
    with pytest.raises(TypeMismatchError, match="cannot be collected"):
        collect_parts(groups, Array.from_pylist([[1]], "list<int64>"))


def test_damaged_parts_are_errors() -> None:
    groups = Groups(24)
    groups.assign_list([0] * 40)
    (part,) = collect_parts(groups, Array.from_pylist(["text"] * 40, "utf8"))
    assert part is not None
    rng = random.Random(3)
    refused = 0
    for _ in range(500):
        bad = bytearray(part)
        if rng.random() < 0.4:
            del bad[rng.randrange(len(bad)) :]
        else:
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        try:
            parts_to_array([bytes(bad)], "utf8")
        except StorageError:
            refused += 1
        try:
            join_parts([bytes(bad)], b"")
        except StorageError:
            refused += 1
    assert refused > 400


# -- shared records ------------------------------------------------------------------------------


def store_of(memory: bytearray, stride: int = 16) -> GroupStore:
    def more(end: int) -> bytearray:
        raise StorageError("full")

    return GroupStore(stride, b"n" * 16, memory, more, lambda start, end: None)


def test_hostile_journals() -> None:
    """Whatever a journal holds: a StorageError, or a change inside of the records."""
    memory = bytearray(1 << 18)
    store = store_of(memory)
    journal = bytearray(4096)
    rng = random.Random(5)
    for _ in range(3000):
        data = bytearray(4096)
        struct.pack_into("<QQ", data, STATE_LAYOUT["groups"], rng.choice([0, 1, 5, 200, 2**63]), rng.choice([16, 8, 0]))
        for _ in range(rng.randrange(40)):
            at = STATE_LAYOUT["journal_body"] + 8 * rng.randrange(400)
            struct.pack_into("<q", data, at, rng.choice([0, 3, 9000, 10**6, -1, 2**62, rng.randrange(-(2**63), 2**63)]))
        try:
            store.replay(bytes(data[: rng.choice([4096, 4096, 300, 100])]))
        except StorageError:
            pass
    with pytest.raises(StorageError, match="shorter than its header"):
        StateJournal(journal[:50])
    with pytest.raises(StorageError, match="shorter than its header"):
        store_of(bytearray(100))


# -- windows -------------------------------------------------------------------------------------


def frames_record(starts: Any, ends: Any) -> RecordBatch:
    schema = Schema.parse("s: list<int64>, e: list<int64>")
    return RecordBatch.from_row(schema, {"s": starts, "e": ends})


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=40), st.data())
def test_hostile_frames(values: list[int | None], data: st.DataObject) -> None:
    """Bounds may be anything."""
    index = WindowIndex(Reduction("sum", "int64"), RecordBatch.from_pydict(Schema.parse("x: int64"), {"x": values}), 0)
    bounds = st.one_of(st.integers(-3, 43), st.integers(-(2**63), 2**63 - 1))
    frames = data.draw(st.lists(st.tuples(bounds, bounds), max_size=3))
    found = index.one(frames_record([s for s, _ in frames], [e for _, e in frames]), 0, 1)
    some = [v for s, e in frames for v in values[max(s, 0) : max(min(e, len(values)), 0)] if v is not None]
    if not some:
        assert found is None
    else:
        assert found is not None
        assert int.from_bytes(found, "little", signed=True) == (sum(some) + 2**63) % 2**64 - 2**63


def test_frames_that_are_not_lists() -> None:
    index = WindowIndex(Reduction("sum", "int64"), RecordBatch.from_pydict(Schema.parse("x: int64"), {"x": [1]}), 0)
    with pytest.raises(ProtocolError, match="frames are null"):
        index.one(frames_record(None, [1]), 0, 1)
    with pytest.raises(ProtocolError, match="a frame is null"):
        index.one(frames_record([None], [1]), 0, 1)
    with pytest.raises(ProtocolError, match="without the list"):
        index.one(frames_record([0], [1]), 0, 5)
    with pytest.raises(ProtocolError, match="filter mask of 1 bytes for 20 rows"):
        WindowIndex(
            Reduction("count_rows"), RecordBatch.from_pydict(Schema.parse("x: int64"), {"x": range(20)}), 0, b"\xff"
        )


# -- streams -------------------------------------------------------------------------------------


@pytest.mark.parametrize("type", ["int64", "int32", "utf8", "bool", "float64", "list<int64>", "struct<a: int64>"])
def test_keys_are_equal_where_values_are(type: str) -> None:
    choices: dict[str, list[Any]] = {
        "utf8": [None, "", "a", "ab"],
        "bool": [None, True, False],
        "float64": [None, 0.0, -0.0, math.nan, 1.0],
        "list<int64>": [None, [], [1], [None]],
        "struct<a: int64>": [None, {"a": None}, {"a": 1}],
    }
    rng = random.Random(type)
    values = [rng.choice(choices.get(type, [None, 0, 1, -1])) for _ in range(100)]
    schema = Schema.parse(f"a: {type}, b: {type}")
    batch = RecordBatch.from_pydict(schema, {"a": values, "b": ["x"] * 100 if type == "utf8" else [None] * 100})
    keys = [partition_key(batch, 2, row) for row in range(100)]
    starts = partition_starts(batch, 2)

    def same(a: Any, b: Any) -> bool:
        both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
        return both_nan or ((a is None) == (b is None) and a == b)

    for row in range(1, 100):
        assert (keys[row] == keys[row - 1]) == same(values[row], values[row - 1])
        assert bool(starts[row]) != same(values[row], values[row - 1])
    assert starts[0] == 0


def test_running_results_continue() -> None:
    reduction = Reduction("sum", "int64")
    batch = RecordBatch.from_pydict(Schema.parse("x: int64"), {"x": [1, None, 2, 3]})
    results, record = running(reduction, batch, 0, b"\0\0\1\0", None)
    assert results.to_pylist() == [1, 1, 2, 5]
    results, _ = running(reduction, batch, 0, b"\0\0\0\0", record)
    assert results.to_pylist() == [6, 6, 8, 11]
    with pytest.raises(ValueError, match="other rows"):
        running(reduction, batch, 0, b"\0", None)
