"""State of groups in files that all workers of a host map."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from zlib import crc32

from vgi_fast._core import STATE_LAYOUT, GroupStore
from vgi_fast.errors import StorageError
from vgi_fast.storage.base import execution_scope
from vgi_fast.storage.mapped import MappedStorage
from vgi_fast.storage.paths import failed, private_directory
from vgi_fast.storage.writers import IDLE, PUBLISHED, SPREAD, Left, Writer, Writers, forks, is_own, reserve, visit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vgi_fast._core import Groups

__all__ = ["MappedGroups"]

_MAGIC: Final = b"vgifgs1\n"
_HEADER: Final = struct.Struct("<8sQQ16x16s8xQ")
"""Magic, record size, layout, two counters that the core keeps, name, a mark of the sweeper, size of the file."""
_SIZE_AT: Final = 64
_NODE: Final = struct.Struct("<QII")
"""Size and checksum of a node."""


class _Claim:
    """A change that a process made before it died, and of which its client may not know."""

    __slots__ = ("digest", "first_group", "name")

    def __init__(self, name: int, left: Left) -> None:
        self.name = name
        self.digest = left.digest
        self.first_group = left.first_group()


class MappedGroups:
    """In files of the execution's directory."""

    def __init__(self, storage: MappedStorage, name: bytes, stride: int, layout: bytes) -> None:
        self._folder = storage.folder(execution_scope(name))
        self._path = os.path.join(self._folder, "state")
        self._name = name
        self._stride = stride
        self._layout = crc32(layout)
        self._writers: Writers = storage.writers()
        self._fd = -1
        self._forks = forks()
        self._size = 0
        self._store: GroupStore | None = None
        self._entries: dict[int, int] = {}
        """By journal, where it is in the table of the state file."""
        self._claims: dict[int, _Claim] = {}
        self._local = threading.local()
        self._arena = _Arena(os.path.join(self._folder, "arena"))
        self.lock = threading.RLock()

    # -- the state file --

    def _opened(self) -> GroupStore:
        if self._store is not None and self._forks == forks():
            found = os.fstat(self._fd)
            if found.st_nlink:
                if found.st_size < self._size:
                    raise self._broken("it was cut off")
                return self._store
            if not any(os.pread(self._fd, 8, STATE_LAYOUT["closed"])):
                # Not by the sweeper: what was summed up is gone, and a new file would hold the rest of it only.
                raise StorageError(f"{self._path} was removed while it was in use")
        self._close()
        self._open()
        assert self._store is not None
        return self._store

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._forks = forks()
        self._store = None
        self._entries = {}
        self._claims = {}
        self._arena.close()

    def _open(self) -> None:
        while True:
            private_directory(self._folder)
            try:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:  # the directory was swept away in between
                continue
            except OSError as error:
                raise failed(f"cannot open {self._path}", error) from error
            with self._locked():
                found = os.fstat(self._fd)
                if found.st_nlink:
                    if found.st_size == 0:
                        self._create()
                    self._size = os.fstat(self._fd).st_size
                    self._check()
                    break
            os.close(self._fd)
        self._store = GroupStore(self._stride, self._name, self._map(), self._more, self._take)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _create(self) -> None:
        head = STATE_LAYOUT["records_at"]
        reserve(self._fd, 0, head, self._path)
        size = max(16 * STATE_LAYOUT["region"], head)
        try:
            os.ftruncate(self._fd, size)
            os.pwrite(self._fd, _HEADER.pack(_MAGIC, self._stride, self._layout, self._name, size), 0)
        except OSError as error:
            raise failed(f"{self._path} cannot have {size} bytes", error) from error

    def _check(self) -> None:
        header = os.pread(self._fd, _HEADER.size, 0)
        if len(header) < _HEADER.size or self._size < STATE_LAYOUT["records_at"]:
            raise self._broken("its header is cut off")
        magic, stride, layout, name, size = _HEADER.unpack(header)
        if magic != _MAGIC or name != self._name or size % STATE_LAYOUT["region"]:
            raise self._broken("its header is damaged")
        if self._size < size:
            raise self._broken(f"it has {self._size} of {size} bytes")
        if (stride, layout) != (self._stride, self._layout):
            raise StorageError(
                f"the states in {self._path} are those of another aggregate function",
                detail=f"Records of {stride} bytes, layout {layout:08x}; "
                f"expected {self._stride} bytes, layout {self._layout:08x}",
            )

    def _map(self) -> mmap.mmap:
        try:
            return mmap.mmap(self._fd, self._size)
        except (OSError, ValueError) as error:
            raise StorageError(f"cannot map {self._path}: {error}") from error

    def _more(self, end: int) -> mmap.mmap:
        """A mapping that reaches ``end``. The file has holes until space is taken."""
        with self._locked():
            size = os.fstat(self._fd).st_size
            if size < end:
                while size < end:
                    size *= 2
                try:
                    os.ftruncate(self._fd, size)
                    os.pwrite(self._fd, size.to_bytes(8, "little"), _SIZE_AT)
                except OSError as error:
                    raise failed(f"{self._path} cannot have {size} bytes", error) from error
            self._size = size
        return self._map()

    def _take(self, start: int, end: int) -> None:
        reserve(self._fd, start, min(end, self._size) - start, self._path)

    def _broken(self, what: str) -> StorageError:
        return StorageError(f"the state file {self._path} is damaged: {what}")

    # -- changes --

    def load(self, groups: Groups, digest: bytes | None = None) -> bool:
        with self.lock:
            store = self._opened()
            if store.is_busy(-1):
                self._attend(store)
                if digest is not None and self._claims and self._claimed(store, digest, groups):
                    store.load(groups)
                    return False
            store.load(groups)
        return True

    def _attend(self, store: GroupStore) -> None:
        """See to what processes that are no more have left."""
        for entry, name, busy in store.writers():
            if not busy or entry in self._claims or is_own(name):
                continue

            def repair(left: Left, entry: int = entry, name: int = name) -> None:
                if left.state == IDLE or left.owner != self._name:
                    return
                if left.state == PUBLISHED:
                    store.replay(left.data)
                    left.set_state(SPREAD)
                self._claims[entry] = _Claim(name, left)

            if visit(self._writers.folder, name, repair) and entry not in self._claims:
                with self._locked():
                    store.settle_if(entry, name)

    def _claimed(self, store: GroupStore, digest: bytes, groups: Groups) -> bool:
        """A claim is used up by the same request, or by another one of the same group: that group went on."""
        repeated = False
        ids: set[int] | None = None
        for entry, claim in list(self._claims.items()):
            if claim.digest != digest:
                if ids is None:
                    ids = set(groups.ids_list())
                if claim.first_group not in ids:
                    continue
            used: list[bool] = []

            def use_up(left: Left, used: list[bool] = used) -> None:
                if left.state == SPREAD and left.owner == self._name:
                    used.append(left.digest == digest)
                    left.set_state(IDLE)

            if visit(self._writers.folder, claim.name, use_up):
                store.settle_if(entry, claim.name)
                del self._claims[entry]
                repeated = repeated or any(used)
        return repeated

    def publish(self, groups: Groups, digest: bytes) -> None:
        if groups.count == 0:
            return
        with self.lock:
            store = self._store or self._opened()
            writer = self._writers.acquire()
            self._local.writer = writer
            journal = writer.make_room(groups.count, self._stride)
            entry = self._entries.get(writer.name)
            if entry is None:
                entry = self._entries[writer.name] = self._enter(store, writer)
            while store.publish(groups, journal, entry, digest):
                # Somebody wants to remove the file. Once they have, what was loaded and changed goes into a new one.
                with self._locked():
                    pass
                if os.fstat(self._fd).st_nlink:
                    break
                store = self._opened()
                entry = self._entries[writer.name] = self._enter(store, writer)

    def settled(self, groups: Groups) -> None:
        with self.lock:
            (self._store or self._opened()).settled(groups)

    def _enter(self, store: GroupStore, writer: Writer) -> int:
        entry = store.add_writer(writer.name)
        if entry >= 0:
            return entry
        with self._locked():  # the table is full of processes that came and went
            for entry, name, busy in store.writers():
                if not busy and visit(self._writers.folder, name, lambda left: None):
                    store.take_over(entry, writer.name)
                    return entry
        raise StorageError(f"{STATE_LAYOUT['max_writers']} processes change the states in {self._path} at once")

    def answered(self) -> None:
        writer = self._local.__dict__.pop("writer", None)
        if writer is not None:
            writer.journal.answered()
            entry = self._entries.get(writer.name)
            if entry is not None and self._store is not None:
                self._store.settle(entry)
            self._writers.release(writer)

    def unanswered(self) -> None:
        writer = self._local.__dict__.pop("writer", None)
        if writer is not None:
            self._writers.abandon(writer)

    def exists(self) -> bool:
        with self.lock:
            return (self._store is not None and self._forks == forks()) or os.path.exists(self._path)

    def discard(self) -> None:
        from vgi_fast.storage.sweeper import remove

        with self.lock:
            self._close()
            remove(self._folder, unsettled_too=True)

    # -- nodes --

    def put_nodes(self, nodes: Sequence[bytes]) -> list[int]:
        if not nodes:
            return []
        with self.lock:
            return self._arena.put(nodes, self._opened().reserve_arena)

    def get_nodes(self, ids: Sequence[int]) -> list[bytes]:
        with self.lock:
            self._opened()
            return self._arena.get(ids)

    def drop_nodes(self, nodes: Sequence[tuple[int, int]]) -> None:
        with self.lock:
            self._arena.drop(nodes)


class _Arena:
    """Nodes by offset in a file, in ranges that one process each is given; what was dropped is used again.

    A range is a power of two, so that the range of a dropped node has room for others.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._memory: mmap.mmap | None = None
        self._free: dict[int, list[int]] = {}

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._memory = None
        self._free = {}

    def _opened(self, flags: int) -> int:
        if self._fd < 0:
            try:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
            except OSError as error:
                raise failed(f"cannot open {self._path}", error) from error
        return self._fd

    def put(self, nodes: Sequence[bytes], allot: Callable[[int], int]) -> list[int]:
        """``allot`` gives the start of a range that nobody else has."""
        ids = [0] * len(nodes)
        fresh: list[tuple[int, int]] = []
        for index, node in enumerate(nodes):
            free = self._free.get(_range_of(len(node)))
            if free:
                ids[index] = free.pop()
                self._write(_framed(node), ids[index])
            else:
                fresh.append((index, _range_of(len(node))))
        if fresh:
            start = at = allot(sum(size for _, size in fresh))
            parts: list[bytes] = []
            for index, size in fresh:
                ids[index] = at
                framed = _framed(nodes[index])
                parts += (framed, bytes(size - len(framed)))
                at += size
            self._write(b"".join(parts), start)
        return ids

    def _write(self, data: bytes, start: int) -> None:
        left = memoryview(data)
        try:
            while left:
                written = os.pwrite(self._opened(os.O_CREAT), left, start)
                start += written
                left = left[written:]
        except OSError as error:
            raise failed(f"cannot write {self._path}", error) from error

    def get(self, ids: Sequence[int]) -> list[bytes]:
        if not ids:
            return []
        descriptor = self._opened(0)
        size = os.fstat(descriptor).st_size
        memory = self._memory
        if memory is None or len(memory) != size:
            memory = self._memory = mmap.mmap(descriptor, size, prot=mmap.PROT_READ) if size else None
        found = []
        for one in ids:
            if memory is None or not 0 <= one <= size - _NODE.size:
                raise self._broken(f"there is no node at {one}")
            length, checksum, _ = _NODE.unpack_from(memory, one)
            start = one + _NODE.size
            if length > size - start:
                raise self._broken(f"the node at {one} is cut off")
            node = memory[start : start + length]
            if crc32(node) != checksum:
                raise self._broken(f"the node at {one} has a wrong checksum")
            found.append(node)
        return found

    def drop(self, nodes: Sequence[tuple[int, int]]) -> None:
        """Ids and sizes."""
        for one, size in nodes:
            self._free.setdefault(_range_of(size), []).append(one)

    def _broken(self, what: str) -> StorageError:
        return StorageError(f"the state file {self._path} is damaged: {what}")


def _framed(node: bytes) -> bytes:
    return _NODE.pack(len(node), crc32(node), 0) + node


def _range_of(size: int) -> int:
    return max(64, 1 << (size + _NODE.size - 1).bit_length())
