"""Streams of batches that a table function produces, one per tick.

Two forms: a generator, and ``process(params, state, out)`` called for each tick. Both are a ``Producer`` to
the worker. ``next()`` gives a batch with its metadata, or None at the end.
"""

from __future__ import annotations

from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, Protocol

from vgi_fast.errors import ArgumentError
from vgi_fast.functions.emission import PLAIN, Emit
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import BatchBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vgi_fast.functions.batches import BatchShaper
    from vgi_fast.functions.caching import CacheControl, StreamCache
    from vgi_fast.functions.context import ClientLog
    from vgi_fast.functions.emission import Emission
    from vgi_fast.functions.filters.nodes import CurrentFilters
    from vgi_fast.functions.over_tables.inout_calls import InOutShaper
    from vgi_fast.wire.arrow import RecordBatch, Schema

    Metadata = dict[bytes, bytes] | None

__all__ = [
    "DenseProducer",
    "ExchangeCollector",
    "GeneratorProducer",
    "NonEmptyProducer",
    "OutputCollector",
    "ProcessProducer",
    "Producer",
    "RowsOf",
]

_PATIENCE_NS: Final = 2_000_000
_DENSE_ROWS: Final = 1024
"""Batches of so many rows are sent as they are."""
_ENOUGH_ROWS: Final = 2048
"""What DuckDB works on at a time. More would make dynamic filters come later."""


class Producer(Protocol):
    """A stream of batches, pulled once per tick."""

    def next(self) -> tuple[RecordBatch, Metadata] | None:
        """The next batch and its metadata; None when the stream has ended."""

    def cancel(self) -> None:
        """The client asked to stop. What this raises is logged and otherwise ignored."""

    def close(self) -> None:
        """The stream is over, for whatever reason."""


class GeneratorProducer:
    """The batches of a generator, or of any iterator."""

    __slots__ = ("_beside", "_emission", "_first", "_iterator", "_parts", "_shaper")

    def __init__(self, iterator: Iterator[Any], shaper: BatchShaper, emission: Emission) -> None:
        self._iterator = iterator
        self._shaper = shaper
        self._emission = emission
        self._parts: Iterator[RecordBatch] | None = None
        self._beside = PLAIN
        self._first = True

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
            self._beside = PLAIN
            self._first = True
            if type(produced) is Emit:
                self._beside = produced
                self._emission.check(produced)
                produced = produced.batch
                if produced is None:
                    return self._emission.finish(self._shaper.empty(), self._beside)
            batch = self._shaper.one(produced)
            if batch is None:
                self._parts = self._shaper.parts(produced)
        first, self._first = self._first, False
        return self._emission.finish(batch, self._beside, first)

    def cancel(self) -> None:
        self.close()

    def close(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


class OutputCollector:
    """Where ``process`` puts its batch: ``out.emit(...)`` once per call, ``out.finish()`` at the end."""

    __slots__ = ("_emission", "_emitted", "_finished", "_log", "_parts", "_repeats", "_shaper")

    def __init__(self, shaper: BatchShaper, log: ClientLog, emission: Emission, *, repeats: bool = False) -> None:
        self._repeats = repeats
        """Any number of batches may be emitted before the next call."""
        self._shaper = shaper
        self._log = log
        self._emission = emission
        self._parts: deque[tuple[RecordBatch, Emit, bool]] = deque()
        self._emitted = False
        self._finished = False

    def emit(
        self,
        batch: Any,
        *,
        batch_index: int | None = None,
        partition_values: Mapping[str, Any] | None = None,
        metadata: dict[bytes, bytes] | None = None,
        cache_control: CacheControl | None = None,
    ) -> None:
        """A batch in any form; a table is sent in its parts, one per tick.

        None is a batch without rows. ``batch_index`` places its rows among those of all streams. ``partition_values``
        gives (least, greatest) by column where they are not to be read from the batch. ``cache_control`` is taken
        together with what the function declares.
        """
        if self._emitted:
            if not self._repeats:
                raise ArgumentError("Only one data batch may be emitted per call")
            if cache_control:
                raise ArgumentError("out.emit(cache_control=...) is only valid on the first emitted batch")
        self._emitted = True
        beside = PLAIN
        if batch_index is not None or partition_values is not None or metadata or cache_control:
            beside = Emit(
                batch,
                batch_index=batch_index,
                partition_values=partition_values,
                metadata=metadata,
                cache_control=cache_control,
            )
            self._emission.check(beside)
        one = self._shaper.empty() if batch is None else self._shaper.one(batch)
        first = True
        for part in self._shaper.parts(batch) if one is None else (one,):
            self._parts.append((part, beside, first))
            first = False

    def drained(self) -> Iterator[RecordBatch]:
        """What was emitted, once."""
        while self._parts:
            yield self._parts.popleft()[0]

    def finish(self) -> None:
        """No call of ``process`` follows."""
        self._finished = True

    def client_log(self, level: str, message: str, **extra: Any) -> None:
        self._log(level, message, **extra)


class ProcessProducer:
    """Calls ``process(params, state, out)`` for each tick that has no part left over."""

    __slots__ = ("_cancel", "_emission", "_out", "_process")

    def __init__(
        self,
        process: Callable[[OutputCollector], Any],
        cancel: Callable[[], Any] | None,
        out: OutputCollector,
        emission: Emission,
    ) -> None:
        self._process = process
        self._cancel = cancel
        self._out = out
        self._emission = emission

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
                return self._emission.finish(self._out._shaper.empty())
        batch, beside, first = out._parts.popleft()
        return self._emission.finish(batch, beside, first)

    def cancel(self) -> None:
        if self._cancel is not None:
            self._cancel()

    def close(self) -> None:
        self._process = _closed


class ExchangeCollector:
    """As ``OutputCollector``, for the one batch that answers a batch."""

    __slots__ = ("_answer", "_cache", "_checks_rows", "_log", "_metadata", "_shaper")

    def __init__(self, shaper: InOutShaper, log: ClientLog, cache: StreamCache, checks_rows: bool) -> None:
        self._shaper = shaper
        self._log = log
        self._cache = cache
        self._metadata: Metadata = cache.metadata() if cache.declared is not None else None
        """Of every answer."""
        self._checks_rows = checks_rows
        """Rows have to be related to those of the input."""
        self._answer: tuple[Any, Any] | None = None

    def emit(
        self,
        batch: Any,
        *,
        metadata: dict[bytes, bytes] | None = None,
        cache_control: CacheControl | None = None,
        parent_rows: Any = None,
    ) -> None:
        """A batch in any form. ``parent_rows`` are, for a row transform, the input rows that its rows come from."""
        if self._answer is not None:
            raise ArgumentError("Only one data batch may be emitted per call")
        if metadata or cache_control:
            batch = Emit(batch, metadata=metadata, cache_control=cache_control)
        self._answer = batch, parent_rows

    def finish(self) -> None:
        raise ArgumentError("finish() is not allowed on exchange streams")

    def client_log(self, level: str, message: str, **extra: Any) -> None:
        self._log(level, message, **extra)

    def begin(self) -> None:
        self._answer = None

    def emitted(self, input_rows: int) -> RecordBatch:
        """What was emitted since ``begin``; nothing is no rows."""
        if self._answer is None:
            return self.answer(None, input_rows)
        produced, parent_rows = self._answer
        return self.answer(produced, input_rows, parent_rows)

    def answer(self, produced: Any, input_rows: int, parent_rows: Any = None) -> RecordBatch:
        metadata: Metadata = None
        control: CacheControl | None = None
        if type(produced) is Emit:
            if produced.batch_index is not None or produced.partition_values is not None:
                raise ArgumentError("batch_index and partition_values are for table functions")
            metadata, control, produced = produced.metadata, produced.cache_control, produced.batch
        if type(produced) is RowsOf:
            produced, parent_rows = produced.rows, produced.parents
        batch = self._shaper.batch(produced)
        rows = batch.num_rows
        if parent_rows is not None:
            provenance = self._shaper.provenance(parent_rows, rows, input_rows)
            metadata = {**(metadata or {}), keys.PARENT_ROW: provenance} if provenance else metadata
        elif self._checks_rows and rows not in (0, input_rows) and keys.PARENT_ROW not in (metadata or {}):
            raise self._shaper.unrelated(rows, input_rows)
        if control:
            metadata = {**self._cache.metadata(control, rows), **(metadata or {})}
        elif self._metadata is not None:
            metadata = {**self._metadata, **(metadata or {})}
        return batch if metadata is None else batch.with_metadata(metadata)


class RowsOf:
    """Result of a row transform whose rows are not one for one those of its input.

    ``RowsOf({"word": words}, parents)``: ``parents`` holds for each row the index of the input row it comes from.
    """

    __slots__ = ("parents", "rows")

    def __init__(self, rows: Any, parents: Any) -> None:
        self.rows = rows
        self.parents = parents


class NonEmptyProducer:
    """Leaves out batches without rows, which would end the client's reading (section 7.4 of the function document)."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Producer) -> None:
        self._inner = inner

    def next(self) -> tuple[RecordBatch, Metadata] | None:
        while True:
            found = self._inner.next()
            if found is None or found[0].num_rows:
                return found

    def cancel(self) -> None:
        self._inner.cancel()

    def close(self) -> None:
        self._inner.close()


class DenseProducer:
    """Puts what static filters left of several batches together, as each answer costs the client about as much as
    thousands of rows. Rows wait for others no longer than ``_PATIENCE_NS``, and for batches whose making takes that
    long not at all. While there are dynamic filters, each batch is an answer: a tick may bring tighter bounds, which
    spare the author work."""

    __slots__ = ("_builder", "_ended", "_failure", "_filters", "_held", "_inner")

    def __init__(self, inner: Producer, filters: CurrentFilters, schema: Schema) -> None:
        self._inner = inner
        self._filters = filters
        self._builder = BatchBuilder(schema)
        self._held: tuple[RecordBatch, Metadata] | None = None
        """Did not fit to those before."""
        self._failure: Exception | None = None
        """Came after rows that are still to be sent."""
        self._ended = False

    def next(self) -> tuple[RecordBatch, Metadata] | None:
        if self._filters.current is not self._filters.static and self._nothing_is_held():
            return self._inner.next()
        builder = self._builder
        beside: Metadata = None
        until = monotonic_ns() + _PATIENCE_NS
        while True:
            found = self._pull()
            if found is None:
                return (builder.finish(), beside) if builder.num_rows else None
            batch, metadata = found
            metadata = metadata or batch.metadata or None
            if not builder.num_rows:
                if batch.num_rows >= _DENSE_ROWS or monotonic_ns() >= until or (metadata and not batch.num_rows):
                    return found
                beside = metadata
                if batch.num_rows and not builder.append(batch):
                    return found
            elif batch.num_rows or metadata:
                if metadata != beside or not builder.append(batch):
                    self._held = found
                    return builder.finish(), beside
                if builder.num_rows >= _ENOUGH_ROWS:
                    return builder.finish(), beside
            if builder.num_rows and monotonic_ns() >= until:
                return builder.finish(), beside

    def _nothing_is_held(self) -> bool:
        return self._held is None and self._failure is None and not self._ended

    def _pull(self) -> tuple[RecordBatch, Metadata] | None:
        found, self._held = self._held, None
        if found is not None:
            return found
        if self._failure is not None:
            raise self._failure
        if self._ended:
            return None
        try:
            found = self._inner.next()
        except Exception as error:
            if not self._builder.num_rows:
                raise
            self._failure = error
            return None
        self._ended = found is None
        return found

    def cancel(self) -> None:
        self._inner.cancel()

    def close(self) -> None:
        self._inner.close()


def _closed(out: OutputCollector) -> None:
    out.finish()
