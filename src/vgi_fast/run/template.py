"""The template process: a worker loaded once, and a child for each use of it.

``vgi-fast-run`` starts it with a listening socket as descriptor 3 and its identity in descriptor 4, and sends requests
(``request.py``). The connection of a request stays open as long as the child lives: signals come in over it, the exit
status goes out. If the other side disappears, the child is ended; if the template disappears, the kernel ends its
children. One thread, one loop: what a child would have to inherit from other threads does not exist.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
from time import monotonic
from typing import TYPE_CHECKING, Final, NoReturn

from vgi_fast._core import fork_tied
from vgi_fast.errors import ProtocolError
from vgi_fast.run import forking, request
from vgi_fast.run.housekeeping import Place
from vgi_fast.run.program import execute, script_of
from vgi_fast.run.request import Request
from vgi_fast.run.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from vgi_fast.worker.worker import Worker

__all__ = ["main"]

_LISTENER: Final = 3
_IDENTITY: Final = 4
_LOAD_TIMEOUT_S: Final = 60
"""As in ``native/run.h``."""
_LOAD_MARGIN_S: Final = 5
"""Requests give up first: they can tell the next ones why."""
_REQUEST_TIMEOUT_S: Final = 5.0
_KILL_AFTER_S: Final = 2.0
"""Between the signal that asks a child to end and the one that ends it."""
_DEFAULT_IDLE_S: Final = 300.0
_SETTLE_MS: Final = 50
_LOOK_ROUND_S: Final = 15.0
"""How often a template without requests looks whether it is still of use."""
_MAX_CONNECTIONS: Final = 400
_FORWARDABLE: Final = range(1, signal.NSIG)


class _Finished(SystemExit):
    """Leaves the program that the template loaded."""


def main() -> None:
    signal.alarm(_load_timeout_s() + _LOAD_MARGIN_S)
    file_identity, target, *arguments = sys.argv[1:]
    watch = Watch(script_of(target), file_identity)
    with open(_IDENTITY, "rb") as file:
        identity = file.read()
    template = Template(socket.socket(fileno=_LISTENER), identity, watch)
    try:
        execute(target, arguments, template.serve)
        reason = "it ended without serving"
    except _Finished:
        raise
    except BaseException as error:
        # Plain execution shows the whole of it.
        reason = f"the worker could not be loaded: {type(error).__name__}: {error}"
    template.decline(request.PLAIN, reason)


class _Client:
    """One connection: at first a request, then the child that answers it."""

    __slots__ = ("connection", "deadline", "is_accepted", "pid", "request")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.request = Request()
        self.is_accepted = False
        self.pid = 0
        self.deadline: float | None = monotonic() + _REQUEST_TIMEOUT_S

    def close(self) -> None:
        self.request.close()
        self.connection.close()


class Template:
    def __init__(self, listener: socket.socket, identity: bytes, watch: Watch) -> None:
        self._listener = listener
        self._listener.setblocking(False)
        os.set_inheritable(listener.fileno(), False)
        self._identity = identity
        self._watch = watch
        self._place = Place(listener.getsockname())
        self._clients: dict[int, _Client] = {}
        self._children: dict[int, _Client] = {}
        self._is_open = True
        self._idle_s = _idle_s()
        self._variables = dict(os.environb)
        """The environment before the worker was loaded."""

    # -- once -----------------------------------------------------------------------------------

    def serve(self, worker: Worker, argv: Sequence[str] | None) -> NoReturn:
        """Takes the place of ``Worker.run``. Children end in here as well."""
        reason = self._prepare(worker)
        signal.alarm(0)
        if reason is not None:
            self._place.refuse(reason)
            self.decline(request.PLAIN, reason)
            raise _Finished(0)
        changed = self._watch.complete()
        if changed is not None:
            self.decline(request.PLAIN, f"{changed} changed while it was loaded")
            raise _Finished(0)
        self._generators = forking.Generators()
        gc.freeze()  # pages that no collection touches stay shared
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for descriptor in (1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        os.chdir("/")
        self._wake, self._waker = socket.socketpair()
        for end in (self._wake, self._waker):
            end.setblocking(False)
        self._handlers: dict[int, Any] = {
            number: signal.signal(number, lambda number, frame: None) for number in (signal.SIGCHLD, signal.SIGTERM)
        }
        self._old_wakeup = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._old_mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, self._handlers)
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        self._used_at = monotonic()
        try:
            client = self._loop()
        except KeyboardInterrupt:
            client = None
            self._close()
        if client is not None:
            self._become_child(client, worker, argv)
        raise _Finished(0)

    def _prepare(self, worker: Worker) -> str | None:
        """Everything that children would do again; the reason if they cannot be had."""
        if not worker.template:
            return "the worker asks for none (template=False)"
        worker.warm_up()
        if len(sys.argv) > 1:  # the command line will have to be parsed
            import argparse  # noqa: F401

            import vgi_fast.transports.sockets  # noqa: F401
        return forking.obstacle({self._listener.fileno()})

    def decline(self, kind: int, reason: str = "") -> None:
        """Answer what waits, and go. Nobody has to find out by a timeout."""
        self._place.leave()
        self._is_open = False
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            self._dismiss(connection, kind, reason)
        self._listener.close()

    def _dismiss(self, connection: socket.socket, kind: int, reason: str = "") -> None:
        with connection:
            try:
                connection.send(request.reply(kind) + reason.encode("utf-8", "replace")[:500])
                # An end with unread data would take the answer with it.
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(_REQUEST_TIMEOUT_S)
                unread = Request()
                while not unread.receive(connection):
                    pass
            except (OSError, EOFError, ProtocolError):
                pass

    # -- the loop -------------------------------------------------------------------------------

    def _loop(self) -> _Client | None:
        """Returns in each child, with its request; in the template when it ends, with nothing."""
        settled = False
        while self._is_open or self._clients:
            events = self._poll.poll(self._wait_ms() if settled else _SETTLE_MS)
            if not events and not settled:
                # Whoever waited for the first start is being served: time for what makes the next ones cheaper.
                settled = True
                self._place.tidy()
                gc.unfreeze()
                gc.collect()
                gc.freeze()
            for descriptor, _ in events:
                if descriptor == self._wake.fileno():
                    self._signalled()
                    continue
                client = self._accept() if descriptor == self._listener.fileno() else self._clients.get(descriptor)
                if client is not None and self._hear(client):
                    return client
            self._pass_deadlines()
        return None

    def _wait_ms(self) -> float:
        now = monotonic()
        ends = [client.deadline for client in self._clients.values() if client.deadline is not None]
        if self._is_open:
            ends.append(now + _LOOK_ROUND_S)
            if not self._clients:
                ends.append(self._used_at + self._idle_s)
        return max(0.0, min(ends, default=now + _LOOK_ROUND_S) - now) * 1000 + 1

    def _accept(self) -> _Client | None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            if not isinstance(error, (BlockingIOError, ConnectionAbortedError)):
                self._pause_listening()
            return None
        connection.setblocking(False)
        if not _is_own_user(connection):
            connection.close()
            return None
        client = _Client(connection)
        self._clients[connection.fileno()] = client
        self._poll.register(connection, select.POLLIN)
        if len(self._clients) >= _MAX_CONNECTIONS:
            self._pause_listening()
        return client

    def _pause_listening(self) -> None:
        """Until a connection has ended: out of descriptors, or of patience."""
        if self._clients:
            self._poll.modify(self._listener, 0)

    def _hear(self, client: _Client) -> bool:
        """Something came from a client, perhaps its end. True in a new child."""
        if client.pid:
            self._forward(client)
            return False
        try:
            if client.is_accepted:
                return client.request.receive_descriptors(client.connection) and self._fork(client)
            if client.request.receive(client.connection):
                self._answer(client)
        except (ProtocolError, EOFError, OSError):
            self._forget(client)
        return False

    def _answer(self, client: _Client) -> None:
        if client.request.identity != self._identity:
            self._reply(client, request.reply(request.PLAIN) + b"another worker has the same name by chance")
            self._forget(client)
        elif not self._is_current():
            self._reply(client, request.reply(request.STALE))
            self._forget(client)
            self._close()
        else:
            client.is_accepted = True
            client.deadline = monotonic() + _REQUEST_TIMEOUT_S
            self._reply(client, request.reply(request.READY))

    def _fork(self, client: _Client) -> bool:
        # A signal that the child gets at once must find the child's handlers, not these.
        self._mask = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        try:
            pid = fork_tied()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            self._reply(client, request.reply(request.PLAIN) + str(error).encode())
            self._forget(client)
            return False
        if pid == 0:
            return True
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        client.request.close()
        client.pid = pid
        client.deadline = None
        self._children[pid] = client
        return False

    def _forward(self, client: _Client) -> None:
        """Signals that the other side received, or its end."""
        try:
            numbers = client.connection.recv(64)
        except BlockingIOError:
            return
        except OSError:
            numbers = b""
        if not numbers:
            # The child has no master any more; until it has ended nothing more is heard of this connection.
            self._poll.unregister(client.connection)
            client.deadline = monotonic() + _KILL_AFTER_S
            numbers = bytes([signal.SIGTERM])
        for number in numbers:
            if number in _FORWARDABLE:
                os.kill(client.pid, number)  # it exists until it is waited for, which is done here

    def _signalled(self) -> None:
        try:
            numbers = self._wake.recv(4096)
        except BlockingIOError:
            return
        for pid, client in list(self._children.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._children[pid]
                self._reply(client, request.reply(request.ENDED, status))
                self._forget(client)
        if signal.SIGTERM in numbers:
            self._close()
            for client in self._clients.values():
                if client.pid:
                    os.kill(client.pid, signal.SIGTERM)
                    client.deadline = monotonic() + _KILL_AFTER_S
                else:
                    client.deadline = monotonic()

    def _pass_deadlines(self) -> None:
        now = monotonic()
        for client in list(self._clients.values()):
            if client.deadline is not None and client.deadline <= now:
                if client.pid:
                    os.kill(client.pid, signal.SIGKILL)
                    client.deadline = None
                else:
                    self._forget(client)
        if not self._is_open:
            return
        is_idle = not self._clients and now >= self._used_at + self._idle_s
        if is_idle or not self._place.is_ours() or not self._is_current():
            self._close()

    def _is_current(self) -> bool:
        return self._watch.changed() is None

    def _close(self) -> None:
        """Take no more requests; the loop ends with the last child."""
        if self._is_open:
            self._poll.unregister(self._listener)
            self.decline(request.STALE)

    def _reply(self, client: _Client, message: bytes) -> None:
        try:
            client.connection.send(message)
        except OSError:
            pass  # it is gone, which is noticed elsewhere

    def _forget(self, client: _Client) -> None:
        del self._clients[client.connection.fileno()]
        try:
            self._poll.unregister(client.connection)
        except KeyError:
            pass
        client.close()
        self._used_at = monotonic()
        if self._is_open:
            self._poll.modify(self._listener, select.POLLIN)

    # -- the child ------------------------------------------------------------------------------

    def _become_child(self, client: _Client, worker: Worker, argv: Sequence[str] | None) -> NoReturn:
        descriptors, client.request.descriptors = client.request.descriptors, []
        variables = client.request.variables
        folder = descriptors[3]
        for number in range(3):
            os.dup2(descriptors[number], number)
        os.fchdir(folder)
        os.setsid()
        for descriptor in descriptors:
            os.close(descriptor)
        self._listener.close()
        for other in self._clients.values():
            if other is not client:
                other.close()
        signal.set_wakeup_fd(self._old_wakeup)
        self._wake.close()
        self._waker.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._adopt(variables)
        self._generators.renew()
        forking.adopt_exit_handlers()
        worker.renew()

        def serve() -> None:
            # From here on the input is read, so nobody may serve in its place: the other side has to have heard of it
            # before, whatever is killed next, and must not have given up.
            try:
                client.connection.send(request.reply(request.STARTED, os.getpid()))
            except OSError:
                return
            client.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, self._old_mask)
            worker.run(argv)

        forking.leave(serve)

    def _adopt(self, variables: dict[bytes, bytes]) -> None:
        """Variables that are not part of the identity: exactly those that the request has."""
        fixed = set(self._identity.split(b"\0"))
        for name, value in self._variables.items():
            if name not in variables and name + b"=" + value not in fixed:
                os.environb.pop(name, None)
        for name, value in variables.items():
            os.environb[name] = value


def _load_timeout_s() -> int:
    given = os.environ.get("VGI_FAST_RUN_TIMEOUT_S", "")
    return int(given) if given.isdecimal() and int(given) else _LOAD_TIMEOUT_S


def _idle_s() -> float:
    try:
        return max(0.0, float(os.environ.get("VGI_FAST_TEMPLATE_IDLE_S") or _DEFAULT_IDLE_S))
    except ValueError:
        return _DEFAULT_IDLE_S


def _is_own_user(connection: socket.socket) -> bool:
    if hasattr(socket, "SO_PEERCRED"):
        import struct

        _, user, _ = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return bool(user == os.geteuid())
    return True  # the directory and the socket admit this user only
