"""What a pool can be told, and how that is written on a command line."""

from __future__ import annotations

from typing import Final

__all__ = ["DEFAULT_DRAIN_TIMEOUT_S", "PoolOptions", "parse_size", "parse_workers"]

DEFAULT_DRAIN_TIMEOUT_S: Final = 10.0
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class PoolOptions:
    """How many processes there are, and when one of them is replaced."""

    __slots__ = ("drain_timeout_s", "max_memory_bytes", "max_requests", "threaded", "workers")

    def __init__(
        self,
        workers: int | None = None,
        *,
        threaded: bool = True,
        max_requests: int | None = None,
        max_memory_bytes: int | None = None,
        drain_timeout_s: float = DEFAULT_DRAIN_TIMEOUT_S,
    ) -> None:
        self.workers = workers
        """None is one for each processor."""
        self.threaded = threaded
        """A process may be given several connections before all have one."""
        self.max_requests = max_requests
        self.max_memory_bytes = max_memory_bytes
        self.drain_timeout_s = drain_timeout_s

    @property
    def recycles(self) -> bool:
        return self.max_requests is not None or self.max_memory_bytes is not None


def parse_workers(text: str) -> int | None:
    """
    >>> parse_workers("4"), parse_workers("auto")
    (4, None)
    """
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"expected a number of processes from 1 on, or auto, got {text!r}")
    return int(text)


def parse_size(text: str) -> int:
    """Bytes, or with a unit of 1024.

    >>> parse_size("4096"), parse_size("512M"), parse_size("1.5GiB")
    (4096, 536870912, 1610612736)
    """
    number = text.rstrip("BKMGTibkmgt")
    unit = text[len(number) :].upper().removesuffix("B").removesuffix("I")
    try:
        size = float(number) * _UNITS[unit]
    except (KeyError, ValueError):
        size = 0.0
    if not 1 <= size < 1 << 62:
        raise ValueError(f"expected bytes, as 4096, 512M or 1.5G, got {text!r}")
    return int(size)
