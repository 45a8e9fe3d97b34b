"""Versions of a table under filters, in both forms: the function reads AT, or AT chooses its argument."""

from typing import Annotated, Any, Final

from vgi_fast import Arg, ArgumentError, BindParams, ProcessParams, ScanFunction, Table, table
from vgi_fast.examples.example.filters import pushed_sql

COLUMNS: Final = {"id": "int64", "val": "int64", "seen_version": "int64", "pushed_filters": "utf8"}
ROWS: Final = {1: 5, 2: 10}
NEWEST: Final = 2
LAST_YEAR_OF_FIRST: Final = 2020

Params = ProcessParams[Any]


def known_version(version: int) -> int:
    if version not in ROWS:
        raise ArgumentError(f"Unknown version: {version}. Valid versions: {list(ROWS)}")
    return version


def version_at(unit: str, value: str) -> int:
    """The version that AT means: a number, or that of the year in which a timestamp lies."""
    if unit != "VERSION":
        return 1 if int(value[:4]) <= LAST_YEAR_OF_FIRST else NEWEST
    try:
        return known_version(int(value))
    except ValueError:
        raise ArgumentError(f"Unknown version: {value}. Valid versions: {list(ROWS)}") from None


def _rows(version: int, params: Params) -> dict[str, Any]:
    """All rows of a version: those that the filters leave out are dropped by the framework."""
    rows = ROWS[version]
    return {
        "id": range(1, rows + 1),
        "val": range(10, 10 * rows + 1, 10),
        "seen_version": [version] * rows,
        "pushed_filters": [pushed_sql(params.filters)] * rows,
    }


@table(columns=COLUMNS, projection_pushdown=True, filter_pushdown=True)
def tt_pushdown_scan(params: Params) -> dict[str, Any]:
    """The version that AT asks for"""
    unit, value = params.at_unit, params.at_value
    return _rows(NEWEST if unit is None or value is None else version_at(unit, value), params)


def _checked(params: BindParams[Any]) -> dict[str, str]:
    known_version(params.args.version)
    return COLUMNS


@table(columns=_checked, projection_pushdown=True, filter_pushdown=True)
def tt_pushdown_cols_scan(version: Annotated[int, Arg(doc="Version of the data")], params: Params) -> dict[str, Any]:
    """The version that is asked for by argument"""
    return _rows(version, params)


def _any_version(unit: str, value: str) -> Table:
    """All versions have the same columns; the function itself finds AT in its parameters."""
    version_at(unit, value)
    return BY_FUNCTION


BY_FUNCTION: Final = Table(
    "tt_pushdown_fn",
    function=tt_pushdown_scan,
    at=_any_version,
    comment="Function-backed: prunes by filter AND time-travels (AT read at init).",
)


def by_argument(version: int) -> Table:
    return Table(
        "tt_pushdown_cols",
        columns=COLUMNS,
        scan=ScanFunction(tt_pushdown_cols_scan, [version]),
        inline_scan=False,
        at=lambda unit, value: by_argument(version_at(unit, value)),
        comment="Columns-based: prunes by filter AND time-travels (AT → version arg).",
    )


FUNCTIONS: Final = [tt_pushdown_scan, tt_pushdown_cols_scan]
TABLES: Final = [BY_FUNCTION, by_argument(NEWEST)]
