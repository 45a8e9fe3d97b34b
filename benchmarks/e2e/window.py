"""What does an aggregate over a sliding frame cost for each row?

``vgi_window_sum`` over 101 rows each; the protocol has one call for every output row. ``--batch-rows 1`` makes the
figures those of one row.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.e2e.workload import Workload, main
from vgi_fast.client.catalog import Catalog


def through_client(catalog: Catalog, options: argparse.Namespace) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def run(rows: int = options.rows) -> list[Any]:
        total = catalog.open_aggregate(options.function, {"x": "int64"}, schema=options.schema)
        total.window_init({"x": np.arange(rows)})
        results = [total.window([(max(row - 100, 0), row + 1)]) for row in range(rows)]
        total.window_destroy()
        return results

    return run, lambda: run(300)


WORKLOAD = Workload(
    name="window",
    function="vgi_window_sum",
    query="SELECT sum(s) FROM (SELECT {call} AS s FROM range({rows}) t(i))",
    check="SELECT i, {call} FROM range({rows}) t(i) ORDER BY i",
    call="{function}(i) OVER (ORDER BY i ROWS BETWEEN 100 PRECEDING AND CURRENT ROW)",
    native="(sum(i) OVER (ORDER BY i ROWS BETWEEN 100 PRECEDING AND CURRENT ROW))::BIGINT",
    rows=10_000,
    through_client=through_client,
)

if __name__ == "__main__":
    main(WORKLOAD, __doc__)
