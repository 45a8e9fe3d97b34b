"""Functions that break what they declare, to see who notices.

The library refuses most of it before anything is sent. ``unchecked`` lets a function past these checks, so that
DuckDB has something to refuse.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from vgi_fast import Arg, Emit, ProcessParams, table
from vgi_fast.functions.emission import Emission
from vgi_fast.functions.spec import attach_spec
from vgi_fast.functions.table import TableSpec, table_spec
from vgi_fast.wire import keys

if TYPE_CHECKING:
    from collections.abc import Mapping

F = TypeVar("F", bound=Callable[..., Any])
Rows = Annotated[int, Arg(doc="Number of rows", ge=1)]

N: Final = {"n": "int64"}
INDEXED: Final[dict[str, Any]] = {"order_preservation": "FIXED_ORDER", "supports_batch_index": True}
SALES: Final = {"country": "utf8", "sales": "int64"}
BY_COUNTRY: Final[dict[str, Any]] = {"partition_columns": ["country"], "partition_kind": "SINGLE_VALUE_PARTITIONS"}


class UncheckedSpec(TableSpec):
    """Sends what its function yields and nothing beside it, whatever was declared."""

    __slots__ = ()

    def _emission(self, params: ProcessParams[Any]) -> Emission:
        return Emission(self.where)


def unchecked(**options: Any) -> Callable[[F], F]:
    """As ``table``, for a function that need not keep its word."""

    def declare(function: F) -> F:
        made = table_spec(function, options)
        attach_spec(function, UncheckedSpec(made.name, made.signature, made.options, function, made.where))
        return function

    return declare


def indexed(rows: range | list[int], index: int) -> Emit:
    """A batch with an index that nobody has looked at."""
    return Emit({"n": rows}, metadata={keys.BATCH_INDEX: str(index).encode()})


def us_sales(count: int) -> "Mapping[str, Any]":
    return {"country": ["US"] * count, "sales": range(count)}


@unchecked(columns=N, **INDEXED)
def broken_missing_batch_index_tag(count: Rows) -> Iterator[range]:
    """Announces batch indexes and gives none"""
    yield range(count)


@unchecked(columns=N, **INDEXED)
def broken_non_monotone_batch_index(count: Rows) -> Iterator[Emit]:
    """Goes back to a smaller batch index"""
    yield indexed(range(count), 10)
    yield indexed([42], 3)


@unchecked(columns=N, **INDEXED)
def broken_batch_index_overflow(count: Rows) -> Iterator[Emit]:
    """Gives a larger batch index than DuckDB has room for"""
    yield indexed(range(count), 1 << 60)


@unchecked(columns=SALES, **BY_COUNTRY)
def broken_missing_partition_values(count: Rows) -> Iterator[Any]:
    """Announces partition columns and none of their values"""
    yield us_sales(count)


@table(columns=SALES, **BY_COUNTRY)
def broken_partition_min_neq_max(count: Rows) -> Iterator[Emit]:
    """Announces two values where one is allowed"""
    yield Emit(us_sales(count), partition_values={"country": ("US", "BR")})


@table(columns=SALES)
def broken_partition_values_no_annotation(count: Rows) -> Iterator[Emit]:
    """Announces values of a column that is no partition column"""
    yield Emit(us_sales(count), partition_values={"country": ("US", "US")})


@table(
    columns={"category": "utf8", "revenue": "int64"},
    partition_columns=["category"],
    partition_kind="SINGLE_VALUE_PARTITIONS",
)
def broken_partition_column_absent_from_batch(count: Rows) -> Iterator[dict[str, range]]:
    """Leaves out its partition column"""
    yield {"revenue": range(count)}


FUNCTIONS: Final = [
    broken_missing_batch_index_tag,
    broken_non_monotone_batch_index,
    broken_batch_index_overflow,
    broken_missing_partition_values,
    broken_partition_min_neq_max,
    broken_partition_values_no_annotation,
    broken_partition_column_absent_from_batch,
]
