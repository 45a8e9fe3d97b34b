"""What does each further worker take of the machine's memory?

Several workers at once, each of which has answered, with NumPy and pyarrow loaded. ``private`` are the pages that a
process shares with no other, ``PSS`` divides the shared ones by the number of those that share them; ``sum`` is over
the workers. The last one is the one to judge by.
"""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.data import int64_batch
from benchmarks.e2e.processes import PROC, usage
from benchmarks.e2e.workers import add_run_option, add_worker_options, run_commands, worker_commands
from benchmarks.harness import Cell, argument_parser, report
from vgi_fast import RecordBatch
from vgi_fast.client import Client

FACTOR: Final = 2
MEBIBYTE: Final = 1024.0  # of what the kernel counts, which is KiB


@dataclass(frozen=True, slots=True)
class Memory:
    """In MiB."""

    private: float
    pss: float


def main() -> None:
    parser = argument_parser(__doc__, repeats=1)
    add_worker_options(parser, "vgi_fast_worker")
    add_run_option(parser)
    parser.add_argument("--workers", type=int, default=8, help="at once (default: %(default)s)")
    parser.add_argument("--function", default="multiply", help="of an int64 and a factor (default: %(default)s)")
    parser.add_argument("--text-function", default="upper_case", help="of a text, in pyarrow (default: %(default)s)")
    options = parser.parse_args()
    commands = worker_commands(options) | run_commands(options)
    rows = []
    for _ in range(options.repeats):
        rows += [
            _row(name, _measure(command, options.workers, options.catalog, options.function, options.text_function))
            for name, command in commands.items()
        ]
    report("e2e.memory", __doc__, rows, options)


def _row(name: str, workers: list[Memory]) -> dict[str, Cell]:
    return {
        "program": name,
        "first private MiB": round(workers[0].private, 1),
        "last private MiB": round(workers[-1].private, 1),
        "median private": round(median(worker.private for worker in workers), 1),
        "last PSS": round(workers[-1].pss, 1),
        "sum of PSS": round(sum(worker.pss for worker in workers), 1),
    }


def _measure(command: str, count: int, catalog: str, function: str, text_function: str) -> list[Memory]:
    os.environ["VGI_FAST_RUN_EXPLAIN"] = "1"
    batch = RecordBatch.from_arrow(int64_batch())
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(command)) for _ in range(count)]
        for client in clients:
            attached = client.attach(catalog)
            attached.scalar(function, {"value": batch.column(0).to_arrow()}, [FACTOR])
            attached.scalar(text_function, {"value": ["text"]})
        return [_of(_serving(client)) for client in clients]


def _serving(client: Client) -> int:
    """The process that answers: under ``vgi-fast-run`` it says so, else the largest that was started."""
    channel = client.connection.channel
    for line in channel.stderr_tail().splitlines():
        if "serves, as process " in line:
            return int(line.split()[-1])
    used = usage(channel.pid)  # type: ignore[attr-defined]
    return max(used, key=lambda pid: used[pid].rss_bytes)


def _of(pid: int) -> Memory:
    found: dict[str, int] = {}
    with (PROC / str(pid) / "smaps_rollup").open(encoding="ascii") as file:
        next(file)
        for line in file:
            name, value, *_ = line.split()
            found[name.rstrip(":")] = int(value)
    private = found["Private_Clean"] + found["Private_Dirty"]
    return Memory(private / MEBIBYTE, found["Pss"] / MEBIBYTE)


if __name__ == "__main__":
    main()
