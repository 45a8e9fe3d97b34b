"""What does ``ScalarPlan.apply`` add to the computation itself?

|x| of 2,048 float64, by a Python function, a NumPy ufunc and a C function; the first candidate is the ufunc
alone, on a view that exists already.
"""

import ctypes
import ctypes.util

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.data import mixed_batch
from benchmarks.harness import Case, core_main
from vgi_fast import RecordBatch, Schema
from vgi_fast._core import Kernel, ScalarPlan


def cases() -> list[Case]:
    return [_case("absolute value", 0.0), _case("absolute value, a tenth null", 0.1), _text()]


def _case(name: str, null_share: float) -> Case:
    theirs = mixed_batch(null_share=null_share).select(["price"])
    mine = RecordBatch.from_arrow(theirs)
    column = theirs.column(0)
    values, valid = mine.column(0).to_numpy(), mine.column(0).valid()
    given, result = mine.schema, Schema.parse("result: float64")
    libm = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")
    kernel = Kernel(ctypes.cast(libm.fabs, ctypes.c_void_p).value, "double(double)", libm)
    by_function = ScalarPlan(_absolute, [("numpy", 0)], given, result)
    by_ufunc = ScalarPlan(np.absolute, [("numpy", 0)], given, result)
    by_kernel = ScalarPlan(kernel, [("numpy", 0)], given, result)
    by_arrow = ScalarPlan(pc.abs, [("arrow", 0)], given, result)

    def plain(got: RecordBatch | pa.Array | np.typing.NDArray[np.float64]) -> list[float | None]:
        if not isinstance(got, np.ndarray):
            return (got if isinstance(got, pa.Array) else got.column(0)).to_pylist()
        return got.tolist() if valid is None else [x if ok else None for x, ok in zip(got.tolist(), valid, strict=True)]

    return Case(
        name,
        {
            "ufunc alone": lambda: np.absolute(values),
            "pyarrow alone": lambda: pc.abs(column),
            "kernel": lambda: by_kernel.apply(mine),
            "ufunc": lambda: by_ufunc.apply(mine),
            "function of NumPy": lambda: by_function.apply(mine),
            "function of pyarrow": lambda: by_arrow.apply(mine),
        },
        plain=plain,
    )


def _absolute(value: np.typing.NDArray[np.float64]) -> np.typing.NDArray[np.float64]:
    return np.absolute(value)


def _text() -> Case:
    theirs = mixed_batch().select(["name"])
    mine = RecordBatch.from_arrow(theirs)
    column = theirs.column(0)
    plan = ScalarPlan(pc.utf8_upper, [("arrow", 0)], mine.schema, Schema.parse("result: utf8"))
    return Case(
        "upper case",
        {"pyarrow alone": lambda: pc.utf8_upper(column), "function of pyarrow": lambda: plan.apply(mine)},
        plain=lambda got: (got if isinstance(got, pa.Array) else got.column(0)).to_pylist(),
    )


if __name__ == "__main__":
    core_main("core.scalar_plan", __doc__, cases())
