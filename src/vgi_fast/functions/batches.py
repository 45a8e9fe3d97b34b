"""From whatever an author produces to batches of the bound schema.

Columns are selected by name in the order of the projected schema, cast to the declared types; further
columns are dropped and a missing one is an error (section 4.6 of the RPC document).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vgi_fast.errors import ArgumentError, SchemaValidationError, TypeMismatchError
from vgi_fast.wire.arrow import Array, RecordBatch, Schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["BatchShaper"]


class BatchShaper:
    """Shapes batches for one stream. ``full`` is the unprojected schema, for error texts only."""

    __slots__ = ("_columns", "_where", "schema")

    def __init__(self, schema: Schema, where: str) -> None:
        self.schema = schema
        self._columns = [(field.name, field.type) for field in schema.fields]
        self._where = where

    def batches(self, produced: Any) -> Iterator[RecordBatch]:
        """One batch for most inputs; a table gives one for each of its parts."""
        kind = type(produced)
        if kind is dict:
            yield self._from_mapping(produced)
        elif kind is RecordBatch:
            yield self._from_batch(produced)
        elif hasattr(produced, "dtype") and hasattr(produced, "__array_interface__"):
            yield self._from_numpy(produced)
        elif hasattr(produced, "__arrow_c_stream__") and not _is_one_batch(produced):
            yield from self._from_stream(produced)
        elif hasattr(produced, "__arrow_c_array__"):
            yield self._from_exported(produced)
        elif isinstance(produced, Mapping):
            yield self._from_mapping(produced)
        elif isinstance(produced, (list, range)):
            yield self._single(produced)
        else:
            raise ArgumentError(
                f"{self._where}: cannot make a batch of {type(produced).__name__}; produce a dict of columns, "
                "a NumPy array, or an Arrow batch or table"
            )

    def empty(self) -> RecordBatch:
        return RecordBatch(self.schema, [Array.from_pylist([], type) for _, type in self._columns], 0)

    def _from_mapping(self, produced: Mapping[str, Any]) -> RecordBatch:
        if not produced:
            return self.empty()
        columns = []
        for name, type in self._columns:
            try:
                values = produced[name]
            except KeyError:
                raise self._missing(name, produced) from None
            columns.append(self._coerced(name, values, type))
        if not columns:
            return RecordBatch(self.schema, [], len(next(iter(produced.values()))))
        return self._assembled(columns)

    def _coerced(self, name: str, values: Any, type: Any) -> Array:
        try:
            return Array.coerce(values, type)
        except TypeMismatchError as error:
            error.detail = error.detail or f"In column '{name}' of {self._where}"
            raise

    def _assembled(self, columns: list[Array]) -> RecordBatch:
        length = len(columns[0])
        for (name, _), column in zip(self._columns, columns, strict=True):
            if len(column) != length:
                first = self._columns[0][0]
                raise SchemaValidationError(
                    f"{self._where}: column '{name}' has {len(column)} rows, but '{first}' has {length}"
                )
        return RecordBatch(self.schema, columns, length)

    def _from_batch(self, produced: RecordBatch) -> RecordBatch:
        if produced.schema is self.schema:
            return produced
        schema = produced.schema
        if schema.equals(self.schema):
            return RecordBatch(self.schema, produced.columns, produced.num_rows, produced.metadata or None)
        names = schema.names
        columns = []
        for name, type in self._columns:
            if name not in names:
                raise self._missing(name, names)
            columns.append(self._coerced(name, produced.column(name), type))
        return RecordBatch(self.schema, columns, produced.num_rows, produced.metadata or None)

    def _from_numpy(self, produced: Any) -> RecordBatch:
        if produced.dtype.names is None:
            return self._single(produced)
        fields = {name: produced[name] for name in produced.dtype.names}
        return self._from_mapping(fields)

    def _single(self, produced: Any) -> RecordBatch:
        if len(self._columns) != 1:
            raise SchemaValidationError(
                f"{self._where}: one array for {len(self._columns)} columns ({self._listed()}); "
                "produce a dict of columns"
            )
        name, type = self._columns[0]
        return self._assembled([self._coerced(name, produced, type)])

    def _from_exported(self, produced: Any) -> RecordBatch:
        return self._from_batch(RecordBatch.from_arrow(produced))

    def _from_stream(self, produced: Any) -> Iterator[RecordBatch]:
        import pyarrow as pa

        for batch in pa.RecordBatchReader.from_stream(produced):
            yield self._from_exported(batch)

    def _missing(self, name: str, given: Any) -> SchemaValidationError:
        return SchemaValidationError(f"{self._where}: the batch lacks column '{name}'; it has {sorted(given)}")

    def _listed(self) -> str:
        return ", ".join(name for name, _ in self._columns)


def _is_one_batch(produced: Any) -> bool:
    """pyarrow's RecordBatch exports both ways; as one array it needs no reader."""
    return type(produced).__name__ == "RecordBatch" and hasattr(produced, "__arrow_c_array__")


def projected(schema: Schema, ids: Sequence[int] | None) -> Schema:
    """The schema narrowed to ``ids``; None keeps it. IndexError for an id outside of it."""
    return schema if ids is None else schema.select(list(ids))
