"""From whatever an author produces to batches of the bound schema.

Columns are selected by name in the order of the projected schema, cast to the declared types; further
columns are dropped and a missing one is an error (section 4.6 of the RPC document).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vgi_fast.errors import ArgumentError, SchemaValidationError, TypeMismatchError
from vgi_fast.wire.arrow import Array, RecordBatch, Schema, plain_batch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["BatchShaper"]


class BatchShaper:
    """Shapes batches for one stream. ``partitioned`` names the partition columns, for error texts only."""

    __slots__ = ("_columns", "_partitioned", "_where", "schema")

    def __init__(self, schema: Schema, where: str, partitioned: Collection[str] = ()) -> None:
        self.schema = schema
        self._columns = [(field.name, field.type) for field in schema.fields]
        self._partitioned = partitioned
        self._where = where

    def one(self, produced: Any) -> RecordBatch | None:
        """The batch; None for a table, whose parts ``parts`` gives."""
        kind = type(produced)
        if kind is dict:
            return plain_batch(self.schema, produced) or self._from_mapping(produced)
        if kind is RecordBatch:
            return self._from_batch(produced)
        if hasattr(produced, "dtype") and hasattr(produced, "__array_interface__"):
            return self._from_numpy(produced)
        if hasattr(produced, "__arrow_c_stream__") and not _is_one_batch(produced):
            return None
        if hasattr(produced, "__arrow_c_array__"):
            return self._from_batch(RecordBatch.from_arrow(produced))
        if isinstance(produced, Mapping):
            return self._from_mapping(produced)
        if isinstance(produced, (list, range)):
            return self._single(produced)
        raise ArgumentError(
            f"{self._where}: cannot make a batch of {kind.__name__}; produce a dict of columns, "
            "a NumPy array, or an Arrow batch or table"
        )

    def parts(self, produced: Any) -> Iterator[RecordBatch]:
        """The batches of anything that exports an Arrow stream: tables, data frames, readers."""
        import pyarrow as pa

        for batch in pa.RecordBatchReader.from_stream(produced):
            yield self._from_batch(RecordBatch.from_arrow(batch))

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
        if len(columns) == 1:
            return RecordBatch(self.schema, columns, length)
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

    def _missing(self, name: str, given: Any) -> SchemaValidationError:
        if name in self._partitioned:
            return SchemaValidationError(
                f"{self._where}: column '{name}' is partition-annotated but absent from emitted batch; "
                f"it has {sorted(given)}"
            )
        return SchemaValidationError(f"{self._where}: the batch lacks column '{name}'; it has {sorted(given)}")

    def _listed(self) -> str:
        return ", ".join(name for name, _ in self._columns)


def _is_one_batch(produced: Any) -> bool:
    """pyarrow's RecordBatch exports both ways; as one array it needs no reader."""
    return type(produced).__name__ == "RecordBatch" and hasattr(produced, "__arrow_c_array__")
