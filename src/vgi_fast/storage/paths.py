"""Where the files are: private directories of the user, in memory where the system offers that."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from vgi_fast.errors import StorageError

__all__ = ["durable_root", "failed", "private_directory", "volatile_root"]

STATE_DIR_VARIABLE: Final = "VGI_FAST_STATE_DIR"
"""Takes the place of both directories."""

_NAME: Final = "vgi_fast"
_ATTEMPTS: Final = 100


def volatile_root() -> str:
    """For executions: $XDG_RUNTIME_DIR or /dev/shm, which are in memory, else the directory for temporary files."""
    given = os.environ.get(STATE_DIR_VARIABLE)
    if given:
        return private_directory(os.path.join(given, "run"))
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        return private_directory(os.path.join(runtime, _NAME))
    for base in ("/dev/shm", os.environ.get("TMPDIR") or "/tmp"):
        if os.path.isdir(base) and os.access(base, os.W_OK):
            return private_directory(os.path.join(base, f"{_NAME}-{os.getuid()}"))
    raise StorageError(
        "there is no writable directory for shared state", hint=f"name one with the variable {STATE_DIR_VARIABLE}"
    )


def durable_root() -> str:
    """For what outlives queries and processes: the user's state directory."""
    given = os.environ.get(STATE_DIR_VARIABLE)
    if given:
        return private_directory(os.path.join(given, "keep"))
    base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return private_directory(os.path.join(base, _NAME))


def private_directory(path: str) -> str:
    """Made if need be. Under a directory that others write to, one of somebody else's is refused."""
    for left in reversed(range(_ATTEMPTS)):
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            found = os.lstat(path)
            break
        except OSError as error:
            # Somebody who clears the same scope may remove it at any moment.
            if not left or not isinstance(error, (FileNotFoundError, FileExistsError)):
                raise StorageError(f"cannot make the state directory {path}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StorageError(f"the state directory {path} is not a directory of this user")
    if found.st_mode & 0o077:
        os.chmod(path, 0o700)
    return path


def failed(what: str, error: OSError) -> StorageError:
    """What could not be done, and where there would be room for it."""
    full = error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
    hint = f"the variable {STATE_DIR_VARIABLE} names another directory for state" if full else None
    return StorageError(f"{what}: {error.strerror}", hint=hint)
