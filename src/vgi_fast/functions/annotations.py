"""From an annotation to an Arrow type and the form in which the author receives values.

Classes of NumPy and pyarrow are recognised by module and name: declaring a function imports neither.
"""

from __future__ import annotations

import sys
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin

from vgi_fast.errors import DefinitionError, VgiError
from vgi_fast.functions.markers import ColumnType, ConstMarker, Numpy
from vgi_fast.functions.parameters import (
    AnyArrow,
    AnyArrowValue,
    Auth,
    OutputLength,
    ParameterOptions,
    Returns,
    Secret,
    Setting,
    TableInput,
)
from vgi_fast.wire.arrow import Array, DataType, RecordBatch, type_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NUMPY: Final = "numpy"
MASKED: Final = "masked"
ARROW: Final = "arrow"
ARRAY: Final = "array"
VALUE: Final = "value"
TYPED: Final = "typed"
ARROW_SCALAR: Final = "arrow_scalar"
COLUMN_FORMS: Final = (NUMPY, MASKED, ARROW, ARRAY)

# Forms of a batch of the TABLE argument.
BATCH: Final = "batch"
ARROW_BATCH: Final = "arrow_batch"
ARROW_TABLE: Final = "arrow_table"
COLUMNS: Final = "columns"
EACH: Final = "each "
"""Before a form: an iterator over the batches."""

_INJECTIONS: Final = (Setting, Secret, OutputLength, Auth)

_PYTHON_TYPES: Final[dict[type, str]] = {
    int: "int64",
    str: "utf8",
    float: "float64",
    bool: "bool",
    bytes: "binary",
}
_DATETIME_TYPES: Final = {"date": "date32", "datetime": "timestamp[us]", "timedelta": "duration[us]"}

_PYARROW_TYPES: Final = {
    "Int8": "int8",
    "Int16": "int16",
    "Int32": "int32",
    "Int64": "int64",
    "UInt8": "uint8",
    "UInt16": "uint16",
    "UInt32": "uint32",
    "UInt64": "uint64",
    "HalfFloat": "float16",
    "Float": "float32",
    "Double": "float64",
    "String": "utf8",
    "LargeString": "large_utf8",
    "Binary": "binary",
    "LargeBinary": "large_binary",
    "Boolean": "bool",
    "Date32": "date32",
    "Date64": "date64",
    "Null": "null",
    "MonthDayNanoInterval": "month_day_nano_interval",
}
_PYARROW_GENERIC: Final = ("", "Chunked")
_NUMPY_TEXT: Final = {"str_": "utf8", "bytes_": "binary"}


class Annotation:
    """One annotation taken apart. ``type`` None accepts any Arrow type."""

    __slots__ = ("base", "column", "const", "injection", "optional", "options", "returns")

    def __init__(self, annotation: Any) -> None:
        self.base: Any = annotation
        self.options: ParameterOptions | None = None
        self.column: ColumnType | None = None
        self.const = False
        self.injection: Setting | Secret | OutputLength | Auth | None = None
        self.returns: Returns | None = None
        self.optional = False
        self._unwrap()

    def become_element(self, where: str) -> None:
        """From ``list[T]``, as varargs are declared, to T; options beside the list stay."""
        arguments = get_args(self.base)
        if get_origin(self.base) not in (list, tuple) or not arguments:
            shown = getattr(self.base, "__name__", None) or repr(self.base)
            raise DefinitionError(f"{where}: a varargs parameter is annotated list[<type>], got {shown}")
        self.base = arguments[0]
        self._unwrap()

    def _unwrap(self) -> None:
        while True:
            origin = get_origin(self.base)
            if origin is Annotated:
                for extra in self.base.__metadata__:
                    self._take(extra)
                self.base = self.base.__origin__
            elif origin is Union or origin is UnionType:
                members = [member for member in get_args(self.base) if member is not type(None)]
                if len(members) == len(get_args(self.base)) or len(members) != 1:
                    return
                self.optional = True
                self.base = members[0]
            elif type(origin).__name__ == "TypeAliasType":  # npt.NDArray is one since NumPy 2.5
                self.base = origin.__value__[get_args(self.base)]
            elif type(self.base).__name__ == "TypeAliasType":
                self.base = self.base.__value__
            else:
                return

    def _take(self, extra: Any) -> None:
        if isinstance(extra, type) and issubclass(extra, (ParameterOptions, Auth, OutputLength, Setting)):
            extra = extra()  # Param without parentheses
        if isinstance(extra, ParameterOptions):
            self.options = extra
        elif isinstance(extra, ColumnType):
            self.column = extra
        elif isinstance(extra, ConstMarker):
            self.const = True
        elif isinstance(extra, Returns):
            self.returns = extra
        elif isinstance(extra, _INJECTIONS):
            self.injection = extra

    def __repr__(self) -> str:
        return f"Annotation({self.base!r})"


def annotations_of(function: Callable[..., Any], where: str) -> dict[str, Any]:
    """Annotations by parameter name, text ones evaluated where the function was defined."""
    try:
        raw = getattr(function, "__annotations__", {})
    except NameError as error:
        raise DefinitionError(f"{where}: cannot evaluate an annotation: {error}") from error
    if not any(isinstance(value, str) for value in raw.values()):
        return dict(raw)
    inner = function
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    code = getattr(inner, "__code__", None)
    cells = getattr(inner, "__closure__", None) or ()
    enclosed = {}
    if code is not None:
        for name, cell in zip(code.co_freevars, cells, strict=True):
            try:
                enclosed[name] = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
    return _evaluate(raw, getattr(inner, "__globals__", {}), enclosed, where)


def class_annotations(cls: type, where: str) -> dict[str, Any]:
    """Annotations of a class and its bases, the nearest class last so that it wins."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        try:
            raw = getattr(base, "__annotations__", None)  # a class without any has an empty one of its own
        except NameError as error:
            raise DefinitionError(f"{where}: cannot evaluate an annotation: {error}") from error
        if raw:
            module = sys.modules.get(base.__module__)
            found.update(_evaluate(raw, vars(module) if module else {}, dict(vars(base)), where))
    return found


def _evaluate(raw: Mapping[str, Any], outer: dict[str, Any], inner: dict[str, Any], where: str) -> dict[str, Any]:
    found = {}
    for name, value in raw.items():
        if isinstance(value, str):
            try:
                value = eval(value, outer, inner)
            except Exception as error:
                raise DefinitionError(
                    f"{where}: cannot evaluate the annotation of {name!r}: {error}",
                    detail=f"Annotation: {value}",
                    hint="names in an annotation must be importable from the function's module",
                ) from error
        found[name] = value
    return found


def explicit_type(value: Any, where: str) -> DataType | None:
    """Type from ``arrow_type=``, ``returns=`` and the like; None for the null type, which means any."""
    if isinstance(value, DataType):
        found = value
    elif isinstance(value, str):
        try:
            found = type_named(value)
        except ValueError as error:
            raise DefinitionError(f"{where}: {error}") from error
    elif hasattr(value, "__arrow_c_schema__") and not isinstance(value, type) and get_origin(value) is None:
        found = DataType.of(value)
    else:
        annotation = Annotation(value)
        if annotation.column is None and not is_known_base(annotation.base):
            raise DefinitionError(f"{where}: {value!r} is not an Arrow type, its text form, or a Python type")
        return annotated_type(annotation, where)
    return None if found.kind == "null" else found


def annotated_type(annotation: Annotation, where: str) -> DataType | None:
    """The Arrow type an annotation stands for; None is any."""
    options = annotation.options
    if options is not None and options.arrow_type is not None:
        return explicit_type(options.arrow_type, where)
    if annotation.returns is not None and annotation.returns.arrow_type is not None:
        return explicit_type(annotation.returns.arrow_type, where)
    if annotation.column is not None:
        return None if annotation.column.text is None else type_named(annotation.column.text)
    return _base_type(annotation.base, where)


def _base_type(base: Any, where: str) -> DataType | None:
    if base in (Any, object, AnyArrow, AnyArrowValue, Array, Numpy):
        return None
    if get_origin(base) is list:
        element = _base_type(get_args(base)[0], where)
        return None if element is None else DataType(f"list<{element}>")
    if is_numpy_array(base):
        return _numpy_type(base, where)
    if not isinstance(base, type):
        raise _not_understood(base, where)
    text = _PYTHON_TYPES.get(base)
    if text is None and base.__module__ == "datetime":
        text = _DATETIME_TYPES.get(base.__name__)
    if text is not None:
        return type_named(text)
    if is_pyarrow(base):
        return _pyarrow_type(base.__name__, where)
    raise _not_understood(base, where)


def _not_understood(base: Any, where: str) -> DefinitionError:
    name = getattr(base, "__qualname__", None) or repr(base)
    return DefinitionError(
        f"{where}: no Arrow type is known for {name}",
        hint="annotate with a marker such as Int64 or Const[int], or give arrow_type=",
    )


def _numpy_type(base: Any, where: str) -> DataType | None:
    args = get_args(base)
    dtype_args = get_args(args[1]) if len(args) == 2 else ()
    if not dtype_args or not isinstance(dtype_args[0], type):
        return None
    scalar = dtype_args[0]
    if scalar.__name__ in _NUMPY_TEXT:
        return type_named(_NUMPY_TEXT[scalar.__name__])
    if scalar.__name__ in ("object_", "datetime64", "timedelta64", "void"):
        raise DefinitionError(
            f"{where}: NumPy's {scalar.__name__} does not determine an Arrow type",
            hint="use a marker (Utf8, Binary, Date, Timestamp) or Param(arrow_type=...)",
        )
    try:
        return DataType.from_numpy(scalar)
    except (VgiError, TypeError):
        return None  # abstract, such as numpy.floating: any


def _pyarrow_type(name: str, where: str) -> DataType | None:
    for suffix in ("Array", "Scalar"):
        if name.endswith(suffix):
            stem = name.removesuffix(suffix)
            if stem in _PYARROW_GENERIC:
                return None
            text = _PYARROW_TYPES.get(stem)
            if text is not None:
                return None if text == "null" else type_named(text)
            raise DefinitionError(
                f"{where}: pyarrow.{name} has type parameters, so arrow_type= is needed",
                hint=f'for example Annotated[pa.{name}, Param(arrow_type="...")]',
            )
    raise DefinitionError(f"{where}: pyarrow.{name} is not an array or scalar class")


def is_pyarrow(base: Any) -> bool:
    module = getattr(base, "__module__", "")
    return isinstance(base, type) and (module == "pyarrow" or module.startswith("pyarrow."))


def is_numpy_array(base: Any) -> bool:
    origin = get_origin(base) or base
    return (
        isinstance(origin, type)
        and origin.__module__.partition(".")[0] == "numpy"
        and origin.__name__
        in (
            "ndarray",
            "MaskedArray",
        )
    )


def is_known_base(base: Any) -> bool:
    return (
        base in (Any, object, AnyArrow, AnyArrowValue, Array, Numpy)
        or base in _PYTHON_TYPES
        or get_origin(base) is list
        or is_numpy_array(base)
        or is_pyarrow(base)
        or (isinstance(base, type) and base.__module__ == "datetime" and base.__name__ in _DATETIME_TYPES)
    )


def column_form(annotation: Annotation, base: Any) -> str | None:
    """How a column annotated like this is delivered; None when the annotation is not a column's."""
    if base is Numpy or (annotation.column is not None and base is Any):
        return NUMPY
    if is_numpy_array(base):
        return MASKED if (get_origin(base) or base).__name__ == "MaskedArray" else NUMPY
    if base is Array:
        return ARRAY
    if is_pyarrow(base) and base.__name__.endswith("Array"):
        return ARROW
    return None


def constant_form(annotation: Annotation) -> str:
    if annotation.base in (AnyArrow, AnyArrowValue):
        return TYPED
    if is_pyarrow(annotation.base) and annotation.base.__name__.endswith("Scalar"):
        return ARROW_SCALAR
    return VALUE


def is_table_input(annotation: Annotation) -> bool:
    return annotation.base is TableInput


def table_form(annotation: Annotation) -> str | None:
    """How the batches of a TABLE argument annotated like this are delivered; None when it is not one."""
    base = annotation.base
    origin = get_origin(base)
    if getattr(origin, "__name__", "") in ("Iterator", "Iterable") and get_args(base):
        form = table_form(Annotation(get_args(base)[0]))
        return None if form is None else EACH + form
    if base in (TableInput, RecordBatch):
        return BATCH
    if is_pyarrow(base):
        return {"RecordBatch": ARROW_BATCH, "Table": ARROW_TABLE}.get(base.__name__)
    if base is dict or origin is dict or getattr(origin or base, "__name__", "") == "Mapping":
        return COLUMNS
    return None
