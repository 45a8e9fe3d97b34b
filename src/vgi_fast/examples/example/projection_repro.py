"""Catalog ``projection_repro``: wide rows, of which a query reads a few columns."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

from vgi_fast import Arg, Catalog, CatalogSchema, GlobalInitResponse, OutputCollector, Projection, Schema, Table, table
from vgi_fast.functions.context import ProcessParams
from vgi_fast.functions.table import TableFunctionGenerator

Count = Annotated[int, Arg(doc="Number of rows", ge=0)]

COLUMNS: Final = Schema.parse(
    "topic: utf8!, partition: int32!, offset: int64!, timestamp: timestamp[ms, tz=UTC], timestamp_type: utf8, "
    "key: binary, key_string: utf8, key_schema_id: int32, value: binary, value_string: utf8, value_schema_id: int32, "
    "headers: list<struct<k: utf8, v: binary>>!"
)
PARTITIONS: Final = 4
CHUNK_ROWS: Final = 2
WORKERS: Final = 4


def column(name: str, rows: range) -> list[Any]:
    """Values of one column; those without a rule are null."""
    makers: dict[str, Any] = {
        "topic": lambda row: "demo_topic",
        "partition": lambda row: row % PARTITIONS,
        "offset": lambda row: row,
        "key": lambda row: b"k%d" % row,
        "key_string": lambda row: f"k{row}",
        "value": lambda row: b"v%d" % row,
        "value_string": lambda row: f"v{row}",
        "headers": lambda row: [],
    }
    make = makers.get(name, lambda row: None)
    return [make(row) for row in rows]


def full_rows(rows: range) -> dict[str, list[Any]]:
    return {name: column(name, rows) for name in COLUMNS.names}


@table(columns=COLUMNS, projection_pushdown=True)
def proj_repro_strict(count: Count, wanted: Projection) -> Iterator[dict[str, list[Any]]]:
    """Makes exactly the columns that are read"""
    names = wanted or ["offset"]  # without a column, the number of rows still counts
    yield {name: column(name, range(count)) for name in names}


@table(columns=COLUMNS, projection_pushdown=True)
def proj_repro_full_schema(count: Count) -> Iterator[dict[str, list[Any]]]:
    """Makes every column, whatever is read"""
    yield full_rows(range(count))


@table(columns=COLUMNS, projection_pushdown=True)
def proj_repro_chunked(count: Count) -> Iterator[dict[str, list[Any]]]:
    """Makes every column, two rows at a time"""
    for start in range(0, count, CHUNK_ROWS):
        yield full_rows(range(start, min(start + CHUNK_ROWS, count)))


class CountArguments:
    count: Count

    def __init__(self, count: int) -> None:
        self.count = count


class ProjReproMultiWorker(TableFunctionGenerator[CountArguments, Iterator[int]]):
    """Every stream makes all rows"""

    FIXED_SCHEMA = COLUMNS

    class Meta:
        projection_pushdown = True

    @classmethod
    def on_init(cls, params: Any) -> GlobalInitResponse:
        return GlobalInitResponse(WORKERS)

    @classmethod
    def initial_state(cls, params: ProcessParams[CountArguments]) -> Iterator[int]:
        return iter(range(0, params.args.count, CHUNK_ROWS))

    @classmethod
    def process(cls, params: ProcessParams[CountArguments], state: Iterator[int], out: OutputCollector) -> None:
        start = next(state, None)
        if start is None:
            out.finish()
        else:
            out.emit(full_rows(range(start, min(start + CHUNK_ROWS, params.args.count))))


CATALOG: Final = Catalog(
    "projection_repro",
    schemas=[
        CatalogSchema(
            functions=[proj_repro_strict, proj_repro_full_schema, proj_repro_chunked, ProjReproMultiWorker],
            tables=[
                Table("strict_table", function=proj_repro_strict, arguments=[100], comment="Only what is read"),
                Table("full_table", function=proj_repro_full_schema, arguments=[100], comment="All columns"),
            ],
        )
    ],
    comment="Wide rows for projections",
)
