"""Workers that listen: the socket file, the announcement, idle time and many connections (sections 9.2, 9.3)."""

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from threading import Thread

import pytest

from vgi_fast.client import Client
from vgi_fast.errors import TransportError
from vgi_fast.transports.sockets import listen_unix, parse_tcp

SOURCE = """
    from vgi_fast import Int64, Worker

    worker = Worker("demo")

    @worker.scalar
    def double(x: Int64) -> Int64:
        return x * 2

    worker.run()
"""


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    path = tmp_path / "worker.py"
    path.write_text(dedent(SOURCE), encoding="utf-8")
    return [sys.executable, "-W", "error", str(path)]


class Server:
    """A listening worker, ended with the test."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline().rstrip("\n")
        self.process.stdout.close()  # as the launcher does

    @property
    def location(self) -> str:
        kind, _, address = self.line.partition(":")
        return f"{kind.lower()}://{address}"

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=10)


def test_many_connections_at_once(program: list[str], tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Server([*program, "--unix", str(path)]) as server:
        assert server.line == f"UNIX:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        clients = [Client(server.location, timeout_s=30) for _ in range(20)]
        for number, client in enumerate(clients):
            assert client.attach("demo").scalar("double", {"x": [number]}).to_pylist() == [2 * number]
        for client in clients:
            client.close()


def test_threads_of_clients_do_not_disturb_each_other(program: list[str], tmp_path: Path) -> None:
    wrong: list[object] = []

    def hammer(location: str, seed: int) -> None:
        with Client(location, timeout_s=30) as client:
            catalog = client.attach("demo")
            for step in range(30):
                got = catalog.scalar("double", {"x": [seed, step]}).to_pylist()
                if got != [2 * seed, 2 * step]:
                    wrong.append(got)

    with Server([*program, "--unix", str(tmp_path / "s")]) as server:
        threads = [Thread(target=hammer, args=(server.location, seed)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not wrong


def test_leaves_when_idle_and_removes_its_socket(program: list[str], tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Server([*program, "--unix", str(path), "--idle-timeout", "0.05"]) as server:
        Client(server.location).close()
        assert server.process.wait(10) == 0
        assert not path.exists()


def test_waits_for_its_first_connection(program: list[str], tmp_path: Path) -> None:
    command = [*program, "--unix", str(tmp_path / "s"), "--idle-timeout", "0.01"]
    with Server(command) as server, pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(0.3)


def test_an_exiting_worker_leaves_its_successors_socket_alone(tmp_path: Path) -> None:
    first = listen_unix(str(tmp_path / "s"))
    os.unlink(tmp_path / "s")
    second = listen_unix(str(tmp_path / "s"))
    first.close()
    assert (tmp_path / "s").exists()
    second.close()
    assert not (tmp_path / "s").exists()


def test_a_stale_socket_is_replaced(program: list[str], tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with Server([*program, "--unix", str(path)]) as server, Client(server.location, timeout_s=30) as client:
        assert [one["name"] for one in client.catalogs()] == ["demo"]


def test_a_live_socket_and_another_file_are_refused(program: list[str], tmp_path: Path) -> None:
    listening = listen_unix(str(tmp_path / "live"))
    (tmp_path / "file").write_text("kept")
    for name, message in (("live", "another process is already listening"), ("file", "refusing to replace")):
        done = subprocess.run(
            [*program, "--unix", str(tmp_path / name)], capture_output=True, text=True, timeout=30, check=False
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert message in done.stderr
    assert (tmp_path / "file").read_text() == "kept"
    listening.close()


def test_garbage_ends_the_connection_only(program: list[str], tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Server([*program, "--unix", str(path)]) as server:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(4096):
                pass
        with Client(server.location, timeout_s=30) as client:
            assert client.attach("demo").scalar("double", {"x": [4]}).to_pylist() == [8]


def test_a_killed_worker_is_an_error_at_the_client(program: list[str], tmp_path: Path) -> None:
    command = [*program, "--unix", str(tmp_path / "s"), "--workers", "1"]
    with Server(command) as server, Client(server.location, timeout_s=30) as client:
        client.catalogs()
        os.kill(server.process.pid, signal.SIGKILL)
        with pytest.raises(TransportError):
            client.catalogs()


def test_tcp(program: list[str]) -> None:
    with Server([*program, "--tcp", "0"]) as server:
        assert server.line.startswith("TCP:127.0.0.1:")
        with Client(server.location, timeout_s=30) as client:
            assert client.attach("demo").scalar("double", {"x": [4]}).to_pylist() == [8]


@pytest.mark.parametrize("text", ["", "x", ":80", "host:", "70000", "1:2:x"])
def test_tcp_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected \[HOST:\]PORT"):
        parse_tcp(text)


@pytest.mark.parametrize("flags", [["--unix", "a", "--tcp", "0"], ["--tcp", "x"], ["--http"]])
def test_wrong_flags(program: list[str], flags: list[str]) -> None:
    done = subprocess.run([*program, *flags], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
