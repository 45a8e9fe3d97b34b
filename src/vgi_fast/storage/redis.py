"""Redis or Valkey, for workers on several hosts (``pip install vgi-fast[redis]``).

The keys of a scope share a hash tag, so that a cluster keeps them together: a hash for each namespace of pairs,
a stream for each log, one hash of counters, one list of work. All but those of attached catalogs expire.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import StorageError
from vgi_fast.storage.base import ATTACH, EXCLUSIVE, Storage
from vgi_fast.storage.memory import checked_counter, in_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["URL_VARIABLE", "RedisStorage"]

URL_VARIABLE: Final = "VGI_FAST_REDIS_URL"
EXPIRE_S: Final = 48 * 3600
_CHANGED: Final = b"vgi:changed"
"""Scopes by the time of their last change."""

_APPEND: Final = """
local now = redis.call('TIME')
local known = tonumber(redis.call('GET', KEYS[2]) or '0')
local ordinal = math.max(known + 1, tonumber(now[1]) * 1000000 + tonumber(now[2]))
local id = string.format('%.0f', ordinal)
redis.call('SET', KEYS[2], id)
redis.call('XADD', KEYS[1], id .. '-0', 'i', ARGV[1])
redis.call('SADD', KEYS[3], KEYS[1])
if ARGV[2] ~= '0' then
    for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[2]) end
end
return id
"""
_CLEAR: Final = """
local total = 0
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    local kind = redis.call('TYPE', name).ok
    if kind == 'hash' then total = total + redis.call('HLEN', name) end
    if kind == 'stream' then total = total + redis.call('XLEN', name) end
    redis.call('DEL', name)
end
redis.call('DEL', KEYS[1])
return total
"""


class RedisStorage(Storage):
    name = "redis"

    def __init__(self, url: str | None = None, prefix: str = "vgi") -> None:
        try:
            import redis
        except ImportError as error:
            raise StorageError(
                "the Redis storage needs the package redis", hint="pip install vgi-fast[redis]"
            ) from error
        chosen = url or os.environ.get(URL_VARIABLE)
        if not chosen:
            raise StorageError(f"{URL_VARIABLE} is required for the storage 'redis'")
        self._error: type[Exception] = redis.RedisError
        self._prefix = prefix.encode()
        self._client: Any = redis.Redis.from_url(chosen)
        self._append = self._client.register_script(_APPEND)
        self._clear = self._client.register_script(_CLEAR)

    def _key(self, scope: bytes, kind: bytes, *parts: bytes) -> bytes:
        """Lengths keep names apart whatever they hold."""
        names = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return self._prefix + b":{" + scope.hex().encode() + b"}:" + kind + b":" + names

    def _ask(self, call: Any) -> Any:
        try:
            return call()
        except self._error as error:
            raise StorageError(f"Redis storage: {error}") from error

    def _change(self, scope: bytes, name: bytes, *commands: tuple[Any, ...]) -> list[Any]:
        """Commands on one key, in one step with the notes about it."""
        names = self._key(scope, b"names")
        pipe = self._client.pipeline(transaction=True)
        for command in commands:
            pipe.execute_command(*command)
        if not name.startswith(self._key(scope, b"queue")):
            pipe.sadd(names, name)
        if not scope.startswith(ATTACH):
            pipe.expire(name, EXPIRE_S)
            pipe.expire(names, EXPIRE_S)
        results: list[Any] = self._ask(pipe.execute)
        self._note(scope)
        return results

    def _note(self, scope: bytes) -> None:
        self._ask(lambda: self._client.zadd(self._prefix + _CHANGED, {scope: time.time()}))

    def close(self) -> None:
        self._client.close()

    # -- key-value --

    def state_get_many(self, scope: bytes, ns: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        if not keys:
            return []
        found: list[bytes | None] = self._ask(lambda: self._client.hmget(self._key(scope, b"kv", ns), list(keys)))
        return found

    def state_put_many(self, scope: bytes, ns: bytes, items: Iterable[tuple[bytes, bytes]]) -> None:
        pairs = [part for pair in items for part in pair]
        if pairs:
            name = self._key(scope, b"kv", ns)
            self._change(scope, name, ("HSET", name, *pairs))

    def state_scan(
        self,
        scope: bytes,
        ns: bytes,
        start: bytes | None = None,
        end: bytes | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[tuple[bytes, bytes]]:
        pairs: dict[bytes, bytes] = self._ask(lambda: self._client.hgetall(self._key(scope, b"kv", ns)))
        return [(key, pairs[key]) for key in in_range(pairs, start, end, reverse, limit)]

    def state_drain(self, scope: bytes, ns: bytes) -> list[tuple[bytes, bytes]]:
        name = self._key(scope, b"kv", ns)
        pairs = self._ask(self._client.pipeline(transaction=True).hgetall(name).delete(name).execute)[0]
        return sorted(pairs.items())

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
        name = self._key(scope, b"kv", ns)
        if keys is None:
            keys = in_range(self._ask(lambda: self._client.hkeys(name)), start, end)
        return int(self._ask(lambda: self._client.hdel(name, *set(keys)))) if keys else 0

    # -- logs and counters --

    def state_append(self, scope: bytes, ns: bytes, key: bytes, item: bytes) -> int:
        names = [self._key(scope, b"log", ns, key), self._key(scope, b"ordinal"), self._key(scope, b"names")]
        expire = 0 if scope.startswith(ATTACH) else EXPIRE_S
        ordinal = int(self._ask(lambda: self._append(keys=names, args=[item, expire])))
        self._note(scope)
        return ordinal

    def state_log_scan(
        self, scope: bytes, ns: bytes, key: bytes, after_id: int = -1, limit: int | None = None
    ) -> list[tuple[int, bytes]]:
        if limit is not None and limit <= 0:
            return []
        start = b"-" if after_id < 0 else b"(%d-0" % after_id
        entries = self._ask(lambda: self._client.xrange(self._key(scope, b"log", ns, key), start, b"+", count=limit))
        return [(int(name.partition(b"-")[0]), fields[b"i"]) for name, fields in entries]

    def state_counter_get(self, scope: bytes, ns: bytes, key: bytes) -> int:
        found = self._ask(lambda: self._client.hget(self._key(scope, b"counter"), _field(ns, key)))
        return int(found or 0)

    def state_counter_add(self, scope: bytes, ns: bytes, key: bytes, delta: int) -> int:
        name = self._key(scope, b"counter")
        try:
            return int(self._change(scope, name, ("HINCRBY", name, _field(ns, key), delta))[0])
        except StorageError as error:
            if "overflow" in str(error):
                raise StorageError("a counter would become a number that does not fit into 64 bits") from error
            raise

    def state_counter_set(self, scope: bytes, ns: bytes, key: bytes, value: int) -> None:
        name = self._key(scope, b"counter")
        self._change(scope, name, ("HSET", name, _field(ns, key), checked_counter(value)))

    def state_counter_delete(self, scope: bytes, ns: bytes, key: bytes) -> int:
        return int(self._ask(lambda: self._client.hdel(self._key(scope, b"counter"), _field(ns, key))))

    # -- the queue --

    def queue_push(self, scope: bytes, items: Sequence[bytes]) -> int:
        if items:
            name = self._key(scope, b"queue")
            self._change(scope, name, ("RPUSH", name, *items))
        return len(items)

    def queue_pop(self, scope: bytes) -> bytes | None:
        found: bytes | None = self._ask(lambda: self._client.lpop(self._key(scope, b"queue")))
        return found

    def queue_clear(self, scope: bytes) -> int:
        name = self._key(scope, b"queue")
        return int(self._ask(self._client.pipeline(transaction=True).llen(name).delete(name).execute)[0])

    # -- scopes --

    def execution_clear(self, scope: bytes) -> int:
        return int(self._ask(lambda: self._clear(keys=[self._key(scope, b"names")])))

    def sweep(self, idle_s: float) -> int:
        limit = time.time() - idle_s
        noted = self._prefix + _CHANGED
        doomed = [
            scope
            for scope in self._ask(lambda: self._client.zrangebyscore(noted, "-inf", limit))
            if not scope.startswith(ATTACH)
        ]
        for scope in doomed:
            self.execution_clear(scope)
            self.queue_clear(scope)
            self._ask(lambda scope=scope: self._client.zrem(noted, scope))
        return len(doomed)


def _field(ns: bytes, key: bytes) -> bytes:
    return len(ns).to_bytes(4, "big") + ns + key
