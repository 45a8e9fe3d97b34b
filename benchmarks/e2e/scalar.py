"""What does a cheap scalar function cost for each batch?

``multiply(n, 2)`` of 2,048 int64: hardly any work, so what is measured is the way there and back. Under DuckDB
also its own Arrow UDF in this process, and plain SQL.
"""

import argparse
from collections.abc import Callable
from typing import Any

import pyarrow.compute as pc

from benchmarks.data import int64_batch
from benchmarks.e2e.workload import DEDUP, Udf, Workload, main
from vgi_fast import RecordBatch
from vgi_fast.client.catalog import Catalog


def through_client(catalog: Catalog, options: argparse.Namespace) -> tuple[Callable[[], Any], Callable[[], Any]]:
    batches = [RecordBatch.from_arrow(int64_batch(options.batch_rows, seed=seed)) for seed in range(8)]
    return scalar_calls(catalog, batches, [2], options)


def scalar_calls(
    catalog: Catalog, batches: list[RecordBatch], constants: list[Any], options: argparse.Namespace
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The batches in turn, until all rows were sent; once each for the check."""
    types = batches[0].schema.types

    def run() -> None:
        with catalog.open_scalar(options.function, types, constants, schema=options.schema) as call:
            for number in range(options.rows // options.batch_rows):
                call.exchange(batches[number % len(batches)])

    def check() -> list[Any]:
        with catalog.open_scalar(options.function, types, constants, schema=options.schema) as call:
            return [call.exchange(batch).to_pylist() for batch in batches]

    return run, check


WORKLOAD = Workload(
    name="scalar",
    function="multiply",
    query="SELECT sum({call}) FROM range({rows})",
    check="SELECT bit_xor(hash({call})) FROM range({rows} // 10)",
    call="{function}(range, 2)",
    native="range * 2",
    rows=4_000_000,
    through_client=through_client,
    settings=DEDUP,
    # The compute functions themselves have further parameters, which DuckDB would count.
    udf=Udf(lambda value, factor: pc.multiply(value, factor), ["BIGINT", "BIGINT"], "BIGINT"),  # noqa: PLW0108
)

if __name__ == "__main__":
    main(WORKLOAD, __doc__)
