"""Catalog ``narrow_bind``: a table whose scan gives fewer columns than the table has, which DuckDB refuses."""

from typing import Annotated, Any, Final

from vgi_fast import Arg, Catalog, CatalogSchema, ScanFunction, Table, table

Count = Annotated[int, Arg(doc="Number of rows", ge=0)]
COLUMNS: Final = {"id": "int64", "val": "int64"}
ROWS: Final = 3


@table(columns={"id": "int64"})
def narrow_scan(count: Count) -> dict[str, Any]:
    """Fewer columns than the table that it is for"""
    return {"id": range(count)}


@table(columns=COLUMNS)
def wide_scan(count: Count) -> dict[str, Any]:
    """The columns of the table that it is for"""
    return {"id": range(count), "val": range(0, 10 * count, 10)}


CATALOG: Final = Catalog(
    "narrow_bind",
    schemas=[
        CatalogSchema(
            functions=[narrow_scan, wide_scan],
            tables=[
                Table("mismatch", columns=COLUMNS, scan=ScanFunction(narrow_scan, [ROWS])),
                Table("consistent", columns=COLUMNS, scan=ScanFunction(wide_scan, [ROWS])),
            ],
        )
    ],
    comment="Tables and scans that disagree about columns",
)
