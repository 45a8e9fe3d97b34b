"""The command line of a worker (sections 10.1 and 10.2 of the RPC document).

The flags of both entry points are accepted. DuckDB usually passes none, so the parser is imported only
when there are some.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from vgi_fast.wire.arrow import set_validation
from vgi_fast.worker.log import LEVELS, Log

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from vgi_fast.pool.options import PoolOptions

__all__ = ["Options", "parse"]

DEFAULT_IDLE_TIMEOUT_S: Final = 300.0
_CONFIGURATION_ERROR: Final = 1
_TRUE: Final = ("1", "true", "yes")

_VALUE_FLAGS: Final = (
    "--prefix",
    "--cors-origins",
    "--port-file",
    "--host",
    "--access-log",
    "--access-log-max-bytes",
    "--access-log-backup-count",
    "--access-log-when",
    "--access-log-max-record-bytes",
    "--access-log-queue-size",
    "--access-log-sample",
    "--http-threads",
    "--max-connections",
    "--max-response-bytes",
    "--max-externalized-response-bytes",
    "--max-stream-response-bytes",
)


class Options:
    """What the command line and the environment decided."""

    __slots__ = ("describe", "idle_timeout_s", "log", "pool", "quiet", "tcp", "unix")

    def __init__(
        self,
        log: Log,
        *,
        quiet: bool = False,
        describe: bool = False,
        unix: str | None = None,
        tcp: tuple[str, int] | None = None,
        idle_timeout_s: float = DEFAULT_IDLE_TIMEOUT_S,
        pool: PoolOptions | None = None,
    ) -> None:
        self.log = log
        self.quiet = quiet
        self.describe = describe
        self.unix = unix
        self.tcp = tcp
        self.idle_timeout_s = idle_timeout_s
        self.pool = pool
        """Of a worker that listens."""

    def notice(self, name: str) -> None:
        """Tell a person at a terminal what this program waits for."""
        if self.quiet:
            return
        try:
            interactive = os.isatty(0)
        except OSError:
            interactive = False
        if interactive:
            print(
                f"{name}: a VGI worker, speaking a binary protocol on standard input and output.\n"
                f"It is started by DuckDB: ATTACH '{name}' (TYPE vgi, LOCATION '<this command>')",
                file=sys.stderr,
            )


def parse(argv: list[str], *, workers: int | None = None) -> Options:
    """SystemExit(2) for a wrong command line, SystemExit(1) for a wrong environment.

    ``workers`` is what the program itself asks for; the command line may say otherwise, the environment may not.
    """
    environment = os.environ
    _validate(environment.get("VGI_RPC_IPC_VALIDATION"))
    quiet = environment.get("VGI_QUIET") == "1"
    if not argv:
        return Options(_log(None, environment), quiet=quiet)
    parser = _parser()
    flags = parser.parse_args(argv)
    if flags.http:
        parser.error("--http is not supported by this version; use --unix, --tcp or standard input and output")
    return Options(
        _log(flags, environment),
        quiet=quiet or flags.quiet,
        describe=flags.describe,
        unix=flags.unix,
        tcp=_tcp_address(flags.tcp, parser),
        idle_timeout_s=_idle_timeout(flags.idle_timeout, environment.get("VGI_RPC_IDLE_TIMEOUT")),
        pool=_pool(flags, parser, workers, environment.get("VGI_FAST_WORKERS")),
    )


def _pool(flags: Namespace, parser: ArgumentParser, program: int | None, variable: str | None) -> PoolOptions:
    """Checked on standard input and output too, where it has no effect: one command may serve both ways."""
    from vgi_fast.pool.options import PoolOptions, parse_size, parse_workers

    try:
        workers = parse_workers(flags.workers) if flags.workers is not None else program
        max_memory = parse_size(flags.max_memory) if flags.max_memory is not None else None
    except ValueError as error:
        parser.error(str(error))
    if flags.max_requests is not None and flags.max_requests < 1:
        parser.error(f"--max-requests: expected a number from 1 on, got {flags.max_requests}")
    if flags.workers is None and program is None and variable:
        try:
            workers = parse_workers(variable)
        except ValueError as error:
            _refuse(f"VGI_FAST_WORKERS={variable}: {error}")
    return PoolOptions(
        workers,
        threaded=not flags.no_threaded,
        max_requests=flags.max_requests,
        max_memory_bytes=max_memory,
        drain_timeout_s=max(0.0, flags.drain_timeout),
    )


def _tcp_address(text: str | None, parser: ArgumentParser) -> tuple[str, int] | None:
    if text is None:
        return None
    from vgi_fast.transports.sockets import parse_tcp

    try:
        return parse_tcp(text)
    except ValueError as error:
        parser.error(f"--tcp: {error}")


def _idle_timeout(given: float | None, variable: str | None) -> float:
    if given is not None:
        return given
    if not variable:
        return DEFAULT_IDLE_TIMEOUT_S
    try:
        return float(variable)
    except ValueError:
        _refuse(f"VGI_RPC_IDLE_TIMEOUT={variable}: expected seconds")


def _parser() -> ArgumentParser:
    from argparse import ArgumentParser

    from vgi_fast.pool.options import DEFAULT_DRAIN_TIMEOUT_S

    parser = ArgumentParser(description="VGI worker; serves standard input and output", allow_abbrev=False)
    transport = parser.add_mutually_exclusive_group()
    transport.add_argument("--unix", metavar="PATH", help="serve an AF_UNIX socket")
    transport.add_argument("--tcp", metavar="[HOST:]PORT", help="serve a TCP socket")
    transport.add_argument("--http", action="store_true", help="serve HTTP")
    parser.add_argument("--idle-timeout", type=float, metavar="SECONDS", help="sockets: leave after so long alone")
    parser.add_argument("--workers", metavar="N|auto", help="sockets: processes, forked as needed; default auto")
    parser.add_argument("--threaded", action="store_true", help="sockets: several connections per process; default")
    parser.add_argument("--no-threaded", action="store_true", help="sockets: one connection per process if possible")
    parser.add_argument("--max-requests", type=int, metavar="N", help="sockets: replace a process after about N")
    parser.add_argument("--max-memory", metavar="SIZE", help="sockets: replace a process that is larger; 512M, 2G")
    parser.add_argument(
        "--drain-timeout",
        type=float,
        metavar="SECONDS",
        default=DEFAULT_DRAIN_TIMEOUT_S,
        help="sockets: time for running calls at SIGTERM; default %(default)s",
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no notice on a terminal")
    parser.add_argument("--debug", action="store_true", help="log everything to standard error")
    parser.add_argument("--log-level", choices=list(LEVELS), help="default WARNING")
    parser.add_argument("--log-logger", action="append", default=[], metavar="NAME", help="only this logger")
    parser.add_argument("--log-format", choices=["text", "json"])
    parser.add_argument("--describe", action="store_true", help="answer __describe__")
    parser.add_argument("--no-describe", dest="describe", action="store_false")
    parser.add_argument("--port", "-p", type=int, help="HTTP only")
    parser.add_argument("--access-log-async", action="store_true", help="accepted, without effect")
    for flag in _VALUE_FLAGS:
        parser.add_argument(flag, metavar="VALUE", help="accepted, without effect")
    return parser


def _validate(level: str | None) -> None:
    """How far arrays from the client are checked (section 10.4); the core's own default without a level."""
    if level is None:
        return
    if level.lower() not in ("none", "standard", "full"):
        print(f"warning: unknown VGI_RPC_IPC_VALIDATION '{level}'; using full", file=sys.stderr)
        level = "full"
    set_validation(level.lower())


def _log(flags: Namespace | None, environment: Any) -> Log:
    """The environment overrides the flags (section 10.4)."""
    debug = environment.get("VGI_WORKER_DEBUG", "").lower() in _TRUE or (flags is not None and flags.debug)
    level = environment.get("VGI_WORKER_LOG_LEVEL") or (flags.log_level if flags is not None else None) or "WARNING"
    style = environment.get("VGI_WORKER_LOG_FORMAT") or (flags.log_format if flags is not None else None) or "text"
    names = environment.get("VGI_WORKER_LOG_LOGGERS")
    loggers = [name for name in names.split(",") if name] if names else (flags.log_logger if flags is not None else [])
    if level.upper() not in LEVELS:
        _refuse(f"VGI_WORKER_LOG_LEVEL={level}: expected one of {', '.join(LEVELS)}")
    if style not in ("text", "json"):
        _refuse(f"VGI_WORKER_LOG_FORMAT={style}: expected text or json")
    return Log("DEBUG" if debug else level.upper(), json=style == "json", loggers=tuple(loggers))


def _refuse(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(_CONFIGURATION_ERROR)
