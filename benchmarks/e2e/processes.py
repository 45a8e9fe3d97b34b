"""What other processes cost, as the kernel tells it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    cpu_ns: int
    rss_bytes: int


def usage(root: int | None = None) -> dict[int, Usage]:
    """Of all descendants of ``root`` (this process by default), by process id; of ``root`` too when it is given.

    A worker may be started through a shell, so children alone would not do.
    """
    found = {}
    for pid in [*([] if root is None else [root]), *_descendants(os.getpid() if root is None else root)]:
        try:
            found[pid] = Usage(_cpu_ns(pid), _rss_bytes(pid))
        except (OSError, StopIteration):  # it has just ended
            continue
    return found


def busiest_cpu_ns(before: dict[int, int], after: dict[int, int]) -> int:
    """Of the process that has computed most between two answers of ``cpu_by_process``."""
    return max((spent - before.get(pid, 0) for pid, spent in after.items()), default=0)


def cpu_by_process() -> dict[int, int]:
    """Of all descendants of this process, in nanoseconds and steps of a clock tick; with threads that have ended."""
    found = {}
    for pid in _descendants(os.getpid()):
        try:
            found[pid] = _ticks_ns(pid)
        except OSError:  # it has just ended
            continue
    return found


def _descendants(pid: int) -> Iterator[int]:
    for children in PROC.glob(f"{pid}/task/*/children"):
        try:
            listed = children.read_text(encoding="ascii").split()
        except OSError:
            continue
        for child in map(int, listed):
            yield child
            yield from _descendants(child)


def _cpu_ns(pid: int) -> int:
    """Of all threads that live; in nanoseconds where the kernel counts them, else in clock ticks."""
    counted = [file.read_text(encoding="ascii").split()[0] for file in PROC.glob(f"{pid}/task/*/schedstat")]
    if counted:
        return sum(map(int, counted))
    return _ticks_ns(pid)


def _ticks_ns(pid: int) -> int:
    # The name in parentheses may hold spaces; user and system time are fields 14 and 15.
    fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_NS


def _rss_bytes(pid: int) -> int:
    with (PROC / str(pid) / "status").open(encoding="utf-8") as file:
        # A process that has just ended has no such line.
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))
