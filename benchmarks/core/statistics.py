"""What do the statistics of a column cost: extremes, nulls, different values?

One pass that notes everything; beside it pyarrow's min_max, which finds the extremes only, and its count of
different values, which is exact where ours is estimated.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.core.filters import five_columns
from benchmarks.harness import Case, core_main
from vgi_fast.wire.arrow import Array, column_extremes, column_summary


def cases() -> list[Case]:
    found = []
    for rows in (2048, 65536):
        batch = five_columns(rows)
        for name in ("key", "price", "name"):
            column = batch.column(name)
            found += [
                _extremes(f"extremes of {column.type}, {rows}", column),
                _summary(f"{column.type}, {rows}", column),
            ]
    return found


def _extremes(name: str, theirs: pa.Array) -> Case:
    mine = Array.from_arrow(theirs)
    return Case(
        name,
        {"vgi_fast": lambda: column_extremes(mine), "pyarrow": lambda: pc.min_max(theirs)},
        plain=lambda found: _ends(found, mine),
    )


def _summary(name: str, theirs: pa.Array) -> Case:
    mine = Array.from_arrow(theirs)

    def arrow() -> Any:
        pc.count_distinct(theirs)
        return pc.min_max(theirs)

    return Case(
        f"all statistics of {name}",
        {"vgi_fast": lambda: column_summary(mine), "pyarrow": arrow},
        plain=lambda found: _ends(found, mine),
    )


def _ends(found: Any, mine: Array) -> Any:
    if isinstance(found, tuple):
        return mine[found[0]], mine[found[1]]
    return found["min"].as_py(), found["max"].as_py()


if __name__ == "__main__":
    core_main("core.statistics", __doc__, cases())
