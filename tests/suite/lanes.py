"""How DuckDB reaches the workers of the extension's tests, and which workers those are."""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import vgi_fast

SOURCE: Final = "VGI_SRC"
RUNNER: Final = "VGI_UNITTEST"
SHM_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Lane:
    name: str
    prefix: str = ""
    """Before the command of each worker."""
    variables: Mapping[str, str] = field(default_factory=dict)
    pooled: bool = True
    """Without a pool DuckDB starts a process for each stream; it is an option of ATTACH."""


_DEDICATED: Final = {"VGI_TEST_DEDICATED_WORKER": "1"}  # a test may kill the worker: nobody else has it

LANES: Final = {
    lane.name: lane
    for lane in (
        Lane("stdio", variables=_DEDICATED),
        Lane("launch", prefix="launch:", variables={"VGI_REQUIRE_LAUNCHER_TRANSPORT": "1"}),
        Lane("shm", variables={**_DEDICATED, "VGI_RPC_SHM_SIZE_BYTES": str(SHM_BYTES)}),
        Lane("stdio-nopool", variables=_DEDICATED, pooled=False),
    )
}

WORKERS: Final = {
    "VGI_TEST_WORKER": "example_worker",
    "VGI_VERSIONED_WORKER": "versioned_worker",
    "VGI_VERSIONED_TABLES_WORKER": "versioned_tables_worker",
    "VGI_ATTACH_OPTIONS_WORKER": "attach_options_worker",
    "VGI_ATTACH_OPTIONS_REQUIRED_WORKER": "attach_options_worker",
    "VGI_BAD_PROTOCOL_WORKER": "bad_protocol_worker",
    "VGI_BAD_ENUM_WORKER": "bad_enum_worker",
    "VGI_SIMPLE_WRITABLE_WORKER": "simple_writable_worker",
}
"""Modules of ``vgi_fast.examples`` by the variable in which the tests expect a command."""


@dataclass(frozen=True, slots=True)
class Special:
    """Tests that expect another worker, or variables that would change the other tests."""

    pattern: str
    extensions: tuple[str, ...]
    """Of DuckDB, without which the tests are left to skip themselves."""
    worker: str | None = None
    """In place of the module of ``VGI_TEST_WORKER``."""
    variables: Mapping[str, str] = field(default_factory=dict)
    lake: bool = False
    """Whether the worker names a DuckLake as a companion of its catalog."""


_LAKE: Final = ("ducklake", "sqlite_scanner")

SPECIALS: Final = (
    Special("integration/catalog/companion_catalogs", _LAKE, "companion_worker", lake=True),
    Special(
        "integration/catalog/companion_hidden", _LAKE, "companion_worker", {"VGI_TEST_COMPANION_HIDDEN": "1"}, lake=True
    ),
    Special(
        "integration/catalog/companion_partial_failure",
        _LAKE,
        "companion_worker",
        {"VGI_TEST_COMPANION_POISON": "1"},
        lake=True,
    ),
    Special("integration/catalog/multi_branch_iceberg", ("avro", "iceberg"), variables={"VGI_TEST_ICEBERG": "1"}),
)


def special_for(name: str, extensions: Mapping[str, Path]) -> Special | None:
    """What the test is to be run with, where DuckDB has what that takes."""
    for special in SPECIALS:
        if fnmatchcase(name, special.pattern) and extensions.keys() >= set(special.extensions):
            return special
    return None


def module_command(module: str) -> str:
    """
    >>> module_command("example_worker").endswith(" -m vgi_fast.examples.example_worker")
    True
    """
    return shlex.join([sys.executable, "-m", f"vgi_fast.examples.{module}"])


def base_variables() -> dict[str, str]:
    """This process's environment, without what would tell the extension or its tests something."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("VGI_") or name.startswith("VGI_FAST_")
    }
    # The workers run in another directory, and are to be the same package as this.
    package = str(Path(vgi_fast.__file__).resolve().parents[1])
    kept["PYTHONPATH"] = os.pathsep.join([package, *filter(None, [kept.get("PYTHONPATH")])])
    return kept


def worker_variables(lane: Lane, commands: Mapping[str, str]) -> dict[str, str]:
    """``commands`` are by variable, and go before those of :data:`WORKERS`."""
    named = {variable: module_command(module) for variable, module in WORKERS.items()} | dict(commands)
    return {variable: lane.prefix + command for variable, command in named.items()}
