"""How a client reaches its worker: two descriptors, a way to end them, and what is known of the peer's end.

The protocol needs no more than an ordered byte channel in each direction (section 1.1 of the RPC document),
so a socket, a launcher or a container is another ``Channel``; nothing above this module changes.
"""

import os
import select
import signal
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Thread
from typing import IO, Final, Protocol

from vgi_fast.errors import TransportError
from vgi_fast.transports.exits import exit_text

STDERR_TAIL_LINES: Final = 40
STDERR_TAIL_BYTES: Final = 4096
EXIT_WAIT_S: Final = 10.0  # patience after end of input, as section 11.6 has it
KILL_WAIT_S: Final = 2.0
CONNECT_TIMEOUT_S: Final = 10.0  # as DuckDB's


class Channel(Protocol):
    """A connected peer. ``read_fd`` and ``write_fd`` stay the channel's; they may be the same descriptor."""

    @property
    def read_fd(self) -> int: ...
    @property
    def write_fd(self) -> int: ...
    @property
    def name(self) -> str:
        """What the user gave, for messages."""

    def end_input(self) -> None:
        """Tell the peer that no request follows. Safe to repeat."""

    def abort(self) -> None:
        """End the peer's side now, from any thread, so that a blocked read or write returns."""

    def close(self, wait_s: float = EXIT_WAIT_S) -> int | None:
        """End input, wait for the peer, release everything. The exit status of a process, else None."""

    def ending(self, wait_s: float) -> str | None:
        """How the peer ended, if it did within ``wait_s``."""

    def is_crashed(self) -> bool:
        """Whether the peer is gone, and not of its own will. Asked after each answer, so it has to be quick."""

    def stderr_tail(self) -> str: ...


class ProcessChannel:
    """A worker process on stdin and stdout (section 9.1). The creating process alone may end it."""

    def __init__(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        inherit_stderr: bool = False,
    ) -> None:
        is_text = isinstance(command, str)
        self.name = command if isinstance(command, str) else " ".join(command)
        self._owner_pid = os.getpid()
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                command if is_text else list(command),
                shell=is_text,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if inherit_stderr else subprocess.PIPE,
                env=None if env is None else {**os.environ, **env},
                cwd=cwd,
                bufsize=0,
                # A group of its own: a shell around the worker would otherwise survive the kill.
                start_new_session=True,
            )
        except OSError as error:
            raise TransportError(f"cannot start worker: {self.name}", detail=str(error)) from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout
        self.read_fd: int = self._stdout.fileno()
        self.write_fd: int = self._stdin.fileno()
        self._poll = select.poll()
        self._poll.register(self.read_fd, select.POLLIN)
        self._stderr = None if self._process.stderr is None else StderrTail(self._process.stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    def end_input(self) -> None:
        self._stdin.close()

    def abort(self) -> None:
        self._signal(signal.SIGKILL)

    def close(self, wait_s: float = EXIT_WAIT_S) -> int | None:
        if os.getpid() != self._owner_pid:
            return None
        self.end_input()
        # A worker in the middle of an answer that nobody reads has to see a broken pipe, not a full one.
        self._stdout.close()
        if not self._wait(wait_s):
            self._signal(signal.SIGTERM)
            if not self._wait(KILL_WAIT_S):
                self.abort()
                self._process.wait()
        if self._stderr is not None:
            self._stderr.join(KILL_WAIT_S)
        return self._process.returncode

    def ending(self, wait_s: float) -> str | None:
        if not self._wait(wait_s):
            return None
        if self._stderr is not None:
            self._stderr.join(wait_s)
        return exit_text(self._process.returncode)

    def is_crashed(self) -> bool:
        hung_up = any(events & select.POLLHUP for _, events in self._poll.poll(0))
        return hung_up and self._wait(KILL_WAIT_S) and self._process.returncode != 0

    def stderr_tail(self) -> str:
        return "" if self._stderr is None else self._stderr.text()

    def _wait(self, wait_s: float) -> bool:
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _signal(self, number: int) -> None:
        if os.getpid() != self._owner_pid or self._process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class SocketChannel:
    """A connection to a worker that listens: ``unix://PATH`` or ``tcp://HOST:PORT``, as in DuckDB's LOCATION."""

    def __init__(
        self, location: str, *, connect_timeout_s: float = CONNECT_TIMEOUT_S, connected: socket.socket | None = None
    ) -> None:
        self.name = location
        self._socket = connected or _connected(location, connect_timeout_s)
        self.read_fd: int = self._socket.fileno()
        self.write_fd: int = self.read_fd

    def end_input(self) -> None:
        self._shut(socket.SHUT_WR)

    def abort(self) -> None:
        self._shut(socket.SHUT_RDWR)

    def close(self, wait_s: float = EXIT_WAIT_S) -> int | None:
        self._socket.close()
        return None

    def ending(self, wait_s: float) -> str | None:
        return None

    def is_crashed(self) -> bool:
        return False

    def stderr_tail(self) -> str:
        return ""

    def _shut(self, how: int) -> None:
        with suppress(OSError):
            self._socket.shutdown(how)


def is_socket_location(text: str) -> bool:
    return text.startswith(("unix://", "tcp://"))


def _connected(location: str, timeout_s: float) -> socket.socket:
    scheme, _, address = location.partition("://")
    try:
        if scheme == "unix":
            return connect_unix(address, timeout_s)
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise TransportError(f"expected tcp://HOST:PORT, got {location!r}")
        opened = socket.create_connection((host, int(port)), timeout_s)
    except TransportError:
        raise
    except OSError as error:
        raise TransportError(f"cannot connect to {location}", detail=str(error)) from error
    opened.settimeout(None)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def connect_unix(path: str, timeout_s: float) -> socket.socket:
    """TimeoutError when the listener is there and does not accept; another OSError when it is not."""
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A socket with a time limit of Python's does not wait at all for room in the listener's queue.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout_s))
        opened.connect(path)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(0))
    except BlockingIOError:
        opened.close()
        raise TimeoutError(f"no answer within {timeout_s:g} s") from None
    except OSError:
        opened.close()
        raise
    return opened


def _timeval(seconds: float) -> bytes:
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))


class StderrTail:
    """Keeps a worker's stderr from filling its pipe, and the end of it for messages."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._tail = b""
        self._thread = Thread(target=self._drain, name="vgi-fast-stderr", daemon=True)
        self._thread.start()

    def text(self) -> str:
        lines = self._tail.decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-STDERR_TAIL_LINES:]).strip()

    def join(self, wait_s: float) -> None:
        """Until the pipe's last writer is gone; a grandchild may hold it longer than ``wait_s``."""
        self._thread.join(wait_s)

    def _drain(self) -> None:
        with self._source as source:
            while chunk := source.read(STDERR_TAIL_BYTES):
                # One assignment, so a reader of the tail needs no lock.
                self._tail = (self._tail + chunk)[-STDERR_TAIL_BYTES:]
