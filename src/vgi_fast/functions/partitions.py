"""Partition columns: how they are declared, and the values that travel beside each batch (section 8).

    @worker.table(columns={"country": "utf8", "sales": "int64"}, partition_columns=["country"],
                  partition_kind="single_value_partitions")

With ``SINGLE_VALUE_PARTITIONS`` DuckDB takes the group key of GROUP BY from these values and never looks at the
rows, so a batch that mixes two values, NULL being one, is refused here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import ArgumentError, DefinitionError
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import Array, Field, PartitionPlan, Schema, different

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vgi_fast.wire.arrow import RecordBatch, TypeLike

__all__ = ["PartitionTagger", "check_declaration", "partition_field", "row_id_field"]

NOT_PARTITIONED: Final = "NOT_PARTITIONED"
SINGLE_VALUE: Final = "SINGLE_VALUE_PARTITIONS"


def partition_field(name: str, type: TypeLike, nullable: bool = True) -> Field:
    """A column whose values each batch announces."""
    return Field(name, type, nullable, {keys.PARTITION_COLUMN: keys.TRUE})


def row_id_field(name: str, type: TypeLike = "int64", nullable: bool = False) -> Field:
    """The column behind the virtual column ``rowid`` of a table."""
    return Field(name, type, nullable, {keys.ROW_ID: keys.TRUE})


def annotated(schema: Schema, names: Iterable[str], where: str) -> Schema:
    """The schema with these columns marked as partition columns."""
    wanted = list(names)
    unknown = [name for name in wanted if name not in schema.names]
    if unknown:
        raise DefinitionError(f"{where}: partition columns {unknown} are not among its columns {schema.names}")
    return Schema([_marked(field) if field.name in wanted else field for field in schema.fields])


def _marked(field: Field) -> Field:
    metadata: dict[bytes | str, bytes | str] = {keys.PARTITION_COLUMN: keys.TRUE}
    for key, value in field.metadata.items():
        metadata[key] = value
    return Field(field.name, field.type, field.nullable, metadata)


def partition_columns(schema: Schema) -> list[int]:
    return [i for i, field in enumerate(schema.fields) if field.metadata.get(keys.PARTITION_COLUMN) == keys.TRUE]


def check_declaration(schema: Schema, kind: str, where: str) -> None:
    """Kind and annotations must agree: DuckDB refuses the one, and ignores the other silently."""
    columns = [schema.fields[i].name for i in partition_columns(schema)]
    if kind != NOT_PARTITIONED and not columns:
        raise DefinitionError(
            f"{where}: partition_kind is {kind} but no column is annotated with vgi.partition_column",
            hint='name the columns with partition_columns=["..."], or use partition_field(...)',
        )
    if kind == NOT_PARTITIONED and columns:
        raise DefinitionError(
            f"{where}: the columns {columns} are annotated with vgi.partition_column but partition_kind is "
            f"{NOT_PARTITIONED}"
        )


class PartitionTagger:
    """Makes the payload of each batch of one stream. ``full`` is the schema of the bind, ``emitted`` the batches'."""

    __slots__ = ("_fields", "_plan", "_positions", "_single", "_where")

    def __init__(self, full: Schema, emitted: Schema, kind: str, where: str) -> None:
        self._where = where
        self._single = kind == SINGLE_VALUE
        self._fields = [full.fields[i] for i in partition_columns(full)]
        names = emitted.names
        self._positions = [names.index(field.name) if field.name in names else -1 for field in self._fields]
        self._plan = PartitionPlan(Schema(self._fields), self._single)

    def payload(self, batch: RecordBatch, explicit: Mapping[str, Any] | None = None) -> bytes:
        """``explicit`` gives (least, greatest) for columns whose values are not read from the batch."""
        columns: list[Any] = []
        for field, position in zip(self._fields, self._positions, strict=True):
            if explicit and field.name in explicit:
                columns.append(self._pair(field, explicit[field.name]))
            elif position < 0:
                raise ArgumentError(
                    f"column '{field.name}' is partition-annotated but absent from emitted batch; pass "
                    f"partition_values={{'{field.name}': (least, greatest)}}"
                )
            else:
                columns.append(batch.column(position))
        payload = self._plan.encode(columns)
        if payload is None:
            self._refuse(columns)
        return payload  # type: ignore[return-value]

    def _refuse(self, columns: list[Any]) -> None:
        for field, column in zip(self._fields, columns, strict=True):
            count = different(column) if isinstance(column, Array) else 1
            if count > 1:
                raise ArgumentError(
                    f"column '{field.name}' has {count} distinct values; partition_kind=SINGLE_VALUE_PARTITIONS "
                    "requires 1",
                    detail="NULL counts as a value." if isinstance(column, Array) and column.null_count else None,
                )

    def _pair(self, field: Field, given: Any) -> tuple[Array, Array]:
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise ArgumentError(f"partition_values['{field.name}'] must be (min, max) tuple; got {given!r:.80}")
        return self._one(field, given[0], "min"), self._one(field, given[1], "max")

    def _one(self, field: Field, value: Any, side: str) -> Array:
        if hasattr(value, "as_py") and hasattr(value, "type"):  # a pyarrow scalar
            import pyarrow as pa

            array = Array.from_arrow(pa.array([value.as_py()], value.type))
            if array.type != field.type:
                raise ArgumentError(
                    f"partition_values['{field.name}'] {side} type mismatch: declared {field.type}, got {array.type}"
                )
            return array
        try:
            return Array.from_pylist([value], field.type)
        except ArgumentError as error:
            raise ArgumentError(
                f"partition_values['{field.name}'] {side} type mismatch: declared {field.type}, got {value!r:.80}"
            ) from error
