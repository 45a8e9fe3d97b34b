"""How long until a new worker is of use?

DuckDB ends idle workers after a few seconds and after every error, so this is paid again and again.

``start and exit``  process started with an empty input, until it has ended: interpreter, imports, own setup
``first answer``    started, until a client that only replays recorded bytes has the first 2,048 scalar results
``attach``          ATTACH in DuckDB, which starts the process
``first query``     the first SELECT with the function after that

CPU is that of the process up to this moment; under DuckDB it is not taken, as its client is in the way. Nor is it
for workers under ``vgi-fast-run``: ``warm`` ones have a template process already, ``first use`` starts it.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Final

from benchmarks.data import int64_batch
from benchmarks.e2e.processes import usage
from benchmarks.e2e.replay import Recording, Replay, record
from benchmarks.e2e.workers import (
    add_run_option,
    add_worker_options,
    attach,
    connect,
    extension_path,
    run_commands,
    worker_commands,
)
from benchmarks.harness import Cell, argument_parser, interleave, report
from vgi_fast import RecordBatch

FACTOR: Final = 2
PYTHON: Final = shlex.quote(sys.executable)
PROGRAMS: Final = {
    "python -c pass": f"{PYTHON} -c pass",
    "import numpy": f"{PYTHON} -c 'import numpy'",
    "import vgi_fast": f"{PYTHON} -c 'import vgi_fast'",
}
"""What the workers are to be compared with: parts of what each of them does."""

_distinct = count()


@dataclass(frozen=True, slots=True)
class Start:
    """In nanoseconds and bytes; None was not taken."""

    wall: int
    cpu: int | None = None
    rss: int | None = None


def main() -> None:
    parser = argument_parser(__doc__, repeats=10)
    add_worker_options(parser, "minimal_worker", "vgi_fast_worker", "example_worker")
    add_run_option(parser)
    parser.add_argument("--function", default="multiply", help="of an int64 and a factor (default: %(default)s)")
    parser.add_argument(
        "--program", action="append", default=[], metavar="NAME=COMMAND", help="a further one to start and exit"
    )
    options = parser.parse_args()
    # An installed package is compiled; modules that are compiled at each start would be what is measured.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    commands = worker_commands(options)
    programs = PROGRAMS | dict(text.split("=", 1) for text in options.program)
    exits = {name: partial(_exit, command) for name, command in (programs | commands).items()}
    under_run = run_commands(options)
    warm = {f"{name}, warm": command for name, command in under_run.items()}
    exits |= {name: partial(_exit, command) for name, command in warm.items()}
    rows = _rows("start and exit", _run(exits, options.repeats))
    batch = RecordBatch.from_arrow(int64_batch())
    answers = {
        name: partial(_answer, command, record(command, options.catalog, options.function, [FACTOR], batch))
        for name, command in (commands | warm).items()
    }
    for name, command in under_run.items():
        recording = record(command, options.catalog, options.function, [FACTOR], batch)
        answers[f"{name}, first use"] = partial(_first_answer, command, recording)
    rows += _rows("first answer", _run(answers, options.repeats))
    if extension_path():
        under_duckdb = {
            name: partial(_attach, command, options.catalog, f"{options.schema}.{options.function}")
            for name, command in (commands | warm).items()
        }
        samples = interleave(under_duckdb, options.repeats)
        for index, label in enumerate(("attach", "first query")):
            rows += _rows(label, {name: [pair[index] for pair in pairs] for name, pairs in samples.items()})
    report("e2e.startup", __doc__, rows, options)


def _run(runners: Mapping[str, Callable[[], Start]], repeats: int) -> dict[str, list[Start]]:
    for run in runners.values():
        run()  # file caches, compiled modules
    return interleave(runners, repeats)


def _rows(label: str, samples: dict[str, list[Start]]) -> list[dict[str, Cell]]:
    return [
        {
            "until": label,
            "program": name,
            "wall min ms": _milliseconds(min, [start.wall for start in starts]),
            "wall median": _milliseconds(median, [start.wall for start in starts]),
            "CPU min ms": _milliseconds(min, [start.cpu for start in starts]),
            "CPU median": _milliseconds(median, [start.cpu for start in starts]),
            "RSS MiB": _mebibytes([start.rss for start in starts]),
        }
        for name, starts in samples.items()
    ]


def _milliseconds(choose: Callable[[Sequence[int]], float], values: Sequence[int | None]) -> float | None:
    taken = [value for value in values if value is not None]
    return round(choose(taken) / 1e6, 2) if taken else None


def _mebibytes(values: Sequence[int | None]) -> float | None:
    taken = [value for value in values if value is not None]
    return round(max(taken) / 2**20, 1) if taken else None


def _exit(command: str) -> Start:
    """As ``wait4`` tells it, of a shell: children that it waited for are included.

    Its memory is not taken, since the largest size includes that of this process before the ``exec``.
    """
    started = perf_counter_ns()
    process = subprocess.Popen(
        command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, resources = os.wait4(process.pid, 0)
    wall = perf_counter_ns() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ChildProcessError(f"status {process.returncode} of {command}")
    return Start(wall, int((resources.ru_utime + resources.ru_stime) * 1e9))


def _answer(command: str, recording: Recording) -> Start:
    started = perf_counter_ns()
    with Replay(command) as replay:
        answer = b""
        for turn in recording.turns:
            answer = replay.exchange(turn)
        wall = perf_counter_ns() - started
        used = usage(replay.process.pid).values()
    if not answer.endswith(recording.ending):
        raise AssertionError(f"{command} gave another answer than before")
    return Start(wall, sum(each.cpu_ns for each in used), max(each.rss_bytes for each in used))


def _first_answer(command: str, recording: Recording) -> Start:
    """Where no template is to be found. The one that is started leaves with its worker."""
    before = dict(os.environ)
    with TemporaryDirectory() as folder:
        os.environ |= {"VGI_FAST_RUN_DIR": folder, "VGI_FAST_TEMPLATE_IDLE_S": "0"}
        try:
            return Start(_answer(command, recording).wall)
        finally:
            os.environ.clear()
            os.environ |= before


def _attach(command: str, catalog: str, function: str) -> tuple[Start, Start]:
    connection = connect(threads=1)
    # The pool knows workers by their command: a comment makes it a new one.
    unknown = f"{command} # {next(_distinct)}"
    started = perf_counter_ns()
    attach(connection, unknown, catalog, "attached")
    attached = perf_counter_ns()
    connection.execute(f"SELECT attached.{function}(range, {FACTOR}) FROM range(2048)").fetchall()
    answered = perf_counter_ns()
    connection.execute("SET vgi_worker_pool_idle_limit_seconds = 0")
    connection.close()
    return Start(attached - started), Start(answered - attached)


if __name__ == "__main__":
    main()
