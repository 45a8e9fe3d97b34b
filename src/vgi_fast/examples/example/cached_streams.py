"""Results that come from several streams or by partition, and that DuckDB may keep.

What a function declares as ``cache_control`` goes beside the first rows of each stream.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from vgi_fast import (
    Arg,
    CacheControl,
    Emit,
    GlobalInitResponse,
    InitParams,
    OutputCollector,
    ProcessParams,
    TableFunctionGenerator,
    table,
)

Rows = Annotated[int, Arg(doc="Number of rows", ge=0)]
RowsPerPartition = Annotated[int, Arg(doc="Rows of each partition", ge=1)]

KEPT: Final[CacheControl] = {"ttl": 300}
KEPT_BY_PARTITION: Final[CacheControl] = {"ttl": 300, "partition_scope": True}

COUNTRIES: Final = ("AU", "BR", "CA", "FR", "US")
SALES: Final = {"country": "utf8", "sales": "int64"}
SINGLE: Final = "SINGLE_VALUE_PARTITIONS"


def numbers(rows: range, size: int) -> Iterator[Any]:
    """Batches of so many rows."""
    import numpy as np

    for start in range(rows.start, rows.stop, size):
        yield np.arange(start, min(start + size, rows.stop))


STREAMS: Final = 24
SPAN: Final = Struct("<qq")


def share(params: InitParams[Any], count: int, size: int) -> GlobalInitResponse:
    """Queue the parts of ``range(count)`` for whatever process serves a stream."""
    spans = [(start, min(start + size, count)) for start in range(0, count, size)]
    params.storage.queue_push([SPAN.pack(*span) for span in spans])
    return GlobalInitResponse(STREAMS)


class Progress:
    """What is left of the part that one stream works on."""

    def __init__(self) -> None:
        self.rows = range(0)

    def take(self, params: ProcessParams[Any], size: int) -> range:
        """The next rows, of a new part if need be; none when all parts are taken."""
        if not self.rows:
            span = params.storage.queue_pop()
            self.rows = range(0) if span is None else range(*SPAN.unpack(span))
        taken, self.rows = self.rows[:size], self.rows[size:]
        return taken


class ParallelArguments(NamedTuple):
    rows: Annotated[int, Arg(0, doc="Number of rows", ge=0)]
    batch_size: Annotated[int, Arg("batch_size", doc="Rows per batch", ge=1)] = 24_000


class CacheParallel(TableFunctionGenerator[ParallelArguments, Progress]):
    """Numbers from several streams, in no order"""

    FIXED_SCHEMA = "v: int64"
    CACHE_CONTROL = KEPT

    class Meta:
        max_workers = STREAMS

    @classmethod
    def on_init(cls, params: InitParams[ParallelArguments]) -> GlobalInitResponse:
        return share(params, params.args.rows, max(1, -(-params.args.rows // STREAMS)))

    @classmethod
    def initial_state(cls, params: ProcessParams[ParallelArguments]) -> Progress:
        return Progress()

    @classmethod
    def process(cls, params: ProcessParams[ParallelArguments], state: Progress, out: OutputCollector) -> None:
        rows = state.take(params, params.args.batch_size)
        if rows:
            out.emit(next(numbers(rows, len(rows))))
        else:
            out.finish()


class OrderedArguments(NamedTuple):
    rows: Annotated[int, Arg("rows", doc="Number of rows", ge=0)] = 200_000
    chunk_size: Annotated[int, Arg("chunk_size", doc="Rows that stay together", ge=1)] = 1000


class CacheOrdered(TableFunctionGenerator[OrderedArguments, Progress]):
    """Numbers from several streams, which DuckDB puts in order"""

    FIXED_SCHEMA = "n: int64"
    CACHE_CONTROL = KEPT

    class Meta:
        max_workers = STREAMS
        order_preservation = "FIXED_ORDER"
        supports_batch_index = True

    @classmethod
    def on_init(cls, params: InitParams[OrderedArguments]) -> GlobalInitResponse:
        return share(params, params.args.rows, params.args.chunk_size)

    @classmethod
    def initial_state(cls, params: ProcessParams[OrderedArguments]) -> Progress:
        return Progress()

    @classmethod
    def process(cls, params: ProcessParams[OrderedArguments], state: Progress, out: OutputCollector) -> None:
        rows = state.take(params, 256)
        if rows:
            out.emit(rows, batch_index=rows.start // params.args.chunk_size)
        else:
            out.finish()


# --- by partition -------------------------------------------------------------------------------------------------


def sales_of(country: str | None, index: int, rows: int) -> dict[str, Any]:
    return {"country": [country] * rows, "sales": range(index * 1_000_000, index * 1_000_000 + rows)}


@table(columns=SALES, partition_columns=["country"], partition_kind=SINGLE, cache_control=KEPT)
def cache_partitioned(rows_per_country: RowsPerPartition) -> Iterator[dict[str, Any]]:
    """Partitions that are kept as one result"""
    for index, country in enumerate(COUNTRIES):
        yield sales_of(country, index, rows_per_country)


@table(
    columns=SALES,
    partition_columns=["country"],
    partition_kind=SINGLE,
    cache_control=KEPT_BY_PARTITION,
    filter_pushdown=True,
)
def cache_partition_scope(rows_per_country: RowsPerPartition) -> Iterator[dict[str, Any]]:
    """Partitions that are kept one by one"""
    for index, country in enumerate(COUNTRIES):
        yield sales_of(country, index, rows_per_country)


@table(
    columns={"region": "utf8", "year": "int64", "amount": "int64"},
    partition_columns=["region", "year"],
    partition_kind=SINGLE,
    cache_control=KEPT_BY_PARTITION,
    filter_pushdown=True,
)
def cache_partition_multicol(rows_per_partition: RowsPerPartition) -> Iterator[dict[str, Any]]:
    """Partitions of two columns"""
    rows = rows_per_partition
    for index, (region, year) in enumerate([("EU", 2020), ("EU", 2022), ("US", 2020), ("US", 2022)]):
        yield {"region": [region] * rows, "year": [year] * rows, "amount": range(index * 1000, index * 1000 + rows)}


@table(
    columns={**SALES, "extra": "int64"},
    partition_columns=["country"],
    partition_kind=SINGLE,
    cache_control=KEPT_BY_PARTITION,
    filter_pushdown=True,
    projection_pushdown=True,
)
def cache_partition_proj(rows_per_country: RowsPerPartition) -> Iterator[Emit]:
    """Partitions whose value is told even if the query does not read it"""
    for index, country in enumerate(("CA", "US")):
        batch = sales_of(country, index, rows_per_country)
        extra = [sales + 500 for sales in batch["sales"]]
        yield Emit({**batch, "extra": extra}, partition_values={"country": (country, country)})


class PartitionArguments(NamedTuple):
    rows_per_country: Annotated[int, Arg(0, doc="Rows of each partition", ge=1)]


class CachePartitionParallel(TableFunctionGenerator[PartitionArguments]):
    """Partitions from several streams, one of them of NULL"""

    FIXED_SCHEMA: ClassVar[Any] = SALES
    CACHE_CONTROL = KEPT_BY_PARTITION
    COUNTRIES: ClassVar = ("AU", "CA", "US", None)

    class Meta:
        max_workers = STREAMS
        partition_columns: ClassVar = ["country"]
        partition_kind = SINGLE
        filter_pushdown = True

    @classmethod
    def on_init(cls, params: InitParams[PartitionArguments]) -> GlobalInitResponse:
        params.storage.queue_push([bytes([index]) for index in range(len(cls.COUNTRIES))])
        return GlobalInitResponse(len(cls.COUNTRIES))

    @classmethod
    def process(cls, params: ProcessParams[PartitionArguments], state: Any, out: OutputCollector) -> None:
        part = params.storage.queue_pop()
        if part is None:
            return out.finish()
        country = cls.COUNTRIES[part[0]]
        batch = sales_of(country, part[0], params.args.rows_per_country)
        out.emit(batch, partition_values={"country": (country, country)})
        return None


FUNCTIONS: Final = [
    CacheParallel,
    CacheOrdered,
    cache_partitioned,
    cache_partition_scope,
    cache_partition_multicol,
    cache_partition_proj,
    CachePartitionParallel,
]
