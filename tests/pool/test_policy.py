"""Where a connection goes, how many processes there are, and what the options mean."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from vgi_fast.pool.cpus import cpu_quota, usable_cpus
from vgi_fast.pool.link import LEAVING, READY, REPORT, Taken, receive_connection
from vgi_fast.pool.member import Member
from vgi_fast.pool.options import parse_size, parse_workers
from vgi_fast.pool.placement import choose


@dataclass
class Process:
    load: int
    given_at: float = 0.0


def test_fewest_connections_win_and_the_longest_idle_breaks_ties() -> None:
    busy, late, early = Process(2, 0.0), Process(1, 5.0), Process(1, 3.0)
    assert choose([busy, late, early], 3) is early
    assert choose([busy, late], 2) is late


def test_another_process_is_started_only_when_all_have_a_connection() -> None:
    assert choose([], 2) is None
    assert choose([Process(1)], 2) is None
    free = Process(0)
    assert choose([Process(3), free], 4) is free


def test_at_the_limit_processes_are_shared() -> None:
    few = Process(1)
    assert choose([Process(2), few], 2) is few
    assert choose([Process(2), few], 1) is few


# -- processors ---------------------------------------------------------------------------------


def fake(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000\n"}, 0.5),
        # The level above grants less.
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "200000 100000",
                "sys/fs/cgroup/a/b/cpu.max": "400000 100000",
            },
            2.0,
        ),
        # A container: the path is the host's, the limit is at the mount.
        ({"proc/self/cgroup": "0::/system.slice/x\n", "sys/fs/cgroup/cpu.max": "300000 100000"}, 3.0),
        # Version 1, under either name.
        (
            {
                "proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/docker/x\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "250000",
                "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000",
            },
            2.5,
        ),
        (
            {
                "proc/self/cgroup": "3:cpuacct,cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        # "cpuset" and "cpuacct" are other controllers.
        ({"proc/self/cgroup": "1:cpuset:/\n", "sys/fs/cgroup/cpuset/cpu.cfs_quota_us": "1"}, None),
        ({"proc/self/cgroup": "garbage\n\n::::\n", "sys/fs/cgroup/cpu.max": "x y z"}, None),
        ({"proc/self/cgroup": "0::/../..\n", "sys/fs/cgroup/cpu.max": "0 0"}, None),
    ],
)
def test_quota_of_control_groups(tmp_path: Path, files: dict[str, str], expected: float | None) -> None:
    assert cpu_quota(fake(tmp_path, files)) == expected


def test_processors_of_this_machine() -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)


# -- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0", "-1", "", "two", "1.5", "Auto"])
def test_numbers_of_processes(text: str) -> None:
    with pytest.raises(ValueError, match="expected a number of processes"):
        parse_workers(text)


@pytest.mark.parametrize("text", ["", "M", "0", "-1M", "1X", "inf", "nan", "1e99", "1MM", "1BM"])
def test_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="expected bytes"):
        parse_size(text)


# -- a process as the supervisor sees it --------------------------------------------------------


@dataclass
class Linked:
    member: Member
    control: socket.socket
    taken: Taken

    def connection(self) -> socket.socket:
        """Given to the member; the client's end."""
        client, accepted = socket.socketpair()
        assert self.member.give(accepted)
        return client


@pytest.fixture
def linked() -> Linked:
    mine, theirs = socket.socketpair()
    taken = Taken()
    return Linked(Member(0, mine, taken, 10.0), theirs, taken)


def test_a_connection_arrives_with_its_number(linked: Linked) -> None:
    client = linked.connection()
    received = receive_connection(linked.control)
    assert received is not None
    number, accepted = received
    assert number == 1 and accepted is not None and not accepted.get_inheritable()
    accepted.send(b"x")
    assert client.recv(1) == b"x"
    for each in (client, accepted, linked.control):
        each.close()
    assert not linked.member.read_reports()
    linked.member.abandon()


def test_a_client_that_has_hung_up_does_not_count(linked: Linked) -> None:
    first, second = linked.connection(), linked.connection()
    assert linked.member.load == 2
    first.close()
    assert linked.member.load == 1
    linked.control.sendall(REPORT.pack(1, 5))
    assert linked.member.read_reports()
    assert (linked.member.load, linked.member.requests) == (1, 5)
    second.close()
    linked.control.close()
    linked.member.abandon()


def test_only_connections_that_nobody_touched_are_taken_back(linked: Linked) -> None:
    clients = [linked.connection() for _ in range(4)]
    linked.taken.mark(2)
    linked.taken.mark(1)  # a slower thread
    linked.control.close()
    untouched = linked.member.take_back()
    assert len(untouched) == 2 and len(linked.member.connections) == 2
    linked.member.abandon()
    assert clients[0].recv(1) == b"" and clients[1].recv(1) == b""
    for client, kept in zip(clients[2:], untouched, strict=True):
        kept.send(b"y")
        assert client.recv(1) == b"y"
        kept.close()
    for client in clients:
        client.close()


def test_reports_may_arrive_in_pieces(linked: Linked) -> None:
    client = linked.connection()
    data = REPORT.pack(READY, 0) + REPORT.pack(1, 3) + REPORT.pack(LEAVING, 0)
    for byte in data:
        linked.control.sendall(bytes([byte]))
        assert linked.member.read_reports()
    assert linked.member.is_ready and linked.member.is_leaving
    assert linked.member.requests == 3 and not linked.member.connections
    client.close()
    linked.control.close()
    linked.member.abandon()


def test_a_process_that_takes_nothing_is_full_at_some_time(linked: Linked) -> None:
    pairs: list[tuple[socket.socket, socket.socket]] = []
    while len(pairs) < 5000:
        pairs.append(socket.socketpair())
        if not linked.member.give(pairs[-1][1]):
            break
    assert 10 < len(pairs) < 5000
    linked.control.close()
    linked.member.abandon()
    for pair in pairs:
        for each in pair:
            each.close()


def test_nothing_is_given_to_a_process_that_was_dismissed(linked: Linked) -> None:
    linked.member.dismiss()
    assert receive_connection(linked.control) is None
    client, accepted = socket.socketpair()
    assert not linked.member.give(accepted)
    for each in (client, accepted, linked.control):
        each.close()
    linked.member.abandon()
