"""``vgi-fast sql``: DuckDB with a worker attached."""

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from vgi_fast.cli.targets import as_command
from vgi_fast.errors import ArgumentError, VgiError

if TYPE_CHECKING:
    import duckdb

EXTENSION_PATH_VARIABLE: Final = "VGI_EXTENSION_PATH"
SHOWN_ROWS: Final = 40
_PROMPT: Final = "sql> "
_CONTINUED: Final = "  -> "
_LEAVE: Final = (".quit", ".exit", "exit", "quit")


class ExtensionError(VgiError):
    """DuckDB runs, but without the extension that speaks to workers."""

    code = "sql.extension"


@click.command("sql")
@click.argument("worker", required=False)
@click.option("-c", "--command", "statements", multiple=True, metavar="SQL", help="Run and leave; repeatable.")
@click.option("--catalog", help="Attach only this catalog.")
@click.option("--database", default=":memory:", show_default=True, help="DuckDB database file.")
@click.option("--rows", default=SHOWN_ROWS, show_default=True, help="Rows shown of each result.")
def command(worker: str | None, statements: tuple[str, ...], catalog: str | None, database: str, rows: int) -> None:
    """SQL over WORKER, a target (module:attr, file.py) or a command line, through DuckDB.

    The worker's catalogs are attached under their own names. The extension is loaded from the file that
    VGI_EXTENSION_PATH names, otherwise it is installed from DuckDB's community repository.
    """
    connection = connect(database)
    names = attach_worker(connection, worker, catalog) if worker is not None else []
    if statements:
        for statement in statements:
            _run(connection, statement, rows)
        return
    _prompt(connection, names, rows)


def connect(database: str = ":memory:") -> "duckdb.DuckDBPyConnection":
    """DuckDB with the vgi extension loaded; ExtensionError when it cannot be."""
    import duckdb

    path = os.environ.get(EXTENSION_PATH_VARIABLE)
    connection = duckdb.connect(database, config={"allow_unsigned_extensions": "true"})
    try:
        if path:
            connection.execute(f"LOAD {quote_text(path)}")
        else:
            connection.execute("INSTALL vgi FROM community")
            connection.execute("LOAD vgi")
    except duckdb.Error as error:
        connection.close()
        raise ExtensionError(
            "DuckDB cannot load the vgi extension",
            detail=str(error).splitlines()[0],
            hint=f"set {EXTENSION_PATH_VARIABLE} to the extension file built for DuckDB {duckdb.__version__}",
        ) from error
    return connection


def attach_worker(connection: "duckdb.DuckDBPyConnection", worker: str, catalog: str | None) -> list[str]:
    """Attach the worker's catalogs under their names, which are returned."""
    command = as_command(worker)
    location = command if isinstance(command, str) else shlex.join(command)
    names = [catalog] if catalog is not None else _catalog_names(command)
    for name in names:
        connection.execute(
            f"ATTACH {quote_text(name)} AS {quote_name(name)} (TYPE vgi, LOCATION {quote_text(location)})"
        )
    return names


def quote_text(text: str) -> str:
    """
    >>> quote_text("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    """
    >>> quote_name('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def _catalog_names(command: str | list[str]) -> list[str]:
    from vgi_fast.client import Client

    with Client(command) as client:
        names = [info["name"] for info in client.catalogs()]
    if not names:
        raise ArgumentError("the worker exposes no catalog")
    return names


def _run(connection: "duckdb.DuckDBPyConnection", statement: str, rows: int) -> None:
    import duckdb

    try:
        result = connection.execute(statement)
        table: Any = result.to_arrow_table() if result.description else None
    except duckdb.Error as error:
        raise click.ClickException(str(error)) from error
    if table is None or table.num_columns == 0:
        return
    from rich.console import Console

    from vgi_fast.cli.render import show_rows

    show_rows(Console(), table, max_rows=rows)


def _prompt(connection: "duckdb.DuckDBPyConnection", names: list[str], rows: int) -> None:
    if names:
        click.echo(f"attached: {', '.join(names)}; end a statement with ; and leave with .quit")
    for statement in _statements():
        try:
            _run(connection, statement, rows)
        except click.ClickException as error:
            error.show()


def _statements() -> Iterator[str]:
    """Statements typed at the prompt, until its end."""
    with suppress(ImportError):  # line editing, where the platform has it
        import_module("readline")
    pending = ""
    while True:
        try:
            line = input(_CONTINUED if pending else _PROMPT)
        except (EOFError, KeyboardInterrupt):
            click.echo()
            return
        if not pending and line.strip().rstrip(";").lower() in _LEAVE:
            return
        pending = f"{pending}\n{line}" if pending else line
        if pending.rstrip().endswith(";"):
            yield pending
            pending = ""
