"""What the supervisor and a process tell each other, over a pair of sockets.

    supervisor → process   a connection's number, with its descriptor attached; end of file means: drain and leave
    process → supervisor   a report: number and served requests of a connection that has ended; READY; LEAVING

Beside it lies a page that both see, in which the process notes the highest number that it has taken. It is
written before the first byte of that connection is read, so whoever buries the process knows which of its
connections nobody has touched.
"""

from __future__ import annotations

import mmap
import os
import socket
from struct import Struct
from typing import Final

__all__ = ["LEAVING", "NUMBER", "READY", "REPORT", "Taken", "receive_connection", "send_connection"]

NUMBER: Final = Struct("<Q")
REPORT: Final = Struct("<QQ")
_DESCRIPTOR: Final = Struct("i")
READY: Final = 0
"""Connections are counted from 1."""
LEAVING: Final = (1 << 64) - 1
"""From now on the process takes no connection, whatever was sent to it already."""

_CLOSE_ON_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Taken:
    """The shared page."""

    __slots__ = ("_page",)

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, NUMBER.size)

    def mark(self, number: int) -> None:
        """One thread at a time; numbers may come out of order."""
        if number > self.highest():
            NUMBER.pack_into(self._page, 0, number)

    def highest(self) -> int:
        highest: int = NUMBER.unpack_from(self._page)[0]
        return highest

    def close(self) -> None:
        self._page.close()


def send_connection(control: socket.socket, number: int, connection: socket.socket) -> bool:
    """Without waiting. False when the process is gone or has not taken so many others that there is no room."""
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, _DESCRIPTOR.pack(connection.fileno()))
    try:
        # Not socket.send_fds, which drops its flags.
        control.sendmsg([NUMBER.pack(number)], [rights], socket.MSG_DONTWAIT)
    except OSError:
        return False
    return True


def receive_connection(control: socket.socket) -> tuple[int, socket.socket | None] | None:
    """Number and connection, which is missing when this process has no descriptor left for it; None at the end."""
    try:
        message, rights, _, _ = control.recvmsg(NUMBER.size, socket.CMSG_SPACE(_DESCRIPTOR.size), _CLOSE_ON_EXEC)
    except OSError:
        return None
    if len(message) != NUMBER.size:
        return None
    number: int = NUMBER.unpack(message)[0]
    if not rights or len(rights[0][2]) < _DESCRIPTOR.size:
        return number, None
    descriptor = _DESCRIPTOR.unpack_from(rights[0][2])[0]
    if not _CLOSE_ON_EXEC:
        os.set_inheritable(descriptor, False)
    return number, socket.socket(fileno=descriptor)
