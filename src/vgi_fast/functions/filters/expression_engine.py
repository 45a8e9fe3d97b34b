"""Expressions that have no kernel, evaluated by DuckDB in this process. Imported when one is pushed.

The statement is prepared once for a stream; each batch is then one execution over the column's own memory.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vgi_fast.errors import FilterError
from vgi_fast.functions.filters import expressions as ex
from vgi_fast.functions.filters.nodes import SYMBOLS
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import RecordBatch, Schema, decode_stream, encode_stream

if TYPE_CHECKING:
    from vgi_fast.wire.arrow import Array, Field

__all__ = ["EngineFilter", "engine_is_installed"]


def engine_is_installed() -> bool:
    """Without importing it."""
    return find_spec("duckdb") is not None


class _Source:
    """What the prepared statement reads: the column at hand."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.batch: RecordBatch | None = None

    def __arrow_c_schema__(self) -> object:
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        import pyarrow as pa

        if self.batch is None:
            raise FilterError("a filter was evaluated without a batch")
        return pa.table(self.batch.to_arrow()).__arrow_c_stream__(requested_schema)


class EngineFilter:
    """A function of batches that gives the boolean column of an expression."""

    def __init__(self, expression: ex.ExpressionNode, position: int, field: Field) -> None:
        self._expression = expression
        self._position = position
        self._is_geometry = field.metadata.get(keys.EXTENSION_NAME) == keys.WKB
        self._shown = expression.literal_sql(field.name)
        metadata = {} if self._is_geometry else field.metadata
        self._schema = Schema([type(field)("v", field.type, True, metadata)])  # type: ignore[arg-type]
        self._source = _Source(self._schema)
        self._constants: list[ex.ConstantNode] = []
        self._connection: Any = None

    def _prepare(self) -> None:
        try:
            import duckdb
        except ImportError:
            raise FilterError(
                f"the filter {self._shown} needs DuckDB in the worker", hint="pip install duckdb"
            ) from None
        connection = duckdb.connect(config={"threads": 1})
        try:
            connection.execute("SET TimeZone = 'UTC'")
        except duckdb.Error:
            pass  # without the extension icu there are no zones: instants are shown in UTC
        sql = self._sql(self._expression)
        try:
            if "ST_GeomFromWKB" in sql:
                connection.execute("LOAD spatial")
            connection.register("source", self._source)
            tables = "source"
            if self._constants:
                connection.register("constants", _table(self._constants))
                tables = "source, constants"
            self._source.batch = RecordBatch.from_pydict(self._schema, {"v": []})
            connection.execute(f"PREPARE passes AS SELECT ({sql})::BOOLEAN FROM {tables}")
        except duckdb.Error as error:
            raise FilterError(f"the filter {self._shown} cannot be evaluated: {error}") from error
        self._connection = connection

    def _sql(self, node: ex.ExpressionNode) -> str:
        if isinstance(node, ex.ColumnNode):
            return "ST_GeomFromWKB(v)" if self._is_geometry else "v"
        if isinstance(node, ex.ConstantNode):
            if isinstance(node.value, str) and "\0" not in node.value:
                # Names of members and patterns have to be constants of the statement.
                return "'" + node.value.replace("'", "''") + "'"
            self._constants.append(node)
            name = f"k{len(self._constants) - 1}"
            return f"ST_GeomFromWKB({name})" if node.is_geometry else name
        parts = [self._sql(child) for child in node.children]
        if isinstance(node, ex.ComparisonNode):
            return f"({parts[0]} {SYMBOLS[node.op]} {parts[1]})"
        if isinstance(node, ex.ConjunctionNode):
            return "(" + f" {node.word} ".join(parts) + ")" if parts else str(node.word == "and")
        assert isinstance(node, ex.FunctionNode)
        if len(parts) == 2 and not any(letter.isalnum() or letter == "_" for letter in node.name):
            return f"({parts[0]} {node.name} {parts[1]})"
        # Quoted: the name comes from a peer.
        return '"' + node.name.replace('"', '""') + f'"({", ".join(parts)})'

    def __call__(self, batch: RecordBatch) -> Array:
        import duckdb

        from vgi_fast.wire.arrow import Array

        if self._connection is None:
            self._prepare()
        source = RecordBatch(self._schema, [batch.column(self._position)], batch.num_rows)
        if self._schema.fields[0].type.children:
            # DuckDB 1.5 misreads members of a slice of structs; written and read again there is no slice.
            source = decode_stream(encode_stream(self._schema, [source]))[1][0]
        self._source.batch = source
        try:
            answer = self._connection.execute("EXECUTE passes").to_arrow_table()
        except duckdb.Error as error:
            raise FilterError(f"the filter {self._shown} failed: {error}") from error
        finally:
            self._source.batch = None
        return Array.from_arrow(answer.column(0).combine_chunks())


def _table(constants: list[ex.ConstantNode]) -> Any:
    import pyarrow as pa

    fields, arrays = [], []
    for index, node in enumerate(constants):
        field = node.constant.field
        metadata = {} if node.is_geometry else field.metadata
        fields.append(type(field)(f"k{index}", field.type, True, metadata))  # type: ignore[arg-type]
        arrays.append(node.constant.array)
    return pa.table(RecordBatch(Schema(fields), arrays, 1).to_arrow())
