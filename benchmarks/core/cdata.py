"""What does it cost to hand a batch to another Arrow library, and to take one, by the C data interface?

No value is copied; what is paid is the description of the buffers.
"""

from typing import Any

import pyarrow as pa

from benchmarks.data import int64_batch, mixed_batch
from benchmarks.harness import Case, core_main
from vgi_fast import Array, RecordBatch


def cases() -> list[Case]:
    return [
        *_batches("1 column", int64_batch()),
        *_batches("5 columns", mixed_batch()),
        *_arrays("int64 array", int64_batch().column(0)),
        *_arrays("utf8 array", mixed_batch().column("name")),
    ]


def _batches(name: str, theirs: pa.RecordBatch) -> list[Case]:
    mine = RecordBatch.from_arrow(theirs)
    return [
        Case(
            f"import a batch, {name}",
            {"vgi_fast": lambda: RecordBatch.from_arrow(theirs), "pyarrow": lambda: _reimported(theirs)},
            plain=lambda batch: batch.to_pydict(),
        ),
        Case(
            f"export a batch to pyarrow, {name}",
            {"vgi_fast": mine.to_arrow, "pyarrow": lambda: _reimported(theirs)},
            plain=lambda batch: batch.to_pydict(),
        ),
    ]


def _arrays(name: str, theirs: pa.Array) -> list[Case]:
    mine = Array.from_arrow(theirs)
    return [
        Case(
            f"import an {name}",
            {"vgi_fast": lambda: Array.from_arrow(theirs), "pyarrow": lambda: pa.array(_Exported(theirs))},
            plain=lambda array: array.to_pylist(),
        ),
        Case(
            f"export an {name} to pyarrow",
            {"vgi_fast": mine.to_arrow, "pyarrow": lambda: pa.array(_Exported(theirs))},
            plain=lambda array: array.to_pylist(),
        ),
    ]


class _Exported:
    """Keeps pyarrow from recognising its own class."""

    __slots__ = ("__arrow_c_array__",)

    def __init__(self, source: Any) -> None:
        self.__arrow_c_array__ = source.__arrow_c_array__


def _reimported(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.record_batch(_Exported(batch))


if __name__ == "__main__":
    core_main("core.cdata", __doc__, cases())
