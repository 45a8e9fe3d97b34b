"""Where state lives that several calls, and several processes, share (section 8 of the stateful document).

A ``Storage`` is one backend; a ``BoundStorage`` is one scope of it, which is what authors see.
"""

from __future__ import annotations

from vgi_fast.storage.base import Storage, attach_scope, execution_scope, pack_int_key, transaction_scope
from vgi_fast.storage.facade import BoundStorage, TransactionStorage
from vgi_fast.storage.selection import default_storage, open_storage, storage_in_use, use_storage

__all__ = [
    "BoundStorage",
    "Storage",
    "TransactionStorage",
    "attach_scope",
    "default_storage",
    "execution_scope",
    "open_storage",
    "pack_int_key",
    "storage_in_use",
    "transaction_scope",
    "use_storage",
]
