"""What does a table function of wide rows cost for each batch?

``texts(count)``: 2,048 strings of 1 KiB in each batch, two megabytes that only travel.
"""

import argparse
from collections.abc import Callable
from typing import Any

from benchmarks.e2e.workload import Workload, main
from vgi_fast.client.catalog import Catalog


def through_client(catalog: Catalog, options: argparse.Namespace) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def run(rows: int = options.rows) -> int:
        bound = catalog.bind_table(options.function, [rows], {"batch_size": options.batch_rows}, schema=options.schema)
        return sum(batch.num_rows for batch in bound.init().batches())

    def check() -> list[Any]:
        table = catalog.table(options.function, options.batch_rows + 1, schema=options.schema).read_all()
        return list(table.column(0).to_pylist())

    return run, check


WORKLOAD = Workload(
    name="wide_rows",
    function="texts",
    query="SELECT count(s) FROM {call}",
    check="SELECT bit_xor(hash(s)), count(*) FROM {call}",
    call="{function}({rows}, batch_size := {batch_rows})",
    native="(SELECT lpad((range % {batch_rows})::VARCHAR, 8, '0') || repeat('abcdefgh', 127) AS s FROM range({rows}))",
    rows=204_800,
    through_client=through_client,
)

if __name__ == "__main__":
    main(WORKLOAD, __doc__)
