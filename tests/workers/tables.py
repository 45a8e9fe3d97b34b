"""A catalog with objects of every kind, in two data versions."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from vgi_fast import (
    Arg,
    ArgumentError,
    AttachOption,
    BindParams,
    Catalog,
    CatalogSchema,
    ColumnStatisticsInput,
    ForeignKeyDef,
    Index,
    Macro,
    OutputCollector,
    ProcessParams,
    RecordBatch,
    Release,
    ScanBranch,
    ScanFunction,
    Schema,
    Sql,
    Table,
    TableFunctionGenerator,
    TableWriteFunction,
    View,
    Worker,
    table,
)

PEOPLE = Schema.parse("id: int64!, name: utf8, age: int32, key: int64")


@table(columns={"n": "int64"}, cardinality=lambda args: args.count, projection_pushdown=True)
def numbers(count: int, *, start: int = 0) -> Iterator[range]:
    """Integers."""
    yield range(start, start + count)


@table(columns=PEOPLE, projection_pushdown=True)
def people_scan() -> dict[str, list[Any]]:
    return {"id": [1, 2], "name": ["Ann", "Bob"], "age": [30, None], "key": [7, 8]}


@table(columns=lambda params: {"v": "int64" if params.args.version == 1 else "utf8"})
def versioned_scan(version: int) -> dict[str, list[Any]]:
    return {"v": [version] if version == 1 else [f"v{version}"]}


class Echo(TableFunctionGenerator[None]):
    """The attach that a call belongs to."""

    @classmethod
    def on_bind(cls, params: BindParams[None]) -> dict[str, str]:
        return {"catalog": "utf8", "data_version": "utf8", "color": "utf8", "size": "int32"}

    @classmethod
    def process(cls, params: ProcessParams[None], state: None, out: OutputCollector) -> None:
        attach = params.attach
        out.emit(
            {
                "catalog": [attach.name],
                "data_version": [attach.data_version],
                **{name: [value] for name, value in attach.options.items()},
            }
        )
        out.finish()


class TableName(NamedTuple):
    table: Annotated[str, Arg(0)]


class WritePeople(TableWriteFunction[TableName, list[int]]):
    """Rows are counted, names doubled; a name 'bad' fails, 'late' fails at the end."""

    @classmethod
    def returning(cls, params: BindParams[TableName]) -> Schema:
        return PEOPLE.select([0, 1, 2])

    @classmethod
    def initial_state(cls, params: ProcessParams[TableName]) -> list[int]:
        params.client_log("INFO", f"writing to {params.args.table}")
        return []

    @classmethod
    def process(cls, params: ProcessParams[TableName], state: list[int], rows: RecordBatch) -> Any:
        columns = rows.to_pydict()
        names = columns.get("name", [])
        if "bad" in names:
            raise ArgumentError("a bad name")
        state.append("late" in names)
        if params.write_options.return_chunks:
            return {
                field.name: [f"{one}{one}" for one in names]
                if field.name == "name"
                else columns.get(field.name) or [None] * rows.num_rows
                for field in params.output_schema
            }
        return rows.num_rows

    @classmethod
    def on_finish(cls, params: ProcessParams[TableName], state: list[int]) -> None:
        if any(state):
            raise ArgumentError("too late")
        params.client_log("INFO", "finished")

    @classmethod
    def on_abort(cls, params: ProcessParams[TableName], state: list[int]) -> None:
        params.client_log("INFO", "aborted")


def versioned(version: int) -> Table:
    def at(unit: str, value: str) -> Table:
        if unit != "VERSION" or value not in ("1", "2"):
            raise ArgumentError(f"Unknown version: {value}")
        return versioned(int(value))

    return Table(
        "versioned",
        columns={"v": "int64" if version == 1 else "utf8"},
        scan=ScanFunction(versioned_scan, [version]),
        inline_scan=False,
        at=at,
    )


write = ScanFunction(WritePeople, ["people"])
CATALOG = Catalog(
    "tables",
    schemas=[
        CatalogSchema(
            "main",
            functions=[numbers, Echo],
            tables=[
                Table(
                    "large",
                    function=numbers,
                    arguments=[1000],
                    statistics={"n": ColumnStatisticsInput(0, 999, has_null=False, distinct_count=1000)},
                    comment="Many",
                    tags={"size": "1000"},
                ),
                Table(
                    "people",
                    columns=PEOPLE,
                    scan=people_scan,
                    row_id="key",
                    insert_function=write,
                    update_function=write,
                    delete_function=write,
                    supports_returning=True,
                    not_null=["id"],
                    unique=["name", ("name", "age")],
                    check=["age > 0"],
                    primary_key="id",
                    foreign_key=ForeignKeyDef(["age"], "ages", ["age"], "other"),
                    defaults={"name": "it's", "age": Sql("1 + 1")},
                    column_comments={"id": "Number"},
                    required_filters=[["id", "name"]],
                    statistics={"name": ColumnStatisticsInput("Ann", "Zoë", max_string_length=10)},
                    statistics_cache_max_age_seconds=0,
                ),
                Table(
                    "computed",
                    columns={"n": "int64", "twice": "int64"},
                    scan=ScanFunction(numbers, [3]),
                    inline_scan=False,
                    generated_columns={"twice": "n * 2"},
                ),
                versioned(2),
                Table(
                    "parts",
                    columns={"n": "int64"},
                    branches=[
                        ScanBranch(numbers, [2], filter="n < 2"),
                        ScanBranch("read_parquet", ["x.parquet"], writable=True),
                        ScanBranch(source=("lake", "main", "events"), filter="n > 9"),
                    ],
                    required_extensions=["parquet"],
                ),
                Table("old", function=numbers, arguments=[1], versions=["1.0.0"]),
            ],
            views=[View("few", "FROM large LIMIT 2", comment="Two", column_comments={"n": "N"}, tags={"a": "b"})],
            macros=[
                Macro("plus", "x + y", ["x", "y"], defaults={"y": 1}, docs={"x": "Left"}),
                Macro("upto", "FROM range(n)", ["n"], table=True),
            ],
            indexes=[Index("by_name", "people", ["name"], constraint_type="UNIQUE", options={"k": "v"})],
        ),
        CatalogSchema("other", exact_counts=False),
    ],
    attach_options=[AttachOption("color", "utf8", "red"), AttachOption("size", "int32", required=True)],
    releases=[
        Release("2.0.0", datetime(2026, 1, 2, tzinfo=UTC), "Newer", "https://example.org"),
        Release("1.0.0", None, "First"),
    ],
    data_version_spec=">=1.0.0",
    implementation_versions=["3.1.0", "3.0.0"],
)
worker = Worker("tables", catalogs=[CATALOG])

if __name__ == "__main__":
    worker.run()
