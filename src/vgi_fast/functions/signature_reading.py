"""Signatures as Python functions, classes and hooks declare them.

Reads a Python function's code object and annotations, or the annotated fields of an arguments class.
Every mistake is a DefinitionError that names the function and the parameter.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, get_origin

from vgi_fast.errors import DefinitionError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions import constraints
from vgi_fast.functions.annotations import Annotation
from vgi_fast.functions.context import CallerIdentity, ClientLog, InitParams, ProcessParams, Projection
from vgi_fast.functions.parameters import (
    MISSING,
    Arg,
    Auth,
    ConstParam,
    OutputLength,
    Param,
    Secret,
    Setting,
)
from vgi_fast.functions.signature import (
    AS_LIST,
    AUTH,
    BY_KEYWORD,
    BY_POSITION,
    COLUMN,
    CONST,
    LOG,
    NAMED,
    PARAMS,
    POSITIONAL,
    PROJECTION,
    ROWS,
    SECRET,
    SETTING,
    SPREAD,
    TABLE,
    Injection,
    Parameter,
    Signature,
    Slot,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "PythonParameter",
    "python_parameters",
    "read_aggregate",
    "read_arguments_class",
    "read_hook",
    "read_row_transform",
    "read_scalar",
    "read_table",
    "table_slot",
]

_PARAMS: Final = (InitParams, ProcessParams)
_VARARGS_FLAG: Final = 0x04
_VARKEYWORDS_FLAG: Final = 0x08


class PythonParameter:
    """One parameter as Python declares it."""

    __slots__ = ("annotation", "default", "kind", "name")

    def __init__(self, name: str, kind: str, default: Any, annotation: Any) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.annotation = annotation


def python_parameters(function: Callable[..., Any], where: str, skip: int = 0) -> list[PythonParameter]:
    """Parameters of a Python function without its first ``skip``, with evaluated annotations."""
    inner: Any = function
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    inner = getattr(inner, "__func__", inner)
    code = getattr(inner, "__code__", None)
    if code is None:
        raise DefinitionError(
            f"{where}: {type(function).__name__} is not a Python function",
            hint="use from_ufunc or register_ufunc for a NumPy ufunc, register_kernel for compiled code",
        )
    found = ann.annotations_of(inner, where)
    names = code.co_varnames
    if code.co_flags & _VARKEYWORDS_FLAG:
        name = names[code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & _VARARGS_FLAG)]
        raise DefinitionError(f"{where}: parameter **{name} cannot be called from SQL; name each argument")
    defaults = inner.__defaults__ or ()
    first_default = code.co_argcount - len(defaults)
    keyword_defaults = inner.__kwdefaults__ or {}
    parameters = []
    for index in range(skip, code.co_argcount):
        name = names[index]
        default = defaults[index - first_default] if index >= first_default else MISSING
        parameters.append(PythonParameter(name, BY_POSITION, default, found.get(name, MISSING)))
    if code.co_flags & _VARARGS_FLAG:
        name = names[code.co_argcount + code.co_kwonlyargcount]
        parameters.append(PythonParameter(name, SPREAD, MISSING, found.get(name, MISSING)))
    for name in names[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]:
        default = keyword_defaults.get(name, MISSING)
        parameters.append(PythonParameter(name, BY_KEYWORD, default, found.get(name, MISSING)))
    return parameters


def read_scalar(
    function: Callable[..., Any], where: str, docs: Callable[[], dict[str, str]], skip: int = 0
) -> Signature:
    """Columns, constants and injected values of a scalar function."""
    slots = []
    for parameter in python_parameters(function, where, skip):
        slots.append(_scalar_slot(parameter, where, docs))
    return Signature(slots, where)


def read_aggregate(parameters: list[PythonParameter], where: str, docs: Callable[[], dict[str, str]]) -> Signature:
    """As ``read_scalar``; a constant may have a default, which stands for one that SQL leaves out."""
    slots = []
    for parameter in parameters:
        default = parameter.default
        bare = PythonParameter(parameter.name, parameter.kind, MISSING, parameter.annotation)
        slot = _scalar_slot(bare, where, docs)
        here = f"{where}, parameter {parameter.name!r}"
        if isinstance(slot.source, Injection):
            if slot.source.kind not in (SETTING, SECRET):
                raise DefinitionError(f"{here}: an aggregate takes columns, constants and settings")
        elif default is not MISSING:
            if slot.source.role != CONST:
                raise DefinitionError(f"{here}: a column has no default")
            slot.source.default, slot.source.required = default, False
            slot.source.optional = slot.source.optional or default is None
        slots.append(slot)
    return Signature(slots, where)


def _scalar_slot(parameter: PythonParameter, where: str, docs: Callable[[], dict[str, str]]) -> Slot:
    here = f"{where}, parameter {parameter.name!r}"
    annotation = _annotation(parameter, here, "a column such as Int64 or a constant such as Const[int]")
    injection = _injection(annotation, parameter, here)
    if injection is not None:
        if injection.kind in (PROJECTION, PARAMS):
            raise DefinitionError(f"{here}: a scalar function has no {injection.kind}")
        return Slot(parameter.name, parameter.kind, injection)
    if parameter.default is not MISSING or (annotation.options and annotation.options.default is not MISSING):
        raise DefinitionError(
            f"{here}: an argument of a scalar function cannot have a default",
            hint="DuckDB passes scalar arguments by position only; declare an overload without it",
        )
    if ann.is_table_input(annotation):
        raise DefinitionError(f"{here}: a scalar function has no TABLE argument")
    options = annotation.options
    passing = parameter.kind
    varargs = passing == SPREAD or bool(options and options.varargs)
    if varargs and passing != SPREAD:
        passing = AS_LIST
        annotation.become_element(here)
    if annotation.const or isinstance(options, ConstParam):
        if varargs:
            raise DefinitionError(f"{here}: a constant of a scalar function cannot be variadic")
        return Slot(parameter.name, passing, _constant(parameter.name, CONST, annotation, here, docs))
    form = ann.column_form(annotation, annotation.base)
    if form is None and isinstance(options, Param) and options.arrow_type is not None:
        form = ann.NUMPY
    if form is None:
        raise DefinitionError(
            f"{here}: {_shown(annotation.base)} is neither a column nor marked as a constant",
            hint="use a column type (Int64, npt.NDArray[np.int64], pa.Int64Array, vgi_fast.Array) or Const[...]",
        )
    _check_options(annotation, here)
    column = Parameter(
        parameter.name,
        COLUMN,
        ann.annotated_type(annotation, here),
        form,
        varargs=varargs,
        optional=True,
        options=options,
        docs=docs,
    )
    _check_bounds(column, here)
    return Slot(parameter.name, passing, column)


def read_table(
    function: Callable[..., Any], where: str, docs: Callable[[], dict[str, str]], skip: int = 0
) -> Signature:
    """Arguments, injected values and the TABLE argument of a table function written as a function."""
    return Signature([table_slot(p, where, docs) for p in python_parameters(function, where, skip)], where)


def read_row_transform(
    function: Callable[..., Any], where: str, docs: Callable[[], dict[str, str]], skip: int = 0
) -> Signature:
    """Columns, named constants and injected values of a row transform."""
    return Signature([_row_slot(p, where, docs) for p in python_parameters(function, where, skip)], where)


def _row_slot(parameter: PythonParameter, where: str, docs: Callable[[], dict[str, str]]) -> Slot:
    """Without default a column, with one a named constant."""
    here = f"{where}, parameter {parameter.name!r}"
    annotation = _annotation(parameter, here, "a column such as Int64, or a constant with a default")
    injection = _injection(annotation, parameter, here)
    if injection is not None:
        return Slot(parameter.name, parameter.kind, injection)
    is_column = ann.column_form(annotation, annotation.base) is not None or parameter.kind == SPREAD
    if not is_column and (parameter.kind == BY_KEYWORD or parameter.default is not MISSING):
        return table_slot(parameter, where, docs)
    if parameter.default is not MISSING:
        raise DefinitionError(f"{here}: a column cannot have a default")
    if ann.table_form(annotation) is not None:
        raise DefinitionError(f"{here}: the arguments of a row transform are its columns; @table_in_out takes a table")
    slot = _scalar_slot(parameter, where, docs)
    assert isinstance(slot.source, Parameter)
    if slot.source.role != COLUMN:
        raise DefinitionError(f"{here}: a constant of a row transform is named: give it a default, or put it behind *")
    if slot.source.type is None and not slot.source.varargs:
        raise DefinitionError(f"{here}: a column of a row transform has a concrete type")
    return slot


def table_slot(parameter: PythonParameter, where: str, docs: Callable[[], dict[str, str]]) -> Slot:
    here = f"{where}, parameter {parameter.name!r}"
    annotation = _annotation(parameter, here, "a Python type such as int")
    injection = _injection(annotation, parameter, here)
    if injection is not None:
        if injection.kind == ROWS:
            raise DefinitionError(f"{here}: a table function decides how many rows it produces")
        return Slot(parameter.name, parameter.kind, injection)
    form = ann.table_form(annotation)
    if form is not None:
        if parameter.default is not MISSING or parameter.kind != BY_POSITION:
            raise DefinitionError(f"{here}: the table is a positional argument without default")
        return Slot(parameter.name, parameter.kind, Parameter(parameter.name, TABLE, None, form, docs=docs))
    if ann.column_form(annotation, annotation.base) is not None:
        raise DefinitionError(
            f"{here}: {_shown(annotation.base)} is a column, but arguments of a table function are constants",
            hint="annotate with the Python type: int, float, str, bool, bytes",
        )
    options = annotation.options
    name = options.position if isinstance(options, Arg) and isinstance(options.position, str) else parameter.name
    default = parameter.default
    if default is MISSING and options is not None:
        default = options.default
    varargs = parameter.kind == SPREAD or bool(options and options.varargs)
    passing = parameter.kind
    if varargs and passing != SPREAD:
        passing = AS_LIST
        annotation.become_element(here)
    named = default is not MISSING or parameter.kind == BY_KEYWORD or name != parameter.name
    if varargs and named:
        raise DefinitionError(f"{here}: a varargs parameter is positional and has no default")
    role = NAMED if named else POSITIONAL
    value = _constant(name, role, annotation, here, docs, parameter.name, default, varargs)
    return Slot(parameter.name, passing, value)


def read_arguments_class(
    cls: type, where: str, docs: Callable[[], dict[str, str]], *, columns: bool = False
) -> Signature:
    """The annotated fields of an arguments class, such as a dataclass. With ``columns`` positions are columns."""
    fields: list[tuple[Parameter, int | None]] = []
    for name, raw in ann.class_annotations(cls, where).items():
        if get_origin(raw) is not None and getattr(get_origin(raw), "__name__", "") == "ClassVar":
            continue
        fields.append(_class_field(cls, name, raw, where, docs))
    positions = [position for _, position in fields if position is not None]
    if sorted(positions) != list(range(len(positions))):
        raise DefinitionError(f"{where}: positions of {cls.__name__} must be 0, 1, …, got {positions}")
    ordered = sorted((f for f in fields if f[1] is not None), key=lambda f: f[1] or 0)
    rest = [f for f in fields if f[1] is None]
    unplaced = [f for f in rest if f[0].role != NAMED]
    if unplaced and positions:
        raise DefinitionError(f"{where}: field {unplaced[0][0].name!r} needs Arg(<position>) or Arg(<name>)")
    if columns:
        for parameter, _ in [*ordered, *unplaced]:
            parameter.role = COLUMN
    return Signature([Slot(p.python_name, BY_KEYWORD, p) for p, _ in [*ordered, *rest]], where)


def _class_field(
    cls: type, name: str, raw: Any, where: str, docs: Callable[[], dict[str, str]]
) -> tuple[Parameter, int | None]:
    here = f"{where}, argument {name!r}"
    annotation = Annotation(raw)
    options = annotation.options
    if options is None:
        raise DefinitionError(f"{here}: expected Annotated[<type>, Arg(...)], got {_shown(raw)}")
    position = options.position if isinstance(options, Arg) else None
    default = _class_default(cls, name)
    if ann.is_table_input(annotation):
        if isinstance(position, str) or default is not MISSING:
            raise DefinitionError(f"{here}: the table is a positional argument without default")
        return Parameter(name, TABLE, None, ann.BATCH, options=options, docs=docs), position
    if default is MISSING:
        default = options.default
    if isinstance(position, int) and default is not MISSING:
        raise DefinitionError(f"{here}: a positional argument cannot have a default; give Arg a name instead")
    named = isinstance(position, str) or default is not MISSING
    varargs = options.varargs
    if varargs:
        if named:
            raise DefinitionError(f"{here}: a varargs argument is positional and has no default")
        annotation.become_element(here)
    sql_name = position if isinstance(position, str) else name
    parameter = _constant(sql_name, NAMED if named else POSITIONAL, annotation, here, docs, name, default, varargs)
    return parameter, position if isinstance(position, int) else None


def _class_default(cls: type, name: str) -> Any:
    if issubclass(cls, tuple):  # a NamedTuple, whose attributes are its accessors
        return getattr(cls, "_field_defaults", {}).get(name, MISSING)
    field = getattr(cls, "__dataclass_fields__", {}).get(name)
    if field is None:
        return getattr(cls, name, MISSING)
    absent = sys.modules["dataclasses"].MISSING  # imported by whoever made the class a dataclass
    if field.default is not absent:
        return field.default
    return MISSING if field.default_factory is absent else field.default_factory()


def read_hook(function: Callable[..., Any], where: str, skip: int) -> list[Injection]:
    """Settings and secrets that a hook takes besides ``params``."""
    injections = []
    for parameter in python_parameters(function, where, skip):
        here = f"{where}, parameter {parameter.name!r}"
        injection = _injection(_annotation(parameter, here, "a Setting or Secret"), parameter, here)
        if injection is None:
            raise DefinitionError(f"{here}: expected a Setting or Secret")
        injections.append(injection)
    return injections


def _annotation(parameter: PythonParameter, here: str, expected: str) -> Annotation:
    if parameter.annotation is MISSING:
        raise DefinitionError(f"{here} has no annotation; expected {expected}")
    return Annotation(parameter.annotation)


def _injection(annotation: Annotation, parameter: PythonParameter, here: str) -> Injection | None:
    marker = annotation.injection
    kind: str
    detail: Any = None
    if isinstance(marker, Setting):
        kind, detail = SETTING, marker.key or parameter.name
    elif isinstance(marker, Secret):
        kind, detail = SECRET, marker
    elif isinstance(marker, OutputLength):
        kind = ROWS
    elif isinstance(marker, Auth) or annotation.base is CallerIdentity:
        kind = AUTH
    elif annotation.base is Projection:
        kind = PROJECTION
    elif annotation.base is ClientLog:
        kind = LOG
    elif annotation.base in _PARAMS or get_origin(annotation.base) in _PARAMS:
        kind = PARAMS
    else:
        return None
    if parameter.kind == SPREAD:
        raise DefinitionError(f"{here}: an injected value cannot be variadic")
    return Injection(kind, parameter.name, detail, parameter.default, annotation.optional)


def _constant(
    name: str,
    role: str,
    annotation: Annotation,
    here: str,
    docs: Callable[[], dict[str, str]],
    python_name: str | None = None,
    default: Any = MISSING,
    varargs: bool = False,
) -> Parameter:
    _check_options(annotation, here)
    parameter = Parameter(
        name,
        role,
        ann.annotated_type(annotation, here),
        ann.constant_form(annotation),
        python_name=python_name,
        optional=annotation.optional,
        varargs=varargs,
        default=default,
        options=annotation.options,
        docs=docs,
    )
    _check_bounds(parameter, here)
    if default is not MISSING and default is not None:
        try:
            constraints.check_value(parameter, default)
        except (ValueError, TypeError) as error:
            raise DefinitionError(f"{here}: the default {default!r} breaks the parameter's own constraint") from error
    return parameter


def _check_options(annotation: Annotation, here: str) -> None:
    if annotation.options is not None:
        constraints.check_declared(annotation.options, here)


def _check_bounds(parameter: Parameter, here: str) -> None:
    if parameter.bounds and parameter.type is not None:
        raise DefinitionError(f"{here}: type_bound is for parameters of any type, but the type is {parameter.type}")


def _shown(base: Any) -> str:
    return getattr(base, "__name__", None) or repr(base)
