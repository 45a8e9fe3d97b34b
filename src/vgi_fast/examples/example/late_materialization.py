"""A scan whose rows DuckDB finds by their row ids, after it has chosen them by other columns."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final

from vgi_fast import (
    Arg,
    Field,
    InitParams,
    OutputCollector,
    ProcessParams,
    PushdownFilters,
    Schema,
    TableFunctionGenerator,
)
from vgi_fast.examples.example.scans import ROW_ID

FACTOR: Final = 2_654_435_761
MODULUS: Final = 1_000_000_007
"""``ord`` is the row's number times the factor: as good as in disorder, without a value twice."""
NOTHING: Final = "rid:in=0;rng=none"


class Arguments:
    count: Annotated[int, Arg(0, doc="Number of rows", ge=0)]
    batch_size: Annotated[int, Arg("batch_size", doc="Rows per batch", ge=1)] = 2048
    dup_row_id: Annotated[bool, Arg("dup_row_id", doc="Two rows for each row id, which is not allowed")] = False
    null_ord_stride: Annotated[int, Arg("null_ord_stride", doc="Every so many rows ord is NULL", ge=0)] = 0

    def __init__(self, count: int, batch_size: int, dup_row_id: bool, null_ord_stride: int) -> None:
        self.count = count
        self.batch_size = batch_size
        self.dup_row_id = dup_row_id
        self.null_ord_stride = null_ord_stride


def witness(filters: PushdownFilters) -> str:
    """What the filters say about the row id."""
    keys = filters.in_values("row_id") or []
    bounds = filters.bounds("row_id")
    shown = "none" if not bounds else f"{_side(bounds.lower)}..{_side(bounds.upper)}"
    return f"rid:in={len(keys)};rng={shown}"


def _side(bound: int | None) -> str:
    return "" if bound is None else str(bound)


def wanted(filters: PushdownFilters, args: Arguments) -> Sequence[int]:
    """Only rows whose ids may pass are made at all: this is what late materialization is for."""
    rows_per_id = 2 if args.dup_row_id else 1
    all_rows = range(args.count)
    keys = filters.values("row_id")
    if keys is not None:
        rows = (key * rows_per_id + copy for key in sorted(keys) for copy in range(rows_per_id))
        return [row for row in rows if row in all_rows]
    bounds = filters.bounds("row_id")
    first = 0 if bounds.lower is None else max(0, bounds.lower * rows_per_id)
    last = args.count if bounds.upper is None else max(0, (bounds.upper + 1) * rows_per_id)
    return all_rows[first:last]


class Progress:
    """The rows that one stream has yet to make, and what it last saw of the filters."""

    def __init__(self, rows: Sequence[int], seen: str) -> None:
        self.rows = rows
        self.seen = seen


class LateMaterialization(TableFunctionGenerator[Arguments, Progress]):
    """Rows whose ids DuckDB pushes down once it knows which ones it needs"""

    FIXED_SCHEMA: ClassVar[Any] = Schema(
        [
            Field("row_id", "int64", True, ROW_ID),
            Field("ord", "int64"),
            Field("payload", "utf8"),
            Field("pushed", "utf8"),
        ]
    )

    class Meta:
        projection_pushdown = True
        filter_pushdown = True
        late_materialization = True

    @classmethod
    def cardinality(cls, params: InitParams[Arguments]) -> int:  # type: ignore[override]
        return params.args.count

    @classmethod
    def initial_state(cls, params: ProcessParams[Arguments]) -> Progress:
        return Progress(wanted(params.filters, params.args), witness(params.filters))

    @classmethod
    def process(cls, params: ProcessParams[Arguments], state: Progress, out: OutputCollector) -> None:
        if not state.rows:
            return out.finish()
        args = params.args
        rows, state.rows = state.rows[: args.batch_size], state.rows[args.batch_size :]
        seen = witness(params.filters)
        if seen != NOTHING:
            state.seen = seen
        stride = args.null_ord_stride
        columns: dict[str, Any] = {}
        for name in params.required_columns:
            if name == "row_id":
                columns[name] = [row // 2 for row in rows] if args.dup_row_id else rows
            elif name == "ord":
                columns[name] = [None if stride and row % stride == 0 else row * FACTOR % MODULUS for row in rows]
            elif name == "payload":
                columns[name] = [f"payload_{row}" for row in rows]
            else:
                columns[name] = [state.seen] * len(rows)
        return out.emit(columns)


FUNCTIONS: Final = [LateMaterialization]
