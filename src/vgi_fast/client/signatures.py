"""Functions as a client sees them, and the choice among overloads that DuckDB would make.

The worker describes its arguments as an Arrow schema with field metadata (section 2.3 of the function
document). DuckDB picks the overload by number and types of arguments before it binds; the wire does not carry
the choice, so the client repeats it here only to know which argument is a constant, a column or a name.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vgi_fast._core import DataType, Field, Schema
from vgi_fast.errors import ArgumentError
from vgi_fast.wire import keys

REJECTED: Final = 1_000_000
_ANY_COST: Final = 50
_LITERAL_COST: Final = 20
_FAMILIES: Final[dict[str, tuple[str, int]]] = {
    "bool": ("bool", 0),
    **{f"int{bits}": ("number", rank) for rank, bits in enumerate((8, 16, 32, 64))},
    **{f"uint{bits}": ("number", rank) for rank, bits in enumerate((8, 16, 32, 64))},
    "decimal128": ("number", 5),
    "float32": ("number", 7),
    "float64": ("number", 8),
    **dict.fromkeys(("utf8", "large_utf8", "utf8_view"), ("text", 0)),
    **dict.fromkeys(("binary", "large_binary", "binary_view", "fixed_size_binary"), ("bytes", 0)),
    "date32": ("time", 0),
    "date64": ("time", 1),
    "timestamp": ("time", 2),
    **dict.fromkeys(("list", "large_list", "fixed_size_list"), ("list", 0)),
}


@dataclass(frozen=True, slots=True)
class Argument:
    name: str
    type: DataType | None
    """None accepts any type."""
    is_const: bool
    is_named: bool
    is_varargs: bool
    is_table: bool
    doc: str
    hints: Mapping[str, Any]
    """``default``, ``choices``, ``range`` and ``pattern``, as far as the worker tells them."""

    def __str__(self) -> str:
        marks = ("const " if self.is_const else "") + ("*" if self.is_varargs else "")
        type_text = "table" if self.is_table else str(self.type or "any")
        default = f" = {json.dumps(self.hints['default'])}" if "default" in self.hints else ""
        return f"{marks}{self.name}: {type_text}{default}"


@dataclass(frozen=True, slots=True)
class Function:
    """One overload."""

    name: str
    schema_name: str
    kind: str
    """``SCALAR``, ``TABLE``, ``TABLE_BUFFERING`` or ``AGGREGATE``."""
    arguments: tuple[Argument, ...]
    returns: Schema
    description: str
    info: Mapping[str, Any]
    """The whole record as received."""

    @property
    def positional(self) -> list[Argument]:
        """What the caller writes by position, the TABLE argument aside."""
        return [argument for argument in self.arguments if not (argument.is_named or argument.is_table)]

    @property
    def constants(self) -> list[Argument]:
        """Scalars: what travels in the arguments. Table functions: every value by position."""
        if self.kind in ("SCALAR", "AGGREGATE"):
            return [argument for argument in self.positional if argument.is_const]
        return [] if self.info["input_from_args"] else self.positional

    @property
    def columns(self) -> list[Argument]:
        """What arrives as columns of the input."""
        if self.kind in ("SCALAR", "AGGREGATE"):
            return [argument for argument in self.positional if not argument.is_const]
        return self.positional if self.info["input_from_args"] else []

    @property
    def named(self) -> dict[str, Argument]:
        return {argument.name: argument for argument in self.arguments if argument.is_named}

    @property
    def takes_input(self) -> bool:
        return bool(self.info["input_from_args"]) or any(argument.is_table for argument in self.arguments)

    @property
    def return_type(self) -> DataType | None:
        """Of a scalar or aggregate; None when it depends on the arguments."""
        if len(self.returns) != 1:
            return None
        field = self.returns[0]
        return None if _is_any(field) else field.type

    def __str__(self) -> str:
        named = any(argument.is_named for argument in self.arguments)
        parts = [str(argument) for argument in self.arguments if not argument.is_named]
        parts += (["*"] if named else []) + [str(argument) for argument in self.named.values()]
        result = "table" if self.kind.startswith("TABLE") else str(self.return_type or "any")
        return f"{self.name}({', '.join(parts)}) -> {result}"


def read_function(info: Mapping[str, Any]) -> Function:
    return Function(
        name=info["name"],
        schema_name=info["schema_name"],
        kind=info["function_type"],
        arguments=tuple(_read_argument(field) for field in Schema.from_bytes(info["arguments"])),
        returns=Schema.from_bytes(info["output_schema"]),
        description=info["description"] or "",
        info=info,
    )


def choose(
    candidates: Iterable[Function],
    constants: Sequence[tuple[DataType, bool]],
    columns: Sequence[DataType],
    named: Iterable[str],
) -> Function:
    """The overload for these arguments. A constant is its type and whether it is a literal, which casts freely."""
    known = list(candidates)
    names = set(named)
    fitting = [function for function in known if _arity_fits(function, len(constants), len(columns), names)]
    if len(fitting) > 1:
        costs = {id(function): _cost(function, constants, columns) for function in fitting}
        least = min(costs.values())
        fitting = [function for function in fitting if costs[id(function)] == least < REJECTED]
    if len(fitting) == 1:
        return fitting[0]
    reason = "Ambiguous call of" if fitting else "No overload fits the call of"
    given = [str(type) for type, _ in constants] + [f"column {type}" for type in columns] + sorted(names)
    overloads = "\n".join(f"  {function}" for function in fitting or known)
    raise ArgumentError(
        f"{reason} {known[0].name!r} with ({', '.join(given)})", detail=f"Available overloads:\n{overloads}"
    )


def match(arguments: Sequence[Argument], count: int) -> list[Argument]:
    """The argument for each of ``count`` values; the variadic one takes all from its place on."""
    fixed = [argument for argument in arguments if not argument.is_varargs]
    rest = [argument for argument in arguments if argument.is_varargs]
    return fixed[:count] + rest * (count - len(fixed))


def _read_argument(field: Field) -> Argument:
    metadata = field.metadata
    hints: dict[str, Any] = {}
    for name, key in (("default", keys.ARG_DEFAULT), ("choices", keys.ARG_CHOICES)):
        if key in metadata:
            hints[name] = json.loads(metadata[key])
    for name, key in (("range", keys.ARG_RANGE), ("pattern", keys.ARG_PATTERN)):
        if key in metadata:
            hints[name] = metadata[key].decode()
    return Argument(
        name=field.name,
        type=None if _is_any(field) else field.type,
        is_const=metadata.get(keys.ARG_CONST) == keys.TRUE,
        is_named=metadata.get(keys.ARG) == keys.ARG_NAMED,
        is_varargs=metadata.get(keys.ARG_VARARGS) == keys.TRUE,
        is_table=metadata.get(keys.ARG_TYPE) == keys.ARG_TYPE_TABLE,
        doc=metadata.get(keys.ARG_DOC, b"").decode(),
        hints=hints,
    )


def _is_any(field: Field) -> bool:
    marked = field.metadata.get(keys.ARG_TYPE) == keys.ARG_TYPE_ANY or keys.RETURN_ANY in field.metadata
    return marked or field.type.kind == "null"


def _arity_fits(function: Function, constant_count: int, column_count: int, named: set[str]) -> bool:
    # The columns of a TABLE argument are the caller's own.
    takes_any = any(argument.is_table for argument in function.arguments)
    columns_fit = takes_any or _count_fits(function.columns, column_count)
    return columns_fit and _count_fits(function.constants, constant_count) and named <= function.named.keys()


def _count_fits(arguments: Sequence[Argument], count: int) -> bool:
    # A variadic argument takes none here: it is the worker that insists on one value.
    if arguments and arguments[-1].is_varargs:
        return count >= len(arguments) - 1
    return count == len(arguments)


def _cost(function: Function, constants: Sequence[tuple[DataType, bool]], columns: Sequence[DataType]) -> int:
    total = 0
    for argument, (actual, is_literal) in zip(match(function.constants, len(constants)), constants, strict=False):
        total += cast_cost(argument.type, actual, is_literal)
    for argument, actual in zip(match(function.columns, len(columns)), columns, strict=False):
        total += cast_cost(argument.type, actual)
    return total


def cast_cost(declared: DataType | None, actual: DataType, is_literal: bool = False) -> int:
    """How far an implicit cast goes; REJECTED when there is none. Literals of text cast to anything."""
    if declared is None:
        return _ANY_COST
    if declared == actual:
        return 0
    if actual.kind == "null":
        return 1
    if actual.kind == "dictionary" and actual.value_type is not None:
        return 1 + cast_cost(declared, actual.value_type, is_literal)
    to_family, to_rank = _FAMILIES.get(declared.kind, (declared.kind, 0))
    from_family, from_rank = _FAMILIES.get(actual.kind, (actual.kind, 0))
    if to_family == from_family:
        if to_rank >= from_rank or is_literal:
            return 1 + abs(to_rank - from_rank)
        return REJECTED
    return _LITERAL_COST if is_literal and from_family == "text" else REJECTED
