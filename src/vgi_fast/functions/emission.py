"""What happens to a batch between its author and the wire (section 4 of the pushdown document).

Filters come first; batch index, partition values and cache advertisement describe the rows that are left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import ArgumentError
from vgi_fast.functions.caching import CacheRules, StreamCache, check_form
from vgi_fast.wire import keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vgi_fast.functions.caching import CacheControl
    from vgi_fast.functions.filters.nodes import CurrentFilters
    from vgi_fast.functions.partitions import PartitionTagger
    from vgi_fast.wire.arrow import RecordBatch

    Metadata = dict[bytes, bytes] | None

__all__ = ["Emission", "Emit"]

_LAST_INDEX: Final = 10**13 - 2


class Emit:
    """A batch with what goes beside it, for generators: ``yield Emit({"n": values}, batch_index=chunk)``.

    ``cache_control`` is taken together with what the function declares. A batch of None has no rows.
    """

    __slots__ = ("batch", "batch_index", "cache_control", "metadata", "partition_values")

    def __init__(
        self,
        batch: Any,
        *,
        batch_index: int | None = None,
        partition_values: Mapping[str, Any] | None = None,
        metadata: Metadata = None,
        cache_control: CacheControl | None = None,
    ) -> None:
        if cache_control is not None:
            check_form("Emit", cache_control)
        self.batch = batch
        self.batch_index = batch_index
        self.partition_values = partition_values
        self.metadata = metadata
        self.cache_control = cache_control


PLAIN: Final = Emit(None)


class Emission:
    """Finishes the batches of one stream. What ``cache`` declares goes to the first batch that has rows."""

    __slots__ = (
        "_cache",
        "_columns",
        "_filters",
        "_held",
        "_held_control",
        "_indexed",
        "_last_index",
        "_partitions",
        "_unadvertised",
        "_where",
        "is_plain",
    )

    def __init__(
        self,
        where: str,
        *,
        filters: CurrentFilters | None = None,
        columns: int | None = None,
        indexed: bool = False,
        partitions: PartitionTagger | None = None,
        cache: StreamCache | None = None,
    ) -> None:
        self._where = where
        self._filters = filters if filters is not None and filters.applies else None
        self._columns = columns
        self._indexed = indexed
        self._partitions = partitions
        self._cache = cache or StreamCache(CacheRules(where, None))
        self._unadvertised = self._cache.declared is not None
        """The client has not seen yet what is declared, or held back."""
        self._held: Metadata = None
        self._held_control: dict[str, Any] = {}
        """Of batches that lost their rows."""
        self._last_index = 0
        self.is_plain = filters is None and not indexed and partitions is None and columns is None
        """Nothing is to be done but for the advertisement."""

    @property
    def filters(self) -> CurrentFilters | None:
        """Those that take rows out."""
        return self._filters

    def check(self, beside: Emit) -> None:
        """What the author's call asks for, before anything is made of it."""
        if beside.batch_index is not None and not self._indexed:
            raise ArgumentError(f"{self._where}: out.emit(batch_index=...) requires Meta.supports_batch_index = True")
        if beside.partition_values is not None and self._partitions is None:
            raise ArgumentError(
                f"{self._where}: out.emit(partition_values=...) requires partition-annotated fields in the bind schema",
                hint='declare partition_columns=["..."] and a partition_kind',
            )

    def finish(self, batch: RecordBatch, beside: Emit = PLAIN, first_part: bool = True) -> tuple[RecordBatch, Metadata]:
        metadata, control = (beside.metadata, beside.cache_control) if first_part else (None, None)
        if self.is_plain and batch.num_rows:
            if control or self._unadvertised:
                metadata = self._advertised(metadata, control, batch.num_rows)
            return batch, metadata
        rows = batch.num_rows
        if self._filters is not None and rows:
            batch = self._filters.apply(batch)
        if self._columns is not None:
            batch = batch.select(range(self._columns))
        if not batch.num_rows:
            return batch, self._without_rows(metadata, control, rows)
        if control or self._unadvertised:
            metadata = self._advertised(metadata, control, rows)
        if self._indexed:
            metadata = self._with_index(metadata, beside.batch_index)
        if self._partitions is not None and keys.PARTITION_VALUES not in (metadata or ()):
            payload = self._partitions.payload(batch, beside.partition_values)
            metadata = {**(metadata or {}), keys.PARTITION_VALUES: payload}
        return batch, metadata

    def _advertised(self, metadata: Metadata, control: Mapping[str, Any] | None, rows: int) -> Metadata:
        held, self._held = self._held, None
        given, self._held_control = {**self._held_control, **(control or {})}, {}
        self._unadvertised = False
        advertised = self._cache.metadata(given, rows) if given or self._cache.declared is not None else {}
        return {**advertised, **(held or {}), **(metadata or {})}

    def _without_rows(self, metadata: Metadata, control: Mapping[str, Any] | None, rows: int) -> Metadata:
        """Nobody sees what is beside rows that are gone, so cache control waits for others. ``rows``: before the
        filters."""
        if control:
            if control.get("not_modified"):
                return {**self._cache.metadata(control, rows), **(metadata or {})}
            self._held_control.update(control)
            self._unadvertised = True
        if not metadata or not rows:
            return metadata
        held = {key: value for key, value in metadata.items() if key.startswith(keys.CACHE_PREFIX)}
        if held:
            self._held = {**(self._held or {}), **held}
            self._unadvertised = True
        return {key: value for key, value in metadata.items() if key not in held} or None

    def _with_index(self, metadata: Metadata, index: int | None) -> Metadata:
        if index is None:
            if metadata and keys.BATCH_INDEX in metadata:
                return metadata
            raise ArgumentError(
                f"{self._where}: out.emit() requires batch_index= on a function with Meta.supports_batch_index = True"
            )
        if type(index) is not int or not 0 <= index <= _LAST_INDEX:
            raise ArgumentError(f"{self._where}: batch_index must be an int from 0 to {_LAST_INDEX}, got {index!r}")
        if index < self._last_index:
            raise ArgumentError(
                f"{self._where}: batch_index {index} after {self._last_index}; it may not decrease within a stream"
            )
        self._last_index = index
        return {**(metadata or {}), keys.BATCH_INDEX: str(index).encode()}
