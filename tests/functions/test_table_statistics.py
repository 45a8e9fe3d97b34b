"""Column statistics that a table function tells about a call, and what a table makes of them."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import pytest

from tests.fix_memory import Peer, RemoteFailure
from vgi_fast import (
    Arg,
    BindParams,
    Catalog,
    CatalogSchema,
    ColumnStatisticsInput,
    DefinitionError,
    Int64,
    OutputCollector,
    ProcessParams,
    ScanFunction,
    Table,
    TableFunctionGenerator,
    Worker,
    scalar,
    table,
)
from vgi_fast.client.tables import statistics_rows
from vgi_fast.wire import records

Connect = Callable[..., Peer]


def bounds(args: Any) -> dict[str, ColumnStatisticsInput]:
    return {"n": ColumnStatisticsInput(0, args.count - 1, has_null=False)} if args.count else {}


@table(columns={"m": "utf8", "n": "int64"}, statistics=bounds)
def numbers(count: int) -> Any:
    yield {"m": ["x"] * count, "n": range(count)}


@table(columns="n: int64", statistics={"n": ColumnStatisticsInput(1, 1)})
def one() -> list[int]:
    return [1]


@table(columns="n: int64", statistics=lambda args: {"k": ColumnStatisticsInput(1, 1)})
def misnamed() -> list[int]:
    return [1]


@table(columns="n: int64", statistics=lambda args: [1])
def unlike() -> list[int]:
    return [1]


@table(columns="n: int64")
def silent() -> list[int]:
    return [1]


class CountArguments(NamedTuple):
    rows: Annotated[int, Arg(0)]


class Hooked(TableFunctionGenerator[CountArguments]):
    FIXED_SCHEMA = "n: int64"

    @classmethod
    def statistics(cls, params: BindParams[CountArguments]) -> dict[str, ColumnStatisticsInput]:
        return {"n": ColumnStatisticsInput(0, params.args.rows)}

    @classmethod
    def process(cls, params: ProcessParams[CountArguments], state: None, out: OutputCollector) -> None:
        out.finish()


@pytest.fixture
def served(peer: Connect) -> Peer:
    tables = [
        Table("renamed", columns={"a": "utf8", "b": "int64"}, scan=ScanFunction(numbers, [10])),
        Table("own", function=numbers, arguments=[10], statistics={"n": ColumnStatisticsInput(0, 5)}),
        Table("asked", function=numbers, arguments=[10], inline_scan=False),
        Table("hooked", function=Hooked, arguments=[3]),
        Table("silent", function=silent),
    ]
    functions = [numbers, one, misnamed, unlike, silent, Hooked]
    return peer(Worker(catalogs=[Catalog("c", schemas=[CatalogSchema("main", functions=functions, tables=tables)])]))


def statistics(served: Peer, name: str, *arguments: Any) -> list[tuple[str, Any, Any]]:
    blob = served.call("table_function_statistics", bind_call=served.bind_request(name, *arguments))
    return rows(blob)


def rows(blob: bytes | None) -> list[tuple[str, Any, Any]]:
    return [(row["column_name"], row["min"].value, row["max"].value) for row in statistics_rows(blob)]


def test_of_a_call(served: Peer) -> None:
    assert statistics(served, "numbers", 5) == [("n", 0, 4)]
    assert statistics(served, "numbers", 0) == []
    assert statistics(served, "one") == [("n", 1, 1)]
    assert statistics(served, "hooked", 7) == [("n", 0, 7)]
    assert statistics(served, "silent") == []


@pytest.mark.parametrize(
    ("name", "message"),
    [("misnamed", "statistics column 'k' not found"), ("unlike", "statistics are ColumnStatistics")],
)
def test_what_is_no_description_of_columns(served: Peer, name: str, message: str) -> None:
    with pytest.raises(RemoteFailure, match=message):
        statistics(served, name)


def test_scalars_have_none() -> None:
    with pytest.raises(DefinitionError, match="statistics"):

        @scalar(statistics={"x": ColumnStatisticsInput(1, 1)})  # type: ignore[call-overload, untyped-decorator]
        def same(x: Int64) -> Int64:
            return x


def test_of_a_table(served: Peer) -> None:
    tables = {info["name"]: info for info in served.call("catalog_schema_contents_tables", name="main")}
    inlined = {name: info["column_statistics"] for name, info in tables.items()}
    assert rows(inlined["renamed"]) == [("b", 0, 9)]
    assert rows(inlined["own"]) == [("n", 0, 5)]
    # Asked for with each call: what is not inlined, and what only a call can tell.
    assert (inlined["asked"], inlined["hooked"]) == (None, None)
    # Nothing to tell, which is said so that nothing is asked.
    assert (inlined["silent"] is not None, rows(inlined["silent"])) == (True, [])
    assert [name for name, info in tables.items() if info["supports_column_statistics"]] == ["renamed", "own"]
    assert served.call("catalog_attach", name="c")["supports_column_statistics"]
    assert rows(served.call("catalog_table_column_statistics_get", schema_name="main", name="renamed")) == [("b", 0, 9)]
    assert served.call("catalog_table_column_statistics_get", schema_name="main", name="asked") is None
    assert records.SCAN_FUNCTION_RESULT.decode(tables["renamed"]["scan_function"])["function_name"] == "numbers"
