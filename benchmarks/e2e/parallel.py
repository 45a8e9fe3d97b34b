"""What do several threads gain from one shared worker?

A function that computes in pure Python, called by 1 and by more threads at once: of DuckDB with ``launch:`` where its
extension is named, else of this package's client. In one process the interpreter's lock lets one thread compute at a
time; in a pool as many as there are processes and processors. Every worker is measured as it is given, and each of
``cpu_worker`` with the numbers of processes in ``--processes``.

On a busy machine the wall-clock time says little. The CPU time of the busiest process of the worker is what the run
would take at least on an idle one, since its threads compute one at a time; "by CPU" compares that.
"""

import argparse
import shlex
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from time import perf_counter_ns
from typing import Any, Final

from benchmarks.data import BATCH_ROWS
from benchmarks.e2e.processes import busiest_cpu_ns, cpu_by_process
from benchmarks.e2e.workers import (
    add_worker_options,
    configure,
    connect,
    extension_path,
    own_command,
    quoted,
    worker_commands,
)
from benchmarks.harness import Cell, argument_parser, interleave, report
from vgi_fast import Array, RecordBatch, Schema
from vgi_fast.client import Client, LaunchChannel, Launcher

IDLE_TIMEOUT_S: Final = 5
POOLED: Final = "cpu_worker"
ROW_GROUP: Final = 122_880
"""DuckDB's unit of work for a thread that scans a table."""

Run = Callable[[], Any]


def main() -> None:
    parser = argument_parser(__doc__, repeats=15)
    add_worker_options(parser)
    parser.add_argument("--processes", default="1,2,auto", help="of this package's pool (default: %(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 4], help="default: %(default)s")
    parser.add_argument("--row-groups", type=int, default=4, help=f"of {ROW_GROUP} rows (default: %(default)s)")
    parser.add_argument("--function", default="spin", help="of an int64 (default: %(default)s)")
    options = parser.parse_args()
    commands = {
        f"{POOLED}, {count} processes": f"{own_command(POOLED)} --workers {count}"
        for count in options.processes.split(",")
        if count
    } | worker_commands(options)
    with tempfile.TemporaryDirectory() as state_dir:
        make = through_duckdb if extension_path() else through_client
        runners: dict[str, Run] = {}
        keys = [(name, threads) for name in commands for threads in options.threads]
        for name, threads in keys:
            runners[f"{name}/{threads}"] = make(commands[name], threads, state_dir, options)
        answers = {name: run() for name, run in runners.items()}
        if len(set(answers.values())) != 1:
            raise AssertionError(f"the workers disagree: {answers}")
        samples = interleave({name: partial(_timed, run) for name, run in runners.items()}, options.repeats)
    rows: list[dict[str, Cell]] = []
    for name, threads in keys:
        taken, cpu = zip(*samples[f"{name}/{threads}"], strict=True)
        single, single_cpu = zip(*samples[f"{name}/{options.threads[0]}"], strict=True)
        rows.append(
            {
                "worker": name,
                "client": "duckdb" if extension_path() else "vgi_fast",
                "threads": threads,
                "min ms": round(min(taken) / 1e6, 1),
                "median": round(median(taken) / 1e6, 1),
                "busiest CPU ms": round(median(cpu) / 1e6, 1),
                "throughput, by min": round(min(single) / min(taken), 2),
                # Of runs of the same round, which a busy machine disturbs alike.
                "by rounds": round(median(one / many for one, many in zip(single, taken, strict=True)), 2),
                "by CPU": round(median(single_cpu) / max(median(cpu), 1), 2),
            }
        )
    report("e2e.parallel", __doc__, rows, options)


def _timed(run: Run) -> tuple[int, int]:
    """Wall-clock time, and CPU time of the busiest process."""
    before = cpu_by_process()
    started = perf_counter_ns()
    run()
    taken = perf_counter_ns() - started
    return taken, busiest_cpu_ns(before, cpu_by_process())


def through_duckdb(command: str, threads: int, state_dir: str, options: argparse.Namespace) -> Run:
    connection = connect(threads)
    configure(connection, {"vgi_exchange_input_dedup": False})
    connection.execute(
        f"ATTACH {quoted(options.catalog)} AS worker (TYPE vgi, LOCATION {quoted('launch:' + command)}, "
        f"launcher_idle_timeout '{IDLE_TIMEOUT_S}', launcher_state_dir {quoted(state_dir)})"
    )
    connection.execute(f"CREATE TABLE numbers AS SELECT range AS i FROM range({options.row_groups * ROW_GROUP})")
    query = f"SELECT sum(worker.{options.schema}.{options.function}(i)) FROM numbers"
    return lambda: connection.execute(query).fetchall()[0][0]


def through_client(command: str, threads: int, state_dir: str, options: argparse.Namespace) -> Run:
    launcher = Launcher(shlex.split(command), idle_timeout_s=IDLE_TIMEOUT_S, state_dir=state_dir)
    clients = [Client(LaunchChannel(launcher)) for _ in range(threads)]
    catalogs = [client.attach(options.catalog) for client in clients]
    schema = Schema.parse("col_0: int64")
    batches = options.row_groups * ROW_GROUP // BATCH_ROWS

    def share(number: int) -> int:
        total = 0
        with catalogs[number].open_scalar(options.function, schema.types, [], schema=options.schema) as call:
            for start in range(number * BATCH_ROWS, batches * BATCH_ROWS, threads * BATCH_ROWS):
                values = Array.from_pylist(range(start, start + BATCH_ROWS), "int64")
                total += sum(call.exchange(RecordBatch(schema, [values], BATCH_ROWS)).to_pylist())
        return total

    executor = ThreadPoolExecutor(threads)
    return lambda: sum(executor.map(share, range(threads)))


if __name__ == "__main__":
    main()
