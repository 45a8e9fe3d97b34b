"""Tables, views, macros and indexes of ``example``."""

import os
from struct import pack
from typing import Any, Final

from vgi_fast import (
    ArgumentError,
    CallArguments,
    ColumnStatisticsInput,
    Field,
    ForeignKeyDef,
    Index,
    Macro,
    ReadOnlyCatalogInterface,
    ScanBranch,
    ScanBranches,
    ScanFunction,
    Sql,
    Table,
    View,
)
from vgi_fast.examples.example import cached_tables, scans, time_travel
from vgi_fast.examples.example.filters import filter_echo_table_scan
from vgi_fast.examples.example.late_materialization import LateMaterialization
from vgi_fast.examples.example.sequences import sequence
from vgi_fast.examples.example.session import SecretDemo

HOUR_S: Final = 3600
N: Final = {"n": "int64"}
NUMBER: Final = {"value": "int64"}
FOLDER: Final = (
    (os.environ.get("VGI_TEST_BRANCH_DIR") or os.environ.get("TMPDIR") or "/tmp").replace("\\", "/").rstrip("/")
)
"""Where branches look for files."""


def bounds(least: Any, most: Any, distinct: int | None = None, **more: Any) -> ColumnStatisticsInput:
    return ColumnStatisticsInput(least, most, **{"has_null": False, "distinct_count": distinct, **more})


def text_bounds(least: str, most: str, distinct: int | None, longest: int) -> ColumnStatisticsInput:
    return bounds(least, most, distinct, contains_unicode=False, max_string_length=longest)


# --- backed by a function -----------------------------------------------------------------------------------

BY_FUNCTION: Final = [
    Table(
        "large_sequence",
        function=sequence,
        arguments=[1_000_000],
        statistics={"n": bounds(0, 999_999, 1_000_000)},
        statistics_cache_max_age_seconds=HOUR_S,
        comment="A large sequence of integers from 0 to 1,000,000",
    ),
    Table(
        "ten_thousand_table",
        function=scans.ten_thousand,
        inline_cardinality=False,
        comment="Function-backed table over the no-arg ten_thousand function",
    ),
    Table(
        "secret_demo_table",
        function=SecretDemo,
        comment="Function-backed table over the secret-using secret_demo function",
    ),
    Table(
        "cardinality_inlined_table",
        function=scans.ten_thousand,
        cardinality_estimate=scans.TEN_THOUSAND,
        cardinality_max=scans.TEN_THOUSAND,
        comment="Function-backed table with inlined cardinality (10000 rows)",
    ),
]

# --- with columns of their own ------------------------------------------------------------------------------

WITH_COLUMNS: Final = [
    Table(
        "numbers",
        columns=NUMBER,
        scan=ScanFunction(sequence, [100]),
        inline_scan=False,
        statistics={"value": bounds(0, 99)},
        statistics_cache_max_age_seconds=HOUR_S,
        comment="First 100 integers (demonstrates explicit columns)",
    ),
    Table(
        "volatile_numbers",
        columns=NUMBER,
        scan=ScanFunction(sequence, [100]),
        inline_scan=False,
        statistics={"value": bounds(0, 99, 100)},
        statistics_cache_max_age_seconds=0,
        comment="Numbers with volatile stats (TTL=0, always re-fetched)",
    ),
    Table(
        "funny_numbers",
        columns=N,
        scan=ScanFunction(sequence, [123_456]),
        inline_scan=False,
        comment="123456 integers; stats served by the sequence function, not the table",
    ),
    Table(
        "geo_points",
        columns=[
            Field("id", "int64"),
            Field(
                "geom",
                "binary",
                True,
                {"ARROW:extension:name": "geoarrow.wkb", "ARROW:extension:metadata": "{}"},
            ),
        ],
        statistics={
            "id": bounds(1, 25, 25),
            "geom": bounds(pack("<BIdd", 1, 1, 0, 0), pack("<BIdd", 1, 1, 4, 4), 25),  # points, as WKB
        },
        statistics_cache_max_age_seconds=HOUR_S,
        comment="5x5 grid of points with spatial statistics",
    ),
    Table(
        "colors",
        columns={"id": "int64", "color": "utf8", "hex_code": "utf8"},
        scan=scans.colors_scan,
        inline_scan=False,
        statistics={
            "id": bounds(1, 3, 3),
            "color": text_bounds("blue", "red", 3, 5),
            "hex_code": text_bounds("#0000FF", "#FF0000", 3, 7),
        },
        statistics_cache_max_age_seconds=HOUR_S,
        comment="Colors table with ENUM-derived statistics",
    ),
    Table(
        "generated_sequence",
        columns={"n": "int64", "doubled": "int64", "label": "utf8"},
        scan=ScanFunction(sequence, [10]),
        inline_scan=False,
        generated_columns={"doubled": "n * 2", "label": "'item_' || CAST(n AS VARCHAR)"},
        comment="Table with generated columns backed by sequence(10)",
    ),
    Table(
        "filter_echo_table",
        function=filter_echo_table_scan,
        inline_scan=False,
        comment="Catalog table echoing pushed-down filters (filter-pushdown-through-view tests).",
    ),
]

# --- with a row id ----------------------------------------------------------------------------------------------


def with_row_id(name: str, comment: str, layout: str, row_id_type: str = "int64") -> Table:
    arguments = CallArguments(20, layout=layout, row_id_type=row_id_type)
    return Table(name, function=scans.rowid_sequence, arguments=arguments, inline_scan=False, comment=comment)


def found_late(name: str, comment: str, **arguments: Any) -> Table:
    chosen = CallArguments(1000, **arguments)
    return Table(name, function=LateMaterialization, arguments=chosen, inline_scan=False, comment=comment)


WITH_ROW_ID: Final = [
    with_row_id("rowid_first", "Table with row_id at column index 0", "first"),
    with_row_id("rowid_middle", "Table with row_id at column index 1", "middle"),
    with_row_id("rowid_last", "Table with row_id at column index 2", "last"),
    with_row_id("rowid_string", "Table with string row_id", "first", "string"),
    with_row_id("rowid_struct", "Table with struct row_id", "first", "struct"),
    found_late("late_mat", "Late-materialization table (1000 rows, unique rowid)"),
    found_late(
        "late_mat_dup",
        "Late-materialization table with deliberately non-unique rowid (contract violation)",
        dup_row_id=True,
    ),
    found_late("late_mat_nulls", "Late-materialization table with NULLs in the ord column", null_ord_stride=7),
]

# --- with constraints -----------------------------------------------------------------------------------------

WITH_CONSTRAINTS: Final = [
    Table(
        "departments",
        columns={"id": "int64", "name": "utf8", "budget": "float64"},
        scan=scans.departments_scan,
        inline_scan=False,
        not_null=["id", "name"],
        primary_key="id",
        unique=["name"],
        check=["budget >= 0"],
        defaults={"budget": 0},
        statistics={
            "id": bounds(1, 10, 10),
            "name": text_bounds("Accounting", "Sales", 10, 20),
            "budget": bounds(50_000.0, 500_000.0, 10),
        },
        statistics_cache_max_age_seconds=HOUR_S,
        comment="Department reference table",
    ),
    Table(
        "products",
        columns={"id": "int64", "name": "utf8", "quantity": "int64", "price": "float64"},
        scan=scans.products_scan,
        inline_scan=False,
        not_null=["id"],
        primary_key="id",
        defaults={"name": "unknown", "quantity": 0, "price": Sql("9.99")},
        column_comments={
            "id": "Unique product identifier",
            "name": "Product display name",
            "price": "Unit price in USD",
        },
        statistics={
            "id": bounds(1, 100, 100),
            "name": text_bounds("Anvil", "Zebra Tape", 100, 30),
            "quantity": bounds(0, 10_000, 50, has_null=True),
            "price": bounds(0.99, 999.99, 80),
        },
        statistics_cache_max_age_seconds=HOUR_S,
        comment="Product table with column defaults",
    ),
    Table(
        "employees",
        columns={"id": "int64", "name": "utf8", "email": "utf8", "department_id": "int64"},
        scan=scans.employees_scan,
        inline_scan=False,
        not_null=["id", "name", "email"],
        primary_key="id",
        unique=["email"],
        foreign_key=ForeignKeyDef(["department_id"], "departments", ["id"]),
        comment="Employee table with FK to departments",
    ),
    Table(
        "projects",
        columns={"department_id": "int64", "project_code": "utf8", "title": "utf8"},
        scan=scans.projects_scan,
        inline_scan=False,
        not_null=["department_id", "project_code", "title"],
        primary_key=["department_id", "project_code"],
        foreign_key=ForeignKeyDef(["department_id"], "departments", ["id"]),
        comment="Projects with composite PK and FK to departments",
    ),
]

# --- time travel ------------------------------------------------------------------------------------------------

NEWEST: Final = 3
FIRST_YEAR: Final = 2020


def version_at(unit: str, value: str) -> int:
    """The version meant by AT: a number, or that of the year in which a timestamp lies."""
    if unit == "VERSION":
        try:
            return scans.known_version(int(value))
        except ValueError:
            raise ArgumentError(f"Unknown version: {value}. Valid versions: {list(scans.DATA_COLUMNS)}") from None
    year = int(value[:4])
    if year < FIRST_YEAR:
        raise ArgumentError(f"No version exists at timestamp '{value}': table did not exist before {FIRST_YEAR}")
    return min(year - FIRST_YEAR + 1, NEWEST)


def versioned_data(version: int) -> Table:
    return Table(
        "versioned_data",
        columns=scans.DATA_COLUMNS[version],
        scan=ScanFunction(scans.versioned_data_scan, [version]),
        inline_scan=False,
        at=lambda unit, value: versioned_data(version_at(unit, value)),
        comment="Versioned data table demonstrating time travel with schema evolution",
    )


def versioned_constraints(version: int) -> Table:
    return Table(
        "versioned_constraints",
        columns=scans.PEOPLE_COLUMNS[version],
        scan=ScanFunction(scans.versioned_constraints_scan, [version]),
        inline_scan=False,
        not_null=["id"] if version == 1 else ["id", "name"],
        primary_key=[] if version == 1 else "id",
        unique=[] if version == 1 else ["email"],
        foreign_key=ForeignKeyDef(["department_id"], "departments", ["id"]) if version == NEWEST else (),
        at=_constraints_at,
        comment="Table with constraints that evolve across versions",
    )


def _constraints_at(unit: str, value: str) -> Table:
    if unit != "VERSION":
        raise ArgumentError("Table 'data.versioned_constraints' does not support time travel by timestamp")
    return versioned_constraints(version_at(unit, value))


def cache_versioned(version: int) -> Table:
    return Table(
        "cache_versioned",
        columns={"v": "int64"},
        scan=ScanFunction(cached_tables.cache_versioned_scan, [version]),
        inline_scan=False,
        at=lambda unit, value: cache_versioned(version_at(unit, value)),
        comment="Version-specific cacheable rows (AT-keyed cache isolation)",
    )


# --- several branches -------------------------------------------------------------------------------------------


def multi_branch(name: str, columns: dict[str, str], comment: str, *branches: ScanBranch) -> Table:
    """A multi-branch table takes any AT, for DuckDB to refuse it."""
    table = Table(name, columns=columns, branches=branches or None, comment=comment, at=lambda unit, value: table)
    return table


def parquet(name: str) -> ScanBranch:
    return ScanBranch("read_parquet", [f"{FOLDER}/{name}.parquet"])


MULTI_BRANCH: Final = [
    multi_branch(
        "multi_branch_numbers",
        N,
        "Multi-branch: UNION of sequence(50) + sequence(50) — used by multi_branch_scan.test",
        ScanBranch(sequence, [50]),
        ScanBranch(sequence, [50]),
    ),
    multi_branch(
        "multi_branch_filtered_numbers",
        N,
        "Multi-branch with complementary branch_filters — exercises pruning",
        ScanBranch(sequence, [100], filter="n < 50"),
        ScanBranch(sequence, [100], filter="n >= 50"),
    ),
    multi_branch(
        "multi_branch_hetero",
        N,
        "Multi-branch: sequence(50) + read_parquet — used by multi_branch_heterogeneous.test",
        ScanBranch(sequence, [50]),
        parquet("vgi_hetero_branch"),
    ),
    Table(
        "multi_branch_iceberg",
        columns=N,
        branches=[ScanBranch(sequence, [50]), ScanBranch("iceberg_scan", [f"{FOLDER}/vgi_iceberg_branch"])],
        required_extensions=["iceberg"],
        comment="Multi-branch: sequence(50) + iceberg_scan — used by multi_branch_iceberg.test",
    ),
    multi_branch(
        "multi_branch_recon",
        {"a": "int64", "b": "int64"},
        "Multi-branch: column reconciliation — used by multi_branch_reconciliation.test",
        parquet("vgi_recon_a_b"),
        parquet("vgi_recon_b_a"),
        parquet("vgi_recon_a_only"),
    ),
    multi_branch(
        "multi_branch_nopushdown",
        N,
        "Multi-branch: VGI + read_csv — used by multi_branch_pushdown_incapable.test",
        ScanBranch(sequence, [50]),
        ScanBranch("read_csv_auto", [f"{FOLDER}/vgi_nopushdown_branch.csv"]),
    ),
    # The branches of these two are not as they should be: see ExampleCatalog.
    multi_branch(
        "multi_branch_empty", N, "Multi-branch: empty branches list — used by multi_branch_empty_branches.test"
    ),
    multi_branch(
        "multi_branch_two_writable",
        N,
        "Multi-branch with two writable=True arms — used by multi_branch_two_writable.test",
    ),
]
BROKEN_BRANCHES: Final[dict[str, list[ScanBranch]]] = {
    "multi_branch_empty": [],
    "multi_branch_two_writable": [ScanBranch(sequence, [10], writable=True) for _ in range(2)],
}

# --- required filters -------------------------------------------------------------------------------------------

BOX: Final = scans.BOX
BOX_FILTERS: Final = [["bbox.xmin"], ["bbox.xmax"], ["bbox.ymin"], ["bbox.ymax"]]
HIVE: Final = {"id": "utf8", "bbox": BOX, "name": "utf8", "num": "int64", "theme": "utf8", "type": "utf8"}


def hive(name: str, required: list[list[str]]) -> Table:
    files = CallArguments(f"{FOLDER}/rff_hive/*/*/*.parquet", hive_partitioning=True)
    return Table(
        name,
        columns=HIVE,
        scan=ScanFunction("read_parquet", files),
        required_filters=required,
        comment="Partitioned files",
    )


REQUIRED_FILTERS: Final = [
    Table("rff_simple", function=scans.rff_simple_scan, required_filters=[["a"]], comment="Needs a filter on a"),
    Table(
        "rff_struct", function=scans.rff_struct_scan, required_filters=[["s.a"], ["s.b"]], comment="Needs both members"
    ),
    Table(
        "rff_nested",
        function=scans.rff_nested_scan,
        required_filters=[["wrapper.mid.leaf"]],
        comment="Needs a filter two levels deep",
    ),
    Table("rff_multi", function=scans.rff_multi_scan, required_filters=[["top"], ["s.a"]], comment="Needs two filters"),
    Table("rff_or", function=scans.rff_simple_scan, required_filters=[["a", "b"]], comment="Needs one of two filters"),
    Table(
        "rff_rowid", function=scans.rff_rowid_scan, required_filters=BOX_FILTERS, comment="Needs a box, has a row id"
    ),
    Table("rff_none", function=scans.rff_none_scan, comment="Needs no filter"),
    Table(
        "rff_parquet",
        columns={"bbox": BOX, "other": "int64"},
        scan=ScanFunction("read_parquet", [f"{FOLDER}/rff_seg.parquet"]),
        required_filters=BOX_FILTERS,
        comment="A file that DuckDB reads itself",
    ),
    hive("rff_hive", BOX_FILTERS),
    hive("rff_hive_mixed", [["id"], *BOX_FILTERS]),
]

TABLES: Final = [
    *BY_FUNCTION,
    *WITH_COLUMNS,
    *WITH_ROW_ID,
    *WITH_CONSTRAINTS,
    versioned_data(NEWEST),
    versioned_constraints(NEWEST),
    *time_travel.TABLES,
    cache_versioned(NEWEST),
    *cached_tables.TABLES,
    *MULTI_BRANCH,
    *REQUIRED_FILTERS,
]
MAIN_VIEWS: Final = [
    View(
        "first_ten",
        "SELECT * FROM sequence(10)",
        comment="First 10 integers",
        column_comments={"n": "Sequence index 0..9"},
        tags={"layer": "demo", "origin": "sequence"},
    ),
    View("even_numbers", "SELECT * FROM sequence(100) WHERE n % 2 = 0", comment="Even numbers from 0 to 98"),
]
DATA_VIEWS: Final = [
    View(
        "small_numbers",
        "SELECT * FROM numbers WHERE value < 10",
        comment="Numbers less than 10",
        column_comments={"value": "Single-digit value 0..9"},
    )
]
MACROS: Final = [
    Macro("vgi_multiply", "x * y", ["x", "y"], docs={"x": "First factor", "y": "Second factor"}, comment="Product"),
    Macro(
        "vgi_clamp",
        "GREATEST(lo, LEAST(hi, val))",
        ["val", "lo", "hi"],
        defaults={"lo": 0, "hi": 100},
        docs={"val": "Value to clamp", "lo": "Lower bound (inclusive)", "hi": "Upper bound (inclusive)"},
        comment="The value, or the bound that it exceeds",
    ),
    Macro(
        "vgi_range_table",
        "SELECT * FROM range(n)",
        ["n"],
        table=True,
        docs={"n": "Number of rows to generate"},
        comment="Integers from 0",
    ),
]
INDEXES: Final = [
    Index("idx_numbers_value", "numbers", ["value"]),
    Index("idx_numbers_value_unique", "numbers", ["value"], constraint_type="UNIQUE"),
]


class ExampleCatalog(ReadOnlyCatalogInterface):
    """As it is declared, except for two tables that no declaration would accept."""

    def table_scan_branches_get(self, *, name: str, **call: Any) -> ScanBranches | ScanFunction:
        broken = BROKEN_BRANCHES.get(name)
        return super().table_scan_branches_get(name=name, **call) if broken is None else ScanBranches(broken)
