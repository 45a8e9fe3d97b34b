"""Table-buffering functions: nothing comes out before everything went in."""

import os
import signal
import struct
import time
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from vgi_fast import (
    Arg,
    ArgumentError,
    BindParams,
    BufferingParams,
    CacheControl,
    DataType,
    OutputCollector,
    RecordBatch,
    TableBufferingFunction,
    TableInput,
)

Params = BufferingParams[Any]

STATE: Final = b"state"
STATE_BYTES: Final = 1 << 20
SOURCES: Final = 16


class BufferInput(TableBufferingFunction[None]):
    """Collects all input batches and emits during finalization"""


class OrderedBufferInput(TableBufferingFunction[None]):
    """Collects all input batches in their order"""

    class Meta:
        sink_order_dependent = True


class BatchIndexBufferInput(TableBufferingFunction[None]):
    """Collects all input batches and emits them by their index"""

    class Meta:
        requires_input_batch_index = True


class EchoBuffering(TableBufferingFunction[None]):
    """Collects all input batches and emits the columns that are asked for"""

    class Meta:
        projection_pushdown = True


class GlobalBuffered(TableBufferingFunction[None]):
    """Table-buffering function that is also published globally"""


def in_schema(schema: str) -> Any:
    """The function of one name that schemas share."""

    class TestSameNameBuffered(TableBufferingFunction[None]):
        FIXED_SCHEMA: ClassVar[Any] = {"tag": "utf8"}

        class Meta:
            description = f"Schema-disambiguation probe; the {schema}-schema buffering function"

        @classmethod
        def finalize(cls, params: Params, finalize_state_id: bytes) -> Iterator[Any]:
            for batch in params.batches():
                yield {"tag": [None if value is None else f"{schema}:{value}" for value in batch.column(0)]}

    return TestSameNameBuffered


# -- column sums ----------------------------------------------------------------------------------


class SumArguments(NamedTuple):
    data: Annotated[TableInput, Arg(0)]
    logging: Annotated[bool, Arg("logging", doc="Log each call")] = False


def _sum_type(type: DataType, *, decimals: bool) -> str | None:
    if type.kind.startswith(("int", "uint")):
        return "int64"
    if type.kind.startswith("float") or (decimals and type.kind.startswith("decimal")):
        return "float64"
    return None


def _sums(batch: RecordBatch, names: list[str]) -> list[Any]:
    import numpy as np

    found = []
    for name in names:
        column = batch.column(name)
        if column.type.kind.startswith("decimal"):
            found.append(float(sum(value for value in column if value is not None)))
            continue
        values, valid = column.to_numpy(), column.valid()
        wide = values.astype(np.int64 if values.dtype.kind in "iu" else np.float64)
        found.append((wide if valid is None else wide[valid]).sum().item())
    return found


class SumAllColumns(TableBufferingFunction[SumArguments]):
    """Computes column-wise sums across all batches"""

    DECIMALS: ClassVar[bool] = True

    class Meta:
        categories: ClassVar[list[str]] = ["aggregation", "numeric"]

    @classmethod
    def on_bind(cls, params: BindParams[Any]) -> dict[str, str]:
        schema = params.input_schema
        assert schema is not None
        found = {field.name: _sum_type(field.type, decimals=cls.DECIMALS) for field in schema}
        columns = {name: type for name, type in found.items() if type is not None}
        if not columns:
            raise ArgumentError(f"the input requires at least one numeric column, it has {schema}")
        return columns

    @classmethod
    def cardinality(cls, params: BindParams[Any]) -> int:
        return 1

    @classmethod
    def logs(cls, params: Params) -> bool:
        return bool(params.args.logging)

    @classmethod
    def process(cls, batch: RecordBatch, params: Params) -> bytes:
        if cls.logs(params):
            params.client_log("INFO", f"Processing batch with {batch.num_rows} rows")
        layout = _layout(params)
        params.storage.state_append(STATE, b"", struct.pack(layout, *_sums(batch, params.full_schema.names)))
        return params.execution_id

    @classmethod
    def combine(cls, state_ids: list[bytes], params: Params) -> list[bytes]:
        if cls.logs(params):
            params.client_log("INFO", f"Combining {len(state_ids)} state_ids")
        return [params.execution_id]

    @classmethod
    def finalize(cls, params: Params, finalize_state_id: bytes) -> Iterator[Any]:
        layout = _layout(params)
        totals: list[Any] = [0] * len(params.full_schema)
        for _, item in params.storage.state_log_scan(STATE, b""):
            totals = [total + part for total, part in zip(totals, struct.unpack(layout, item), strict=True)]
        yield {name: [total] for name, total in zip(params.full_schema.names, totals, strict=True)}


def _layout(params: Params) -> str:
    return "<" + "".join("q" if type.kind == "int64" else "d" for type in params.full_schema.types)


class SumAllColumnsSimpleDistributed(SumAllColumns):
    """Distributed sum using the buffered (Sink+Combine+Source) model"""

    DECIMALS: ClassVar[bool] = False

    class FunctionArguments(NamedTuple):
        data: Annotated[TableInput, Arg(0)]

    class Meta:
        categories: ClassVar[list[str]] = []

    @classmethod
    def logs(cls, params: Params) -> bool:
        return False


class CachedSumAll(SumAllColumns):
    """Column-wise sums whose result may be kept"""

    CACHE_CONTROL: ClassVar[CacheControl | None] = {"ttl": 300, "scope": "catalog"}


class ExceptionProcess(SumAllColumns):
    """Test function that raises exception during process"""

    @classmethod
    def process(cls, batch: RecordBatch, params: Params) -> bytes:
        number = params.storage.counter_add(STATE, b"calls")
        if number % 2 == 0:
            raise RuntimeError(f"Intentional exception on batch {number}")
        return params.execution_id


class ExceptionFinalize(SumAllColumns):
    """Test function that raises exception during finalize"""

    @classmethod
    def finalize(cls, params: Params, finalize_state_id: bytes) -> Iterator[Any]:
        raise RuntimeError("Intentional exception during finalize()")


# -- failures -------------------------------------------------------------------------------------


class CrashOnProcess(TableBufferingFunction[None]):
    """Ends its process hard when it gets a batch"""

    @classmethod
    def process(cls, batch: RecordBatch, params: Params) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""


class CrashOnCombine(TableBufferingFunction[None]):
    """Fails in combine"""

    @classmethod
    def combine(cls, state_ids: list[bytes], params: Params) -> list[bytes]:
        raise RuntimeError("Intentional exception during combine()")


class CrashOnFinalize(TableBufferingFunction[None]):
    """Fails in finalize"""

    @classmethod
    def finalize(cls, params: Params, finalize_state_id: bytes, state: None, out: OutputCollector) -> None:
        raise RuntimeError("Intentional exception during finalize()")


class HangOnProcess(TableBufferingFunction[None]):
    """Sleeps for an hour when it gets a batch"""

    @classmethod
    def process(cls, batch: RecordBatch, params: Params) -> bytes:
        time.sleep(3600)
        return b""


# -- shapes of state and output -------------------------------------------------------------------


class LargeState(TableBufferingFunction[None]):
    """Stores a mebibyte for each batch; gives how much that was"""

    @classmethod
    def process(cls, batch: RecordBatch, params: Params) -> bytes:
        params.storage.state_append(STATE, b"", bytes(STATE_BYTES))
        return params.execution_id

    @classmethod
    def combine(cls, state_ids: list[bytes], params: Params) -> list[bytes]:
        total = sum(len(item) for _, item in params.storage.state_log_scan(STATE, b""))
        return [str(total).encode()]

    @classmethod
    def finalize(cls, params: Params, finalize_state_id: bytes) -> Iterator[Any]:
        yield {name: [int(finalize_state_id)] for name in params.full_schema.names}


class OrderedSource(TableBufferingFunction[None]):
    """Ignores its input; sixteen streams of a row each, in order"""

    FIXED_SCHEMA: ClassVar[Any] = {"v": "int64"}

    class Meta:
        source_order_dependent = True

    @classmethod
    def process(cls, batch: RecordBatch, params: Params) -> bytes:
        return params.execution_id

    @classmethod
    def combine(cls, state_ids: list[bytes], params: Params) -> list[bytes]:
        return [b"%d" % number for number in range(SOURCES)]

    @classmethod
    def finalize(cls, params: Params, finalize_state_id: bytes) -> Iterator[Any]:
        yield {"v": [int(finalize_state_id)]}


class WideArguments(NamedTuple):
    rows: Annotated[int, Arg(0, doc="Rows of the only batch", ge=0)]
    data: Annotated[TableInput, Arg(1)]


class BufferEmitWide(TableBufferingFunction[WideArguments]):
    """Numbers in one batch, whatever the input"""

    FIXED_SCHEMA: ClassVar[Any] = {"n": "int64"}

    @classmethod
    def process(cls, batch: RecordBatch, params: Params) -> bytes:
        return params.execution_id

    @classmethod
    def finalize(cls, params: Params, finalize_state_id: bytes) -> Iterator[Any]:
        yield {"n": range(params.args.rows)}


class SlowArguments(NamedTuple):
    probe_path: Annotated[str, Arg(0, doc="File to append to when cancelled")]
    data: Annotated[TableInput, Arg(1)]
    limit: Annotated[int, Arg("count", doc="Number of rows", ge=1)] = 1000
    sleep_ms: Annotated[int, Arg("sleep_ms", doc="Time for each row", ge=0)] = 10


class SlowCancellableBuffering(TableBufferingFunction[SlowArguments, list[int]]):
    """Gives rows that take their time and tells when it is cancelled"""

    FIXED_SCHEMA: ClassVar[Any] = {"n": "int64"}

    @classmethod
    def initial_finalize_state(cls, finalize_state_id: bytes, params: Params) -> list[int]:
        return [0]

    @classmethod
    def finalize(cls, params: Params, finalize_state_id: bytes, state: list[int], out: OutputCollector) -> None:
        if state[0] >= params.args.limit:
            out.finish()
            return
        time.sleep(params.args.sleep_ms / 1000)
        out.emit({"n": [state[0]]})
        state[0] += 1

    @classmethod
    def on_cancel(cls, params: Params, finalize_state_id: bytes, state: list[int]) -> None:
        with open(params.args.probe_path, "a", encoding="utf-8") as probe:
            probe.write(f"pid={os.getpid()} emitted={state[0]}\n")


FUNCTIONS: Final = [
    BatchIndexBufferInput,
    BufferEmitWide,
    BufferInput,
    CachedSumAll,
    CrashOnCombine,
    CrashOnFinalize,
    CrashOnProcess,
    EchoBuffering,
    ExceptionFinalize,
    ExceptionProcess,
    GlobalBuffered,
    HangOnProcess,
    in_schema("main"),
    LargeState,
    OrderedBufferInput,
    OrderedSource,
    SlowCancellableBuffering,
    SumAllColumns,
    SumAllColumnsSimpleDistributed,
]
DATA_FUNCTIONS: Final = [in_schema("data")]
