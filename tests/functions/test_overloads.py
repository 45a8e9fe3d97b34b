"""Which function a call means, by number and types of its arguments, by schema and by catalog."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Annotated, Any

import numpy as np
import pytest

from tests.fix_memory import Peer, RemoteFailure
from vgi_fast import (
    AnyColumn,
    Catalog,
    CatalogSchema,
    Const,
    DataType,
    Float64,
    Int64,
    Param,
    Utf8,
    Worker,
    scalar,
    table,
)
from vgi_fast.functions.overloads import type_score

Connect = Callable[..., Peer]


def answering(text: str, count: int = 1) -> Utf8:
    return np.array([text] * count, object)


@pytest.fixture
def demo() -> Worker:
    demo = Worker("demo")

    @demo.scalar(name="describe")
    def one_int(a: Int64) -> Utf8:
        return answering("int")

    @demo.scalar(name="describe")
    def one_text(a: Utf8) -> Utf8:
        return answering("text")

    @demo.scalar(name="describe")
    def constant_then_int(a: Const[int], b: Int64) -> Utf8:
        return answering("const+int")

    @demo.scalar(name="describe")
    def two(a: Annotated[AnyColumn, Param()], b: Float64) -> Utf8:
        return answering("any+float")

    @demo.scalar(name="describe")
    def many(a: Utf8, b: Utf8, *rest: Utf8) -> Utf8:
        return answering(f"{len(rest)} more")

    return demo


@pytest.mark.parametrize(
    ("constants", "columns", "expected"),
    [
        ([], ["int64"], "int"),
        ([], ["int32"], "int"),
        ([], ["utf8"], "text"),
        ([], ["large_utf8"], "text"),
        ([], ["dictionary<uint8, utf8>"], "text"),
        ([1], ["int64"], "const+int"),
        ([], ["utf8", "float64"], "any+float"),
        ([], ["int64", "decimal128(4, 2)"], "any+float"),
        ([], ["utf8", "utf8", "utf8", "utf8"], "2 more"),
    ],
)
def test_scalar(demo: Worker, peer: Connect, constants: list[int], columns: list[str], expected: str) -> None:
    values: dict[str, Any] = {"int64": 1, "int32": 1, "float64": 1.0, "decimal128(4, 2)": Decimal(1)}
    given = [(type_text, [values.get(type_text, "a")]) for type_text in columns]
    assert peer(demo).scalar("describe", *given, constants=constants) == [expected]


def test_nothing_matches(demo: Worker, peer: Connect) -> None:
    with pytest.raises(RemoteFailure) as caught:
        peer(demo).bind("describe", columns={"col_0": "date32"}, function_type="SCALAR")
    text = str(caught.value)
    assert text.startswith(
        "ArgumentError: No matching function 'describe' for arguments: input_columns=[col_0: date32]"
    )
    assert "Available overloads:\n  describe(a int64)\n" in text


def test_several_match(peer: Connect) -> None:
    worker = Worker("demo")
    for element in ("int16", "int32"):
        worker.register_ufunc("same", np.negative, f"x: {element} -> {element}")
    with pytest.raises(RemoteFailure, match=r"Ambiguous function call 'same': multiple overloads match"):
        peer(worker).bind("same", columns={"col_0": "int64"}, function_type="SCALAR")
    assert peer(worker).scalar("same", ("int32", [1])) == [-1]


def test_table_overloads_by_arity_and_type(peer: Connect) -> None:
    worker = Worker("demo")

    def make(text: str, function: Callable[..., Any]) -> None:
        worker.table(columns={"which": "utf8"}, name="series")(function)

    def by_count(count: int) -> Iterator[Any]:
        yield {"which": ["count"]}

    def by_text(values: str) -> Iterator[Any]:
        yield {"which": ["text"]}

    def by_step(step: float) -> Iterator[Any]:
        yield {"which": ["step"]}

    def by_range(start: int, stop: int, *, step: int = 1) -> Iterator[Any]:
        yield {"which": [f"range {step}"]}

    for function in (by_count, by_text, by_step, by_range):
        make(function.__name__, function)
    served = peer(worker)
    for arguments, named, expected in (
        ([1], {}, "count"),
        (["1,2"], {}, "text"),
        ([0.5], {}, "step"),
        ([1, 2], {}, "range 1"),
        ([1, 2], {"step": 3}, "range 3"),
    ):
        assert served.table("series", *arguments, named=named).rows() == {"which": [expected]}
    with pytest.raises(RemoteFailure, match="No matching function 'series'"):
        served.bind("series", 1, named={"stop": 2})


def named_answer(text: str, schema: str | None = None) -> Any:
    @scalar(name="where", schema=schema or "main")
    def where(x: Int64) -> Utf8:
        return answering(text, len(x))

    return where


def test_schemas_and_catalogs_are_separate(peer: Connect) -> None:
    def catalog(name: str) -> Catalog:
        schemas = [CatalogSchema("main", functions=[named_answer(f"{name}.main")]), CatalogSchema("Data")]
        return Catalog(name, schemas=schemas, functions=[named_answer(f"{name}.data", "data")])

    served = peer(Worker("twins", catalogs=[catalog("twin_a"), catalog("twin_b")]))
    other = served.call("catalog_attach", name="twin_b")["attach_opaque_data"]
    column = ("int64", [1])
    assert served.scalar("where", column) == ["twin_a.main"]
    assert served.scalar("where", column, schema_name="DATA") == ["twin_a.data"]
    assert served.scalar("where", column, attach_opaque_data=other) == ["twin_b.main"]
    with pytest.raises(RemoteFailure, match="Ambiguous function call 'where'"):
        served.scalar("where", column, schema_name=None)
    with pytest.raises(RemoteFailure, match=r"Cannot route 'where': catalogs \['twin_a', 'twin_b'\] all have it"):
        served.scalar("where", column, attach_opaque_data=None)
    with pytest.raises(
        RemoteFailure, match=r"is not registered in schema 'nope'. It is available in: \['data', 'main'\]"
    ):
        served.scalar("where", column, schema_name="nope")
    with pytest.raises(RemoteFailure, match=r"(?s)Unknown function: 'wher'.*did you mean 'where'\?"):
        served.scalar("wher", column)
    with pytest.raises(RemoteFailure, match="attach_opaque_data not recognized"):
        served.scalar("where", column, attach_opaque_data=b"garbage")


def test_a_scalar_and_a_table_function_may_share_a_name(peer: Connect) -> None:
    worker = Worker("demo", functions=[named_answer("scalar")])

    @table(columns="n: int64", name="where")
    def rows() -> Iterator[Any]:
        yield [1]

    worker.add(rows)
    served = peer(worker)
    assert served.scalar("where", ("int64", [1])) == ["scalar"]
    assert served.table("where").rows() == {"n": [1]}


@pytest.mark.parametrize(
    ("declared", "given", "expected"),
    [
        ("int64", "int64", 2),
        ("int64", "uint8", 1),
        ("int64", "float64", None),
        ("float64", "decimal128(10, 2)", 1),
        ("utf8", "utf8_view", 1),
        ("timestamp[us]", "timestamp[us, tz=UTC]", 2),
        ("timestamp[us]", "timestamp[ns]", 1),
        ("bool", "bool", 2),
        ("bool", "int8", None),
        ("int64", "null", 0),
        ("list<float64>", "large_list<float64>", 1),
        ("list<float64>", "list<utf8>", None),
        ("list<float64>", "fixed_size_list<float64>[2]", 1),
        ("fixed_size_list<float64>[2]", "list<float64>", None),
        ("struct<lat: float64>", "struct<lat: float64>", 2),
        ("struct<lat: float64>", "struct<lon: float64>", None),
        ("date32", "timestamp[us]", None),
        ("utf8", "dictionary<uint8, utf8>", 1),
    ],
)
def test_type_score(declared: str, given: str, expected: int | None) -> None:
    assert type_score(DataType(declared), DataType(given)) == expected
