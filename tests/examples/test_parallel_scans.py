"""Producers of the example worker that share work between streams, which two workers serve here."""

import datetime as dt
import os
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from tests.examples.test_example_worker import MAIN
from tests.fix_memory import Peer
from tests.fix_worker import Workers
from tests.functions.filter_cases import filter_blob, keys_blob
from vgi_fast import MonthDayNano, UnionValue
from vgi_fast.client.calls import Bound
from vgi_fast.client.catalog import Catalog
from vgi_fast.client.connection import Stream
from vgi_fast.errors import RemoteError
from vgi_fast.examples.example_worker import worker as example_worker
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import decode_stream

AT_LEAST_12 = [{"type": "constant", "column_name": "n", "column_index": 0, "op": "ge", "value_ref": 0}]


@pytest.fixture
def two(worker: Workers) -> list[Catalog]:
    """The example catalog on two workers."""
    return [worker(MAIN).attach("example") for _ in range(2)]


@pytest.fixture
def one(worker: Workers) -> Catalog:
    return worker(MAIN).attach("example")


def bound(catalog: Catalog, name: str, *args: Any, **named: Any) -> Bound:
    return catalog.bind_table(name, args, named)


def streams(two: list[Catalog], name: str, *args: Any, **named: Any) -> list[Stream]:
    """The first stream of an execution, and a further one on the other worker."""
    first = bound(two[0], name, *args, **named).init()
    header = first.header
    assert header["max_workers"] > 1
    return [first, bound(two[1], name, *args, **named).init(execution_id=header["execution_id"])]


def alternately(parts: list[Stream]) -> Iterator[tuple[int, Any]]:
    """Batches of all streams with the number of the stream, one of each in turn."""
    readers = [stream.batches() for stream in parts]
    while any(readers):
        for index, reader in enumerate(readers):
            if reader is None:
                continue
            batch = next(reader, None)
            if batch is None:
                readers[index] = None  # type: ignore[call-overload]
            else:
                yield index, batch


def values(batch: Any, column: int = 0) -> list[Any]:
    return batch.column(column).to_pylist()  # type: ignore[no-any-return]


def test_streams_share_the_work(two: list[Catalog]) -> None:
    for name in ("partitioned_sequence", "partitioned_preserves_order", "partitioned_no_order_guarantee"):
        got = list(alternately(streams(two, name, 30_500)))
        assert {index for index, _ in got} == {0, 1}
        assert sorted(n for _, batch in got for n in values(batch)) == list(range(30_500))


def test_no_work_is_no_rows(one: Catalog) -> None:
    for name in ("partitioned_sequence", "partitioned_batch_index", "filter_echo_partitioned"):
        call = one.table(name, 0)
        assert call.read_all().num_rows == 0
        assert call.bound.cardinality() == (0, 0)


def test_what_a_stream_leaves_others_take(two: list[Catalog]) -> None:
    first, second = streams(two, "partitioned_preserves_order", 12_000)
    reader = first.batches(ticks_ahead=0)
    taken = values(next(reader))
    first.cancel()
    left = [n for batch in second.batches() for n in values(batch)]
    assert taken == list(range(1000)) and left == list(range(1000, 12_000))


def test_a_stream_after_the_end_is_empty(two: list[Catalog]) -> None:
    first = bound(two[0], "partitioned_batch_index", 5000).init()
    assert sum(batch.num_rows for batch in first.batches()) == 5000
    late = bound(two[1], "partitioned_batch_index", 5000).init(execution_id=first.header["execution_id"])
    assert list(late.batches()) == []


def test_indexes_restore_the_order(two: list[Catalog]) -> None:
    for name, named, column in (
        ("partitioned_batch_index", {}, 0),
        ("partitioned_batch_index_marked", {"chunk_size": 600}, 1),
    ):
        last = [-1, -1]
        units: dict[int, list[int]] = {}
        for stream, batch in alternately(streams(two, name, 5500, **named)):
            index = int(batch.metadata[keys.BATCH_INDEX])
            assert index >= last[stream]
            last[stream] = index
            units.setdefault(index, []).extend(values(batch, column))
            if column:
                assert set(values(batch)) == {index}
        assert min(last) > 0
        ordered = [n for index in sorted(units) for n in units[index]]
        size = named.get("chunk_size", 1000)
        assert ordered == ([n % size for n in range(5500)] if column else list(range(5500)))


@pytest.mark.parametrize(
    ("name", "order", "indexed"),
    [
        ("partitioned_preserves_order", "PRESERVES_ORDER", False),
        ("partitioned_no_order_guarantee", "NO_ORDER_GUARANTEE", False),
        ("partitioned_fixed_order", "FIXED_ORDER", False),
        ("partitioned_batch_index", "FIXED_ORDER", True),
        ("partitioned_batch_index_marked", "FIXED_ORDER", True),
    ],
)
def test_what_is_told_of_the_order(name: str, order: str, indexed: bool) -> None:
    infos = {info["name"]: info for info in Peer(example_worker).functions("TABLE_FUNCTION")}
    assert (infos[name]["order_preservation"], infos[name]["supports_batch_index"]) == (order, indexed)


def test_every_stream_filters(two: list[Catalog]) -> None:
    name, wanted = "filter_echo_partitioned", list(range(12, 60_000))
    filters: dict[str, Any] = {
        "pushdown_filters": filter_blob(AT_LEAST_12, pa.table({"c": pa.array([12], pa.int64())}))
    }
    first = bound(two[0], name, 60_000).init(**filters)
    second = bound(two[1], name, 60_000).init(execution_id=first.header["execution_id"], **filters)
    got = list(alternately([first, second]))
    assert sorted(n for _, batch in got for n in values(batch)) == wanted
    assert {text for _, batch in got for text in values(batch, 2)} == {"n >= 12"}
    pids = {pid for _, batch in got for pid in values(batch, 1)}
    assert len(pids) == 2 and os.getpid() not in pids
    assert set(two[0].table(name, 5).read_all().column(2).to_pylist()) == {"(none)"}


def ends(metadata: dict[bytes, bytes]) -> list[list[Any]]:
    """Least and greatest value of each partition column."""
    _, (batch,) = decode_stream(b64decode(metadata[keys.PARTITION_VALUES], validate=True))
    return [column.to_pylist() for column in batch.columns]


PARTITIONS: dict[str, list[list[list[Any]]]] = {
    "country_partitioned_sales": [[[country] * 2] for country in ("AU", "BR", "CA", "FR", "US")],
    "region_year_partitioned": [
        [[region] * 2, [year] * 2] for region in ("AMER", "EMEA", "APAC") for year in (2023, 2024)
    ],
    "partitioned_with_explicit_override": [[[category] * 2] for category in ("books", "music", "video")],
    "disjoint_range_partitioned": [[[first, first + 9]] for first in (0, 1000, 2000)],
    "overlapping_range_partitioned": [[[first, first + 9]] for first in (0, 500, 1000)],
}


def test_partitions_announce_their_values(two: list[Catalog]) -> None:
    for name, partitions in PARTITIONS.items():
        seen = []
        for _, batch in alternately(streams(two, name, 3)):
            rows = [values(batch, column) for column in range(len(partitions[0]))]
            seen.append(ends(batch.metadata))
            assert seen[-1] == [[min(column), max(column)] for column in rows]
        assert sorted(seen) == sorted(partitions)


REFUSED: dict[str, str] = {
    "broken_partition_values_no_annotation": "requires partition-annotated fields",
    "broken_partition_column_absent_from_batch": (
        "column 'category' is partition-annotated but absent from emitted batch"
    ),
}


def test_what_the_library_refuses(one: Catalog) -> None:
    for name, text in REFUSED.items():
        with pytest.raises(RemoteError, match=text):
            one.table(name, 5).read_all()
        assert one.table("sequence", 3).read_all().num_rows == 3


def test_what_only_duckdb_can_refuse(peer: Callable[..., Peer]) -> None:
    made = peer(example_worker)
    metadata = {
        name: [beside for batch, beside in made.table(name, 5).batches if batch.num_rows]
        for name in (
            "broken_missing_batch_index_tag",
            "broken_non_monotone_batch_index",
            "broken_batch_index_overflow",
            "broken_missing_partition_values",
            "broken_partition_min_neq_max",
        )
    }
    assert metadata["broken_missing_batch_index_tag"] == [{}]
    assert [m[keys.BATCH_INDEX] for m in metadata["broken_non_monotone_batch_index"]] == [b"10", b"3"]
    assert [int(m[keys.BATCH_INDEX]) for m in metadata["broken_batch_index_overflow"]] == [2**60]
    assert metadata["broken_missing_partition_values"] == [{}]
    assert [ends(m) for m in metadata["broken_partition_min_neq_max"]] == [[["US", "BR"]]]
    infos = {info["name"]: info for info in made.functions("TABLE_FUNCTION")}
    assert all(infos[name]["supports_batch_index"] for name in metadata if "batch_index" in name)
    assert infos["broken_missing_partition_values"]["partition_kind"] == "SINGLE_VALUE_PARTITIONS"


def row_ids(*ids: int) -> dict[str, Any]:
    """What an init says when these row ids are wanted."""
    node = {"type": "join_keys", "column_name": "row_id", "column_index": 0, "keys_column": "row_id"}
    return {
        "pushdown_filters": filter_blob([node], None),
        "join_keys": [keys_blob("row_id", pa.array(ids, pa.int64()))],
    }


def test_rows_by_their_ids(one: Catalog) -> None:
    for named, expected in (
        ({}, {"row_id": [3, 900], "payload": ["payload_3", "payload_900"]}),
        ({"dup_row_id": True}, {"row_id": [3, 3], "payload": ["payload_6", "payload_7"]}),
    ):
        call = one.table(
            "late_materialization", 1000, named=named, hints=row_ids(900, 3, 5000), projection=["row_id", "payload"]
        )
        assert call.read_all().to_pydict() == expected


def test_row_ids_by_range_and_order(one: Catalog) -> None:
    nodes = [
        {"type": "constant", "column_name": "row_id", "column_index": 0, "op": op, "value_ref": index}
        for index, op in enumerate(("ge", "le"))
    ]
    constants = pa.table({"a": pa.array([10], pa.int64()), "b": pa.array([12], pa.int64())})
    found = (
        one.table(
            "late_materialization", 40, null_ord_stride=4, hints={"pushdown_filters": filter_blob(nodes, constants)}
        )
        .read_all()
        .to_pydict()
    )
    assert found["row_id"] == [10, 11, 12] and found["pushed"] == ["rid:in=0;rng=10..12"] * 3
    assert found["ord"] == [row * 2_654_435_761 % 1_000_000_007 if row % 4 else None for row in (10, 11, 12)]


def test_constants_of_several_types(one: Catalog) -> None:
    assert one.table("typed_probe", 2).read_all().to_pydict() == {
        "idx": [0, 1],
        "ts_us": [1767323045000000] * 2,
        "iv_ms": [1500] * 2,
        "payload": [b"vgi"] * 2,
        "ub": [9, 9],
        "f": [2.5, 3.5],
    }


@pytest.mark.parametrize(
    ("type", "value", "expected"),
    [
        ("duration[ns]", dt.timedelta(seconds=3), 3000),
        ("duration[s]", dt.timedelta(days=-1), -86_400_000),
        ("month_day_nano_interval", MonthDayNano(0, 0, 2_500_000_000), 2500),
        ("month_day_nano_interval", MonthDayNano(1, -2, 0), 28 * 86_400_000),
    ],
)
def test_an_interval_is_a_span(peer: Callable[..., Peer], type: str, value: Any, expected: int) -> None:
    answer = peer(example_worker).table("typed_probe", 1, named={"iv": (type, value)})
    assert answer.rows()["iv_ms"] == [expected]


def test_members_of_unions(peer: Callable[..., Peer]) -> None:
    made = peer(example_worker)
    union = "sparse_union<i: int64, s: utf8>"
    given = [UnionValue("s", "x"), UnionValue("i", -7), UnionValue("i", None)]
    answer = made.table("union_varargs", *given, types=[union] * 3)
    assert answer.rows() == {"idx": [0, 1, 2], "tag": ["s", "i", "i"], "value": ["x", "-7", None]}
