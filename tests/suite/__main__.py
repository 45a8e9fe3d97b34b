"""Runs the tests of DuckDB's vgi extension against the example workers, and compares with ``results.md``.

    VGI_SRC=~/vgi VGI_UNITTEST=~/vgi/build/release/test/unittest python -m tests.suite --lane stdio --jobs 2

``VGI_SRC`` is a checkout of the extension, ``VGI_UNITTEST`` the test runner that its build makes. What each test
printed is left in ``build/suite/LANE/``. Ends with status 1 if a test does not pass that is recorded as passing.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.suite import results
from tests.suite.lanes import LANES, RUNNER, SOURCE, Lane, base_variables, module_command, special_for, worker_variables
from tests.suite.running import Outcome, Run, Runner
from tests.suite.staging import Stage, find_extensions, seed_lake

LOGS: Final = Path("build/suite")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    source, program = _place(SOURCE, "a checkout of the extension"), _place(RUNNER, "the test runner of its build")
    import duckdb

    extensions = find_extensions(f"v{duckdb.__version__}")
    commands = dict(text.split("=", 1) for text in options.worker)
    found: results.Verdicts = {}
    existing: set[str] = set()
    for lane in [LANES[name] for name in options.lane or LANES]:
        with TemporaryDirectory(prefix="vgi-suite-") as name:
            stage = Stage(Path(name), source, lane, extensions)
            existing.update(map(stage.name, stage.tests()))
            chosen = [path for path in stage.tests() if _is_chosen(stage.name(path), options.only)]
            with _launched_workers_ended(stage.folder), ThreadPoolExecutor(options.jobs) as threads:
                runner = Runner(program, stage.folder, options.timeout)
                for path, run in zip(
                    chosen,
                    threads.map(lambda path: _run(runner, stage, path, commands, extensions), chosen),  # noqa: B023
                    strict=True,
                ):
                    found[lane.name, stage.name(path)] = run.verdict
                    if options.verbose or run.verdict.outcome is Outcome.FAILED:
                        print(_line(lane, stage.name(path), run), flush=True)
        verdicts = [verdict.outcome for (name, _), verdict in found.items() if name == lane.name]
        print(f"{lane.name}: " + ", ".join(f"{verdicts.count(each)} {each}" for each in Outcome), flush=True)
        if options.update and found:  # lane by lane: each takes minutes
            _judge(found, existing, source, update=True)
    if options.update and found:
        return 0
    return _judge(found, existing, source, update=options.update)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.suite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lane", action="append", choices=LANES, help="repeatable (default: all)")
    parser.add_argument(
        "--only", action="append", metavar="GLOB", help="tests, as the results name them, e.g. 'integration/scalar/*'"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=240, metavar="S", help="for one test (default: %(default)s)")
    parser.add_argument(
        "--worker",
        action="append",
        default=[],
        metavar="VARIABLE=COMMAND",
        help="a worker to be tested in place of the example worker of that variable; repeatable",
    )
    parser.add_argument("--update", action="store_true", help=f"record the results in {results.RESULTS.name}")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each test, not only for failed ones")
    options = parser.parse_args(arguments)
    if wrong := [text for text in options.worker if "=" not in text]:
        parser.error(f"--worker takes VARIABLE=COMMAND, not {wrong[0]!r}")
    return options


def _place(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        raise SystemExit(f"{variable} is not set: it names {what}")
    path = Path(value).expanduser().resolve()
    if not path.exists():
        raise SystemExit(f"{variable} names {what}, and {path} does not exist")
    return path


def _is_chosen(name: str, globs: Sequence[str] | None) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)


def _run(runner: Runner, stage: Stage, path: Path, commands: Mapping[str, str], extensions: Mapping[str, Path]) -> Run:
    name = stage.name(path)
    variables = base_variables() | stage.variables() | dict(stage.lane.variables)
    workers, runtime = dict(commands), "shared"
    if special := special_for(name, extensions):
        runtime = path.stem
        variables |= special.variables
        if special.worker:
            workers["VGI_TEST_WORKER"] = module_command(special.worker)
        if special.lake:
            folder = stage.folder / "lakes" / path.stem
            folder.mkdir()
            variables["VGI_TEST_COMPANION_TARGET"] = seed_lake(folder, extensions)
    variables |= worker_variables(stage.lane, workers)
    variables["XDG_RUNTIME_DIR"] = str(stage.runtime_folder(runtime))
    return runner.run(path, stage.configuration(path), variables, LOGS / stage.lane.name / f"{name}.log")


@contextmanager
def _launched_workers_ended(folder: Path) -> Iterator[None]:
    """They outlive the runner; their command lines name sockets in the folder."""
    try:
        yield
    finally:
        listed = subprocess.run(["ps", "-axo", "pid=,args="], capture_output=True, text=True, check=True).stdout
        for line in listed.splitlines():
            pid, _, command = line.strip().partition(" ")
            if f" {shlex.quote(str(folder))}/run-" in command:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGTERM)


def _line(lane: Lane, name: str, run: Run) -> str:
    text = f"{run.verdict.outcome:7} {run.seconds:7.2f} s  {lane.name}: {name}"
    return f"{text}: {run.verdict.reason}" if run.verdict.reason else text


def _judge(found: results.Verdicts, existing: set[str], source: Path, *, update: bool) -> int:
    if not found:
        raise SystemExit("no test was chosen")
    recorded = results.read(results.RESULTS)
    explain = results.Explanations.load(results.REASONS)
    worse, other = results.changes(recorded, found, explain.unstable)
    for title, lines in (("Differences from the record:", other), ("No longer passing:", worse)):
        if lines and not update:
            print("\n".join([title, *(f"  {line}" for line in lines)]))
    if update:
        kept = {key: verdict for key, verdict in recorded.items() if key[1] in existing}
        text = results.render(kept | found, _revision(source), explain)
        results.RESULTS.write_text(text)
        print(f"{results.RESULTS} is written")
        return 0
    return 1 if worse else 0


def _revision(source: Path) -> str:
    git = subprocess.run(["git", "-C", source, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return git.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
