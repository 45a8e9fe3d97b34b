"""Producers behind the tables of ``example.data``."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

from vgi_fast import Arg, ArgumentError, BindParams, table

Version = Annotated[int, Arg(doc="Version of the data")]

ROWS_PER_BATCH: Final = 1000
TEN_THOUSAND: Final = 10_000


def constant_rows(name: str, columns: Any, rows: list[tuple[Any, ...]], description: str, **options: Any) -> Any:
    """A table function without arguments that gives always the same rows."""
    data = {column: [row[index] for row in rows] for index, column in enumerate(columns)}
    return table(name=name, columns=columns, description=description, cardinality=len(rows), **options)(lambda: data)


departments_scan = constant_rows(
    "departments_scan",
    {"id": "int64", "name": "utf8", "budget": "float64"},
    [(1, "Engineering", 500_000.0), (2, "Sales", 300_000.0), (3, "HR", 200_000.0)],
    "Rows of the table departments",
)
employees_scan = constant_rows(
    "employees_scan",
    {"id": "int64", "name": "utf8", "email": "utf8", "department_id": "int64"},
    [
        (1, "Alice", "alice@co.com", 1),
        (2, "Bob", "bob@co.com", 1),
        (3, "Carol", "carol@co.com", 2),
        (4, "Dave", "dave@co.com", 2),
        (5, "Eve", "eve@co.com", 3),
    ],
    "Rows of the table employees",
)
projects_scan = constant_rows(
    "projects_scan",
    {"department_id": "int64", "project_code": "utf8", "title": "utf8"},
    [(1, "P001", "Backend API"), (1, "P002", "Frontend UI"), (2, "P003", "Sales Portal")],
    "Rows of the table projects",
)
products_scan = constant_rows(
    "products_scan",
    {"id": "int64", "name": "utf8", "quantity": "int64", "price": "float64"},
    [(1, "Widget", 100, 9.99), (2, "Gadget", 50, 24.99), (3, "Doohickey", 200, 4.99)],
    "Rows of the table products",
)
colors_scan = constant_rows(
    "colors_scan",
    {"id": "int64", "color": "utf8", "hex_code": "utf8"},
    [(1, "blue", "#0000FF"), (2, "green", "#00FF00"), (3, "red", "#FF0000")],
    "Rows of the table colors",
)

PAIR: Final = {"a": "int64", "b": "int64"}
PAIR_ROWS: Final[list[tuple[Any, ...]]] = [(1, 10), (2, 20), (3, 30)]
MEMBERS: Final = "struct<a: int64, b: int64>"

rff_simple_scan = constant_rows("rff_simple_scan", PAIR, PAIR_ROWS, "Rows behind a required filter")
rff_none_scan = constant_rows("rff_none_scan", PAIR, PAIR_ROWS, "Rows without a required filter")
rff_struct_scan = constant_rows(
    "rff_struct_scan",
    {"s": MEMBERS, "other": "int64"},
    [({"a": a, "b": b}, 10 * b) for a, b in PAIR_ROWS],
    "Rows behind required filters on members of a struct",
)
rff_nested_scan = constant_rows(
    "rff_nested_scan",
    {"wrapper": "struct<mid: struct<leaf: int64>>"},
    [({"mid": {"leaf": leaf}},) for leaf in (1, 2, 3)],
    "Rows behind a required filter on a member two levels deep",
)
rff_multi_scan = constant_rows(
    "rff_multi_scan",
    {"s": MEMBERS, "top": "int64"},
    [({"a": a, "b": b}, 10 * b) for a, b in PAIR_ROWS[:2]],
    "Rows behind several required filters",
)


@table(columns={"n": "int64"}, cardinality=TEN_THOUSAND)
def ten_thousand() -> Iterator[range]:
    """Generates 10000 integers from 0 to 9999"""
    for start in range(0, TEN_THOUSAND, ROWS_PER_BATCH):
        yield range(start, start + ROWS_PER_BATCH)


# Each version of the data has columns of its own.
DATA_COLUMNS: Final = {
    1: {"id": "int64"},
    2: {"id": "int64", "name": "utf8", "score": "float64", "active": "bool"},
    3: {"id": "int64", "score": "float64"},
}
DATA_ROWS: Final[dict[int, dict[str, list[Any]]]] = {
    1: {"id": [1, 2, 3]},
    2: {
        "id": [1, 2, 3, 4, 5],
        "name": ["alice", "bob", "carol", "dave", "eve"],
        "score": [10.0, 20.0, 30.0, 40.0, 50.0],
        "active": [True, False, True, False, True],
    },
    3: {"id": [1, 2, 3, 4], "score": [15.0, 25.0, 35.0, 45.0]},
}
PEOPLE_COLUMNS: Final = {
    1: {"id": "int64", "name": "utf8"},
    2: {"id": "int64", "name": "utf8", "email": "utf8"},
    3: {"id": "int64", "name": "utf8", "email": "utf8", "department_id": "int64"},
}
PEOPLE: Final[dict[str, list[Any]]] = {
    "id": [1, 2, 3],
    "name": ["Alice", "Bob", "Carol"],
    "email": ["a@co", "b@co", "c@co"],
    "department_id": [1, 2, 1],
}


def known_version(version: int) -> int:
    if version not in DATA_COLUMNS:
        raise ArgumentError(f"Unknown version: {version}. Valid versions: {list(DATA_COLUMNS)}")
    return version


def _data_columns(params: BindParams[Any]) -> dict[str, str]:
    return DATA_COLUMNS[known_version(params.args.version)]


@table(columns=_data_columns)
def versioned_data_scan(version: Version) -> dict[str, list[Any]]:
    """One version of the table versioned_data"""
    return DATA_ROWS[version]


def _people_columns(params: BindParams[Any]) -> dict[str, str]:
    return PEOPLE_COLUMNS[known_version(params.args.version)]


@table(columns=_people_columns)
def versioned_constraints_scan(version: Version) -> dict[str, list[Any]]:
    """One version of the table versioned_constraints"""
    people = len(PEOPLE["id"]) if version > 1 else 2
    return {name: values[:people] for name, values in PEOPLE.items()}


FUNCTIONS: Final = [
    departments_scan,
    employees_scan,
    projects_scan,
    products_scan,
    colors_scan,
    rff_simple_scan,
    rff_none_scan,
    rff_struct_scan,
    rff_nested_scan,
    rff_multi_scan,
    ten_thousand,
    versioned_data_scan,
    versioned_constraints_scan,
]
