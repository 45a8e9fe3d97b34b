"""A worker over the flights that left New York in 2013, with one function of each flavour.

    vgi-fast demo
    vgi-fast describe vgi_fast.examples.flights_worker:worker

In DuckDB, once the extension is loaded:

    ATTACH 'flights' AS flights (TYPE vgi, LOCATION 'python -m vgi_fast.examples.flights_worker');
    SELECT carrier, avg(flights.ground_speed(distance, air_time)) FROM flights.departures('JFK') GROUP BY carrier;
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vgi_fast import Float64, Worker

EARTH_RADIUS_MILES = 3958.7613
MINUTES_PER_HOUR = 60.0

worker = Worker("flights", comment="Flights that left New York in 2013")


@worker.scalar
def great_circle(lat1: Float64, lon1: Float64, lat2: Float64, lon2: Float64) -> Float64:
    """Miles between two points given in degrees, along the surface."""
    lat1, lon1, lat2, lon2 = (np.deg2rad(degrees) for degrees in (lat1, lon1, lat2, lon2))
    half_chord = np.sin((lat2 - lat1) / 2) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    miles: Float64 = 2 * EARTH_RADIUS_MILES * np.arcsin(np.sqrt(half_chord))
    return miles


@worker.scalar
def ground_speed(miles: Float64, minutes: Float64) -> Float64:
    """Miles per hour."""
    return miles / (minutes / MINUTES_PER_HOUR)


@worker.scalar
def normalize_tailnum(tailnum: pa.StringArray) -> pa.StringArray:
    """Tail number in upper case, without blanks and dashes, with the N of US registrations."""
    compact = pc.replace_substring_regex(pc.utf8_upper(tailnum), pattern=r"[\s-]+", replacement="")
    is_bare = pc.match_substring_regex(compact, pattern=r"^[0-9]")
    return pc.if_else(is_bare, pc.binary_join_element_wise("N", compact, ""), compact)


@worker.scalar
def flight_number(carrier: pa.StringArray, flight: pa.Int64Array) -> pa.StringArray:
    """Carrier and four digits, as on a ticket: UA1545."""
    digits = pc.utf8_lpad(pc.cast(flight, pa.string()), width=4, padding="0")
    return pc.binary_join_element_wise(pc.utf8_upper(carrier), digits, "")


# NumPy's own loops, without a line of Python per batch.
worker.register_ufunc("total_delay", np.hypot, "float64, float64 -> float64")
worker.register_ufunc("radians", np.deg2rad, "float64 -> float64")


@worker.table(columns={"day": "date32", "weekday": "int64", "week": "int64", "is_weekend": "bool"})
def calendar(year: int) -> Iterator[dict[str, object]]:
    """The days of a year, with ISO weekday (Monday is 1) and the number of the week in the year."""
    days = np.arange(f"{year:04}-01-01", f"{year + 1:04}-01-01", dtype="datetime64[D]")
    weekday = (days.astype(np.int64) + 3) % 7 + 1
    yield {
        "day": days,
        "weekday": weekday,
        "week": np.arange(len(days)) // 7 + 1,
        "is_weekend": weekday >= 6,
    }


@worker.table(
    columns={
        "carrier": "utf8",
        "flight": "int64",
        "tailnum": "utf8",
        "origin": "utf8",
        "dest": "utf8",
        "dep_delay": "float64",
        "arr_delay": "float64",
        "air_time": "float64",
        "distance": "float64",
    }
)
def departures(origin: str, *, batch_size: int = 65_536) -> Iterator[pa.RecordBatch]:
    """Flights from EWR, JFK or LGA, in the order of departure."""
    from vgi_fast.examples.flights_data import flights

    table = flights()
    chosen = table.filter(pc.equal(table["origin"], origin)).combine_chunks()
    yield from chosen.to_batches(max_chunksize=batch_size)


if __name__ == "__main__":
    worker.run()
