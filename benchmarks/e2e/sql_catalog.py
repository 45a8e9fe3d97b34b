"""What does a filtered and projected read of a PostgreSQL table cost, through a catalog and through pandas?

``catalog``             SqlAlchemyCatalog: columns, WHERE and LIMIT go to the server
``catalog, rows``       the same without adbc-driver-postgresql: rows of psycopg
``pandas.read_sql``     the table into a frame, which DuckDB then scans with the same query
``pandas, same SELECT`` the frame holds what the catalog's own SELECT gives: what a careful author writes by hand

The table, of 5 million rows, is made if it is not there. The statement that reached the server is shown as its
``pg_stat_activity`` has it. ``VGI_FAST_TEST_POSTGRES`` or ``--url`` names the server.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter_ns
from typing import Any, Final

import duckdb
import pandas as pd
import sqlalchemy as sa

from benchmarks.e2e.workers import extension_path
from benchmarks.harness import Cell, argument_parser, interleave, report
from tests.duckdb.conftest import quoted
from tests.duckdb.test_sql_catalog import WORKER

TABLE: Final = "vgi_fast_benchmark"
CREATE: Final = f"""
    CREATE TABLE {TABLE} (
        id bigint PRIMARY KEY, customer_id integer NOT NULL, placed_at timestamptz NOT NULL,
        amount double precision NOT NULL, discount numeric(8, 2), status text NOT NULL, city varchar(40), note text
    )
"""
FILL: Final = f"""
    INSERT INTO {TABLE}
    SELECT i, (i * 7919) % 100000, timestamptz '2020-01-01 00:00+00' + i * interval '30 seconds', (i % 100000) / 7.0,
        CASE WHEN i % 5 = 0 THEN NULL ELSE (i % 1000) / 100.0 END,
        (ARRAY['new', 'paid', 'sent', 'done', 'back'])[1 + i % 5], 'City ' || i % 500, repeat(md5(i::text), 2)
    FROM generate_series(1, CAST(:rows AS bigint)) i
"""
WHERE: Final = "status = 'paid' AND placed_at >= TIMESTAMPTZ '2024-01-01 00:00:00+00'"
QUERY: Final = (
    f"SELECT city, count(*) AS orders, sum(amount) AS amount FROM {{}} WHERE {WHERE} GROUP BY city ORDER BY city"
)
BY_HAND: Final = f"SELECT city, amount, status, placed_at FROM {TABLE} WHERE {WHERE}"


def prepare(engine: sa.Engine, rows: int) -> None:
    with engine.begin() as connection:
        if sa.inspect(connection).has_table(TABLE):
            if connection.execute(sa.text(f"SELECT count(*) FROM {TABLE}")).scalar_one() == rows:
                return
            connection.execute(sa.text(f"DROP TABLE {TABLE}"))
        connection.execute(sa.text(CREATE))
        connection.execute(sa.text(FILL), {"rows": rows})
        connection.execute(sa.text(f"ANALYZE {TABLE}"))


def attached(url: str, **options: Any) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"LOAD {quoted(str(extension_path()))}")
    command = shlex.join([sys.executable, str(WORKER), url, json.dumps(options)])
    connection.execute(f"ATTACH 'db' AS db (TYPE vgi, LOCATION {quoted(command)})")
    return connection


def timed(run: Callable[[], Any]) -> int:
    started = perf_counter_ns()
    run()
    return perf_counter_ns() - started


def through_catalog(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return rounded(connection.execute(query).fetchall())


def through_frame(engine: sa.Engine, select: str, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        frame = pd.read_sql(sa.text(select), connection)
    return rounded(duckdb.sql(query.format("frame")).fetchall()) if len(frame) else []


def rounded(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Sums depend on the order of the rows."""
    return [(city, count, round(amount, 3)) for city, count, amount in rows]


def main() -> None:
    parser = argument_parser(__doc__, repeats=3)
    parser.add_argument(
        "--url", default=os.environ.get("VGI_FAST_TEST_POSTGRES"), help="SQLAlchemy's URL of the server"
    )
    parser.add_argument("--rows", type=int, default=5_000_000, help="of the table (default: %(default)s)")
    options: argparse.Namespace = parser.parse_args()
    if not options.url:
        parser.error("no server: give --url or set VGI_FAST_TEST_POSTGRES")
    engine = sa.create_engine(options.url)
    prepare(engine, options.rows)
    connections = {"catalog": attached(options.url), "catalog, rows": attached(options.url, adbc=False)}
    query = QUERY.format(f"db.{TABLE}")
    candidates: dict[str, Callable[[], Any]] = {
        name: partial(through_catalog, connection, query) for name, connection in connections.items()
    }
    candidates["pandas.read_sql"] = partial(through_frame, engine, f"SELECT * FROM {TABLE}", QUERY)
    candidates["pandas, same SELECT"] = partial(through_frame, engine, BY_HAND, QUERY)
    answers = {name: run() for name, run in candidates.items()}
    assert len({str(answer) for answer in answers.values()}) == 1, answers
    print(f"DuckDB runs:\n    {query}\nthe server gets:\n    {sent(engine, connections['catalog'], query)}\n")
    samples = interleave({name: partial(timed, run) for name, run in candidates.items()}, options.repeats)
    base = min(samples["pandas.read_sql"])
    rows: list[dict[str, Cell]] = [
        {
            "candidate": name,
            "min ms": round(min(taken) / 1e6),
            "median ms": round(median(taken) / 1e6),
            "times faster than read_sql": round(base / min(taken), 1),
        }
        for name, taken in samples.items()
    ]
    report("sql_catalog", __doc__, rows, options)


def sent(engine: sa.Engine, connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """The server's own record of the last statement of the catalog's connection, which is idle now."""
    connection.execute(query).fetchall()
    found = f"SELECT query FROM pg_stat_activity WHERE query LIKE 'COPY%{TABLE}%' ORDER BY query_start DESC LIMIT 1"
    with engine.connect() as own:
        text = own.execute(sa.text(found)).scalar()
    return " ".join(str(text).split())


if __name__ == "__main__":
    main()
