"""Row transforms: table functions whose arguments are columns, for literals, columns and LATERAL alike.

    @worker.row_transform(columns={"word": "utf8"})
    def words(text: Utf8, *, separator: str = " ") -> RowsOf:             # FROM docs, t.words(docs.body)
        split = [(row, word) for row, body in enumerate(text) for word in body.split(separator)]
        return RowsOf({"word": [word for _, word in split]}, [row for row, _ in split])

A parameter without default is a column, one with a default or behind ``*`` a named constant. A function that
gives one row for each row returns its columns; any other also says which rows its rows come from. Equal input
rows may arrive once only, and there is no end of input. A column with nulls is a masked array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, overload

from vgi_fast.errors import ArgumentError, DefinitionError
from vgi_fast.functions import meta
from vgi_fast.functions.classes import TArgs, TState, class_spec
from vgi_fast.functions.over_tables.inout import TableInOutGenerator, TableInOutSpec, class_options
from vgi_fast.functions.signature_reading import read_row_transform
from vgi_fast.functions.spec import FunctionOptions, attach_spec, docs_reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar, Unpack

    from vgi_fast.functions.over_tables.inout import InOutOptions
    from vgi_fast.wire.arrow import Schema

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["RowTransformFunction", "RowTransformSpec", "row_transform"]

KIND: Final = "row transform"


class RowTransformSpec(TableInOutSpec):
    """A function over columns that are its positional arguments."""

    __slots__ = ()

    input_from_args = True

    def check_shape(self) -> None:
        where = self.where
        if self.has_finalize:
            raise DefinitionError(f"{where} cannot finalize: its input has no end")
        if self.signature.table is not None:
            raise DefinitionError(f"{where}: its arguments are its columns, not a table")
        if not self.signature.columns:
            raise DefinitionError(f"{where} has no column")
        if self.columns_hook is None and self.fixed_schema is None and "on_bind" not in self.hooks:
            raise DefinitionError(f'{where} has no columns to give, pass columns={{"name": "int64"}}')
        self.options.stability = self.options.stability or "CONSISTENT"

    def check_columns(self, input_schema: Schema | None) -> None:
        columns = self.signature.columns
        given = len(input_schema) if input_schema is not None else 0
        fixed = len(columns) - columns[-1].varargs
        if given < fixed or (given > fixed and not columns[-1].varargs):
            raise ArgumentError(f"{self.where}: {self.describe()} got {given} columns")

    def input_schema(self, given: Schema) -> Schema:
        """Names as bound, types as declared: batches are cast to it before the author sees them."""
        columns = self.signature.columns
        fields = []
        for index, field in enumerate(given):
            declared = columns[min(index, len(columns) - 1)].type
            fields.append(field if declared in (None, field.type) else type(field)(field.name, declared))
        return type(given)(fields)


class RowTransformFunction(TableInOutGenerator[TArgs, TState]):
    """Base of row transforms written as classes. Positions of the arguments class are columns.

    ``process`` emits one row for each row of ``batch``, or others together with ``parent_rows``.
    """

    HOOKS: ClassVar[Any] = {name: own for name, own in TableInOutGenerator.HOOKS.items() if name != "finalize"}


@overload
def row_transform(function: F, /) -> F: ...
@overload
def row_transform(**options: Unpack[InOutOptions]) -> Callable[[F], F]: ...
def row_transform(function: Any = None, /, **options: Any) -> Any:
    """Declare a row transform; the function itself stays as it is.

    >>> from vgi_fast import Int64, row_transform
    >>> @row_transform(columns={"square": "int64"})
    ... def squares(n: Int64):
    ...     return {"square": n * n}
    """
    if function is not None and not callable(function):
        raise DefinitionError(f"@row_transform takes a function, got {function!r}; options are keywords")

    def decorate(function: F) -> F:
        attach_spec(function, row_transform_spec(function, options))
        return function

    return decorate if function is None else decorate(function)


def row_transform_spec(function: Any, options: dict[str, Any]) -> RowTransformSpec:
    """Spec of a decorated function."""
    name = str(options.get("name") or getattr(function, "__name__", ""))
    where = f"{KIND} '{name}'"
    checked = FunctionOptions(where, options)
    return RowTransformSpec(name, read_row_transform(function, where, docs_reader(function)), checked, function, where)


def row_transform_class_spec(cls: type[RowTransformFunction[Any, Any]]) -> RowTransformSpec:
    """Spec of a function class, made once."""
    if meta.hook(cls, "process", TableInOutGenerator) is None:
        raise DefinitionError(f"{KIND} {cls.__qualname__}: the class has no method 'process'")
    for name in ("finalize", "finish"):
        if meta.hook(cls, name, TableInOutGenerator) is not None:
            raise DefinitionError(f"{KIND} {cls.__qualname__} cannot finalize: its input has no end")
    found: RowTransformSpec = class_spec(cls, KIND, RowTransformSpec, (), class_options(cls), columns=True)
    return found
