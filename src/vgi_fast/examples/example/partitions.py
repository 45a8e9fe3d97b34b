"""Functions whose batches announce the values of their partition columns."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

from vgi_fast import Arg, Emit, table

Rows = Annotated[int, Arg(doc="Rows of each partition", ge=1)]
Partitions = Annotated[int, Arg(doc="Number of partitions", ge=1)]

COUNTRIES: Final = ("AU", "BR", "CA", "FR", "US")
REGIONS: Final = [(region, year) for region in ("AMER", "EMEA", "APAC") for year in (2023, 2024)]
CATEGORIES: Final = ("books", "music", "video")
SINGLE: Final = "SINGLE_VALUE_PARTITIONS"


@table(columns={"country": "utf8", "sales": "int64"}, partition_columns=["country"], partition_kind=SINGLE)
def country_partitioned_sales(rows_per_country: Rows) -> Iterator[dict[str, Any]]:
    """Sales, one batch per country"""
    for index, country in enumerate(COUNTRIES):
        sales = [index * 1_000_000 + i for i in range(rows_per_country)]
        yield {"country": [country] * rows_per_country, "sales": sales}


@table(
    columns={"region": "utf8", "year": "int64", "value": "float64"},
    partition_columns=["region", "year"],
    partition_kind=SINGLE,
)
def region_year_partitioned(rows_per_partition: Rows) -> Iterator[dict[str, Any]]:
    """Values, one batch per region and year"""
    for index, (region, year) in enumerate(REGIONS):
        yield {
            "region": [region] * rows_per_partition,
            "year": [year] * rows_per_partition,
            "value": [float(index * 1000 + i) for i in range(rows_per_partition)],
        }


@table(columns={"category": "utf8", "revenue": "int64"}, partition_columns=["category"], partition_kind=SINGLE)
def partitioned_with_explicit_override(rows_per_category: Rows) -> Iterator[Emit]:
    """Revenue, with values that the function gives itself"""
    for index, category in enumerate(CATEGORIES):
        revenue = [(index + 1) * 100 + i for i in range(rows_per_category)]
        batch = {"category": [category] * rows_per_category, "revenue": revenue}
        yield Emit(batch, partition_values={"category": (category, category)})


def _ranges(partitions: int, rows: int, step: int) -> Iterator[dict[str, Any]]:
    for part in range(partitions):
        yield {"key": [part * step + i for i in range(rows)], "value": [part * 10 + i for i in range(rows)]}


@table(columns={"key": "int64", "value": "int64"}, partition_columns=["key"], partition_kind="DISJOINT_PARTITIONS")
def disjoint_range_partitioned(partitions: Partitions, *, rows_per_partition: Rows = 10) -> Iterator[dict[str, Any]]:
    """Batches whose ranges of keys do not overlap"""
    return _ranges(partitions, rows_per_partition, 1000)


@table(columns={"key": "int64", "value": "int64"}, partition_columns=["key"], partition_kind="OVERLAPPING_PARTITIONS")
def overlapping_range_partitioned(partitions: Partitions, *, rows_per_partition: Rows = 10) -> Iterator[dict[str, Any]]:
    """Batches whose ranges of keys may overlap"""
    return _ranges(partitions, rows_per_partition, 500)


@table(columns={"country": "utf8", "sales": "int64"}, partition_columns=["country"], partition_kind=SINGLE)
def broken_partition_min_neq_max(count: Rows) -> Iterator[Emit]:
    """Announces two values where one is allowed"""
    yield Emit({"country": ["US"] * count, "sales": list(range(count))}, partition_values={"country": ("US", "BR")})


@table(columns={"country": "utf8", "sales": "int64"})
def broken_partition_values_no_annotation(count: Rows) -> Iterator[Emit]:
    """Announces values of a column that is no partition column"""
    yield Emit({"country": ["US"] * count, "sales": list(range(count))}, partition_values={"country": ("US", "US")})


FUNCTIONS: Final = [
    country_partitioned_sales,
    region_year_partitioned,
    partitioned_with_explicit_override,
    disjoint_range_partitioned,
    overlapping_range_partitioned,
    broken_partition_min_neq_max,
    broken_partition_values_no_annotation,
]
