"""Removes what nobody will ask for again: executions that were retired or long idle, journals of dead processes.

A file with group states is closed before it goes: whoever publishes into it meanwhile sees that and publishes
again, into a new file. An execution that was retired stays while any of its groups was neither finalized nor
combined, since the hint may have come from another thread's end.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from typing import TYPE_CHECKING, Final

from vgi_fast._core import STATE_LAYOUT, holds_unsettled
from vgi_fast.errors import StorageError
from vgi_fast.storage.journal import Journal
from vgi_fast.storage.mapped import RETIRED
from vgi_fast.storage.writers import PUBLISHED, SPREAD, Left, journal_names, journal_path, visit

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["remove", "sweep"]

_LONG_S: Final = 3600.0
"""After so long without a change, an execution that was retired goes with states that nobody has seen (DuckDB
makes some that it never asks for), and one that was not goes when all of its states were seen."""
_CLAIM_S: Final = 60.0
"""For how long a client may still repeat a request that a process did before it died."""
_STEP: Final = 1 << 20


def sweep(root: str, idle_s: float, retired_s: float) -> int:
    """Gives how many executions and transactions were removed."""
    removed = 0
    now = time.time()
    try:
        entries = [entry for entry in os.scandir(root) if entry.name[:2] in ("x-", "t-")]
    except FileNotFoundError:
        return 0
    for entry in entries:
        changed = last_change(entry.path)
        retired = _time_of(os.path.join(entry.path, RETIRED))
        idle = now - changed
        if idle >= idle_s or (retired is not None and idle >= _LONG_S):
            done = remove(entry.path, unsettled_too=True)
        elif retired is not None and now - retired >= retired_s and int(changed) <= retired:
            done = not _in_use(entry.path) and remove(entry.path, unsettled_too=False)
        else:
            done = idle >= _LONG_S and not _in_use(entry.path) and remove(entry.path, unsettled_too=False)
        removed += done
    _sweep_journals(root)
    return removed


def last_change(folder: str) -> float:
    """Of anything in the directory of a scope. Stores into a mapped file are noted in its table of writers."""
    newest = 0.0
    try:
        newest = os.stat(folder).st_mtime
        for entry in os.scandir(folder):
            if entry.name == "state":  # its own time is that of the last look that a sweeper took
                newest = max(newest, _last_published(entry.path))
            elif entry.name != RETIRED:
                newest = max(newest, entry.stat().st_mtime)
    except FileNotFoundError:  # somebody else removes it
        pass
    return newest


def _last_published(path: str) -> float:
    layout = STATE_LAYOUT
    with open(path, "rb") as file:
        table = file.read(layout["records_at"])[layout["writers_at"] :]
    step, at = layout["writer_bytes"], layout["time"]
    times = (int.from_bytes(table[i + at : i + at + 8], "little") for i in range(0, len(table) - step + 1, step))
    return float(max(times, default=0))


def _time_of(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return None


def _in_use(folder: str) -> bool:
    """Whether partitions or sessions are still there."""
    journal = Journal(folder)
    try:
        journal.refresh()
        return any(journal.pairs.values())
    except StorageError:
        return False  # damaged: of no use to anybody
    finally:
        journal.close()


def remove(folder: str, unsettled_too: bool) -> bool:
    """Remove the directory of a scope; False where it is needed after all."""
    path = os.path.join(folder, "state")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        shutil.rmtree(folder, ignore_errors=True)
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink == 0:
            return False
        _set_closed(descriptor, 1)
        # Whoever publishes from now on looks at the mark afterwards, and waits for the lock.
        if not unsettled_too and _is_needed(descriptor):
            _set_closed(descriptor, 0)
            return False
        os.unlink(path)
        shutil.rmtree(folder, ignore_errors=True)
        return True
    finally:
        os.close(descriptor)


def _set_closed(descriptor: int, value: int) -> None:
    os.pwrite(descriptor, value.to_bytes(8, "little"), STATE_LAYOUT["closed"])


def _is_needed(descriptor: int) -> bool:
    """Whether a group has a state that nobody has seen yet, or a change is on its way."""
    layout = STATE_LAYOUT
    head = os.pread(descriptor, layout["records_at"], 0)
    stride = int.from_bytes(head[8:16], "little")
    if len(head) < layout["records_at"] or not 8 <= stride <= 1 << 20 or stride % 8:
        return False  # damaged
    for at in range(layout["writers_at"], layout["records_at"] - layout["writer_bytes"] + 1, layout["writer_bytes"]):
        if head[at + layout["busy"]]:
            return True
    for start, end in _data(descriptor, layout["records_at"]):
        first = start - (start - layout["records_at"]) % stride
        step = _STEP - _STEP % stride or stride
        for at in range(first, end, step):
            if holds_unsettled(os.pread(descriptor, min(step, end - at), at), stride):
                return True
    return False


def _data(descriptor: int, start: int) -> Iterator[tuple[int, int]]:
    """Ranges of a file that are not holes."""
    size = os.fstat(descriptor).st_size
    if not hasattr(os, "SEEK_DATA"):
        yield start, size
        return
    while start < size:
        try:
            start = os.lseek(descriptor, start, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end
        start = end


def _sweep_journals(root: str) -> None:
    folder = os.path.join(root, "journals")
    now = time.time()
    for name in journal_names(folder):

        def look(left: Left) -> None:
            execution = os.path.join(root, f"x-{left.owner.hex()}")
            recent = now - (_time_of(left.path) or 0.0) < _CLAIM_S
            if left.state == PUBLISHED and os.path.isdir(execution):
                return  # whoever asks for the execution will make the change
            if left.state == SPREAD and recent and os.path.isdir(execution):
                return
            os.unlink(left.path)

        try:
            visit(folder, name, look)
        except (StorageError, FileNotFoundError):
            _unlink(journal_path(folder, name))


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
