"""The click application: a table of commands, each imported when it is named."""

from importlib import import_module
from typing import Any, Final

import click

from vgi_fast.errors import VgiError

_COMMANDS: Final = {
    "serve": "vgi_fast.cli.passthrough",
    "launch": "vgi_fast.cli.launch",
    "describe": "vgi_fast.cli.describe",
    "call": "vgi_fast.cli.call",
    "sql": "vgi_fast.cli.sql",
    "demo": "vgi_fast.cli.demo",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = import_module(module).command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except VgiError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vgi-fast")
def app() -> None:
    """Serve, inspect and call DuckDB VGI workers."""
