"""Aggregates that are declared as classes: hooks, layouts of states, and instances for each group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from vgi_fast.errors import DefinitionError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions import meta
from vgi_fast.functions.aggregates.declaration import AggregateFunction, AggregateSpec, plain_hook, taken_names
from vgi_fast.functions.annotations import Annotation
from vgi_fast.functions.scalar import is_hook
from vgi_fast.functions.signature import BY_POSITION, COLUMN, SPREAD, Parameter, Signature, Slot
from vgi_fast.functions.signature_reading import PythonParameter, python_parameters, read_aggregate, read_hook
from vgi_fast.functions.spec import FunctionOptions, attach_spec, attached_specs, docs_reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgi_fast.functions.context import BindParams
    from vgi_fast.wire.arrow import DataType

__all__ = ["class_spec", "numpy_name", "result_of"]


def class_spec(cls: Any, given: dict[str, Any] | None = None) -> AggregateSpec:
    """Spec of a class: hooks of ``AggregateFunction``, NumPy code over a layout, or one instance for each group."""
    for known in attached_specs(cls):
        if isinstance(known, AggregateSpec) and not given:
            return known
    options = {**meta.meta_options(cls), **(given or {})}
    name = str(options.get("name") or meta.default_name(cls))
    where = f"aggregate '{name}' ({cls.__qualname__})"
    on_empty = options.pop("on_empty", None)
    checked = FunctionOptions(where, options)
    if issubclass(cls, AggregateFunction):
        spec = _function_spec(cls, name, where, checked)
        attach_spec(cls, spec)
        return spec
    if "state" in vars(cls):
        return _vector_spec(cls, name, where, checked, on_empty)
    return _instance_spec(cls, name, where, checked, on_empty)


def _function_spec(cls: Any, name: str, where: str, options: FunctionOptions) -> AggregateSpec:
    parameters = _hook_parameters(cls, "update", ("states", "group_ids", "params"), where)
    signature = read_aggregate([one for one in parameters if one.annotation is not None], where, docs_reader(cls))
    finalize = plain_hook(cls, "finalize")
    annotation = ann.annotations_of(getattr(finalize, "__func__", finalize), where).get("return")
    binds = meta.hook(cls, "on_bind", AggregateFunction)
    returned = None if annotation is None else Annotation(annotation).returns
    option = options.returns if options.returns is not None else None if returned is None else returned.arrow_type
    if option is None and binds is None:
        raise DefinitionError(
            f"{cls.__name__} must either implement on_bind() or annotate finalize() with Returns(arrow_type=...)"
        )
    result = None if option is None or is_hook(option) else ann.explicit_type(option, f"{where}, result type")
    spec = AggregateSpec(
        name,
        signature,
        options,
        cls,
        where,
        "function",
        result_type=result if binds is None else None,
        returns=option if is_hook(option) else None,  # type: ignore[arg-type]
        owner=cls,
    )
    if binds is not None:
        spec.hooks["on_bind"] = read_hook(getattr(binds, "__func__", binds), f"{where}, on_bind", 2)
    spec.state_class = cls.state_class or _generic_state(cls)
    if cls.state_class is None and spec.state_class is not None:
        cls.state_class = spec.state_class
    if meta.hook(cls, "initial_state", AggregateFunction) is None and spec.state_class is None:
        raise DefinitionError(f"Aggregate function '{name}' has no state_class defined")
    update = plain_hook(cls, "update")
    group_annotation = ann.annotations_of(getattr(update, "__func__", update), where).get("group_ids")
    form = (
        None
        if group_annotation is None
        else ann.column_form(Annotation(group_annotation), Annotation(group_annotation).base)
    )
    spec.group_form = form or ann.ARROW
    _need_hooks(spec, cls)
    return spec


def _need_hooks(spec: AggregateSpec, cls: Any) -> None:
    if spec.options.supports_window and not hasattr(cls, "window"):
        raise DefinitionError(f"{spec.where}: supports_window needs a method 'window'")
    if spec.options.streaming_partitioned and not hasattr(cls, "streaming_chunk"):
        raise DefinitionError(f"{spec.where}: streaming_partitioned needs a method 'streaming_chunk'")


def _generic_state(cls: Any) -> Any:
    for base in getattr(cls, "__orig_bases__", ()):
        for argument in get_args(base):
            if isinstance(argument, type):
                return argument
    return None


def _vector_spec(cls: Any, name: str, where: str, options: FunctionOptions, on_empty: Any) -> AggregateSpec:
    parameters = _hook_parameters(cls, "update", ("state", "groups", "params"), where)
    signature = read_aggregate(parameters, where, _docs(cls))
    finalize = plain_hook(cls, "finalize")
    result, returns = result_of(options, ann.annotations_of(finalize, where).get("return"), where)
    plain_hook(cls, "combine")
    if options.supports_window or options.streaming_partitioned:
        raise DefinitionError(
            f"{where}: windows are answered by building blocks, functions of values and AggregateFunction"
        )
    spec = AggregateSpec(
        name,
        signature,
        options,
        cls,
        where,
        "vector",
        result_type=result,
        returns=returns,
        owner=cls,
        layout=_layout(cls.state, where),
        on_empty=on_empty,
    )
    for hook, given in (("update", ("state", "groups")), ("combine", ("source", "target")), ("finalize", ("state",))):
        _check_names(spec, hook, given)
    return spec


def _check_names(spec: AggregateSpec, hook: str, given: tuple[str, ...]) -> None:
    known = {*given, "params", *(slot.python_name for slot in spec.signature.slots)}
    if hook != "update":
        known -= {column.python_name for column in spec.signature.columns}
    strangers = [name for name, _ in taken_names(plain_hook(spec.owner, hook), spec.where) if name not in known]
    if strangers:
        raise DefinitionError(f"{spec.where}: {hook}() takes {strangers}; it can take {sorted(known)}")


def _instance_spec(cls: Any, name: str, where: str, options: FunctionOptions, on_empty: Any) -> AggregateSpec:
    for hook in ("update", "combine", "finalize"):
        if not callable(getattr(cls, hook, None)):
            raise DefinitionError(f"{where}: the class has no method '{hook}'")
    slots = []
    for one in python_parameters(cls.update, where, 1):
        slots.append(_row_slot(one, where, _docs(cls)))
    if cls.__init__ is not object.__init__:
        constants = read_aggregate(python_parameters(cls.__init__, where, 1), where, _docs(cls))
        if constants.columns:
            raise DefinitionError(f"{where}: __init__ takes constants, such as Const[int]")
        slots += constants.slots
    result, returns = result_of(options, ann.annotations_of(cls.finalize, where).get("return"), where)
    if options.supports_window or options.streaming_partitioned:
        raise DefinitionError(
            f"{where}: windows are answered by building blocks, functions of values and AggregateFunction"
        )
    return AggregateSpec(
        name,
        Signature(slots, where),
        options,
        cls,
        where,
        "instance",
        result_type=result,
        returns=returns,
        owner=cls,
        on_empty=on_empty,
    )


def _row_slot(parameter: PythonParameter, where: str, docs: Callable[[], dict[str, str]]) -> Slot:
    here = f"{where}, parameter {parameter.name!r}"
    if parameter.annotation is None or type(parameter.annotation).__name__ == "_Missing":
        raise DefinitionError(f"{here} has no annotation; expected a Python type such as int")
    annotation = Annotation(parameter.annotation)
    varargs = parameter.kind == SPREAD
    column = Parameter(
        parameter.name,
        COLUMN,
        ann.annotated_type(annotation, here),
        ann.VALUE,
        optional=annotation.optional,
        varargs=varargs,
        options=annotation.options,
        docs=docs,
    )
    return Slot(parameter.name, SPREAD if varargs else BY_POSITION, column)


def _hook_parameters(cls: Any, hook: str, given: tuple[str, ...], where: str) -> list[PythonParameter]:
    function = plain_hook(cls, hook)
    skip = 1 if hasattr(function, "__self__") else 0
    return [one for one in python_parameters(function, where, skip) if one.name not in given]


def _docs(cls: Any) -> Callable[[], dict[str, str]]:
    of_update, of_class = docs_reader(getattr(cls, "update", cls)), docs_reader(cls)
    return lambda: {**of_class(), **of_update()}


def _layout(given: Any, where: str) -> dict[str, tuple[str, Any, tuple[int, ...]]]:
    """``{"total": "float64", "low": ("int64", 2**63 - 1), "bins": ("int64", 0, 16)}``."""
    if not isinstance(given, dict) or not given:
        raise DefinitionError(f"{where}: state is a dict from field to type, got {given!r}")
    layout: dict[str, tuple[str, Any, tuple[int, ...]]] = {}
    for name, entry in given.items():
        parts = entry if isinstance(entry, tuple) else (entry,)
        here = f"{where}, state field {name!r}"
        if not str(name).isidentifier() or name == "present" or not 1 <= len(parts) <= 3:
            raise DefinitionError(f"{here}: expected a name and (type, initial value, length), got {entry!r}")
        declared = ann.explicit_type(parts[0], here)
        if declared is None:
            raise DefinitionError(f"{here}: the type must be concrete")
        length = parts[2] if len(parts) == 3 else None
        if length is not None and (type(length) is not int or length < 1):
            raise DefinitionError(f"{here}: a length is an int >= 1, got {length!r}")
        layout[str(name)] = (
            numpy_name(declared, here),
            parts[1] if len(parts) > 1 else 0,
            () if length is None else (length,),
        )
    return layout


def numpy_name(type: DataType, where: str) -> str:
    kind = type.kind
    if kind == "bool" or (kind.startswith(("int", "uint", "float")) and type.byte_width):
        return kind
    raise DefinitionError(f"{where}: {type} is not a type that NumPy keeps in place; use numbers and bool")


def result_of(
    options: FunctionOptions, annotation: Any, where: str
) -> tuple[DataType | None, Callable[[BindParams[Any]], Any] | None]:
    here = f"{where}, result type"
    option = options.returns
    annotated: Any = None
    if annotation is not None:
        read = Annotation(annotation)
        annotated = read.returns.arrow_type if read.returns is not None else annotation
    if option is None:
        option = annotated
    elif is_hook(option) and annotated is not None:
        return ann.explicit_type(annotated, here), option  # a type that is known, and a check at bind
    if option is None:
        raise DefinitionError(f"{where} has no result type", hint="annotate finalize (-> Int64) or pass returns=")
    if is_hook(option):
        return None, option
    fixed = ann.explicit_type(option, here)
    if fixed is None:
        raise DefinitionError(f"{here} depends on the arguments; pass returns=<callable of the bind parameters>")
    return fixed, None
