"""What does a pushed filter cost for each batch, and what selecting the rows that pass?

Five columns, one of strings; beside it pyarrow's kernels doing the same. Sizes are DuckDB's batch and a large one.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.harness import Case, core_main
from vgi_fast import RecordBatch
from vgi_fast.wire.arrow import Array, FilterPlan, KeySet

SIZES: Final = (2048, 65536)
SELECTIVITIES: Final = (0, 1, 50, 100)
KEYS: Final = 14_000
_RANGE: Final = 10_000
_LEAST, _MOST = -(2**63), 2**63 - 1


def five_columns(rows: int, seed: int = 7) -> pa.RecordBatch:
    rng = Random(seed)
    numbers = [rng.randrange(_RANGE) for _ in range(rows)]
    return pa.record_batch(
        {
            "key": pa.array(numbers, pa.int64()),
            "price": pa.array([rng.random() for _ in range(rows)]),
            "name": pa.array([f"name {number}" for number in numbers]),
            "quantity": pa.array([rng.randrange(100) for _ in range(rows)], pa.int32()),
            "total": pa.array([rng.randrange(10**9) for _ in range(rows)], pa.int64()),
        }
    )


def cases() -> list[Case]:
    return list(_cases())


def _cases() -> "Iterator[Case]":
    for rows in SIZES:
        theirs = five_columns(rows)
        mine = RecordBatch.from_arrow(theirs)
        for percent in SELECTIVITIES:
            bound = _RANGE * percent // 100
            plan = FilterPlan(mine.schema, ("range", (0,), 8, True, _LEAST, bound - 1, False))
            if percent in (1, 50):
                yield _mask(f"int64 < constant, {percent} %, {rows}", plan, mine, _less(theirs, bound))
            yield Case(
                f"… with selection of 5 columns, {percent} %, {rows}",
                {"vgi_fast": _applied(plan, mine), "pyarrow": _filtered(theirs, bound)},
                plain=_plain,
            )
        yield from _other_masks(rows, mine, theirs)


def _less(theirs: pa.RecordBatch, bound: int) -> Callable[[], Any]:
    column = theirs.column(0)
    return lambda: pc.less(column, bound)


def _applied(plan: FilterPlan, mine: RecordBatch) -> Callable[[], Any]:
    return lambda: plan.apply(mine)


def _filtered(theirs: pa.RecordBatch, bound: int) -> Callable[[], Any]:
    column = theirs.column(0)
    return lambda: theirs.filter(pc.less(column, bound))


def _plain(batch: Any) -> Any:
    return batch.to_pydict()


def _mask(name: str, plan: FilterPlan, mine: RecordBatch, theirs: Callable[[], Any]) -> Case:
    return Case(name, {"vgi_fast": lambda: plan.mask(mine), "pyarrow": theirs}, plain=lambda mask: mask.to_pylist())


def _other_masks(rows: int, mine: RecordBatch, theirs: pa.RecordBatch) -> "Iterator[Case]":
    rng = Random(1)
    key, price, name = theirs.column(0), theirs.column(1), theirs.column(2)
    numbers = pa.array([rng.randrange(2**50) if rng.random() < 0.9 else rng.randrange(_RANGE) for _ in range(KEYS)])
    plan = FilterPlan(mine.schema, ("in", (0,), KeySet(Array.from_arrow(numbers))))
    yield _mask(f"int64 IN {KEYS} keys, {rows}", plan, mine, lambda: pc.is_in(key, value_set=numbers))
    texts = pa.array([f"name {rng.randrange(3 * _RANGE)}" for _ in range(KEYS)])
    plan = FilterPlan(mine.schema, ("in", (2,), KeySet(Array.from_arrow(texts))))
    yield _mask(f"utf8 IN {KEYS} keys, {rows}", plan, mine, lambda: pc.is_in(name, value_set=texts))
    plan = FilterPlan(mine.schema, ("text", (2,), "equal", b"name 77", False))
    yield _mask(f"utf8 = constant, {rows}", plan, mine, lambda: pc.equal(name, "name 77"))
    plan = FilterPlan(mine.schema, ("text", (2,), "prefix", b"name 5", False))
    yield _mask(f"prefix(utf8, constant), {rows}", plan, mine, lambda: pc.starts_with(name, "name 5"))
    plan = FilterPlan(mine.schema, ("text", (2,), "contains", b" 99", False))
    yield _mask(f"contains(utf8, constant), {rows}", plan, mine, lambda: pc.match_substring(name, " 99"))
    both = [
        ("range", (0,), 8, True, 1000, 8000, False),
        ("float", (1,), -float("inf"), 0.5, False),
        ("text", (2,), "equal", b"name 77", False),
    ]
    plan = FilterPlan(mine.schema, ("and", both))

    def three() -> Any:
        mask = pc.and_kleene(pc.greater_equal(key, 1000), pc.less_equal(key, 8000))
        mask = pc.and_kleene(mask, pc.less_equal(price, 0.5))
        return pc.and_kleene(mask, pc.equal(name, "name 77"))

    yield _mask(f"range AND float AND utf8, {rows}", plan, mine, three)


if __name__ == "__main__":
    core_main("core.filters", __doc__, cases())
