"""Serves tables from data; the first argument is a directory for files."""

import sys

import numpy as np
import pandas as pd
import pyarrow as pa

from vgi_fast import Worker


def make_worker(folder: str) -> Worker:
    worker = Worker("data")
    numbers = np.arange(200_000)
    worker.add_table(
        "numbers", pa.table({"n": numbers, "third": numbers / 3, "text": [f"t{n % 1000}" for n in numbers]})
    )
    worker.add_table(
        "people",
        pd.DataFrame(
            {"id": [1, 2, 3], "name": ["Ann", "Bö", None], "born": pd.to_datetime(["1980-01-02", None, None])}
        ),
        primary_key="id",
        comment="Three of them",
    )
    worker.add_table("files", folder, live=True)
    worker.add_table("kept", folder, cache_control={"ttl": 0, "revalidatable": True})
    try:
        import polars as pl
    except ImportError:
        return worker
    worker.add_table("lazy", pl.LazyFrame({"a": range(100_000)}).with_columns(b=pl.col("a") % 7))
    return worker


if __name__ == "__main__":
    make_worker(sys.argv[1]).run([])
