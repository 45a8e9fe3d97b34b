"""Which workers to compare, and how to reach them."""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from vgi_fast.client import Client

OWN_WORKERS: Final = Path(__file__).parents[1] / "workers"
RUN_PROGRAMS: Final = (
    Path(sys.executable).with_name("vgi-fast-run"),
    Path(__file__).parents[2] / "build" / "bin" / "vgi-fast-run",
)
EXTENSION_VARIABLE: Final = "VGI_EXTENSION_PATH"
SHM_VARIABLE: Final = "VGI_RPC_SHM_SIZE_BYTES"
POOL_IDLE_S: Final = 3600
"""Longer than a benchmark: the default of 5 s would end the workers whose turn it is not."""


def add_worker_options(parser: argparse.ArgumentParser, *own: str) -> None:
    parser.add_argument(
        "--worker",
        action="append",
        metavar="NAME=COMMAND",
        help=f"a worker to measure, repeatable; NAME alone is one of {OWN_WORKERS.name}/ (default: {', '.join(own)})",
    )
    parser.add_argument(
        "--shm-bytes", type=int, metavar="N", help="measure each worker a second time, with shared memory of that size"
    )
    parser.set_defaults(own_workers=own)
    parser.add_argument("--catalog", default="example", help="catalog of the workers (default: %(default)s)")
    parser.add_argument("--schema", default="main", help="schema of the function (default: %(default)s)")


def worker_commands(options: argparse.Namespace) -> dict[str, str]:
    """Commands by name.

    >>> worker_commands(argparse.Namespace(worker=["other=./other --fast"]))
    {'other': './other --fast'}
    """
    named = (text.partition("=") for text in options.worker or options.own_workers)
    return {name: command or own_command(name) for name, _, command in named}


def add_run_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run",
        metavar="PROGRAM",
        default=next((str(path) for path in RUN_PROGRAMS if path.exists()), ""),
        help="vgi-fast-run, under which own workers are started as well; nothing for none (default: %(default)s)",
    )


def run_commands(options: argparse.Namespace) -> dict[str, str]:
    """Those of own workers under ``vgi-fast-run``."""
    if not options.run:
        return {}
    os.environ["VGI_FAST_PYTHON"] = sys.executable
    names = [text for text in options.worker or options.own_workers if "=" not in text]
    return {f"vgi-fast-run {name}": shlex.join([options.run, str(own_path(name))]) for name in names}


@dataclass(frozen=True, slots=True)
class Lane:
    """A worker, and how batches reach it. DuckDB decides that by the environment of its own process."""

    name: str
    command: str
    shm_bytes: int | None

    def select(self) -> None:
        if self.shm_bytes is None:
            os.environ.pop(SHM_VARIABLE, None)
        else:
            os.environ[SHM_VARIABLE] = str(self.shm_bytes)


def lanes(options: argparse.Namespace) -> list[Lane]:
    """Each worker by pipe, and by shared memory where that was asked for."""
    found = [Lane(name, command, None) for name, command in worker_commands(options).items()]
    if options.shm_bytes:
        # DuckDB pools processes and remembers what they can by the text of their command.
        found += [Lane(f"{each.name}, shm", f"env LANE=shm {each.command}", options.shm_bytes) for each in found]
    return found


def own_command(name: str) -> str:
    return shlex.join([sys.executable, str(own_path(name))])


def own_path(name: str) -> Path:
    path = OWN_WORKERS / f"{name}.py"
    if not path.exists():
        known = ", ".join(sorted(each.stem for each in OWN_WORKERS.glob("[!_]*.py")))
        raise SystemExit(f"no worker {name!r} in {OWN_WORKERS}: give NAME=COMMAND, or one of {known}")
    return path


def extension_path() -> str | None:
    return os.environ.get(EXTENSION_VARIABLE) or None


def connect(threads: int) -> duckdb.DuckDBPyConnection:
    """A DuckDB of its own, with the extension."""
    path = extension_path()
    if path is None:
        raise SystemExit(f"{EXTENSION_VARIABLE} is not set; without it there is only --client vgi_fast")
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": threads})
    connection.execute(f"LOAD {quoted(path)}")
    # Nothing may answer in a worker's place.
    configure(connection, {"vgi_worker_pool_idle_limit_seconds": POOL_IDLE_S, "vgi_result_cache": False})
    return connection


def configure(connection: duckdb.DuckDBPyConnection, settings: Mapping[str, object]) -> None:
    for name, value in settings.items():
        connection.execute(f"SET {name} = {quoted(str(value))}")


def attach(connection: duckdb.DuckDBPyConnection, command: str, catalog: str, alias: str) -> None:
    connection.execute(f"ATTACH {quoted(catalog)} AS {alias} (TYPE vgi, LOCATION {quoted(command)})")


def start(command: str, shm_bytes: int | None = None) -> Client:
    """A worker under this project's client."""
    return Client(shlex.split(command), shared_memory_bytes=shm_bytes)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
