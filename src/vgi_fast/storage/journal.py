"""One file that holds a scope: a log of changes, of which every process keeps an index.

A writer locks the file, reads what others have added, appends its records and then publishes them by
storing the new length. Whoever dies before that has changed nothing. Readers take no lock. A file that was
replaced by a compacted one, or removed, has no more links; whoever notices opens the new one.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from vgi_fast.errors import StorageError
from vgi_fast.storage.paths import failed, private_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Change", "Journal", "Place"]

_MAGIC: Final = b"vgifkv1\n"
_HEADER: Final = struct.Struct("<8sQq40x")
"""Magic, published length, highest ordinal."""
_PUBLISHED_AT: Final = 8
_HEAD: Final = struct.Struct("<IBxHIQq")
"""Of a record: checksum of what follows up to the value, operation, lengths of namespace, key and value, number."""
_CHUNK: Final = 1 << 16
_COMPACT_ABOVE: Final = 1 << 20

PUT: Final = 1
DELETE: Final = 2
APPEND: Final = 3
COUNT: Final = 4
UNCOUNT: Final = 5
PUSH: Final = 6
POP: Final = 7
UNQUEUE: Final = 8
CLEAR: Final = 9


class Place(NamedTuple):
    """Where a value is in the file."""

    offset: int
    size: int


class Change(NamedTuple):
    op: int
    ns: bytes = b""
    key: bytes = b""
    value: bytes = b""
    number: int = 0

    def encode(self) -> bytes:
        if len(self.ns) > 0xFFFF or len(self.key) > 0xFFFFFFFF:
            raise StorageError(f"a namespace of {len(self.ns)} bytes; at most 65535 are possible")
        head = _HEAD.pack(0, self.op, len(self.ns), len(self.key), len(self.value), self.number)
        return b"".join(
            (crc32(self.key, crc32(self.ns, crc32(head[4:]))).to_bytes(4, "little"), head[4:], self.ns, self.key)
        )


class Journal:
    """Any thread, one at a time: whoever calls holds ``lock``."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.path = os.path.join(folder, "kv")
        self.lock = threading.RLock()
        self._fd = -1
        self._pid = os.getpid()
        self._forget()

    def _forget(self) -> None:
        self._seen = _HEADER.size
        self._dead = 0
        self.ordinal = 0
        self.pairs: dict[bytes, dict[bytes, Place]] = defaultdict(dict)
        self.logs: dict[tuple[bytes, bytes], list[tuple[int, Place]]] = defaultdict(list)
        self.counters: dict[tuple[bytes, bytes], int] = {}
        self.queue: dict[int, Place] = {}
        """By ordinal, oldest first."""

    def close(self) -> None:
        if self._fd >= 0:
            if self._pid == os.getpid():
                os.close(self._fd)
            self._fd = -1
            self._forget()

    # -- the file --

    def _open(self, create: bool) -> bool:
        if self._fd >= 0 and self._pid == os.getpid():
            if os.fstat(self._fd).st_nlink:
                return True
            self.close()
        elif self._fd >= 0:  # a child of fork shares the parent's lock, so it takes a descriptor of its own
            self._fd = -1
            self._forget()
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        while True:
            try:
                self._fd = os.open(self.path, flags, 0o600)
            except FileNotFoundError:
                if not create:
                    return False
                private_directory(self.folder)
                continue
            except OSError as error:
                raise failed(f"cannot open {self.path}", error) from error
            self._pid = os.getpid()
            return True

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Alone among all processes, with everything read that others have published."""
        while True:
            self._open(create=True)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            if os.fstat(self._fd).st_nlink:
                break
            self.close()
        try:
            if os.fstat(self._fd).st_size == 0:
                os.pwrite(self._fd, _HEADER.pack(_MAGIC, _HEADER.size, 0), 0)
            self._catch_up()
            yield
        finally:
            if self._fd >= 0:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def refresh(self) -> None:
        """Read what others have published."""
        if self._open(create=False) and os.fstat(self._fd).st_size:
            self._catch_up()

    def _catch_up(self) -> None:
        header = os.pread(self._fd, _HEADER.size, 0)
        if len(header) < _HEADER.size:
            raise self._broken("its header is cut off")
        magic, published, ordinal = _HEADER.unpack(header)
        if magic != _MAGIC or published < self._seen:
            raise self._broken("its header is damaged")
        self.ordinal = max(self.ordinal, ordinal)
        if published == self._seen:
            return
        if os.fstat(self._fd).st_size < published:
            raise self._broken(f"it is shorter than the {published} bytes that its header announces")
        at, chunk, chunk_at = self._seen, b"", 0
        while at < published:
            skip = at - chunk_at
            if skip < 0 or skip + _HEAD.size > len(chunk):
                chunk, chunk_at, skip = os.pread(self._fd, min(_CHUNK, published - at), at), at, 0
            at = self._replay(chunk, skip, at, published)
        self._seen = published

    def _replay(self, chunk: bytes, skip: int, at: int, published: int) -> int:
        """Take over the record at file offset ``at``; gives the offset of the next."""
        if skip + _HEAD.size > len(chunk):
            raise self._broken(f"a record at {at} is cut off")
        checksum, op, ns_size, key_size, value_size, number = _HEAD.unpack_from(chunk, skip)
        size: int = value_size
        start = skip + _HEAD.size
        value_at: int = at + _HEAD.size + ns_size + key_size
        if value_at + size > published:
            raise self._broken(f"a record at {at} reaches beyond the end")
        names = chunk[start : start + ns_size + key_size]
        if len(names) < ns_size + key_size:
            names = os.pread(self._fd, ns_size + key_size, at + _HEAD.size)
        if crc32(names, crc32(chunk[skip + 4 : start])) != checksum:
            raise self._broken(f"the checksum of a record at {at} is wrong")
        self._apply(op, names[:ns_size], names[ns_size:], Place(value_at, size), number)
        return value_at + size

    def _broken(self, what: str) -> StorageError:
        return StorageError(f"the state file {self.path} is damaged: {what}")

    # -- changes --

    def _apply(self, op: int, ns: bytes, key: bytes, place: Place, number: int) -> None:
        dead: Place | None = None
        if op == PUT:
            dead = self.pairs[ns].get(key)
            self.pairs[ns][key] = place
        elif op == DELETE:
            dead = self.pairs[ns].pop(key, None)
        elif op == APPEND:
            self.logs[ns, key].append((number, place))
        elif op == COUNT:
            self.counters[ns, key] = number
            self._dead += _HEAD.size
        elif op == UNCOUNT:
            self.counters.pop((ns, key), None)
        elif op == PUSH:
            self.queue[number] = place
        elif op == POP:
            dead = self.queue.pop(number, None)
        elif op == UNQUEUE:
            self._dead += sum(each.size for each in self.queue.values())
            self.queue.clear()
        elif op == CLEAR:
            queue, ordinal = self.queue, self.ordinal
            seen = self._seen
            self._forget()
            self.queue, self.ordinal, self._seen = queue, ordinal, seen
            self._dead = place.offset
        else:
            raise self._broken(f"it has an unknown operation {op}")
        if dead is not None:
            self._dead += dead.size + _HEAD.size

    def commit(self, changes: list[Change]) -> None:
        """Append and publish, all or nothing. Inside of ``writing`` only."""
        parts: list[bytes] = []
        places: list[Place] = []
        at = self._seen
        for change in changes:
            head = change.encode()
            parts += (head, change.value)
            places.append(Place(at + len(head), len(change.value)))
            at += len(head) + len(change.value)
            if change.op in (APPEND, PUSH):
                self.ordinal = max(self.ordinal, change.number)
        data = memoryview(b"".join(parts))
        offset = self._seen
        try:
            while data:
                written = os.pwrite(self._fd, data, offset)
                offset += written
                data = data[written:]
            os.pwrite(self._fd, struct.pack("<Qq", at, self.ordinal), _PUBLISHED_AT)
        except OSError as error:
            raise failed(f"cannot write {self.path}", error) from error
        for change, place in zip(changes, places, strict=True):
            self._apply(change.op, change.ns, change.key, place, change.number)
        self._seen = at
        if self._dead > _COMPACT_ABOVE and self._dead > at // 2:
            self._compact()

    def value(self, place: Place) -> bytes:
        found = os.pread(self._fd, place.size, place.offset)
        while len(found) < place.size:
            more = os.pread(self._fd, place.size - len(found), place.offset + len(found))
            if not more:
                raise self._broken(f"a value at {place.offset} is cut off")
            found += more
        return found

    def _compact(self) -> None:
        """Write what is live into a new file, which then takes the place of this one."""
        live = [Change(PUT, ns, key, self.value(place)) for ns, d in self.pairs.items() for key, place in d.items()]
        for (ns, key), items in self.logs.items():
            live += [Change(APPEND, ns, key, self.value(place), number) for number, place in items]
        live += [Change(COUNT, ns, key, b"", number) for (ns, key), number in self.counters.items()]
        live += [Change(PUSH, b"", b"", self.value(place), number) for number, place in self.queue.items()]
        fresh = f"{self.path}.{os.getpid()}"
        body = b"".join(part for change in live for part in (change.encode(), change.value))
        try:
            with open(fresh, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(_HEADER.pack(_MAGIC, _HEADER.size + len(body), self.ordinal) + body)
            os.rename(fresh, self.path)
        except OSError as error:
            raise failed(f"cannot write {fresh}", error) from error
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        self.close()

    def idle_since(self) -> float:
        """Time of the last change."""
        try:
            return os.stat(self.path).st_mtime
        except FileNotFoundError:
            return 0.0
