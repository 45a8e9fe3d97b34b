"""What does a table function cost for each batch?

``sequence(count)`` in batches of 2,048 int64.
"""

import argparse
from collections.abc import Callable
from typing import Any

from benchmarks.e2e.workload import Workload, main
from vgi_fast.client.catalog import Catalog


def through_client(catalog: Catalog, options: argparse.Namespace) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def run(rows: int = options.rows) -> int:
        named = {"batch_size": options.batch_rows}
        bound = catalog.bind_table(options.function, [rows], named, schema=options.schema)
        return sum(batch.num_rows for batch in bound.init().batches())

    def check() -> int:
        table = catalog.table(options.function, options.rows // 10, schema=options.schema).read_all()
        return sum(table.column(0).to_pylist())

    return run, check


WORKLOAD = Workload(
    name="producer",
    function="sequence",
    query="SELECT sum(n) FROM {call}",
    check="SELECT bit_xor(hash(n)), count(*) FROM {call}",
    call="{function}({rows}, batch_size := {batch_rows})",
    native="(SELECT range AS n FROM range({rows}))",
    rows=4_000_000,
    through_client=through_client,
)

if __name__ == "__main__":
    main(WORKLOAD, __doc__)
