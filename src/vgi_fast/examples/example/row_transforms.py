"""Row transforms: functions over columns that give rows."""

from typing import Annotated, Any, ClassVar, Final, NamedTuple

from vgi_fast import (
    Arg,
    BindParams,
    CacheControl,
    ExchangeCollector,
    Float64,
    Int64,
    OutputLength,
    Param,
    ProcessParams,
    Projection,
    RecordBatch,
    RowsOf,
    RowTransformFunction,
    row_transform,
)
from vgi_fast.examples.example.table_in_out import REVALIDATED, emit_unless_known

GEOHASH: Final = {"geohash": "utf8"}
PER_VALUE: Final[CacheControl] = {"ttl": 300, "scope": "catalog", "per_value": True}
PARENT_ROW: Final = b"vgi_rpc.parent_row#b64"

Precision = Annotated[int, Arg(doc="Decimals of each part")]


def _joined(precision: int, *parts: Any) -> dict[str, list[str | None]]:
    rows = zip(*(part.tolist() for part in parts), strict=True)
    return {"geohash": [None if None in row else ":".join(str(round(part, precision)) for part in row) for row in rows]}


@row_transform(name="geo_encode", columns=GEOHASH)
def geo_encode(latitude: Float64, longitude: Float64, *, precision: Precision = 4) -> dict[str, Any]:
    """A place as text"""
    return _joined(precision, latitude, longitude)


@row_transform(name="geo_encode", columns=GEOHASH)
def geo_encode_with_altitude(
    latitude: Float64, longitude: Float64, altitude: Float64, *, precision: Precision = 4
) -> dict[str, Any]:
    """A place with its altitude as text"""
    return _joined(precision, latitude, longitude, altitude)


@row_transform(columns={"row_sum": "float64"})
def row_sum(
    values: Annotated[list[Float64], Param(varargs=True)],
    rows: Annotated[int, OutputLength()],
    *,
    absolute: Annotated[bool, Arg(doc="Sum of absolute values")] = False,
) -> Any:
    """Sum of each row, null where any value is"""
    import numpy as np

    total: Any = np.ma.zeros(rows)
    for column in values:
        total = total + (np.ma.abs(column) if absolute else column)
    return {"row_sum": total}


@row_transform(columns={"v": "int64"})
def blended_drop(x: Float64) -> None:
    """No rows, whatever comes"""


def _counts(n: Any) -> Any:
    import numpy as np

    return np.maximum(np.ma.filled(n, 0), 0)


@row_transform(columns={"i": "int64"})
def blended_explode(n: Int64) -> RowsOf:
    """Numbers below n for each row"""
    import numpy as np

    counts = _counts(n)
    return RowsOf({"i": np.concatenate([np.arange(count) for count in counts])}, np.arange(len(counts)).repeat(counts))


@row_transform(columns={"i": "int64"}, cache_control=PER_VALUE)
def cached_explode(n: Int64) -> RowsOf:
    """Numbers below n for each row, the rows taking turns"""
    import numpy as np

    counts = _counts(n)
    turns = [np.flatnonzero(counts > value) for value in range(counts.max(initial=0))]
    values = [np.full(len(parents), value) for value, parents in enumerate(turns)]
    none = np.empty(0, np.int64)
    return RowsOf({"i": np.concatenate([none, *values])}, np.concatenate([none, *turns]))


@row_transform(columns={"a": "int64", "b": "int64"}, projection_pushdown=True)
def projectable_blended(x: Int64, wanted: Projection) -> dict[str, Any]:
    """Multiples of x, only those that are asked for"""
    factors = {"a": 10, "b": 100}
    return {name: x * factors[name] for name in wanted}


class HostileArguments(NamedTuple):
    x: Annotated[int, Arg(0)]
    mode: Annotated[str, Arg("mode", doc="What is wrong: range, length or base64")] = "range"


class HostileProvenance(RowTransformFunction[HostileArguments]):
    """One row for each row, with provenance that a client has to refuse"""

    FIXED_SCHEMA: ClassVar[Any] = {"hv": "int64"}

    @classmethod
    def process(
        cls, params: ProcessParams[HostileArguments], state: None, batch: RecordBatch, out: ExchangeCollector
    ) -> None:
        import base64

        import numpy as np

        rows = batch.num_rows
        parents = np.zeros(rows + 1, "<i4") if params.args.mode == "length" else np.full(rows, rows, "<i4")
        encoded = b"not base64!" if params.args.mode == "base64" else base64.b64encode(parents.tobytes())
        out.emit({"hv": batch.column(0)}, metadata={PARENT_ROW: encoded})


@row_transform(columns={"doubled": "int64"}, cache_control=PER_VALUE)
def cached_double(x: Int64) -> dict[str, Any]:
    """Twice x"""
    return {"doubled": x * 2}


class NumberArguments(NamedTuple):
    x: Annotated[int, Arg(0)]


class CachedRevalDouble(RowTransformFunction[NumberArguments]):
    """Twice x, whose kept result has to be asked for again"""

    CACHE_CONTROL = REVALIDATED

    @classmethod
    def on_bind(cls, params: BindParams[NumberArguments]) -> dict[str, str]:
        return {"doubled": "int64"}

    @classmethod
    def process(
        cls, params: ProcessParams[NumberArguments], state: None, batch: RecordBatch, out: ExchangeCollector
    ) -> None:
        doubled = [None if value is None else 2 * value for value in batch.column(0)]
        emit_unless_known(params, batch, {"doubled": doubled}, out)


FUNCTIONS: Final = [
    blended_drop,
    blended_explode,
    cached_double,
    cached_explode,
    CachedRevalDouble,
    geo_encode,
    geo_encode_with_altitude,
    HostileProvenance,
    projectable_blended,
    row_sum,
]
