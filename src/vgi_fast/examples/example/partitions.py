"""Functions whose batches announce the values of their partition columns. Their streams share the partitions."""

from typing import Annotated, Any, ClassVar, Final, TypeVar

from vgi_fast import Arg, GlobalInitResponse, InitParams, OutputCollector, ProcessParams, TableFunctionGenerator
from vgi_fast.examples.example.work import STREAMS, share, split, take

COUNTRIES: Final = ("AU", "BR", "CA", "FR", "US")
REGIONS: Final = [(region, year) for region in ("AMER", "EMEA", "APAC") for year in (2023, 2024)]
CATEGORIES: Final = ("books", "music", "video")
SINGLE: Final = "SINGLE_VALUE_PARTITIONS"


class RowsPerCountry:
    rows_per_country: Annotated[int, Arg(0, doc="Rows of each country", ge=1)]

    def __init__(self, rows_per_country: int) -> None:
        self.rows_per_country = rows_per_country


class RowsPerPartition:
    rows_per_partition: Annotated[int, Arg(0, doc="Rows of each partition", ge=1)]

    def __init__(self, rows_per_partition: int) -> None:
        self.rows_per_partition = rows_per_partition


class RowsPerCategory:
    rows_per_category: Annotated[int, Arg(0, doc="Rows of each category", ge=1)]

    def __init__(self, rows_per_category: int) -> None:
        self.rows_per_category = rows_per_category


class Partitions:
    partitions: Annotated[int, Arg(0, doc="Number of partitions", ge=1)]
    rows_per_partition: Annotated[int, Arg("rows_per_partition", doc="Rows of each partition", ge=1)] = 10

    def __init__(self, partitions: int, rows_per_partition: int) -> None:
        self.partitions = partitions
        self.rows_per_partition = rows_per_partition


TArgs = TypeVar("TArgs")


class PartitionByPartition(TableFunctionGenerator[TArgs, None]):
    """Each part of the work is a partition, so a batch never holds rows of two."""

    class Meta:
        max_workers = STREAMS
        partition_kind = SINGLE

    @classmethod
    def partitions(cls, args: TArgs) -> int:
        """How many there are."""
        raise NotImplementedError

    @classmethod
    def emit(cls, index: int, args: TArgs, out: OutputCollector) -> None:
        """The rows of one of them."""
        raise NotImplementedError

    @classmethod
    def on_init(cls, params: InitParams[TArgs]) -> GlobalInitResponse:
        return share(params, split(cls.partitions(params.args), 1))

    @classmethod
    def process(cls, params: ProcessParams[TArgs], state: None, out: OutputCollector) -> None:
        part = take(params)
        return out.finish() if part is None else cls.emit(part.number, params.args, out)


class CountryPartitionedSales(PartitionByPartition[RowsPerCountry]):
    """Sales, one batch per country"""

    FIXED_SCHEMA = "country: utf8, sales: int64"

    class Meta:
        partition_columns: ClassVar[list[str]] = ["country"]

    @classmethod
    def partitions(cls, args: RowsPerCountry) -> int:
        return len(COUNTRIES)

    @classmethod
    def emit(cls, index: int, args: RowsPerCountry, out: OutputCollector) -> None:
        rows, first = args.rows_per_country, index * 1_000_000
        out.emit({"country": [COUNTRIES[index]] * rows, "sales": range(first, first + rows)})


class RegionYearPartitioned(PartitionByPartition[RowsPerPartition]):
    """Values, one batch per region and year"""

    FIXED_SCHEMA = "region: utf8, year: int64, value: float64"

    class Meta:
        partition_columns: ClassVar[list[str]] = ["region", "year"]

    @classmethod
    def partitions(cls, args: RowsPerPartition) -> int:
        return len(REGIONS)

    @classmethod
    def emit(cls, index: int, args: RowsPerPartition, out: OutputCollector) -> None:
        rows = args.rows_per_partition
        region, year = REGIONS[index]
        values = [float(index * 1000 + row) for row in range(rows)]
        out.emit({"region": [region] * rows, "year": [year] * rows, "value": values})


class PartitionedWithExplicitOverride(PartitionByPartition[RowsPerCategory]):
    """Revenue, with values that the function gives itself"""

    FIXED_SCHEMA = "category: utf8, revenue: int64"

    class Meta:
        partition_columns: ClassVar[list[str]] = ["category"]

    @classmethod
    def partitions(cls, args: RowsPerCategory) -> int:
        return len(CATEGORIES)

    @classmethod
    def emit(cls, index: int, args: RowsPerCategory, out: OutputCollector) -> None:
        category, rows, first = CATEGORIES[index], args.rows_per_category, (index + 1) * 100
        batch = {"category": [category] * rows, "revenue": range(first, first + rows)}
        out.emit(batch, partition_values={"category": (category, category)})


class DisjointRangePartitioned(PartitionByPartition[Partitions]):
    """Batches whose ranges of keys do not overlap"""

    FIXED_SCHEMA = "key: int64, value: int64"
    STEP: ClassVar[int] = 1000

    class Meta:
        partition_kind = "DISJOINT_PARTITIONS"
        partition_columns: ClassVar[list[str]] = ["key"]

    @classmethod
    def partitions(cls, args: Partitions) -> int:
        return args.partitions

    @classmethod
    def emit(cls, index: int, args: Partitions, out: OutputCollector) -> None:
        keys = range(index * cls.STEP, index * cls.STEP + args.rows_per_partition)
        out.emit({"key": keys, "value": range(index * 10, index * 10 + args.rows_per_partition)})


class OverlappingRangePartitioned(DisjointRangePartitioned):
    """Batches whose ranges of keys may overlap"""

    STEP = 500

    class Meta:
        partition_kind = "OVERLAPPING_PARTITIONS"


FUNCTIONS: Final[list[Any]] = [
    CountryPartitionedSales,
    RegionYearPartitioned,
    PartitionedWithExplicitOverride,
    DisjointRangePartitioned,
    OverlappingRangePartitioned,
]
