"""ScalarPlan and Kernel: each form of argument, nulls, ufuncs, C functions, and what is refused."""

import ctypes
import ctypes.util
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.ma
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from vgi_fast._core import Array, Kernel, RecordBatch, ScalarPlan, Schema
from vgi_fast.errors import ArgumentError, RowCountMismatchError, TypeMismatchError

FLOATS = Schema.parse("a: float64, b: float64")
RESULT = Schema.parse("result: float64")
LONG = 20_000
"""Rows from which kernels run without the interpreter lock."""


def floats(a: list[float | None], b: list[float | None]) -> RecordBatch:
    return RecordBatch.from_pydict(FLOATS, {"a": a, "b": b})


def apply(plan: ScalarPlan, batch: RecordBatch) -> list[Any]:
    result = plan.apply(batch)
    assert result.num_rows == batch.num_rows
    result.to_arrow().validate(full=True)
    return result.column(0).to_pylist()


# ---- forms of arguments ----


def test_each_form() -> None:
    schema = Schema.parse("n: int64, t: utf8")
    seen: list[Any] = []

    def function(*args: Any, **named: Any) -> Any:
        seen[:] = [*args, named]
        return np.zeros(2)

    plan = ScalarPlan(
        function,
        [("numpy", 0), ("masked", 0), ("arrow", 1), ("array", 1), ("value", "x"), ("rows",)],
        schema,
        RESULT,
        keywords={"k": ("numpy", 1), "v": ("value", 5)},
    )
    assert apply(plan, RecordBatch.from_pydict(schema, {"n": [1, None], "t": ["a", "b"]})) == [0.0, None]
    numbers, masked, arrow, array, value, rows, named = seen
    assert (type(numbers), numbers.dtype, numbers[0]) == (np.ndarray, np.dtype("int64"), 1)
    assert not numbers.flags.writeable
    assert masked.tolist() == [1, None]
    assert isinstance(arrow, pa.StringArray)
    assert arrow.to_pylist() == ["a", "b"]
    assert type(array) is Array
    assert array.to_pylist() == ["a", "b"]
    assert (value, rows) == ("x", 2)
    assert {k: v.tolist() if k == "k" else v for k, v in named.items()} == {"k": ["a", "b"], "v": 5}


@pytest.mark.parametrize("form", ["numpy", "masked", "arrow", "array"])
def test_varargs(form: str) -> None:
    schema = Schema.of({f"c{i}": "int64" for i in range(5)})
    seen: list[Any] = []

    def function(*args: Any) -> Any:
        seen[:] = args
        return np.zeros(1)

    plan = ScalarPlan(function, [("value", "first"), ("varargs", form, 2)], schema, RESULT)
    plan.apply(RecordBatch.from_row(schema, {f"c{i}": i for i in range(5)}))
    assert seen[0] == "first"
    assert [arg[0].as_py() if form == "arrow" else int(arg[0]) for arg in seen[1:]] == [2, 3, 4]


def test_more_arguments_than_a_vectorcall_holds() -> None:
    schema = Schema.of({f"c{i}": "int64" for i in range(200)})
    plan = ScalarPlan(
        lambda *args, extra: sum(args) + extra,
        [("varargs", "numpy", 0)],
        schema,
        Schema.parse("s: int64"),
        keywords={"extra": ("value", 1)},
    )
    assert apply(plan, RecordBatch.from_row(schema, {f"c{i}": i for i in range(200)})) == [sum(range(200)) + 1]
    plain = ScalarPlan(lambda *args: sum(args), [("varargs", "numpy", 0)], schema, Schema.parse("s: int64"))
    assert apply(plain, RecordBatch.from_row(schema, {f"c{i}": i for i in range(200)})) == [sum(range(200))]


def test_no_columns() -> None:
    plan = ScalarPlan(lambda rows: np.arange(rows), [("rows",)], Schema([]), Schema.parse("n: int64"))
    for rows in (0, 1, 1000):
        assert apply(plan, RecordBatch(Schema([]), [], rows)) == list(range(rows))


def test_no_rows() -> None:
    plan = ScalarPlan(np.add, [("numpy", 0), ("numpy", 1)], FLOATS, RESULT)
    assert apply(plan, floats([], [])) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [()],
        [("numbers", 0)],
        [("numpy", 2)],
        [("numpy", -1)],
        [("array", 99)],
        [("varargs", "numpy", -1)],
        [("varargs", "nothing", 0)],
        [("numpy",)],
        [("value",)],
        [("numpy", "a")],
    ],
)
def test_impossible_arguments(arguments: list[Any]) -> None:
    with pytest.raises((ValueError, KeyError, IndexError, TypeError)):
        ScalarPlan(np.add, arguments, FLOATS, RESULT)


def test_impossible_plans() -> None:
    with pytest.raises(ValueError, match="one result column"):
        ScalarPlan(np.add, [], FLOATS, FLOATS)
    with pytest.raises(ValueError, match="one result column"):
        ScalarPlan(np.add, [], FLOATS, Schema([]))
    with pytest.raises(TypeError, match="callable or a Kernel"):
        ScalarPlan(5, [], FLOATS, RESULT)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ScalarPlan(np.add, [], None, RESULT)  # type: ignore[arg-type]


# ---- results ----


@pytest.mark.parametrize(
    "result",
    [
        lambda a: a + 1,
        lambda a: (a + 1).tolist(),
        lambda a: pa.array(a + 1),
        lambda a: pa.array(a + 1).cast(pa.float32()),
        lambda a: pa.chunked_array([pa.array(a + 1)]),
        lambda a: Array.from_numpy(a + 1, "float64"),
        lambda a: (a + 1).astype("float32"),
        lambda a: (a + 1).astype("int64"),
        lambda a: np.ma.MaskedArray(a + 1),
        lambda a: np.stack([a + 1, a])[0],
        lambda a: np.stack([a + 1, a], 1)[:, 0],
    ],
)
def test_forms_of_results(result: Callable[[Any], Any]) -> None:
    plan = ScalarPlan(result, [("numpy", 0)], Schema.parse("a: float64"), RESULT)
    batch = RecordBatch.from_pydict(Schema.parse("a: float64"), {"a": [1.0, None, 3.0]})
    assert apply(plan, batch) == [2.0, None, 4.0]


def test_results_of_other_types() -> None:
    schema = Schema.parse("a: int64")
    batch = RecordBatch.from_pydict(schema, {"a": [1, None, 3]})
    for text, function, expected in [
        ("bool", lambda a: a > 1, [False, None, True]),
        ("utf8", lambda a: np.array([str(v) for v in a], object), ["1", None, "3"]),
        ("list<int64>", lambda a: [[v] for v in a.tolist()], [[1], None, [3]]),
        ("struct<x: int64>", lambda a: [{"x": v} for v in a.tolist()], [{"x": 1}, None, {"x": 3}]),
        ("timestamp[us]", lambda a: a.astype("M8[us]"), None),
        ("decimal128(5, 1)", lambda a: a.tolist(), None),
        ("null", lambda a: pa.nulls(3), [None] * 3),
    ]:
        if text == "null":
            batch_values = [None] * 3
        plan = ScalarPlan(function, [("numpy", 0)], schema, Schema.of({"r": text}))
        values = apply(plan, batch)
        assert values[1] is None
        assert expected is None or values == expected
    assert batch_values == [None] * 3


def test_output_metadata() -> None:
    plan = ScalarPlan(np.add, [("numpy", 0), ("numpy", 1)], FLOATS, RESULT, metadata={b"k": b"v"})
    assert plan.apply(floats([1], [2])).metadata == {b"k": b"v"}
    assert ScalarPlan(np.add, [("numpy", 0), ("numpy", 1)], FLOATS, RESULT).apply(floats([1], [2])).metadata == {}


@pytest.mark.parametrize("result", [np.zeros(2), np.zeros(4), [1.0], [], pa.array([1.0]), np.zeros(0, "float32")])
def test_wrong_lengths(result: Any) -> None:
    plan = ScalarPlan(lambda a: result, [("numpy", 0)], FLOATS, RESULT)
    with pytest.raises(RowCountMismatchError, match=rf"Expected 3 rows, got {len(result)}"):
        plan.apply(floats([1, 2, 3], [1, 2, 3]))


@pytest.mark.parametrize(
    "result",
    [
        5,
        None,
        "abc",
        np.zeros((3, 1)),
        np.array(["a", "b", "c"]),
        ["x", "y", "z"],
        pa.array([[1], [2], [3]]),
        np.zeros(3, complex),
    ],
)
def test_wrong_types(result: Any) -> None:
    plan = ScalarPlan(lambda a: result, [("numpy", 0)], FLOATS, RESULT)
    with pytest.raises(TypeMismatchError):
        plan.apply(floats([1, 2, 3], [1, 2, 3]))


def test_errors_of_functions_pass_through() -> None:
    def function(a: Any) -> Any:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        ScalarPlan(function, [("numpy", 0)], FLOATS, RESULT).apply(floats([1], [1]))
    with pytest.raises(TypeError):
        ScalarPlan(lambda: 1, [("numpy", 0)], FLOATS, RESULT).apply(floats([1], [1]))


def test_results_outlive_their_batch() -> None:
    plan = ScalarPlan(lambda a: a, [("numpy", 0)], FLOATS, RESULT)
    results = [plan.apply(floats([float(i)] * 100, [0.0] * 100)) for i in range(50)]
    assert [r.column(0)[99] for r in results] == [float(i) for i in range(50)]


# ---- nulls ----


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 63, 64, 65, 200])
@pytest.mark.parametrize("offset", [0, 1, 8, 13])
def test_nulls_are_united(length: int, offset: int) -> None:
    a = [None if i % 3 == 0 else float(i) for i in range(offset + length)]
    b = [None if i % 5 == 0 else float(i) for i in range(offset + length)]
    batch = floats(a, b).slice(offset, length)
    expected = [None if x is None or y is None else x + y for x, y in zip(a[offset:], b[offset:], strict=True)]
    plan = ScalarPlan(np.add, [("numpy", 0), ("numpy", 1)], FLOATS, RESULT)
    assert apply(plan, batch) == expected
    assert plan.apply(batch).column(0).null_count == expected.count(None)
    only_first = ScalarPlan(lambda a: np.nan_to_num(a), [("numpy", 0)], FLOATS, RESULT)
    assert [v is None for v in apply(only_first, batch)] == [v is None for v in expected]


def test_own_nulls_are_kept() -> None:
    plan = ScalarPlan(lambda a: np.ma.MaskedArray(a, mask=[False, False, True, True]), [("numpy", 0)], FLOATS, RESULT)
    assert apply(plan, floats([1, None, 3, None], [1, 1, 1, 1])) == [1.0, None, None, None]
    nullable = ScalarPlan(lambda a: pa.array([None, 2.0, 3.0]).slice(0, 3), [("numpy", 0)], FLOATS, RESULT)
    assert apply(nullable, floats([1, None, 3], [1, 1, 1])) == [None, None, 3.0]


def test_sliced_results() -> None:
    column = pa.array([None, 1.0, 2.0, 3.0, None, 5.0])
    plan = ScalarPlan(lambda a: column.slice(1, 3), [("numpy", 0)], FLOATS, RESULT)
    assert apply(plan, floats([1, None, 3], [1, 1, 1])) == [1.0, None, 3.0]
    assert column.to_pylist() == [None, 1.0, 2.0, 3.0, None, 5.0]


def test_nulls_left_to_the_function() -> None:
    plan = ScalarPlan(pc.coalesce, [("arrow", 0), ("arrow", 1)], FLOATS, RESULT, propagate_nulls=False)
    assert apply(plan, floats([1, None, None], [2, 2, None])) == [1.0, 2.0, None]


def test_null_columns() -> None:
    schema = Schema.parse("a: null")
    plan = ScalarPlan(lambda rows: np.ones(rows), [("rows",)], schema, RESULT)
    assert apply(plan, RecordBatch.from_pydict(schema, {"a": [None, None]})) == [None, None]


def test_unions_have_no_nulls_to_unite() -> None:
    schema = Schema.parse("u: sparse_union<0: a: int64, 1: b: utf8>")
    plan = ScalarPlan(lambda u: np.ones(len(u)), [("array", 0)], schema, RESULT)
    assert apply(plan, RecordBatch.from_pydict(schema, {"u": [("a", None), ("b", "x")]})) == [1.0, 1.0]


def test_an_array_returned_again_keeps_its_values() -> None:
    """A function may return the same Array for every batch; the nulls of one batch are not those of the next."""
    constant = Array.from_pylist([1.0, 2.0, 3.0], "float64")
    plan = ScalarPlan(lambda a: constant, [("numpy", 0)], FLOATS, RESULT)
    assert apply(plan, floats([None, 1, 1], [1, 1, 1])) == [None, 2.0, 3.0]
    assert apply(plan, floats([1, None, 1], [1, 1, 1])) == [1.0, None, 3.0]
    assert constant.to_pylist() == [1.0, 2.0, 3.0]


def test_an_input_returned_as_it_is() -> None:
    schema = Schema.parse("a: float64")
    whole = RecordBatch.from_pydict(schema, {"a": [1.0, 2.0]})
    two = RecordBatch(Schema.parse("a: float64, b: int8"), [whole.column(0), Array.from_pylist([None, 1], "int8")])
    plan = ScalarPlan(lambda b: whole.column(0), [("array", 1)], two.schema, RESULT)
    assert apply(plan, two) == [None, 2.0]
    assert whole.to_pydict() == {"a": [1.0, 2.0]}


# ---- ufuncs ----


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.hypot, np.maximum, np.arctan2])
def test_ufuncs(ufunc: np.ufunc) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 1000))
    batch = RecordBatch(FLOATS, [Array.from_numpy(a, "float64"), Array.from_numpy(b, "float64")])
    plan = ScalarPlan(ufunc, [("numpy", 0), ("numpy", 1)], FLOATS, RESULT)
    np.testing.assert_array_equal(plan.apply(batch).column(0).to_numpy(), ufunc(a, b))


def test_ufuncs_of_other_types() -> None:
    schema = Schema.parse("a: int16")
    batch = RecordBatch.from_pydict(schema, {"a": [1, -2, None]})
    assert apply(ScalarPlan(np.negative, [("numpy", 0)], schema, Schema.parse("r: int16")), batch) == [-1, 2, None]
    assert apply(ScalarPlan(np.sign, [("numpy", 0)], schema, Schema.parse("r: int64")), batch) == [1, -1, None]
    assert apply(ScalarPlan(np.isfinite, [("numpy", 0)], schema, Schema.parse("r: bool")), batch) == [True, True, None]


# ---- kernels ----

UNARY = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
BINARY = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_double)
LOOP = ctypes.CFUNCTYPE(
    None,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_ssize_t),
    ctypes.POINTER(ctypes.c_ssize_t),
    ctypes.c_void_p,
)


def address_of(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address
    return address


weighted = BINARY(lambda a, b: a + 10 * b)


def add_in_a_loop(args: Any, dimensions: Any, strides: Any, data: Any) -> None:
    count = dimensions[0]
    a, b, out = (
        np.ndarray(count, "float64", (ctypes.c_char * max(count * 8, 1)).from_address(args[i]), strides=(strides[i],))
        for i in range(3)
    )
    np.add(a, b, out=out)


add_loop = LOOP(add_in_a_loop)

COLUMNS: list[tuple[Any, ...]] = [("numpy", 0), ("numpy", 1)]


def test_kernel_per_row() -> None:
    kernel = Kernel(address_of(weighted), "double(double, double)", weighted)
    assert kernel.arity == 2
    plan = ScalarPlan(kernel, COLUMNS, FLOATS, RESULT)
    assert apply(plan, floats([1, None, 3], [4, 5, 6])) == [41.0, None, 63.0]
    assert apply(plan, floats([0, 1, 2, 3], [1, 1, 1, 1]).slice(1, 2)) == [11.0, 12.0]
    assert apply(plan, floats([], [])) == []


def test_kernel_loop() -> None:
    kernel = Kernel(address_of(add_loop), "loop")
    assert kernel.arity == 0
    plan = ScalarPlan(kernel, COLUMNS, FLOATS, RESULT)
    assert apply(plan, floats([1, None, 3], [4, 5, 6])) == [5.0, None, 9.0]


def test_kernels_without_the_interpreter_lock() -> None:
    a = np.arange(LONG, dtype="float64")
    batch = RecordBatch(FLOATS, [Array.from_numpy(a, "float64"), Array.from_numpy(a, "float64")])
    for kernel, expected in [
        (Kernel(address_of(add_loop), "loop"), a + a),
        (Kernel(address_of(weighted), "double(double,double)"), a * 11),
    ]:
        result = ScalarPlan(kernel, COLUMNS, FLOATS, RESULT).apply(batch)
        np.testing.assert_array_equal(result.column(0).to_numpy(), expected)


@pytest.mark.parametrize("arity", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("c_type", "name", "text"), [(ctypes.c_double, "double", "float64"), (ctypes.c_int64, "int64_t", "int64")]
)
def test_kernels_of_each_arity(arity: int, c_type: Any, name: str, text: str) -> None:
    function = ctypes.CFUNCTYPE(c_type, *[c_type] * arity)(lambda *args: sum(v * 10**i for i, v in enumerate(args)))
    signature = f"{name}({', '.join([name] * arity)})"
    kernel = Kernel(address_of(function), signature, function)
    assert kernel.arity == arity
    schema = Schema.of({f"c{i}": text for i in range(arity)})
    plan = ScalarPlan(kernel, [("numpy", i) for i in range(arity)], schema, Schema.of({"r": text}))
    batch = RecordBatch.from_pydict(schema, {f"c{i}": [i + 1, 2, None] for i in range(arity)})
    first = sum((i + 1) * 10**i for i in range(arity))
    assert apply(plan, batch) == [first, sum(2 * 10**i for i in range(arity)), None]


def test_kernel_from_libm() -> None:
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    schema = Schema.parse("a: float64")
    plan = ScalarPlan(Kernel(address_of(libm.cos), "double(double)"), [("numpy", 0)], schema, RESULT)
    assert apply(plan, RecordBatch.from_pydict(schema, {"a": [0.0, None]})) == [1.0, None]


def capsule(address: int, name: bytes | None) -> Any:
    new = ctypes.pythonapi.PyCapsule_New
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return new(address, name, None)


@pytest.mark.parametrize("name", [None, b"double (double, double)"])
def test_kernel_from_a_capsule(name: bytes | None) -> None:
    kernel = Kernel(capsule(address_of(weighted), name), "double(double, double)", (weighted, name))
    assert apply(ScalarPlan(kernel, COLUMNS, FLOATS, RESULT), floats([1], [2])) == [21.0]


def test_kernel_from_an_object_with_address() -> None:
    class Compiled:
        address = address_of(weighted)

    kernel = Kernel(Compiled(), "double(double, double)")
    assert apply(ScalarPlan(kernel, COLUMNS, FLOATS, RESULT), floats([1], [2])) == [21.0]
    assert Kernel(ctypes.c_void_p(address_of(weighted)), "double(double, double)").arity == 2


@pytest.mark.parametrize(
    "signature",
    ["", "double", "double()", "double(float)", "float(float)", "double(double, int64_t)", "double(double", "loops",
     "double(double, double, double, double, double)", "int64_t(double)", "void(double)"],
)  # fmt: skip
def test_signatures_that_are_not_supported(signature: str) -> None:
    with pytest.raises(ValueError, match="not supported"):
        Kernel(address_of(weighted), signature)


@pytest.mark.parametrize("pointer", [None, 0, -5, "address", 1.5, object()])
def test_what_is_not_a_function(pointer: object) -> None:
    with pytest.raises(TypeError, match="function address"):
        Kernel(pointer, "double(double)")


def test_kernels_and_columns_that_do_not_fit() -> None:
    kernel = Kernel(address_of(weighted), "double(double, double)")
    ints = Schema.parse("a: int64, b: int64")
    text = Schema.parse("a: utf8, b: utf8")
    with pytest.raises(ValueError, match="2 arguments is called with 1"):
        ScalarPlan(kernel, COLUMNS[:1], FLOATS, RESULT)
    with pytest.raises(TypeMismatchError, match="cannot take column 'a' of int64"):
        ScalarPlan(kernel, COLUMNS, ints, RESULT)
    with pytest.raises(TypeMismatchError, match="cannot write int64"):
        ScalarPlan(kernel, COLUMNS, FLOATS, Schema.parse("r: int64"))
    with pytest.raises(TypeMismatchError, match="columns only"):
        ScalarPlan(kernel, [("numpy", 0), ("value", 1.0)], FLOATS, RESULT)
    loop = Kernel(address_of(add_loop), "loop")
    with pytest.raises(TypeMismatchError, match="cannot take column"):
        ScalarPlan(loop, COLUMNS, text, RESULT)
    for result in ("utf8", "bool", "list<float64>", "decimal128(3, 1)"):
        with pytest.raises(TypeMismatchError, match="fixed-width"):
            ScalarPlan(loop, COLUMNS, FLOATS, Schema.of({"r": result}))
    many = Schema.of({f"c{i}": "float64" for i in range(64)})
    with pytest.raises(ValueError, match="at most 63 columns"):
        ScalarPlan(loop, [("numpy", i) for i in range(64)], many, RESULT)


@pytest.mark.parametrize("text", ["a: float64", "", "a: int8, b: int8", "a: utf8, b: bool"])
def test_batches_of_another_schema(text: str) -> None:
    schema = Schema.parse(text)
    batch = RecordBatch(schema, [Array.from_pylist([None], t) for t in schema.types], 1)
    for function in (Kernel(address_of(weighted), "double(double, double)"), np.add):
        with pytest.raises(ArgumentError):
            ScalarPlan(function, COLUMNS, FLOATS, RESULT).apply(batch)
