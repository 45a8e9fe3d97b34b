"""Producers that tell about their work: logs, a profile, cancellation."""

import json
import os
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple

from vgi_fast import (
    Arg,
    ClientLog,
    ExecutionParams,
    OutputCollector,
    ProcessParams,
    TableFunctionGenerator,
    table,
)

Count = Annotated[int, Arg(doc="Number of rows", ge=0)]

PROFILE: Final = b"profile"


@table(columns={"n": "int64"})
def logging_generator(count: Count, log: ClientLog) -> Iterator[range]:
    """Emits log messages during generation"""
    log("INFO", f"Starting generation of {count} values")
    for value in range(count):
        yield range(value, value + 1)
    log("INFO", "Generation complete")


def _profile(params: ExecutionParams[Any]) -> dict[str, Any]:
    """What the streams have left in the storage of their execution, whichever processes they ran in."""
    found = [json.loads(value) for _, value in params.storage.state_scan(PROFILE)]
    params.storage.execution_clear()
    if not found:
        return {}
    return {
        "rows_produced": sum(one["rows"] for one in found),
        "batches_emitted": sum(one["batches"] for one in found),
        "elapsed_ms": f"{max(one['elapsed_ms'] for one in found):.2f}",
    }


@table(columns={"n": "int64"}, cardinality=lambda args: args.count, dynamic_to_string=_profile)
def profiling_demo(
    count: Count,
    params: ProcessParams[Any],
    *,
    batch_size: Annotated[int, Arg(doc="Rows per batch", ge=1)] = 2048,
    increment: Annotated[int, Arg(doc="Difference of neighbours", ge=1)] = 1,
) -> Iterator[dict[str, Any]]:
    """Generates a sequence and reports on it in EXPLAIN ANALYZE"""
    import numpy as np

    started, batches = time.perf_counter(), 0
    for start in range(0, count, batch_size):
        yield {"n": np.arange(start, min(start + batch_size, count)) * increment}
        batches += 1
    profile = {"rows": count, "batches": batches, "elapsed_ms": (time.perf_counter() - started) * 1000}
    params.storage.state_put(PROFILE, str(os.getpid()).encode(), json.dumps(profile).encode())


class SlowArguments(NamedTuple):
    probe_path: Annotated[str, Arg(0, doc="File to append to when cancelled")]
    rows: Annotated[int, Arg("count", doc="Number of rows", ge=0)] = 1_000_000
    sleep_ms: Annotated[int, Arg("sleep_ms", doc="Time for each row", ge=0)] = 50


class SlowCancellable(TableFunctionGenerator[SlowArguments, list[int]]):
    """One row after the other, with time in between; tells when it is cancelled"""

    FIXED_SCHEMA = "n: int64"

    @classmethod
    def initial_state(cls, params: ProcessParams[SlowArguments]) -> list[int]:
        return [0]

    @classmethod
    def process(cls, params: ProcessParams[SlowArguments], state: list[int], out: OutputCollector) -> None:
        if state[0] >= params.args.rows:
            return out.finish()
        time.sleep(params.args.sleep_ms / 1000)
        out.emit({"n": [state[0]]})
        state[0] += 1
        return None

    @classmethod
    def on_cancel(cls, params: ProcessParams[SlowArguments], state: list[int]) -> None:
        with open(params.args.probe_path, "a", encoding="utf-8") as probe:
            probe.write(f"pid={os.getpid()} emitted={state[0]}\n")


FUNCTIONS: Final = [logging_generator, profiling_demo, SlowCancellable]
