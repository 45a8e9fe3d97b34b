"""Serving on standard input and output.

Standard output belongs to the protocol alone: the connection keeps private duplicates of descriptors 0
and 1, after which 0 reads nothing and 1 writes to standard error. A stray print of an author, a library
or a child process can then not corrupt the stream (section 9.1 of the RPC document).
"""

from __future__ import annotations

import os
from typing import Final

from vgi_fast._core import Input, Output
from vgi_fast.errors import TransportError
from vgi_fast.transports.base import Capabilities
from vgi_fast.transports.spin import spin_budget_us

__all__ = ["StdioConnection"]

_PIPE_BYTES: Final = 256 << 10


class StdioConnection:
    """The connection to the process that started this one."""

    __slots__ = ("_descriptors", "capabilities", "input", "output")

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._descriptors = (read_fd, write_fd)
        self.input = Input(read_fd)
        self.output = Output(write_fd)
        self.capabilities = Capabilities(shared_memory=True, spin_us=spin_budget_us(os.environ))

    @staticmethod
    def take() -> StdioConnection:
        """Take descriptors 0 and 1 away from everything else in this process."""
        try:
            read_fd, write_fd = os.dup(0), os.dup(1)
        except OSError as error:
            raise TransportError(f"standard input or output is closed: {error}") from error
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        try:
            os.dup2(2, 1)
        except OSError:  # standard error is closed
            os.dup2(null, 1)
        os.close(null)
        for descriptor in (read_fd, write_fd):
            _widen(descriptor)
        return StdioConnection(read_fd, write_fd)

    def close(self) -> None:
        for descriptor in self._descriptors:
            try:
                os.close(descriptor)
            except OSError:
                pass


def _widen(descriptor: int) -> None:
    """Room for a whole batch of strings in the pipe: fewer turns between the two sides. Linux only."""
    try:
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        pass  # not a pipe, not Linux, or the user's pipes have used up their allowance
