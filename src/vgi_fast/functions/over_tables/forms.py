"""The forms in which functions take a table's batches and columns, by their annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.functions import annotations as ann
from vgi_fast.wire.arrow import Array, RecordBatch

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BATCH_FORMS", "COLUMN_FORMS", "hook_form", "masked", "unchanged"]


def hook_form(target: Any, name: str, where: str) -> Callable[[RecordBatch], Any]:
    """How a hook wants its batch, from the annotation of its parameter ``batch``."""
    method = getattr(target, name)
    found = ann.annotations_of(getattr(method, "__func__", method), where).get("batch")
    form = None if found is None else ann.table_form(ann.Annotation(found))
    return BATCH_FORMS.get(form or ann.BATCH, unchanged)


def unchanged(batch: Any) -> Any:
    return batch


def _arrow_table(batch: RecordBatch) -> Any:
    import pyarrow as pa

    return pa.Table.from_batches([batch.to_arrow()])


def masked(column: Array) -> Any:
    """As NumPy array; masked where something is null and its type cannot say so."""
    values = column.to_numpy()
    valid = column.valid()
    if valid is None or values.dtype == object:
        return values
    import numpy.ma

    return numpy.ma.MaskedArray(values, mask=~valid)


def _columns(batch: RecordBatch) -> dict[str, Any]:
    return {name: masked(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}


BATCH_FORMS: Final[dict[str, Callable[[RecordBatch], Any]]] = {
    ann.BATCH: unchanged,
    ann.ARROW_BATCH: RecordBatch.to_arrow,
    ann.ARROW_TABLE: _arrow_table,
    ann.COLUMNS: _columns,
}
COLUMN_FORMS: Final[dict[str, Callable[[Array], Any]]] = {
    ann.NUMPY: masked,
    ann.MASKED: masked,
    ann.ARROW: Array.to_arrow,
    ann.ARRAY: unchanged,
}
