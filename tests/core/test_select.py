"""Selection: chosen rows of columns of every type, as pyarrow or plain Python select them."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.generators import TYPES, random_array
from vgi_fast import Array, RecordBatch, Schema
from vgi_fast._core import allow_wide_kernels
from vgi_fast.wire.arrow import FilterPlan, KeySet, decode_stream, encode_stream, stored_bytes


def masks(rng: Random, length: int) -> list[list[bool]]:
    share = rng.random()
    start = rng.randrange(length)
    end = rng.randint(start + 1, length)
    blocks = [rng.random() < 0.5 for _ in range(length // 40 + 1)]
    return [
        [rng.random() < share for _ in range(length)],
        [rng.random() < 0.02 for _ in range(length)],
        [start <= i < end for i in range(length)],
        [blocks[i // 40] for i in range(length)],
        [True] * length,
        [False] * length,
    ]


def selected(batch: RecordBatch, mask: list[bool]) -> RecordBatch:
    return FilterPlan(batch.schema, ("call", lambda _: mask)).apply(batch)


@pytest.mark.parametrize("text", TYPES)
def test_every_type(text: str) -> None:
    rng = Random(text)
    for offset in (0, 5):
        theirs = random_array(rng, TYPES[text], 300).slice(offset)
        column = Array.from_arrow(theirs)
        batch = RecordBatch(Schema.of({"c": column.type, "d": "int64"}), [
            column, Array.from_numpy(np.arange(len(column)), "int64")
        ])  # fmt: skip
        for mask in masks(rng, batch.num_rows):
            made = selected(batch, mask)
            wanted = [value for value, keep in zip(column.to_pylist(), mask, strict=True) if keep]
            assert repr(made.column(0).to_pylist()) == repr(wanted)
            assert made.column(1).to_pylist() == [i for i, keep in enumerate(mask) if keep]
            if "union" not in text and not text.startswith("run_end"):
                assert made.column(0).null_count == sum(value is None for value in wanted)
            _, again = decode_stream(encode_stream(made.schema, [made]))
            assert repr(again[0].column(0).to_pylist()) == repr(wanted)
            made.column(0).to_arrow().validate(full=True)


def test_nothing_is_copied_where_all_or_neighbours_pass() -> None:
    values = np.arange(1000)
    batch = RecordBatch(Schema.parse("n: int64"), [Array.from_numpy(values, "int64")])
    assert selected(batch, [True] * 1000) is batch
    part = selected(batch, [100 <= i < 300 for i in range(1000)])
    assert np.shares_memory(part.column(0).to_numpy(), values)
    assert part.column(0).to_numpy().tolist() == list(range(100, 300))


def test_metadata_stays() -> None:
    batch = RecordBatch(Schema.parse("n: int64"), [Array.from_pylist([1, 2, 3], "int64")], 3, {b"k": b"v"})
    for mask in ([True, False, True], [False] * 3, [False, True, False], [True] * 3):
        assert selected(batch, mask).metadata == {b"k": b"v"}


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (("strange",), ValueError),
        (("range", (5,), 8, True, 0, 1, False), ValueError),
        (("range", (0, 1), 8, True, 0, 1, False), ValueError),
        (("range", (0,), 3, True, 0, 1, False), ValueError),
        (("range", (0,), 4, True, 0, 1, False), TypeError),
        (("range", (0,), 8, True, 0, 2**70, False), OverflowError),
        (("text", (0,), "equal", b"x", False), TypeError),
        (("text", (1,), "equal", None, False), TypeError),
        (("text", (1,), "about", b"x", False), KeyError),
        (("float", (0,), 0.0, 1.0, False), TypeError),
        (("in", (0,), None), TypeError),
        (("list", (0,), ("range", (0,), 8, True, 0, 1, False)), TypeError),
        (("arithmetic", (0,), [("%", 0)], 0, 1, False), ValueError),
    ],
)
def test_plans_that_do_not_fit(spec: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        FilterPlan(Schema.parse("n: int64, s: utf8"), spec)


def test_batches_of_another_schema_are_refused() -> None:
    plan = FilterPlan(Schema.parse("n: int64"), ("null", (0,), True))
    with pytest.raises(TypeError, match="a filter of"):
        plan.mask(RecordBatch.from_pydict(Schema.parse("s: utf8"), {"s": ["a"]}))


def test_patching() -> None:
    schema = Schema.parse("n: int64")
    batch = RecordBatch.from_pydict(schema, {"n": [1, 2, 3]})
    low = ("range", (0,), 8, True, 2, 2**63 - 1, False)
    plan = FilterPlan(schema, ("and", [low, ("range", (0,), 8, True, -(2**63), 2, False)]))
    assert plan.mask(batch).to_pylist() == [False, True, False]
    plan.patch([("range", (0,), 8, True, -(2**63), 3, False)], 1)
    assert plan.mask(batch).to_pylist() == [False, True, True]
    with pytest.raises(ValueError, match="leaves"):
        plan.patch([low, low, low])


@pytest.mark.parametrize("make", [lambda rng: rng.randrange(40), lambda rng: rng.randrange(2**60)])
def test_sets(make: Callable[[Random], int]) -> None:
    rng = Random(5)
    keys = [make(rng) for _ in range(500)]
    column = [*keys[:50], None, *[make(rng) for _ in range(300)], -1, 0, 2**63 - 1]
    schema = Schema.parse("n: int64, s: utf8")
    batch = RecordBatch.from_pydict(schema, {"n": column, "s": [None if n is None else f"<{n}>" for n in column]})
    numbers = KeySet(Array.from_pylist([*keys, None], "int64"))
    texts = KeySet(Array.from_pylist([None, *[f"<{key}>" for key in keys]], "utf8_view"))
    assert len(numbers) == len(texts) == len(set(keys))
    wanted = [n in set(keys) for n in column]
    for path, known in ((0, numbers), (1, texts)):
        assert FilterPlan(schema, ("in", (path,), known)).mask(batch).to_pylist() == wanted
    empty = KeySet(Array.from_pylist([None], "int64"))
    assert FilterPlan(schema, ("in", (0,), empty)).count(batch) == 0
    with pytest.raises(TypeError):
        KeySet(Array.from_pylist([[1]], "list<int64>"))


def test_arithmetic() -> None:
    schema = Schema.parse("n: int64")
    values = [None, 0, 7, -7, 12, 2**40]
    batch = RecordBatch.from_pydict(schema, {"n": values})
    plan = FilterPlan(schema, ("arithmetic", (0,), [("*", 3), ("-", 1), ("%", 5)], 0, 0, False))
    assert plan.mask(batch).to_pylist() == [n is not None and int(np.fmod(n * 3 - 1, 5)) == 0 for n in values]
    plan = FilterPlan(schema, ("arithmetic", (0,), [("*", 2**40)], 0, 0, False))
    with pytest.raises(ValueError, match="left the range"):
        plan.mask(batch)


def test_stored_bytes() -> None:
    array = Array.from_pylist([None, -2], "int16")
    assert stored_bytes(array, 0) is None and stored_bytes(array, 1) == b"\xfe\xff"
    with pytest.raises(IndexError):
        stored_bytes(array, 2)
    with pytest.raises(TypeError):
        stored_bytes(Array.from_pylist(["a"], "utf8"), 0)


def test_large_batches_of_many_columns() -> None:
    rng = Random(1)
    rows = 70_000
    theirs = pa.record_batch({
        "n": pa.array([rng.randrange(1000) for _ in range(rows)]),
        "s": pa.array([None if rng.random() < 0.1 else "x" * rng.randrange(30) for _ in range(rows)]),
        "b": pa.array([rng.random() < 0.5 for _ in range(rows)]),
    })  # fmt: skip
    batch = RecordBatch.from_arrow(theirs)
    plan = FilterPlan(batch.schema, ("range", (0,), 8, True, 0, 499, False))
    assert plan.apply(batch).to_arrow().equals(theirs.filter(pc.less(theirs.column(0), 500)))


@pytest.fixture(params=["wide", "portable"])
def kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    allow_wide_kernels(request.param == "wide")
    yield
    allow_wide_kernels(True)


def edge_columns(rng: Random, rows: int, longest: int) -> pa.RecordBatch:
    """Every width that has a loop of its own, with and without nulls."""

    def some(make: Callable[[], Any], nulls: bool) -> list[Any]:
        return [None if nulls and rng.random() < 0.3 else make() for _ in range(rows)]

    def text() -> str:
        return "x" * rng.randint(0, longest)

    return pa.record_batch({
        "key": pa.array([rng.randrange(1000) for _ in range(rows)], pa.int64()),
        "n8": pa.array(some(lambda: rng.randrange(100), True), pa.int8()),
        "n16": pa.array(some(lambda: rng.randrange(100), False), pa.int16()),
        "n32": pa.array(some(lambda: rng.randrange(-(2**31), 2**31), True), pa.int32()),
        "f32": pa.array(some(rng.random, False), pa.float32()),
        "n64": pa.array(some(lambda: rng.randrange(-(2**63), 2**63), True), pa.int64()),
        "n128": pa.array(some(lambda: rng.randrange(10**30), False), pa.decimal128(38)),
        "five": pa.array(some(lambda: rng.randbytes(5), False), pa.binary(5)),
        "flag": pa.array(some(lambda: rng.random() < 0.5, True)),
        "text": pa.array(some(text, True)),
        "large": pa.array(some(text, False), pa.large_utf8()),
        "view": pa.array(some(text, False), pa.string_view()),
        "struct": pa.array([{"a": each, "b": text()} for each in range(rows)]),
        "list": pa.array([[each] * rng.randrange(3) for each in range(rows)]),
    })  # fmt: skip


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("longest", [0, 9, 16, 17, 32, 33, 200])
def test_lengths_of_texts_and_slices(longest: int) -> None:
    """Lengths around a word, offsets inside of bytes, and shares on both sides of where loops change."""
    rng = Random(longest)
    whole = edge_columns(rng, 700, longest)
    for rows in (1, 7, 63, 64, 65, 129, 640):
        for offset in (0, 3, 59):
            theirs = whole.slice(offset, rows)
            batch = RecordBatch.from_arrow(theirs)
            values = theirs.to_pydict()
            for share in (0.03, 0.1, 0.3, 0.6, 0.95):
                mask = [rng.random() < share for _ in range(rows)]
                made = selected(batch, mask)
                kept = [i for i, keep in enumerate(mask) if keep]
                assert made.to_arrow().to_pydict() == {name: [each[i] for i in kept] for name, each in values.items()}
            made.to_arrow().validate(full=True)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    ("kind", "code", "low", "high"),
    [
        ("int64", "range", -(2**63), 4),
        ("int64", "range", -5, 2**63 - 1),
        ("int64", "range", 3, 3),
        ("uint64", "range", 2**63, 2**64 - 1),
        ("int32", "range", -(2**31), -1),
        ("uint32", "range", 2**31, 2**32 - 1),
        ("int16", "range", -3, 5),
        ("uint8", "range", 0, 127),
        ("float64", "float", -1.5, 1e300),
        ("float32", "float", -np.inf, 0.0),
        ("float16", "float", -2.0, 0.5),
    ],
)
@pytest.mark.parametrize("negate", [False, True])
def test_ranges_at_the_ends_of_a_type(kind: str, code: str, low: Any, high: Any, negate: bool) -> None:
    rng = Random(kind)
    if code == "float":
        edges = [low, high, 0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -2.0, 6e-8]
    else:
        least, most = np.iinfo(kind).min, np.iinfo(kind).max
        near = {low - 1, low, low + 1, high - 1, high, high + 1, least, most, 0}
        edges = sorted(int(value) for value in near if least <= value <= most)
    values = np.array([rng.choice(edges) for _ in range(300)], dtype=kind)
    for offset, rows in ((0, 300), (1, 64), (3, 65), (0, 63), (5, 1)):
        column = Array.from_numpy(values, kind).slice(offset, rows)
        schema = Schema.of({"c": kind})
        bits = values.dtype.itemsize
        spec = (
            ("float", (0,), float(low), float(high), negate)
            if code == "float"
            else ("range", (0,), bits, kind.startswith("int"), low, high, negate)
        )
        got = FilterPlan(schema, spec).mask(RecordBatch(schema, [column])).to_pylist()
        part = values[offset : offset + rows]
        assert got == (((part >= values.dtype.type(low)) & (part <= values.dtype.type(high))) ^ negate).tolist()


def test_loops_for_any_processor_give_the_same_bytes() -> None:
    rng = Random(3)
    batch = RecordBatch.from_arrow(edge_columns(rng, 5000, 20))
    streams = []
    for allowed in (True, False):
        allow_wide_kernels(allowed)
        try:
            plan = FilterPlan(batch.schema, ("range", (0,), 8, True, 100, 600, False))
            streams.append(encode_stream(batch.schema, [plan.apply(batch)]))
        finally:
            allow_wide_kernels(True)
    assert streams[0] == streams[1]
