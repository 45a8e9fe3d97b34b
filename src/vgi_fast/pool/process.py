"""One process of a pool: serves the connections that the supervisor hands over, each in a thread.

Threads wait for a connection, serve it and wait again, two of them at least, so that a client whose every call
opens a connection does not pay for a thread each time. The main thread only waits for the end.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING, Final

from vgi_fast.pool.link import LEAVING, READY, REPORT, Taken, receive_connection
from vgi_fast.transports.sockets import SocketConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgi_fast.transports.base import Connection, Served

__all__ = ["Process"]

_SPARE_THREADS: Final = 2


class Process:
    def __init__(
        self, control: socket.socket, taken: Taken, start: Callable[[Connection], Served], drain_timeout_s: float
    ) -> None:
        self._control = control
        self._taken = taken
        self._start = start
        self._drain_timeout_s = drain_timeout_s
        self._changed = Condition()
        self._open: dict[int, tuple[SocketConnection, Served]] = {}
        self._waiting = 0
        """Threads without a connection."""
        self._leaving = False
        self._wake, self._woken = os.pipe()

    def run(self) -> None:
        """Until the supervisor closes its end, or a signal asks this process alone to leave."""
        os.set_blocking(self._woken, False)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, _ignore)
        # Ctrl-C reaches the whole group, and the supervisor decides. A handler, because SIG_IGN is inherited by
        # programs that an author's function starts.
        signal.signal(signal.SIGINT, _ignore)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_WHILE_FORKING)
        with self._changed:
            self._start_threads()
            self._report(READY, 0)
        while not self._is_told_to_leave():
            pass
        self._drain()

    def _is_told_to_leave(self) -> bool:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.poll()
        # A byte is the number of a signal; 0 stands for the end of the control socket.
        return not set(os.read(self._wake, 64)).isdisjoint((0, signal.SIGTERM))

    # -- threads --------------------------------------------------------------------------------

    def _start_threads(self) -> None:
        while self._waiting < _SPARE_THREADS:
            self._waiting += 1
            Thread(target=self._serve_connections, daemon=True).start()

    def _serve_connections(self) -> None:
        while True:
            received = receive_connection(self._control)
            if received is None:
                os.write(self._woken, b"\0")
                return
            if not self._serve(*received):
                return

    def _serve(self, number: int, accepted: socket.socket | None) -> bool:
        """Serve one connection; whether this thread should wait for another."""
        with self._changed:
            if self._leaving:
                return False  # not taken, so the supervisor gives it to another process
            self._taken.mark(number)
            if accepted is None:
                self._report(number, 0)
                return True
            self._waiting -= 1
            if not self._waiting:
                self._start_threads()
            connection = SocketConnection(accepted)
            served = self._start(connection)
            self._open[number] = connection, served
        try:
            served.run()
        except BaseException:  # SystemExit of an author's function too: it ends the connection, not the process
            sys.excepthook(*sys.exc_info())
        finally:
            # The supervisor holds the descriptor as well until it has read the report.
            connection.shut()
            connection.close()
            with self._changed:
                del self._open[number]
                self._report(number, served.requests)
                is_spare = self._waiting >= _SPARE_THREADS
                self._waiting += not is_spare
                self._changed.notify_all()
        return not is_spare

    def _report(self, number: int, requests: int) -> None:
        """With the lock held: one report must not get into another."""
        try:
            self._control.sendall(REPORT.pack(number, requests))
        except OSError:
            pass  # the supervisor is gone

    # -- the end --------------------------------------------------------------------------------

    def _drain(self) -> None:
        """End idle connections now, the others after the running request, and do not wait for ever."""
        deadline = monotonic() + self._drain_timeout_s
        with self._changed:
            self._leaving = True
            self._report(LEAVING, 0)
            for connection, served in self._open.values():
                served.leaving = True
                if not served.busy:
                    # A request that has just arrived is still read and answered.
                    connection.shut(socket.SHUT_RD)
            self._changed.wait_for(lambda: not self._open, max(0.0, deadline - monotonic()))


BLOCKED_WHILE_FORKING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
"""In a process that has just been forked they would reach the supervisor's handlers."""


def _ignore(*_: object) -> None:
    pass
