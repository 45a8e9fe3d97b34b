"""What arrives from ``vgi-fast-run`` and what goes back; the other side is ``native/session.c``."""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING, Final

from vgi_fast.errors import ProtocolError

if TYPE_CHECKING:
    from socket import socket

__all__ = ["ENDED", "PLAIN", "READY", "STALE", "STARTED", "Request", "reply"]

READY: Final = ord("A")
"""The request can be served; its descriptors are to follow."""
STARTED: Final = ord("S")
"""The process of this number serves; it says so itself, before it reads any input. Nothing else may serve then."""
STALE: Final = ord("R")
"""This template leaves, another one is needed."""
PLAIN: Final = ord("P")
"""No template can serve this; the reason follows as text, up to the end of the connection."""
ENDED: Final = ord("E")
"""The process has ended, perhaps before it served; the value is its status as ``waitpid`` has it."""

_REPLY: Final = struct.Struct("=Ii")
_HEADER: Final = struct.Struct("=4sII")
_MAGIC: Final = b"VGFR"
_MAX_BYTES: Final = 8 << 20
"""More than the kernel grants to arguments and environment of a process."""
_CHUNK: Final = 1 << 18
_DESCRIPTORS: Final = 4
"""Standard input, output, error, and the working directory."""


def reply(kind: int, value: int = 0) -> bytes:
    return _REPLY.pack(kind, value)


class Request:
    """A message on its way in. ``descriptors`` are owned until they are taken or closed."""

    __slots__ = ("_data", "descriptors")

    def __init__(self) -> None:
        self._data = bytearray()
        self.descriptors: list[int] = []

    def receive(self, connection: socket) -> bool:
        """Read what has arrived; whether the message is complete. ProtocolError, or EOFError at its end."""
        try:
            data = connection.recv(_CHUNK)  # descriptors that come too early are dropped by the kernel
        except BlockingIOError:
            return False
        if not data:
            raise EOFError
        self._data += data
        have = len(self._data)
        if have < _HEADER.size:
            return False
        magic, identity_size, changing_size = _HEADER.unpack_from(self._data)
        size = _HEADER.size + identity_size + changing_size
        if magic != _MAGIC or size > _MAX_BYTES or have > size:
            raise ProtocolError("not a request of vgi-fast-run")
        return bool(have == size)

    def receive_descriptors(self, connection: socket) -> bool:
        """What follows; whether it has come. ProtocolError, or EOFError at the end of the connection."""
        import socket as sockets

        space = sockets.CMSG_SPACE(_DESCRIPTORS * array("i").itemsize)
        try:
            data, ancillary, flags, _ = connection.recvmsg(1, space, _CLOSE_ON_EXEC)
        except BlockingIOError:
            return False
        for level, kind, content in ancillary:
            if level == sockets.SOL_SOCKET and kind == sockets.SCM_RIGHTS:
                received = array("i")
                received.frombytes(content[: len(content) - len(content) % received.itemsize])
                self.descriptors.extend(received)
        if not data:
            raise EOFError
        if flags & sockets.MSG_CTRUNC or len(self.descriptors) != _DESCRIPTORS:
            raise ProtocolError(f"a request has {_DESCRIPTORS} descriptors")
        return True

    @property
    def identity(self) -> bytes:
        start = _HEADER.size
        return bytes(self._data[start : start + _HEADER.unpack_from(self._data)[1]])

    @property
    def variables(self) -> dict[bytes, bytes]:
        """Those that differ from shell to shell."""
        identity_size = _HEADER.unpack_from(self._data)[1]
        fields = bytes(self._data[_HEADER.size + identity_size :]).split(b"\0")
        pairs = (field.partition(b"=") for field in fields)
        return {name: value for name, equals, value in pairs if name and equals}

    def close(self) -> None:
        from os import close

        while self.descriptors:
            close(self.descriptors.pop())


def _close_on_exec() -> int:
    import socket as sockets

    return getattr(sockets, "MSG_CMSG_CLOEXEC", 0)


_CLOSE_ON_EXEC: Final = _close_on_exec()
