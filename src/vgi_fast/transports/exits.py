"""How a process ended, in words."""

from __future__ import annotations

from typing import Final

__all__ = ["exit_text"]

_EXIT_MEANINGS: Final = {126: "permission denied", 127: "worker not found or not executable"}


def exit_text(status: int) -> str:
    """Of a return code as ``subprocess`` has it: a signal is negative.

    >>> exit_text(-9), exit_text(1)
    ('was killed by signal 9 (SIGKILL)', 'exited with status 1')
    """
    if status < 0:
        from signal import Signals

        try:
            name = f" ({Signals(-status).name})"
        except ValueError:
            name = ""
        return f"was killed by signal {-status}{name}"
    meaning = _EXIT_MEANINGS.get(status)
    return f"exited with status {status}" + (f" ({meaning})" if meaning else "")
