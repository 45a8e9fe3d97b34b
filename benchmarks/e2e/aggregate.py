"""What does an aggregate cost for each batch of rows?

``vgi_sum`` over int64 without GROUP BY. With ``--groups``, by so many keys.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.e2e.workload import Workload, main
from vgi_fast.client.catalog import Catalog

DEFAULT_GROUPS = 1


def through_client(catalog: Catalog, options: argparse.Namespace) -> tuple[Callable[[], Any], Callable[[], Any]]:
    groups = getattr(options, "groups", DEFAULT_GROUPS)
    rows = np.arange(options.batch_rows)
    ids, columns = rows % groups, {"x": rows}

    def run(batches: int = options.rows // options.batch_rows) -> list[Any]:
        total = catalog.open_aggregate(options.function, {"x": "int64"}, schema=options.schema)
        batch = total.update_batch(ids, columns)
        for _ in range(batches):
            total.call("aggregate_update", input_batch=batch)
        results = total.finalize(np.unique(ids)).to_pylist()
        total.destroy()
        return results

    return run, lambda: run(3)


WORKLOAD = Workload(
    name="aggregate",
    function="vgi_sum",
    query="SELECT {call} FROM range({rows}) t(i)",
    check="SELECT {call} FROM range({rows}) t(i) WHERE i % 3 <> 0",
    call="{function}(i)",
    native="sum(i)::BIGINT",
    rows=4_000_000,
    through_client=through_client,
)


def grouped(groups: int) -> Workload:
    return replace(
        WORKLOAD,
        name="aggregate_grouped",
        query=f"SELECT sum(s) FROM (SELECT {{call}} AS s FROM range({{rows}}) t(i) GROUP BY i % {groups})",
        check=f"SELECT i % {groups} AS g, {{call}} FROM range({{rows}}) t(i) GROUP BY g ORDER BY g",
    )


if __name__ == "__main__":
    chosen = WORKLOAD
    if "--groups" in sys.argv:
        at = sys.argv.index("--groups")
        DEFAULT_GROUPS = int(sys.argv[at + 1])
        del sys.argv[at : at + 2]
        chosen = grouped(DEFAULT_GROUPS)
    main(chosen, __doc__)
