"""What a table function's stream yields: one batch per tick, whatever form the author chose.

A producer is pulled by the worker. ``next()`` gives a batch with its metadata, or None at the end.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from vgi_fast.errors import ArgumentError
from vgi_fast.functions.spec import cache_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vgi_fast.functions.batches import BatchShaper
    from vgi_fast.functions.context import ClientLog
    from vgi_fast.wire.arrow import RecordBatch

    Metadata = dict[bytes, bytes] | None

__all__ = ["GeneratorProducer", "OutputCollector", "ProcessProducer", "Producer"]


class Producer(Protocol):
    """A stream of batches, pulled once per tick."""

    def next(self) -> tuple[RecordBatch, Metadata] | None:
        """The next batch and its metadata; None when the stream has ended."""

    def cancel(self) -> None:
        """The client asked to stop. What this raises is logged and otherwise ignored."""

    def close(self) -> None:
        """The stream is over, for whatever reason."""


class GeneratorProducer:
    """The batches of a generator, or of any iterator. ``metadata`` goes to the first one."""

    __slots__ = ("_iterator", "_metadata", "_parts", "_shaper")

    def __init__(self, iterator: Iterator[Any], shaper: BatchShaper, metadata: Metadata) -> None:
        self._iterator = iterator
        self._shaper = shaper
        self._metadata = metadata
        self._parts: Iterator[RecordBatch] | None = None

    def next(self) -> tuple[RecordBatch, Metadata] | None:
        batch: RecordBatch | None = None
        while batch is None:
            if self._parts is not None:
                batch = next(self._parts, None)
                if batch is None:
                    self._parts = None
                continue
            try:
                produced = next(self._iterator)
            except StopIteration:
                return None
            batch = self._shaper.one(produced)
            if batch is None:
                self._parts = self._shaper.parts(produced)
        metadata, self._metadata = self._metadata, None
        return batch, metadata

    def cancel(self) -> None:
        self.close()

    def close(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


class OutputCollector:
    """Where ``process`` puts its batch: ``out.emit(...)`` once per call, ``out.finish()`` at the end."""

    __slots__ = ("_emitted", "_finished", "_log", "_parts", "_shaper")

    def __init__(self, shaper: BatchShaper, log: ClientLog) -> None:
        self._shaper = shaper
        self._log = log
        self._parts: deque[tuple[RecordBatch, Metadata]] = deque()
        self._emitted = False
        self._finished = False

    def emit(
        self,
        batch: Any,
        *,
        metadata: dict[bytes, bytes] | None = None,
        cache_control: dict[str, Any] | None = None,
    ) -> None:
        """A batch in any form; a table is sent in its parts, one per tick."""
        if self._emitted:
            raise ArgumentError("Only one data batch may be emitted per call")
        self._emitted = True
        extra = _merged(metadata, cache_control)
        one = self._shaper.one(batch)
        for part in self._shaper.parts(batch) if one is None else (one,):
            self._parts.append((part, extra))
            extra = None

    def finish(self) -> None:
        """No call of ``process`` follows."""
        self._finished = True

    def client_log(self, level: str, message: str, **extra: Any) -> None:
        self._log(level, message, **extra)


def _merged(metadata: Metadata, cache_control: dict[str, Any] | None) -> Metadata:
    if not cache_control:
        return metadata
    return {**(metadata or {}), **cache_metadata("emit", cache_control)}


class ProcessProducer:
    """Calls ``process(params, state, out)`` for each tick that has no part left over."""

    __slots__ = ("_cancel", "_metadata", "_out", "_process")

    def __init__(
        self,
        process: Callable[[OutputCollector], Any],
        cancel: Callable[[], Any] | None,
        out: OutputCollector,
        metadata: Metadata,
    ) -> None:
        self._process = process
        self._cancel = cancel
        self._out = out
        self._metadata = metadata

    def next(self) -> tuple[RecordBatch, Metadata] | None:
        out = self._out
        if not out._parts:
            if out._finished:
                return None
            out._emitted = False
            self._process(out)
            if not out._parts:
                if out._finished:
                    return None
                if not out._emitted:
                    raise ArgumentError("No data batch was emitted; process must call out.emit() or out.finish()")
                return self._out._shaper.empty(), None
        batch, metadata = out._parts.popleft()
        if self._metadata is not None:
            metadata = {**self._metadata, **(metadata or {})}
            self._metadata = None
        return batch, metadata

    def cancel(self) -> None:
        if self._cancel is not None:
            self._cancel()

    def close(self) -> None:
        self._process = _closed


def _closed(out: OutputCollector) -> None:
    out.finish()
