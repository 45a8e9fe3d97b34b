"""What functions say about keeping their results, and how they answer whoever has one already."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fix_memory import Peer, RemoteFailure, Stream, request, tick_stream
from tests.functions.filter_cases import filter_blob
from tests.functions.test_table_in_out import call
from vgi_fast import (
    CacheControl,
    DefinitionError,
    Emit,
    ExchangeCollector,
    GlobalInitResponse,
    InitParams,
    Int64,
    OutputCollector,
    ProcessParams,
    RecordBatch,
    RowsOf,
    TableBufferingFunction,
    TableFunctionGenerator,
    TableInOutGenerator,
    TableInput,
    Worker,
    scalar,
    table,
    table_in_out,
)
from vgi_fast.functions.caching import MAX_SECONDS, cache_metadata
from vgi_fast.wire import keys, records

Connect = Callable[..., Peer]
Params = ProcessParams[Any]
N = {"n": "int64"}
KNOWN = {keys.CACHE_IF_NONE_MATCH: b"v1"}


@pytest.fixture
def demo() -> Worker:
    return Worker("demo")


def control(answer: Stream) -> list[dict[str, str]]:
    """The cache control beside each batch."""
    return [said(metadata) for _, metadata in answer.batches]


def said(metadata: dict[bytes, bytes]) -> dict[str, str]:
    prefix = keys.CACHE_PREFIX
    return {
        key.removeprefix(prefix).decode(): value.decode() for key, value in metadata.items() if key.startswith(prefix)
    }


NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "rendered"),
    [
        ({}, {}),
        ({"ttl": 300}, {"ttl": "300"}),
        ({"ttl": 0, "scope": "transaction"}, {"ttl": "0", "scope": "transaction"}),
        ({"ttl": 10**30}, {"ttl": str(MAX_SECONDS)}),
        ({"no_store": True, "revalidatable": False, "etag": None}, {"no_store": "1"}),
        ({"etag": '"rev-é"'}, {"etag": '"rev-é"'}),
        ({"last_modified": NOON}, {"last_modified": "2024-01-31T12:00:00Z"}),
        ({"last_modified": NOON.astimezone(timezone(timedelta(hours=-5)))}, {"last_modified": "2024-01-31T12:00:00Z"}),
        ({"last_modified": NOON + timedelta(microseconds=5)}, {"last_modified": "2024-01-31T12:00:00.000005Z"}),
        ({"last_modified": "2024-01-31T12:00:00.5Z"}, {"last_modified": "2024-01-31T12:00:00.5Z"}),
        ({"expires": NOON, "ttl": 7}, {"ttl": "7", "expires": "2024-01-31T12:00:00Z"}),
        ({"expires": "2024-01-31T12:00:00Z"}, {"expires": "2024-01-31T12:00:00Z", "ttl": "0"}),
        ({"stale_while_revalidate": 1, "stale_if_error": 2}, {"stale_while_revalidate": "1", "stale_if_error": "2"}),
        ({"partition_scope": True, "per_value": True}, {"partition_scope": "1", "per_value": "1"}),
    ],
)
def test_forms(given: CacheControl, rendered: dict[str, str]) -> None:
    assert said(cache_metadata("here", given)) == {"scope": "catalog", **rendered}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("ttl", r"cache_control is a dict such as \{\"ttl\": 300\}, got 'ttl'"),
        ({"tll": 1}, "unknown cache control 'tll'; there are ttl, expires"),
        ({1: 1}, "unknown cache control 1"),
        ({"ttl": -1}, r"CacheControl.ttl must be >= 0, got -1"),
        ({"stale_if_error": -2}, r"CacheControl.stale_if_error must be >= 0, got -2"),
        ({"ttl": 1.5}, "CacheControl.ttl must be an int of seconds, got 1.5"),
        ({"ttl": True}, "CacheControl.ttl must be an int of seconds, got True"),
        ({"ttl": "300"}, "CacheControl.ttl must be an int of seconds, got '300'"),
        ({"scope": "session"}, r"CacheControl.scope must be one of \['catalog', 'transaction'\], got 'session'"),
        ({"scope": ["catalog"]}, "CacheControl.scope must be one of"),
        ({"etag": ""}, "CacheControl.etag must be printable text, got ''"),
        ({"etag": b"x"}, "CacheControl.etag must be printable text, got b'x'"),
        ({"etag": "a\nb"}, "CacheControl.etag must be printable text"),
        ({"etag": "\udc80"}, "CacheControl.etag must be printable text"),
        ({"expires": datetime(2024, 1, 31)}, "CacheControl.expires must be a datetime with a time zone"),
        ({"expires": "tomorrow"}, "CacheControl.expires must be a datetime with a time zone"),
        ({"expires": "2024-01-31T12:00:00"}, "CacheControl.expires must be"),
        ({"last_modified": "2024-02-31T12:00:00Z"}, "CacheControl.last_modified must be"),
        ({"last_modified": 1706702400}, "CacheControl.last_modified must be"),
        ({"no_store": 1}, "CacheControl.no_store must be a bool, got 1"),
        ({"per_value": "1"}, "CacheControl.per_value must be a bool, got '1'"),
    ],
)
def test_mistakes(demo: Worker, peer: Connect, given: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=f"table function 'declares': {text}"):
        demo.table(columns=N, cache_control=given, name="declares")(lambda: [1])

    @demo.table(columns=N)
    def emits() -> Emit:
        return Emit([1], cache_control=given)

    with pytest.raises(RemoteFailure, match=text):
        peer(demo).table("emits")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "ttl": st.integers(0, 10**12),
            "no_store": st.booleans(),
            "scope": st.sampled_from(["catalog", "transaction"]),
            "etag": st.text(min_size=1).filter(str.isprintable),
            "last_modified": st.datetimes(timezones=st.timezones()),
            "revalidatable": st.booleans(),
            "stale_if_error": st.integers(0, 10**12),
        },
    )
)
def test_everything_can_be_read_back(given: CacheControl) -> None:
    read = said(cache_metadata("here", given))
    assert set(read) - {"scope"} == {name for name, value in given.items() if value is not False} - {"scope"}
    assert read["scope"] == given.get("scope", "catalog")
    assert int(read.get("ttl", 0)) == min(given.get("ttl", 0), MAX_SECONDS)
    assert read.get("etag") == given.get("etag")
    if (moment := given.get("last_modified")) is not None:
        assert isinstance(moment, datetime)
        # Local times that a clock shows twice or never are equal to nothing in another zone.
        assert datetime.fromisoformat(read["last_modified"]) == moment.astimezone(UTC)


def test_an_end_is_a_duration_from_the_call_on(demo: Worker, peer: Connect) -> None:
    """Not from the declaration on."""
    ends = [datetime.now(UTC) + timedelta(seconds=1000)]

    @demo.table(columns=N, cache_control={"expires": ends[0]})
    def declared() -> list[int]:
        return [1]

    @demo.table(columns=N, cache_control=lambda args: {"expires": ends[0]})
    def called() -> list[int]:
        return [1]

    @demo.scalar(cache_control={"expires": ends[0], "per_value": True})
    def mapped(x: Int64) -> Int64:
        return x

    client = peer(demo)
    for answer in (client.table("declared"), client.table("called"), client.scalar_stream("mapped", [{"x": [1]}], N)):
        (found,) = control(answer)
        assert 900 < int(found["ttl"]) < 1000


def test_declared_by_arguments_beside_the_first_rows(demo: Worker, peer: Connect) -> None:
    broken: Any = {"ttl": "long"}

    @demo.table(columns=N, cache_control=lambda args: {"ttl": args.ttl} if args.ttl else None)
    def lasts(*, ttl: int = 300) -> Iterator[Any]:
        yield from ([], [1], [2])

    @demo.table(columns=N, cache_control=lambda args: broken)
    def wrong() -> list[int]:
        return [1]

    client = peer(demo)
    assert control(client.table("lasts", named={"ttl": 7})) == [{}, {"ttl": "7", "scope": "catalog"}, {}]
    assert control(client.table("lasts", named={"ttl": 0})) == [{}, {}, {}]
    with pytest.raises(RemoteFailure, match="table function 'wrong': CacheControl.ttl must be an int of seconds"):
        client.table("wrong")


def test_what_is_emitted_adds_to_what_is_declared(demo: Worker, peer: Connect) -> None:
    @demo.table(columns=N, cache_control={"ttl": 300, "scope": "transaction", "etag": "old"})
    def tagged() -> Iterator[Any]:
        yield Emit([1], cache_control={"etag": "new"}, metadata={b"own": b"1"})
        yield [2]
        yield Emit([3], cache_control={"no_store": True})

    first, second, third = [metadata for _, metadata in peer(demo).table("tagged").batches]
    assert first.pop(b"own") == b"1"
    assert said(first) == {"ttl": "300", "scope": "transaction", "etag": "new"}
    assert second == {}
    assert said(third) == {"ttl": "300", "scope": "transaction", "etag": "old", "no_store": "1"}


def test_nothing_is_said_beside_rows_that_are_gone(demo: Worker, peer: Connect) -> None:
    """The client does not see the metadata of a batch without rows."""

    @demo.table(columns=N, filter_pushdown=True, projection_pushdown=True, cache_control={"ttl": 300})
    def filtered() -> Iterator[Any]:
        yield [1, 2]
        yield Emit([3], cache_control={"etag": "x"}, metadata={b"own": b"1", b"vgi.cache.stale_if_error": b"5"})
        yield Emit([], cache_control={"revalidatable": True})
        yield [3, 9]
        yield [8]

    node = {"column_name": "n", "column_index": 0, "type": "constant", "op": "gt", "value_ref": 0}
    answer = peer(demo).table("filtered", pushdown_filters=filter_blob([node], pa.table({"k": [5]})))
    assert answer.rows() == {"n": [9, 8]}
    assert control(answer) == [
        {},
        {"ttl": "300", "scope": "catalog", "etag": "x", "revalidatable": "1", "stale_if_error": "5"},
        {},
    ]


def test_of_each_stream(demo: Worker, peer: Connect) -> None:
    """The client takes what any of them says first, so all of them have to."""

    class Shared(TableFunctionGenerator[None]):
        FIXED_SCHEMA = N
        CACHE_CONTROL = CacheControl(ttl=300)

        class Meta:
            max_workers = 2

        @classmethod
        def on_init(cls, params: InitParams[None]) -> GlobalInitResponse:
            params.storage.queue_push([b"\1", b"\2", b"\3"])
            return GlobalInitResponse(2)

        @classmethod
        def process(cls, params: Params, state: None, out: OutputCollector) -> None:
            part = params.storage.queue_pop()
            out.emit([part[0]]) if part else out.finish()

    demo.add(Shared)
    client = peer(demo)
    first = client.table("shared", ticks=2, execution_id=None)
    assert control(first) == [{"ttl": "300", "scope": "catalog"}, {}]


def revalidated(params: Params) -> Iterator[Any]:
    if params.if_none_match == "v1" or params.if_modified_since == "2024-01-31T12:00:00Z":
        yield Emit(None, cache_control={"not_modified": True, "etag": "v1"})
        return
    yield Emit([1, 2], cache_control={"etag": "v1", "last_modified": NOON})


class Revalidated(TableFunctionGenerator[None]):
    FIXED_SCHEMA = N
    CACHE_CONTROL = CacheControl(ttl=0, revalidatable=True)

    @classmethod
    def process(cls, params: Params, state: None, out: OutputCollector) -> None:
        if params.if_none_match == "v1" or params.if_modified_since == "2024-01-31T12:00:00Z":
            out.emit(None, cache_control={"not_modified": True, "etag": "v1"})
        else:
            out.emit([1, 2], cache_control={"etag": "v1", "last_modified": NOON})
        out.finish()


@pytest.mark.parametrize("form", ["function", "class"])
def test_revalidated_scan(demo: Worker, peer: Connect, form: str) -> None:
    if form == "class":
        demo.add(Revalidated)
    else:
        demo.table(columns=N, cache_control={"ttl": 0, "revalidatable": True})(revalidated)
    client = peer(demo)
    fresh = {
        "ttl": "0",
        "scope": "catalog",
        "revalidatable": "1",
        "etag": "v1",
        "last_modified": "2024-01-31T12:00:00Z",
    }
    kept = {"ttl": "0", "scope": "catalog", "revalidatable": "1", "etag": "v1", "not_modified": "1"}
    for known, expected, values in (
        (None, fresh, [1, 2]),
        ({keys.CACHE_IF_NONE_MATCH: b"v0"}, fresh, [1, 2]),
        (KNOWN, kept, []),
        ({keys.CACHE_IF_MODIFIED_SINCE: b"2024-01-31T12:00:00Z"}, kept, []),
    ):
        answer = client.table("revalidated", first_tick=known)
        assert answer.rows() == {"n": values}
        assert control(answer) == [expected]


def test_validators_may_come_with_the_request(demo: Worker, peer: Connect) -> None:
    demo.add(Revalidated)
    client = peer(demo)
    bind_call = client.bind_request("revalidated")
    values = {"bind_call": bind_call, "output_schema": client.bind_blob(bind_call)["output_schema"]}
    blob = records.INIT_REQUEST.encode(values)
    _, answer = client.exchange(request("init", {"request": blob}, cache_if_none_match=b"v1") + tick_stream(3))
    assert control(answer)[0]["not_modified"] == "1"


def test_an_answer_nobody_asked_for(demo: Worker, peer: Connect) -> None:
    @demo.table(columns=N)
    def hasty() -> Emit:
        return Emit(None, cache_control={"not_modified": True})

    @demo.table(columns=N)
    def wordy() -> Emit:
        return Emit([1], cache_control={"not_modified": True})

    client = peer(demo)
    assert control(client.table("hasty", first_tick=KNOWN)) == [{"scope": "catalog", "not_modified": "1"}]
    with pytest.raises(RemoteFailure, match="'hasty': not_modified, but the client has no result"):
        client.table("hasty")
    with pytest.raises(RemoteFailure, match="'wordy': not_modified goes without rows, but the batch has 1"):
        client.table("wordy", first_tick=KNOWN)
    with pytest.raises(RemoteFailure, match="a cache validator is not UTF-8"):
        client.table("hasty", first_tick={keys.CACHE_IF_NONE_MATCH: b"\xff"})


class Mapped(TableInOutGenerator[None]):
    CACHE_CONTROL = CacheControl(ttl=0, revalidatable=True)

    @classmethod
    def process(cls, params: Params, state: None, batch: RecordBatch, out: ExchangeCollector) -> None:
        tag = f"{batch.num_rows} rows"
        known = params.if_none_match == tag
        out.emit(None if known else batch, cache_control={"etag": tag, "not_modified": known})


def mapped(params: Params, data: TableInput) -> Any:
    tag = f"{data.num_rows} rows"
    known = params.if_none_match == tag
    return Emit(None if known else data, cache_control={"etag": tag, "not_modified": known})


@pytest.mark.parametrize("form", ["function", "class"])
def test_each_batch_of_an_input_is_revalidated(demo: Worker, peer: Connect, form: str) -> None:
    if form == "class":
        demo.add(Mapped)
    else:
        demo.table_in_out(cache_control={"ttl": 0, "revalidatable": True})(mapped)
    answer = call(peer(demo), "mapped", metadata={keys.CACHE_IF_NONE_MATCH: b"2 rows"})
    same = {"ttl": "0", "scope": "catalog", "revalidatable": "1"}
    assert control(answer) == [
        {**same, "etag": "2 rows", "not_modified": "1"},
        {**same, "etag": "0 rows"},
        {**same, "etag": "3 rows"},
    ]
    assert [batch.num_rows for batch, _ in answer.batches] == [0, 0, 3]
    assert control(call(peer(demo), "mapped"))[0] == {**same, "etag": "2 rows"}


def test_a_validator_is_of_its_batch_only(demo: Worker, peer: Connect) -> None:
    seen = []

    @demo.row_transform(columns={"v": "int64"})
    def watched(n: Int64, params: Params) -> Any:
        seen.append((params.if_none_match, params.if_modified_since))
        return Emit(RowsOf({"v": n}, np.arange(len(n))), cache_control={"ttl": 5, "per_value": True})

    client = peer(demo)
    rows = {"n": [1, 2]}
    answer = call(client, "watched", columns=N, rows=[rows], metadata={keys.CACHE_IF_MODIFIED_SINCE: b"x"})
    answer = call(client, "watched", columns=N, rows=[rows])
    assert seen == [(None, "x"), (None, None)]
    assert control(answer) == [{"ttl": "5", "scope": "catalog", "per_value": "1"}]
    assert answer.rows() == {"v": [1, 2]}


def test_what_goes_beside_an_answer(demo: Worker, peer: Connect) -> None:
    @demo.table_in_out
    def indexed(data: TableInput) -> Any:
        return Emit(data, batch_index=1)

    @demo.table_in_out
    def kept(data: TableInput) -> Any:
        return Emit(data, cache_control={"ttl": 5, "scope": "transaction"})

    @demo.table_in_out
    def unchanged(data: TableInput) -> Any:
        return Emit(None, cache_control={"not_modified": True})

    client = peer(demo)
    for name, text in (
        ("indexed", "batch_index and partition_values are for table functions"),
        ("kept", "CacheControl.scope 'transaction' is for table functions"),
        ("unchanged", "not_modified, but the client has no result"),
    ):
        with pytest.raises(RemoteFailure, match=text):
            call(client, name)


def stateless(data: TableInput) -> TableInput:
    return data


def running(batches: Iterator[TableInput]) -> Iterator[TableInput]:
    yield from batches


def test_a_whole_input(demo: Worker, peer: Connect) -> None:
    class Collected(TableBufferingFunction[None]):
        CACHE_CONTROL = CacheControl(ttl=300)

    demo.add(Collected)
    with pytest.raises(DefinitionError, match="CacheControl.scope 'transaction' is for table functions"):
        demo.table_buffering(cache_control={"ttl": 1, "scope": "transaction"})(stateless)


def ones() -> list[int]:
    return [1]


def mapping(x: Int64) -> Int64:
    return x


SINGLE: dict[str, Any] = {"partition_columns": ["n"], "partition_kind": "SINGLE_VALUE_PARTITIONS"}


@pytest.mark.parametrize(
    ("declare", "options", "function", "text"),
    [
        (table, {"columns": N, "cache_control": {"per_value": True}}, ones, "per_value is for functions over columns"),
        (
            table,
            {"columns": N, "cache_control": {"not_modified": True}},
            ones,
            "not_modified is the answer to a request",
        ),
        (
            table,
            {"columns": N, "cache_control": {"partition_scope": True}},
            ones,
            "partition_scope needs partition_kind",
        ),
        (
            table_in_out,
            {"cache_control": {"partition_scope": True}},
            stateless,
            "partition_scope is for table functions",
        ),
        (table_in_out, {"cache_control": {"scope": "transaction"}}, stateless, "scope 'transaction' is for"),
        (table_in_out, {"cache_control": {"ttl": 1}}, running, "depends on the batches before"),
        (table_in_out, {"cache_control": {"ttl": 1}, "finish": ones}, stateless, "depends on the batches before"),
        (scalar, {"cache_control": {"ttl": 1}}, mapping, "results of scalar functions are kept by value"),
    ],
)
def test_what_makes_no_sense(declare: Any, options: dict[str, Any], function: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        declare(**options)(function)


def test_what_makes_sense_for_some() -> None:
    table(columns=N, cache_control={"ttl": 1, "partition_scope": True}, **SINGLE)(ones)
    scalar(cache_control={"no_store": True})(mapping)


def test_tables_of_data(demo: Worker, peer: Connect) -> None:
    demo.add_table("t", {"n": [1, 2]}, cache_control={"ttl": 60})
    demo.add_table("plain", {"n": [1, 2]})
    client = peer(demo)
    assert control(client.table("scan_t")) == [{"ttl": "60", "scope": "catalog"}]
    assert control(client.table("scan_plain")) == [{}]
    with pytest.raises(DefinitionError, match="table 'u': CacheControl.ttl must be >= 0, got -1"):
        demo.add_table("u", {"n": [1]}, cache_control={"ttl": -1})
    with pytest.raises(DefinitionError, match="partition_scope needs"):
        demo.add_table("u", {"n": [1]}, cache_control={"ttl": 1, "partition_scope": True})


def test_files_are_read_again_when_they_have_changed(demo: Worker, peer: Connect, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": [1, 2]}), path)
    demo.add_table("t", path, cache_control={"ttl": 0, "revalidatable": True}, live=True)
    demo.add_table("fixed", path, cache_control={"ttl": 0, "revalidatable": True, "etag": "mine"})
    client = peer(demo)
    (first,) = control(client.table("scan_t"))
    known = {keys.CACHE_IF_NONE_MATCH: first["etag"].encode()}
    same = client.table("scan_t", first_tick=known)
    assert (control(same), same.rows()) == ([{**first, "not_modified": "1"}], {"n": []})
    pq.write_table(pa.table({"n": [3]}), path)
    os.utime(path, ns=(1, 1))
    changed = client.table("scan_t", first_tick=known)
    assert changed.rows() == {"n": [3]}
    assert control(changed)[0]["etag"] != first["etag"]
    assert control(client.table("scan_fixed"))[0]["etag"] == "mine"
