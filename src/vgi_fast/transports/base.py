"""The seam between transports and the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vgi_fast._core import Input, Output

__all__ = ["Capabilities", "Connection", "Served"]


class Capabilities:
    """What a transport can do besides carrying streams."""

    __slots__ = ("shared_memory", "spin_us")

    def __init__(self, *, shared_memory: bool = False, spin_us: float = 0.0) -> None:
        self.spin_us = spin_us
        """How long a read may look for bytes before it sleeps."""
        self.shared_memory = shared_memory
        """Batches may travel through a POSIX segment (section 8 of the RPC document)."""


class Connection(Protocol):
    """Two one-way channels to one peer. One thread at a time."""

    input: Input
    output: Output
    capabilities: Capabilities

    def close(self) -> None: ...


class Served(Protocol):
    """A connection being served, as whoever has to end it sees it from another thread."""

    busy: bool
    """A request has arrived and its answer is not complete."""
    leaving: bool
    """Once set, the running request is the last."""
    requests: int

    def run(self) -> None:
        """Returns when the peer has left."""
