"""Unary calls, errors and endings, against peers that were made for it (sections 3, 5 and 9.1)."""

from collections.abc import Callable

import pytest

from tests.client.peers import script
from tests.fix_worker import Workers
from vgi_fast.client import Client, LogRecord
from vgi_fast.errors import MethodNotImplementedError, ProtocolError, RemoteError, TransportError

Peer = Callable[..., Client]

pytestmark = pytest.mark.transports("stdio")  # its peers speak on pipes only


@pytest.fixture
def peer(worker: Workers) -> Peer:
    def start(body: str, **options: object) -> Client:
        return worker.may_fail(worker(script(body), **options))

    return start


def version(client: Client) -> int:
    return int(client.call("catalog_version", {"attach_opaque_data": b"a"})["version"])


def test_request_carries_method_versions_and_declared_parameters(peer: Peer) -> None:
    client = peer(
        """
        reader = pa.ipc.open_stream(inp)
        batch, metadata = reader.read_next_batch_with_custom_metadata()
        assert dict(metadata) == {
            b"vgi_rpc.method": b"catalog_version",
            b"vgi_rpc.request_version": b"1",
            b"vgi_rpc.protocol_version": b"1.3.0",
        }, dict(metadata)
        assert batch.to_pydict() == {"attach_opaque_data": [b"a"], "transaction_opaque_data": [None]}, batch
        assert not batch.schema.field("attach_opaque_data").nullable
        assert not list(reader)
        answer(version(4))
        """
    )
    assert version(client) == 4
    assert client.close() == 0


def test_call_without_parameters_has_one_row(peer: Peer) -> None:
    client = peer(
        """
        method, batch = read_request()
        assert (batch.num_rows, batch.num_columns) == (1, 0), batch
        answer(row(items=(pa.list_(pa.binary()), [])))
        """
    )
    assert client.catalogs() == []


def test_records_are_read_by_name(peer: Peer) -> None:
    client = peer(
        """
        read_request()
        answer(row(surplus=(pa.utf8(), "x"), version=(pa.int32(), 7)))
        read_request()
        answer(row(surplus=(pa.utf8(), "x")))
        """
    )
    attach = {"attach_opaque_data": b""}
    assert client.call("catalog_version", attach) == {"version": 7}
    assert client.call("catalog_version", attach) == {"version": None}


def test_void_result_is_none(peer: Peer) -> None:
    client = peer("read_request(); stream(EMPTY, (pa.RecordBatch.from_pylist([], schema=EMPTY), None))")
    assert client.call("catalog_detach", {"attach_opaque_data": b""}) is None


def test_logs_around_the_result_are_collected(peer: Peer) -> None:
    client = peer(
        """
        read_request()
        answer(version(1), log("INFO", "before", rows="3"), after=[log("WARN", "after")])
        """
    )
    assert version(client) == 1
    assert list(client.logs) == [LogRecord("INFO", "before", {"rows": "3"}), LogRecord("WARN", "after")]


def test_logs_go_to_the_callback(peer: Peer) -> None:
    seen: list[LogRecord] = []
    client = peer("read_request(); answer(version(1), log('DEBUG', ''))", on_log=seen.append)
    version(client)
    assert seen == [LogRecord("DEBUG", "")]
    assert not client.logs


def test_error_leaves_the_connection_usable(peer: Peer) -> None:
    client = peer(
        """
        read_request()
        batch, metadata = log("EXCEPTION", "ValueError: no", exception_type="ValueError", traceback="tb")
        stream(RESULT, log("INFO", "trying"), (batch, metadata | {"vgi_rpc.error_kind": "session_lost"}))
        read_request()
        answer(version(2))
        """
    )
    with pytest.raises(RemoteError, match=r"^ValueError: no$") as caught:
        version(client)
    assert (caught.value.error_type, caught.value.kind) == ("ValueError", "session_lost")
    assert caught.value.extra["traceback"] == "tb"
    assert [record.message for record in client.logs] == ["trying"]
    assert version(client) == 2


def test_error_without_extra_takes_its_type_from_the_message(peer: Peer) -> None:
    client = peer(
        """
        read_request()
        batch, metadata = log("EXCEPTION", "KeyError: 'x'", schema=EMPTY)
        stream(EMPTY, (batch, metadata | {"vgi_rpc.log_extra": "not json"}))
        """
    )
    with pytest.raises(RemoteError) as caught:
        version(client)
    assert (caught.value.error_type, caught.value.kind, caught.value.extra) == ("KeyError", None, {})


def test_late_error_is_raised(peer: Peer) -> None:
    client = peer("read_request(); answer(version(1), after=[log('EXCEPTION', 'TypeError: late')])")
    with pytest.raises(RemoteError, match="late"):
        version(client)


def test_batch_with_rows_is_data_whatever_its_metadata_says(peer: Peer) -> None:
    client = peer(
        """
        read_request()
        batch = pa.record_batch([pa.array([version(3)], pa.binary())], schema=RESULT)
        stream(RESULT, (batch, {"vgi_rpc.log_level": "EXCEPTION"}))
        """
    )
    assert version(client) == 3


def test_undeclared_method_is_refused_here(peer: Peer) -> None:
    client = peer("inp.read()")
    with pytest.raises(MethodNotImplementedError):
        client.call("nope")
    assert client.close() == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("answer(version(1), after=[(pa.record_batch([[b'x']], schema=RESULT), None)])", "more than one data batch"),
        ("batch, _ = log('x', 'y'); stream(RESULT, (batch, {'vgi_rpc.shm_offset': '65536'}))", "shared memory"),
        ("out.write(bytes.fromhex('ffffffff08000000') + b'nonsense'); out.flush()", "message"),
    ],
)
def test_broken_rules_break_the_connection(peer: Peer, body: str, message: str) -> None:
    client = peer(f"read_request(); {body}; inp.read()")
    with pytest.raises(ProtocolError, match=message):
        version(client)
    with pytest.raises(TransportError, match="closed or broken"):
        version(client)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit(3)", "exited with status 3 before the answer to 'catalog_version'"),
        ("os.kill(os.getpid(), signal.SIGKILL)", r"was killed by signal 9 \(SIGKILL\)"),
        ("os.close(1); inp.read()", "the worker hung up before the answer"),
        ("stream(RESULT, log('INFO', 'x'), end=False); sys.exit(7)", "exited with status 7"),
        ("out.write(bytes.fromhex('ffffffff10000000')); out.flush(); sys.exit(1)", "exited with status 1"),
    ],
)
def test_lost_worker_is_reported_with_its_end_and_stderr(peer: Peer, body: str, message: str) -> None:
    client = peer(f"read_request(); print('last words', file=sys.stderr, flush=True); {body}")
    with pytest.raises((TransportError, ProtocolError), match=message) as caught:
        version(client)
    assert "last words" in str(caught.value)


def test_answer_without_a_result_is_refused(peer: Peer) -> None:
    client = peer("read_request(); stream(RESULT, log('INFO', 'x'))")
    with pytest.raises(ProtocolError, match="the answer to 'catalog_version' has no result"):
        version(client)


def test_missing_program_is_reported() -> None:
    with pytest.raises(TransportError, match="cannot start worker: /no/such/program"):
        Client(["/no/such/program"])
    with Client("/no/such/program --flag") as client, pytest.raises(TransportError, match=r"status 127.*not found"):
        client.catalogs()
    assert client.exit_status == 127


def test_late_answer_ends_the_worker(peer: Peer) -> None:
    client = peer("read_request(); inp.read()", timeout_s=0.5)
    with pytest.raises(TransportError, match=r"was ended: the answer to 'catalog_version' took longer than 0\.5 s"):
        version(client)
    assert client.close() == -9


def test_deadline_counts_from_each_request(peer: Peer) -> None:
    client = peer("for _ in range(50): read_request(); answer(version(1))", timeout_s=20)
    assert {version(client) for _ in range(50)} == {1}


def test_worker_that_ignores_the_end_of_input_is_terminated(peer: Peer) -> None:
    client = peer("read_request(); answer(version(1)); signal.pause()")
    version(client)
    assert client.close(wait_s=0.1) == -15


def test_worker_behind_a_shell_is_ended_with_it(worker: Workers) -> None:
    import shlex

    command = shlex.join(worker.command(script("read_request(); inp.read(); signal.pause()")))
    client = Client(f"{command}; true", timeout_s=0.5)
    with pytest.raises(TransportError, match="took longer"):
        version(client)
    assert client.close() == -9


def test_full_stderr_does_not_block_the_worker(peer: Peer) -> None:
    client = peer("read_request(); sys.stderr.write('x' * 1_000_000); answer(version(1))")
    assert version(client) == 1
    client.close()
    assert client.connection.channel.stderr_tail() == "x" * 4096


def test_close_is_repeatable_and_refuses_further_calls(peer: Peer) -> None:
    client = peer("inp.read()")
    assert client.close() == 0
    assert client.close() == 0
    with pytest.raises(TransportError, match="closed or broken"):
        version(client)
