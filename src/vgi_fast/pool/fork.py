"""Making a process of the pool out of the supervisor's."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from typing import TYPE_CHECKING

from vgi_fast.pool.process import BLOCKED_WHILE_FORKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["allow_native_threads", "fork", "other_threads"]


def fork(become: Callable[[], None]) -> int:
    """The new process's id. There ``become`` runs, with signals blocked, and this never returns."""
    for stream in (sys.stdout, sys.stderr):
        _flush(stream)
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_WHILE_FORKING)
    try:
        pid = os.fork()
        if pid == 0:
            _run(become)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_WHILE_FORKING)


def _run(become: Callable[[], None]) -> None:
    status = 1
    try:
        _reseed()
        become()
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)
        # What was registered to happen at exit is the supervisor's: a temporary folder, for one.
        os._exit(status)


def _flush(stream: object) -> None:
    try:
        stream.flush()  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):
        pass  # closed, or there is none


def _reseed() -> None:
    """The standard library reseeds after a fork by itself; NumPy's global generator would give every process the same
    numbers."""
    module = sys.modules.get("numpy.random")
    if module is not None:
        module.seed()


def allow_native_threads() -> None:
    """Since Python 3.12 a fork beside any thread warns. Libraries for arrays and their like handle forks themselves;
    for Python's threads see below."""
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)


def other_threads() -> list[str]:
    """Names of Python's threads that a fork leaves behind."""
    return [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
