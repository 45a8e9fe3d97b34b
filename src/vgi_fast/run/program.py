"""What a target of ``vgi-fast-run`` means, and executing it.

``worker.py`` is run as Python runs it, as ``__main__``: it serves when it calls ``Worker.run``. One that only defines
a worker is served when it has come to its end. ``file.py:attr`` and ``module:attr`` are imported, and what they name
is served.

    python -P -c "from vgi_fast.run.program import main; main()" worker.py --debug
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from vgi_fast.errors import DefinitionError
from vgi_fast.worker.worker import Worker, run_by

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Serve = Callable[[Worker, Sequence[str] | None], None]

__all__ = ["execute", "main", "script_of"]

_USAGE_ERROR = 2


def main() -> None:
    """Plain execution."""
    target, *arguments = sys.argv[1:]
    try:
        execute(target, arguments, Worker.run)
    except DefinitionError as error:
        print(f"vgi-fast-run: {error}", file=sys.stderr)
        raise SystemExit(_USAGE_ERROR) from None


def execute(target: str, arguments: Sequence[str], serve: Serve) -> None:
    """Load the target; ``serve`` is called where the worker would serve, with what ``Worker.run`` was given."""
    sys.argv = [target, *arguments]
    path = script_of(target)
    if path is None:
        from vgi_fast.cli.targets import load_worker

        serve(load_worker(target), None)
        return
    served = False

    def serve_once(worker: Worker, argv: Sequence[str] | None) -> None:
        nonlocal served
        served = True
        serve(worker, argv)

    with run_by(serve_once):
        names = _run_script(path)
    if not served:
        serve(_only_worker(names, target), None)


def script_of(target: str) -> str | None:
    """The file to run, None for a target that is imported.

    >>> script_of("worker.py"), script_of("worker.py:attr"), script_of("package.module:attr")
    ('worker.py', None, None)
    """
    return target if target.endswith(".py") or os.path.isfile(target) else None


def _run_script(path: str) -> dict[str, Any]:
    from importlib.machinery import SourceFileLoader

    with open(path, "rb") as file:
        source = file.read()
    # What was the main module so far is what called this one.
    names = sys.modules["__main__"].__dict__
    for name in [name for name in names if name not in ("__builtins__", "__name__")]:
        del names[name]
    full_path = os.path.abspath(path)
    names.update(
        __file__=full_path,
        __loader__=SourceFileLoader("__main__", full_path),
        __doc__=None,
        __package__=None,
        __spec__=None,
        __cached__=None,
        __annotations__={},
    )
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    exec(compile(source, full_path, "exec", dont_inherit=True), names)
    return names


def _only_worker(names: dict[str, Any], target: str) -> Worker:
    default = names.get("worker")
    if isinstance(default, Worker):
        return default
    workers = {id(value): value for value in names.values() if isinstance(value, Worker)}
    if len(workers) != 1:
        raise DefinitionError(
            f"{target}: it served no worker, and {len(workers)} are defined in it",
            hint=f"name one: {target}:attr" if workers else None,
        )
    return next(iter(workers.values()))
