"""Mistakes in declarations, reported where they are made."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from vgi_fast import (
    AnyColumn,
    Arg,
    CallerIdentity,
    Catalog,
    CatalogSchema,
    Const,
    ConstParam,
    DefinitionError,
    Int64,
    OutputCollector,
    OutputLength,
    Param,
    ProcessParams,
    Projection,
    ScalarFunction,
    SecretType,
    SettingSpec,
    TableFunctionGenerator,
    TableInput,
    Worker,
    scalar,
    table,
)


def bare_python_type(x: int) -> Int64: ...  # type: ignore[empty-body]
def no_annotation(x) -> Int64: ...  # type: ignore[no-untyped-def, empty-body]
def no_result(x: Int64): ...  # type: ignore[no-untyped-def]
def any_result(x: Int64) -> AnyColumn: ...  # type: ignore[empty-body]
def has_default(x: Int64, y: Const[int] = 1) -> Int64: ...  # type: ignore[empty-body]
def keywords(x: Int64, **more: Int64) -> Int64: ...  # type: ignore[empty-body]
def variadic_constant(*x: Const[int]) -> Int64: ...  # type: ignore[empty-body]
def both_bounds(x: Annotated[int, ConstParam(ge=1, gt=0)]) -> Int64: ...  # type: ignore[empty-body]
def decimal(x: pa.Decimal128Array) -> Int64: ...  # type: ignore[empty-body]
def objects(x: npt.NDArray[np.object_]) -> Int64: ...  # type: ignore[empty-body]
def bad_text(x: Annotated[pa.Array, Param(arrow_type="int65")]) -> Int64: ...  # type: ignore[empty-body]
def typed_bound(x: Annotated[Int64, Param(type_bound=bool)]) -> Int64: ...  # type: ignore[empty-body]
def projected(x: Int64, p: Projection) -> Int64: ...  # type: ignore[empty-body]
def two_callers(x: Int64, a: CallerIdentity, b: CallerIdentity) -> Int64: ...  # type: ignore[empty-body]
def early_varargs(x: Annotated[list[Int64], Param(varargs=True)], y: Int64) -> Int64: ...  # type: ignore[empty-body]
def unknown_name(x: "Missing") -> Int64: ...  # type: ignore[name-defined, empty-body]  # noqa: F821
def bad_pattern(x: Annotated[str, ConstParam(pattern="(")]) -> Int64: ...  # type: ignore[empty-body]
def takes_table(x: TableInput) -> Int64: ...  # type: ignore[empty-body]


SCALAR_MISTAKES: dict[Callable[..., Any], str] = {
    bare_python_type: "parameter 'x': int is neither a column nor marked as a constant",
    no_annotation: "parameter 'x' has no annotation",
    no_result: "has no result type",
    any_result: "pass returns=",
    has_default: "parameter 'y': an argument of a scalar function cannot have a default",
    keywords: r"\*\*more",
    variadic_constant: "parameter 'x': a constant of a scalar function cannot be variadic",
    both_bounds: "ge and gt exclude each other",
    decimal: "pyarrow.Decimal128Array has type parameters",
    objects: "does not determine an Arrow type",
    bad_text: "parameter 'x'.*int65",
    typed_bound: "type_bound is for parameters of any type",
    projected: "a scalar function has no projection",
    two_callers: "more than one parameter takes the caller's identity",
    early_varargs: "varargs parameter 'x' must be the last",
    unknown_name: "cannot evaluate the annotation of 'x'.*Missing",
    bad_pattern: "is not a regular expression",
    takes_table: "has no TABLE argument",
}


@pytest.mark.parametrize("function", SCALAR_MISTAKES, ids=lambda function: function.__name__)
def test_scalar(function: Callable[..., Any]) -> None:
    with pytest.raises(
        DefinitionError, match=f"(?s)scalar function '{function.__name__}'.*{SCALAR_MISTAKES[function]}"
    ):
        scalar(function)


def column_argument(x: Int64) -> Iterator[Any]: ...  # type: ignore[empty-body]
def row_count(x: Annotated[int, OutputLength()]) -> Iterator[Any]: ...  # type: ignore[empty-body]
def breaks_itself(*, x: Annotated[int, Param(ge=1)] = 0) -> Iterator[Any]: ...  # type: ignore[empty-body]
def relation(x: TableInput) -> Iterator[Any]: ...  # type: ignore[empty-body]
def unknown_type(x: complex) -> Iterator[Any]: ...  # type: ignore[empty-body]
def no_mistake(x: int) -> Iterator[Any]: ...  # type: ignore[empty-body]


TABLE_MISTAKES: dict[Callable[..., Any], str] = {
    column_argument: "parameter 'x': .* arguments of a table function are constants",
    row_count: "decides how many rows",
    breaks_itself: "the default 0 breaks",
    relation: "takes a table, which functions of @table_in_out and @table_buffering do",
    unknown_type: "no Arrow type is known for complex",
}


@pytest.mark.parametrize("function", TABLE_MISTAKES, ids=lambda function: function.__name__)
def test_table(function: Callable[..., Any]) -> None:
    with pytest.raises(DefinitionError, match=f"table function '{function.__name__}'.*{TABLE_MISTAKES[function]}"):
        table(columns="n: int64")(function)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "has no columns"),
        ({"columns": {}}, "at least one column"),
        ({"columns": {"a": "int65"}}, "int65"),
        ({"columns": {"a": object()}}, "column 'a'"),
        ({"columns": "n: int64", "max_workers": 2}, "needs a class with on_init"),
        ({"columns": "n: int64", "max_workers": 0}, "max_workers must be an int >= 1"),
        ({"columns": "n: int64", "has_finalize": True}, "has_finalize is an option of functions over tables"),
        ({"columns": "n: int64", "order_preservation": "sorted"}, "must be one of 'preserves_order'"),
        ({"columns": "n: int64", "colums": 1}, "unknown option 'colums'"),
        ({"columns": "n: int64", "null_handling": "special"}, "options of scalar functions"),
        ({"columns": "n: int64", "cache_control": {"tll": 1}}, "unknown cache control 'tll'"),
        ({"columns": "n: int64", "examples": "SELECT 1"}, "examples must be a list"),
        ({"columns": "n: int64", "required_secrets": [1]}, "a required secret is"),
    ],
)
def test_table_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(DefinitionError, match=f"table function 'no_mistake'.*{text}"):
        table(**options)(no_mistake)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"stability": "always"}, "stability must be one of 'consistent', 'volatile'"),
        ({"columns": "n: int64"}, "columns is an option of table functions"),
        ({"returns": "nothing"}, "nothing"),
        ({"name": ""}, None),
    ],
)
def test_scalar_options(options: dict[str, Any], text: str | None) -> None:
    def function(x: Int64) -> Int64:
        return x

    if text is None:
        scalar(**options)(function)
        return
    with pytest.raises(DefinitionError, match=text):
        scalar(**options)(function)


def test_ufuncs_and_kernels() -> None:
    worker = Worker("demo")
    for arguments, text in (
        ((np.hypot, "float64 -> float64"), "takes 2 and gives 1"),
        ((np.hypot, "float64, float64"), "is not a signature"),
        ((np.modf, "float64 -> float64"), "takes 1 and gives 2"),
        ((max, "float64 -> float64"), "expected a NumPy ufunc"),
    ):
        with pytest.raises(DefinitionError, match=text):
            worker.register_ufunc("f", *arguments)
    with pytest.raises(DefinitionError, match=r"docs has \['y'\], but the signature is 'x: float64 -> float64'"):
        worker.register_ufunc("f", np.sqrt, "x: float64 -> float64", docs={"y": "Not there"})
    with pytest.raises(DefinitionError, match="no C type is known for utf8"):
        worker.register_kernel("f", 1, "utf8 -> utf8")


def test_classes() -> None:
    class Empty(ScalarFunction):
        pass

    class Idle(TableFunctionGenerator[None]):
        FIXED_SCHEMA = "n: int64"

    @dataclass
    class Unmarked:
        count: int

    @dataclass
    class Gap:
        count: Annotated[int, Arg(1)]

    def process(cls: Any, params: ProcessParams[Any], state: Any, out: OutputCollector) -> None:
        pass

    def with_arguments(arguments: type) -> type:
        members = {"FIXED_SCHEMA": "n: int64", "FunctionArguments": arguments, "process": classmethod(process)}
        return type("Broken", (TableFunctionGenerator,), members)

    for cls, text in (
        (Empty, "no method 'compute'"),
        (Idle, "no method 'process'"),
        (with_arguments(Unmarked), "argument 'count': expected Annotated"),
        (with_arguments(Gap), "positions of Gap must be 0, 1"),
    ):
        with pytest.raises(DefinitionError, match=text):
            Worker("demo", functions=[cls])


def test_unknown_meta_attributes_are_a_warning() -> None:
    class Named(ScalarFunction):
        class Meta:
            name = "other"
            colour = "red"

        @classmethod
        def compute(cls, x: Int64) -> Int64:
            return x

    with pytest.warns(UserWarning, match=r"Named\.Meta: unknown attribute 'colour' is ignored"):
        Worker("demo", functions=[Named])


def test_catalogs() -> None:
    def declared(x: Int64) -> Int64:
        return x

    scalar(schema="data")(declared)
    for make, text in (
        (lambda: Catalog(""), "must have 1 to 255 bytes"),
        (lambda: Catalog("a", default_schema="x", schemas=[CatalogSchema("main")]), "default_schema 'x' not found"),
        (lambda: Catalog("a", schemas=[CatalogSchema("main"), CatalogSchema("MAIN")]), "duplicate schema name 'MAIN'"),
        (lambda: Catalog("a", global_function_prefix="Bad"), "must match"),
        (lambda: Catalog("a", settings=[SettingSpec("x", "utf8"), SettingSpec("X", "utf8")]), "duplicate setting 'x'"),
        (lambda: SecretType("s", {"a": "utf8"}, redact=["b"]), "redacted parameter 'b'"),
        (lambda: SettingSpec("x", "null"), "needs a concrete type"),
        (lambda: Worker("a", catalogs=[Catalog("b"), Catalog("b")]), "duplicate catalog name 'b'"),
        (lambda: Worker("a", functions=[len]), "len is not a function of a worker"),
        (lambda: Worker("a", functions=[declared, declared]), "registered twice"),
        (lambda: Worker("a", catalogs=[Catalog("b", global_functions=["f"])]).service(), "must be in exactly one"),
        (
            lambda: Worker("a", catalogs=[Catalog("b", schemas=[CatalogSchema("main", functions=[declared])])]),
            "says schema 'data' but is listed in 'main'",
        ),
    ):
        with pytest.raises(DefinitionError, match=text):
            make()
