"""``vgi-fast launch -- COMMAND…``: start a shared worker as DuckDB's ``launch:`` does, or look for it."""

from dataclasses import replace

import click

from vgi_fast.client.launcher import (
    DEFAULT_IDLE_TIMEOUT_S,
    STARTUP_TIMEOUT_S,
    Launcher,
    collect,
    is_answering,
)


@click.command("launch", context_settings={"ignore_unknown_options": False})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.option("--socket", metavar="PATH", help="Listen here instead of where DuckDB looks.")
@click.option("--idle-timeout", type=click.FloatRange(min=0), default=DEFAULT_IDLE_TIMEOUT_S, show_default=True)
@click.option("--connect-timeout", type=float, help="Also connect, within so many seconds.")
@click.option("--worker-startup-timeout", type=float, default=STARTUP_TIMEOUT_S, show_default=True)
@click.option("--worker-stderr", metavar="FILE", help="Append the worker's standard error to it.")
@click.option("--state-dir", metavar="DIR", help="Where the sockets are.")
@click.option("--status", is_flag=True, help="Start nothing; exit status 1 if the worker does not run.")
@click.option("--gc", is_flag=True, help="Remove sockets that nobody listens on.")
@click.pass_context
def command(
    ctx: click.Context,
    words: tuple[str, ...],
    socket: str | None,
    idle_timeout: float,
    connect_timeout: float | None,
    worker_startup_timeout: float,
    worker_stderr: str | None,
    state_dir: str | None,
    status: bool,
    gc: bool,
) -> None:
    """Start the worker that launch:COMMAND shares, unless it runs, and print its socket."""
    if gc:
        for path in collect(state_dir):
            click.echo(f"removed {path}", err=True)
        if not words:
            return
    if not words:
        raise click.UsageError("no command given: vgi-fast launch [OPTIONS] -- COMMAND...")
    launcher = Launcher(
        words,
        idle_timeout_s=idle_timeout,
        state_dir=state_dir,
        explicit_socket=socket,
        startup_timeout_s=worker_startup_timeout,
        worker_stderr=worker_stderr,
    )
    if status:
        path = launcher.prepared()
        click.echo(f"UNIX:{path}")
        ctx.exit(0 if is_answering(path) else 1)
    click.echo(f"UNIX:{launcher.launch()}")
    if connect_timeout is not None:
        replace(launcher, connect_timeout_s=connect_timeout).connect().close()
