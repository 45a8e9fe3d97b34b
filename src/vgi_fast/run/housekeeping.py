"""The files of templates; ``native/place.c`` makes them. Sockets appear and disappear under the directory's lock."""

from __future__ import annotations

import os
import stat
import time
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Place"]

_LOCK: Final = "lock"
_LOCK_TIMEOUT_S: Final = 1.0
_LOCK_RETRY_S: Final = 0.005
_LEFTOVER_S: Final = 60.0
_KEPT_S: Final = {".plain": 3600.0, ".id": _LEFTOVER_S}
"""By ending. Reasons for plain execution are believed for so long; as in ``native/place.c``."""


class Place:
    """The socket of one template and the directory around it."""

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self._folder = os.path.dirname(socket_path)
        self._identity = _identity(socket_path)

    def is_ours(self) -> bool:
        """Whether new requests still come here."""
        return self._identity is not None and _identity(self._path) == self._identity

    def leave(self) -> None:
        """Remove the socket, unless another template's has replaced it or somebody is about to do so."""
        with self._locked() as locked:
            if locked and self.is_ours():
                _remove(self._path)

    def refuse(self, reason: str) -> None:
        """Have the next uses go without a template."""
        with self._locked() as locked:
            if locked and self.is_ours():
                path = self._path.removesuffix(".sock") + ".plain"
                with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    file.write(reason.encode("utf-8", "replace")[:500])
                _remove(self._path)

    def tidy(self) -> None:
        """Remove what killed templates and old reasons left behind."""
        now = time.time()
        for entry in os.scandir(self._folder):
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            age_s = now - status.st_mtime
            if stat.S_ISSOCK(status.st_mode):
                if entry.path != self._path and age_s > _LEFTOVER_S:
                    self._remove_dead(entry.path)
            elif age_s > _KEPT_S.get(os.path.splitext(entry.name)[1], inf):
                _remove(entry.path)

    def _remove_dead(self, path: str) -> None:
        import socket

        with self._locked() as locked:
            if not locked:
                return
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.setblocking(False)
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    _remove(path)
                except OSError:
                    pass  # busy

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Held for moments only; whoever does not get it leaves its files to the next one that tidies."""
        try:
            lock = os.open(os.path.join(self._folder, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            yield False
            return
        try:
            yield _lock(lock)
        finally:
            os.close(lock)


def _lock(file: int) -> bool:
    import fcntl

    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOCK_RETRY_S)
        except OSError:
            return False
        else:
            return True


def _identity(path: str) -> tuple[int, int, int] | None:
    """Of a socket. Its number alone may be that of a file which was removed a moment ago."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
