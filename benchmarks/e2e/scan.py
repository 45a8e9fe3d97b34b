"""What does a selective scan cost, when the worker filters?

One row in a hundred of 20 million passes, and five columns of it are read. ``--function``, ``--call`` and
``--predicate`` fit any worker; ``--function scan_unfiltered`` leaves the filter to DuckDB.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import duckdb

from benchmarks.e2e.workers import add_worker_options, attach, connect, worker_commands
from benchmarks.e2e.workload import Sample, measure
from benchmarks.harness import Cell, argument_parser, interleave, report

ROWS: Final = 20_000_000
QUERY: Final = "SELECT count(*), sum(hash(COLUMNS(*))) FROM {call} WHERE {predicate}"


def main() -> None:
    parser = argument_parser(__doc__, repeats=5)
    add_worker_options(parser, "vgi_fast_worker")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the scan (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of DuckDB (default: %(default)s)")
    parser.add_argument("--batch-rows", type=int, default=65_536, help="default: %(default)s")
    parser.add_argument("--function", action="append", help="repeatable (default: scan and scan_unfiltered)")
    parser.add_argument("--call", default="{function}({rows}, batch_size := {batch_rows})", help="default: %(default)s")
    parser.add_argument("--predicate", default="key < 655", help="default: %(default)s")
    parser.add_argument("--query", default=QUERY, help="default: %(default)s")
    options = parser.parse_args()
    functions: Sequence[str] = options.function or ["scan", "scan_unfiltered"]
    connection = connect(options.threads)
    runs: dict[str, Callable[[], Sample]] = {}
    answers: dict[str, Any] = {}
    for index, (name, command) in enumerate(worker_commands(options).items()):
        attach(connection, command, options.catalog, f"w{index}")
        for function in functions:
            query = statement(options, f"w{index}.{options.schema}.{function}")
            answers[f"{name} {function}"] = connection.execute(query).fetchall()
            runs[f"{name} {function}"] = partial(measure, partial(run, connection, query))
    if len({repr(answer) for answer in answers.values()}) != 1:
        raise SystemExit(f"the candidates disagree: {answers}")
    samples = interleave(runs, options.repeats)
    report("e2e.scan", __doc__, [row(name, taken) for name, taken in samples.items()], options)


def statement(options: argparse.Namespace, function: str) -> str:
    call = options.call.format(function=function, rows=options.rows, batch_rows=options.batch_rows)
    query: str = options.query.format(call=call, predicate=options.predicate)
    return query


def run(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    return connection.execute(query).fetchall()


def row(name: str, taken: list[Sample]) -> dict[str, Cell]:
    def least_and_median(values: list[int]) -> tuple[float, float]:
        ordered = sorted(values)
        return round(ordered[0] / 1e6, 1), round(ordered[len(ordered) // 2] / 1e6, 1)

    wall, wall_median = least_and_median([sample.wall for sample in taken])
    worker, _ = least_and_median([sample.worker for sample in taken])
    client, _ = least_and_median([sample.client for sample in taken])
    return {
        "candidate": name,
        "wall ms": wall,
        "wall ms, median": wall_median,
        "worker CPU ms": worker,
        "client CPU ms": client,
    }


if __name__ == "__main__":
    main()
