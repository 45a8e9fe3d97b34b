"""Deadlines for calls that block in the core."""

from collections.abc import Callable
from math import inf
from threading import Condition, Thread
from time import monotonic


class Watchdog:
    """Calls ``expire`` once when an armed deadline passes.

    A blocked read cannot be interrupted, but it returns when the peer is gone; ``expire`` ends the peer. One
    thread serves all deadlines: arming costs a lock, not a thread.
    """

    def __init__(self, expire: Callable[[], None]) -> None:
        self._expire = expire
        self._changed = Condition()
        self._deadline = inf
        self._wakes_at = inf
        self._running = True
        self.expired = False
        self._thread: Thread | None = None

    def arm(self, timeout_s: float) -> None:
        with self._changed:
            self._deadline = monotonic() + timeout_s
            if self._thread is None:
                self._thread = Thread(target=self._watch, name="vgi-fast-watchdog", daemon=True)
                self._thread.start()
            elif self._wakes_at > self._deadline:
                self._changed.notify()

    def disarm(self) -> None:
        # No notice: the thread wakes at the old deadline, finds nothing due and waits for the next.
        with self._changed:
            self._deadline = inf

    def close(self) -> None:
        with self._changed:
            self._running = False
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        with self._changed:
            while self._running:
                remaining = self._deadline - monotonic()
                if remaining <= 0:
                    self.expired = True
                    break
                self._wakes_at = self._deadline
                self._changed.wait(None if remaining == inf else remaining)
        if self.expired:
            self._expire()
