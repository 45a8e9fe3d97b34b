"""What a catalog's author declared wrongly is said at once, and by name."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from vgi_fast import (
    AttachOption,
    CallArguments,
    Catalog,
    CatalogInterface,
    CatalogSchema,
    ColumnStatisticsInput,
    CompanionCatalog,
    DefinitionError,
    Field,
    ForeignKeyDef,
    Index,
    Int64,
    Macro,
    ScanBranch,
    ScanFunction,
    Sql,
    Table,
    TableWriteFunction,
    View,
    Worker,
    encode_statistics,
    scalar,
    table,
)
from vgi_fast.catalog.literals import sql_literal
from vgi_fast.catalog.versions import resolve_version
from vgi_fast.errors import ArgumentError, ProtocolError
from vgi_fast.wire.arrow import Schema, decode_stream
from vgi_fast.wire.attach import AttachData


@table(columns={"n": "int64"})
def numbers(count: int) -> object:
    yield range(count)


@scalar
def same(x: Int64) -> Int64:
    return x


class Write(TableWriteFunction[None]):
    @classmethod
    def process(cls, params: Any, state: Any, rows: Any) -> int:
        return int(rows.num_rows)


COLUMNS = {"a": "int64", "b": "utf8"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Table("t"), "Table 't': must specify either 'columns' or 'function'"),
        (lambda: Table("t", columns=COLUMNS, function=numbers), "cannot specify both 'columns' and 'function'"),
        (lambda: Table("t", function=same), "has no columns of its own"),
        (lambda: Table("t", function="read_parquet"), "has no columns of its own"),
        (lambda: Table("t", function=numbers, scan=numbers), "'scan' and 'branches' go with 'columns'"),
        (lambda: Table("t", columns=COLUMNS, scan=numbers, branches=[]), "cannot specify both 'scan' and 'branches'"),
        (lambda: Table("t", columns=COLUMNS, branches=[]), "branches must not be empty"),
        (
            lambda: Table("t", columns=COLUMNS, branches=[ScanBranch(numbers, [1], writable=True)] * 2),
            "2 branches are writable, at most one can be",
        ),
        (
            lambda: Table("t", columns=COLUMNS, not_null=["c"]),
            r"Table 't': not_null column 'c' not found in schema\. Available columns: \['a', 'b'\]",
        ),
        (lambda: Table("t", columns=COLUMNS, unique=[("a", "c")]), "unique column 'c' not found"),
        (lambda: Table("t", columns=COLUMNS, primary_key="c"), "primary_key column 'c' not found"),
        (lambda: Table("t", columns=COLUMNS, primary_key=[["a"], ["b"]]), "at most one primary_key .* got 2"),
        (
            lambda: Table("t", columns=COLUMNS, foreign_key=ForeignKeyDef(["c"], "u", ["d"])),
            "foreign_key column 'c' not found",
        ),
        (
            lambda: Table("t", columns=COLUMNS, foreign_key=ForeignKeyDef(["a"], "u", ["c", "d"])),
            "1 FK columns but 2 referenced columns — counts must match",
        ),
        (lambda: Table("t", columns=COLUMNS, defaults={"c": 1}), "defaults column 'c' not found"),
        (lambda: Table("t", columns=COLUMNS, defaults={"a": object()}), "default of 'a': no literal for"),
        (lambda: Table("t", columns=COLUMNS, generated_columns={"c": "a"}), "generated_columns column 'c' not found"),
        (
            lambda: Table("t", columns=COLUMNS, defaults={"a": 1}, generated_columns={"a": "b"}),
            "column 'a' cannot have both a default value and a generated expression",
        ),
        (lambda: Table("t", columns=COLUMNS, column_comments={"c": "x"}), "column_comments column 'c' not found"),
        (lambda: Table("t", columns=COLUMNS, row_id="c"), "row_id column 'c' not found"),
        (
            lambda: Table("t", columns=[Field("a", "int64", True, {"is_row_id": ""})] * 2),
            "multiple is_row_id columns",
        ),
        (lambda: Table("t", columns=COLUMNS, update_function=Write), "update_function needs a row id column"),
        (lambda: Table("t", columns=COLUMNS, delete_function=Write), "delete_function needs a row id column"),
        (lambda: Table("t", columns=COLUMNS, required_filters=[[]]), "required_filters must not contain empty groups"),
        (lambda: Table("t", columns=COLUMNS, required_filters=[[""]]), "must not contain empty strings"),
        (lambda: Table("t", columns=COLUMNS, required_filters=[["c.d"]]), "references unknown column 'c.d'"),
        (
            lambda: Table("t", columns=COLUMNS, statistics={"c": ColumnStatisticsInput(1, 2)}),
            "statistics column 'c' not found in schema",
        ),
        (
            lambda: Table("t", columns=COLUMNS, statistics={"b": ColumnStatisticsInput("a", "b")}),
            "text column 'b' need max_string_length",
        ),
        (lambda: ColumnStatisticsInput(min=1), "need both bounds or none"),
        (lambda: Table("t", columns=COLUMNS, inline_bind=True), "inline_bind=True requires function= to be set"),
        (lambda: ScanFunction(numbers, [None]), "positional slot 0 is None"),
        (lambda: ScanFunction(numbers, 3), "must be a list, a dict or CallArguments"),
        (lambda: ScanFunction("glob", [object()]).encode(), "no Arrow type for"),
        (lambda: ScanBranch(), "either a function or the table that source names"),
        (lambda: ScanBranch(source=("a", "b")), r"source is \(catalog, schema, table\)"),  # type: ignore[arg-type]
        (lambda: View("v", ""), "a view needs a name and a definition"),
        (lambda: Macro("m", "x", ["x"], defaults={"y": 1}), r"defaults names 'y', but its parameters are \['x'\]"),
        (lambda: Macro("m", "x", ["x"], defaults={"x": [1]}), "is not a bool, int, float or str"),
        (lambda: Index("i", "t", ["a"], constraint_type="ODD"), "constraint_type must be one of NONE, UNIQUE, PRIMARY"),
        (lambda: AttachOption("o", "utf8", "x", required=True), "is required but also declares a default"),
        (lambda: AttachOption("Location", "utf8"), "DuckDB keeps that name for itself"),
        (lambda: CompanionCatalog("", "x"), "needs an alias and a target"),
        (
            lambda: Catalog("c", attach_options=[AttachOption("o", "utf8"), AttachOption("O", "utf8")]),
            "duplicate attach option 'o'",
        ),
        (lambda: Worker(catalogs=[Catalog("c"), CatalogInterface(Catalog("c"))]), "duplicate catalog name 'c'"),
        (lambda: Worker(catalogs=[3]), "expected a Catalog or a CatalogInterface over one, got 3"),  # type: ignore[list-item]
        (
            lambda: Worker(catalogs=[Catalog("c", schemas=[CatalogSchema("main", tables=[same])])]),
            "expected a Table, View, Macro or Index",
        ),
    ],
)
def test_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        make()


@pytest.mark.parametrize("kind", ["tables", "views", "macros", "indexes"])
def test_a_name_is_given_once_per_kind(kind: str) -> None:
    described: dict[str, list[Any]] = {
        "tables": [Table("t", columns=COLUMNS), Table("T", columns=COLUMNS)],
        "views": [View("t", "SELECT 1"), View("T", "SELECT 2")],
        "macros": [Macro("t", "1"), Macro("T", "2")],
        "indexes": [Index("t", "x", ["a"]), Index("T", "x", ["a"])],
    }
    given: dict[str, Any] = {kind: described[kind]}
    with pytest.raises(DefinitionError, match="Duplicate .* 'T' in schema 'main'"):
        Worker(catalogs=[Catalog("c", schemas=[CatalogSchema("main", **given)])])


def test_one_table_for_each_version() -> None:
    tables = [Table("t", columns=COLUMNS, versions=[version]) for version in ("1.0.0", "2.0.0")]
    Worker(catalogs=[Catalog("c", schemas=[CatalogSchema("main", tables=tables)])])
    with pytest.raises(DefinitionError, match="Duplicate table"):
        Worker(catalogs=[Catalog("c", schemas=[CatalogSchema("main", tables=[*tables, Table("t", columns=COLUMNS)])])])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "true"),
        (3, "3"),
        (-1.5, "-1.5"),
        (float("nan"), "'nan'::DOUBLE"),
        ("it's", "'it''s'"),
        (b"\x00'", "'\\x00\\x27'::BLOB"),
        (Sql("now()"), "now()"),
        (Decimal("1.20"), "1.20"),
        (date(2026, 1, 2), "DATE '2026-01-02'"),
        (time(1, 2, 3), "TIME '01:02:03'"),
        (datetime(2026, 1, 2, 3), "TIMESTAMP '2026-01-02 03:00:00'"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "TIMESTAMPTZ '2026-01-02 03:00:00+00:00'"),
    ],
)
def test_defaults_are_written_as_sql(value: Any, text: str) -> None:
    assert sql_literal(value, "here") == text


VERSIONS = ["3.0.0", "2.0.0", "1.1.0", "1.0.0"]


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        (None, "3.0.0"),
        ("", "3.0.0"),
        ("1.0.0", "1.0.0"),
        ("1", "1.1.0"),
        ("1.0", "1.0.0"),
        ("1.1", "1.1.0"),
        ("^1.0.0", "1.1.0"),
        ("~1.0.0", "1.0.0"),
        ("^2.0.0", "2.0.0"),
    ],
)
def test_versions(spec: str | None, version: str) -> None:
    assert resolve_version("data_version_spec", spec, VERSIONS, "c") == version


@pytest.mark.parametrize("spec", ["9", "9.9.9", "~2.5.0", "^1.2.0", "x", "^", "^1", ">=1.0.0", "1.", "1.0.0.0", "²"])
def test_versions_that_do_not_exist(spec: str) -> None:
    with pytest.raises(ArgumentError, match="Unsupported data_version_spec"):
        resolve_version("data_version_spec", spec, VERSIONS, "c")


def test_statistics_on_the_wire() -> None:
    columns = Schema.parse("id: int64, name: utf8, word: dictionary<int8, utf8>, mystery: float64, spare: int8")
    blob = encode_statistics(
        columns,
        {
            "id": ColumnStatisticsInput(1, 10, has_null=False, distinct_count=10),
            "name": ColumnStatisticsInput("A", "Z", contains_unicode=False, max_string_length=20),
            "word": ColumnStatisticsInput("a", "z", max_string_length=5),
            "mystery": ColumnStatisticsInput(),
        },
        60,
    )
    schema, (batch,) = decode_stream(blob)
    assert str(schema["min"].type) == str(schema["max"].type) == "sparse_union<0: 0: int64, 1: 1: utf8, 2: 2: null>"
    assert batch.metadata == {b"cache_max_age_seconds": b"60"}
    assert [(row.tag, row.value) for row in batch.column("min").to_pylist()] == [
        ("0", 1),
        ("1", "A"),
        ("1", "a"),
        ("2", None),
    ]
    assert batch.column("contains_unicode").to_pylist() == [None, False, True, None]
    assert batch.column("distinct_count").to_pylist() == [10, None, None, None]
    schema, (batch,) = decode_stream(encode_statistics(columns, {}))
    assert (batch.num_rows, str(schema["min"].type)) == (0, "sparse_union<0: 0: null>")


def test_attach_data_says_everything() -> None:
    made = AttachData.new("c", name="C", data_version="1.0.0", options_blob=b"", state=b"\x00state")
    opened = AttachData.open(bytes(made))
    assert opened == made
    assert (opened.catalog, opened.name, opened.data_version, opened.implementation_version) == ("c", "C", "1.0.0", "")
    assert (opened.state, opened.options, len(opened.identity)) == (b"\x00state", {}, 16)
    assert AttachData.new("c").identity != AttachData.new("c").identity


def test_attach_data_of_somebody_else() -> None:
    made = bytes(AttachData.new("c", state=b"12345"))
    broken = [made[:length] for length in range(len(made))]
    broken += [made + b"\0", made.replace(b"c", b"\xff"), made[:4] + b"\xff" * 4 + made[8:], b"vf\0\1" + made[4:]]
    for data in broken:
        with pytest.raises(ProtocolError, match="attach_opaque_data not recognized"):
            AttachData.open(data)


def test_call_arguments_by_sequence_or_mapping() -> None:
    assert repr(CallArguments.of([1, "x"])) == "CallArguments(1, 'x')"
    assert repr(CallArguments.of({"a": 1})) == "CallArguments(a=1)"
    assert repr(CallArguments.of(None)) == "CallArguments()"
