"""The client's segment of one connection: batches travel through it instead of the connection (section 8)."""

import itertools
import os
import secrets
import weakref
from typing import Final

from vgi_fast._core import Input, Output, Segment
from vgi_fast.transports.shared_memory import min_batch_bytes
from vgi_fast.wire import keys

_counter: Final = itertools.count()


class SharedMemory:
    """Made at the first stream, unlinked with its connection, and at the latest with the process."""

    def __init__(self, input: Input, output: Output, size_bytes: int, min_bytes: int | None = None) -> None:
        name = f"vgi_shm_{os.getpid():x}_{secrets.randbits(32):x}_{next(_counter):x}"
        self.segment = Segment.create(name, size_bytes)
        self._unlink = weakref.finalize(self, _unlink, self.segment, os.getpid())
        self._input = input
        self._output = output
        self._min_bytes = min_batch_bytes() if min_bytes is None else min_bytes
        input.attach_segment(self.segment)

    def offer(self) -> dict[bytes, bytes]:
        """What an init tells the worker. All slots are free after it; batches that somebody holds stay valid."""
        self._input.release()
        self.segment.reset()
        return {
            keys.SHM_SEGMENT_NAME: self.segment.name.encode(),
            keys.SHM_SEGMENT_SIZE: str(self.segment.size).encode(),
        }

    def start_placing(self) -> None:
        """What is sent from now on may be a pointer: the worker is attached."""
        self._input.give_back()
        self._output.attach_segment(self.segment, self._min_bytes)

    def stop_placing(self) -> None:
        self._output.attach_segment(None)

    def unlink(self) -> None:
        """Nobody else may attach. Safe to repeat."""
        self._unlink()

    def close(self) -> None:
        self.unlink()
        self.stop_placing()
        self.segment.close()


def _unlink(segment: Segment, owner_pid: int) -> None:
    if os.getpid() == owner_pid:  # a forked child has the object too
        segment.unlink()
