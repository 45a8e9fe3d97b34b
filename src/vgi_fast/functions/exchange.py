"""Functions that are fed batches and answer each one: INSERT, UPDATE and DELETE of a table.

    class InsertPeople(TableWriteFunction[None]):
        @classmethod
        def process(cls, params, state, rows):
            return people.append(rows.to_pydict())    # the number of rows, or with RETURNING the rows

DuckDB sends at most 2048 rows at a time and waits for the answer to each batch (section 5 of the catalog
document). Rows of an INSERT hold every column of the table but the row id; an UPDATE sends the changed columns in the
order of its SET list, then the row id; a DELETE sends the row id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic

from vgi_fast.errors import ArgumentError, DefinitionError, SchemaValidationError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions import meta
from vgi_fast.functions.batches import BatchShaper
from vgi_fast.functions.context import WRITE_OPTIONS, BindResponse, GlobalInitResponse, TArgs
from vgi_fast.functions.signature import BY_KEYWORD, NAMED, Parameter, Signature, Slot
from vgi_fast.functions.signature_reading import read_arguments_class
from vgi_fast.functions.spec import BindOutcome, FunctionOptions, FunctionSpec, attach_spec, attached_specs, docs_reader
from vgi_fast.functions.table import TState, arguments_class, filled_parameters, table_schema
from vgi_fast.wire.arrow import RecordBatch, Schema, type_named

if TYPE_CHECKING:
    from vgi_fast.functions.context import BindParams, ProcessParams

__all__ = ["Exchange", "ExchangeSpec", "TableWriteFunction"]

_HOOKS: Final = ("on_bind", "returning", "initial_state", "process", "on_finish", "on_abort")


class TableWriteFunction(Generic[TArgs, TState]):
    """Base of functions that write to a table.

    The first type argument is the class of the arguments (fields ``Annotated[T, Arg(...)]``) or None, the second the
    state of one statement. Hooks are class or static methods.
    """

    @classmethod
    def on_bind(cls, params: BindParams[TArgs]) -> Any:
        """The output columns. By default one column ``count``, or with RETURNING those of ``returning``."""
        raise NotImplementedError

    @classmethod
    def returning(cls, params: BindParams[TArgs]) -> Any:
        """Columns of the table without its row id. By default those that came in, which is right for an INSERT."""
        raise NotImplementedError

    @classmethod
    def initial_state(cls, params: ProcessParams[TArgs]) -> TState:
        raise NotImplementedError

    @classmethod
    def process(cls, params: ProcessParams[TArgs], state: TState, rows: RecordBatch) -> Any:
        """How many rows were written; the rows themselves if ``params.write_options.return_chunks``."""
        raise NotImplementedError

    @classmethod
    def on_finish(cls, params: ProcessParams[TArgs], state: TState) -> None:
        """Every batch was answered. An error here fails the statement."""
        raise NotImplementedError

    @classmethod
    def on_abort(cls, params: ProcessParams[TArgs], state: TState) -> None:
        """The statement failed or the client has gone."""
        raise NotImplementedError

    if not TYPE_CHECKING:

        def __class_getitem__(cls, items):
            """The state may be left out."""
            return super().__class_getitem__(filled_parameters(cls, items))


class ExchangeSpec(FunctionSpec):
    """One answer for each input batch. DuckDB's name for it is a table function with input."""

    __slots__ = ("args_class", "hooks", "owner")

    kind = "table"
    function_type = "TABLE"
    object_type = "TABLE_FUNCTION"
    is_exchange = True

    def __init__(
        self,
        name: str,
        signature: Signature,
        options: FunctionOptions,
        where: str,
        owner: type[TableWriteFunction[Any, Any]],
        args_class: type | None,
    ) -> None:
        super().__init__(name, signature, options, owner, where)
        self.owner = owner
        self.args_class = args_class
        self.hooks = {name for name in _HOOKS if meta.hook(owner, name, TableWriteFunction) is not None}

    def make_args(self, values: dict[str, Any]) -> Any:
        own = {name: value for name, value in values.items() if name != WRITE_OPTIONS}
        return self.args_class(**own) if self.args_class is not None else None

    def check_columns(self, input_schema: Schema | None) -> None:
        if input_schema is None:
            raise ArgumentError(f"{self.where} needs input rows")

    def bind(self, params: BindParams[Any]) -> BindOutcome:
        if "on_bind" in self.hooks:
            answer = self.owner.on_bind(params)
            response = answer if isinstance(answer, BindResponse) else BindResponse(answer)
            return BindOutcome(table_schema(response.output_schema, self.where), response.opaque_data)
        if not params.write_options.return_chunks:
            return BindOutcome(count_schema())
        if "returning" in self.hooks:
            return BindOutcome(table_schema(self.owner.returning(params), self.where))
        assert params.input_schema is not None
        return BindOutcome(params.input_schema)

    def start(self, params: ProcessParams[Any]) -> tuple[GlobalInitResponse, Exchange]:
        """Begin one statement."""
        return GlobalInitResponse(), Exchange(self, params)


class Exchange:
    """One statement being served: ``step`` for each batch, then either ``finish`` or ``abort``."""

    __slots__ = ("_counts", "_owner", "_params", "_shaper", "_spec", "_state")

    def __init__(self, spec: ExchangeSpec, params: ProcessParams[Any]) -> None:
        self._spec = spec
        self._owner = spec.owner
        self._params = params
        self._shaper = BatchShaper(params.output_schema, spec.where)
        self._counts = params.output_schema.names == ["count"]
        self._state = spec.owner.initial_state(params) if "initial_state" in spec.hooks else None

    def step(self, rows: RecordBatch) -> RecordBatch:
        answer = self._owner.process(self._params, self._state, rows)
        if isinstance(answer, int):
            if not self._counts:
                raise SchemaValidationError(
                    f"{self._spec.where}: RETURNING wants the rows ({self._params.output_schema.names}), "
                    f"got the number {answer}"
                )
            return RecordBatch.from_pydict(self._params.output_schema, {"count": [answer]})
        batch = self._shaper.one(answer)
        if batch is None:
            parts = list(self._shaper.parts(answer))
            if len(parts) != 1:
                raise SchemaValidationError(
                    f"{self._spec.where}: each batch is answered by one, got a table of {len(parts)} chunks"
                )
            batch = parts[0]
        return batch

    def finish(self) -> None:
        if "on_finish" in self._spec.hooks:
            self._owner.on_finish(self._params, self._state)

    def abort(self) -> None:
        if "on_abort" in self._spec.hooks:
            self._owner.on_abort(self._params, self._state)


_count: Schema | None = None


def count_schema() -> Schema:
    global _count
    if _count is None:
        _count = Schema.parse("count: int64!")
    return _count


def class_spec(cls: type[TableWriteFunction[Any, Any]]) -> ExchangeSpec:
    """Spec of a function class, made once."""
    for known in attached_specs(cls):
        if isinstance(known, ExchangeSpec):
            return known
    given = meta.meta_options(cls)
    name = str(given.get("name") or meta.default_name(cls))
    where = f"write function '{name}' ({cls.__qualname__})"
    if meta.hook(cls, "process", TableWriteFunction) is None:
        raise DefinitionError(f"{where}: the class has no method 'process'")
    args_class = arguments_class(cls, where, TableWriteFunction)
    slots = [] if args_class is None else read_arguments_class(args_class, where, docs_reader(args_class)).slots
    options = Parameter(WRITE_OPTIONS, NAMED, type_named("binary"), ann.VALUE, default=None)
    signature = Signature([*slots, Slot(WRITE_OPTIONS, BY_KEYWORD, options)], where)
    spec = ExchangeSpec(name, signature, FunctionOptions(where, given), where, cls, args_class)
    attach_spec(cls, spec)
    return spec
