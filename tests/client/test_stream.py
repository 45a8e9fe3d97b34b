"""Streams: ticks, exchanges, endings (sections 4.4 to 4.10)."""

from collections.abc import Callable

import pytest

from tests.client.peers import script
from tests.fix_worker import Workers
from vgi_fast.client import Client, Stream
from vgi_fast.errors import RemoteError, TransportError
from vgi_fast.wire.arrow import RecordBatch, Schema

Start = Callable[[str], Client]

COUNTING = """
    SCHEMA = pa.schema([("n", pa.int64())])

    def serve(steps):
        read_request()
        header()
        reader = pa.ipc.open_stream(inp)
        writer = pa.ipc.new_stream(out, SCHEMA)
        seen = []
        for index in range(steps):
            try:
                batch, metadata = reader.read_next_batch_with_custom_metadata()
            except StopIteration:
                break
            seen.append((batch.num_rows, batch.num_columns, dict(metadata or {})))
            if b"vgi_rpc.cancel" in (metadata or {}):
                break
            writer.write_batch(pa.record_batch([[index]], schema=SCHEMA))
            out.flush()
        else:
            # The client waits for the end, not for its own next tick to be read.
            reader.read_next_batch()
        writer.close()
        out.flush()
        for _ in reader:
            pass
        return seen
"""
REQUEST = {"bind_call": b"", "output_schema": b""}

pytestmark = pytest.mark.transports("stdio")  # its peers speak on pipes only


@pytest.fixture
def start(worker: Workers) -> Start:
    return lambda body: worker(script(COUNTING, body))


def numbers(stream: Stream) -> list[int]:
    return [value for batch in stream.batches() for value in batch.column(0).to_pylist()]


@pytest.mark.parametrize("ticks_ahead", [0, 1])
def test_producer_runs_to_its_end(start: Start, ticks_ahead: int) -> None:
    client = start("serve(3); serve(1); inp.read()")
    stream = client.init(REQUEST)
    assert stream.header == {"execution_id": b"x" * 16, "opaque_data": None, "max_workers": 1}
    assert [batch.column(0).to_pylist() for batch in stream.batches(ticks_ahead)] == [[0], [1], [2]]
    assert numbers(client.init(REQUEST)) == [0]


def test_ticks_are_empty_and_carry_metadata(start: Start) -> None:
    client = start(
        """
        seen = serve(2)
        read_request()
        assert seen == [(0, 0, {}), (0, 0, {b"vgi_pushdown_filters": b"x"})], seen
        answer(version(1))
        """
    )
    with client.init(REQUEST) as stream:
        stream.tick()
        stream.tick({b"vgi_pushdown_filters": b"x"})
        assert stream.tick() is None
    assert client.call("catalog_version", {"attach_opaque_data": b""}) == {"version": 1}


def test_exchange_answers_each_batch(start: Start) -> None:
    client = start("seen = serve(2); assert seen[1] == (3, 1, {}), seen; inp.read()")
    schema = Schema.parse("a: utf8")
    with client.init(REQUEST, input_schema=schema) as stream:
        inputs: list[list[str | None]] = [["x"], ["a", "b", None]]
        for expected, rows in enumerate(inputs):
            answer = stream.exchange(RecordBatch.from_pydict(schema, {"a": rows}))
            assert answer is not None
            assert answer.to_pydict() == {"n": [expected]}
        assert stream.exchange(RecordBatch.from_pydict(schema, {"a": []})) is None


@pytest.mark.parametrize("taken", [0, 1])
def test_early_close_leaves_the_connection_usable(start: Start, taken: int) -> None:
    client = start("serve(9); serve(2); inp.read()")
    with client.init(REQUEST) as stream:
        for _ in range(taken):
            assert stream.tick() is not None
    assert numbers(client.init(REQUEST)) == [0, 1]


def test_abandoned_iteration_closes_the_stream(start: Start) -> None:
    client = start("serve(9); serve(2); inp.read()")
    batches = client.init(REQUEST).batches()
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert numbers(client.init(REQUEST)) == [0, 1]


@pytest.mark.parametrize("taken", [0, 2])
def test_cancel_is_told_to_the_worker(start: Start, taken: int) -> None:
    client = start(
        f"""
        seen = serve(9)
        assert seen == [(0, 0, {{}})] * {taken} + [(0, 0, {{b"vgi_rpc.cancel": b"1"}})], seen
        serve(1)
        inp.read()
        """
    )
    stream = client.init(REQUEST)
    for _ in range(taken):
        stream.tick()
    stream.cancel()
    assert numbers(client.init(REQUEST)) == [0]


def test_second_call_on_an_open_stream_is_refused(start: Start) -> None:
    client = start("serve(9); inp.read()")
    with client.init(REQUEST), pytest.raises(TransportError, match="a stream is open"):
        client.catalogs()


def test_error_at_init(start: Start) -> None:
    client = start(
        """
        read_request()
        stream(EMPTY, log("EXCEPTION", "ValueError: no such thing", EMPTY))
        serve(1)
        inp.read()
        """
    )
    with pytest.raises(RemoteError, match="no such thing"):
        client.init(REQUEST)
    assert numbers(client.init(REQUEST)) == [0]


def test_error_in_mid_stream_ends_both_streams(start: Start) -> None:
    client = start(
        """
        read_request()
        header()
        reader = pa.ipc.open_stream(inp)
        reader.read_next_batch()
        stream(SCHEMA, log("INFO", "so far", SCHEMA), log("EXCEPTION", "ZeroDivisionError: x", SCHEMA))
        for _ in reader:
            pass
        serve(1)
        inp.read()
        """
    )
    stream = client.init(REQUEST)
    with pytest.raises(RemoteError, match="ZeroDivisionError"):
        stream.tick()
    assert [record.message for record in client.logs] == ["so far"]
    with pytest.raises(TransportError, match="stream is closed"):
        stream.tick()
    assert numbers(client.init(REQUEST)) == [0]


def test_worker_lost_in_mid_stream(worker: Workers) -> None:
    body = """
        read_request()
        header()
        reader = pa.ipc.open_stream(inp)
        reader.read_next_batch()
        schema = pa.schema([("n", pa.int64())])
        stream(schema, (pa.record_batch([[1]], schema=schema), None), end=False)
        sys.exit(5)
    """
    client = worker.may_fail(worker(script(body)))
    with client.init(REQUEST) as stream:
        assert stream.tick() is not None
        with pytest.raises(TransportError, match="exited with status 5 before the next batch"):
            stream.tick()
