"""Journals of this process: where it writes a change of group states down before it makes it.

Each is a file that its process locks for as long as it lives, so that others can tell whether it does. A
change holds one journal until its request was answered. The files go with the process; what a killed one
leaves, those who find it repair and the sweeper removes.
"""

from __future__ import annotations

import atexit
import fcntl
import mmap
import os
import threading
from typing import TYPE_CHECKING, Final

from vgi_fast._core import STATE_LAYOUT, StateJournal
from vgi_fast.errors import StorageError
from vgi_fast.storage.paths import failed, private_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["Left", "Writer", "Writers", "reserve", "visit"]

_FIRST: Final = 1 << 16
_MAGIC: Final = b"vgifjn1\n"
_own: set[int] = set()
"""Names of the journals of this process. To visit one would give its lock away."""
_forks = 0


def forks() -> int:
    """How often this process came from a fork: what its parent held is not its own."""
    return _forks


def _forked() -> None:
    global _forks
    _forks += 1
    _own.clear()


os.register_at_fork(after_in_child=_forked)

IDLE: Final = 0
PUBLISHED: Final = 1
SPREAD: Final = 2


def reserve(descriptor: int, start: int, size: int, path: str) -> None:
    """Take file space now: a full file system is an error here, and a signal that kills when it is mapped."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, start, size)
    except OSError as error:
        raise failed(f"no room for {size} more bytes of {path}", error) from error


class Writer:
    """One journal file of this process."""

    def __init__(self, folder: str, name: int) -> None:
        self.name = name
        self.path = journal_path(folder, name)
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.lockf(self._fd, fcntl.LOCK_EX)  # a sweeper may just look at the new file
        except OSError as error:
            raise failed(f"cannot make {self.path}", error) from error
        try:
            reserve(self._fd, 0, _FIRST, self.path)
            os.ftruncate(self._fd, _FIRST)
            os.pwrite(self._fd, _MAGIC, 0)
            self.journal = StateJournal(mmap.mmap(self._fd, _FIRST))
        except BaseException:
            self.remove()
            self.abandon()
            raise

    def make_room(self, groups: int, stride: int) -> StateJournal:
        """The journal, with room for a change of so many groups."""
        needed = STATE_LAYOUT["journal_body"] + groups * (8 + stride)
        if needed > self.journal.capacity:
            size = self.journal.capacity
            while size < needed:
                size *= 2
            reserve(self._fd, 0, size, self.path)
            os.ftruncate(self._fd, size)
            self.journal.attach(mmap.mmap(self._fd, size))
        return self.journal

    def exists(self) -> bool:
        """False where somebody has removed the file: nobody could see any more that this process lives."""
        return os.fstat(self._fd).st_nlink > 0

    def abandon(self) -> None:
        """Let go of the lock, so that this journal counts as that of somebody who is no more."""
        os.close(self._fd)

    def remove(self) -> None:
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass


class Writers:
    """The journals of this process that nobody uses at the moment, and the names of all of them."""

    def __init__(self, root: str) -> None:
        self.folder = private_directory(os.path.join(root, "journals"))
        self._lock = threading.Lock()
        self._forks = _forks
        self._idle: list[Writer] = []
        self._all: dict[int, Writer] = {}
        atexit.register(self.close)

    def acquire(self) -> Writer:
        with self._lock:
            if self._forks != _forks:  # a child has none of its parent's locks
                self._forks, self._idle, self._all = _forks, [], {}
            while self._idle:
                found = self._idle.pop()
                if found.exists():
                    return found
                self._forget(found)
            private_directory(self.folder)
            name = int.from_bytes(os.urandom(8), "little") | 1
            _own.add(name)
            try:
                made = self._all[name] = Writer(self.folder, name)
            except BaseException:
                _own.discard(name)
                raise
            return made

    def release(self, writer: Writer) -> None:
        with self._lock:
            if writer.name in self._all:
                self._idle.append(writer)

    def abandon(self, writer: Writer) -> None:
        with self._lock:
            self._forget(writer)

    def _forget(self, writer: Writer) -> None:
        if self._all.pop(writer.name, None) is not None:
            _own.discard(writer.name)
            writer.abandon()

    def died_unanswered(self, name: int, owner: bytes, request: bytes) -> bool:
        """Whether the process of a journal died before it could answer that request of that execution."""
        found: list[bool] = []

        def look(left: Left) -> None:
            found.append(left.state == SPREAD and left.owner == owner and left.digest == request)

        return visit(self.folder, name, look) and any(found)

    def close(self) -> None:
        """Remove the files, at the end of the process: whatever they hold was answered."""
        if self._forks == _forks:
            for writer in self._idle:
                writer.remove()
                writer.abandon()
                self._all.pop(writer.name, None)
                _own.discard(writer.name)
            self._idle = []


class Left:
    """The journal of a process that is no more, locked while it is looked at."""

    def __init__(self, descriptor: int, path: str, data: bytes) -> None:
        self._fd = descriptor
        self.path = path
        self.data = data
        if len(data) < STATE_LAYOUT["journal_body"] or data[:8] != _MAGIC:
            raise StorageError(f"the journal {path} is damaged")
        self.state = self._word("state")
        self.owner = self._field("owner", 16)
        self.digest = self._field("digest", 16)
        self.groups = self._word("groups")

    def _field(self, name: str, size: int) -> bytes:
        at = STATE_LAYOUT[name]
        return self.data[at : at + size]

    def _word(self, name: str) -> int:
        return int.from_bytes(self._field(name, 8), "little")

    def first_group(self) -> int:
        at = STATE_LAYOUT["journal_body"]
        return int.from_bytes(self.data[at : at + 8], "little") if self.groups else -1

    def set_state(self, state: int) -> None:
        os.pwrite(self._fd, state.to_bytes(8, "little"), STATE_LAYOUT["state"])
        self.state = state


def visit(folder: str, name: int, use: Callable[[Left], Any]) -> bool:
    """Call ``use`` with a journal whose process is no more. False where it lives; True also where there is none."""
    if is_own(name):
        return False
    path = journal_path(folder, name)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        size = os.fstat(descriptor).st_size
        # A journal that its process had no time to fill has nothing to tell.
        if size >= STATE_LAYOUT["journal_body"]:
            data = os.pread(descriptor, size, 0)
            if data[:8] != bytes(8):
                use(Left(descriptor, path, data))
        return True
    finally:
        os.close(descriptor)


def is_own(name: int) -> bool:
    """Whether it is a journal of this very process, not of one that it was forked from."""
    return name in _own


def journal_path(folder: str, name: int) -> str:
    return os.path.join(folder, f"{name:016x}")


def journal_names(folder: str) -> Iterator[int]:
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        return
    for entry in entries:
        try:
            yield int(entry, 16)
        except ValueError:
            continue
