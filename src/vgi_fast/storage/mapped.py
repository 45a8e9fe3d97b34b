"""Files of one host, in memory where the system offers that: the default between processes.

Each scope has a private directory. Pairs, logs, counters and the queue are in a journal there, which locks
nobody but writers of the same scope. Spools have a file for each process, so that appending takes no lock.
The columnar state of groups lies beside them (``vgi_fast.storage.groups``).
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from vgi_fast.errors import StorageError
from vgi_fast.storage import journal as log
from vgi_fast.storage.base import ATTACH, EXCLUSIVE, Storage
from vgi_fast.storage.journal import Change, Journal
from vgi_fast.storage.memory import checked_counter, in_range
from vgi_fast.storage.paths import durable_root, failed, private_directory, volatile_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vgi_fast.storage.writers import Writers

__all__ = ["MappedStorage"]

_MAX_JOURNALS: Final = 128
_MAX_NAME: Final = 60
_SPOOL: Final = struct.Struct("<8sQ")
"""Magic and published length of a spool file."""
_SPOOL_MAGIC: Final = b"vgifsp1\n"
_LENGTH: Final = struct.Struct("<Q")
RETIRED: Final = "retired"
"""A mark in the directory of an execution."""


class MappedStorage(Storage):
    name = "mapped"

    def __init__(self, volatile: str | None = None, durable: str | None = None) -> None:
        self._given = (volatile, durable)
        self._roots: tuple[str, str] | None = None
        self._journals: OrderedDict[bytes, Journal] = OrderedDict()
        self._spools: OrderedDict[tuple[bytes, bytes], _Spool] = OrderedDict()
        self._lock = threading.Lock()
        self._writers: Writers | None = None

    def writers(self) -> Writers:
        """The journals of this process, for the states of groups."""
        if self._writers is None:
            from vgi_fast.storage.writers import Writers

            self.folder(b"x")
            assert self._roots is not None
            with self._lock:
                if self._writers is None:
                    self._writers = Writers(self._roots[0])
        return self._writers

    def folder(self, scope: bytes) -> str:
        """The directory of a scope, which need not exist."""
        if self._roots is None:
            volatile, durable = self._given
            self._roots = (
                private_directory(volatile) if volatile else volatile_root(),
                private_directory(durable) if durable else durable_root(),
            )
        kind, name = scope[:1], scope[1:]
        shown = name.hex() if len(name) <= _MAX_NAME else _digest(name)
        return os.path.join(self._roots[kind == ATTACH], f"{kind.decode('latin-1')}-{shown}")

    def _journal(self, scope: bytes) -> Journal:
        with self._lock:
            found = self._journals.get(scope)
            if found is None:
                found = self._journals[scope] = Journal(self.folder(scope))
                if len(self._journals) > _MAX_JOURNALS:
                    self._retire()
            else:
                self._journals.move_to_end(scope)
            return found

    def _retire(self) -> None:
        _, oldest = self._journals.popitem(last=False)
        if oldest.lock.acquire(blocking=False):
            oldest.close()
            oldest.lock.release()

    @contextmanager
    def _reading(self, scope: bytes) -> Iterator[Journal]:
        journal = self._journal(scope)
        with journal.lock:
            journal.refresh()
            yield journal

    @contextmanager
    def _writing(self, scope: bytes) -> Iterator[Journal]:
        journal = self._journal(scope)
        with journal.lock, journal.writing():
            yield journal

    # -- key-value --

    def state_get_many(self, scope: bytes, ns: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        if not keys:
            return []
        with self._reading(scope) as journal:
            places = journal.pairs.get(ns, {})
            return [journal.value(places[key]) if key in places else None for key in keys]

    def state_put_many(self, scope: bytes, ns: bytes, items: Iterable[tuple[bytes, bytes]]) -> None:
        changes = [Change(log.PUT, ns, key, value) for key, value in items]
        if changes:
            with self._writing(scope) as journal:
                journal.commit(changes)

    def state_scan(
        self,
        scope: bytes,
        ns: bytes,
        start: bytes | None = None,
        end: bytes | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[tuple[bytes, bytes]]:
        with self._reading(scope) as journal:
            places = journal.pairs.get(ns, {})
            return [(key, journal.value(places[key])) for key in in_range(places, start, end, reverse, limit)]

    def state_drain(self, scope: bytes, ns: bytes) -> list[tuple[bytes, bytes]]:
        with self._writing(scope) as journal:
            places = journal.pairs.get(ns, {})
            found = [(key, journal.value(places[key])) for key in sorted(places)]
            if found:
                journal.commit([Change(log.DELETE, ns, key) for key, _ in found])
            return found

    def state_delete(
        self,
        scope: bytes,
        ns: bytes,
        keys: Sequence[bytes] | None = None,
        start: bytes | None = None,
        end: bytes | None = None,
    ) -> int:
        if keys is not None and (start is not None or end is not None):
            raise ValueError(EXCLUSIVE)
        with self._writing(scope) as journal:
            places = journal.pairs.get(ns, {})
            doomed = in_range(places, start, end) if keys is None else [key for key in set(keys) if key in places]
            if doomed:
                journal.commit([Change(log.DELETE, ns, key) for key in doomed])
            return len(doomed)

    # -- logs and counters --

    def state_append(self, scope: bytes, ns: bytes, key: bytes, item: bytes) -> int:
        with self._writing(scope) as journal:
            # The clock keeps ordinals apart from those of scopes that were removed, and of other scopes.
            ordinal = max(journal.ordinal + 1, time.time_ns())
            journal.commit([Change(log.APPEND, ns, key, item, ordinal)])
            return ordinal

    def state_log_scan(
        self, scope: bytes, ns: bytes, key: bytes, after_id: int = -1, limit: int | None = None
    ) -> list[tuple[int, bytes]]:
        with self._reading(scope) as journal:
            newer = [pair for pair in journal.logs.get((ns, key), []) if pair[0] > after_id]
            chosen = newer if limit is None else newer[: max(limit, 0)]
            return [(ordinal, journal.value(place)) for ordinal, place in chosen]

    def state_counter_get(self, scope: bytes, ns: bytes, key: bytes) -> int:
        with self._reading(scope) as journal:
            return journal.counters.get((ns, key), 0)

    def state_counter_add(self, scope: bytes, ns: bytes, key: bytes, delta: int) -> int:
        with self._writing(scope) as journal:
            value = checked_counter(journal.counters.get((ns, key), 0) + delta)
            journal.commit([Change(log.COUNT, ns, key, b"", value)])
            return value

    def state_counter_set(self, scope: bytes, ns: bytes, key: bytes, value: int) -> None:
        with self._writing(scope) as journal:
            journal.commit([Change(log.COUNT, ns, key, b"", checked_counter(value))])

    def state_counter_delete(self, scope: bytes, ns: bytes, key: bytes) -> int:
        with self._writing(scope) as journal:
            if (ns, key) not in journal.counters:
                return 0
            journal.commit([Change(log.UNCOUNT, ns, key)])
            return 1

    # -- the queue --

    def queue_push(self, scope: bytes, items: Sequence[bytes]) -> int:
        if items:
            with self._writing(scope) as journal:
                first = max(journal.ordinal + 1, time.time_ns())
                journal.commit([Change(log.PUSH, b"", b"", item, first + i) for i, item in enumerate(items)])
        return len(items)

    def queue_pop(self, scope: bytes) -> bytes | None:
        journal = self._journal(scope)
        with journal.lock:
            if not journal.queue:
                journal.refresh()
                if not journal.queue:
                    return None  # without making files for an execution that is over
        with self._writing(scope) as journal:
            for ordinal, place in journal.queue.items():
                item = journal.value(place)
                journal.commit([Change(log.POP, number=ordinal)])
                return item
            return None

    def queue_clear(self, scope: bytes) -> int:
        with self._writing(scope) as journal:
            removed = len(journal.queue)
            if removed:
                journal.commit([Change(log.UNQUEUE)])
            return removed

    # -- scopes --

    def execution_clear(self, scope: bytes) -> int:
        folder = self.folder(scope)
        try:
            entries = os.listdir(folder)
        except FileNotFoundError:
            return 0
        with self._lock:
            for key in [key for key in self._spools if key[0] == scope]:
                self._spools.pop(key).close()
        for entry in entries:
            if entry.startswith("spool-"):
                _remove(os.path.join(folder, entry))
        with self._writing(scope) as journal:
            rows: list[int] = [len(pairs) for pairs in journal.pairs.values()]
            rows += [len(items) for items in journal.logs.values()]
            removed = sum(rows) + len(journal.counters)
            if removed:
                journal.commit([Change(log.CLEAR)])
            if not journal.queue:
                _remove(journal.path)
                journal.close()
        try:
            os.rmdir(folder)
        except OSError:  # something else is there
            pass
        return removed

    def retire(self, scope: bytes) -> None:
        """Nobody is expected to ask for this execution again: the sweeper may remove it before its time."""
        mark = os.path.join(self.folder(scope), RETIRED)
        try:
            os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            os.utime(mark)
        except FileNotFoundError:  # nothing was ever stored
            pass

    def sweep(self, idle_s: float, retired_s: float | None = None) -> int:
        """``retired_s`` is for how long executions that were retired are kept."""
        from vgi_fast.storage.sweeper import sweep

        self.folder(b"x")
        assert self._roots is not None
        return sweep(self._roots[0], idle_s, idle_s if retired_s is None else retired_s)

    def close(self) -> None:
        with self._lock:
            for journal in self._journals.values():
                journal.close()
            self._journals.clear()
            for spool in self._spools.values():
                spool.close()
            self._spools.clear()

    # -- spools --

    def spool_append(self, scope: bytes, ns: bytes, item: bytes) -> None:
        with self._lock:
            found = self._spools.get((scope, ns))
            if found is None or not found.usable():
                found = self._spools[scope, ns] = _Spool(self.folder(scope), ns)
                if len(self._spools) > _MAX_JOURNALS:
                    self._spools.popitem(last=False)[1].close()
            found.append(item)

    def spool_scan(self, scope: bytes, ns: bytes) -> Iterator[bytes]:
        folder, prefix = self.folder(scope), _spool_prefix(ns)
        try:
            names = sorted(name for name in os.listdir(folder) if name.startswith(prefix))
        except FileNotFoundError:
            return
        for name in names:
            yield from _spooled(os.path.join(folder, name))


class _Spool:
    """The file to which this process appends the items of one namespace."""

    def __init__(self, folder: str, ns: bytes) -> None:
        private_directory(folder)
        self._pid = os.getpid()
        self._path = os.path.join(folder, f"{_spool_prefix(ns)}{time.monotonic_ns():016x}-{self._pid}")
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._end = _SPOOL.size
            try:
                self._publish()
            except OSError:
                os.close(self._fd)
                os.unlink(self._path)
                raise
        except OSError as error:
            raise failed(f"cannot write {self._path}", error) from error

    def usable(self) -> bool:
        """False in a child of fork, and when the scope was removed."""
        return self._pid == os.getpid() and os.fstat(self._fd).st_nlink > 0

    def append(self, item: bytes) -> None:
        """Published last: whoever dies in between has added nothing."""
        pieces = [_LENGTH.pack(len(item)), item]
        total = _LENGTH.size + len(item)
        try:
            if os.pwritev(self._fd, pieces, self._end) != total:
                data = memoryview(b"".join(pieces))
                done = 0
                while done < total:
                    done += os.pwrite(self._fd, data[done:], self._end + done)
            self._end += total
            self._publish()
        except OSError as error:
            raise failed(f"cannot write {self._path}", error) from error

    def _publish(self) -> None:
        os.pwrite(self._fd, _SPOOL.pack(_SPOOL_MAGIC, self._end), 0)

    def close(self) -> None:
        os.close(self._fd)


def _spool_prefix(ns: bytes) -> str:
    return f"spool-{ns.hex()}-"


def _spooled(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        header = file.read(_SPOOL.size)
        if len(header) < _SPOOL.size:
            return  # its writer died before the first item
        magic, end = _SPOOL.unpack(header)
        if magic != _SPOOL_MAGIC:
            raise StorageError(f"the spool {path} is damaged: its header is wrong")
        at = _SPOOL.size
        while at < end:
            head = file.read(_LENGTH.size)
            size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else -1
            if size < 0 or size > end - at - _LENGTH.size:
                raise StorageError(f"the spool {path} is damaged: an item at {at} is cut off")
            item = file.read(size)
            if len(item) < size:
                raise StorageError(f"the spool {path} is damaged: an item at {at} is cut off")
            at += _LENGTH.size + size
            yield item


def _digest(name: bytes) -> str:
    from hashlib import sha256  # loading it takes milliseconds, and ids made here are shorter

    return sha256(name).hexdigest()


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
