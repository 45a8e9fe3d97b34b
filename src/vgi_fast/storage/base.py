"""What every backend does (section 8.2 of the stateful document).

Scopes, namespaces, keys and items are bytes. Key-value pairs, append logs, counters and the work queue are
separate spaces: the same name can exist in each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "ATTACH",
    "EXECUTION",
    "RESERVED_PREFIX",
    "TRANSACTION",
    "Storage",
    "attach_scope",
    "execution_scope",
    "pack_int_key",
    "transaction_scope",
    "unpack_int_key",
]

EXECUTION: Final = b"x"
ATTACH: Final = b"a"
TRANSACTION: Final = b"t"

RESERVED_PREFIX: Final = b"_vgi/"
"""Of namespaces that belong to the framework."""

EXCLUSIVE: Final = "keys and a range (start, end) are mutually exclusive"


def execution_scope(execution_id: bytes) -> bytes:
    """Swept when nobody has touched it for long."""
    return EXECUTION + execution_id


def attach_scope(name: bytes) -> bytes:
    """Outlives queries and processes; never swept."""
    return ATTACH + name


def transaction_scope(transaction: bytes) -> bytes:
    """Swept as an execution, should neither commit nor rollback clear it."""
    return TRANSACTION + transaction


def pack_int_key(number: int) -> bytes:
    """Eight bytes, little-endian and signed, so byte order is not numeric order."""
    return number.to_bytes(8, "little", signed=True)


def unpack_int_key(key: bytes) -> int:
    return int.from_bytes(key, "little", signed=True)


class Storage(ABC):
    """One backend. Any thread may use it; each operation is atomic, also between processes."""

    name: str = ""
    cross_process: bool = True
    """Another process that is configured alike sees what this one stored."""

    # -- key-value --

    @abstractmethod
    def state_get_many(self, scope: bytes, ns: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        """Parallel to ``keys``, None for a miss."""

    @abstractmethod
    def state_put_many(self, scope: bytes, ns: bytes, items: Iterable[tuple[bytes, bytes]]) -> None:
        """All or nothing; the last write of a key wins."""

    @abstractmethod
    def state_scan(
        self,
        scope: bytes,
        ns: bytes,
        start: bytes | None = None,
        end: bytes | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[tuple[bytes, bytes]]:
        """Pairs of keys in [start, end), in byte order; ``limit`` cuts after ordering."""

    @abstractmethod
    def state_drain(self, scope: bytes, ns: bytes) -> list[tuple[bytes, bytes]]:
        """All pairs, deleted in the same step, so that two drainers never share one."""

    @abstractmethod
    def state_delete(
        self,
        scope: bytes,
        ns: bytes,
        keys: Sequence[bytes] | None = None,
        start: bytes | None = None,
        end: bytes | None = None,
    ) -> int:
        """Delete some keys, a range, or the whole namespace; gives how many there were."""

    # -- append logs --

    @abstractmethod
    def state_append(self, scope: bytes, ns: bytes, key: bytes, item: bytes) -> int:
        """The ordinal of the new item: larger than all before it, never used again."""

    @abstractmethod
    def state_log_scan(
        self, scope: bytes, ns: bytes, key: bytes, after_id: int = -1, limit: int | None = None
    ) -> list[tuple[int, bytes]]:
        """Items with ordinals above ``after_id``, ascending; they stay."""

    # -- counters --

    @abstractmethod
    def state_counter_get(self, scope: bytes, ns: bytes, key: bytes) -> int:
        """0 when missing."""

    @abstractmethod
    def state_counter_add(self, scope: bytes, ns: bytes, key: bytes, delta: int) -> int:
        """The new value. StorageError, with nothing changed, where it leaves 64 bits."""

    @abstractmethod
    def state_counter_set(self, scope: bytes, ns: bytes, key: bytes, value: int) -> None: ...

    @abstractmethod
    def state_counter_delete(self, scope: bytes, ns: bytes, key: bytes) -> int:
        """1 when there was one."""

    # -- the work queue --

    @abstractmethod
    def queue_push(self, scope: bytes, items: Sequence[bytes]) -> int: ...

    @abstractmethod
    def queue_pop(self, scope: bytes) -> bytes | None:
        """The oldest item, given to one popper only."""

    @abstractmethod
    def queue_clear(self, scope: bytes) -> int: ...

    # -- scopes --

    @abstractmethod
    def execution_clear(self, scope: bytes) -> int:
        """Delete pairs, log items and counters of all namespaces; gives their number. The queue stays."""

    @abstractmethod
    def sweep(self, idle_s: float) -> int:
        """Remove executions and transactions that nobody has changed for so long; gives how many."""

    def close(self) -> None:  # noqa: B027
        """Give up connections and descriptors; what is stored stays."""

    # -- spools --

    def spool_append(self, scope: bytes, ns: bytes, item: bytes) -> None:
        """Add an item that is read only after everybody has finished adding.

        Items of one process stay in order, those of several need not. Backends make this cheaper than
        ``state_append`` where they can.
        """
        self.state_append(scope, ns, b"", item)

    def spool_scan(self, scope: bytes, ns: bytes) -> Iterator[bytes]:
        return (item for _, item in self.state_log_scan(scope, ns, b""))
