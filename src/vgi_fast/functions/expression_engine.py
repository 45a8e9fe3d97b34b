"""Expressions that have no kernel, evaluated by DuckDB in this process. Imported when one is pushed.

The statement is prepared once for a stream; each batch is then one execution over the column's own memory.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import FilterError

if TYPE_CHECKING:
    from vgi_fast.functions.expressions import ExpressionNode
    from vgi_fast.wire.arrow import Field, RecordBatch

__all__ = ["EngineFilter", "engine_is_installed"]

_COLUMN: Final = "v"


def engine_is_installed() -> bool:
    """Without importing it."""
    return find_spec("duckdb") is not None


class _Source:
    """What the prepared statement reads: the batch at hand."""

    table: Any = None


class EngineFilter:
    """A function of batches that gives the boolean column of an expression."""

    def __init__(self, expression: ExpressionNode, position: int, field: Field) -> None:
        self._expression = expression
        self._position = position
        self._field = field
        self._connection: Any = None

    def _prepare(self) -> None:
        try:
            import duckdb
        except ImportError:
            raise FilterError(
                f"the filter {self._expression.literal_sql(self._field.name)} needs DuckDB in the worker",
                hint="pip install duckdb",
            ) from None
        connection = duckdb.connect(config={"threads": 1})
        if self._is_spatial(self._expression):
            try:
                connection.execute("LOAD spatial")
            except duckdb.Error as error:
                raise FilterError(f"the filter needs DuckDB's spatial extension: {error}") from error
        self._sql, self._values = self._expression.to_sql(_COLUMN)
        self._connection = connection

    def _is_spatial(self, node: ExpressionNode) -> bool:
        return getattr(node, "is_geometry", False) or any(self._is_spatial(child) for child in node.children)

    def __call__(self, batch: RecordBatch) -> Any:
        import pyarrow as pa

        if self._connection is None:
            self._prepare()
        column = batch.column(self._position).to_arrow()
        connection = self._connection
        source = pa.table({_COLUMN: column})
        connection.register("source", source)
        try:
            answer = connection.execute(f"SELECT ({self._sql})::BOOLEAN FROM source", self._values).to_arrow_table()
        finally:
            connection.unregister("source")
        return answer.column(0).combine_chunks()
