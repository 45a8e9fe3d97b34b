"""``serve`` as click sees it: for its help, and where ``main`` was not the way in."""

import click

from vgi_fast.cli.serve import serve


@click.command(
    "serve",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(ctx: click.Context, args: tuple[str, ...]) -> None:
    """Serve a worker object: module:attr or file.py[:attr]."""
    ctx.exit(serve(args))
