"""Which process serves the next connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Candidate", "choose", "process_limit"]

_UNTHREADED_FACTOR: Final = 4
_UNTHREADED_LEAST: Final = 16


class Candidate(Protocol):
    @property
    def load(self) -> int:
        """Connections whose client is there."""

    given_at: float
    """When it was last given a connection."""


C = TypeVar("C", bound=Candidate)


def process_limit(workers: int, threaded: bool) -> int:
    """Most processes at a time.

    With one connection per process the second one would have to wait for the first, and that may be for ever:
    a query's own connection stays open while its smaller calls open further ones (section 11.1 of the RPC
    document). Hence more processes than asked for while they are needed.

    >>> process_limit(2, True), process_limit(2, False), process_limit(8, False)
    (2, 16, 32)
    """
    return workers if threaded else max(_UNTHREADED_LEAST, workers * _UNTHREADED_FACTOR)


def choose(candidates: Iterable[C], limit: int) -> C | None:
    """The process with the fewest connections, of several the one that was given none for longest.

    None when another process should be started instead: all have a connection and there are fewer than
    ``limit``. At the limit connections share processes, whatever was wished: waiting could be for ever.
    """
    listed = list(candidates)
    best = min(listed, key=lambda each: (each.load, each.given_at), default=None)
    if best is not None and best.load and len(listed) < limit:
        return None
    return best
