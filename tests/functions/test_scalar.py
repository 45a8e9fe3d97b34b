"""Scalar functions in every form, called as DuckDB calls them."""

import ctypes
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.fix_memory import Peer, RemoteFailure
from vgi_fast import (
    AnyColumn,
    Array,
    BindParams,
    BindResponse,
    CallerIdentity,
    ClientLog,
    Const,
    ConstParam,
    Field,
    Float64,
    InitParams,
    Int64,
    OutputLength,
    Param,
    Returns,
    ScalarFunction,
    Setting,
    SettingSpec,
    Utf8,
    Worker,
    scalar,
)

Connect = Callable[..., Peer]


@pytest.fixture
def demo() -> Worker:
    return Worker("demo")


def test_numpy_columns_are_masked_by_the_framework(demo: Worker, peer: Connect) -> None:
    @demo.scalar
    def add(x: Int64, y: npt.NDArray[np.int64]) -> Int64:
        assert type(x) is np.ndarray
        return x + y

    assert peer(demo).scalar("add", ("int64", [1, None, 3]), ("int64", [10, 20, None])) == [11, None, None]


def test_special_null_handling_gives_masked_arrays(demo: Worker, peer: Connect) -> None:
    @demo.scalar(null_handling="special")
    def fill(x: Int64) -> Int64:
        assert isinstance(x, np.ma.MaskedArray)
        return x.filled(-1)

    assert peer(demo).scalar("fill", ("int64", [1, None])) == [1, -1]
    assert peer(demo).scalar("fill", ("int64", [1, 2])) == [1, 2]


def test_nulls_may_reach_the_author_of_a_default_function(demo: Worker, peer: Connect) -> None:
    @demo.scalar(propagate_nulls=False)
    def shown(x: Int64, text: Utf8) -> Utf8:
        assert isinstance(x, np.ma.MaskedArray)
        return np.array([f"{number} {word}" for number, word in zip(x.tolist(), text.tolist(), strict=True)], object)

    served = peer(demo)
    assert served.scalar("shown", ("int64", [1, None]), ("utf8", [None, "a"])) == ["1 None", "None a"]
    (info,) = served.functions("SCALAR_FUNCTION")
    assert info["null_handling"] == "DEFAULT"


def test_pyarrow_columns(demo: Worker, peer: Connect) -> None:
    @demo.scalar
    def upper(text: pa.StringArray) -> pa.StringArray:
        assert isinstance(text, pa.StringArray)
        return pc.utf8_upper(text)

    assert peer(demo).scalar("upper", ("utf8", ["a", None])) == ["A", None]


def test_core_array_and_type_found_at_bind(demo: Worker, peer: Connect) -> None:
    @demo.scalar(returns=lambda params: params.input_types[0])
    def same(x: Array) -> Array:
        return x

    served = peer(demo)
    assert served.scalar("same", ("utf8", ["a", None])) == ["a", None]
    assert served.scalar("same", ("list<int32>", [[1], None])) == [[1], None]
    (info,) = served.functions("SCALAR_FUNCTION")
    published = pa.ipc.read_schema(pa.py_buffer(info["output_schema"]))
    assert published.field("result").type == pa.null()
    assert published.field("result").metadata == {b"vgi:any": b"true"}


def test_a_declared_type_wins_over_the_session_s_variant(demo: Worker, peer: Connect) -> None:
    @demo.scalar
    def size(text: pa.StringArray) -> Annotated[Any, Returns(arrow_type="int32")]:
        return pc.utf8_length(text)

    assert peer(demo).scalar("size", ("large_utf8", ["abc", None])) == [3, None]


def test_constants_are_numbered_among_themselves(demo: Worker, peer: Connect) -> None:
    @demo.scalar
    def affine(slope: Const[float], x: Float64, offset: Annotated[float, ConstParam(ge=0)]) -> Float64:
        return slope * x + offset

    served = peer(demo)
    assert served.scalar("affine", ("float64", [1.0, 2.0]), constants=[10.0, 1.0]) == [11.0, 21.0]
    with pytest.raises(RemoteFailure, match=r"(?s)'offset' is too small.*must be >= 0"):
        served.bind("affine", 10.0, -1.0, columns={"col_0": "float64"}, function_type="SCALAR")
    with pytest.raises(RemoteFailure, match="Argument 'slope' cannot be NULL."):
        served.bind("affine", None, 1.0, types=["float64"], columns={"col_0": "float64"}, function_type="SCALAR")
    with pytest.raises(RemoteFailure, match="missing required argument 'offset'"):
        served.bind("affine", 1.0, columns={"col_0": "float64"}, function_type="SCALAR")


def test_varargs_in_both_spellings(demo: Worker, peer: Connect) -> None:
    @demo.scalar
    def spread(first: Int64, *rest: Int64) -> Int64:
        return first + sum(rest)

    @demo.scalar
    def listed(
        values: Annotated[list[pa.Int64Array], Param(varargs=True)], rows: Annotated[int, OutputLength()]
    ) -> Int64:
        assert isinstance(values, list)
        return np.full(rows, len(values))

    served = peer(demo)
    column = ("int64", [1, 2])
    assert served.scalar("spread", column, column, column) == [3, 6]
    assert served.scalar("listed", column, column, column) == [3, 3]
    with pytest.raises(RemoteFailure, match="Varargs parameter 'rest' requires at least 1 value."):
        served.bind("spread", columns={"col_0": "int64"}, function_type="SCALAR")


def test_without_columns_the_row_count_decides(demo: Worker, peer: Connect) -> None:
    @demo.scalar
    def seven(rows: Annotated[int, OutputLength()]) -> Int64:
        return np.full(rows, 7)

    from vgi_fast import RecordBatch, Schema
    from vgi_fast.wire.arrow import encode_stream

    served = peer(demo)
    bind_call = served.bind_request("seven", columns={}, function_type="SCALAR")
    batches = [RecordBatch(Schema([]), [], 3), RecordBatch(Schema([]), [], 1)]
    _, answer = served.exchange(served.init_request(bind_call) + encode_stream(Schema([]), batches))
    assert [batch.num_rows for batch, _ in answer.checked().batches] == [3, 1]


def test_settings_identity_and_log_are_injected(peer: Connect) -> None:
    worker = Worker("demo", settings=[SettingSpec("factor", "int64", 1)])

    @worker.scalar
    def scaled(x: Int64, factor: Annotated[int, Setting()], who: CallerIdentity, log: ClientLog) -> Int64:
        log("INFO", f"scaling for {who.principal}")
        return x * factor

    served = peer(worker)
    from vgi_fast import Schema
    from vgi_fast.wire.arrow import encode_row

    settings = encode_row(Schema.of({"factor": "int64"}), {"factor": 3})
    answer = served.scalar_stream("scaled", [{"x": [1, 2]}], {"x": "int64"}, settings=settings)
    assert answer.rows() == {"result": [3, 6]}
    assert answer.logs == [("INFO", "scaling for None")]
    with pytest.raises(RemoteFailure, match=r"Function 'scaled' requires settings: \['factor'\]"):
        served.bind("scaled", columns={"col_0": "int64"}, function_type="SCALAR")
    (info,) = served.functions("SCALAR_FUNCTION")
    assert info["required_settings"] == ["factor"]


def test_a_ufunc_runs_without_python(demo: Worker, peer: Connect) -> None:
    demo.register_ufunc("hypot", np.hypot, "x: float64, y: float64 -> float64", categories=["math"])
    served = peer(demo)
    assert served.scalar("hypot", ("float64", [3.0, None]), ("float64", [4.0, 1.0])) == [5.0, None]
    (info,) = served.functions("SCALAR_FUNCTION")
    assert pa.ipc.read_schema(pa.py_buffer(info["arguments"])).names == ["x", "y"]
    assert info["description"].startswith("Given the ")
    assert info["categories"] == ["math"]


def test_a_ufunc_takes_constants(demo: Worker, peer: Connect) -> None:
    demo.register_ufunc("times", np.multiply, "value: int64, factor: const int64 -> int64")
    served = peer(demo)
    assert served.scalar("times", ("int64", [1, None, 3]), constants=[7]) == [7, None, 21]


def test_a_ufunc_by_name_is_found_when_called(demo: Worker, peer: Connect) -> None:
    demo.register_ufunc("times", "numpy.multiply", "value: int64, factor: const int64 -> int64", description="Times")
    demo.register_ufunc("lost", "numpy.no_such_ufunc", "float64 -> float64")
    demo.register_ufunc("unary", "numpy.hypot", "float64 -> float64")
    served = peer(demo)
    assert served.scalar("times", ("int64", [3, None]), constants=[4]) == [12, None]
    assert served.scalar("times", ("int64", [3]), constants=[5]) == [15]
    for name, text in (("lost", "there is no ufunc 'numpy.no_such_ufunc'"), ("unary", "hypot takes 2 and gives 1")):
        with pytest.raises(RemoteFailure, match=f"DefinitionError: scalar function '{name}': {text}"):
            served.scalar(name, ("float64", [1.0]))


def test_arguments_of_a_ufunc_have_docs(demo: Worker, peer: Connect) -> None:
    demo.register_ufunc("hypot", np.hypot, "x: float64, y: float64 -> float64", docs={"x": "One leg"})
    (info,) = peer(demo).functions("SCALAR_FUNCTION")
    arguments = pa.ipc.read_schema(pa.py_buffer(info["arguments"]))
    assert [field.metadata for field in arguments] == [{b"vgi_doc": b"One leg"}, None]


def test_a_c_function_runs_without_python(demo: Worker, peer: Connect) -> None:
    prototype = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_double)
    function = prototype(lambda x, y: x * y)
    demo.register_kernel("times", ctypes.cast(function, ctypes.c_void_p).value, "float64, float64 -> float64")
    assert peer(demo).scalar("times", ("float64", [3.0, None]), ("float64", [4.0, 1.0])) == [12.0, None]


def test_type_bounds_name_their_predicates(demo: Worker, peer: Connect) -> None:
    def _is_multipliable_type(given: pa.DataType) -> bool:
        return bool(pa.types.is_integer(given) or pa.types.is_floating(given))

    @demo.scalar(returns=lambda params: params.input_types[0])
    def double(value: Annotated[AnyColumn, Param(type_bound=_is_multipliable_type)]) -> AnyColumn:
        return value * 2

    served = peer(demo)
    assert served.scalar("double", ("int16", [1, None])) == [2, None]
    with pytest.raises(RemoteFailure, match="'value': column type utf8 does not match any of: _is_multipliable_type"):
        served.bind("double", columns={"col_0": "utf8"}, function_type="SCALAR")


def test_a_class_with_hooks(demo: Worker, peer: Connect) -> None:
    class RepeatTextFunction(ScalarFunction):
        """Repeats a text.

        Args:
            text: What to repeat.
        """

        class Meta:
            categories = ["text"]
            stability = "volatile"

        def on_init(self, params: InitParams[Any]) -> None:
            self.times = params.args.times

        def compute(self, text: Utf8, times: Const[int]) -> Utf8:
            assert self.times == times
            return np.array([value * times for value in text], object)

    demo.add(RepeatTextFunction)
    served = peer(demo)
    assert served.scalar("repeat_text", ("utf8", ["ab", "c"]), constants=[2]) == ["abab", "cc"]
    (info,) = served.functions("SCALAR_FUNCTION")
    assert (info["description"], info["stability"], info["categories"]) == ("Repeats a text.", "VOLATILE", ["text"])
    field = pa.ipc.read_schema(pa.py_buffer(info["arguments"])).field("text")
    assert field.metadata == {b"vgi_doc": b"What to repeat."}


def test_a_class_decides_its_type_at_bind(demo: Worker, peer: Connect) -> None:
    class Widen(ScalarFunction):
        @classmethod
        def on_bind(cls, params: BindParams[Any]) -> BindResponse:
            return BindResponse("int64" if params.input_types[0].kind.startswith("int") else "float64")

        @classmethod
        def compute(cls, value: AnyColumn) -> AnyColumn:
            return value

    class Last(ScalarFunction):
        @classmethod
        def output_type(cls, params: BindParams[Any]) -> Any:
            return pa.int8()

        @staticmethod
        def compute(value: AnyColumn) -> Any:
            return np.full(len(value), 1)

    demo.add(Widen)
    demo.add(Last)
    served = peer(demo)
    answer = served.scalar_stream("widen", [{"c": [1]}], {"c": "int8"})
    assert answer.schema.field(0).type == pa.int64()
    assert served.scalar_stream("last", [{"c": [1]}], {"c": "int8"}).schema.types == [pa.int8()]


def test_cache_control_is_on_every_batch(demo: Worker, peer: Connect) -> None:
    @demo.scalar(cache_control={"ttl": 300, "scope": "catalog", "per_value": True})
    def cached(x: Int64) -> Int64:
        return x

    answer = peer(demo).scalar_stream("cached", [{"x": [1]}, {"x": [2]}], {"x": "int64"})
    expected = {b"vgi.cache.ttl": b"300", b"vgi.cache.scope": b"catalog", b"vgi.cache.per_value": b"1"}
    assert [metadata for _, metadata in answer.batches] == [expected, expected]


def test_the_decorated_function_is_left_alone() -> None:
    @scalar
    def add_one(x: Int64) -> Int64:
        return x + 1

    assert add_one(np.array([1])).tolist() == [2]
    assert repr(Worker("demo", functions=[add_one]).catalogs[0]) == "Catalog('demo', schemas=['main'])"


def test_failures_of_the_author_are_explained(demo: Worker, peer: Connect) -> None:
    @demo.scalar
    def fails(x: Int64) -> Int64:
        raise KeyError("gone")

    @demo.scalar
    def short(x: Int64) -> Int64:
        return x[:1]

    @demo.scalar
    def wrong(x: Int64) -> Int64:
        return np.array(["a"] * len(x), object)

    served = peer(demo)
    with pytest.raises(RemoteFailure, match="KeyError: 'gone'") as caught:
        served.scalar("fails", ("int64", [1]))
    assert caught.value.extra["exception_type"] == "KeyError"
    assert caught.value.extra["traceback"].startswith("KeyError: 'gone'\n  File ")
    assert [frame["function"] for frame in caught.value.extra["frames"]] == ["fails"]
    with pytest.raises(RemoteFailure, match="RowCountMismatchError: Scalar function output must have same row count"):
        served.scalar("short", ("int64", [1, 2]))
    with pytest.raises(RemoteFailure, match="TypeMismatchError"):
        served.scalar("wrong", ("int64", [1]))


def test_extension_of_a_constant_is_visible(demo: Worker, peer: Connect) -> None:
    @demo.scalar(returns=lambda params: params.given.positional[0].type)
    def constant(value: Annotated[Any, ConstParam()], rows: Annotated[int, OutputLength()]) -> Any:
        return [value] * rows

    served = peer(demo)
    bound = served.bind("constant", "x", types=["large_utf8"], columns={}, function_type="SCALAR")
    schema = pa.ipc.read_schema(pa.py_buffer(bound["output_schema"]))
    assert schema.field(0).type == pa.large_string()
    assert Field("x", "int64").name == "x"
