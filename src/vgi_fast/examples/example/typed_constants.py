"""Functions whose constants are of less common types: points in time, spans, unions."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from vgi_fast import Arg, UnionValue, table

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SPAN: Final = timedelta(milliseconds=1500)


@table(
    columns={
        "idx": "uint64",
        "ts_us": "int64",
        "iv_ms": "int64",
        "payload": "binary",
        "ub": "uint64",
        "f": "float64",
    }
)
def typed_probe(
    n: Annotated[int, Arg(doc="Number of rows", ge=0)],
    *,
    ts: Annotated[datetime, Arg(doc="Point in time", arrow_type="timestamp[us, tz=UTC]")] = MOMENT,
    iv: Annotated[timedelta, Arg(doc="Span of time", arrow_type="duration[ns]")] = SPAN,
    blob: Annotated[bytes, Arg(doc="Bytes")] = b"vgi",
    ub: Annotated[int, Arg(doc="Number without sign", arrow_type="uint64")] = 9,
    f: Annotated[float, Arg(doc="Value of the first row")] = 2.5,
) -> dict[str, Any]:
    """Repeats constants of several types as numbers and bytes"""
    return {
        "idx": range(n),
        "ts_us": [(ts - EPOCH) // timedelta(microseconds=1)] * n,
        "iv_ms": [iv // timedelta(milliseconds=1)] * n,
        "payload": [blob] * n,
        "ub": [ub] * n,
        "f": [f + row for row in range(n)],
    }


@table(columns={"idx": "int64", "tag": "utf8", "value": "utf8"})
def union_varargs(
    *configs: Annotated[UnionValue, Arg(doc="Number or text", arrow_type="sparse_union<i: int64, s: utf8>")],
) -> dict[str, Any]:
    """The member that each argument holds, and its value"""
    return {
        "idx": range(len(configs)),
        "tag": [config.tag for config in configs],
        "value": [None if config.value is None else str(config.value) for config in configs],
    }


FUNCTIONS: Final = [typed_probe, union_varargs]
