"""What does a column cost as a NumPy array?

Fixed-width columns are views of the received bytes; text and booleans have to be converted.
"""

import pyarrow as pa

from benchmarks.data import BATCH_ROWS, int64_batch, mixed_batch, string_batch
from benchmarks.harness import Case, core_main
from vgi_fast import RecordBatch


def cases() -> list[Case]:
    return [
        _case("int64", int64_batch(), 0),
        _case("float64, a tenth null", mixed_batch(null_share=0.1), 1),
        _case("utf8, all different", string_batch(size=16), 0),
        _case("utf8, 100 values", _repeated_strings(), 0),
        _case("bool", mixed_batch(), 4),
        _mask("mask of nulls"),
    ]


def _case(name: str, theirs: pa.RecordBatch, column: int) -> Case:
    mine = RecordBatch.from_arrow(theirs)
    # The slots of nulls hold anything: only the others are compared.
    valid = theirs.column(column).is_valid().to_pylist()
    return Case(
        name,
        {
            "vgi_fast": lambda: mine.column(column).to_numpy(),
            "pyarrow": lambda: theirs.column(column).to_numpy(zero_copy_only=False),
        },
        plain=lambda values: [value for value, kept in zip(values.tolist(), valid, strict=True) if kept],
    )


def _repeated_strings() -> pa.RecordBatch:
    """pyarrow makes one Python string of equal ones."""
    return pa.record_batch({"name": [f"name number {row % 100:02}" for row in range(BATCH_ROWS)]})


def _mask(name: str) -> Case:
    theirs = mixed_batch(null_share=0.1)
    mine = RecordBatch.from_arrow(theirs)
    return Case(
        name,
        {
            "vgi_fast": lambda: mine.column(1).valid(),
            "pyarrow": lambda: theirs.column(1).is_valid().to_numpy(zero_copy_only=False),
        },
        plain=lambda mask: mask.tolist(),
    )


if __name__ == "__main__":
    core_main("core.numpy_views", __doc__, cases())
