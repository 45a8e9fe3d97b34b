"""Batches beside the connection, in a POSIX segment that the client made (section 8 of the RPC document).

The client names its segment on an ``init``; every later message of the connection may point into it. Answers may
point into it only where the request named it or was a pointer itself.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from vgi_fast._core import Segment
from vgi_fast.errors import ProtocolError, TransportError
from vgi_fast.wire import keys

if TYPE_CHECKING:
    from vgi_fast.transports.base import Connection
    from vgi_fast.worker.log import Log

__all__ = ["SharedMemory", "is_available", "min_batch_bytes"]

MIN_BATCH_VARIABLE: Final = "VGI_RPC_SHM_MIN_BATCH_BYTES"
DEFAULT_MIN_BATCH_BYTES: Final = 131_072
_LOGGER: Final = "vgi_rpc.shm"


def is_available() -> bool:
    """Whether this process can attach at all."""
    try:
        import posix_ipc  # noqa: F401
    except ImportError:
        return False
    return True


def min_batch_bytes() -> int:
    """From which size on a batch is worth a slot; an unreadable setting counts for nothing."""
    text = os.environ.get(MIN_BATCH_VARIABLE, "")
    return int(text) if text.isascii() and text.isdigit() else DEFAULT_MIN_BATCH_BYTES


class SharedMemory:
    """The worker's side of one connection's segment. One thread at a time."""

    __slots__ = ("_connection", "_log", "_min_batch_bytes", "_name", "_segment")

    def __init__(self, connection: Connection, log: Log) -> None:
        self._connection = connection
        self._log = log
        self._min_batch_bytes = min_batch_bytes()
        self._name: bytes | None = None
        self._segment: Segment | None = None

    def attach(self, metadata: dict[bytes, bytes]) -> None:
        """Obey a request that names a segment. Where that cannot be had, everything travels inline."""
        name = metadata.get(keys.SHM_SEGMENT_NAME)
        if name is None or name == self._name or not self._connection.capabilities.shared_memory:
            return
        self.close()
        try:
            self._segment = Segment.attach(name.decode())
        except (TransportError, ProtocolError, UnicodeDecodeError, ImportError) as error:
            self._log.write("WARNING", _LOGGER, f"batches travel inline: {error}")
            return
        self._name = name
        self._connection.input.attach_segment(self._segment)
        self._log.write("DEBUG", _LOGGER, "attached", segment=self._segment.name, size=self._segment.size)

    def answer_to(self, metadata: dict[bytes, bytes]) -> None:
        """From now on answers may be pointers, if the request allowed for it."""
        if self._segment is not None and (keys.SHM_SEGMENT_NAME in metadata or keys.SHM_OFFSET in metadata):
            self._connection.output.attach_segment(self._segment, self._min_batch_bytes)

    def answer_inline(self) -> None:
        self._connection.output.attach_segment(None)

    def close(self) -> None:
        """Views that somebody holds stay valid."""
        if self._segment is not None:
            self._connection.output.attach_segment(None)
            self._connection.input.attach_segment(None)
            self._segment.close()
            self._segment = None
        self._name = None
