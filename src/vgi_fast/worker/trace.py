"""Where the time of each call goes, written when ``VGI_FAST_TRACE`` asks for it.

``VGI_FAST_TRACE=1`` writes a line per call to standard error; any other value names a file that gets a JSON
object per call. ``{pid}`` in it stands for the process. The phases are those of the session's thread:

    wait      a read before the first byte of a message: the client is at work
    read      the further reads of a message
    decode    from bytes to columns
    call      the author's function
    encode    from columns to what is to be written
    write     the gather writes
    other     dispatch, handlers, headers
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.wire.arrow import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Tracer", "tracer_from"]

_OFF: Final = ("", "0", "no", "false")
_STDERR: Final = ("1", "yes", "true", "stderr")


class Tracer:
    """Writes what the sessions of one process counted."""

    def __init__(self, path: str | None) -> None:
        self._path = path.replace("{pid}", str(os.getpid())) if path is not None else None

    def start(self) -> Trace:
        """For one session."""
        return Trace()

    def write(self, method: str, subject: str, counted: dict[str, Any]) -> None:
        entry = {"pid": os.getpid(), "method": method, "function": subject, **counted}
        try:
            if self._path is None:
                print(_line(entry), file=sys.stderr, flush=True)
                return
            import json

            # One write of a short line: processes that share the file do not mix their lines.
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except (OSError, ValueError, AttributeError):  # tracing must not end a call
            pass


def tracer_from(environment: Mapping[str, str]) -> Tracer | None:
    value = environment.get("VGI_FAST_TRACE", "")
    if value.lower() in _OFF:
        return None
    return Tracer(None if value.lower() in _STDERR else value)


def _line(entry: dict[str, Any]) -> str:
    batches = entry["batches"]
    per = max(batches, 1)
    times = " ".join(f"{name} {ns / 1000 / per:.1f}" for name, ns in entry["ns"].items())
    name = f"{entry['method']} {entry['function']}".rstrip()
    return (
        f"vgi_fast {entry['pid']} {name}: {batches} batches, {entry['rows_in']} rows in, {entry['rows_out']} out; "
        f"us per batch: {times}; system calls per batch: {entry['reads'] / per:.2f} reads, "
        f"{entry['writes'] / per:.2f} writes"
    )
