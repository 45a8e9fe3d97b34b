"""One scope of a storage, as authors see it: ``params.storage`` and ``params.transaction_storage``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.storage.base import RESERVED_PREFIX, Storage, execution_scope, pack_int_key, transaction_scope
from vgi_fast.wire.arrow import RecordBatch, decode_stream, encode_stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["BoundStorage", "TransactionStorage"]

_TRANSACTION_NS: Final = b"txn"


def _checked(value: Any, what: str) -> bytes:
    if type(value) is not bytes:
        if isinstance(value, (bytearray, memoryview)):
            return bytes(value)
        raise TypeError(f"a {what} is bytes, got {type(value).__name__}")
    return value


def _namespace(ns: Any) -> bytes:
    checked = _checked(ns, "namespace")
    if checked.startswith(RESERVED_PREFIX):
        raise ValueError(f"namespace {checked!r} has the reserved prefix {RESERVED_PREFIX!r}")
    return checked


class TransactionStorage:
    """Key-value pairs that all calls of one transaction share.

    >>> from vgi_fast.storage.memory import MemoryStorage
    >>> shared = TransactionStorage(MemoryStorage(), b"transaction")
    >>> shared.put_one(b"key", b"value")
    >>> shared.get_one(b"key")
    b'value'
    """

    __slots__ = ("_scope", "_storage")

    def __init__(self, storage: Storage, transaction: bytes) -> None:
        self._storage = storage
        self._scope = transaction_scope(transaction)

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        wanted = [_checked(key, "key") for key in keys]
        return self._storage.state_get_many(self._scope, _TRANSACTION_NS, wanted) if wanted else []

    def get_one(self, key: bytes) -> bytes | None:
        return self.get([key])[0]

    def put(self, items: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]]) -> None:
        pairs = _pairs(items)
        if pairs:
            self._storage.state_put_many(self._scope, _TRANSACTION_NS, pairs)

    def put_one(self, key: bytes, value: bytes) -> None:
        self.put([(key, value)])

    def clear(self) -> int:
        """Only what this view has stored."""
        return self._storage.state_delete(self._scope, _TRANSACTION_NS)


class BoundStorage:
    """One scope, by default that of an execution.

    >>> from vgi_fast.storage.memory import MemoryStorage
    >>> state = BoundStorage(MemoryStorage(), b"execution")
    >>> state.counter_add(b"seen", b"rows", 3)
    3
    """

    __slots__ = ("_scope", "storage")

    def __init__(self, storage: Storage, execution_id: bytes, *, scope: bytes | None = None) -> None:
        self.storage = storage
        self._scope = execution_scope(execution_id) if scope is None else scope

    def state_get(self, ns: bytes, key: bytes) -> bytes | None:
        return self.state_get_many(ns, [key])[0]

    def state_put(self, ns: bytes, key: bytes, value: bytes) -> None:
        self.state_put_many(ns, [(key, value)])

    def state_get_many(self, ns: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        checked = _namespace(ns)
        wanted = [_checked(key, "key") for key in keys]
        return self.storage.state_get_many(self._scope, checked, wanted) if wanted else []

    def state_put_many(self, ns: bytes, items: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]]) -> None:
        checked = _namespace(ns)
        pairs = _pairs(items)
        if pairs:
            self.storage.state_put_many(self._scope, checked, pairs)

    def state_scan(
        self,
        ns: bytes,
        start: bytes | None = None,
        end: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[tuple[bytes, bytes]]:
        return self.storage.state_scan(self._scope, _namespace(ns), start, end, reverse, limit)

    def state_drain(self, ns: bytes) -> list[tuple[bytes, bytes]]:
        return self.storage.state_drain(self._scope, _namespace(ns))

    def state_delete(
        self,
        ns: bytes,
        keys: Sequence[bytes] | None = None,
        *,
        start: bytes | None = None,
        end: bytes | None = None,
    ) -> int:
        checked = _namespace(ns)
        wanted = None if keys is None else [_checked(key, "key") for key in keys]
        return self.storage.state_delete(self._scope, checked, wanted, start, end)

    def state_append(self, ns: bytes, key: bytes, item: bytes) -> int:
        return self.storage.state_append(self._scope, _namespace(ns), _checked(key, "key"), _checked(item, "item"))

    def state_log_scan(
        self, ns: bytes, key: bytes, after_id: int = -1, limit: int | None = None
    ) -> list[tuple[int, bytes]]:
        return self.storage.state_log_scan(self._scope, _namespace(ns), _checked(key, "key"), after_id, limit)

    def counter_get(self, ns: bytes, key: bytes) -> int:
        return self.storage.state_counter_get(self._scope, _namespace(ns), _checked(key, "key"))

    def counter_add(self, ns: bytes, key: bytes, delta: int = 1) -> int:
        return self.storage.state_counter_add(self._scope, _namespace(ns), _checked(key, "key"), delta)

    def counter_set(self, ns: bytes, key: bytes, value: int) -> None:
        self.storage.state_counter_set(self._scope, _namespace(ns), _checked(key, "key"), value)

    def counter_delete(self, ns: bytes, key: bytes) -> int:
        return self.storage.state_counter_delete(self._scope, _namespace(ns), _checked(key, "key"))

    def queue_push(self, items: Sequence[bytes]) -> int:
        checked = [_checked(item, "queue item") for item in items]
        return self.storage.queue_push(self._scope, checked) if checked else 0

    def queue_push_batches(self, batches: Iterable[Any]) -> int:
        return self.queue_push([self.serialize_record_batch(batch) for batch in batches])

    def queue_pop(self) -> bytes | None:
        return self.storage.queue_pop(self._scope)

    def queue_pop_batch(self) -> RecordBatch | None:
        item = self.queue_pop()
        return None if item is None else self.deserialize_record_batch(item)

    def queue_clear(self) -> int:
        return self.storage.queue_clear(self._scope)

    def execution_clear(self) -> int:
        return self.storage.execution_clear(self._scope)

    def transaction(self, transaction_opaque_data: bytes) -> TransactionStorage:
        return TransactionStorage(self.storage, _checked(transaction_opaque_data, "transaction"))

    def scoped(self, scope: bytes) -> BoundStorage:
        """The same storage under another scope, such as that of an attached catalog."""
        return BoundStorage(self.storage, b"", scope=scope)

    pack_int_key = staticmethod(pack_int_key)

    @staticmethod
    def serialize_record_batch(batch: Any) -> bytes:
        own = batch if isinstance(batch, RecordBatch) else RecordBatch.from_arrow(batch)
        return encode_stream(own.schema, [own])

    @staticmethod
    def deserialize_record_batch(data: bytes) -> RecordBatch:
        _, batches = decode_stream(data)
        return batches[0]


def _pairs(items: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    listed: Iterable[tuple[bytes, bytes]] = items.items() if hasattr(items, "items") else items
    return [(_checked(key, "key"), _checked(value, "value")) for key, value in listed]
