"""What each backend must do (section 8.8 of the stateful document)."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vgi_fast.errors import StorageError
from vgi_fast.storage.base import (
    Storage,
    attach_scope,
    execution_scope,
    pack_int_key,
    transaction_scope,
    unpack_int_key,
)
from vgi_fast.storage.facade import BoundStorage, TransactionStorage
from vgi_fast.wire.arrow import RecordBatch, Schema

Open = Callable[[], Storage]


def test_what_is_put_is_got_in_the_order_of_the_keys(storage: Storage, scope: bytes) -> None:
    storage.state_put_many(scope, b"n", [(b"a", b"1"), (b"b", b""), (b"\x00\xff", b"\x00" * 100_000)])
    got = storage.state_get_many(scope, b"n", [b"b", b"missing", b"\x00\xff", b"a", b"b"])
    assert got == [b"", None, b"\x00" * 100_000, b"1", b""]
    assert storage.state_get_many(scope, b"n", []) == []
    storage.state_put_many(scope, b"n", [])


def test_the_last_write_of_a_key_wins(storage: Storage, scope: bytes) -> None:
    storage.state_put_many(scope, b"n", [(b"a", b"1"), (b"a", b"2")])
    assert storage.state_get_many(scope, b"n", [b"a"]) == [b"2"]
    storage.state_put_many(scope, b"n", [(b"a", b"3")])
    assert storage.state_get_many(scope, b"n", [b"a"]) == [b"3"]


def test_scopes_namespaces_and_spaces_are_independent(storage: Storage, scope: bytes) -> None:
    other = execution_scope(b"other")
    storage.state_put_many(scope, b"n", [(b"k", b"pair")])
    storage.state_append(scope, b"n", b"k", b"item")
    storage.state_counter_set(scope, b"n", b"k", 7)
    storage.queue_push(scope, [b"work"])
    assert storage.state_get_many(other, b"n", [b"k"]) == [None]
    assert storage.state_get_many(scope, b"m", [b"k"]) == [None]
    assert storage.state_get_many(scope, b"n", [b"k"]) == [b"pair"]
    assert [item for _, item in storage.state_log_scan(scope, b"n", b"k")] == [b"item"]
    assert storage.state_counter_get(scope, b"n", b"k") == 7
    assert storage.queue_pop(other) is None
    assert storage.queue_pop(scope) == b"work"


@pytest.mark.parametrize("make", [execution_scope, attach_scope, transaction_scope])
def test_handles_see_each_other(open_handle: Open, make: Callable[[bytes], bytes]) -> None:
    one, two = open_handle(), open_handle()
    scope = make(b"shared" * 30)
    assert two.state_get_many(scope, b"n", [b"k"]) == [None]
    one.state_put_many(scope, b"n", [(b"k", b"v")])
    assert two.state_get_many(scope, b"n", [b"k"]) == [b"v"]
    two.state_put_many(scope, b"n", [(b"k", b"w")])
    assert one.state_get_many(scope, b"n", [b"k"]) == [b"w"]
    assert one.state_append(scope, b"n", b"k", b"1") < two.state_append(scope, b"n", b"k", b"2")
    assert one.execution_clear(scope) == 3
    assert two.state_get_many(scope, b"n", [b"k"]) == [None]
    two.state_put_many(scope, b"n", [(b"k", b"x")])
    assert one.state_get_many(scope, b"n", [b"k"]) == [b"x"]


def test_a_scan_is_ordered_and_half_open(storage: Storage, scope: bytes) -> None:
    keys = [b"", b"a", b"ab", b"b", b"\x7f", b"\x80", b"\xff"]
    storage.state_put_many(scope, b"n", [(key, key * 2) for key in reversed(keys)])
    pairs = [(key, key * 2) for key in keys]
    assert storage.state_scan(scope, b"n") == pairs
    assert storage.state_scan(scope, b"n", b"a", b"b") == pairs[1:3]
    assert storage.state_scan(scope, b"n", None, b"b") == pairs[:3]
    assert storage.state_scan(scope, b"n", b"b") == pairs[3:]
    assert storage.state_scan(scope, b"n", reverse=True) == pairs[::-1]
    assert storage.state_scan(scope, b"n", limit=2) == pairs[:2]
    assert storage.state_scan(scope, b"n", limit=0) == []
    assert storage.state_scan(scope, b"n", b"a", b"\xff", reverse=True, limit=2) == [pairs[5], pairs[4]]
    assert storage.state_scan(scope, b"empty") == []


def test_deleting_counts_and_repeats(storage: Storage, scope: bytes) -> None:
    storage.state_put_many(scope, b"n", [(bytes([i]), b"v") for i in range(10)])
    assert storage.state_delete(scope, b"n", [b"\x00", b"\x00", b"missing"]) == 1
    assert storage.state_delete(scope, b"n", [b"\x00"]) == 0
    assert storage.state_delete(scope, b"n", []) == 0
    assert storage.state_delete(scope, b"n", start=b"\x01", end=b"\x04") == 3
    assert storage.state_delete(scope, b"n", start=b"\x01", end=b"\x04") == 0
    assert storage.state_delete(scope, b"n", start=b"\x08") == 2
    assert [key for key, _ in storage.state_scan(scope, b"n")] == [b"\x04", b"\x05", b"\x06", b"\x07"]
    assert storage.state_delete(scope, b"n") == 4
    assert storage.state_delete(scope, b"n") == 0
    with pytest.raises(ValueError, match="mutually exclusive"):
        storage.state_delete(scope, b"n", [b"a"], start=b"a")


def test_a_drain_gives_everything_once(storage: Storage, scope: bytes) -> None:
    storage.state_put_many(scope, b"n", [(b"a", b"1"), (b"b", b"2")])
    storage.state_put_many(scope, b"m", [(b"c", b"3")])
    assert sorted(storage.state_drain(scope, b"n")) == [(b"a", b"1"), (b"b", b"2")]
    assert storage.state_drain(scope, b"n") == []
    assert storage.state_get_many(scope, b"m", [b"c"]) == [b"3"]


def test_drainers_never_share_a_pair(open_handle: Open, scope: bytes, in_threads: Any) -> None:
    open_handle().state_put_many(scope, b"n", [(pack_int_key(i), b"v") for i in range(500)])
    handles = [open_handle() for _ in range(4)]
    got = in_threads(4, lambda number: handles[number].state_drain(scope, b"n"))
    assert sorted(unpack_int_key(key) for part in got for key, _ in part) == list(range(500))


def test_ordinals_increase(storage: Storage, scope: bytes) -> None:
    ordinals = [storage.state_append(scope, b"n", b"k", b"same") for _ in range(5)]
    assert ordinals == sorted(set(ordinals))
    assert [item for _, item in storage.state_log_scan(scope, b"n", b"k")] == [b"same"] * 5
    assert [ordinal for ordinal, _ in storage.state_log_scan(scope, b"n", b"k", ordinals[2])] == ordinals[3:]
    assert [ordinal for ordinal, _ in storage.state_log_scan(scope, b"n", b"k", ordinals[0], 2)] == ordinals[1:3]
    storage.execution_clear(scope)
    assert storage.state_log_scan(scope, b"n", b"k") == []
    assert storage.state_append(scope, b"n", b"k", b"later") > ordinals[-1]


def test_concurrent_appends_lose_nothing(open_handle: Open, scope: bytes, in_threads: Any) -> None:
    handles = [open_handle() for _ in range(4)]

    def append(number: int) -> list[int]:
        return [handles[number].state_append(scope, b"n", b"k", bytes([number, i])) for i in range(50)]

    ordinals = in_threads(4, append)
    assert len({one for part in ordinals for one in part}) == 200
    items = [item for _, item in handles[0].state_log_scan(scope, b"n", b"k")]
    for number in range(4):
        assert [item[1] for item in items if item[0] == number] == list(range(50))


def test_counters(storage: Storage, scope: bytes) -> None:
    assert storage.state_counter_get(scope, b"n", b"k") == 0
    assert storage.state_counter_add(scope, b"n", b"k", 5) == 5
    assert storage.state_counter_add(scope, b"n", b"k", -7) == -2
    storage.state_counter_set(scope, b"n", b"k", 2**63 - 1)
    with pytest.raises(StorageError, match="64 bits"):
        storage.state_counter_add(scope, b"n", b"k", 1)
    assert storage.state_counter_get(scope, b"n", b"k") == 2**63 - 1
    assert storage.state_counter_delete(scope, b"n", b"k") == 1
    assert storage.state_counter_delete(scope, b"n", b"k") == 0
    assert storage.state_counter_get(scope, b"n", b"k") == 0


def test_concurrent_additions_lose_nothing(open_handle: Open, scope: bytes, in_threads: Any) -> None:
    handles = [open_handle() for _ in range(8)]
    in_threads(8, lambda n: [handles[n].state_counter_add(scope, b"n", b"k", 1) for _ in range(200)])
    assert handles[0].state_counter_get(scope, b"n", b"k") == 1600


def test_clearing_covers_all_but_the_queue(storage: Storage, scope: bytes) -> None:
    other = execution_scope(b"other")
    for each in (scope, other):
        storage.state_put_many(each, b"n", [(b"k", b"v")])
        storage.state_append(each, b"m", b"k", b"item")
        storage.state_counter_add(each, b"o", b"k", 1)
        storage.queue_push(each, [b"work"])
    assert storage.execution_clear(scope) == 3
    assert storage.execution_clear(scope) == 0
    assert storage.state_scan(scope, b"n") == []
    assert storage.state_log_scan(scope, b"m", b"k") == []
    assert storage.state_counter_get(scope, b"o", b"k") == 0
    assert storage.queue_pop(scope) == b"work"
    assert storage.execution_clear(other) == 3


def test_the_queue_is_first_in_first_out(storage: Storage, scope: bytes) -> None:
    assert storage.queue_pop(scope) is None
    assert storage.queue_push(scope, []) == 0
    assert storage.queue_push(scope, [b"1", b"2"]) == 2
    assert storage.queue_push(scope, [b"3"]) == 1
    assert [storage.queue_pop(scope) for _ in range(4)] == [b"1", b"2", b"3", None]
    storage.queue_push(scope, [b"4", b"5"])
    assert storage.queue_clear(scope) == 2
    assert storage.queue_clear(scope) == 0
    assert storage.queue_pop(scope) is None


def test_who_finds_no_work_clears_up(open_handle: Open, in_threads: Any) -> None:
    handles = [open_handle() for _ in range(4)]
    items = [pack_int_key(i) for i in range(12)]
    for turn in range(20):
        scope = execution_scope(b"turn %d" % turn)
        handles[0].queue_push(scope, items)

        def work(number: int, scope: bytes = scope) -> list[bytes]:
            got = list(iter(lambda: handles[number].queue_pop(scope), None))
            handles[number].execution_clear(scope)
            return got

        assert sorted(item for got in in_threads(4, work) for item in got) == sorted(items)


def test_poppers_never_share_an_item(open_handle: Open, scope: bytes, in_threads: Any) -> None:
    items = [pack_int_key(i) for i in range(200)]
    open_handle().queue_push(scope, items)
    handles = [open_handle() for _ in range(4)]

    def pop(number: int) -> list[bytes]:
        return list(iter(lambda: handles[number].queue_pop(scope), None))

    got = in_threads(4, pop)
    assert sorted(item for part in got for item in part) == sorted(items)
    for part in got:
        assert [unpack_int_key(item) for item in part] == sorted(unpack_int_key(item) for item in part)


def test_spools_keep_the_order_of_each_writer(open_handle: Open, scope: bytes, in_threads: Any) -> None:
    handles = [open_handle() for _ in range(3)]

    def append(number: int) -> None:
        for i in range(40):
            handles[number].spool_append(scope, b"n", bytes([number, i]) * (1 + 500 * (i % 3)))

    in_threads(3, append)
    items = list(open_handle().spool_scan(scope, b"n"))
    assert len(items) == 120
    for number in range(3):
        assert [item[1] for item in items if item[0] == number] == list(range(40))
    assert list(handles[0].spool_scan(scope, b"m")) == []
    handles[0].execution_clear(scope)
    assert list(handles[1].spool_scan(scope, b"n")) == []
    handles[1].spool_append(scope, b"n", b"again")
    assert list(handles[0].spool_scan(scope, b"n")) == [b"again"]


def test_sweeping_keeps_what_is_attached_and_what_is_in_use(storage: Storage) -> None:
    scopes = [execution_scope(b"e"), transaction_scope(b"t"), attach_scope(b"a")]
    for scope in scopes:
        storage.state_put_many(scope, b"n", [(b"k", b"v")])
    assert storage.sweep(3600) == 0
    assert storage.sweep(0) == 2
    assert [storage.state_get_many(scope, b"n", [b"k"]) for scope in scopes] == [[None], [None], [b"v"]]
    storage.state_put_many(scopes[0], b"n", [(b"k", b"again")])
    assert storage.state_get_many(scopes[0], b"n", [b"k"]) == [b"again"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_against_a_model(open_handle: Open, seed: int) -> None:
    """Random operations through two handles give what a plain dictionary gives."""
    rng = random.Random(seed)
    handles = [open_handle(), open_handle()]
    scope = execution_scope(rng.randbytes(8))
    pairs: dict[bytes, bytes] = {}
    log: list[bytes] = []
    total = 0
    for _ in range(60):
        handle = rng.choice(handles)
        key = bytes([rng.randrange(8)])
        match rng.randrange(7):
            case 0 | 1:
                items = [(bytes([rng.randrange(8)]), rng.randbytes(rng.randrange(40))) for _ in range(rng.randrange(4))]
                handle.state_put_many(scope, b"n", items)
                pairs.update(items)
            case 2:
                assert handle.state_delete(scope, b"n", [key]) == (pairs.pop(key, None) is not None)
            case 3:
                log.append(rng.randbytes(rng.randrange(30)))
                handle.state_append(scope, b"n", b"log", log[-1])
            case 4:
                total += (delta := rng.randrange(-5, 6))
                assert handle.state_counter_add(scope, b"n", b"c", delta) == total
            case 5 if rng.random() < 0.2:
                handle.execution_clear(scope)
                pairs, log, total = {}, [], 0
            case _:
                assert handle.state_get_many(scope, b"n", [key]) == [pairs.get(key)]
        assert handle.state_scan(scope, b"n") == sorted(pairs.items())
        assert [item for _, item in handle.state_log_scan(scope, b"n", b"log")] == log


# -- what authors see --------------------------------------------------------------------------


def test_the_facade_refuses_what_is_reserved_and_what_is_not_bytes(storage: Storage) -> None:
    state = BoundStorage(storage, b"execution")
    with pytest.raises(ValueError, match="reserved prefix"):
        state.state_put(b"_vgi/mine", b"k", b"v")
    with pytest.raises(TypeError, match="namespace"):
        state.state_put("n", b"k", b"v")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="key"):
        state.state_get(b"n", "k")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="value"):
        state.state_put(b"n", b"k", 1)  # type: ignore[arg-type]


def test_the_facade_covers_every_operation(storage: Storage) -> None:
    state = BoundStorage(storage, b"execution")
    state.state_put_many(b"n", {b"a": b"1", b"b": b"2"})
    assert state.state_get(b"n", b"a") == b"1"
    assert state.state_scan(b"n", reverse=True, limit=1) == [(b"b", b"2")]
    assert state.state_delete(b"n", start=b"b") == 1
    assert state.state_drain(b"n") == [(b"a", b"1")]
    ordinal = state.state_append(b"n", b"k", b"item")
    assert state.state_log_scan(b"n", b"k") == [(ordinal, b"item")]
    assert state.counter_add(b"n", b"c", 2) == 2
    state.counter_set(b"n", b"c", 9)
    assert state.counter_get(b"n", b"c") == 9
    assert state.counter_delete(b"n", b"c") == 1
    batch = RecordBatch.from_pydict(Schema.parse("x: int64"), {"x": [1, None]})
    assert state.queue_push_batches([batch]) == 1
    popped = state.queue_pop_batch()
    assert popped is not None and popped.to_pydict() == {"x": [1, None]}
    assert state.queue_pop_batch() is None
    assert state.execution_clear() == 1


def test_transactions_are_isolated(storage: Storage) -> None:
    state = BoundStorage(storage, b"execution")
    one, two = state.transaction(b"1"), TransactionStorage(storage, b"2")
    one.put({b"k": b"v", b"l": b"w"})
    two.put_one(b"k", b"other")
    assert one.get([b"l", b"k", b"m"]) == [b"w", b"v", None]
    assert one.clear() == 2
    assert one.get_one(b"k") is None
    assert two.get_one(b"k") == b"other"
