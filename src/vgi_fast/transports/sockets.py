"""Serving on AF_UNIX and TCP sockets: many connections, each a session of its own in a thread
(sections 9.2 and 9.3 of the RPC document).

    listener = listen_unix("/run/user/1000/worker.sock")
    serve(listener, idle_timeout_s=300, start=lambda connection: …)
"""

from __future__ import annotations

import os
import select
import socket
import stat
import sys
from threading import Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Final

from vgi_fast._core import Input, Output
from vgi_fast.errors import TransportError
from vgi_fast.transports.base import Capabilities
from vgi_fast.transports.spin import spin_budget_us

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgi_fast.transports.base import Connection

__all__ = [
    "FIRST_GRACE_S",
    "Listener",
    "SocketConnection",
    "accept",
    "announce",
    "listen_tcp",
    "listen_unix",
    "parse_tcp",
    "serve",
]

_BACKLOG: Final = 128
_BUFFER_BYTES: Final = 1 << 20
_PROBE_TIMEOUT_S: Final = 2.0
FIRST_GRACE_S: Final = 60.0
"""How long a new worker waits for its first connection at least, however short its idle timeout."""
_LEAVE_TIMEOUT_S: Final = 10.0
_LOOPBACK: Final = "127.0.0.1"


class SocketConnection:
    """One accepted connection."""

    __slots__ = ("_socket", "capabilities", "input", "output")

    def __init__(self, accepted: socket.socket) -> None:
        self._socket = accepted
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            try:
                accepted.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
            except OSError:
                pass  # a smaller buffer works too
        self.input = Input(accepted.fileno())
        self.output = Output(accepted.fileno())
        self.capabilities = Capabilities(
            # A peer by TCP may be anywhere, on the loopback address behind a tunnel too.
            shared_memory=accepted.family == socket.AF_UNIX,
            spin_us=spin_budget_us(os.environ),
        )

    def shut(self, how: int = socket.SHUT_RDWR) -> None:
        """From any thread: a blocked read returns end of file."""
        try:
            self._socket.shutdown(how)
        except OSError:
            pass

    def close(self) -> None:
        self._socket.close()


class Listener:
    """A bound socket, its announcement line, and the file it has to remove."""

    __slots__ = ("_identity", "_path", "announcement", "socket")

    def __init__(self, bound: socket.socket, announcement: str, path: str | None = None) -> None:
        self.socket = bound
        self.announcement = announcement
        self._path = path
        self._identity = _identity(path) if path is not None else None

    def close(self) -> None:
        """Removes the socket file only while it is still the one that was bound: a successor may have replaced it."""
        self.socket.close()
        if self._path is not None and self._identity is not None and _identity(self._path) == self._identity:
            try:
                os.unlink(self._path)
            except OSError:
                pass


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def listen_unix(path: str) -> Listener:
    """Bind ``path``, mode 0600. A stale socket is replaced; a live one or another kind of file is refused."""
    path = os.path.abspath(path)
    _make_way(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o077)
    try:
        bound.bind(path)
    except OSError as error:
        bound.close()
        raise TransportError(f"cannot listen on {path}: {error.strerror or error}") from error
    finally:
        os.umask(before)
    os.chmod(path, 0o600)
    bound.listen(_BACKLOG)
    return Listener(bound, f"UNIX:{path}", path)


def _make_way(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise TransportError(f"cannot listen on {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise TransportError(f"refusing to replace pre-existing non-socket path: {path}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        try:
            probe.connect(path)
        except TimeoutError:
            pass  # its backlog is full: somebody listens
        except OSError:
            os.unlink(path)
            return
    raise TransportError(f"another process is already listening on {path}")


def parse_tcp(address: str) -> tuple[str, int]:
    """(host, port) of ``[HOST:]PORT``; ValueError for anything else."""
    host, colon, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535 or (colon and not host):
        raise ValueError(f"expected [HOST:]PORT, got {address!r}")
    return host or _LOOPBACK, int(port)


def listen_tcp(host: str, port: int) -> Listener:
    """Bind an IPv4 address; port 0 takes a free one. There is no authentication: stay on the loopback address."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise TransportError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    bound.listen(_BACKLOG)
    return Listener(bound, f"TCP:{host}:{bound.getsockname()[1]}")


def accept(listener: Listener) -> socket.socket | None:
    """The next connection of a listener that does not block; None when there is none after all."""
    try:
        accepted, _ = listener.socket.accept()
    except (BlockingIOError, ConnectionAbortedError):
        return None
    accepted.setblocking(True)
    if accepted.family == socket.AF_INET:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return accepted


class _Connections:
    """The open connections, and since when there are none."""

    def __init__(self, grace_s: float) -> None:
        self._lock = Lock()
        self._open: set[SocketConnection] = set()
        self._threads: set[Thread] = set()
        self._empty_since = monotonic() + grace_s

    def start(self, accepted: socket.socket, run: Callable[[Connection], None]) -> None:
        connection = SocketConnection(accepted)
        thread = Thread(target=self._serve, args=(connection, run), daemon=True)
        with self._lock:
            self._open.add(connection)
            self._threads.add(thread)
        thread.start()

    def _serve(self, connection: SocketConnection, run: Callable[[Connection], None]) -> None:
        from threading import current_thread

        try:
            run(connection)
        finally:
            with self._lock:
                self._open.discard(connection)
                self._threads.discard(current_thread())
                self._empty_since = monotonic()
            connection.close()

    def idle_for(self) -> float:
        """Seconds without a connection; negative while the first is waited for."""
        with self._lock:
            return 0.0 if self._open else monotonic() - self._empty_since

    def leave(self) -> None:
        """End every connection and wait a while for its thread."""
        with self._lock:
            connections, threads = list(self._open), list(self._threads)
        for connection in connections:
            connection.shut()
        for thread in threads:
            thread.join(_LEAVE_TIMEOUT_S)


def serve(listener: Listener, idle_timeout_s: float, run: Callable[[Connection], None]) -> None:
    """Accept until nobody was connected for ``idle_timeout_s``; zero or less never ends.

    ``run`` serves one connection, in a thread of its own, and returns when the peer has left.
    """
    # The grace makes the first wait max(idle timeout, 60 s) long.
    connections = _Connections(max(0.0, FIRST_GRACE_S - idle_timeout_s))
    listener.socket.setblocking(False)
    try:
        announce(listener.announcement)
        while True:
            wait_s = idle_timeout_s - connections.idle_for() if idle_timeout_s > 0 else None
            if wait_s is not None and wait_s <= 0:
                return
            ready, _, _ = select.select([listener.socket], [], [], wait_s)
            if not ready:
                continue
            accepted = accept(listener)
            if accepted is not None:
                connections.start(accepted, run)
    finally:
        listener.close()
        connections.leave()


def announce(line: str) -> None:
    """One line on standard output, which then belongs to nobody: the launcher closes its end."""
    print(line, flush=True)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # standard error is closed
        os.dup2(null, 1)
    if null > 2:
        os.close(null)
    sys.stdout = sys.stderr or sys.stdout
