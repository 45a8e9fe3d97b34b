"""Whether a connection looks for bytes for a moment before it sleeps.

A sleep costs the peer a wake-up of some microseconds and this side a trip through the scheduler; a look costs
a processor that somebody else may need. So it is done where processors are idle only.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from vgi_fast.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["spin_budget_us"]

_BUDGET_US: Final = 20.0
_FEWEST_PROCESSORS: Final = 4
"""With fewer, the client's threads and the workers have no processor to spare (benchmarks.e2e.scalar)."""


def spin_budget_us(environment: Mapping[str, str]) -> float:
    """Microseconds; 0 for none. ``VGI_FAST_SPIN_US`` decides, otherwise the number of idle processors."""
    given = environment.get("VGI_FAST_SPIN_US")
    if given:
        try:
            value = float(given)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1000:
            raise ArgumentError(f"VGI_FAST_SPIN_US={given}: expected microseconds, 0 to 1000")
        return value
    processors = _processors()
    if processors < _FEWEST_PROCESSORS:
        return 0.0
    return _BUDGET_US if os.getloadavg()[0] < processors / 2 else 0.0


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1
