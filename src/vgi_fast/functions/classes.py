"""What function classes of every kind have in common: their arguments, hooks, and who runs them.

Hooks that a class overrides are class, static or instance methods. Their own parameters are recognised by
name, in whatever order the author lists them; with other names they are taken in the documented order.
Hooks that run before a stream take settings and secrets besides, each by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, get_args, get_origin

from vgi_fast.errors import DefinitionError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions import meta
from vgi_fast.functions.injection import inject
from vgi_fast.functions.signature import BY_KEYWORD, NAMED, SETTING, TABLE, Injection, Parameter, Signature, Slot
from vgi_fast.functions.signature_reading import python_parameters, read_arguments_class, read_hook
from vgi_fast.functions.spec import FunctionOptions, FunctionSpec, attach_spec, attached_specs, docs_reader, own_lists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from typing_extensions import TypeVar

    TArgs = TypeVar("TArgs", default=Any)
    TState = TypeVar("TState", default=Any)
else:
    from typing import TypeVar

    TArgs = TypeVar("TArgs")
    TState = TypeVar("TState")

__all__ = ["ClassSpec", "FunctionClass", "arguments_class", "class_spec"]

_EARLY: Final = ("on_bind", "on_init", "cardinality", "initial_state", "on_secrets")
"""Hooks that take settings and secrets."""
_IMPLIED_TABLE: Final = Parameter("data", TABLE, None, ann.BATCH)
"""Of a class that declares none; its arguments class knows nothing of it."""


class FunctionClass(Generic[TArgs, TState]):
    """Base of the bases. The type arguments are the class of the arguments, or None, and a stream's state."""

    HOOKS: ClassVar[Any] = {}
    """Own parameters of each hook; alternatives of a name are separated by ``|``."""

    if not TYPE_CHECKING:

        def __class_getitem__(cls, items):
            """The state may be left out."""
            items = items if isinstance(items, tuple) else (items,)
            if cls.__parameters__ and len(items) < len(cls.__parameters__):
                items = (*items, *[Any] * (len(cls.__parameters__) - len(items)))
            return super().__class_getitem__(items)


class Hook:
    """One overridden hook: how its own parameters are handed over, and what is injected besides."""

    __slots__ = ("injections", "name", "order")

    def __init__(self, name: str, order: tuple[int, ...] | None, injections: list[Injection]) -> None:
        self.name = name
        self.order = order
        """Which of the documented parameters each own one is; None for just these, in their order."""
        self.injections = injections


class ClassSpec(FunctionSpec):
    """A function whose hooks are methods of ``owner``; without owner, one of a plain function."""

    __slots__ = ("args_class", "hooks", "owner")

    def __init__(
        self,
        name: str,
        signature: Signature,
        options: FunctionOptions,
        source: Any,
        where: str,
        *,
        owner: type[FunctionClass[Any, Any]] | None = None,
        args_class: type | None = None,
    ) -> None:
        super().__init__(name, signature, options, source, where)
        self.owner = owner
        self.args_class = args_class
        self.hooks: dict[str, Hook] = {} if owner is None else _hooks(owner, where)

    @property
    def required_settings(self) -> list[str]:
        hooked = [i.detail for hook in self.hooks.values() for i in hook.injections if i.kind == SETTING]
        return sorted({*super().required_settings, *hooked})

    def make_args(self, values: dict[str, Any]) -> Any:
        if self.owner is None:
            return super().make_args(values)
        if self.args_class is None:
            return None
        declared = [p.python_name for p in self.signature.parameters if p is not _IMPLIED_TABLE]
        absent = dict.fromkeys(name for name in declared if name not in values)
        return self.args_class(**absent, **own_lists(values))

    def target(self) -> Any:
        """Whose methods the hooks are: the class, or an instance of it when one is an ordinary method."""
        assert self.owner is not None
        raw = [_raw(self.owner, name) for name in self.hooks]
        if all(isinstance(hook, (classmethod, staticmethod)) for hook in raw):
            return self.owner
        return self.owner()

    def call(self, target: Any, name: str, params: Any, *more: Any) -> Any:
        """Run a hook once."""
        hook = self.hooks[name]
        extra = {i.python_name: inject(self, i, params) for i in hook.injections}
        given = (params, *more)
        values = given if hook.order is None else [given[index] for index in hook.order]
        return getattr(target, name)(*values, **extra)

    def bound(self, target: Any, name: str) -> Callable[..., Any]:
        """A hook to run often, taking its documented parameters."""
        order = self.hooks[name].order
        method: Callable[..., Any] = getattr(target, name)
        if order is None:
            return method
        return lambda *given: method(*[given[index] for index in order])


def class_spec(
    cls: type[FunctionClass[Any, Any]],
    kind: str,
    make: Callable[..., Any],
    kind_options: Iterable[str],
    options: Mapping[str, Any],
    *,
    columns: bool = False,
    table: bool = False,
) -> Any:
    """Spec of a function class, made once. ``kind`` is for error texts; with ``columns`` positions are columns.

    With ``table``, a class without arguments by position takes a table that is called ``data``.
    """
    for known in attached_specs(cls):
        return known
    given = {**meta.meta_options(cls), **options}
    name = str(given.get("name") or meta.default_name(cls))
    where = f"{kind} '{name}' ({cls.__qualname__})"
    args_class = arguments_class(cls, FunctionClass, where)
    implied = [Slot("data", BY_KEYWORD, _IMPLIED_TABLE)] if table else []
    signature = Signature(implied, where)
    if args_class is not None:
        signature = read_arguments_class(args_class, where, _docs(cls, args_class), columns=columns)
        if table and signature.table is None and all(p.role == NAMED for p in signature.parameters):
            signature = Signature([*implied, *signature.slots], where)
    checked = FunctionOptions(where, given, kind_options)
    spec = make(name, signature, checked, cls, where, owner=cls, args_class=args_class)
    attach_spec(cls, spec)
    return spec


def arguments_class(cls: type, root: type, where: str) -> type | None:
    """The nested ``FunctionArguments``, or the first type argument of the class's own base."""
    nested = getattr(cls, "FunctionArguments", None)
    if isinstance(nested, type):
        return nested
    for base in cls.__mro__:
        for original in base.__dict__.get("__orig_bases__", ()):
            origin = get_origin(original)
            if isinstance(origin, type) and issubclass(origin, root):
                first = get_args(original)[0]
                if first is None or first is type(None) or first is Any:
                    return None
                if isinstance(first, type):
                    return first
                if type(first).__name__ != "TypeVar":
                    raise DefinitionError(f"{where}: {first!r} is not a class of arguments")
    return None


def _docs(cls: type, args_class: type) -> Callable[[], dict[str, str]]:
    of_arguments, of_class = docs_reader(args_class), docs_reader(cls)
    return lambda: {**of_class(), **of_arguments()}


def _raw(owner: type, name: str) -> Any:
    """The hook as its author wrote it; None where it is the default of one of this package's bases."""
    for base in owner.__mro__:
        if name in base.__dict__:
            return None if "HOOKS" in base.__dict__ else base.__dict__[name]
    return None


def _hooks(owner: type[FunctionClass[Any, Any]], where: str) -> dict[str, Hook]:
    found = {}
    for name, documented in owner.HOOKS.items():
        raw = _raw(owner, name)
        if raw is not None:
            found[name] = _read(raw, name, documented, f"{where}, {name}")
    return found


def _read(raw: Any, name: str, documented: tuple[str, ...], here: str) -> Hook:
    plain = getattr(raw, "__func__", raw)
    skip = 0 if isinstance(raw, staticmethod) else 1
    declared = [parameter.name for parameter in python_parameters(plain, here, skip)]
    places = {alias: index for index, names in enumerate(documented) for alias in names.split("|")}
    known = next((index for index, one in enumerate(declared) if one not in places), len(declared))
    natural = tuple(range(len(documented)))
    if known == len(declared) or (known and name in _EARLY):
        order = tuple(places[one] for one in declared[:known])
    elif name in _EARLY or len(declared) == len(documented):
        order, known = natural, len(documented)
    else:
        shown = ", ".join(names.partition("|")[0] for names in documented)
        raise DefinitionError(f"{here} takes ({shown}), but the method takes ({', '.join(declared)})")
    injections = read_hook(plain, here, skip + known) if name in _EARLY else []
    return Hook(name, None if order == natural else order, injections)
