"""What the hooks of an aggregate receive: bind and process parameters, partitions, and the run they belong to."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import ProtocolError, TypeMismatchError
from vgi_fast.functions.context import ANONYMOUS, Arguments, BindParams, CallerIdentity, TArgs
from vgi_fast.storage import BoundStorage
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import Array, Field, RecordBatch, Schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vgi_fast._core import Groups
    from vgi_fast.functions.aggregates.declaration import AggregateSpec
    from vgi_fast.functions.arguments import GivenArguments
    from vgi_fast.storage import Storage
    from vgi_fast.storage.groups import GroupRecords
    from vgi_fast.wire.arrow import DataType

__all__ = ["AggregateArguments", "AggregateBindParams", "AggregateParams", "Aggregation", "WindowPartition"]

NAME_BYTES: Final = 16


class AggregateArguments(Arguments):
    """Constants by name; ``positional`` has them as pyarrow scalars, numbered over constants only."""

    __slots__ = ("_given",)

    def __init__(self, values: dict[str, Any], given: GivenArguments) -> None:
        super().__init__(values)
        self._given = given

    @property
    def positional(self) -> list[Any]:
        return [Array.from_pylist([one.value], one.type).to_arrow()[0] for one in self._given.positional]


class AggregateBindParams(BindParams[TArgs]):
    """What is known when an aggregate is bound."""

    __slots__ = ()

    @property
    def auth_context(self) -> CallerIdentity:
        return self.auth


class AggregateParams:
    """What is known while an aggregate runs."""

    __slots__ = ("args", "auth", "output_schema", "secrets", "settings", "storage")

    def __init__(
        self, args: AggregateArguments, output_schema: Schema, storage: BoundStorage, settings: dict[str, Any]
    ) -> None:
        self.args = args
        self.output_schema = output_schema
        """Empty in update and combine."""
        self.storage = storage
        self.settings = settings
        self.secrets: dict[str, Any] = {}
        self.auth: CallerIdentity = ANONYMOUS

    @property
    def auth_context(self) -> CallerIdentity:
        return self.auth


class Aggregation:
    """One bound aggregate as one process sees it: the same execution in another process has an equal one."""

    def __init__(
        self,
        spec: AggregateSpec,
        name: bytes,
        given: GivenArguments,
        values: dict[str, Any],
        input_schema: Schema | None,
        output_type: DataType | None,
        settings: dict[str, Any],
        storage: Storage,
    ) -> None:
        self.spec = spec
        self.name = name
        self.given = given
        self.values = values
        """Constants by Python name."""
        self.settings = settings
        self.storage = storage
        self.input_types: list[DataType] = spec.column_types(input_schema)
        """Of the value columns; of a varargs function as many as were bound."""
        self.output_type = output_type or spec.result_type
        self._records: GroupRecords | None = None
        self._local = threading.local()
        self.session: Any = None
        """Of a streamed execution, whatever keeps its state."""
        self._understood: tuple[Schema | None, int, list[int], bool] = (None, 0, [], False)
        """How the batches of the last schema are laid out."""
        self.engine = spec.engine(self)

    @property
    def records(self) -> GroupRecords:
        if self._records is None:
            from vgi_fast.storage.groups import group_records

            engine = self.engine
            self._records = group_records(self.storage, self.name, engine.stride, engine.layout)
        return self._records

    @property
    def groups(self) -> Groups:
        """Of this thread, used again by each request."""
        found: Groups | None = getattr(self._local, "groups", None)
        if found is None:
            from vgi_fast._core import Groups as CoreGroups

            found = self._local.groups = CoreGroups(self.engine.stride)
        return found

    def params(self, output_schema: Schema | None = None) -> AggregateParams:
        return AggregateParams(
            AggregateArguments(self.values, self.given),
            Schema([]) if output_schema is None else output_schema,
            BoundStorage(self.storage, self.name),
            self.settings,
        )

    def result_schema(self) -> Schema:
        assert self.output_type is not None
        return Schema([Field("result", self.output_type)])

    def shaped(self, batch: RecordBatch) -> tuple[Array, RecordBatch, list[int]]:
        """Group ids, the batch with the types that were bound, and where its values are.

        The session's Arrow settings may deliver, say, large_utf8 for utf8.
        """
        schema = batch.schema
        understood = self._understood
        if schema is not understood[0]:
            understood = self._understood = (schema, *self._understand(schema))
        _, group_column, columns, fits = understood
        ids = batch.column(group_column)
        if not fits:
            batch = self.cast(batch, columns)
            columns = list(range(len(columns)))
        return ids, batch, columns

    def _understand(self, schema: Schema) -> tuple[int, list[int], bool]:
        try:
            group_column = schema.index(keys.GROUP_ID)
        except KeyError:
            raise ProtocolError(f"an update without the column '{keys.GROUP_ID}': {schema}") from None
        columns = [index for index in range(len(schema)) if index != group_column]
        return group_column, columns, self.fits([schema[index].type for index in columns])

    def fits(self, types: list[DataType]) -> bool:
        """Whether columns have the bound types; another number of them is an error."""
        if len(types) != len(self.input_types):
            raise TypeMismatchError(f"{self.spec.where}: {len(types)} columns, bound to {len(self.input_types)}")
        return types == self.input_types

    def cast(self, batch: RecordBatch, columns: list[int]) -> RecordBatch:
        arrays = [batch.column(index).cast(type) for index, type in zip(columns, self.input_types, strict=True)]
        schema = Schema([Field(f"col_{index}", type) for index, type in enumerate(self.input_types)])
        return RecordBatch(schema, arrays, batch.num_rows)


class WindowPartition:
    """The rows of one hash group: what ``window`` hooks read."""

    def __init__(self, inputs: RecordBatch, mask: bytes, frame_stats: bytes) -> None:
        self.batch = inputs
        self.row_count = inputs.num_rows
        self.mask = mask
        """Bit i, least significant first, tells whether row i passed FILTER; empty where all did."""
        self._frame_stats = frame_stats
        self._inputs: Any = None

    @property
    def inputs(self) -> Any:
        """The value columns as a pyarrow batch."""
        if self._inputs is None:
            self._inputs = self.batch.to_arrow()
        return self._inputs

    @property
    def filter_mask(self) -> Any:
        """Boolean NumPy array, True where a row takes part."""
        import numpy as np

        if not self.mask:
            return np.ones(self.row_count, bool)
        bits = np.unpackbits(np.frombuffer(self.mask, np.uint8), bitorder="little")
        return bits[: self.row_count].astype(bool)

    @property
    def frame_stats(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Bounds of frame begins and ends relative to the row: a hint."""
        data = self._frame_stats
        if len(data) < 32:
            return (0, 0), (0, 0)
        numbers = [int.from_bytes(data[at : at + 8], "little", signed=True) for at in range(0, 32, 8)]
        return (numbers[0], numbers[1]), (numbers[2], numbers[3])

    @property
    def all_valid(self) -> list[bool]:
        """By column, whether nothing is null."""
        return [column.null_count == 0 for column in self.batch.columns]

    def filter(self, start: int, end: int) -> list[int]:
        """Rows of [start, end) that take part."""
        start, end = max(start, 0), min(end, self.row_count)
        mask = self.mask
        return [row for row in range(start, end) if not mask or mask[row >> 3] >> (row & 7) & 1]

    def rows(self, frames: list[tuple[int, int]]) -> Iterator[int]:
        """Rows of several frames that take part, ascending."""
        for start, end in frames:
            yield from self.filter(start, end)
