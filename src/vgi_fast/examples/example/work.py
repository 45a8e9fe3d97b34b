"""Work that the streams of a scan share: parts of it wait in the queue of the execution.

The queue is in a storage that all processes of the worker see. ``share`` belongs into ``on_init``, which runs once
and before any stream starts; each stream then takes parts until there are none.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Any, Final

from vgi_fast import GlobalInitResponse, InitParams

STREAMS: Final = 24
"""More are of no use to the examples, whatever number of threads DuckDB has."""
_PART: Final = Struct("<qqq")


class Part:
    """Some of the rows, and which part of all it is."""

    def __init__(self, number: int, rows: range) -> None:
        self.number = number
        self.rows = rows


def share(params: InitParams[Any], parts: Iterable[range]) -> GlobalInitResponse:
    """Put the parts into the queue, to be taken in this order."""
    items = [_PART.pack(number, rows.start, rows.stop) for number, rows in enumerate(parts)]
    params.storage.queue_push(items)
    return GlobalInitResponse(max(1, min(len(items), STREAMS)))


def take(params: InitParams[Any]) -> Part | None:
    """A part that nobody else gets. Whoever finds none removes what the execution has stored."""
    item = params.storage.queue_pop()
    if item is None:
        params.storage.execution_clear()
        return None
    number, start, stop = _PART.unpack(item)
    return Part(number, range(start, stop))


def split(count: int, size: int) -> list[range]:
    """The numbers below ``count`` in ranges of ``size``; the last one may be shorter."""
    rows = range(count)
    return [rows[start : start + size] for start in range(0, count, size)]
