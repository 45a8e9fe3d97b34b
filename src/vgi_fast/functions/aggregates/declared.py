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

from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from vgi_fast._core import Reduction
from vgi_fast.errors import DefinitionError, VgiError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions.aggregates.declaration import AggregateSpec
from vgi_fast.functions.signature import BY_POSITION, COLUMN, Parameter, Signature, Slot
from vgi_fast.functions.signature_reading import python_parameters, read_aggregate
from vgi_fast.functions.spec import FunctionOptions, attach_spec, attached_specs, docs_reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgi_fast.wire.arrow import DataType
from vgi_fast.functions.aggregates.classes import class_spec, numpy_name, result_of

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
    dtype = numpy_name(result, where)
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
    result, returns = result_of(checked, ann.annotations_of(function, where).get("return"), where)
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
