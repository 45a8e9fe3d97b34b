"""Which of several functions of one name a call means (section 4.2 of the function document).

DuckDB has chosen already, but its choice is not on the wire: the worker repeats it, alike on bind, init
and every later call, from the number and types of the arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vgi_fast.functions.arguments import GivenArguments
    from vgi_fast.functions.signature import Parameter, Signature
    from vgi_fast.functions.spec import FunctionSpec
    from vgi_fast.wire.arrow import DataType, Schema

_INTEGERS: Final = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_FRACTIONS: Final = ("float16", "float32", "float64", "decimal32", "decimal64", "decimal128", "decimal256")

# Kinds that stand for one logical type; which of them arrives depends on the session's Arrow settings.
_FAMILIES: Final[dict[str, int]] = {
    kind: number
    for number, kinds in enumerate(
        (
            _INTEGERS,
            _FRACTIONS,
            ("utf8", "large_utf8", "utf8_view"),
            ("binary", "large_binary", "binary_view", "fixed_size_binary"),
            ("bool",),
            ("timestamp",),
            ("date32", "date64"),
            ("time32", "time64"),
            ("duration", "month_day_nano_interval"),
            ("list", "large_list", "list_view", "large_list_view", "fixed_size_list"),
            ("struct",),
            ("map",),
            ("sparse_union", "dense_union"),
        )
    )
    for kind in kinds
}

IDENTICAL: Final = 2
SAME_FAMILY: Final = 1
UNCHECKED: Final = 0


def type_score(declared: DataType | None, actual: DataType | None) -> int | None:
    """2 identical, 1 same family, 0 nothing to compare, None incompatible."""
    if declared is None or actual is None:
        return UNCHECKED
    if declared == actual:
        return IDENTICAL
    if actual.kind == "null" or declared.kind == "null":
        return UNCHECKED
    if actual.kind == "dictionary" and actual.value_type is not None:
        return _at_most_family(type_score(declared, actual.value_type))
    family = _FAMILIES.get(declared.kind)
    if family is None or family != _FAMILIES.get(actual.kind):
        return None
    if declared.kind == "fixed_size_list" and actual.kind != "fixed_size_list":
        return None
    if len(declared.children) != len(actual.children):
        return None
    for mine, other in zip(declared.children, actual.children, strict=True):
        if declared.kind == "struct" and mine.name != other.name:
            return None
        if type_score(mine.type, other.type) is None:
            return None
    if declared.kind == "timestamp" and declared.unit == actual.unit:
        return IDENTICAL  # the zone is the session's and says nothing
    return SAME_FAMILY


def _at_most_family(score: int | None) -> int | None:
    return None if score is None else min(score, SAME_FAMILY)


def resolve(
    name: str, candidates: Sequence[FunctionSpec], given: GivenArguments, input_schema: Schema | None
) -> FunctionSpec:
    """The one function meant. A single candidate is accepted as it is; its binding reports what is wrong."""
    if len(candidates) == 1:
        return candidates[0]
    best: list[FunctionSpec] = []
    best_score = -1
    for candidate in candidates:
        score = _score(candidate, given, input_schema)
        if score is None or score < best_score:
            continue
        if score > best_score:
            best, best_score = [], score
        best.append(candidate)
    if len(best) == 1:
        return best[0]
    if not best:
        raise _no_match(name, candidates, given, input_schema)
    raise _ambiguous(name, best)


def _score(candidate: FunctionSpec, given: GivenArguments, input_schema: Schema | None) -> int | None:
    signature = candidate.signature
    if not _named_fit(signature, given):
        return None
    columns = input_schema.types if input_schema is not None else []
    constants = [one.type for one in given.positional]
    total = 0
    compared = [(signature.constants, constants)]
    if signature.table is None:  # any table is taken
        compared.append((signature.columns, columns))
    for parameters, types in compared:
        score = _score_types(parameters, types)
        if score is None:
            return None
        total += score
    return total


def _named_fit(signature: Signature, given: GivenArguments) -> bool:
    if any(name not in signature.named for name in given.named):
        return False
    return all(name in given.named for name, parameter in signature.named.items() if parameter.required)


def _score_types(parameters: Sequence[Parameter], types: Sequence[DataType]) -> int | None:
    """Columns and constants are compared by ordinal within their own kind."""
    varargs = bool(parameters) and parameters[-1].varargs
    if len(types) < sum(one.required or one.role != "const" for one in parameters) or (
        len(types) > len(parameters) and not varargs
    ):
        return None
    total = 0
    for index, actual in enumerate(types):
        score = type_score(parameters[min(index, len(parameters) - 1)].type, actual)
        if score is None:
            return None
        total += score
    return total


def _no_match(
    name: str, candidates: Sequence[FunctionSpec], given: GivenArguments, input_schema: Schema | None
) -> ArgumentError:
    columns = ", ".join(f"{field.name}: {field.type}" for field in input_schema or ())
    lines = [
        f"No matching function '{name}' for arguments: input_columns=[{columns}], {_shown(given)}. Available overloads:"
    ]
    lines += [f"  {candidate.describe()}" for candidate in candidates]
    return ArgumentError("\n".join(lines))


def _shown(given: GivenArguments) -> str:
    named: dict[str, Any] = {key: str(one.type) for key, one in given.named.items()}
    return f"positional={[str(one.type) for one in given.positional]}, named={named}"


def _ambiguous(name: str, winners: Sequence[FunctionSpec]) -> ArgumentError:
    listed = [winner.describe() for winner in winners]
    return ArgumentError(
        f"Ambiguous function call '{name}': multiple overloads match: {listed}",
        hint="qualify the call with its schema, or cast an argument",
    )
