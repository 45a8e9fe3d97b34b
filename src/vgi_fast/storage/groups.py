"""States of the groups of one execution: fixed-size records by group id, and nodes of bytes that they refer to.

``MappedGroups`` keeps both in files that all processes of the host map; a change is published with one store
and survives the death of whoever makes it (``_core_parts/state.pxi``). ``MemoryGroups`` are those of one
process. ``StoredGroups`` go through the operations of any other storage: atomic, but a request that is
repeated after a crash counts twice there, as the protocol has it.
"""

from __future__ import annotations

import mmap
import threading
from typing import TYPE_CHECKING, Final, Protocol

from vgi_fast._core import GroupStore
from vgi_fast.errors import StorageError
from vgi_fast.storage.base import Storage, execution_scope, pack_int_key
from vgi_fast.storage.mapped import MappedStorage
from vgi_fast.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vgi_fast._core import Groups
from vgi_fast.storage.mapped_groups import MappedGroups

__all__ = ["GroupRecords", "MappedGroups", "MemoryGroups", "StoredGroups", "group_records"]

_RECORDS_NS: Final = b"_vgi/aggregate_state"
_NODES_NS: Final = b"_vgi/aggregate_node"


class GroupRecords(Protocol):
    """States of one execution. One request at a time for each thread."""

    def load(self, groups: Groups, digest: bytes | None = None) -> bool:
        """The records of all groups. False where a process that is no more did all of this request, but could not
        say so: ``digest`` is that of a request which will change the groups.
        """

    def publish(self, groups: Groups, digest: bytes) -> None:
        """All or nothing."""

    def settled(self, groups: Groups) -> None:
        """These groups were finalized, or combined into others."""

    def answered(self) -> None:
        """The client has the answer to what was published last."""

    def unanswered(self) -> None:
        """The client could not be told; it may ask again."""

    def exists(self) -> bool:
        """Whether there may be any state; never makes one."""

    def discard(self) -> None:
        """Remove everything: nobody will ask again."""

    def put_nodes(self, nodes: Sequence[bytes]) -> list[int]: ...

    def get_nodes(self, ids: Sequence[int]) -> list[bytes]: ...

    def drop_nodes(self, nodes: Sequence[tuple[int, int]]) -> None:
        """Ids and sizes of nodes that nobody refers to any more."""


def group_records(storage: Storage, name: bytes, stride: int, layout: bytes) -> GroupRecords:
    """``name`` is that of the execution, ``layout`` tells records of one size apart."""
    if isinstance(storage, MappedStorage):
        return MappedGroups(storage, name, stride, layout)
    if isinstance(storage, MemoryStorage):
        return MemoryGroups(name, stride)
    return StoredGroups(storage, name)


class MemoryGroups:
    """In this process."""

    def __init__(self, name: bytes, stride: int) -> None:
        self._store = GroupStore(stride, name, self._fresh(), self._grow, lambda start, end: None)
        self._nodes: dict[int, bytes] = {}
        self._next = 1
        self.lock = threading.Lock()

    def _fresh(self) -> mmap.mmap:
        self._memory_size = 1 << 20
        return mmap.mmap(-1, self._memory_size)

    def _grow(self, end: int) -> mmap.mmap:
        size = self._memory_size
        while size < end:
            size *= 2
        try:
            larger = mmap.mmap(-1, size)
        except (OSError, ValueError, OverflowError) as error:
            raise StorageError(f"no memory for {size} bytes of group states") from error
        larger[: self._memory_size] = self._store.memory()
        self._memory_size = size
        return larger

    def load(self, groups: Groups, digest: bytes | None = None) -> bool:
        with self.lock:
            self._store.load(groups)
        return True

    def publish(self, groups: Groups, digest: bytes) -> None:
        with self.lock:
            self._store.store(groups)

    def settled(self, groups: Groups) -> None:
        pass

    def answered(self) -> None:
        pass

    def unanswered(self) -> None:
        pass

    def exists(self) -> bool:
        return True

    def discard(self) -> None:
        with self.lock:
            self._nodes.clear()
            self._store.attach(self._fresh())

    def put_nodes(self, nodes: Sequence[bytes]) -> list[int]:
        with self.lock:
            first = self._next
            self._next += len(nodes)
            self._nodes.update(zip(range(first, self._next), nodes, strict=True))
        return list(range(first, first + len(nodes)))

    def get_nodes(self, ids: Sequence[int]) -> list[bytes]:
        try:
            return [self._nodes[one] for one in ids]
        except KeyError as error:
            raise StorageError(f"a part {error} of a group's state is gone") from None

    def drop_nodes(self, nodes: Sequence[tuple[int, int]]) -> None:
        for one, _ in nodes:
            self._nodes.pop(one, None)


class StoredGroups:
    """Through a storage that knows nothing of groups."""

    def __init__(self, storage: Storage, name: bytes) -> None:
        self._storage = storage
        self._scope = execution_scope(name)

    def load(self, groups: Groups, digest: bytes | None = None) -> bool:
        keys = [pack_int_key(one) for one in groups.ids_list()]
        groups.set_records(self._storage.state_get_many(self._scope, _RECORDS_NS, keys))
        return True

    def publish(self, groups: Groups, digest: bytes) -> None:
        pairs = zip(groups.ids_list(), groups.get_records(), strict=True)
        changed = [(pack_int_key(one), record) for one, record in pairs if record is not None]
        if changed:
            self._storage.state_put_many(self._scope, _RECORDS_NS, changed)

    def settled(self, groups: Groups) -> None:
        pass

    def answered(self) -> None:
        pass

    def unanswered(self) -> None:
        pass

    def exists(self) -> bool:
        return True

    def discard(self) -> None:
        self._storage.execution_clear(self._scope)

    def put_nodes(self, nodes: Sequence[bytes]) -> list[int]:
        if not nodes:
            return []
        last = self._storage.state_counter_add(self._scope, _NODES_NS, b"", len(nodes))
        ids = list(range(last - len(nodes) + 1, last + 1))
        items = [(pack_int_key(one), node) for one, node in zip(ids, nodes, strict=True)]
        self._storage.state_put_many(self._scope, _NODES_NS, items)
        return ids

    def get_nodes(self, ids: Sequence[int]) -> list[bytes]:
        found = self._storage.state_get_many(self._scope, _NODES_NS, [pack_int_key(one) for one in ids])
        nodes = [node for node in found if node is not None]
        if len(nodes) < len(ids):
            raise StorageError("a part of a group's state is gone from the storage")
        return nodes

    def drop_nodes(self, nodes: Sequence[tuple[int, int]]) -> None:
        if nodes:
            self._storage.state_delete(self._scope, _NODES_NS, [pack_int_key(one) for one, _ in nodes])
