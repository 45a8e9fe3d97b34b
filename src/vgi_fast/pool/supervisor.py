"""Accepts the connections of a pool and decides which process serves them.

One thread and one loop: what happens is a connection, a report, a signal or a deadline. Processes are forked
when a connection finds none free, so a worker that is used by one client at a time stays small.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from collections import deque
from functools import partial
from socket import socket, socketpair
from time import monotonic
from typing import TYPE_CHECKING, Final

from vgi_fast.errors import TransportError
from vgi_fast.pool.cpus import usable_cpus
from vgi_fast.pool.fork import allow_native_threads, fork, other_threads
from vgi_fast.pool.link import Taken
from vgi_fast.pool.member import Member
from vgi_fast.pool.placement import choose, process_limit
from vgi_fast.pool.process import Process
from vgi_fast.transports.exits import exit_text
from vgi_fast.transports.sockets import FIRST_GRACE_S, accept, announce

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgi_fast.pool.options import PoolOptions
    from vgi_fast.transports.base import Connection, Served
    from vgi_fast.transports.sockets import Listener
    from vgi_fast.worker.log import Log

__all__ = ["Supervisor"]

_LOGGER: Final = "vgi.pool"
_PREPARE_AFTER_S: Final = 0.2
_FIRST_DELAY_S: Final = 0.1
_LONGEST_DELAY_S: Final = 5.0
_FAILED_STARTS: Final = 6
"""So many in a row, about three seconds, while no process is alive end the pool."""
_RETRY_S: Final = 0.05
_MEMORY_CHECK_S: Final = 1.0
_SURPLUS_IDLE_S: Final = 5.0
_KILL_AFTER_S: Final = 1.0
"""Beyond the drain timeout, which the processes keep themselves."""
_JITTER: Final = 0.1
_ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    def __init__(
        self,
        listener: Listener,
        options: PoolOptions,
        start: Callable[[Connection], Served],
        *,
        idle_timeout_s: float,
        log: Log,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        """``start`` makes what serves one connection. ``prepare`` is called at the first pause: what it loads
        comes with every process that is forked later."""
        self._listener = listener
        self._options = options
        self._start = start
        self._idle_timeout_s = idle_timeout_s
        self._log = log
        self._prepare = prepare
        self._wanted = 1
        """How many processes there have to be; grows to ``_workers`` as they are needed."""
        self._workers = options.workers or usable_cpus()
        self._limit = process_limit(self._workers, options.threaded)
        self._members: dict[int, Member] = {}
        """By descriptor of the control socket."""
        self._pending: deque[socket] = deque()
        """Accepted, and no process could be given them yet."""
        self._poll = select.poll()
        self._accepting = False
        self._failed_starts = 0
        self._no_start_before = 0.0
        self._idle_since: float | None = None
        self._check_memory_at = 0.0
        self._memory_may_differ = True
        self._signals: list[int] = []
        """Those received that end the pool."""
        self._is_leaving = False
        self._wake, self._woken = os.pipe()

    def run(self) -> int:
        """Serve until nobody was connected for long enough (0) or a signal came (its number)."""
        self._take_signals()
        announce(self._listener.announcement)
        self._listener.socket.setblocking(False)
        self._poll.register(self._wake, select.POLLIN)
        # The grace makes the first wait max(idle timeout, 60 s) long.
        self._idle_since = monotonic() + max(0.0, FIRST_GRACE_S - self._idle_timeout_s)
        allow_native_threads()
        if lost := other_threads():
            self._say(
                "WARNING",
                f"threads started before run() do not exist in the pool's processes: {', '.join(lost)}; start them "
                "when they are first needed, or serve with --workers 1",
            )
        try:
            self._spawn()
            while not self._signals and not self._is_idle_for_too_long():
                self._step()
        finally:
            self._leave()
        return self._signals[0] if self._signals else 0

    # -- the loop -------------------------------------------------------------------------------

    def _step(self) -> None:
        self._watch_listener(not self._pending)
        wait_s = self._wait_s()
        happened = self._poll.poll(None if wait_s is None else max(0, int(wait_s * 1000) + 1))
        is_connection = False
        for descriptor, _ in happened:
            if descriptor == self._wake:
                self._read_signals()
            elif descriptor in self._members:
                self._read_reports(self._members[descriptor])
            else:
                is_connection = True
        # Last: what the processes have said counts for the choice among them.
        if is_connection and not self._signals:
            self._accept()
        if not happened and self._prepare is not None:
            prepare, self._prepare = self._prepare, None
            prepare()
        self._place_pending()
        self._keep_up()

    def _wait_s(self) -> float | None:
        """Until something is due; None when nothing is."""
        now = monotonic()
        due: list[float] = []
        if self._pending:
            due.append(now + _RETRY_S)
        if self._prepare is not None:
            due.append(now + _PREPARE_AFTER_S)
        if self._idle_timeout_s > 0 and self._idle_since is not None:
            due.append(self._idle_since + self._idle_timeout_s)
        if self._is_short():
            due.append(self._no_start_before)
        if len(self._members) > self._workers:
            due.append(now + _SURPLUS_IDLE_S)
        if self._options.max_memory_bytes is not None and self._memory_may_differ:
            due.append(self._check_memory_at)
        return min(due) - now if due else None

    def _is_busy(self) -> bool:
        return bool(self._pending) or any(member.connections for member in self._members.values())

    def _is_idle_for_too_long(self) -> bool:
        if self._is_busy():
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = monotonic()
        if self._idle_timeout_s <= 0 or self._idle_since is None:
            return False
        return monotonic() - self._idle_since >= self._idle_timeout_s

    def _watch_listener(self, watched: bool) -> None:
        """Connections that cannot be placed wait in the kernel's queue."""
        if watched != self._accepting:
            self._accepting = watched
            if watched:
                self._poll.register(self._listener.socket, select.POLLIN)
            else:
                self._poll.unregister(self._listener.socket)

    # -- connections ----------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            accepted = accept(self._listener)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            self._say("ERROR", f"cannot accept a connection: {error.strerror}")
            self._watch_listener(False)
            # A while without it, or the loop would turn at full speed.
            self._poll.poll(int(_RETRY_S * 1000))
            return
        if accepted is not None:
            self._pending.append(accepted)

    def _place_pending(self) -> None:
        while self._pending and self._place(self._pending[0]):
            self._pending.popleft()

    def _place(self, connection: socket) -> bool:
        serving = self._serving()
        chosen = choose(serving, self._limit)
        if chosen is None and self._may_start():
            self._wanted = min(self._workers, max(self._wanted, len(serving) + 1))
            chosen = self._spawn()
        if chosen is not None and chosen.give(connection):
            return True
        # Where no process can be started, or the best one has no room, a busy one is better than none.
        return any(member.give(connection) for member in sorted(serving, key=lambda each: (each.load, each.given_at)))

    def _serving(self) -> list[Member]:
        return [member for member in self._members.values() if not (member.is_retiring or member.is_gone)]

    def _is_short(self) -> bool:
        """Fewer processes than there have to be. One that is gone is replaced when its exit status is known."""
        return sum(1 for member in self._members.values() if not member.is_retiring) < self._wanted

    # -- processes ------------------------------------------------------------------------------

    def _may_start(self) -> bool:
        return monotonic() >= self._no_start_before

    def _spawn(self) -> Member | None:
        """Another process; None when the system has no room for one."""
        try:
            mine, theirs = socketpair()
        except OSError as error:
            self._start_failed(f"cannot start a process: {error.strerror}")
            return None
        taken = Taken()
        try:
            pid = fork(partial(self._become, theirs, taken, mine))
        except OSError as error:
            for each in (mine, theirs, taken):
                each.close()
            self._start_failed(f"cannot start a process: {error.strerror}")
            return None
        theirs.close()
        member = Member(pid, mine, taken, self._request_limit())
        self._members[mine.fileno()] = member
        self._poll.register(mine, select.POLLIN)
        self._log.write("DEBUG", _LOGGER, "process started", pid=pid, processes=len(self._members))
        return member

    def _become(self, control: socket, taken: Taken, *unneeded: socket) -> None:
        """In the new process, to its end: it keeps nothing of the supervisor's, least of all connections, which would
        not end as long as it lives."""
        self._listener.socket.close()
        for each in (*unneeded, *self._pending):
            each.close()
        for member in self._members.values():
            member.abandon()
        os.close(self._wake)
        os.close(self._woken)
        Process(control, taken, self._start, self._options.drain_timeout_s).run()

    def _request_limit(self) -> float:
        """With a share by chance, or all processes would be replaced at the same time."""
        limit = self._options.max_requests
        if limit is None:
            return float("inf")
        return limit * (1 + _JITTER * int.from_bytes(os.urandom(2), "little") / 65536)

    def _read_reports(self, member: Member) -> None:
        was_ready = member.is_ready
        is_open = member.read_reports()
        self._memory_may_differ = True
        if member.is_ready and not was_ready:
            self._failed_starts = 0
        if not is_open:
            # It is dying and SIGCHLD follows, or its code has closed what it does not know, and it is of no use.
            member.is_gone = True
            member.kill(signal.SIGKILL)
            self._poll.unregister(member.control)
        elif member.is_leaving and not member.is_retiring:
            member.is_retiring = True
            self._pending.extend(member.take_back())

    def _keep_up(self) -> None:
        """Replace, dismiss and start processes as the rules have it."""
        self._retire_the_worn()
        while self._is_short() and self._may_start():
            if self._spawn() is None:
                break
        for member in self._members.values():
            if member.is_retiring and not member.connections:
                member.dismiss()

    def _retire_the_worn(self) -> None:
        most = self._options.max_memory_bytes
        now = monotonic()
        is_checked = most is not None and now >= self._check_memory_at
        if is_checked:
            self._check_memory_at = now + _MEMORY_CHECK_S
            self._memory_may_differ = self._is_busy()
        serving = self._serving()
        for member in serving:
            if member.requests >= member.request_limit:
                self._retire(member, f"after {member.requests} requests")
            elif most is not None and is_checked and member.was_used and (used := member.memory_bytes()) > most:
                self._retire(member, f"at {used >> 20} MiB")
        surplus = len(serving) - self._workers
        for member in serving:
            if surplus > 0 and not member.connections and now - member.given_at >= _SURPLUS_IDLE_S:
                surplus -= 1
                self._retire(member, "as it is not needed any more")

    def _retire(self, member: Member, reason: str) -> None:
        self._log.write("DEBUG", _LOGGER, f"process retires {reason}", pid=member.pid)
        member.is_retiring = True

    def _start_failed(self, message: str) -> None:
        self._failed_starts += 1
        delay_s = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2 ** min(self._failed_starts - 1, 10))
        self._no_start_before = monotonic() + delay_s
        self._say("ERROR", message)
        if self._failed_starts >= _FAILED_STARTS and not self._members:
            raise TransportError(f"none of {self._failed_starts} processes in a row came up: giving up")

    # -- signals --------------------------------------------------------------------------------

    def _take_signals(self) -> None:
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in (*_ENDING_SIGNALS, signal.SIGCHLD):
            signal.signal(number, _note)

    def _read_signals(self) -> None:
        try:
            numbers = os.read(self._wake, 4096)
        except BlockingIOError:
            return
        self._signals.extend(number for number in numbers if number in _ENDING_SIGNALS)
        self._reap()

    def _release_signals(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in (*_ENDING_SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.close(self._wake)
        os.close(self._woken)

    def _reap(self) -> None:
        for descriptor, member in list(self._members.items()):
            try:
                pid, status = os.waitpid(member.pid, os.WNOHANG)
            except ChildProcessError:  # an author's code has waited for every child
                pid, status = member.pid, 0
            if pid:
                self._bury(descriptor, member, os.waitstatus_to_exitcode(status))

    def _bury(self, descriptor: int, member: Member, status: int) -> None:
        member.read_reports()
        was_expected = member.is_leaving or (member.is_retiring and status == 0)
        untouched = member.take_back()
        try:
            self._poll.unregister(descriptor)
        except KeyError:
            pass
        del self._members[descriptor]
        lost = len(member.connections)
        member.abandon()
        self._pending.extend(untouched)
        if self._is_leaving or was_expected:
            return
        message = f"process {member.pid} of the pool {exit_text(status)}"
        if member.is_ready:
            self._say("WARNING", message, connections_lost=lost)
        else:
            self._start_failed(f"{message} before it was ready")

    def _say(self, level: str, message: str, **extra: object) -> None:
        self._log.write(level, _LOGGER, message, **extra)

    # -- the end --------------------------------------------------------------------------------

    def _leave(self) -> None:
        """Drain: no new connections, running calls may end, processes that take too long are killed."""
        self._watch_listener(False)
        self._listener.close()
        self._is_leaving = True  # an ending process is no news
        heard = len(self._signals)
        for member in self._members.values():
            member.dismiss()
        deadline = monotonic() + self._options.drain_timeout_s + _KILL_AFTER_S
        # A second signal: no more patience.
        while self._members and len(self._signals) == heard and (wait_s := deadline - monotonic()) > 0:
            self._await_the_end(wait_s)
        for descriptor, member in list(self._members.items()):
            member.kill(signal.SIGKILL)
            try:
                os.waitpid(member.pid, 0)
            except ChildProcessError:
                pass
            self._bury(descriptor, member, 0)
        for connection in self._pending:
            connection.close()
        self._release_signals()

    def _await_the_end(self, wait_s: float) -> None:
        for descriptor, _ in self._poll.poll(int(wait_s * 1000) + 1):
            if descriptor == self._wake:
                self._read_signals()
            elif descriptor in self._members:
                self._read_reports(self._members[descriptor])
        while self._pending:  # taken back from a process: nobody will serve them
            self._pending.popleft().close()


def _note(*_: object) -> None:
    """The number has gone to the wake-up descriptor."""
