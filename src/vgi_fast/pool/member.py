"""A process of the pool as the supervisor sees it."""

from __future__ import annotations

import os
import select
import socket
from time import monotonic
from typing import TYPE_CHECKING, Final

from vgi_fast.pool.link import LEAVING, READY, REPORT, Taken, send_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Member"]

_HUNG_UP: Final = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
_READ_BYTES: Final = REPORT.size * 256


class Member:
    """The descriptors of its connections stay here too until it reports their end. They tell at once when a client
    has hung up, and those that it never took can go to another process."""

    __slots__ = (
        "_awaited",
        "_closed",
        "_numbers",
        "_partial",
        "connections",
        "control",
        "given_at",
        "is_gone",
        "is_leaving",
        "is_ready",
        "is_retiring",
        "pid",
        "request_limit",
        "requests",
        "taken",
    )

    def __init__(self, pid: int, control: socket.socket, taken: Taken, request_limit: float) -> None:
        self.pid = pid
        self.control = control
        self.taken = taken
        self.request_limit = request_limit
        self.connections: dict[int, socket.socket] = {}
        self.requests = 0
        """Of connections that have ended."""
        self.given_at = monotonic()
        self.is_ready = False
        self.is_gone = False
        """Its control socket is at its end."""
        self.is_leaving = False
        """It said so: a signal asked it to."""
        self.is_retiring = False
        """It gets no more connections."""
        self._numbers = 0
        self._partial = b""
        self._awaited = select.poll()
        self._closed = False

    @property
    def load(self) -> int:
        """Connections whose client is there. A report of an end may be under way while the next connection is
        placed, so the descriptors are asked."""
        if not self.connections:
            return 0
        return len(self.connections) - sum(1 for _, events in self._awaited.poll(0) if events & _HUNG_UP)

    @property
    def was_used(self) -> bool:
        return self._numbers > 0

    def give(self, connection: socket.socket) -> bool:
        """False when it takes none at the moment."""
        number = self._numbers + 1
        if self._closed or not send_connection(self.control, number, connection):
            return False
        self._numbers = number
        self.connections[number] = connection
        self._awaited.register(connection, getattr(select, "POLLRDHUP", 0))
        self.given_at = monotonic()
        return True

    def read_reports(self) -> bool:
        """Take note of what it said. False at the end."""
        while True:
            try:
                received = self.control.recv(_READ_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except OSError:
                received = b""
            if not received:
                return False
            for number, requests in self._whole(received):
                if number == READY:
                    self.is_ready = True
                elif number == LEAVING:
                    self.is_leaving = True
                else:
                    self.requests += requests
                    self._end(number)

    def _whole(self, received: bytes) -> Iterator[tuple[int, int]]:
        data = self._partial + received
        whole = len(data) // REPORT.size * REPORT.size
        self._partial = data[whole:]
        yield from REPORT.iter_unpack(data[:whole])

    def _end(self, number: int) -> None:
        connection = self.connections.pop(number, None)
        if connection is not None:
            self._awaited.unregister(connection)
            connection.close()

    def dismiss(self) -> None:
        """It sees the end of its control socket, drains and leaves; its reports are still read."""
        if not self._closed:
            self._closed = True
            try:
                self.control.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def kill(self, number: int) -> None:
        """The process is not reaped yet, so the id is its own."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def take_back(self) -> list[socket.socket]:
        """The connections that it will not take, oldest first; valid once it has said so or is dead."""
        highest = self.taken.highest()
        untouched = []
        for number in [number for number in self.connections if number > highest]:
            connection = self.connections.pop(number)
            self._awaited.unregister(connection)
            untouched.append(connection)
        return untouched

    def abandon(self) -> None:
        """Close this side's descriptors, without a word to the process."""
        for connection in self.connections.values():
            connection.close()
        self.connections.clear()
        self.control.close()
        self.taken.close()

    def memory_bytes(self) -> int:
        """Resident, including what it shares with the others; 0 where the system does not tell."""
        try:
            with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError, ValueError):
            return 0
