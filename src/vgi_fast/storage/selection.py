"""Which storage a process uses, from its environment (section 8.3 of the stateful document)."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vgi_fast.storage.base import Storage

__all__ = ["BACKENDS", "VARIABLE", "default_storage", "open_storage", "storage_in_use", "use_storage"]

VARIABLE: Final = "VGI_WORKER_SHARED_STORAGE"
BACKENDS: Final = ("memory", "mapped", "sqlite", "redis", "postgres")

_default: Storage | None = None
_lock = threading.Lock()


def default_storage() -> Storage:
    """That of the environment, opened when first needed."""
    global _default
    if _default is None:
        with _lock:
            if _default is None:
                _default = open_storage(os.environ.get(VARIABLE) or "mapped")
    return _default


def storage_in_use() -> bool:
    """Something here has asked for the default."""
    return _default is not None


def use_storage(storage: Storage | None) -> None:
    """Replace the default; None makes the environment decide anew."""
    global _default
    with _lock:
        _default = storage


def open_storage(name: str) -> Storage:
    """A new handle of the backend of that name."""
    chosen = name.lower()
    if chosen == "memory":
        from vgi_fast.storage.memory import MemoryStorage

        return MemoryStorage()
    if chosen == "mapped":
        from vgi_fast.storage.mapped import MappedStorage

        return MappedStorage()
    if chosen == "sqlite":
        from vgi_fast.storage.sqlite import SqliteStorage

        return SqliteStorage()
    if chosen == "redis":
        from vgi_fast.storage.redis import RedisStorage

        return RedisStorage()
    if chosen == "postgres":
        from vgi_fast.storage.postgres import PostgresStorage

        return PostgresStorage()
    supported = ", ".join(repr(one) for one in BACKENDS)
    raise ValueError(f"Unknown {VARIABLE} backend: '{name}'. Supported: {supported}")
