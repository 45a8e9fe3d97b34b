"""In the memory of one process: right for a server of one process, and for tests."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import StorageError
from vgi_fast.storage.base import ATTACH, EXCLUSIVE, Storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["INT64_MAX", "INT64_MIN", "MemoryStorage", "checked_counter", "in_range"]

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1


def checked_counter(value: int) -> int:
    if not INT64_MIN <= value <= INT64_MAX:
        raise StorageError(f"a counter would become {value}, which does not fit into 64 bits")
    return value


def in_range(
    keys: Iterable[bytes], start: bytes | None, end: bytes | None, reverse: bool = False, limit: int | None = None
) -> list[bytes]:
    """Keys of [start, end) in byte order."""
    chosen = sorted(
        (key for key in keys if (start is None or key >= start) and (end is None or key < end)), reverse=reverse
    )
    return chosen if limit is None else chosen[: max(limit, 0)]


class _Scope:
    __slots__ = ("counters", "logs", "pairs", "queue", "touched")

    def __init__(self) -> None:
        self.pairs: dict[bytes, dict[bytes, bytes]] = defaultdict(dict)
        self.logs: dict[tuple[bytes, bytes], list[tuple[int, bytes]]] = defaultdict(list)
        self.counters: dict[tuple[bytes, bytes], int] = {}
        self.queue: deque[bytes] = deque()
        self.touched = time.monotonic()


class MemoryStorage(Storage):
    name = "memory"
    cross_process = False

    def __init__(self) -> None:
        self._scopes: dict[bytes, _Scope] = {}
        self._lock = threading.Lock()
        self._ordinals = count(1)

    def _changed(self, scope: bytes) -> _Scope:
        found = self._scopes.get(scope)
        if found is None:
            found = self._scopes[scope] = _Scope()
        found.touched = time.monotonic()
        return found

    def state_get_many(self, scope: bytes, ns: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._lock:
            found = self._scopes.get(scope)
            pairs: dict[bytes, bytes] = found.pairs.get(ns, {}) if found is not None else {}
            return [pairs.get(key) for key in keys]

    def state_put_many(self, scope: bytes, ns: bytes, items: Iterable[tuple[bytes, bytes]]) -> None:
        new = dict(items)
        if new:
            with self._lock:
                self._changed(scope).pairs[ns].update(new)

    def state_scan(
        self,
        scope: bytes,
        ns: bytes,
        start: bytes | None = None,
        end: bytes | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[tuple[bytes, bytes]]:
        with self._lock:
            found = self._scopes.get(scope)
            pairs: dict[bytes, bytes] = found.pairs.get(ns, {}) if found is not None else {}
            return [(key, pairs[key]) for key in in_range(pairs, start, end, reverse, limit)]

    def state_drain(self, scope: bytes, ns: bytes) -> list[tuple[bytes, bytes]]:
        with self._lock:
            found = self._scopes.get(scope)
            return sorted(found.pairs.pop(ns, {}).items()) if found is not None else []

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
        with self._lock:
            found = self._scopes.get(scope)
            if found is None or ns not in found.pairs:
                return 0
            pairs = found.pairs[ns]
            doomed = in_range(pairs, start, end) if keys is None else [key for key in set(keys) if key in pairs]
            for key in doomed:
                del pairs[key]
            return len(doomed)

    def state_append(self, scope: bytes, ns: bytes, key: bytes, item: bytes) -> int:
        with self._lock:
            ordinal = next(self._ordinals)
            self._changed(scope).logs[ns, key].append((ordinal, bytes(item)))
            return ordinal

    def state_log_scan(
        self, scope: bytes, ns: bytes, key: bytes, after_id: int = -1, limit: int | None = None
    ) -> list[tuple[int, bytes]]:
        with self._lock:
            found = self._scopes.get(scope)
            items: list[tuple[int, bytes]] = found.logs.get((ns, key), []) if found is not None else []
            newer = [pair for pair in items if pair[0] > after_id]
            return newer if limit is None else newer[: max(limit, 0)]

    def state_counter_get(self, scope: bytes, ns: bytes, key: bytes) -> int:
        with self._lock:
            found = self._scopes.get(scope)
            return found.counters.get((ns, key), 0) if found is not None else 0

    def state_counter_add(self, scope: bytes, ns: bytes, key: bytes, delta: int) -> int:
        with self._lock:
            counters = self._changed(scope).counters
            value = counters[ns, key] = checked_counter(counters.get((ns, key), 0) + delta)
            return value

    def state_counter_set(self, scope: bytes, ns: bytes, key: bytes, value: int) -> None:
        with self._lock:
            self._changed(scope).counters[ns, key] = checked_counter(value)

    def state_counter_delete(self, scope: bytes, ns: bytes, key: bytes) -> int:
        with self._lock:
            found = self._scopes.get(scope)
            return 0 if found is None or found.counters.pop((ns, key), None) is None else 1

    def queue_push(self, scope: bytes, items: Sequence[bytes]) -> int:
        if items:
            with self._lock:
                self._changed(scope).queue.extend(bytes(item) for item in items)
        return len(items)

    def queue_pop(self, scope: bytes) -> bytes | None:
        with self._lock:
            found = self._scopes.get(scope)
            return found.queue.popleft() if found is not None and found.queue else None

    def queue_clear(self, scope: bytes) -> int:
        with self._lock:
            found = self._scopes.get(scope)
            if found is None:
                return 0
            removed = len(found.queue)
            found.queue.clear()
            return removed

    def execution_clear(self, scope: bytes) -> int:
        with self._lock:
            found = self._scopes.get(scope)
            if found is None:
                return 0
            collections: list[Any] = [*found.pairs.values(), *found.logs.values(), found.counters]
            removed = sum(len(each) for each in collections)
            queue = found.queue
            if queue:
                self._scopes[scope] = kept = _Scope()
                kept.queue = queue
            else:
                del self._scopes[scope]
            return removed

    def sweep(self, idle_s: float) -> int:
        limit = time.monotonic() - idle_s
        with self._lock:
            doomed = [
                scope
                for scope, found in self._scopes.items()
                if not scope.startswith(ATTACH) and found.touched <= limit
            ]
            for scope in doomed:
                del self._scopes[scope]
            return len(doomed)
