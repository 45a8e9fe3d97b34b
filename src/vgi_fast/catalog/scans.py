"""How a table is read and written: function calls and branches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vgi_fast.errors import DefinitionError
from vgi_fast.functions.spec import FunctionSpec, attached_specs
from vgi_fast.wire import records
from vgi_fast.wire.arrow import Array, DataType, Field, RecordBatch, Schema, encode_stream

__all__ = ["CallArguments", "ScanBranch", "ScanBranches", "ScanFunction"]


class CallArguments:
    """Arguments of a call that DuckDB makes for a table: ``CallArguments(100, batch_size=10)``."""

    __slots__ = ("named", "positional")

    def __init__(self, *positional: Any, **named: Any) -> None:
        for index, value in enumerate(positional):
            if value is None:
                raise DefinitionError(f"Table arguments: positional slot {index} is None. A call has no gaps")
        self.positional = positional
        self.named = named

    @staticmethod
    def of(value: Any) -> CallArguments:
        """A sequence is positional, a mapping named."""
        if value is None:
            return CallArguments()
        if isinstance(value, CallArguments):
            return value
        if isinstance(value, Mapping):
            return CallArguments(**value)
        if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
            return CallArguments(*value)
        raise DefinitionError(f"table arguments must be a list, a dict or CallArguments, got {value!r}")

    def __repr__(self) -> str:
        parts = [repr(value) for value in self.positional]
        parts += [f"{name}={value!r}" for name, value in self.named.items()]
        return f"CallArguments({', '.join(parts)})"


class ScanFunction:
    """A call of a table function: one of the worker's, or by name also one that DuckDB has itself.

    ``ScanFunction(sequence, [100])``, ``ScanFunction("read_parquet", ["data/*.parquet"])``
    """

    __slots__ = ("arguments", "name", "required_extensions", "spec")

    def __init__(self, function: Any, arguments: Any = None, *, required_extensions: Iterable[str] = ()) -> None:
        self.spec = None if isinstance(function, str) else function_spec(function)
        """None when it is known by name only."""
        self.name: str = function if isinstance(function, str) else self.spec.name  # type: ignore[union-attr]
        self.arguments = CallArguments.of(arguments)
        self.required_extensions = list(required_extensions)

    @staticmethod
    def of(value: Any) -> ScanFunction | None:
        return value if value is None or isinstance(value, ScanFunction) else ScanFunction(value)

    def arguments_blob(self) -> bytes:
        """Columns ``arg_<i>`` and by name (section 2.8 of the catalog document)."""
        types: dict[str, DataType | None] = {}
        if self.spec is not None:
            signature = self.spec.signature
            for index in range(len(self.arguments.positional)):
                declared = (
                    signature.constants[min(index, len(signature.constants) - 1)] if signature.constants else None
                )
                types[f"arg_{index}"] = None if declared is None else declared.type
            types |= {name: signature.named[name].type for name in self.arguments.named if name in signature.named}
        values = {f"arg_{index}": value for index, value in enumerate(self.arguments.positional)}
        values |= self.arguments.named
        if not values:
            return b""
        columns = [
            _argument(value, types.get(name), f"argument {name!r} of {self.name}") for name, value in values.items()
        ]
        schema = Schema([Field(name, column.type) for name, column in zip(values, columns, strict=True)])
        return encode_stream(schema, [RecordBatch(schema, columns, 1)])

    def encode(self, generation: int = 1) -> bytes:
        return records.SCAN_FUNCTION_RESULT.encode(
            {
                "function_name": self.name,
                "arguments": self.arguments_blob(),
                "required_extensions": self.required_extensions,
            },
            generation,
        )

    def __repr__(self) -> str:
        return f"ScanFunction({self.name!r}, {self.arguments!r})"


class ScanBranch:
    """One part of a table that DuckDB reads as a union: a function call, or a table of a companion catalog.

    ``filter`` is SQL over the table's columns and says which rows the branch holds; branches must not overlap.
    """

    __slots__ = ("filter", "function", "source", "writable")

    def __init__(
        self,
        function: Any = None,
        arguments: Any = None,
        *,
        source: tuple[str, str, str] | None = None,
        filter: str | None = None,
        writable: bool = False,
    ) -> None:
        if (function is None) == (source is None):
            raise DefinitionError("a branch scans either a function or the table that source names, not both")
        if source is not None and len(source) != 3:
            raise DefinitionError(f"a branch's source is (catalog, schema, table), got {source!r}")
        if isinstance(function, ScanFunction):
            self.function: ScanFunction | None = function
        else:
            self.function = None if function is None else ScanFunction(function, arguments)
        self.source = source
        self.filter = filter
        self.writable = writable

    def encode(self, generation: int = 1) -> bytes:
        catalog, schema, table = self.source or (None, None, None)
        return records.SCAN_BRANCH.encode(
            {
                "function_name": self.function.name if self.function is not None else "",
                "arguments": self.function.arguments_blob() if self.function is not None else b"",
                "branch_filter": self.filter,
                "writable": self.writable,
                "source_catalog": catalog,
                "source_schema": schema,
                "source_table": table,
            },
            generation,
        )

    def __repr__(self) -> str:
        return f"ScanBranch({self.function or self.source!r}, filter={self.filter!r})"


class ScanBranches:
    """All branches of a table, and the DuckDB extensions that they need."""

    __slots__ = ("branches", "required_extensions")

    def __init__(self, branches: Iterable[ScanBranch], required_extensions: Iterable[str] = ()) -> None:
        self.branches = list(branches)
        self.required_extensions = list(required_extensions)

    @staticmethod
    def of(value: Any) -> ScanBranches:
        """A function call is a single branch."""
        if isinstance(value, ScanFunction):
            return ScanBranches([ScanBranch(value)], value.required_extensions)
        return value if isinstance(value, ScanBranches) else ScanBranches(value)

    def encode(self, generation: int = 1) -> bytes:
        branches = [branch.encode(generation) for branch in self.branches]
        return records.SCAN_BRANCHES_RESULT.encode(
            {"branches": branches, "required_extensions": self.required_extensions}, generation
        )


def function_spec(source: Any) -> FunctionSpec:
    """The one function that ``source`` declares."""
    from vgi_fast.catalog.registry import specs_of

    found = (source,) if isinstance(source, FunctionSpec) else attached_specs(source) or specs_of(source)
    if len(found) != 1:
        raise DefinitionError(f"{source!r} stands for {len(found)} functions; name one")
    return found[0]


_INFERRED = {bool: "bool", int: "int64", float: "float64", str: "utf8", bytes: "binary"}


def _argument(value: Any, type: DataType | None, where: str) -> Array:
    if type is None:
        item = value[0] if isinstance(value, (list, tuple)) and value else value
        text = _INFERRED.get(item.__class__)
        if text is None:
            raise DefinitionError(f"{where}: no Arrow type for {value!r}; use bool, int, float, str or bytes")
        type = DataType(text if item is value else f"list<{text}>")
    return Array.from_pylist([value], type)
