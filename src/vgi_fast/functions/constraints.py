"""Constraints of constant arguments: enforced at bind, published as field metadata.

The texts are those that peers match (section 3.3 of the function document).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgi_fast.errors import ArgumentValidationError, DefinitionError, SchemaValidationError
from vgi_fast.wire import keys

if TYPE_CHECKING:
    from vgi_fast.functions.parameters import ParameterOptions
    from vgi_fast.functions.signature import Parameter
    from vgi_fast.wire.arrow import DataType


def check_declared(options: ParameterOptions, where: str) -> None:
    """Refuse options that contradict each other."""
    if options.ge is not None and options.gt is not None:
        raise DefinitionError(f"{where}: ge and gt exclude each other")
    if options.le is not None and options.lt is not None:
        raise DefinitionError(f"{where}: le and lt exclude each other")
    if isinstance(options.choices, (str, bytes)) or (options.choices is not None and not list(options.choices)):
        raise DefinitionError(f"{where}: choices must be a non-empty sequence of values, got {options.choices!r}")
    if options.pattern is not None:
        import re

        try:
            re.compile(options.pattern)
        except (re.error, TypeError) as error:
            raise DefinitionError(f"{where}: pattern {options.pattern!r} is not a regular expression") from error


def is_constrained(options: ParameterOptions) -> bool:
    return any(
        limit is not None
        for limit in (options.ge, options.le, options.gt, options.lt, options.choices, options.pattern)
    )


def check_value(parameter: Parameter, value: Any) -> None:
    """Raise ArgumentValidationError when the value breaks a declared constraint."""
    options = parameter.options
    if options is None or value is None:
        return
    if options.choices is not None and value not in options.choices:
        raise _violation(parameter, value, "is not one of the allowed values.", "must be one of the allowed choices")
    if options.ge is not None and not value >= options.ge:
        raise _violation(parameter, value, "is too small.", f"must be >= {options.ge}")
    if options.gt is not None and not value > options.gt:
        raise _violation(parameter, value, "is too small.", f"must be > {options.gt}")
    if options.le is not None and not value <= options.le:
        raise _violation(parameter, value, "is too large.", f"must be <= {options.le}")
    if options.lt is not None and not value < options.lt:
        raise _violation(parameter, value, "is too large.", f"must be < {options.lt}")
    if options.pattern is not None:
        import re

        if re.fullmatch(options.pattern, value) is None:
            raise _violation(
                parameter, value, "does not match the required pattern.", f"must match pattern {options.pattern!r}"
            )


def null_violation(parameter: Parameter) -> ArgumentValidationError:
    return ArgumentValidationError(f"Argument '{parameter.name}' cannot be NULL.{_about(parameter)}")


def varargs_violation(parameter: Parameter) -> ArgumentValidationError:
    return ArgumentValidationError(
        f"Varargs parameter '{parameter.name}' requires at least 1 value.{_about(parameter)}"
    )


def check_type_bound(parameter: Parameter, given: DataType) -> None:
    """A bound is met when any of its predicates accepts the type; their names are part of the message."""
    if not parameter.bounds:
        return
    for predicate in parameter.bounds:
        if predicate(_native_type(given) if _wants_pyarrow(predicate) else given):
            return
    names = ", ".join(getattr(predicate, "__name__", repr(predicate)) for predicate in parameter.bounds)
    raise SchemaValidationError(f"Argument '{parameter.name}': column type {given} does not match any of: {names}")


def field_metadata(parameter: Parameter, doc: str) -> dict[bytes | str, bytes | str]:
    """Field metadata of one argument (section 2.3 of the function document)."""
    metadata: dict[bytes | str, bytes | str] = {}
    if parameter.role == "named":
        metadata[keys.ARG] = keys.ARG_NAMED
    if parameter.role == "table":
        metadata[keys.ARG_TYPE] = keys.ARG_TYPE_TABLE
    elif parameter.type is None:
        metadata[keys.ARG_TYPE] = keys.ARG_TYPE_ANY
    if parameter.varargs:
        metadata[keys.ARG_VARARGS] = keys.TRUE
    if parameter.role == "const":
        metadata[keys.ARG_CONST] = keys.TRUE
    if doc:
        metadata[keys.ARG_DOC] = doc
    if parameter.role == "named" and not parameter.required:
        metadata[keys.ARG_DEFAULT] = json_text(parameter.default)
    options = parameter.options
    if options is not None:
        if options.choices is not None:
            metadata[keys.ARG_CHOICES] = json_text(list(options.choices))
        interval = interval_text(options)
        if interval:
            metadata[keys.ARG_RANGE] = interval
        if options.pattern is not None:
            metadata[keys.ARG_PATTERN] = options.pattern
    return metadata


def interval_text(options: ParameterOptions) -> str:
    """``[0, 100]``, ``[1, +inf)``, ``(-inf, 5)``; empty without a bound."""
    if all(limit is None for limit in (options.ge, options.gt, options.le, options.lt)):
        return ""
    low = f"[{options.ge}" if options.ge is not None else f"({options.gt if options.gt is not None else '-inf'}"
    high = f"{options.le}]" if options.le is not None else f"{options.lt if options.lt is not None else '+inf'})"
    return f"{low}, {high}"


def json_text(value: Any) -> str:
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if type(value) is int:
        return str(value)
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


def _violation(parameter: Parameter, value: Any, headline: str, constraint: str) -> ArgumentValidationError:
    lines = [
        f"Argument '{parameter.name}' {headline}",
        f"  Argument: {parameter.name}",
        f"  Value: {value!r}",
        f"  Constraint: {constraint}",
    ]
    doc = parameter.doc
    if doc:
        lines.append(f"  Purpose: {doc}")
    options = parameter.options
    if options is not None and options.choices is not None:
        lines.append(f"  Valid values: {', '.join(repr(choice) for choice in options.choices)}")
    elif options is not None and interval_text(options):
        lines.append(f"  Valid values: {interval_text(options)}")
    return ArgumentValidationError("\n".join(lines))


def _about(parameter: Parameter) -> str:
    return f"\n  Purpose: {parameter.doc}" if parameter.doc else ""


def _wants_pyarrow(predicate: Any) -> bool:
    """Predicates of ``pyarrow.types``, and functions annotated with ``pyarrow.DataType``, get its type."""
    if getattr(predicate, "__module__", "").partition(".")[0] == "pyarrow":
        return True
    for name, annotation in getattr(predicate, "__annotations__", {}).items():
        if name != "return":
            text = annotation if isinstance(annotation, str) else f"{annotation.__module__}.{annotation.__qualname__}"
            return text.startswith(("pa.", "pyarrow."))
    return False


def _native_type(given: DataType) -> Any:
    import pyarrow as pa

    return pa.field(given).type
