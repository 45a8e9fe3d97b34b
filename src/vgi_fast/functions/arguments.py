"""Constant arguments of a call: decoded from the wire and bound to declared parameters.

Section 3 of the function document: one struct ``args`` with children ``positional_<i>`` and
``named_<key>``; zero rows, a null struct and an empty struct all mean that there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import ArgumentError, ProtocolError, TypeMismatchError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions import constraints
from vgi_fast.functions.overloads import type_score
from vgi_fast.functions.parameters import AnyArrowValue
from vgi_fast.values import MonthDayNano
from vgi_fast.wire.arrow import Array, decode_stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vgi_fast.functions.signature import Parameter, Signature
    from vgi_fast.wire.arrow import DataType

_POSITIONAL: Final = "positional_"
_NAMED: Final = "named_"


class GivenArguments:
    """Arguments as they arrived: values with their Arrow fields."""

    __slots__ = ("named", "positional")

    def __init__(self, positional: list[AnyArrowValue], named: dict[str, AnyArrowValue]) -> None:
        self.positional = positional
        self.named = named

    def __repr__(self) -> str:
        parts = [f"{given.type}" for given in self.positional]
        parts += [f"{name} := {given.type}" for name, given in self.named.items()]
        return f"({', '.join(parts)})"


NO_ARGUMENTS: Final = GivenArguments([], {})


def decode_arguments(blob: bytes | None) -> GivenArguments:
    if not blob:
        return NO_ARGUMENTS
    schema, batches = decode_stream(blob)
    if len(schema) == 0 or not batches or batches[0].num_rows == 0:
        return NO_ARGUMENTS
    field = schema[0]
    if field.type.kind != "struct":
        raise ProtocolError(f"arguments: expected a struct column, got {field.name}: {field.type}")
    values = batches[0].column(0)[0]
    if not values:
        return NO_ARGUMENTS
    positional: dict[int, AnyArrowValue] = {}
    named: dict[str, AnyArrowValue] = {}
    for child in field.type.children:
        name = child.name
        if name.startswith(_POSITIONAL) and name[len(_POSITIONAL) :].isdigit():
            positional[int(name[len(_POSITIONAL) :])] = AnyArrowValue(values[name], child)
        elif name.startswith(_NAMED):
            named[name[len(_NAMED) :]] = AnyArrowValue(values[name], child)
    if sorted(positional) != list(range(len(positional))):
        raise ProtocolError(f"arguments: positions {sorted(positional)} are not contiguous from 0")
    return GivenArguments([positional[i] for i in range(len(positional))], named)


def bind_arguments(signature: Signature, given: GivenArguments, where: str) -> dict[str, Any]:
    """Value by Python name, checked and converted; raises ArgumentError for anything that does not fit."""
    values: dict[str, Any] = {}
    _bind_positional(signature, given.positional, values, where)
    _bind_named(signature, given.named, values, where)
    return values


def _bind_positional(signature: Signature, given: list[AnyArrowValue], values: dict[str, Any], where: str) -> None:
    parameters = signature.constants
    varargs = parameters[-1] if parameters and parameters[-1].varargs else None
    fixed = parameters[:-1] if varargs is not None else parameters
    for index, parameter in enumerate(fixed):
        if index >= len(given):
            if parameter.role == "const" and not parameter.required:
                values[parameter.python_name] = parameter.default
                continue
            raise ArgumentError(f"{where}: missing required argument '{parameter.name}'")
        values[parameter.python_name] = convert(parameter, given[index])
    if varargs is not None:
        tail = given[len(fixed) :]
        if not tail:
            raise constraints.varargs_violation(varargs)
        values[varargs.python_name] = [convert(varargs, one) for one in tail]
    elif len(given) > len(fixed):
        raise ArgumentError(f"{where}: takes {_count(len(fixed))}, got {len(given)}")


def _bind_named(signature: Signature, given: dict[str, AnyArrowValue], values: dict[str, Any], where: str) -> None:
    declared = signature.named
    for name in given:
        if name not in declared:
            raise ArgumentError(f"{where}: unknown named argument '{name}'; there are {_listed(declared)}")
    for name, parameter in declared.items():
        one = given.get(name)
        if one is not None:
            values[parameter.python_name] = convert(parameter, one)
        elif parameter.required:
            raise ArgumentError(f"{where}: missing required named argument '{name}'")
        else:
            values[parameter.python_name] = parameter.default


def convert(parameter: Parameter, given: AnyArrowValue) -> Any:
    """The value in the form that the author declared."""
    value = given.value
    if value is None:
        if not parameter.optional:
            raise constraints.null_violation(parameter)
        if parameter.form == ann.VALUE:
            return None
    elif parameter.type is not None:
        _check_type(parameter, parameter.type, given.type)
        value = _adapted(value, parameter.type.kind, parameter.name)
    else:
        constraints.check_type_bound(parameter, given.type)
    if parameter.constrained:
        constraints.check_value(parameter, value)
    if parameter.form == ann.VALUE:
        return value
    if parameter.form == ann.ARROW_SCALAR:
        return Array.from_pylist([value], parameter.type or given.type).to_arrow()[0]
    return AnyArrowValue(value, given.field)


def _check_type(parameter: Parameter, declared: DataType, actual: DataType) -> None:
    if type_score(declared, actual) is None and not _converts(declared.kind, actual.kind):
        raise TypeMismatchError(f"Argument '{parameter.name}': expected {declared}, got {actual}")


def _converts(declared: str, actual: str) -> bool:
    """Conversions beyond a family: what the session's Arrow settings or a plain client produce."""
    if declared.startswith(("float", "decimal")):
        return actual.startswith(("int", "uint"))
    if declared == "bool":
        return actual == "int8"  # arrow.bool8
    intervals = ("duration", "month_day_nano_interval")
    return declared in intervals and actual in intervals


def _adapted(value: Any, kind: str, name: str) -> Any:
    if kind in ("float64", "float32") and type(value) is not float:
        return float(value)
    if kind == "bool" and type(value) is not bool:
        return bool(value)
    if kind == "duration" and type(value) is MonthDayNano:
        return _span(value, name)
    if kind == "month_day_nano_interval" and type(value) is not MonthDayNano:
        return MonthDayNano(0, value.days, (value.seconds * 1_000_000 + value.microseconds) * 1000)
    return value


def _span(interval: MonthDayNano, name: str) -> Any:
    """An INTERVAL as a timedelta; a month counts 30 days, as it does when SQL compares intervals."""
    from datetime import timedelta

    try:
        return timedelta(interval.months * 30 + interval.days, microseconds=interval.nanoseconds // 1000)
    except OverflowError:
        raise ArgumentError(f"Argument '{name}': {interval} is longer than a timedelta can be") from None


def _count(number: int) -> str:
    return "1 positional argument" if number == 1 else f"{number} positional arguments"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
