"""``segments``: makes shared-memory segments, with the bytes of each as another mapping of it shows them.

    def test_allocates(segments):
        made = segments(size=1 << 20)
        made.segment.allocate(8)
        assert made.bytes[16] == 1

They are unlinked after their test.
"""

import mmap
import os
import secrets
from collections.abc import Callable, Iterator

import posix_ipc
import pytest

from vgi_fast._core import Segment

DATA = 65536


class Made:
    """A segment, and its bytes."""

    def __init__(self, size: int) -> None:
        self.segment = Segment.create(f"vgi_shm_test_{secrets.token_hex(4)}", size)
        opened = posix_ipc.SharedMemory("/" + self.segment.name)
        self.bytes = mmap.mmap(opened.fd, self.segment.size)
        os.close(opened.fd)

    def place(self, data: bytes) -> int:
        """Offset of ``data`` in a new slot."""
        offset = self.segment.allocate(len(data))
        assert offset is not None
        self.bytes[offset : offset + len(data)] = data
        return offset

    def set_count(self, count: int) -> None:
        self.bytes[16:20] = count.to_bytes(4, "little")

    def set_entry(self, index: int, offset: int, length: int) -> None:
        at = 24 + 16 * index
        self.bytes[at : at + 16] = offset.to_bytes(8, "little") + length.to_bytes(8, "little")


def names() -> set[str]:
    """Shared memory that exists on this machine by this process's doing, where the system shows it."""
    try:
        return {name for name in os.listdir("/dev/shm") if name.startswith(f"vgi_shm_{os.getpid():x}_")}
    except FileNotFoundError:
        return set()


@pytest.fixture
def segments() -> Iterator[Callable[..., Made]]:
    made: list[Made] = []

    def make(size: int = 1 << 20) -> Made:
        made.append(Made(size))
        return made[-1]

    yield make
    for each in made:
        each.segment.unlink()
        each.segment.close()
        each.bytes.close()
