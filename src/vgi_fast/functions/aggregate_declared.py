"""Aggregates: one value for each group.

    aggregate.from_block("total", "sum", "int64 -> int64")      # compiled; no Python code per batch

    @worker.aggregate                                           # NumPy code over a declared layout of states
    class WeightedMean:
        state = {"total": "float64", "weight": "float64"}

        def update(state, groups, value: Float64, weight: Float64):
            np.add.at(state.total, groups, value * weight)
            np.add.at(state.weight, groups, weight)

        def combine(source, target):
            target.total += source.total
            target.weight += source.weight

        def finalize(state) -> Float64:
            return state.total / state.weight

    @worker.aggregate.of_values                                 # all values of a group at once, in their order
    def median(value: Float64) -> Float64:
        return np.median(value)

    @worker.aggregate                                           # an instance for each group, row by row
    class Longest:
        ...

    class Collect(AggregateFunction[State]): ...                # hooks as in vgi-python

A group has a state once a row was delivered to it: rows with a null are not, unless ``null_handling`` is
``"special"`` (or, in ``AggregateFunction``, always are).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args, overload

from vgi_fast._core import Reduction
from vgi_fast.errors import DefinitionError, VgiError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions import meta
from vgi_fast.functions.aggregate import AggregateFunction, AggregateSpec, plain_hook, taken_names
from vgi_fast.functions.annotations import Annotation
from vgi_fast.functions.scalar import is_hook
from vgi_fast.functions.signature import (
    BY_POSITION,
    COLUMN,
    SPREAD,
    Parameter,
    PythonParameter,
    Signature,
    Slot,
    python_parameters,
    read_aggregate,
    read_hook,
)
from vgi_fast.functions.spec import FunctionOptions, attach_spec, attached_specs, docs_reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgi_fast.functions.context import BindParams
    from vgi_fast.wire.arrow import DataType

__all__ = ["AggregateDecorator", "AggregateRegistrar", "aggregate", "class_spec"]

F = TypeVar("F")

_COLLECTING: Final = ("list", "string_agg", "values")
_UFUNCS: Final = {
    "add": "sum",
    "multiply": "product",
    "minimum": "min",
    "maximum": "max",
    "bitwise_and": "bit_and",
    "bitwise_or": "bit_or",
    "bitwise_xor": "bit_xor",
}
_BLOCK_ALIASES: Final[dict[str, dict[str, Any]]] = {
    "avg": {"name": "mean"},
    "any_value": {"name": "first"},
    "count_star": {"name": "count_rows"},
    "var_samp": {"name": "variance"},
    "var_pop": {"name": "variance", "degrees": 0},
    "stddev": {"name": "variance", "root": True},
    "stddev_samp": {"name": "variance", "root": True},
    "stddev_pop": {"name": "variance", "degrees": 0, "root": True},
    "approx_count_distinct": {"name": "approx_distinct"},
    "array_agg": {"name": "list"},
    "listagg": {"name": "string_agg"},
}


class AggregateDecorator:
    """``@aggregate`` on a class, and aggregates made of building blocks.

    >>> from vgi_fast import Float64, Worker, aggregate
    >>> total = aggregate.from_block("total", "sum", "int64 -> int64")
    >>> @aggregate.of_values
    ... def spread(value: Float64) -> Float64:
    ...     return value.max() - value.min()
    >>> worker = Worker("demo", functions=[total, spread])
    """

    def __call__(self, cls: Any = None, /, **options: Any) -> Any:
        if cls is not None and not isinstance(cls, type):
            raise DefinitionError(f"@aggregate takes a class, got {cls!r}; @aggregate.of_values takes a function")

        def decorate(cls: F) -> F:
            attach_spec(cls, class_spec(cls, options))
            return cls

        return decorate if cls is None else decorate(cls)

    @overload
    def of_values(self, function: F, /) -> F: ...
    @overload
    def of_values(self, /, **options: Any) -> Callable[[F], F]: ...
    def of_values(self, function: Any = None, /, **options: Any) -> Any:
        """A function of all values of a group, which come as one array in the order of their rows."""

        def decorate(function: F) -> F:
            attach_spec(function, values_spec(function, options))
            return function

        return decorate if function is None else decorate(function)

    @staticmethod
    def from_block(name: str, block: str, types: str, /, **options: Any) -> AggregateSpec:
        """``from_block("total", "sum", "int64 -> int64")``.

        Blocks: sum, product, min, max, mean, first, last, count, count_rows, bit_and, bit_or, bit_xor, var_samp,
        var_pop, stddev_samp, stddev_pop, approx_count_distinct, list, string_agg (with ``separator=``).
        """
        return block_spec(name, block, types, dict(options))

    @staticmethod
    def from_ufunc(name: str, ufunc: Any, types: str, /, **options: Any) -> AggregateSpec:
        """The reduction of a NumPy ufunc of two arguments: ``from_ufunc("total", np.add, "int64 -> int64")``."""
        return ufunc_spec(name, ufunc, types, dict(options))


aggregate: Final = AggregateDecorator()


class AggregateRegistrar(AggregateDecorator):
    """What ``worker.aggregate`` is: every aggregate that it makes is added to the worker."""

    def __init__(self, add: Callable[[AggregateSpec], None]) -> None:
        self._add = add

    def __call__(self, cls: Any = None, /, **options: Any) -> Any:
        if cls is None:
            return lambda given: self(given, **options)
        made = super().__call__(cls, **options)
        self._add(_last_spec(made))
        return made

    def of_values(self, function: Any = None, /, **options: Any) -> Any:
        if function is None:
            return lambda given: self.of_values(given, **options)
        made = super().of_values(function, **options)
        self._add(_last_spec(made))
        return made

    def from_block(self, name: str, block: str, types: str, /, **options: Any) -> AggregateSpec:  # type: ignore[override]
        spec = block_spec(name, block, types, dict(options))
        self._add(spec)
        return spec

    def from_ufunc(self, name: str, ufunc: Any, types: str, /, **options: Any) -> AggregateSpec:  # type: ignore[override]
        spec = ufunc_spec(name, ufunc, types, dict(options))
        self._add(spec)
        return spec


def _last_spec(source: Any) -> AggregateSpec:
    spec = attached_specs(source)[-1]
    assert isinstance(spec, AggregateSpec)
    return spec


# -- specs ---------------------------------------------------------------------------------------


def block_spec(name: str, block: str, types: str, options: dict[str, Any]) -> AggregateSpec:
    where = f"aggregate '{name}'"
    chosen = dict(_BLOCK_ALIASES.get(block, {"name": block}))
    if "separator" in options:
        chosen["separator"] = str(options.pop("separator"))
    elif chosen["name"] == "string_agg":
        chosen["separator"] = ","
    on_empty = options.pop("on_empty", None)
    signature, result = _text_signature(types, where, options.pop("docs", {}))
    checked = FunctionOptions(where, options)
    returns = checked.returns
    engine = "collect" if chosen["name"] in _COLLECTING else "reduction"
    spec = AggregateSpec(
        name,
        signature,
        checked,
        None,
        where,
        engine,
        result_type=result if returns is None else None,
        returns=returns,
        block=chosen,
        on_empty=on_empty,
    )
    _check_block(spec)
    return spec


def _check_block(spec: AggregateSpec) -> None:
    columns = spec.signature.columns
    name = spec.block["name"]
    if len(columns) != (0 if name == "count_rows" else 1):
        raise DefinitionError(f"{spec.where}: {name} takes {'no column' if name == 'count_rows' else 'one column'}")
    if spec.engine_kind == "collect":
        if spec.result_type is None and spec.returns is None:
            raise DefinitionError(f"{spec.where}: the result type must be concrete, or decided by returns=")
        return
    if columns and columns[0].type is None:
        return
    try:
        Reduction(name, columns[0].type if columns else None, None)
        if spec.result_type is not None and name in ("sum", "product"):
            Reduction(name, columns[0].type, spec.result_type)
    except (VgiError, ValueError) as error:
        raise DefinitionError(f"{spec.where}: {error}") from error


def ufunc_spec(name: str, ufunc: Any, types: str, options: dict[str, Any]) -> AggregateSpec:
    where = f"aggregate '{name}'"
    if getattr(ufunc, "nin", 0) != 2 or getattr(ufunc, "nout", 0) != 1:
        raise DefinitionError(f"{where}: expected a NumPy ufunc of two arguments and one result, got {ufunc!r}")
    block = _UFUNCS.get(ufunc.__name__) if type(ufunc).__module__ == "numpy" else None
    if block is not None:
        try:
            return block_spec(name, block, types, dict(options))
        except DefinitionError:
            pass  # such as the sum of another type than the result's: NumPy knows more of them
    signature, result = _text_signature(types, where, options.pop("docs", {}))
    if len(signature.columns) != 1 or signature.columns[0].type is None or result is None:
        raise DefinitionError(f"{where}: a reduction has one column and a concrete result, got '{types}'")
    if ufunc.identity is None:
        raise DefinitionError(f"{where}: {ufunc.__name__} has no identity to start from", hint="write a class")
    signature.slots[0].python_name = "x"  # as the methods below call it, whatever SQL does
    dtype = _numpy_name(result, where)
    owner = type("Reduction", (), _reduction_methods(ufunc))
    on_empty = options.pop("on_empty", None)
    return AggregateSpec(
        name,
        signature,
        FunctionOptions(where, options),
        None,
        where,
        "vector",
        result_type=result,
        owner=owner,
        layout={"value": (dtype, ufunc.identity, ())},
        on_empty=on_empty,
    )


def _reduction_methods(ufunc: Any) -> dict[str, Any]:
    def update(state: Any, groups: Any, x: Any) -> None:
        ufunc.at(state.value, groups, x)

    def combine(source: Any, target: Any) -> None:
        target.value = ufunc(target.value, source.value)

    def finalize(state: Any) -> Any:
        return state.value

    return {"update": staticmethod(update), "combine": staticmethod(combine), "finalize": staticmethod(finalize)}


def values_spec(function: Any, options: dict[str, Any]) -> AggregateSpec:
    name = str(options.get("name") or getattr(function, "__name__", ""))
    where = f"aggregate '{name}'"
    on_empty = options.pop("on_empty", None)
    checked = FunctionOptions(where, options)
    signature = read_aggregate(python_parameters(function, where), where, docs_reader(function))
    if len(signature.columns) != 1 or signature.columns[0].varargs:
        raise DefinitionError(f"{where}: a function of values takes one column")
    result, returns = _result(checked, ann.annotations_of(function, where).get("return"), where)
    return AggregateSpec(
        name,
        signature,
        checked,
        function,
        where,
        "collect",
        result_type=result,
        returns=returns,
        block={"name": "values"},
        on_empty=on_empty,
    )


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
    result, returns = _result(options, ann.annotations_of(finalize, where).get("return"), where)
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
    result, returns = _result(options, ann.annotations_of(cls.finalize, where).get("return"), where)
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


def _result(
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
            _numpy_name(declared, here),
            parts[1] if len(parts) > 1 else 0,
            () if length is None else (length,),
        )
    return layout


def _numpy_name(type: DataType, where: str) -> str:
    kind = type.kind
    if kind == "bool" or (kind.startswith(("int", "uint", "float")) and type.byte_width):
        return kind
    raise DefinitionError(f"{where}: {type} is not a type that NumPy keeps in place; use numbers and bool")


def _text_signature(text: str, where: str, docs: dict[str, str]) -> tuple[Signature, DataType | None]:
    """``int64 -> int64``, ``any -> any``, ``-> int64``; with a name: ``value: int64 -> int64``."""
    left, arrow, right = text.rpartition("->")
    if not arrow or not right.strip():
        raise DefinitionError(f"{where}: '{text}' is not a signature such as 'int64 -> int64'")
    slots = []
    if left.strip():
        name, colon, type_text = left.partition(":")
        if not colon or not name.strip().isidentifier():
            name, type_text = "value", left
        declared = ann.explicit_type("null" if type_text.strip() == "any" else type_text.strip(), where)
        column = Parameter(name.strip(), COLUMN, declared, ann.ARRAY, optional=True, docs=lambda: docs)
        slots.append(Slot(column.name, BY_POSITION, column))
    right = right.strip()
    return Signature(slots, where), ann.explicit_type("null" if right == "any" else right, where)
