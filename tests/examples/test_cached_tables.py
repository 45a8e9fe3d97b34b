"""Results of the example worker that a client may keep, over every transport."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from tests.examples.test_example_worker import MAIN
from tests.fix_worker import Workers
from vgi_fast.client import Stream
from vgi_fast.client.catalog import Catalog
from vgi_fast.errors import ProtocolError, RemoteError
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import RecordBatch, decode_stream

KEPT = {"ttl": "300", "scope": "catalog"}


@pytest.fixture
def example(worker: Workers) -> Catalog:
    return worker(MAIN).attach("example")


def said(batch: RecordBatch) -> dict[str, str]:
    """The cache control beside a batch."""
    return {
        key.removeprefix(keys.CACHE_PREFIX).decode(): value.decode()
        for key, value in batch.metadata.items()
        if key.startswith(keys.CACHE_PREFIX)
    }


def batches(catalog: Catalog, name: str, *args: Any, first_tick: Any = None, **named: Any) -> list[RecordBatch]:
    """All of one stream, whose first tick may carry metadata."""
    with catalog.table(name, *args, **named).bound.init() as stream:
        found = [stream.tick(first_tick)]
        while found[-1] is not None:
            found.append(stream.tick())
    return [batch for batch in found if batch is not None]


def values(found: list[RecordBatch], column: int = 0) -> list[Any]:
    return [value for batch in found for value in batch.column(column).to_pylist()]


FIRST_BATCH: list[tuple[str, tuple[Any, ...], dict[str, Any], list[Any], dict[str, str]]] = [
    ("cacheable_numbers", (), {}, list(range(10)), KEPT),
    ("cacheable_numbers", (), {"n": 2500, "ttl": 7}, list(range(2500)), {**KEPT, "ttl": "7"}),
    ("cache_no_store", (), {"n": 3}, [0, 1, 2], {"scope": "catalog", "no_store": "1"}),
    ("cache_big", (), {}, list(range(5000)), KEPT),
    ("cache_bench", (3000,), {}, list(range(3000)), KEPT),
    ("cache_filtered", (), {"rows": 4}, [0, 1, 2, 3], KEPT),
    ("cache_whoami", (), {}, ["anonymous"], KEPT),
    ("cache_versioned_scan", (2,), {}, [201, 202], KEPT),
    ("cache_versioned_scan", (9,), {}, [301, 302, 303, 304], KEPT),
    ("test_same_name_cached", (), {}, ["main"], KEPT),
]


def test_the_first_batch_says_it(example: Catalog) -> None:
    for name, args, named, expected, control in FIRST_BATCH:
        found = batches(example, name, *args, **named)
        assert values(found) == expected
        assert [said(batch) for batch in found] == [control] + [{}] * (len(found) - 1)
    assert batches(example, "cache_bench", 0) == []


def test_tables_say_what_their_functions_say(example: Catalog) -> None:
    names = {info["name"] for info in example.tables("data")}
    for name, columns, control in (
        ("cacheable_numbers", {"n": list(range(10))}, KEPT),
        ("cache_multicol", {"a": [0, 1, 2, 3], "b": [0, 10, 20, 30], "c": [0, 100, 200, 300]}, KEPT),
        ("cache_projection", {"a": [1, 2, 3], "b": [10, 20, 30], "c": [100, 200, 300]}, KEPT),
        ("cache_no_store", {"n": list(range(10))}, {"scope": "catalog", "no_store": "1"}),
        ("cache_versioned", {"v": [301, 302, 303, 304]}, KEPT),
    ):
        assert name in names
        call = example.scan(name, "data")
        (batch,) = call
        assert batch.to_pydict() == columns
        assert {key: value for key, value in call.metadata.items() if key.startswith(keys.CACHE_PREFIX)} == {
            keys.CACHE_PREFIX + key.encode(): value.encode() for key, value in control.items()
        }
    assert example.scan("cache_projection", "data", columns=["c"]).read_all().to_pydict() == {"c": [100, 200, 300]}
    assert example.scan("cache_versioned", "data", at=("VERSION", "1")).read_all()["v"].to_pylist() == [101, 102, 103]
    assert example.table("test_same_name_cached", schema="data").read_all()["tag"].to_pylist() == ["data"]
    assert "cache_multicol" not in [function.name for function in example.functions("main", "table")]


def test_each_call_is_another_one(example: Catalog) -> None:
    for name, column in (("cache_nonce", 0), ("cache_scoped_txn", 1), ("cache_revalidatable", 0)):
        first, second = (set(values(batches(example, name), column)) for _ in range(2))
        assert len(first) == len(second) == 1
        assert first != second


def test_who_has_it_is_told_to_keep_it(example: Catalog) -> None:
    control = {"ttl": "0", "scope": "catalog", "etag": '"rev-v1"', "revalidatable": "1"}
    (fresh,) = batches(example, "cache_revalidatable")
    (kept,) = batches(example, "cache_revalidatable", first_tick={keys.CACHE_IF_NONE_MATCH: b'"rev-v1"'})
    (other,) = batches(example, "cache_revalidatable", first_tick={keys.CACHE_IF_NONE_MATCH: b'"rev-v0"'})
    assert [batch.num_rows for batch in (fresh, kept, other)] == [1, 0, 1]
    assert [said(batch) for batch in (fresh, kept, other)] == [control, {**control, "not_modified": "1"}, control]


def test_so_are_those_who_send_batches(example: Catalog) -> None:
    data = pa.table({"x": pa.array([1, 2], pa.int64())})
    batch = RecordBatch.from_arrow(data.to_batches()[0])
    for name in ("cached_reval_echo", "cached_reval_double"):
        bound = example.table(name, input=data).bound
        with bound.init(input_schema=bound.input_schema, phase="INPUT") as stream:
            fresh = stream.exchange(batch)
            assert fresh is not None
            kept = stream.exchange(batch, {keys.CACHE_IF_NONE_MATCH: said(fresh)["etag"].encode()})
            again = stream.exchange(batch)
            assert kept is not None and again is not None
        assert [fresh.num_rows, kept.num_rows, again.num_rows] == [2, 0, 2]
        assert said(kept) == {**said(fresh), "not_modified": "1"}
        assert said(again) == said(fresh)


def test_a_whole_input(example: Catalog) -> None:
    call = example.table("cached_sum_all", input=pa.table({"x": pa.array([1, 2], pa.int64())}))
    assert call.read_all().to_pydict() == {"x": [3]}
    assert call.metadata == {b"vgi.cache.ttl": b"300", b"vgi.cache.scope": b"catalog"}


def test_types(example: Catalog) -> None:
    rows = pa.Table.from_batches([batch.to_arrow() for batch in batches(example, "cache_types", 3000)]).to_pylist()
    assert [row["id"] for row in rows] == list(range(3000))
    assert all((row["label"] is None) == (row["id"] % 5 == 0) == (row["attrs"] is None) for row in rows)
    row = rows[107]
    assert (row["tags"], row["attrs"], str(row["amt"])) == ([107, 108, 109], {"x": 107, "y": "y107"}, "107.07")
    assert (row["ts"].microsecond, row["label"]) == (107, "label-107")


def test_a_failure_after_rows_that_may_be_kept(example: Catalog) -> None:
    with pytest.raises(RemoteError, match="intentional mid-stream failure"):
        batches(example, "cache_poison")


def test_a_batch_that_is_elsewhere(worker: Workers) -> None:
    client = worker.may_fail(worker(MAIN))
    with pytest.raises(ProtocolError, match="a vgi_rpc.location pointer that was not asked for"):
        batches(client.attach("example"), "cache_external_fail")


def two_streams(worker: Workers, name: str, *args: Any, **named: Any) -> Iterator[list[RecordBatch]]:
    """The batches of two streams of one execution, on connections of their own, taking turns."""
    bounds = [worker(MAIN).attach("example").table(name, *args, **named).bound for _ in range(2)]
    first = bounds[0].init()
    shared = {"execution_id": first.header["execution_id"], "init_opaque_data": first.header["opaque_data"]}
    streams: list[Stream | None] = [first, bounds[1].init(**shared)]
    found: list[list[RecordBatch]] = [[], []]
    while any(streams):
        for index, stream in enumerate(streams):
            if stream is not None:
                batch = stream.tick()
                if batch is None:
                    stream.close()
                    streams[index] = None
                else:
                    found[index].append(batch)
    return iter(found)


def test_streams_share_the_work(worker: Workers) -> None:
    one, other = two_streams(worker, "cache_parallel", 100, batch_size=2)
    assert sorted(values(one) + values(other)) == list(range(100))
    for found in (one, other):
        assert len(found) > 2
        assert [said(batch) for batch in found] == [KEPT] + [{}] * (len(found) - 1)


def test_streams_that_are_put_in_order(worker: Workers) -> None:
    one, other = two_streams(worker, "cache_ordered", rows=3000, chunk_size=500)
    by_index: dict[int, list[int]] = {}
    for found in (one, other):
        assert found
        assert said(found[0]) == KEPT
        for batch in found:
            by_index.setdefault(int(batch.metadata[keys.BATCH_INDEX]), []).extend(batch.column(0).to_pylist())
    assert [value for index in sorted(by_index) for value in by_index[index]] == list(range(3000))


def partitions(found: list[RecordBatch]) -> list[list[Any]]:
    from base64 import b64decode

    payloads = [decode_stream(b64decode(batch.metadata[keys.PARTITION_VALUES]))[1][0] for batch in found]
    return [[column.to_pylist() for column in payload.columns] for payload in payloads]


def test_streams_of_partitions(worker: Workers) -> None:
    one, other = two_streams(worker, "cache_partition_parallel", 2)
    assert one and other
    assert sorted(map(str, partitions(one) + partitions(other))) == [
        "[['AU', 'AU']]",
        "[['CA', 'CA']]",
        "[['US', 'US']]",
        "[[None, None]]",
    ]
    assert sorted(values(one, 1) + values(other, 1)) == [index * 10**6 + i for index in range(4) for i in range(2)]
    assert said(one[0]) == said(other[0]) == {**KEPT, "partition_scope": "1"}


def test_partitions(example: Catalog) -> None:
    whole = batches(example, "cache_partitioned", 2)
    assert said(whole[0]) == KEPT
    assert partitions(whole) == [[[country] * 2] for country in ("AU", "BR", "CA", "FR", "US")]
    scoped = batches(example, "cache_partition_scope", 2)
    assert said(scoped[0]) == {**KEPT, "partition_scope": "1"}
    assert values(scoped, 1) == values(whole, 1)
    two = batches(example, "cache_partition_multicol", 1)
    assert partitions(two) == [
        [["EU"] * 2, [2020] * 2],
        [["EU"] * 2, [2022] * 2],
        [["US"] * 2, [2020] * 2],
        [["US"] * 2, [2022] * 2],
    ]
    assert values(two, 2) == [0, 1000, 2000, 3000]


def test_a_partition_column_that_is_not_read(example: Catalog) -> None:
    with example.table("cache_partition_proj", 2).bound.init(projection_ids=[2, 1]) as stream:
        found = list(stream.batches())
    assert partitions(found) == [[["CA"] * 2], [["US"] * 2]]
    assert (values(found, 0), values(found, 1)) == ([500, 501, 1000500, 1000501], [0, 1, 1000000, 1000001])
