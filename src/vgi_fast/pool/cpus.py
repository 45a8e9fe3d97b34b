"""How many processes can run at once: processors, affinity, and the quotas of control groups."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cpu_quota", "usable_cpus"]

_OWN_GROUPS: Final = "proc/self/cgroup"
_MOUNT: Final = "sys/fs/cgroup"


def usable_cpus() -> int:
    """Processors that this process may use, at least 1."""
    return _usable(_affinity(), cpu_quota())


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _usable(processors: int, quota: float | None) -> int:
    """Half a processor more is worth another process.

    >>> _usable(8, None), _usable(8, 2.5), _usable(8, 2.4), _usable(2, 16.0), _usable(4, 0.1)
    (8, 3, 2, 2, 1)
    """
    return max(1, processors if quota is None else min(processors, int(quota + 0.5)))


def cpu_quota(root: str = "/") -> float | None:
    """Processors' worth of time that the control groups grant, the least of all levels; None without a limit."""
    granted = list(_quotas(root))
    return min(granted) if granted else None


def _quotas(root: str) -> Iterator[float]:
    for line in (_read(os.path.join(root, _OWN_GROUPS)) or "").splitlines():
        # "ID:CONTROLLERS:PATH"; version 2 has ID 0 and no controllers.
        controllers, _, path = line.partition(":")[2].partition(":")
        if not controllers:
            for folder in _levels(os.path.join(root, _MOUNT), path):
                limit, _, period = (_read(os.path.join(folder, "cpu.max")) or "").strip().partition(" ")
                yield from _ratio(limit, period or "100000")
        elif "cpu" in controllers.split(","):
            # Mounted under the names of all its controllers or of this one alone.
            for name in dict.fromkeys((controllers, "cpu")):
                for folder in _levels(os.path.join(root, _MOUNT, name), path):
                    limit = (_read(os.path.join(folder, "cpu.cfs_quota_us")) or "").strip()
                    period = (_read(os.path.join(folder, "cpu.cfs_period_us")) or "").strip()
                    yield from _ratio(limit, period)


def _levels(mount: str, path: str) -> Iterator[str]:
    """The group's folder and all above it. In a container the path is the host's and only the mount exists."""
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for count in range(len(parts), -1, -1):
        yield os.path.join(mount, *parts[:count])


def _ratio(limit: str, period: str) -> Iterator[float]:
    # No limit is "max" in version 2 and -1 in version 1.
    if limit.isdecimal() and period.isdecimal() and int(period) > 0 and int(limit) > 0:
        yield int(limit) / int(period)


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except (OSError, ValueError):
        return None
