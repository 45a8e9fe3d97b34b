"""What does a scalar function of text cost for each batch?

``upper_case(s)`` of 2,048 strings of 256 bytes: half a megabyte in each direction.
"""

import argparse
from collections.abc import Callable
from typing import Any

import pyarrow.compute as pc

from benchmarks.data import STRING_BYTES, string_batch
from benchmarks.e2e.scalar import scalar_calls
from benchmarks.e2e.workload import DEDUP, Udf, Workload, main
from vgi_fast import RecordBatch
from vgi_fast.client.catalog import Catalog


def through_client(catalog: Catalog, options: argparse.Namespace) -> tuple[Callable[[], Any], Callable[[], Any]]:
    starts = range(0, 4 * options.batch_rows, options.batch_rows)
    batches = [RecordBatch.from_arrow(string_batch(options.batch_rows, start)) for start in starts]
    return scalar_calls(catalog, batches, [], options)


WORKLOAD = Workload(
    name="strings",
    function="upper_case",
    prepare="CREATE TABLE strings AS SELECT rpad(range::VARCHAR, "
    f"{STRING_BYTES}, 'abcdefgh') AS s FROM range({{rows}})",
    query="SELECT count({call}) FROM strings",
    check="SELECT bit_xor(hash({call})) FROM strings",
    call="{function}(s)",
    native="upper(s)",
    rows=245_760,  # two row groups of DuckDB
    through_client=through_client,
    settings=DEDUP,
    # The compute functions themselves have further parameters, which DuckDB would count.
    udf=Udf(lambda value: pc.utf8_upper(value), ["VARCHAR"], "VARCHAR"),  # noqa: PLW0108
)

if __name__ == "__main__":
    main(WORKLOAD, __doc__)
