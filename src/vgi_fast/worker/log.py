"""Lines on standard error. Nothing of the protocol depends on them.

The standard library's logging is not used: importing it costs each spawned worker several milliseconds.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Final

LEVELS: Final = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}


class Log:
    """Writes lines of at least ``level``, as text or JSON."""

    __slots__ = ("_json", "_loggers", "threshold")

    def __init__(self, level: str = "WARNING", *, json: bool = False, loggers: tuple[str, ...] = ()) -> None:
        self.threshold = LEVELS[level]
        self._json = json
        self._loggers = loggers

    @property
    def calls(self) -> bool:
        """Calls are reported, one line each."""
        return self.threshold <= LEVELS["INFO"]

    def write(self, level: str, logger: str, message: str, **extra: Any) -> None:
        """One line, if the level and the logger are selected."""
        if LEVELS[level] < self.threshold or not self._selected(logger):
            return
        now = time.time()
        if self._json:
            import json

            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
            entry = {"timestamp": stamp, "level": level, "logger": logger, "message": message, **extra}
            line = json.dumps(entry, ensure_ascii=False, default=str)
        else:
            details = "".join(f" {key}={value}" for key, value in extra.items())
            line = f"{time.strftime('%H:%M:%S', time.localtime(now))} {logger:<30} {level:<5} {message}{details}"
        try:
            print(line, file=sys.stderr, flush=True)
        except (OSError, ValueError, AttributeError):  # standard error is closed
            pass

    def _selected(self, logger: str) -> bool:
        return not self._loggers or any(logger == one or logger.startswith(f"{one}.") for one in self._loggers)
