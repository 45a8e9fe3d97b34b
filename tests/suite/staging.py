"""A copy of the extension's tests, in which they find what they need: extensions of DuckDB, folders, a home."""

import os
import re
import shutil
import site
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from tests.suite.lanes import Lane

EXTENSIONS: Final = "VGI_SUITE_EXTENSIONS"
LINKED_IN: Final = frozenset({"core_functions", "json", "parquet", "vgi"})
"""Extensions that are part of the runner."""

_SUFFIX: Final = ".duckdb_extension"
_REQUIRE: Final = re.compile(r"^require (?P<name>\w+)[ \t]*$", re.MULTILINE)
_ATTACH: Final = re.compile(r"^ATTACH\b.*?;", re.DOTALL | re.MULTILINE)
_LOCATION: Final = re.compile(r"\bLOCATION '[^']*'")
_POOL: Final = re.compile(r"\bpool (?:true|false)\b")


class Stage:
    """One lane's folder: the tests, and what they and their workers write."""

    def __init__(self, folder: Path, source: Path, lane: Lane, extensions: Mapping[str, Path]) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.lane = lane
        shutil.copytree(source / "test", folder / "test")
        self._loaded: dict[Path, list[str]] = {}
        for path in self.tests():
            text, self._loaded[path] = adapted(path.read_text(), lane, extensions)
            path.write_text(text)
        for name in ("temporary", "branches", "lakes"):
            (folder / name).mkdir()
        _link_extensions(self.home, extensions)

    def tests(self) -> list[Path]:
        return sorted((self.folder / "test" / "sql").rglob("*.test"))

    def name(self, path: Path) -> str:
        """As the results call a test: without the folder and the ending that all have."""
        return path.relative_to(self.folder / "test" / "sql").with_suffix("").as_posix()

    def variables(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "TMPDIR": str(self.folder / "temporary"),
            "VGI_TEST_BRANCH_DIR": str(self.folder / "branches"),
            "VGI_SCHEMA_RECONCILE_DB": str(self.folder / "reconcile.sqlite"),
        }

    def configuration(self, path: Path) -> dict[str, Any]:
        """Of the runner, for this test."""
        return {
            "description": "vgi_fast",
            "on_init": " ".join(f"LOAD {name};" for name in self._loaded[path]),
            # Without a list of its own, the runner skips a test at each error that mentions HTTP.
            "skip_error_messages": ["(none)"],
        }

    def runtime_folder(self, name: str) -> Path:
        """Where launched workers have their sockets; tests with variables of their own do not share them."""
        folder = self.folder / f"run-{name}"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder


def adapted(text: str, lane: Lane, extensions: Collection[str]) -> tuple[str, list[str]]:
    """A test's text for this lane, with as many lines; and extensions that are to be loaded before it starts.

    The runner would skip a test that requires an extension which is not part of the runner.

    >>> adapted("require httpfs\n", Lane("stdio"), ["httpfs"])
    ('# httpfs is loaded\n', ['httpfs'])
    >>> adapted("ATTACH 'a' AS a (TYPE vgi, LOCATION 'w');", Lane("x", pooled=False), [])
    ("ATTACH 'a' AS a (TYPE vgi, LOCATION 'w', pool false);", [])
    """
    loaded: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        name = match["name"]
        if name in LINKED_IN or name not in extensions:
            return match[0]
        loaded.append(name)
        return f"# {name} is loaded"

    text = _REQUIRE.sub(replaced, text)
    return text if lane.pooled else _ATTACH.sub(_unpooled, text), loaded


def _unpooled(match: re.Match[str]) -> str:
    statement = match[0]
    return statement if _POOL.search(statement) else _LOCATION.sub(lambda place: f"{place[0]}, pool false", statement)


def find_extensions(version: str) -> dict[str, Path]:
    """Files by the extension's name, of that version of DuckDB: its own, and those of installed packages.

    ``VGI_SUITE_EXTENSIONS`` names further folders. The packages are called ``duckdb-extension-NAME``.
    """
    folders = [Path.home() / ".duckdb" / "extensions"]
    for place in [*site.getsitepackages(), site.getusersitepackages(), *sys.path]:
        folders += sorted(Path(place).glob("duckdb_extension_*"))
    folders += [Path(name) for name in os.environ.get(EXTENSIONS, "").split(os.pathsep) if name]
    return {
        path.name.removesuffix(_SUFFIX): path.resolve()
        for folder in folders
        for path in sorted(folder.rglob(f"*{_SUFFIX}"))
        if version in path.parts
    }


def _link_extensions(home: Path, extensions: Mapping[str, Path]) -> None:
    import duckdb

    with duckdb.connect() as connection:
        row = connection.execute("SELECT library_version, platform FROM pragma_version(), pragma_platform()").fetchone()
    assert row is not None
    folder = home.joinpath(".duckdb", "extensions", *row)
    folder.mkdir(parents=True)
    for name, path in extensions.items():
        (folder / f"{name}{_SUFFIX}").symlink_to(path)


def seed_lake(folder: Path, extensions: Mapping[str, Path]) -> str:
    """A DuckLake with the table that the companion worker reads; what it gives is its address."""
    import duckdb

    address = f"ducklake:sqlite:{folder / 'lake.sqlite'}"
    with duckdb.connect() as connection:
        for name in ("sqlite_scanner", "ducklake"):
            connection.execute(f"LOAD '{extensions[name]}'")
        connection.execute(f"ATTACH '{address}' AS lake (DATA_PATH '{folder / 'data'}/')")
        connection.execute("CREATE TABLE lake.main.events (id BIGINT, val VARCHAR)")
        connection.execute(
            "INSERT INTO lake.main.events "
            "VALUES (1, 'cold-a'), (2, 'cold-b'), (3, 'cold-c'), (100, 'hot-x'), (200, 'hot-y')"
        )
    return address
