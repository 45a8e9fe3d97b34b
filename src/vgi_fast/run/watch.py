"""The files that a loaded worker consists of: after a change a template must not serve any more."""

from __future__ import annotations

import os
import sys
from time import clock_gettime_ns
from typing import Final

__all__ = ["Watch", "identity_text"]

_PACKAGE_FOLDERS: Final = ("site-packages", "dist-packages")
Identity = tuple[int, int, int, int, int]


def identity_text(status: os.stat_result) -> str:
    """As ``native/identity.c`` writes it."""
    return ":".join(map(str, _identity(status)))


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _now_ns() -> int:
    """By the clock that files are stamped with, which lags behind the precise one."""
    import time

    return clock_gettime_ns(getattr(time, "CLOCK_REALTIME_COARSE", time.CLOCK_REALTIME))


class Watch:
    """Created before the worker is loaded, completed afterwards.

    Modules of the standard library and of installed packages are not looked at one by one: installing a package
    changes the folder that it goes into.
    """

    def __init__(self, script: str | None, script_identity: str) -> None:
        self._began_ns = _now_ns()
        self._script = os.path.abspath(script) if script is not None else None
        self._script_identity = script_identity
        self._files: dict[str, Identity] = {}

    def complete(self) -> str | None:
        """Record the files of all loaded modules; one that changed meanwhile is returned: what was loaded of it?"""
        self._files.clear()
        for path in sorted(_module_files()):
            known = _status(path)
            if known is None:
                return path
            identity = _identity(known)
            if known.st_ctime_ns >= self._began_ns:
                return path
            self._files[path] = identity
        for folder in sys.path:
            if os.path.basename(folder) in _PACKAGE_FOLDERS:
                known = _status(folder)
                if known is not None:
                    self._files[os.path.abspath(folder)] = _identity(known)
        return self.changed()

    def changed(self) -> str | None:
        """A file that is not what was loaded."""
        if self._script is not None:
            status = _status(self._script)
            if status is None or identity_text(status) != self._script_identity:
                return self._script
        for path, identity in self._files.items():
            try:
                status = os.stat(path)
            except OSError:
                return path
            if _identity(status) != identity:
                return path
        return None


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _module_files() -> set[str]:
    library = os.path.dirname(os.__file__) + os.sep
    found = set()
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if name == "__main__" or not isinstance(path, str):
            continue
        path = os.path.abspath(path)
        if path.startswith(library) or any(f"{os.sep}{folder}{os.sep}" in path for folder in _PACKAGE_FOLDERS):
            continue
        # A module inside an archive.
        while not os.path.exists(path) and os.path.dirname(path) != path:
            path = os.path.dirname(path)
        if os.path.isfile(path):
            found.add(path)
    return found
