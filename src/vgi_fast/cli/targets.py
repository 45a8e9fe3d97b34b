"""What the user calls a worker: ``module:attr``, ``file.py``, ``file.py:attr`` or a command line.

Imported by ``serve``, so it stays free of everything that is slow to import.
"""

import re
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import DefinitionError

if TYPE_CHECKING:
    from vgi_fast.worker.worker import Worker

DEFAULT_ATTRIBUTE: Final = "worker"
_MODULE_TARGET: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def load_worker(target: str) -> "Worker":
    """The worker object that ``target`` names. Without an attribute: ``worker``, or the only one there is."""
    place, attribute = split_target(target)
    module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    return _find_worker(module, attribute, target)


def split_target(target: str) -> tuple[str, str | None]:
    """
    >>> split_target("pkg.workers:geo"), split_target("dir/geo.py")
    (('pkg.workers', 'geo'), ('dir/geo.py', None))
    """
    place, _, attribute = target.rpartition(":")
    # A drive letter is no attribute: the part after the colon must be a name.
    return (place, attribute) if place and attribute.isidentifier() else (target, None)


def is_target(text: str) -> bool:
    """Whether ``text`` names a worker object rather than a command line."""
    if text.startswith("launch:"):
        return False
    place, _ = split_target(text)
    if place.endswith(".py"):
        return Path(place).is_file()
    return _MODULE_TARGET.fullmatch(text) is not None


def as_command(text: str) -> str | list[str]:
    """How to start the worker: ``serve`` in a process of this interpreter, or the command line as given."""
    return [sys.executable, "-m", "vgi_fast.cli", "serve", text] if is_target(text) else text


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise DefinitionError(f"no such file: {path}")
    # As if Python ran it: its folder is where it imports from. Not as __main__, which would run it.
    sys.path.insert(0, str(path.resolve().parent))
    # The file may have the name of a module that is in use.
    name = path.stem if path.stem not in sys.modules else f"{path.stem} ({path.resolve()})"
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _import_module(name: str) -> ModuleType:
    sys.path.insert(0, "")
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise DefinitionError(f"no module named {name!r}", hint="TARGET is module:attr or file.py[:attr]") from error


def _find_worker(module: ModuleType, attribute: str | None, target: str) -> "Worker":
    from vgi_fast.worker.worker import Worker

    if attribute is not None:
        found: Any = getattr(module, attribute, None)
        if found is None:
            raise DefinitionError(f"{target}: there is no {attribute!r}")
        if not isinstance(found, Worker):
            raise DefinitionError(f"{target}: {attribute!r} is a {type(found).__name__}, not a Worker")
        return found
    default = getattr(module, DEFAULT_ATTRIBUTE, None)
    if isinstance(default, Worker):
        return default
    workers = {id(value): value for value in vars(module).values() if isinstance(value, Worker)}
    if len(workers) != 1:
        raise DefinitionError(
            f"{target}: {len(workers)} workers found", hint=f"name one: {target}:attr" if workers else None
        )
    return next(iter(workers.values()))
