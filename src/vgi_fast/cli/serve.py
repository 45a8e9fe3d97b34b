"""``vgi-fast serve TARGET [worker flags…]``: serve a worker object. Start-up time matters here."""

import sys
from collections.abc import Sequence
from typing import Final

USAGE: Final = """\
Usage: vgi-fast serve TARGET [WORKER FLAGS]...

  Serve a worker: on stdin and stdout, or as its flags say.

  TARGET is module:attr or file.py[:attr]; without attr it is the attribute
  "worker", or the only worker in the module. The flags are those of the worker
  itself; vgi-fast serve TARGET --help lists them.
"""


def serve(args: Sequence[str]) -> int:
    if not args or args[0].startswith("-"):
        asked = bool(args) and args[0] in ("-h", "--help")
        print(USAGE, end="", file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    from vgi_fast.cli.targets import load_worker
    from vgi_fast.errors import DefinitionError

    try:
        worker = load_worker(args[0])
    except DefinitionError as error:
        print(f"vgi-fast serve: {error}", file=sys.stderr)
        return 2
    flags = list(args[1:])
    sys.argv = [f"vgi-fast serve {args[0]}", *flags]  # what the worker's own usage line shows
    worker.run(flags)
    return 0
