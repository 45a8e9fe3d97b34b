"""Pools of live processes: placement, crashes, recycling and the ways to end (sections 9.2 and 11.1)."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from textwrap import dedent
from threading import Thread

import pytest

from tests.fix_worker import WORKERS
from tests.pool.conftest import DEADLINE_S, Start, await_end, freeze, pid_of, until
from vgi_fast.client import Client
from vgi_fast.errors import TransportError


def call(client: Client, name: str, *args: object) -> int:
    answer: list[int] = client.attach("pooled").scalar(name, {"x": [21]}, args=list(args)).to_pylist()
    return answer[0]


class Waiting:
    """A call that runs until it is told to end."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._path = folder / f"pipe-{id(self)}"
        os.mkfifo(self._path)
        self.result: object = None
        self._thread = Thread(target=self._call, args=(client,))
        self._thread.start()
        self._pipe = os.open(self._path, os.O_WRONLY)  # returns when the function has opened its end

    def _call(self, client: Client) -> None:
        try:
            self.result = call(client, "wait", str(self._path))
        except Exception as error:
            self.result = error

    def end(self) -> object:
        os.close(self._pipe)
        return self.join()

    def join(self) -> object:
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        return self.result


def at_once(clients: list[Client]) -> list[int]:
    """Process ids, each asked for in a thread."""
    found: list[int] = []
    threads = [Thread(target=lambda each=client: found.append(pid_of(each))) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    return found


# -- placement ----------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [(), ("--tcp", "0")])
def test_connections_are_spread_evenly(pool: Start, address: tuple[str, ...]) -> None:
    clients = pool("--workers", "2", *address).clients(6)
    assert sorted(Counter(map(pid_of, clients)).values()) == [3, 3]
    for client in clients:
        client.close()


def test_connections_at_the_same_time_are_spread_evenly(pool: Start) -> None:
    started = pool("--workers", "2")
    for _ in range(5):
        clients = [started.client() for _ in range(4)]
        found = at_once(clients)
        assert sorted(Counter(found).values()) == [2, 2]
        for client in clients:
            client.close()


def test_one_client_at_a_time_needs_one_process(pool: Start) -> None:
    started = pool("--workers", "4")
    for _ in range(50):
        with started.client() as client:
            assert call(client, "double") == 42
    assert len(started.processes()) == 1


def test_one_connection_per_process_as_long_as_there_is_room(pool: Start) -> None:
    started = pool("--workers", "1", "--no-threaded")
    clients = started.clients(20)
    served = Counter(map(pid_of, clients))
    assert len(served) == 16 and max(served.values()) == 2
    for client in clients:
        client.close()


def test_processes_beyond_those_asked_for_end_when_they_are_idle(pool: Start) -> None:
    started = pool("--workers", "1", "--no-threaded")
    clients = started.clients(3)
    assert len(started.processes()) == 3
    for client in clients:
        client.close()
    until(lambda: len(started.processes()) == 1, "the surplus to end")


def test_processes_do_not_share_their_random_numbers(pool: Start) -> None:
    clients = pool("--workers", "2").clients(2)
    drawn = [client.attach("pooled").scalar("chance", {"x": [1, 2]}).to_pylist() for client in clients]
    assert drawn[0] != drawn[1]
    for client in clients:
        client.close()


def test_processes_have_one_identity(pool: Start) -> None:
    clients = pool("--workers", "2", "--describe").clients(2)
    assert pid_of(clients[0]) != pid_of(clients[1])
    identities = {client.describe_protocol()[0]["vgi_rpc.server_id"] for client in clients}
    assert len(identities) == 1
    for client in clients:
        client.close()


# -- crashes ------------------------------------------------------------------------------------


def test_a_killed_process_is_replaced_and_others_notice_nothing(pool: Start) -> None:
    started = pool("--workers", "2")
    first, second = started.clients(2)
    killed, other = pid_of(first), pid_of(second)
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(TransportError):
        pid_of(first)
    assert pid_of(second) == other
    with started.client() as third:
        assert pid_of(third) not in (killed, other)
    for client in (first, second):
        client.close()
    started.process.terminate()
    assert started.wait() == 0
    assert f"process {killed} of the pool was killed by signal 9 (SIGKILL)" in started.stderr


def test_a_crash_in_a_call_is_an_error_of_that_call(pool: Start) -> None:
    started = pool("--workers", "2")
    for _ in range(5):
        with started.client() as client, pytest.raises(TransportError):
            call(client, "die")
        with started.client() as client:
            assert call(client, "double") == 42


def test_exit_in_a_function_ends_its_connection_only(pool: Start) -> None:
    started = pool("--workers", "2")
    first, second = started.clients(2)
    with pytest.raises(TransportError):
        call(first, "leave")
    with started.client() as third:
        assert pid_of(third) in started.processes()
    assert call(second, "double") == 42
    assert len(started.processes()) == 2
    for client in (first, second):
        client.close()


def test_connections_of_a_dead_process_that_it_never_took_are_served(pool: Start) -> None:
    started = pool("--workers", "1", "--max-requests", "1000000")
    held = started.client()
    stopped = pid_of(held)
    freeze(stopped)
    before = started.descriptors()
    found: list[int] = []
    waiting = [started.client() for _ in range(3)]
    threads = [Thread(target=lambda each=client: found.append(pid_of(each))) for client in waiting]
    for thread in threads:
        thread.start()
    until(lambda: started.descriptors() >= before + 3, "the connections to be handed over")
    assert found == []
    os.kill(stopped, signal.SIGKILL)
    for thread in threads:
        thread.join(DEADLINE_S)
    assert len(found) == 3 and stopped not in found
    for client in (held, *waiting):
        client.close()


def test_one_process_may_be_asked_to_leave(pool: Start, tmp_path: Path) -> None:
    started = pool("--workers", "2")
    idle, busy = started.clients(2)
    running = Waiting(busy, tmp_path)
    for leaving in started.processes():
        os.kill(leaving, signal.SIGTERM)
    until(partial(_is_lost, idle), "the idle connection to end")
    with started.client() as client:
        assert pid_of(client) in started.processes()
    assert running.end() == 21
    for client in (idle, busy):
        client.close()


FAILING = """
    import os
    from pathlib import Path
    from vgi_fast import Int64, Worker

    worker = Worker("failing")
    attempts = Path(__file__).with_suffix(".attempts")

    @worker.scalar
    def same(x: Int64) -> Int64:
        return x

    def fail():
        with attempts.open("ab") as file:
            file.write(b"x")
        if attempts.stat().st_size < {}:
            os._exit(7)

    os.register_at_fork(after_in_child=fail)
    worker.run()
"""


def failing(folder: Path, good_attempt: int) -> Path:
    path = folder / "failing.py"
    path.write_text(dedent(FAILING).format(good_attempt))
    return path


def test_a_pool_that_never_comes_up_says_so_and_ends(pool: Start, tmp_path: Path) -> None:
    started = pool("--workers", "2", program=failing(tmp_path, 1000))
    assert started.wait() == 1
    assert "exited with status 7 before it was ready" in started.stderr
    assert "none of 6 processes in a row came up: giving up" in started.stderr
    assert (tmp_path / "failing.attempts").stat().st_size == 6


def test_a_pool_that_comes_up_at_last_serves_those_who_waited(pool: Start, tmp_path: Path) -> None:
    started = pool("--workers", "2", program=failing(tmp_path, 3))
    with started.client() as client:
        assert client.attach("failing").scalar("same", {"x": [5]}).to_pylist() == [5]


CLOSING = """
    import os
    from vgi_fast import Int64, Worker

    worker = Worker("closing")

    @worker.scalar(stability="volatile")
    def same(x: Int64) -> Int64:
        return x

    @worker.scalar(stability="volatile")
    def close_all(x: Int64) -> Int64:
        os.closerange(3, 100)
        return x

    worker.run()
"""


def test_a_process_that_has_lost_its_descriptors_is_replaced(pool: Start, tmp_path: Path) -> None:
    program = tmp_path / "closing.py"
    program.write_text(dedent(CLOSING))
    started = pool("--workers", "2", program=program)
    with started.client() as client, pytest.raises(TransportError):
        client.attach("closing").scalar("close_all", {"x": [5]})
    with started.client() as client:
        assert client.attach("closing").scalar("same", {"x": [5]}).to_pylist() == [5]
    assert len(started.processes()) == 1


# -- recycling ----------------------------------------------------------------------------------


def test_processes_are_replaced_after_so_many_requests(pool: Start) -> None:
    started = pool("--workers", "1", "--max-requests", "20")
    held = started.client()
    first = pid_of(held)
    seen = {first}
    for _ in range(30):
        with started.client() as client:
            seen.add(pid_of(client))
    assert len(seen) >= 3
    # It serves those that it has to their end.
    assert pid_of(held) == first
    held.close()
    await_end(first)


def test_processes_are_replaced_when_they_have_grown(pool: Start) -> None:
    started = pool("--workers", "1", "--max-memory", "200M")
    with started.client() as client:
        grown = pid_of(client)
        call(client, "grow", 200 << 20)
    await_end(grown)
    with started.client() as client:
        assert pid_of(client) != grown


# -- the end ------------------------------------------------------------------------------------


def test_drain_lets_running_calls_end_and_closes_idle_connections(pool: Start, tmp_path: Path) -> None:
    started = pool("--workers", "2", "--drain-timeout", "60")
    idle, busy = started.clients(2)
    running = Waiting(busy, tmp_path)
    started.process.send_signal(signal.SIGTERM)
    until(partial(_is_lost, idle), "the idle connection to end")
    until(lambda: not started.path.exists(), "the socket to be removed")
    assert running.result is None
    assert running.end() == 21
    assert started.wait() == 0
    for client in (idle, busy):
        client.close()


def test_drain_does_not_wait_for_ever(pool: Start, tmp_path: Path) -> None:
    started = pool("--workers", "2", "--drain-timeout", "0.1")
    client = started.client()
    running = Waiting(client, tmp_path)
    started.process.send_signal(signal.SIGTERM)
    assert started.wait() == 0
    assert isinstance(running.end(), TransportError)
    client.close()


def test_a_second_signal_ends_the_patience(pool: Start, tmp_path: Path) -> None:
    started = pool("--workers", "2", "--drain-timeout", "600")
    client = started.client()
    running = Waiting(client, tmp_path)
    started.process.send_signal(signal.SIGTERM)
    until(lambda: not started.path.exists(), "the first signal to be seen")
    started.process.send_signal(signal.SIGTERM)
    assert started.wait() == 0
    assert isinstance(running.end(), TransportError)
    client.close()


def test_interrupt(pool: Start) -> None:
    started = pool("--workers", "2")
    processes = started.processes()
    started.process.send_signal(signal.SIGINT)
    assert started.wait() == 130
    for each in processes:
        await_end(each)


def test_processes_end_with_their_supervisor(pool: Start, tmp_path: Path) -> None:
    started = pool("--workers", "2", "--drain-timeout", "0.1")
    clients = started.clients(2)
    running = Waiting(clients[0], tmp_path)
    processes = started.processes()
    started.process.kill()
    for each in processes:
        await_end(each)
    assert isinstance(running.end(), TransportError)
    assert started.wait() == -signal.SIGKILL
    assert started.stderr == ""
    started.path.unlink()  # as after any kill; the next worker takes it as stale
    for client in clients:
        client.close()


def test_leaves_when_idle(pool: Start) -> None:
    started = pool("--workers", "2", "--idle-timeout", "0.05")
    clients = started.clients(2)
    with pytest.raises(subprocess.TimeoutExpired):
        started.process.wait(0.3)
    for client in clients:
        client.close()
    assert started.wait() == 0
    assert not started.path.exists()


def test_a_probe_counts_as_activity(pool: Start) -> None:
    started = pool("--workers", "2", "--idle-timeout", "0.05")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(started.path))
    assert started.wait() == 0


def test_nothing_leaks_whoever_is_killed(pool: Start) -> None:
    started = pool("--workers", "2")
    held = started.clients(2)
    descriptors = started.descriptors() - 2
    for client in held:
        client.close()
    wrong: list[object] = []
    answers = Counter[str]()
    rounds = 12

    def hammer() -> None:
        while len(killed) < rounds:
            try:
                with started.client() as client:
                    catalog = client.attach("pooled")
                    for _ in range(5):
                        if (got := catalog.scalar("double", {"x": [1, 2]}).to_pylist()) != [2, 4]:
                            wrong.append(got)
                        answers["right"] += 1
            except TransportError:
                answers["lost"] += 1
            except Exception as error:
                wrong.append(error)

    killed: list[int] = []
    threads = [Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    choice = random.Random(7)
    for _ in range(rounds):
        until(lambda: bool(started.processes() - set(killed)), "a process")
        until(partial(_more, answers, answers["right"]), "progress after a crash")
        victim = choice.choice(sorted(started.processes()))
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        killed.append(victim)
    for thread in threads:
        thread.join(DEADLINE_S)
    assert wrong == []
    assert answers["right"] > rounds
    with started.client() as client:
        assert call(client, "double") == 42
    until(lambda: len(started.processes()) == 2 and started.descriptors() == descriptors, "the pool to be as before")


def _is_lost(client: Client) -> bool:
    """A request that is sent in time is still answered."""
    try:
        pid_of(client)
    except TransportError:
        return True
    return False


def _more(answers: Counter[str], than: int) -> bool:
    return answers["right"] > than


# -- command line -------------------------------------------------------------------------------


def test_the_environment_gives_the_default(pool: Start) -> None:
    started = pool(env={"VGI_FAST_WORKERS": "3"})
    clients = started.clients(4)
    assert len(set(map(pid_of, clients))) == 3
    for client in clients:
        client.close()


def test_the_command_line_outdoes_the_environment(pool: Start) -> None:
    started = pool("--workers", "2", env={"VGI_FAST_WORKERS": "3"})
    clients = started.clients(4)
    assert len(set(map(pid_of, clients))) == 2
    for client in clients:
        client.close()


def test_the_program_may_ask_for_one_process(pool: Start, tmp_path: Path) -> None:
    program = tmp_path / "single.py"
    program.write_text((WORKERS / "pooled.py").read_text().replace("worker.run()", "worker.run(workers=1)"))
    started = pool(program=program, env={"VGI_FAST_WORKERS": "3"})
    with started.client() as client:
        assert pid_of(client) == started.process.pid
    started.process.kill()
    started.wait()
    started.path.unlink()


def test_standard_input_and_output_have_one_process() -> None:
    with Client([sys.executable, str(WORKERS / "pooled.py"), "--workers", "4"], timeout_s=DEADLINE_S) as client:
        assert call(client, "double") == 42
    assert client.exit_status == 0


@pytest.mark.parametrize(
    ("flags", "env", "status", "message"),
    [
        (["--workers", "0"], {}, 2, "expected a number of processes"),
        (["--max-memory", "much"], {}, 2, "expected bytes"),
        (["--max-requests", "0"], {}, 2, "--max-requests: expected a number from 1 on"),
        (["--unix", "s"], {"VGI_FAST_WORKERS": "many"}, 1, "VGI_FAST_WORKERS=many: expected a number"),
    ],
)
def test_wrong_options(flags: list[str], env: dict[str, str], status: int, message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(WORKERS / "pooled.py"), *flags],
        cwd=tmp_path,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr


def test_threads_that_would_be_lost_are_named(pool: Start, tmp_path: Path) -> None:
    program = tmp_path / "threads.py"
    source = (WORKERS / "pooled.py").read_text()
    thread = "from threading import Event, Thread; Thread(target=Event().wait, daemon=True, name='poller').start()"
    program.write_text(source.replace("worker.run()", f"{thread}\n    worker.run()"))
    started = pool("--workers", "2", program=program)
    with started.client() as client:
        assert call(client, "double") == 42
    started.process.terminate()
    assert started.wait() == 0
    assert "threads started before run() do not exist in the pool's processes: poller" in started.stderr
