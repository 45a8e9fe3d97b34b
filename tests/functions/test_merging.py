"""What filters leave of several batches is sent together: nothing is lost, reordered or held back for long."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vgi_fast import Array, RecordBatch, Schema
from vgi_fast.functions import output
from vgi_fast.functions.output import DenseProducer

SCHEMA = Schema.parse("n: int64")
STATIC: Any = ["a filter"]
FILTERED: Any = SimpleNamespace(current=STATIC, static=STATIC)
TIGHTENING: Any = SimpleNamespace(current=["a filter", "one of the last tick"], static=STATIC)
Metadata = dict[bytes, bytes] | None


def batch(*values: int) -> RecordBatch:
    return RecordBatch(SCHEMA, [Array.from_pylist(list(values), "int64")])


class Listed:
    """A producer of batches with their metadata; an exception is raised, a function called."""

    def __init__(self, *items: Any) -> None:
        self.items = iter(items)

    def next(self) -> tuple[RecordBatch, Metadata] | None:
        for item in self.items:
            if callable(item):
                item()
            elif isinstance(item, Exception):
                raise item
            else:
                return item if isinstance(item, tuple) else (item, None)
        return None

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        pass


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def advance(self, milliseconds: float) -> Callable[[], None]:
        def tick() -> None:
            self.now += int(milliseconds * 1e6)

        return tick


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(output, "monotonic_ns", made)
    return made


def answers(*items: Any, filters: Any = FILTERED) -> Iterator[tuple[list[int], Metadata]]:
    producer = DenseProducer(Listed(*items), filters, SCHEMA)
    while (found := producer.next()) is not None:
        yield found[0].column(0).to_pylist(), found[1]
    assert producer.next() is None


def test_sparse_batches_become_one(clock: Clock) -> None:
    assert list(answers(batch(1), batch(), batch(2, 3), batch(4))) == [([1, 2, 3, 4], None)]


def test_with_dynamic_filters_each_batch_waits_for_its_tick(clock: Clock) -> None:
    assert list(answers(batch(1), batch(), batch(2), filters=TIGHTENING)) == [([1], None), ([], None), ([2], None)]


def test_dense_batches_are_not_copied(clock: Clock) -> None:
    dense = batch(*range(5000))
    producer = DenseProducer(Listed(dense, dense), FILTERED, SCHEMA)
    first = producer.next()
    assert first is not None and first[0] is dense
    sizes = [len(rows) for rows, _ in answers(*[batch(*range(1000))] * 7)]
    assert sizes == [3000, 3000, 1000]


def test_rows_do_not_wait_for_slow_batches(clock: Clock) -> None:
    slow = clock.advance(3)
    assert [rows for rows, _ in answers(slow, batch(1), slow, batch(2), batch(3), slow, batch(4))] == [
        [1],
        [2],
        [3, 4],
    ]
    # A stream whose every row is taken out shows now and then that it is alive.
    assert [rows for rows, _ in answers(batch(), slow, batch(), batch(5))] == [[], [5]]


def test_metadata_stay_with_their_rows(clock: Clock) -> None:
    one, two = {b"index": b"1"}, {b"index": b"2"}
    found = list(
        answers((batch(1), one), (batch(2), one), (batch(3), two), batch(4), batch(5), (batch(), one), batch(6))
    )
    assert found == [([1, 2], one), ([3], two), ([4, 5], None), ([], one), ([6], None)]
    own = RecordBatch(SCHEMA, [Array.from_pylist([7], "int64")], 1, one)
    assert list(answers(own, (batch(8), one), batch(9))) == [([7, 8], one), ([9], None)]


def test_rows_come_before_the_error_that_follows_them(clock: Clock) -> None:
    producer = DenseProducer(Listed(batch(1), batch(2), ValueError("torn")), FILTERED, SCHEMA)
    first = producer.next()
    assert first is not None and first[0].column(0).to_pylist() == [1, 2]
    for _ in range(2):
        with pytest.raises(ValueError, match="torn"):
            producer.next()


def test_any_division_gives_the_same_rows() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        values = np.arange(rng.integers(1, 40_000))
        cuts = np.sort(rng.integers(0, len(values), rng.integers(0, 200)))
        parts = [batch(*part.tolist()) for part in np.split(values, cuts)]
        assert [value for rows, _ in answers(*parts) for value in rows] == values.tolist()
