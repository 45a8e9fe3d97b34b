"""What does a streamed aggregate cost for each chunk of rows?

``vgi_streaming_sum`` over 40 partitions.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.e2e.workload import Workload, main
from vgi_fast.client.catalog import Catalog


def through_client(catalog: Catalog, options: argparse.Namespace) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def run(batches: int = options.rows // options.batch_rows) -> int:
        total = catalog.open_aggregate(options.function, {"x": "int64"}, schema=options.schema)
        stream = total.stream(["int64"], ["int64"])
        rows = np.arange(options.batch_rows)
        last = 0
        for number in range(batches):
            order = rows + number * options.batch_rows
            last = stream.chunk([order * 0 + number // 50, order, order])[-1]
        stream.close()
        return last

    return run, lambda: run(3)


WORKLOAD = Workload(
    name="streaming",
    function="vgi_streaming_sum",
    query="SELECT sum(s) FROM (SELECT {call} AS s FROM range({rows}) t(i))",
    check="SELECT i, {call} FROM range({rows}) t(i) ORDER BY i",
    call="{function}(i) OVER (PARTITION BY i // 100000 ORDER BY i ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)",
    native="(sum(i) OVER (PARTITION BY i // 100000 ORDER BY i))::BIGINT",
    rows=1_000_000,
    through_client=through_client,
)

if __name__ == "__main__":
    main(WORKLOAD, __doc__)
