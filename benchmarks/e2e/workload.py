"""One function of several workers, called with many batches: what each of them costs.

Times are for one batch, in microseconds: ``wall`` as the caller waits, ``worker`` the CPU of the worker's
processes, ``client`` that of the process that calls, which is the one of the benchmark.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from time import perf_counter_ns, process_time_ns
from typing import Any, Final

import duckdb
from duckdb.func import PythonUDFType

from benchmarks.data import BATCH_ROWS
from benchmarks.e2e.processes import usage
from benchmarks.e2e.workers import (
    EXTENSION_VARIABLE,
    add_worker_options,
    attach,
    configure,
    connect,
    extension_path,
    lanes,
    start,
)
from benchmarks.harness import Case, Cell, argument_parser, interleave, report
from vgi_fast.client.catalog import Catalog

IN_PROCESS: Final = "in_process"
"""Name of a workload's UDF."""

IDLE_SHARE: Final = 0.01

DEDUP: Final[dict[str, dict[str, object]]] = {
    "no dedup": {"vgi_exchange_input_dedup": False},
    "dedup": {"vgi_exchange_input_dedup": True},
}
"""The extension drops repeated input rows by default, which costs more than most functions do."""


@dataclass(frozen=True, slots=True)
class Workload:
    """``query`` and ``check`` hold ``{call}``, which is ``call`` for a worker and ``native`` for DuckDB alone.

    Further placeholders: ``{function}``, ``{rows}``, ``{batch_rows}``. The answer to ``check`` tells whether the
    results are right.
    """

    name: str
    function: str
    query: str
    check: str
    call: str
    native: str
    rows: int
    through_client: Callable[[Catalog, argparse.Namespace], tuple[Callable[[], Any], Callable[[], Any]]]
    """For a catalog: the run to measure and the check."""
    prepare: str = ""
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: {"": {}})
    udf: "Udf | None" = None


@dataclass(frozen=True, slots=True)
class Udf:
    """Of DuckDB in this process, on Arrow arrays."""

    function: Callable[..., Any]
    parameters: list[Any]
    result: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Of one run, in nanoseconds."""

    wall: int
    worker: int
    client: int
    worker_rss: int
    """Of the busiest process of the worker."""
    started: int
    """Processes that were started on the way: their start is part of the figures."""


@dataclass(frozen=True, slots=True)
class Candidate:
    name: str
    client: str
    setting: str
    run: Callable[[], Any]
    check: Callable[[], Any]
    ready: Callable[[], Any]
    """Whatever has to be set before a run."""

    def sample(self) -> Sample:
        self.ready()
        return measure(self.run)


def measure(run: Callable[[], Any]) -> Sample:
    before = usage()
    cpu, clock = process_time_ns(), perf_counter_ns()
    run()
    wall, client = perf_counter_ns() - clock, process_time_ns() - cpu
    after = usage()
    spent = {pid: used.cpu_ns - (before[pid].cpu_ns if pid in before else 0) for pid, used in after.items()}
    busiest = max(spent, key=spent.__getitem__, default=None)
    # A worker that only waits spends a little as well.
    rss = after[busiest].rss_bytes if busiest is not None and spent[busiest] > wall * IDLE_SHARE else 0
    return Sample(wall, sum(spent.values()), client, rss, len(after.keys() - before.keys()))


def main(workload: Workload, question: str | None) -> None:
    parser = argument_parser(question, repeats=10)
    add_worker_options(parser, "vgi_fast_worker")
    parser.add_argument("--client", action="append", choices=("duckdb", "vgi_fast"), help="default: both")
    parser.add_argument("--rows", type=int, default=workload.rows, help="rows of one run (default: %(default)s)")
    parser.add_argument("--batch-rows", type=int, default=BATCH_ROWS, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of DuckDB (default: %(default)s)")
    parser.add_argument("--function", default=workload.function, help="default: %(default)s")
    parser.add_argument("--query", default=workload.query, help="template of the query (default: %(default)s)")
    parser.add_argument("--check", default=workload.check, help="query for the comparison (default: %(default)s)")
    parser.add_argument("--call", default=workload.call, help="template of the call (default: %(default)s)")
    options = parser.parse_args()
    clients = options.client or (["duckdb", "vgi_fast"] if extension_path() else ["vgi_fast"])
    if not options.client and "duckdb" not in clients:
        print(f"{EXTENSION_VARIABLE} is not set: nothing is measured under DuckDB", file=sys.stderr)
    rows: list[dict[str, Cell]] = []
    for client in clients:
        candidates, close = {"duckdb": _through_duckdb, "vgi_fast": _through_client}[client](workload, options)
        try:
            rows += _compare(workload.name, candidates, options)
        finally:
            close()
    report(f"e2e.{workload.name}", question, rows, options)


def _compare(name: str, candidates: list[Candidate], options: argparse.Namespace) -> list[dict[str, Cell]]:
    by_key = {f"{each.setting} {each.name}": each for each in candidates}
    Case(name, {key: partial(_checked, each) for key, each in by_key.items()}).verify()
    for each in candidates:
        each.sample()
    samples = interleave({key: each.sample for key, each in by_key.items()}, options.repeats)
    batches = options.rows / options.batch_rows
    return [_row(each, samples[key], batches, samples) for key, each in by_key.items()]


def _checked(candidate: Candidate) -> Any:
    candidate.ready()
    return candidate.check()


def _row(
    candidate: Candidate, samples: list[Sample], batches: float, everything: Mapping[str, list[Sample]]
) -> dict[str, Cell]:
    def figures(name: str) -> dict[str, Cell]:
        values = [getattr(sample, name) / batches / 1000 for sample in samples]
        return {f"{name} min µs": round(min(values), 2), f"{name} median": round(median(values), 2)}

    base = min(sample.wall for sample in next(iter(everything.values())))
    return {
        "client": candidate.client,
        "setting": candidate.setting,
        "worker": candidate.name,
        **figures("wall"),
        **figures("worker"),
        **figures("client"),
        "min wall, relative": round(min(sample.wall for sample in samples) / base, 2),
        "RSS MiB": round(max(sample.worker_rss for sample in samples) / 2**20, 1) or None,
        "starts": sum(sample.started for sample in samples),
    }


# -- candidates ---------------------------------------------------------------------------------


def _through_duckdb(workload: Workload, options: argparse.Namespace) -> tuple[list[Candidate], Callable[[], Any]]:
    connection = connect(options.threads)
    values = {"rows": options.rows, "batch_rows": options.batch_rows}
    if workload.prepare:
        connection.execute(workload.prepare.format(**values))

    def candidate(
        name: str,
        setting: str,
        call: str,
        settings: Mapping[str, object],
        select: Callable[[], None] = lambda: None,
    ) -> Candidate:
        def ready() -> None:
            configure(connection, settings)
            select()

        run = partial(_answer, connection, options.query.format(call=call, **values))
        check = partial(_answer, connection, options.check.format(call=call, **values))
        return Candidate(name, "duckdb", setting, run, check, ready)

    candidates: list[Candidate] = []
    compared = lanes(options)
    for number, lane in enumerate(compared):
        attach(connection, lane.command, options.catalog, f"worker_{number}")
    for setting, settings in workload.settings.items():
        for number, lane in enumerate(compared):
            call = options.call.format(function=f"worker_{number}.{options.schema}.{options.function}", **values)
            candidates.append(candidate(lane.name, setting, call, settings, lane.select))
    if workload.udf is not None:
        udf = workload.udf
        connection.create_function(IN_PROCESS, udf.function, udf.parameters, udf.result, type=PythonUDFType.ARROW)
        candidates.append(candidate("Arrow UDF in DuckDB", "", options.call.format(function=IN_PROCESS, **values), {}))
    candidates.append(candidate("SQL", "", workload.native.format(**values), {}))
    return candidates, connection.close


def _answer(connection: duckdb.DuckDBPyConnection, query: str) -> list[Any]:
    return connection.execute(query).fetchall()


def _through_client(workload: Workload, options: argparse.Namespace) -> tuple[list[Candidate], Callable[[], Any]]:
    clients = {lane.name: start(lane.command, lane.shm_bytes) for lane in lanes(options)}
    candidates = []
    for name, client in clients.items():
        run, check = workload.through_client(client.attach(options.catalog), options)
        candidates.append(Candidate(name, "vgi_fast", "", run, check, lambda: None))
    return candidates, lambda: [client.close() for client in clients.values()]
