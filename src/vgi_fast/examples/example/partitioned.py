"""Producers whose streams share the work, and what DuckDB may know about the order of their rows."""

import os
from typing import Annotated, Any, ClassVar, Final, TypeVar

from vgi_fast import Arg, GlobalInitResponse, InitParams, OutputCollector, ProcessParams, TableFunctionGenerator
from vgi_fast.examples.example.filters import pushed_sql
from vgi_fast.examples.example.work import STREAMS, Part, share, split, take

ROWS_PER_BATCH: Final = 1000
MARKED_ROWS_PER_BATCH: Final = 256


class Count:
    count: Annotated[int, Arg(0, doc="Number of rows", ge=0)]

    def __init__(self, count: int) -> None:
        self.count = count


class Steps(Count):
    increment: Annotated[int, Arg("increment", doc="Difference of neighbours", ge=1)] = 1

    def __init__(self, count: int, increment: int) -> None:
        super().__init__(count)
        self.increment = increment


class Chunks(Count):
    chunk_size: Annotated[int, Arg("chunk_size", doc="Rows of each part", ge=1)] = 1000

    def __init__(self, count: int, chunk_size: int) -> None:
        super().__init__(count)
        self.chunk_size = chunk_size


class Progress:
    """What one stream works on: the rest of a part. ``shown`` is for functions that repeat something."""

    def __init__(self, shown: str = "") -> None:
        self.part = Part(0, range(0))
        self.shown = shown

    def next_rows(self, params: ProcessParams[Any], most: int = ROWS_PER_BATCH) -> range | None:
        """Up to ``most`` rows of one part; None when no part is left."""
        if not self.part.rows:
            part = take(params)
            if part is None:
                return None
            self.part = part
        rows, self.part.rows = self.part.rows[:most], self.part.rows[most:]
        return rows


TArgs = TypeVar("TArgs", bound=Count)


class InParts(TableFunctionGenerator[TArgs, Progress]):
    """What the functions here have in common: the numbers below ``count``, in parts that go to the streams."""

    class Meta:
        max_workers = STREAMS

    @classmethod
    def part_size(cls, args: TArgs) -> int:
        return ROWS_PER_BATCH

    @classmethod
    def cardinality(cls, params: InitParams[TArgs]) -> int:  # type: ignore[override]
        return params.args.count

    @classmethod
    def on_init(cls, params: InitParams[TArgs]) -> GlobalInitResponse:
        return share(params, split(params.args.count, cls.part_size(params.args)))

    @classmethod
    def initial_state(cls, params: ProcessParams[TArgs]) -> Progress:
        return Progress()


class PartitionedSequence(InParts[Steps]):
    """Generates a partitioned sequence for multi-worker execution"""

    FIXED_SCHEMA = "n: int64"

    @classmethod
    def part_size(cls, args: Steps) -> int:
        return max(1, -(-args.count // STREAMS))

    @classmethod
    def process(cls, params: ProcessParams[Steps], state: Progress, out: OutputCollector) -> None:
        rows = state.next_rows(params)
        if rows is None:
            return out.finish()
        step = params.args.increment
        return out.emit({"n": range(rows.start * step, rows.stop * step, step)})


class FilterEchoPartitioned(InParts[Count]):
    """Multi-worker partitioned sequence that echoes pushed-down filters"""

    FIXED_SCHEMA: ClassVar[dict[str, str]] = {"n": "int64", "worker_pid": "int64", "pushed_filters": "utf8"}

    class Meta:
        projection_pushdown = True
        filter_pushdown = True

    @classmethod
    def part_size(cls, args: Count) -> int:
        return max(1, -(-args.count // STREAMS))

    @classmethod
    def initial_state(cls, params: ProcessParams[Count]) -> Progress:
        return Progress(pushed_sql(params.filters))

    @classmethod
    def process(cls, params: ProcessParams[Count], state: Progress, out: OutputCollector) -> None:
        rows = state.next_rows(params)
        if rows is None:
            return out.finish()
        same = {"worker_pid": [os.getpid()] * len(rows), "pushed_filters": [state.shown] * len(rows)}
        return out.emit({"n": rows, **same})


class PartitionedPreservesOrder(InParts[Count]):
    """Rows from several streams; DuckDB keeps the order in which they arrive"""

    FIXED_SCHEMA = "n: int64"

    class Meta:
        order_preservation = "PRESERVES_ORDER"

    @classmethod
    def process(cls, params: ProcessParams[Count], state: Progress, out: OutputCollector) -> None:
        rows = state.next_rows(params)
        return out.finish() if rows is None else out.emit({"n": rows})


class PartitionedNoOrderGuarantee(PartitionedPreservesOrder):
    """Rows from several streams, in any order"""

    class Meta:
        order_preservation = "NO_ORDER_GUARANTEE"


class PartitionedFixedOrder(PartitionedPreservesOrder):
    """Rows in order: DuckDB opens one stream only"""

    class Meta:
        order_preservation = "FIXED_ORDER"


class PartitionedBatchIndex(PartitionedFixedOrder):
    """Rows in order although there are several streams: each batch says where it belongs"""

    class Meta:
        supports_batch_index = True

    @classmethod
    def process(cls, params: ProcessParams[Count], state: Progress, out: OutputCollector) -> None:
        rows = state.next_rows(params)
        return out.finish() if rows is None else out.emit({"n": rows}, batch_index=state.part.number)


class PartitionedBatchIndexMarked(InParts[Chunks]):
    """Places of rows that several streams make in order, each part in batches of one index"""

    FIXED_SCHEMA = "partition_id: int64, seq: int64"

    class Meta:
        order_preservation = "FIXED_ORDER"
        supports_batch_index = True

    @classmethod
    def part_size(cls, args: Chunks) -> int:
        return args.chunk_size

    @classmethod
    def process(cls, params: ProcessParams[Chunks], state: Progress, out: OutputCollector) -> None:
        rows = state.next_rows(params, MARKED_ROWS_PER_BATCH)
        if rows is None:
            return out.finish()
        number = state.part.number
        first = number * params.args.chunk_size
        places = range(rows.start - first, rows.stop - first)
        return out.emit({"partition_id": [number] * len(rows), "seq": places}, batch_index=number)


FUNCTIONS: Final = [
    PartitionedSequence,
    FilterEchoPartitioned,
    PartitionedPreservesOrder,
    PartitionedNoOrderGuarantee,
    PartitionedFixedOrder,
    PartitionedBatchIndex,
    PartitionedBatchIndexMarked,
]
