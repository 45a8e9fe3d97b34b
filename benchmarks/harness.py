"""Sampling, tables and records: what every benchmark shares.

A record is one JSON line under ``benchmarks/results``, with all that is needed to judge its figures later:
commit, versions, machine, load and settings.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any, Final, TypeVar

T = TypeVar("T")

RESULTS: Final = Path(__file__).parent / "results"
PACKAGES: Final = ("vgi-fast", "numpy", "pyarrow", "duckdb", "cython")
Cell = str | int | float | None


# -- sampling -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """Several ways to do one thing. The first is what the others are compared with.

    A call does ``units`` times what is reported. ``plain`` makes the candidates' results comparable.
    """

    name: str
    candidates: Mapping[str, Callable[[], Any]]
    units: int = 1
    plain: Callable[[Any], Any] = lambda value: value

    def verify(self) -> None:
        """Raise unless all candidates give the same."""
        (base, expected), *others = ((name, self.plain(run())) for name, run in self.candidates.items())
        for name, got in others:
            if got != expected:
                raise AssertionError(f"{self.name}: {name} and {base} disagree: {got!r:.300} != {expected!r:.300}")


def interleave(runners: Mapping[str, Callable[[], T]], repeats: int) -> dict[str, list[T]]:
    """Every runner in turn, ``repeats`` times, so that a slow minute of the machine hits all of them.

    Every round begins with another runner: whoever follows a cold one would otherwise always gain.

    >>> interleave({"a": lambda: 1, "b": lambda: 2}, 2)
    {'a': [1, 1], 'b': [2, 2]}
    """
    names = list(runners)
    samples: dict[str, list[T]] = {name: [] for name in names}
    for turn in range(repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            samples[name].append(runners[name]())
    return samples


def nanoseconds(run: Callable[[], Any], calls: int) -> float:
    """Of one call, over ``calls`` of them."""
    counter = range(calls)
    started = perf_counter_ns()
    for _ in counter:
        run()
    return (perf_counter_ns() - started) / calls


def calls_for(run: Callable[[], Any], sample_ms: float) -> int:
    """How many calls make a sample long enough for the clock."""
    calls = 1
    while (spent := nanoseconds(run, calls) * calls) < sample_ms * 1e6:
        calls = max(calls * 2, int(calls * sample_ms * 1e6 / max(spent, 1.0)))
    return calls


# -- the command line of a core benchmark -------------------------------------------------------


def core_main(name: str, question: str | None, cases: Iterable[Case]) -> None:
    """Verify, time and report."""
    parser = argument_parser(question, repeats=40)
    parser.add_argument("--sample-ms", type=float, default=3.0, help="length of one sample (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains this")
    options = parser.parse_args()
    rows: list[dict[str, Cell]] = []
    for case in cases:
        if options.only not in case.name:
            continue
        case.verify()
        runners = {
            candidate: partial(nanoseconds, run, calls_for(run, options.sample_ms))
            for candidate, run in case.candidates.items()
        }
        base: float | None = None
        for candidate, samples in interleave(runners, options.repeats).items():
            least, middle = min(samples) / case.units, median(samples) / case.units
            base = base or least
            rows.append(
                {
                    "case": case.name,
                    "candidate": candidate,
                    "min ns": round(least),
                    "median ns": round(middle),
                    "min, relative": round(least / base, 2),
                }
            )
    report(name, question, rows, options)


def argument_parser(question: str | None, repeats: int) -> argparse.ArgumentParser:
    """With the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=question, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=repeats, help="samples of each candidate (default: %(default)s)")
    parser.add_argument("--no-record", action="store_true", help=f"append nothing to {RESULTS.name}/")
    return parser


# -- reporting ----------------------------------------------------------------------------------


def report(name: str, question: str | None, rows: Sequence[Mapping[str, Cell]], options: argparse.Namespace) -> None:
    """Print the table and append the record."""
    print_table(name, (question or "").strip().partition("\n")[0], rows)
    if not options.no_record:
        path = append_record(name, rows, vars(options))
        print(f"appended to {path}", file=sys.stderr)


def append_record(name: str, rows: Sequence[Mapping[str, Cell]], settings: Mapping[str, Any]) -> Path:
    record = {"benchmark": name, **environment(), "settings": dict(settings), "rows": list(rows)}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, default=str) + "\n")
    return path


def environment() -> dict[str, Any]:
    from vgi_fast import _core

    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "debug_build": _core.DEBUG,
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    """Of the tree that this file is in; ``+`` marks changes that are not committed."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--abbrev=12", "--match="]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def print_table(title: str, subtitle: str, rows: Sequence[Mapping[str, Cell]]) -> None:
    """Columns as in the first row; a repeated first column is shown once."""
    if not rows:
        print(f"{title}: nothing measured")
        return
    columns = list(rows[0])
    texts: list[list[str]] = []
    previous: Cell = None
    for row in rows:
        cells = [_text(row[column]) for column in columns]
        if row[columns[0]] == previous:
            cells[0] = ""
        previous = row[columns[0]]
        texts.append(cells)
    numeric = [all(isinstance(row[column], (int, float, type(None))) for row in rows) for column in columns]
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        _print_plain(f"{title}: {subtitle}", columns, texts, numeric)
        return
    table = Table(title=f"{title}: {subtitle}", title_justify="left")
    for column, right in zip(columns, numeric, strict=True):
        table.add_column(column, justify="right" if right else "left")
    for cells in texts:
        if cells[0] and table.row_count:
            table.add_section()
        table.add_row(*cells)
    # A redirected table has no terminal to fit into.
    Console(width=None if sys.stdout.isatty() else 200, markup=False).print(table)


def _print_plain(title: str, columns: list[str], texts: list[list[str]], numeric: list[bool]) -> None:
    lines = [columns, *texts]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    print(title)
    for line in lines:
        cells = zip(line, widths, numeric, strict=True)
        print("  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells).rstrip())


def _text(value: Cell) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value
