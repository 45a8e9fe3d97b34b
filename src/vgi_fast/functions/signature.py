"""The parameters of a function: those that SQL callers see, and those that are injected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import DefinitionError
from vgi_fast.functions import constraints
from vgi_fast.functions.parameters import MISSING, ParameterOptions, Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgi_fast.wire.arrow import DataType

# Roles of a parameter that SQL callers see.
COLUMN: Final = "column"
CONST: Final = "const"
POSITIONAL: Final = "positional"
NAMED: Final = "named"
TABLE: Final = "table"

# How a value is handed to the Python function.
BY_POSITION: Final = "position"
BY_KEYWORD: Final = "keyword"
SPREAD: Final = "spread"  # *args
AS_LIST: Final = "list"  # one list of the varargs

# What is injected.
SETTING: Final = "setting"
SECRET: Final = "secret"
ROWS: Final = "rows"
AUTH: Final = "auth"
PROJECTION: Final = "projection"
PARAMS: Final = "params"
LOG: Final = "log"


class Parameter:
    """One parameter that SQL callers see. ``type`` None accepts any type."""

    __slots__ = (
        "_docs",
        "bounds",
        "constrained",
        "default",
        "form",
        "name",
        "optional",
        "options",
        "python_name",
        "required",
        "role",
        "type",
        "varargs",
    )

    def __init__(
        self,
        name: str,
        role: str,
        type: DataType | None,
        form: str,
        *,
        python_name: str | None = None,
        optional: bool = False,
        varargs: bool = False,
        default: Any = MISSING,
        options: ParameterOptions | None = None,
        docs: Callable[[], dict[str, str]] | None = None,
    ) -> None:
        self.name = name
        self.python_name = python_name or name
        self.role = role
        self.type = type
        self.form = form
        self.optional = optional or default is None
        """SQL NULL is accepted."""
        self.varargs = varargs
        self.default = default
        self.required = default is MISSING
        self.options = options
        self.constrained = options is not None and constraints.is_constrained(options)
        bound = options.type_bound if options is not None else None
        self.bounds: tuple[Callable[[Any], bool], ...] = (
            () if bound is None else (bound,) if callable(bound) else tuple(bound)
        )
        self._docs = docs

    @property
    def doc(self) -> str:
        if self.options is not None and self.options.doc:
            return self.options.doc
        docs = self._docs() if self._docs is not None else {}
        return docs.get(self.python_name) or docs.get(self.name, "")

    def __repr__(self) -> str:
        return f"Parameter({self.name}: {self.type or 'any'}, {self.role})"


class Injection:
    """One parameter that the runtime supplies."""

    __slots__ = ("default", "detail", "kind", "optional", "python_name")

    def __init__(self, kind: str, python_name: str, detail: Any, default: Any, optional: bool) -> None:
        self.kind = kind
        self.python_name = python_name
        self.detail = detail
        self.default = default
        self.optional = optional or default is None


class Slot:
    """One parameter of the Python function, in its order: what it takes and how it is handed over."""

    __slots__ = ("passing", "python_name", "source")

    def __init__(self, python_name: str, passing: str, source: Parameter | Injection) -> None:
        self.python_name = python_name
        self.passing = passing
        self.source = source


class Signature:
    """All parameters of one function."""

    __slots__ = ("columns", "constants", "injections", "named", "parameters", "positional", "slots", "table")

    def __init__(self, slots: list[Slot], where: str) -> None:
        self.slots = slots
        seen = [slot.source for slot in slots if isinstance(slot.source, Parameter)]
        self.injections = [slot.source for slot in slots if isinstance(slot.source, Injection)]
        self.named = {p.name: p for p in sorted((p for p in seen if p.role == NAMED), key=lambda p: p.name)}
        self.positional = [p for p in seen if p.role != NAMED]
        self.parameters = [*self.positional, *self.named.values()]
        """In the order of the published arguments schema: by position, then named by name."""
        self.columns = [p for p in seen if p.role == COLUMN]
        self.constants = [p for p in seen if p.role in (CONST, POSITIONAL)]
        """What arrives as ``positional_<i>``."""
        self.table = next((p for p in seen if p.role == TABLE), None)
        self._check(where)

    def _check(self, where: str) -> None:
        names = [p.name for p in self.parameters]
        for name in names:
            if names.count(name) > 1:
                raise DefinitionError(f"{where}: two parameters are called {name!r}")
        for parameter in self.positional[:-1]:
            if parameter.varargs:
                raise DefinitionError(
                    f"{where}: the varargs parameter {parameter.name!r} must be the last positional one"
                )
        if sum(parameter.role == TABLE for parameter in self.positional) > 1:
            raise DefinitionError(
                f"{where}: more than one parameter takes a table",
                hint="DuckDB passes one; give it a column that tells several relations apart",
            )
        if sum(injection.kind == AUTH for injection in self.injections) > 1:
            raise DefinitionError(f"{where}: more than one parameter takes the caller's identity")
        for injection in self.injections:
            sources = [p.python_name for p in (*self.constants, *self.named.values())]
            if injection.kind == SECRET and injection.detail.scope_from not in (None, *sources):
                raise DefinitionError(
                    f"{where}: parameter {injection.python_name!r} takes its scope from "
                    f"{injection.detail.scope_from!r}, which is not a constant argument; there are {sources}"
                )

    @property
    def varargs(self) -> Parameter | None:
        last = self.positional[-1] if self.positional else None
        return last if last is not None and last.varargs else None

    def settings(self) -> list[str]:
        return [injection.detail for injection in self.injections if injection.kind == SETTING]

    def secrets(self) -> list[Secret]:
        return [injection.detail for injection in self.injections if injection.kind == SECRET]

    def injects(self, kind: str) -> bool:
        return any(injection.kind == kind for injection in self.injections)
