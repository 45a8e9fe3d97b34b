"""What an author puts beside a type in ``Annotated[...]`` to describe a parameter.

    from typing import Annotated
    from vgi_fast import Arg, ConstParam, Int64, Param, Setting

    def power(base: Annotated[Int64, Param(doc="Any integer")],
              exponent: Annotated[int, ConstParam(ge=0)],
              scale: Annotated[int, Setting("power_scale")] = 1) -> Int64: ...

The options are declarations only. ``ConstParam`` and ``Arg`` are enforced at bind; those of a column
(``Param``) are published for discovery and never checked row by row (section 3.3 of the function
document).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from vgi_fast.wire.arrow import TypeLike

__all__ = [
    "MISSING",
    "AnyArrow",
    "AnyArrowValue",
    "Arg",
    "Auth",
    "ConstParam",
    "OutputLength",
    "Param",
    "Returns",
    "Secret",
    "Setting",
    "TableInput",
]


class _Missing:
    """Default of a parameter that has none; None is a value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


class ParameterOptions:
    """Options shared by every parameter that SQL callers see."""

    __slots__ = (
        "arrow_type",
        "choices",
        "default",
        "doc",
        "ge",
        "gt",
        "le",
        "lt",
        "pattern",
        "type_bound",
        "varargs",
    )

    def __init__(
        self,
        doc: str | None = None,
        *,
        default: Any = MISSING,
        choices: Sequence[Any] | None = None,
        ge: Any = None,
        le: Any = None,
        gt: Any = None,
        lt: Any = None,
        pattern: str | None = None,
        varargs: bool = False,
        arrow_type: TypeLike | type | None = None,
        type_bound: Callable[[Any], bool] | Iterable[Callable[[Any], bool]] | None = None,
    ) -> None:
        self.doc, self.default, self.varargs = doc, default, varargs
        self.arrow_type, self.type_bound = arrow_type, type_bound
        self.choices, self.pattern = choices, pattern
        self.gt, self.ge, self.lt, self.le = gt, ge, lt, le

    def __repr__(self) -> str:
        set_names = [n for n in ParameterOptions.__slots__ if getattr(self, n) not in (None, False, MISSING)]
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in set_names)})"


class Param(ParameterOptions):
    """A column of a scalar function; in a table function the same as ``Arg``."""

    __slots__ = ()


class ConstParam(ParameterOptions):
    """A constant argument of a scalar function or an aggregate, known at bind.

    ``phase`` says which hooks of an aggregate take it: ``all``, ``update`` or ``finalize``.
    """

    __slots__ = ("phase",)

    def __init__(self, doc: str | None = None, *, phase: str = "all", **options: Any) -> None:
        super().__init__(doc, **options)
        self.phase = phase


class Arg(ParameterOptions):
    """An argument of a table function: by position (an integer) or by name (a string)."""

    __slots__ = ("position",)

    def __init__(self, position: int | str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.position = position


class Setting:
    """The session's value of a setting; the key defaults to the parameter's name. None when unset."""

    __slots__ = ("key",)

    def __init__(self, key: str | None = None) -> None:
        self.key = key


class Secret:
    """A secret, as a mapping from key to value.

    ``scope_from`` names another argument whose value is the path that the secret has to cover.
    """

    __slots__ = ("name", "scope", "scope_from", "type")

    def __init__(
        self, type: str, name: str | None = None, scope: str | None = None, *, scope_from: str | None = None
    ) -> None:
        self.type = type
        self.name = name
        self.scope = scope
        self.scope_from = scope_from


class OutputLength:
    """The number of rows to produce: ``Annotated[int, OutputLength()]``."""

    __slots__ = ()


class Auth:
    """Who calls: ``Annotated[CallerIdentity, Auth()]``."""

    __slots__ = ()


class Returns:
    """Result type of a scalar function: ``-> Annotated[pa.Array, Returns(arrow_type="decimal128(10, 2)")]``."""

    __slots__ = ("arrow_type",)

    def __init__(self, arrow_type: TypeLike | type | Callable[[Any], Any] | None = None) -> None:
        self.arrow_type = arrow_type


if TYPE_CHECKING:
    from vgi_fast.wire.arrow import RecordBatch as TableInput
else:

    class TableInput:
        """The TABLE argument of a table-in-out function: each batch as a core ``RecordBatch``."""


class AnyArrow:
    """Annotation of a constant of any type; the author receives an ``AnyArrowValue``."""


class AnyArrowValue:
    """A constant with the type it was given in SQL."""

    __slots__ = ("field", "value")

    def __init__(self, value: Any, field: Any) -> None:
        self.value = value
        self.field = field
        """Core ``Field``: the type, and metadata such as that of an extension type."""

    @property
    def type(self) -> Any:
        return self.field.type

    def as_py(self) -> Any:
        return self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnyArrowValue) and (self.value, self.type) == (other.value, other.type)

    def __hash__(self) -> int:
        return hash((self.value, self.type))

    def __repr__(self) -> str:
        return f"AnyArrowValue({self.value!r}, {self.type})"
