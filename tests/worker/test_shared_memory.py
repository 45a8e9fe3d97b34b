"""Shared memory between a live client and a live worker: used, kept apart, given back, and without it."""

import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fix_memory import Peer, read_streams, request, tick_stream
from tests.fix_segments import DATA, Made, names
from tests.fix_worker import Workers
from vgi_fast import Int64, Worker
from vgi_fast._core import Output
from vgi_fast.client import Client
from vgi_fast.client.calls import ScalarCall
from vgi_fast.errors import RemoteError, TransportError
from vgi_fast.transports.shared_memory import min_batch_bytes
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import RecordBatch, Schema, decode_stream, encode_stream
from vgi_fast.wire.records import TABLE_FUNCTION_CARDINALITY_REQUEST

Make = Callable[..., Made]
Connect = Callable[[Worker], Peer]

shared = pytest.mark.transports("shm")

KEEPING = """
    import os, sys
    import numpy as np
    import pyarrow as pa
    from collections.abc import Iterator
    from vgi_fast import Int64, Worker

    worker = Worker("keeping")
    kept = []

    @worker.scalar
    def keep(x: Int64) -> Int64:
        kept.append(x)
        return np.full(len(x), sum(int(one.sum()) for one in kept))

    @worker.scalar
    def keep_arrow(x: pa.Int64Array) -> pa.Int64Array:
        kept.append(x.slice(1).to_numpy())
        return x

    @worker.scalar
    def forget(x: Int64) -> Int64:
        kept.clear()
        return x

    @worker.scalar
    def fails(x: Int64) -> Int64:
        kept.append(x)
        raise ValueError("not this one")

    @worker.scalar
    def modules(x: Int64) -> Int64:
        found = "multiprocessing.resource_tracker" in sys.modules
        return np.full(len(x), int(found))

    @worker.table(columns={"n": "int64", "w": "dictionary<int8, utf8>"})
    def rows(batches: int, size: int) -> Iterator[dict[str, object]]:
        for index in range(batches):
            yield {"n": np.arange(index * size, (index + 1) * size), "w": ["even", "odd"] * (size // 2)}

    if __name__ == "__main__":
        worker.run()
"""


def segment_of(client: Client) -> Any:
    memory = client.connection.shared_memory
    assert memory is not None
    return memory.segment


def one_column(call: ScalarCall, values: Any) -> RecordBatch:
    schema = call.bound.input_schema
    assert schema is not None
    return RecordBatch.from_pydict(schema, {schema.names[0]: values})


@shared
def test_both_directions_use_it(worker: Workers) -> None:
    client = worker("basic")
    catalog = client.attach()
    values = np.arange(10_000)
    with catalog.open_scalar("double", [Schema.parse("x: int64")[0].type]) as call:
        for _ in range(4):
            written, read = client.connection.output.bytes_written, client.connection.input.bytes_read
            batch = one_column(call, values)
            answer = call.exchange(batch)
            assert client.connection.output.bytes_written - written < 1000
            assert client.connection.input.bytes_read - read < 1000
            # The worker freed its input, this process holds the answer.
            assert len(segment_of(client).entries()) == 1
            np.testing.assert_array_equal(answer.to_numpy(), 2 * values)
            del answer
    assert client.connection.output.pointers_written == 4


@shared
def test_a_producer_and_dictionaries(worker: Workers) -> None:
    client = worker(KEEPING)
    table = client.attach().table("rows", 20, 1000).read_all()
    assert table.column("n").to_pylist() == list(range(20_000))
    assert table.column("w").to_pylist() == ["even", "odd"] * 10_000
    assert client.connection.input.bytes_read < 50_000
    # Everything is held by the table, and remains in it when the segment is used again.
    again = client.attach().table("rows", 20, 1000).read_all()
    assert again == table
    assert table.column("n").to_pylist() == list(range(20_000))


@shared
def test_a_dictionary_goes_to_the_worker(worker: Workers) -> None:
    client = worker(
        """
        import pyarrow as pa
        from vgi_fast import AnyColumn, Int64, Utf8, Worker
        import numpy as np
        worker = Worker("any")

        @worker.scalar
        def text(x: AnyColumn) -> Utf8:
            return np.array([str(value) for value in pa.array(x).to_pylist()], object)

        if __name__ == "__main__":
            worker.run()
        """
    )
    schema = Schema.parse("w: dictionary<int8, utf8>")
    with client.attach().open_scalar("text", schema.types) as call:
        for words in (["a", "b", None, "a"], ["c"], ["d", "a"] * 50):
            answer = call.exchange(one_column(call, words))
            assert answer.to_pylist() == words
    assert client.connection.output.pointers_written == 3


@shared
def test_what_an_author_keeps_stays_valid(worker: Workers) -> None:
    """Arrays of earlier calls and earlier streams, while the client fills the segment again and again."""
    client = worker(KEEPING, shared_memory_bytes=DATA + 200_000)
    catalog = client.attach()
    type_ = Schema.parse("x: int64")[0].type
    expected = 0
    for stream in range(6):
        with catalog.open_scalar("keep" if stream % 2 else "keep_arrow", [type_]) as call:
            for start in range(8):
                values = np.arange(start, start + 3000) * (stream + 1)
                answer = call.exchange(one_column(call, values))
                expected += int(values.sum()) - (0 if stream % 2 else int(values[0]))
                if stream % 2:
                    assert answer[0] == answer[2999] == expected
                else:
                    assert answer[1] == values[1]
                del answer
        assert segment_of(client).entries() == []
    assert client.connection.output.pointers_written > 6


@shared
def test_an_author_who_keeps_all_fills_the_segment(worker: Workers) -> None:
    """Then batches travel inline, until he lets go."""
    client = worker(KEEPING, shared_memory_bytes=DATA + 100_000)
    catalog = client.attach()
    type_ = Schema.parse("x: int64")[0].type
    with catalog.open_scalar("keep", [type_]) as call:
        for count in range(1, 10):
            batch = one_column(call, np.ones(3000, np.int64))
            assert call.exchange(batch)[0] == 3000 * count
    assert 2 <= client.connection.output.pointers_written < 9
    with catalog.open_scalar("forget", [type_]) as call:
        placed = client.connection.output.pointers_written
        for _ in range(10):
            call.exchange(one_column(call, np.ones(3000, np.int64)))
        assert client.connection.output.pointers_written == placed + 10


@shared
def test_larger_than_the_segment(worker: Workers) -> None:
    client = worker(KEEPING, shared_memory_bytes=DATA + 20_000)
    values = np.arange(100_000)
    catalog = client.attach()
    with catalog.open_scalar("keep_arrow", [Schema.parse("x: int64")[0].type]) as call:
        for size, placed in ((100_000, 0), (100, 1), (100_000, 1)):
            batch = one_column(call, values[:size])
            assert call.exchange(batch).to_pylist() == values[:size].tolist()
            assert client.connection.output.pointers_written == placed


@shared
def test_the_connection_goes_on_after_an_error(worker: Workers) -> None:
    client = worker(KEEPING)
    catalog = client.attach()
    for _ in range(3):
        with pytest.raises(RemoteError, match="not this one"):
            catalog.scalar("fails", {"x": [1, 2, 3]})
        assert catalog.scalar("keep_arrow", {"x": [4]}).to_pylist() == [4]


@shared
def test_a_batch_that_the_client_keeps(worker: Workers) -> None:
    client = worker(KEEPING)
    bound = client.attach().bind_table("rows", [6, 100])
    with bound.init() as stream:
        batches = list(stream.batches())
    columns = [batch.column(0).to_numpy() for batch in batches]
    del batches
    with bound.init() as stream:
        assert sum(batch.num_rows for batch in stream.batches()) == 600
    client.close()
    assert np.concatenate(columns).tolist() == list(range(600))


# ---- names ----


@shared
def test_unlinked_with_its_client(worker: Workers) -> None:
    client = worker(KEEPING)
    catalog = client.attach()
    assert names() == set()  # nothing is made before the first stream
    assert catalog.scalar("modules", {"x": [1]}).to_pylist() == [0]
    if os.path.exists("/dev/shm"):
        assert names() == {segment_of(client).name}
        assert (Path("/dev/shm") / segment_of(client).name).stat().st_mode & 0o777 == 0o600
    client.close()
    assert names() == set()
    with pytest.raises(TransportError):
        type(segment_of(client)).attach(segment_of(client).name)


@shared
def test_unlinked_when_the_worker_is_killed(worker: Workers) -> None:
    client = worker.may_fail(worker(KEEPING))
    client.attach().scalar("modules", {"x": [1]})
    name = segment_of(client).name
    os.kill(client.connection.channel.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    with pytest.raises(TransportError):
        client.catalogs()
    with pytest.raises(TransportError, match=name):
        type(segment_of(client)).attach(name)


@shared
def test_unlinked_with_a_forgotten_client(worker: Workers) -> None:
    client = worker(KEEPING)
    client.attach().scalar("modules", {"x": [1]})
    memory = client.connection.shared_memory
    assert memory is not None
    kind, name = type(memory.segment), memory.segment.name
    client.connection.shared_memory = None
    del memory
    gc.collect()
    with pytest.raises(TransportError, match=name):
        kind.attach(name)


@shared
def test_no_helper_process(worker: Workers) -> None:
    if not os.path.exists("/proc/self/task"):
        pytest.skip("needs /proc")
    client = worker(KEEPING)
    client.attach().scalar("modules", {"x": [1]})
    pid = client.connection.channel.pid  # type: ignore[attr-defined]
    children = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    assert "".join(children).split() == []


# ---- negotiation ----


@pytest.mark.transports("stdio", "unix", "tcp")
def test_who_can(worker: Workers, request: pytest.FixtureRequest) -> None:
    client = worker(KEEPING, shared_memory_bytes=1 << 20, min_shared_batch_bytes=0)
    assert client.attach().scalar("forget", {"x": [1, 2]}).to_pylist() == [1, 2]
    can = "tcp" not in request.node.name
    assert client.transport_options({keys.TRANSPORT_SHM: keys.TRUE})["vgi_rpc.transport.shm"] == str(can).lower()
    assert (client.connection.shared_memory is not None) is can
    assert (client.connection.output.pointers_written > 0) is can


def test_the_threshold_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, expected in (("", 131_072), ("1000", 1000), ("0", 0), ("-5", 131_072), ("many", 131_072), ("²", 131_072)):
        monkeypatch.setenv("VGI_RPC_SHM_MIN_BATCH_BYTES", text)
        assert min_batch_bytes() == expected


# ---- requests, byte by byte ----


@pytest.fixture
def served(peer: Connect, monkeypatch: pytest.MonkeyPatch) -> Peer:
    monkeypatch.setenv("VGI_RPC_SHM_MIN_BATCH_BYTES", "0")
    worker = Worker("demo")

    @worker.scalar
    def negative(x: Int64) -> Int64:
        return -x

    @worker.table(columns="n: int64")
    def three() -> Iterator[Any]:
        for start in (0, 10, 20):
            yield np.arange(start, start + 10)

    return peer(worker)


def as_pointer(made: Made, data: bytes, **more: bytes | None) -> bytes:
    """The same request with its batch in a slot; metadata by name is added."""
    schema, (batch,) = decode_stream(data)
    region = encode_stream(schema, [batch.with_metadata(None)])
    metadata = {
        **batch.metadata,
        keys.SHM_OFFSET: str(made.place(region)).encode(),
        keys.SHM_LENGTH: str(len(region)).encode(),
        **{getattr(keys, name.upper()): value for name, value in more.items() if value is not None},
    }
    empty = RecordBatch(schema, [column.slice(0, 0) for column in batch.columns], 0, metadata)
    return encode_stream(schema, [empty])


def question(served: Peer) -> bytes:
    """A request whose answer is made for it; constant answers are whole streams and stay inline."""
    row = {"bind_call": served.bind_request("three")}
    return request("table_function_cardinality", {"request": TABLE_FUNCTION_CARDINALITY_REQUEST.encode(row)})


def test_a_request_may_be_a_pointer(served: Peer, segments: Make) -> None:
    made = segments()
    plain = served.exchange(question(served))[0].checked().batches[0][0]
    named = as_pointer(made, question(served), shm_segment_name=made.segment.name.encode())
    later = as_pointer(made, question(served))
    answers = served.exchange(named + later + question(served))
    # The first two were pointers, so their answers may be.
    slots = made.segment.entries()
    assert len(slots) == 2
    for answer, (offset, length) in zip(answers[:2], slots, strict=True):
        ((batch, metadata),) = answer.checked().batches
        assert batch.num_rows == 0
        assert metadata == {keys.SHM_OFFSET: str(offset).encode(), keys.SHM_LENGTH: str(length).encode()}
        (stored,) = read_streams(made.bytes[offset : offset + length])
        assert stored.batches[0][0] == plain
    assert answers[2].checked().batches[0][0] == plain


def test_a_pointer_with_nothing_attached(served: Peer, segments: Make) -> None:
    made = segments()
    pointer = as_pointer(made, question(served))
    failed, fine = served.exchange(pointer + question(served))
    assert failed.error is not None
    assert "no segment is attached" in str(failed.error)
    assert fine.checked().batches[0][0].num_rows == 1


@pytest.mark.parametrize("name", [b"vgi_shm_of_nobody", b"../../etc/passwd", b"\xff\xfe", b"", b"a\0b", b"x" * 5000])
def test_a_segment_that_cannot_be_had(served: Peer, capsys: pytest.CaptureFixture[str], name: bytes) -> None:
    bind_call = served.bind_request("three")
    init = served.init_request(bind_call)
    schema, (batch,) = decode_stream(init)
    more = {**batch.metadata, keys.SHM_SEGMENT_NAME: name, keys.SHM_SEGMENT_SIZE: b"1048576"}
    header, output = served.exchange(encode_stream(schema, [batch.with_metadata(more)]) + tick_stream(4))
    header.checked()
    assert output.checked().rows() == {"n": [*range(10), *range(10, 20), *range(20, 30)]}
    assert "batches travel inline" in capsys.readouterr().err


@pytest.mark.parametrize("size", [b"1048576", b"-1", b"lots", b"", b"9" * 100])
def test_the_announced_size_counts_for_nothing(served: Peer, segments: Make, size: bytes) -> None:
    made = segments()
    schema, (batch,) = decode_stream(served.init_request(served.bind_request("three")))
    more = {**batch.metadata, keys.SHM_SEGMENT_NAME: made.segment.name.encode(), keys.SHM_SEGMENT_SIZE: size}
    header, output = served.exchange(encode_stream(schema, [batch.with_metadata(more)]) + tick_stream(4))
    # A header is never a pointer.
    assert header.checked().batches[0][0].num_rows == 1
    assert [batch.num_rows for batch, _ in output.checked().batches] == [0, 0, 0]
    assert len(made.segment.entries()) == 3


def test_another_name_replaces_the_segment(served: Peer, segments: Make) -> None:
    first, second = segments(), segments()
    data = b"".join(
        as_pointer(made, question(served), shm_segment_name=made.segment.name.encode())
        for made in (first, second, second, first)
    )
    for answer in served.exchange(data):
        answer.checked()
    assert len(first.segment.entries()) == len(second.segment.entries()) == 2


def test_only_streams_that_named_it_answer_through_it(served: Peer, segments: Make) -> None:
    made = segments()
    init = served.init_request(served.bind_request("three"))
    schema, (batch,) = decode_stream(init)
    more = {**batch.metadata, keys.SHM_SEGMENT_NAME: made.segment.name.encode()}
    named = encode_stream(schema, [batch.with_metadata(more)])
    _, through, _, inline = served.exchange(named + tick_stream(4) + init + tick_stream(4))
    assert [part.num_rows for part, _ in through.checked().batches] == [0, 0, 0]
    assert [part.num_rows for part, _ in inline.checked().batches] == [10, 10, 10]


def scalar_init(served: Peer) -> tuple[bytes, Schema]:
    schema = Schema.parse("col_0: int64")
    bind_call = served.bind_request("negative", columns={"col_0": "int64"}, function_type="SCALAR")
    return served.init_request(bind_call), schema


@pytest.mark.parametrize("attached", [True, False])
def test_a_bad_pointer_ends_the_stream_only(served: Peer, segments: Make, attached: bool) -> None:
    made = segments()
    init, schema = scalar_init(served)
    params, (batch,) = decode_stream(init)
    if attached:
        more = {**batch.metadata, keys.SHM_SEGMENT_NAME: made.segment.name.encode()}
        init = encode_stream(params, [batch.with_metadata(more)])
    pointer = {keys.SHM_OFFSET: b"65536", keys.SHM_LENGTH: b"64"}
    empty = RecordBatch.from_pydict(schema, {"col_0": []}).with_metadata(pointer)
    full = RecordBatch.from_pydict(schema, {"col_0": [1]})
    data = init + encode_stream(schema, [empty, full]) + request("catalog_catalogs")
    header, output, listing = served.exchange(data)
    header.checked()
    assert output.batches == []
    assert output.error is not None
    assert output.error.extra["exception_type"] == "ProtocolError"
    listing.checked()


def test_inputs_through_the_segment(served: Peer, segments: Make) -> None:
    made = segments()
    init, schema = scalar_init(served)
    params, (batch,) = decode_stream(init)
    more = {**batch.metadata, keys.SHM_SEGMENT_NAME: made.segment.name.encode()}
    out = Output()
    out.attach_segment(made.segment, 0)
    out.schema(schema)
    for start in range(3):
        out.batch(RecordBatch.from_pydict(schema, {"col_0": [start]}), {b"k": b"v"})
    out.eos()
    out.flush()
    header, output = served.exchange(encode_stream(params, [batch.with_metadata(more)]) + out.getvalue())
    header.checked()
    found = []
    for _, metadata in output.checked().batches:
        offset, length = int(metadata[keys.SHM_OFFSET]), int(metadata[keys.SHM_LENGTH])
        found.append((offset, read_streams(made.bytes[offset : offset + length])[0].rows()))
    assert [rows for _, rows in found] == [{"result": [0]}, {"result": [-1]}, {"result": [-2]}]
    # The inputs are free, the answers are the client's.
    assert sorted(offset for offset, _ in found) == [offset for offset, _ in made.segment.entries()]
