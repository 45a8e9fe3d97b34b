"""What callers hand in, as Arrow: columns, constants, settings, secrets and options."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from vgi_fast._core import Array, DataType, Field, RecordBatch, Schema, encode_stream
from vgi_fast.client.signatures import Argument
from vgi_fast.errors import ArgumentError

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT_BATCH_ROWS: Final = 65_536


def arrow_type(type: DataType) -> "pa.DataType":
    import pyarrow as pa

    return pa.field(type).type


def as_table(data: Any) -> "pa.Table":
    """Columns from a table, batch, mapping, sequence of columns or a single column; an int is a row count.

    >>> as_table({"a": [1, 2]}).num_rows
    2
    """
    import numpy as np
    import pyarrow as pa

    if isinstance(data, pa.Table):
        return data
    if isinstance(data, int):
        return pa.Table.from_batches([_without_columns(data)])
    if isinstance(data, (RecordBatch, pa.RecordBatch)):
        return pa.Table.from_batches([data.to_arrow() if isinstance(data, RecordBatch) else data])
    if isinstance(data, (Array, pa.Array, pa.ChunkedArray, np.ndarray)):
        return pa.Table.from_arrays([_column(data)], names=["col_0"])
    if isinstance(data, Mapping):
        return pa.Table.from_arrays([_column(value) for value in data.values()], names=list(data))
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return pa.Table.from_arrays([_column(value) for value in data], names=[f"col_{i}" for i in range(len(data))])
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    raise ArgumentError(f"cannot take columns from {type(data).__name__}")


def as_batches(table: "pa.Table", schema: Schema, batch_rows: int = DEFAULT_BATCH_ROWS) -> Iterator[RecordBatch]:
    """Batches of ``table`` under ``schema``, column by position, cast where the types differ."""
    if len(schema) == 0:
        for start in range(0, table.num_rows, batch_rows):
            yield RecordBatch(schema, [], min(batch_rows, table.num_rows - start))
        return
    columns = [_cast(table, index, field.type) for index, field in enumerate(schema)]
    # Duplicate names are legal in an input schema, so the batch is put together by position.
    recast = table.from_arrays(columns, names=[str(index) for index in range(len(columns))])
    for batch in recast.to_batches(max_chunksize=batch_rows):
        if batch.num_rows:
            yield RecordBatch(schema, [Array.from_arrow(column) for column in batch.columns], batch.num_rows)


def constant(value: Any, argument: Argument, function_name: str) -> "pa.Scalar":
    """``value`` as the declared type; of an any-typed argument it keeps its own."""
    import pyarrow as pa

    scalar = pa.scalar(value)
    if argument.type is None:
        return scalar
    target = arrow_type(argument.type)
    if scalar.type == target:
        return scalar
    try:
        return pa.scalar(value, target)
    except (pa.ArrowException, TypeError, ValueError):
        pass
    try:
        return scalar.cast(target)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ArgumentError(
            f"Constant argument '{argument.name}' of function '{function_name}': "
            f"cannot cast {scalar.type} to {target}: {error}"
        ) from error


def type_of(value: Any) -> DataType:
    import pyarrow as pa

    try:
        return DataType.of(pa.scalar(value).type)
    except pa.ArrowException as error:
        raise ArgumentError(f"no Arrow type for an argument of type {type(value).__name__}") from error


def is_literal(value: Any) -> bool:
    """What SQL writes as a literal: it casts more freely than a typed value."""
    return value is None or isinstance(value, (bool, int, float, str))


def arguments_blob(positional: Sequence["pa.Scalar"], named: Mapping[str, "pa.Scalar"]) -> bytes:
    """One row, one column ``args`` (section 3.1 of the function document)."""
    members = {f"positional_{index}": scalar for index, scalar in enumerate(positional)}
    members |= {f"named_{name}": scalar for name, scalar in named.items()}
    return _encode_columns({"args": _struct(members)})


def row_blob(values: Mapping[str, "pa.Scalar"]) -> bytes | None:
    """One row, a column for each value, by name; None for no values (settings, attach options)."""
    return _encode_columns({name: _one(values[name]) for name in sorted(values)}) if values else None


def secrets_blob(secrets: Mapping[str, Mapping[str, Any]]) -> bytes | None:
    """One struct column for each secret, sorted by name (section 4.4)."""
    import pyarrow as pa

    columns = {}
    for name in sorted(secrets):
        given = {"provider": "config", "name": name, "scope": "", **secrets[name]}
        if not isinstance(given["scope"], str):
            given["scope"] = "\n".join(given["scope"])
        columns[name] = _struct({key: pa.scalar(value) for key, value in given.items()})
    return _encode_columns(columns) if columns else None


def find_secret(
    secrets: Mapping[str, Mapping[str, Any]], secret_type: str, scope: str | None, name: str | None
) -> dict[str, Mapping[str, Any]]:
    """What DuckDB's secret manager would give: by name if there is one, else by the longest matching scope."""
    if name:
        found = secrets.get(name)
        return {name: found} if found is not None and found["type"] == secret_type else {}
    best: tuple[int, str] | None = None
    for key, secret in secrets.items():
        if secret["type"] != secret_type:
            continue
        scopes = secret.get("scope") or ""
        for prefix in scopes.split("\n") if isinstance(scopes, str) else scopes:
            if (scope or "").startswith(prefix) and (best is None or len(prefix) > best[0]):
                best = (len(prefix), key)
    return {} if best is None else {best[1]: secrets[best[1]]}


def _cast(table: "pa.Table", index: int, declared: DataType) -> "pa.ChunkedArray":
    import pyarrow as pa

    column, target = table.column(index), arrow_type(declared)
    if column.type == target:
        return column
    try:
        return column.cast(target)
    except pa.ArrowException as error:
        name = table.schema.names[index]
        raise ArgumentError(f"cannot cast column {name!r} from {column.type} to {target}: {error}") from error


def _column(value: Any) -> Any:
    import pyarrow as pa

    if isinstance(value, (pa.Array, pa.ChunkedArray)):
        return value
    return value.to_arrow() if isinstance(value, Array) else pa.array(value)


def _without_columns(rows: int) -> "pa.RecordBatch":
    import pyarrow as pa

    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))


def _one(scalar: "pa.Scalar") -> "pa.Array":
    import pyarrow as pa

    return pa.repeat(scalar, 1)


def _struct(members: Mapping[str, "pa.Scalar"]) -> "pa.Array":
    import pyarrow as pa

    if not members:
        return pa.array([{}], pa.struct([]))
    return pa.StructArray.from_arrays([_one(scalar) for scalar in members.values()], names=list(members))


def _encode_columns(columns: Mapping[str, "pa.Array"]) -> bytes:
    arrays = [Array.from_arrow(column) for column in columns.values()]
    schema = Schema([Field(name, array.type) for name, array in zip(columns, arrays, strict=True)])
    return encode_stream(schema, [RecordBatch(schema, arrays, 1)])
