"""What does the exchange loop cost for each batch, the system calls left out?

``serve_exchange`` reads, applies ``value * 2`` and writes, over memory; beside it the same loop on pyarrow.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.data import int64_batch, stream_of
from benchmarks.harness import Case, core_main
from vgi_fast import Schema
from vgi_fast._core import Input, Output, ScalarPlan, serve_exchange

BATCHES = 64


def cases() -> list[Case]:
    return [_case("multiply", int64_batch()), _case("multiply, a tenth null", int64_batch(null_share=0.1))]


def _case(name: str, batch: pa.RecordBatch) -> Case:
    stream = stream_of(batch, BATCHES)
    buffer = pa.py_buffer(stream)
    given, result = Schema.of(batch.schema), Schema.parse("result: int64")
    result_schema = pa.schema(result)
    arguments = [("numpy", 0), ("value", 2)]
    by_function = ScalarPlan(lambda value, factor: value * factor, arguments, given, result)
    by_ufunc = ScalarPlan(np.multiply, arguments, given, result)

    def ours(plan: ScalarPlan) -> bytes:
        source, sink = Input(stream), Output()
        source.read_schema()
        serve_exchange(source, sink, given, result, plan)
        sink.eos()
        sink.flush()
        return sink.getvalue()

    def arrow() -> Any:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, result_schema) as writer:
            for each in pa.ipc.open_stream(buffer):
                writer.write_batch(pa.record_batch([pc.multiply(each.column(0), 2)], schema=result_schema))
        return sink.getvalue()

    return Case(
        name,
        {
            "function": lambda: ours(by_function),
            "ufunc": lambda: ours(by_ufunc),
            "pyarrow": arrow,
        },
        BATCHES,
        plain=lambda written: pa.ipc.open_stream(written).read_all().to_pydict(),
    )


if __name__ == "__main__":
    core_main("core.exchange", __doc__, cases())
