"""A table through a function, under this package's client."""

import argparse
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from vgi_fast.client.catalog import Catalog


def through_table(catalog: Catalog, options: argparse.Namespace) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def call(rows: int) -> Any:
        table = pa.table({"n": pa.array(range(rows), pa.int64())})
        return lambda: catalog.table(
            options.function, input=table, batch_rows=options.batch_rows, schema=options.schema
        ).read_all()

    read, read_part = call(options.rows), call(options.rows // 10)

    def run() -> int:
        rows: int = read().num_rows
        return rows

    def check() -> int:
        return sum(read_part().column(0).to_pylist())

    return run, check
