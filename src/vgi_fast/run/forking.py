"""Whether a loaded process may be forked, and what a child has to make its own.

Handled: buffered output, exit handlers, ``random``, ``numpy.random`` and its generators that were seeded from the
system, thread pools of OpenBLAS and pyarrow, which shut down or renew themselves. Refused: running threads of anybody
else, open sockets. What remains is the author's: see the package's docstring.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from vgi_fast._core import fork_tied

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Generators", "adopt_exit_handlers", "leave", "obstacle"]

_TASKS: Final = "/proc/self/task"
_DESCRIPTORS: Final = "/proc/self/fd"
_SAFE_THREADS: Final = ("jemalloc_bg_thd",)
"""Native threads that restart themselves in a child."""
_EXIT_INTERRUPTED: Final = 130
_SYSTEM_ENTROPY: Final = 1 << 64
"""A seed above this was not chosen by a person: the system's have 128 bits."""


def obstacle(own_sockets: set[int]) -> str | None:
    """Why children of this process might not work."""
    others = len(sys._current_frames()) - 1
    if others:
        return f"the worker started {others} thread{'s' * (others > 1)} while it was loaded, which a child would lack"
    if sys.platform != "linux":
        return None
    for name in os.listdir(_DESCRIPTORS):
        try:
            opened = os.readlink(f"{_DESCRIPTORS}/{name}")
        except OSError:
            continue
        if opened.startswith("socket:") and int(name) not in own_sockets:
            return "the worker opened a network connection while it was loaded, which its children would share"
    allowed = _arrow_threads()
    if _native_threads() <= allowed:
        return None
    # Pools that know about forks end their threads before one.
    _fork_in_vain()
    natives = _native_threads()
    if natives > allowed:
        return f"{natives} native threads are running, of which no more than {allowed} are known to survive a fork"
    return None


def _fork_in_vain() -> None:
    child = fork_tied()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _native_threads() -> int:
    found = 0
    for task in os.listdir(_TASKS):
        try:
            with open(f"{_TASKS}/{task}/comm", encoding="utf-8", errors="replace") as file:
                name = file.read().strip()
        except OSError:
            continue
        found += int(task) != os.getpid() and name not in _SAFE_THREADS
    return found


def _arrow_threads() -> int:
    """pyarrow makes its pools anew in a child, but leaves them running in the parent."""
    arrow = sys.modules.get("pyarrow")
    return arrow.cpu_count() + arrow.io_thread_count() if arrow is not None else 0


class Generators:
    """Random generators of NumPy whose state children must not share. Those that the author seeded keep it."""

    def __init__(self) -> None:
        self._own: list[Any] = []
        random = sys.modules.get("numpy.random")
        if random is None:
            return
        import gc

        kinds = (random.Generator, random.RandomState)
        found = {id(one): one for one in gc.get_objects() if type(one) in kinds}
        legacy = sys.modules["numpy.random.mtrand"]._rand
        found[id(legacy)] = legacy
        self._own = [bits for bits in map(_bits_of, found.values()) if _is_from_system(bits)]

    def renew(self) -> None:
        """In a child. The standard library does so with ``random`` itself."""
        for bits in self._own:
            bits.state = type(bits)().state


def _bits_of(generator: Any) -> Any:
    return getattr(generator, "bit_generator", None) or generator._bit_generator


def _is_from_system(bits: Any) -> bool:
    entropy = getattr(getattr(bits, "seed_seq", None), "entropy", None)
    return isinstance(entropy, int) and entropy > _SYSTEM_ENTROPY


def adopt_exit_handlers() -> None:
    """In a child: handlers registered before the fork belong to the parent, and run once, at its end."""
    import atexit

    atexit._clear()
    weakref = sys.modules.get("weakref")
    if weakref is not None:
        for pending in list(weakref.finalize._registry):
            pending.atexit = False
        weakref.finalize._registered_with_atexit = False


def leave(serve: Callable[[], None]) -> NoReturn:
    """End a child with what ``serve`` comes to, without going back to the frames of its parent."""
    status = 1
    try:
        try:
            serve()
            status = 0
        except SystemExit as error:
            status = _exit_status(error)
        except KeyboardInterrupt:
            status = _EXIT_INTERRUPTED
        except BaseException:
            sys.excepthook(*sys.exc_info())
        _finish()
    finally:
        os._exit(status)


def _exit_status(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def _finish() -> None:
    """What the interpreter does at its end, as far as others see it."""
    import atexit

    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, or nobody reads
            pass
