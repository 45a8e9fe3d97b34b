"""``vgi-fast demo``: an example worker over real data, called and timed."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

    from vgi_fast.client import Catalog

WORKER: Final = "vgi_fast.examples.flights_worker"
COMMAND: Final = (sys.executable, "-m", WORKER)
CATALOG: Final = "flights"
BATCH_ROWS: Final = 65_536

_QUERY: Final = """
SELECT carrier, count(*) AS departures,
       round(avg(flights.ground_speed(distance, air_time)), 1) AS mph,
       any_value(flights.flight_number(carrier, flight)) AS example
FROM flights.departures('JFK')
GROUP BY carrier ORDER BY departures DESC LIMIT 5
"""


@dataclass(frozen=True, slots=True)
class Timing:
    function: str
    rows: int
    seconds: float
    answer: str


@click.command("demo")
@click.option("--batch-rows", default=BATCH_ROWS, show_default=True, help="Rows in a batch.")
def command(batch_rows: int) -> None:
    """Call an example worker over the 336,776 flights that left New York in 2013."""
    from rich.console import Console

    from vgi_fast.cli.render import count, show_grid
    from vgi_fast.client import Client
    from vgi_fast.examples import flights_data

    console = Console()
    flights_data.data_folder()
    console.print(f"starting {' '.join(COMMAND)}", highlight=False)
    with Client(list(COMMAND)) as client:
        catalog = client.attach(CATALOG)
        timings = [*scalar_timings(catalog, batch_rows), *table_timings(catalog)]
    show_grid(
        console,
        ("function", "rows>", "ms>", "rows/s>", "answer"),
        [
            (
                each.function,
                count(each.rows),
                f"{each.seconds * 1e3:.1f}",
                f"{each.rows / each.seconds:,.0f}",
                each.answer,
            )
            for each in timings
        ],
        f"Through the client, {count(batch_rows)} rows in a batch",
    )
    _through_duckdb(console)


def scalar_timings(catalog: "Catalog", batch_rows: int = BATCH_ROWS) -> list[Timing]:
    """Each scalar function over all flights."""
    import pyarrow.compute as pc

    from vgi_fast.examples import flights_data

    flights = flights_data.flights()
    origin, destination = map(flights_data.coordinates, (flights["origin"], flights["dest"]))

    def run(name: str, columns: Any, answer: "Callable[[pa.ChunkedArray], str]") -> Timing:
        with catalog.open_scalar(name, columns.schema) as call:
            call.apply(columns.slice(0, 1))
            start = perf_counter()
            result = call.apply(columns, batch_rows)
            return Timing(name, len(result), perf_counter() - start, answer(result))

    def table(*columns: Any) -> "pa.Table":
        return flights.from_arrays(list(columns), names=[str(index) for index in range(len(columns))])

    def error_of_distance(miles: "pa.ChunkedArray") -> str:
        error = pc.mean(pc.abs(pc.subtract(miles, flights["distance"]))).as_py()
        return f"{error:.1f} miles from the recorded distance on average"

    return [
        run("great_circle", table(*origin, *destination), error_of_distance),
        run(
            "ground_speed",
            table(flights["distance"], flights["air_time"]),
            lambda mph: f"{pc.mean(mph).as_py():.0f} mph on average",
        ),
        run(
            "normalize_tailnum",
            table(flights["tailnum"]),
            lambda names: f"{pc.count_distinct(names).as_py():,} aircraft",
        ),
        run(
            "flight_number", table(flights["carrier"], flights["flight"]), lambda numbers: f"{numbers[0]} was the first"
        ),
        run(
            "total_delay",
            table(flights["dep_delay"], flights["arr_delay"]),
            lambda delay: f"{pc.max(delay).as_py():,.0f} minutes at worst (np.hypot)",
        ),
    ]


def table_timings(catalog: "Catalog") -> list[Timing]:
    """Each table function, to its end."""

    def run(name: str, *args: Any) -> "tuple[pa.Table, float]":
        start = perf_counter()
        rows = catalog.table(name, *args).read_all()
        return rows, perf_counter() - start

    run("departures", "JFK")  # reads the file, once for the worker's life
    departures, departures_s = run("departures", "JFK")
    calendar, calendar_s = run("calendar", 2013)
    weekend_days = sum(calendar["is_weekend"].to_pylist())
    carriers = len(departures["carrier"].unique())
    return [
        Timing("departures('JFK')", departures.num_rows, departures_s, f"{carriers} carriers"),
        Timing("calendar(2013)", calendar.num_rows, calendar_s, f"{weekend_days} days of weekend"),
    ]


def _through_duckdb(console: "Console") -> None:
    import shlex

    from vgi_fast.cli.render import show_rows
    from vgi_fast.cli.sql import ExtensionError, connect, quote_text

    try:
        connection = connect()
    except ModuleNotFoundError:
        console.print("DuckDB SQL: skipped, duckdb is not installed (pip install 'vgi-fast[sql]')", markup=False)
        return
    except ExtensionError as error:
        console.print(f"DuckDB SQL: skipped. {error}", highlight=False, markup=False)
        return
    with connection:
        location = quote_text(shlex.join(COMMAND))
        connection.execute(f"ATTACH '{CATALOG}' AS {CATALOG} (TYPE vgi, LOCATION {location})")
        console.print(f"\nThrough DuckDB:{_QUERY}", highlight=False)
        show_rows(console, connection.execute(_QUERY).to_arrow_table(), max_rows=5)
