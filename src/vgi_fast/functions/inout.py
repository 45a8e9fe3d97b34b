"""Table-in-out functions: one batch out for each batch in, and what remains at the end.

    @worker.table_in_out
    def above(data: pa.RecordBatch, least: float) -> pa.RecordBatch:      # FROM above((FROM t), 0.5)
        return data.filter(pc.field("value") >= least)

    @worker.table_in_out(columns={"total": "int64"})
    def running_total(batches: Iterator[TableInput]) -> Iterator[dict[str, Any]]:
        total = 0
        for batch in batches:
            total += batch.column("value").to_numpy().sum()
            yield None                  # one yield for each batch; None is no rows
        yield {"total": [total]}        # what is left when the input has ended

The table arrives as a core batch (``TableInput``, ``RecordBatch``), a pyarrow batch or table, or a dict of NumPy
columns, as annotated. DuckDB runs one stream for each of its threads unless ``max_workers`` is 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, overload

from vgi_fast.errors import ArgumentError, DefinitionError, SchemaValidationError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions import meta
from vgi_fast.functions.batches import BatchShaper
from vgi_fast.functions.caching import CacheControl, StreamCache
from vgi_fast.functions.classes import ClassSpec, FunctionClass, TArgs, TState, class_spec
from vgi_fast.functions.context import BindResponse, GlobalInitResponse, TableCardinality
from vgi_fast.functions.emission import Emission
from vgi_fast.functions.output import ExchangeCollector, GeneratorProducer, NonEmptyProducer
from vgi_fast.functions.scalar import inject
from vgi_fast.functions.signature import AS_LIST, BY_POSITION, COLUMN, ROWS, SPREAD, TABLE, Parameter, read_table
from vgi_fast.functions.spec import BindOutcome, FunctionOptions, attach_spec, docs_reader
from vgi_fast.functions.table import table_schema
from vgi_fast.wire.arrow import Array, RecordBatch, Schema, reshape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypedDict, TypeVar, Unpack

    from vgi_fast.functions.caching import Declared
    from vgi_fast.functions.context import BindParams, InitParams, ProcessParams
    from vgi_fast.functions.output import Producer

    F = TypeVar("F", bound=Callable[..., Any])

    class InOutOptions(TypedDict, total=False):
        """Options of ``@table_in_out``."""

        columns: Any
        finish: Callable[..., Any]
        has_finalize: bool
        name: str
        schema: str
        description: str
        comment: str
        stability: str
        examples: list[Any]
        categories: list[str]
        tags: dict[str, str]
        cardinality: Any
        projection_pushdown: bool
        order_preservation: str
        max_workers: int
        required_settings: list[str]
        required_secrets: list[Any]
        cache_control: Declared


__all__ = ["InOutCall", "TableInOutFunction", "TableInOutGenerator", "TableInOutSpec", "table_in_out"]

KIND: Final = "table-in-out function"
OPTIONS: Final = ("has_finalize",)


class InOutCall(Protocol):
    """One substream being served."""

    def step(self, batch: RecordBatch) -> RecordBatch:
        """The answer to one batch."""

    def finish(self) -> Iterator[Any]:
        """What remains, in any form that ``step`` takes."""

    def cancel(self) -> None:
        """The client asked to stop."""


class TableInOutSpec(ClassSpec):
    """A function over a table. Without declared columns it gives those that it gets."""

    __slots__ = ("columns_hook", "finish_function", "fixed_schema", "has_finalize")

    kind = "table"
    function_type = "TABLE"
    object_type = "TABLE_FUNCTION"

    input_from_args = False
    finishers: tuple[str, ...] = ("finalize", "finish")

    def __init__(self, *given: Any, finish: Callable[..., Any] | None = None, **more: Any) -> None:
        super().__init__(*given, **more)
        self.finish_function = finish
        columns = self.options.columns
        self.columns_hook: Callable[[BindParams[Any]], Any] | None = None
        self.fixed_schema: Schema | None = None
        if "on_bind" in self.hooks or columns is None:
            pass
        elif callable(columns) and not isinstance(columns, type) and not hasattr(columns, "__arrow_c_schema__"):
            self.columns_hook = columns
        else:
            self.fixed_schema = table_schema(columns, self.where)
        if self.options.returns is not None or self.options.null_handling is not None:
            raise DefinitionError(f"{self.where}: returns and null_handling are options of scalar functions")
        forced = self.options.extra.get("has_finalize")
        self.has_finalize = self.finishes if forced is None else bool(forced)
        self.check_shape()
        self.options.cache_control.for_input(stateful=self.keeps_state)

    @property
    def keeps_state(self) -> bool:
        """An answer depends on more than the batch that it answers."""
        return self.has_finalize or self.consumes

    def check_shape(self) -> None:
        if self.signature.table is None:
            raise DefinitionError(
                f"{self.where} has no parameter for its table",
                hint="annotate one with TableInput, RecordBatch, pyarrow.RecordBatch, or an Iterator of these",
            )

    @property
    def finishes(self) -> bool:
        """The function may give rows when its input has ended."""
        if self.owner is not None:
            return any(name in self.hooks for name in self.finishers)
        return self.finish_function is not None or self.consumes

    @property
    def consumes(self) -> bool:
        """A plain function over an iterator of all batches."""
        table = self.signature.table
        return table is not None and table.form.startswith(ann.EACH)

    def info_values(self, schema_name: str) -> dict[str, Any]:
        return {
            **super().info_values(schema_name),
            "projection_pushdown": self.options.projection_pushdown,
            "filter_pushdown": False,
            "sampling_pushdown": False,
            "late_materialization": False,
            "order_preservation": self.options.order_preservation or "PRESERVES_ORDER",
            "max_workers": self.options.max_workers,
            "has_finalize": self.has_finalize,
            "input_from_args": self.input_from_args,
        }

    def check_columns(self, input_schema: Schema | None) -> None:
        if input_schema is None:
            raise ArgumentError(f"{self.where} takes a table")

    def bind(self, params: BindParams[Any]) -> BindOutcome:
        if self.fixed_schema is not None:
            return BindOutcome(self.fixed_schema)
        if self.columns_hook is not None:
            return BindOutcome(table_schema(self.columns_hook(params), self.where))
        if "on_bind" in self.hooks:
            answer = self.call(self.target(), "on_bind", params)
            response = answer if isinstance(answer, BindResponse) else BindResponse(answer)
            return BindOutcome(self.bound_schema(response.output_schema), response.opaque_data)
        assert params.input_schema is not None
        return BindOutcome(params.input_schema)

    def bound_schema(self, value: Any) -> Schema:
        return table_schema(value, self.where)

    def cardinality(self, params: BindParams[Any]) -> TableCardinality:
        if "cardinality" in self.hooks:
            return TableCardinality.of(self.call(self.target(), "cardinality", params), self.where)
        declared = self.options.cardinality
        return TableCardinality.of(declared(params.args) if callable(declared) else declared, self.where)

    def start(self, params: ProcessParams[Any], values: dict[str, Any]) -> tuple[GlobalInitResponse, InOutCall]:
        """Begin one substream."""
        shaper = InOutShaper(params, self.where)
        out = ExchangeCollector(
            shaper, params.log, StreamCache(self.options.cache_control, params), self.input_from_args
        )
        response = GlobalInitResponse(self.options.max_workers or 1)
        if self.owner is None:
            params.init_response = response
            return response, self.function_call(params, values, out)
        target = self.target()
        answer = self.call(target, "on_init", params) if "on_init" in self.hooks else None
        if answer is not None:
            response = answer if isinstance(answer, GlobalInitResponse) else GlobalInitResponse(answer)
        params.init_response = response
        return response, ClassCall(self, target, params, out)

    def function_call(self, params: ProcessParams[Any], values: dict[str, Any], out: ExchangeCollector) -> InOutCall:
        if self.consumes:
            return ConsumingCall(self, params, values, out)
        finish = self.finish_function
        return FunctionCall(Arguments(self, params, values), self.source, out, finish)

    def producer(self, call: InOutCall, params: ProcessParams[Any]) -> Producer:
        """The FINALIZE phase. An empty batch would end it, so there is none."""
        shaper = InOutShaper(params, self.where)
        produced = (one for one in call.finish() if one is not None)
        return NonEmptyProducer(GeneratorProducer(produced, shaper, Emission(self.where)))


class InOutShaper(BatchShaper):
    """Also takes batches of all bound columns by position of the projected ones."""

    __slots__ = ("_empty", "_full", "_full_names", "_ids")

    def __init__(self, params: InitParams[Any], where: str) -> None:
        super().__init__(params.output_schema, where)
        self._full = params.full_schema
        self._full_names = params.full_schema.names
        self._ids = params.projection_ids
        self._empty: RecordBatch | None = None

    def batch(self, produced: Any) -> RecordBatch:
        """Exactly one batch, whatever the form; None is no rows."""
        if type(produced) is RecordBatch:
            return self._from_batch(produced)
        if produced is None:
            return self.empty()
        if hasattr(produced, "__next__"):
            return self.joined([self.batch(one) for one in produced if one is not None])
        one = self.one(produced)
        return one if one is not None else self.joined(list(self.parts(produced)))

    def joined(self, batches: list[RecordBatch]) -> RecordBatch:
        filled = [batch for batch in batches if batch.num_rows]
        if len(filled) <= 1:
            return filled[0] if filled else self.empty()
        import pyarrow as pa

        table = pa.Table.from_batches([batch.to_arrow() for batch in filled]).combine_chunks()
        return self._from_batch(RecordBatch.from_arrow(table.to_batches()[0]))

    def provenance(self, parents: Any, rows: int, input_rows: int) -> bytes | None:
        """The input row of each output row as it travels (section 7.5); none for no rows."""
        import binascii

        import numpy as np

        found = np.ascontiguousarray(parents, dtype="<i4")
        if found.shape != (rows,):
            raise SchemaValidationError(f"{self._where}: {found.size} parent rows for {rows} output rows")
        if rows == 0:
            return None
        if found.min() < 0 or found.max() >= input_rows:
            bad = found[(found < 0) | (found >= input_rows)][0]
            raise SchemaValidationError(
                f"{self._where}: parent row {bad} is out of range; the batch has {input_rows} rows"
            )
        return binascii.b2a_base64(found.tobytes(), newline=False)

    def unrelated(self, rows: int, input_rows: int) -> SchemaValidationError:
        return SchemaValidationError(
            f"{self._where}: {rows} output rows for {input_rows} input rows without parent rows",
            hint="return RowsOf(rows, parents), or emit with parent_rows=",
        )

    def empty(self) -> RecordBatch:
        if self._empty is None:
            self._empty = super().empty()
        return self._empty

    def _from_batch(self, produced: RecordBatch) -> RecordBatch:
        schema = produced.schema
        if schema is self._full or schema.names == self._full_names:
            found = reshape(produced, self.schema, self._ids)
            if found is not None:
                return found
        found = super()._from_batch(produced)
        return found if not found.metadata else found.with_metadata(None)


class Arguments:
    """Arguments of a plain function: constants and injected values once, the table or its columns each time."""

    __slots__ = ("_columns", "_fixed", "_holes", "_keywords", "_listed", "_rows", "_tail")

    def __init__(self, spec: TableInOutSpec, params: ProcessParams[Any], values: dict[str, Any]) -> None:
        self._fixed: list[Any] = []
        self._keywords: dict[str, Any] = {}
        self._holes: list[tuple[int, int, Callable[[Any], Any]]] = []
        """Place among the arguments, column (-1 for the table, -2 for the number of rows), conversion."""
        self._tail: tuple[int, Callable[[Any], Any]] | None = None
        """First of the varargs columns."""
        self._listed: str | None = None
        self._rows: str | None = None
        """Keywords of a list of the varargs columns, and of the number of rows."""
        self._columns = 0
        for slot in spec.signature.slots:
            self._place(spec, slot, params, values)

    def _place(self, spec: TableInOutSpec, slot: Any, params: ProcessParams[Any], values: dict[str, Any]) -> None:
        source = slot.source
        if isinstance(source, Parameter) and source.role == TABLE:
            self._hole(-1, BATCH_FORMS[source.form.removeprefix(ann.EACH)])
            return
        if isinstance(source, Parameter) and source.role == COLUMN:
            if source.varargs:
                self._tail = (self._columns, COLUMN_FORMS[source.form])
                self._listed = slot.python_name if slot.passing == AS_LIST else None
            else:
                self._hole(self._columns, COLUMN_FORMS[source.form])
                self._columns += 1
            return
        by_position = slot.passing == BY_POSITION and self._listed is None
        if not isinstance(source, Parameter) and source.kind == ROWS:
            if by_position:
                self._hole(-2, _itself)
            else:
                self._rows = slot.python_name
            return
        value = values[source.python_name] if isinstance(source, Parameter) else inject(spec, source, params)
        if slot.passing == SPREAD:
            self._fixed.extend(value)
        elif by_position:
            self._fixed.append(value)
        else:
            self._keywords[slot.python_name] = list(value) if slot.passing == AS_LIST else value

    def _hole(self, column: int, form: Callable[[Any], Any]) -> None:
        self._holes.append((len(self._fixed), column, form))
        self._fixed.append(None)

    def apply(self, function: Callable[..., Any], batch: RecordBatch) -> Any:
        arguments = self._fixed.copy()
        for place, column, form in self._holes:
            given = batch if column == -1 else batch.num_rows if column == -2 else batch.column(column)
            arguments[place] = form(given)
        keywords = self._keywords if self._rows is None else {**self._keywords, self._rows: batch.num_rows}
        if self._tail is not None:
            first, form = self._tail
            tail = [form(batch.column(index)) for index in range(first, batch.num_columns)]
            if self._listed is not None:
                return function(*arguments, **keywords, **{self._listed: tail})
            arguments.extend(tail)
        return function(*arguments, **keywords)

    def apply_to_all(self, function: Callable[..., Any], batches: Any) -> Any:
        """The table's place is taken by an iterator over its batches."""
        arguments = self._fixed.copy()
        arguments[self._holes[0][0]] = batches
        return function(*arguments, **self._keywords)


class FunctionCall:
    """A function that is called for each batch."""

    __slots__ = ("_arguments", "_finish", "_function", "_out")

    def __init__(
        self, arguments: Arguments, function: Callable[..., Any], out: ExchangeCollector, finish: Any = None
    ) -> None:
        self._arguments = arguments
        self._function = function
        self._out = out
        self._finish = finish

    def step(self, batch: RecordBatch) -> RecordBatch:
        return self._out.answer(self._arguments.apply(self._function, batch), batch.num_rows)

    def finish(self) -> Iterator[Any]:
        return listed(self._finish()) if self._finish is not None else iter(())

    def cancel(self) -> None:
        pass


class Inbox:
    """The batches that a generator iterates over; holds the one it has not taken yet."""

    __slots__ = ("_form", "batch", "ended", "where")

    def __init__(self, form: Callable[[RecordBatch], Any], where: str) -> None:
        self.batch: RecordBatch | None = None
        self.ended = False
        self.where = where
        self._form = form

    def __iter__(self) -> Inbox:
        return self

    def __next__(self) -> Any:
        batch, self.batch = self.batch, None
        if batch is not None:
            return self._form(batch)
        if self.ended:
            raise StopIteration
        raise ArgumentError(
            f"{self.where} asks for the next batch before it has answered the last one",
            hint="yield once for each batch; `yield None` for one that gives no rows",
        )


class ConsumingCall:
    """A generator over all batches. It runs until it has yielded for the batch it was given."""

    __slots__ = ("_generator", "_inbox", "_out")

    def __init__(
        self, spec: TableInOutSpec, params: ProcessParams[Any], values: dict[str, Any], out: ExchangeCollector
    ) -> None:
        table = spec.signature.table
        assert table is not None
        self._inbox = Inbox(BATCH_FORMS[table.form.removeprefix(ann.EACH)], spec.where)
        self._out = out
        self._generator: Iterator[Any] | None = Arguments(spec, params, values).apply_to_all(spec.source, self._inbox)
        if not hasattr(self._generator, "__next__"):
            raise ArgumentError(f"{spec.where} takes an iterator of batches, so it has to be a generator")

    def step(self, batch: RecordBatch) -> RecordBatch:
        """Further yields for the batch before come first: the generator is only resumed now."""
        inbox = self._inbox
        inbox.batch = batch
        produced: list[Any] = []
        while inbox.batch is not None and self._generator is not None:
            try:
                produced.append(next(self._generator))
            except StopIteration:
                self._generator = None
        inbox.batch = None
        return self._out.answer(produced[0] if len(produced) == 1 else iter(produced), batch.num_rows)

    def finish(self) -> Iterator[Any]:
        self._inbox.ended = True
        return self._generator or iter(())

    def cancel(self) -> None:
        close = getattr(self._generator, "close", None)
        if close is not None:
            close()


class ClassCall:
    """Hooks of a class. ``process`` emits, ``transform`` returns."""

    __slots__ = ("_cancel", "_form", "_out", "_params", "_process", "_spec", "_state", "_target", "_transform")

    def __init__(self, spec: TableInOutSpec, target: Any, params: ProcessParams[Any], out: ExchangeCollector) -> None:
        self._spec = spec
        self._target = target
        self._params = params
        self._out = out
        self._state = spec.call(target, "initial_state", params) if "initial_state" in spec.hooks else None
        self._process = spec.bound(target, "process") if "process" in spec.hooks else None
        self._transform = spec.bound(target, "transform") if "transform" in spec.hooks else None
        self._form = hook_form(target, "process" if self._process is not None else "transform", spec.where)

    def step(self, batch: RecordBatch) -> RecordBatch:
        given = self._form(batch)
        if self._process is not None:
            out = self._out
            out.begin()
            self._process(self._params, self._state, given, out)
            return out.emitted(batch.num_rows)
        assert self._transform is not None
        return self._out.answer(self._transform(given, self._params, self._state), batch.num_rows)

    def finish(self) -> Iterator[Any]:
        for name in ("finalize", "finish"):
            if name in self._spec.hooks:
                return listed(self._spec.bound(self._target, name)(self._params, self._state))
        return iter(())

    def cancel(self) -> None:
        if "on_cancel" in self._spec.hooks:
            self._spec.bound(self._target, "on_cancel")(self._params, self._state)


def listed(produced: Any) -> Iterator[Any]:
    """Batches of a finishing hook: none, one, a list of them, or an iterator."""
    if produced is None:
        return iter(())
    if isinstance(produced, (list, tuple)) and not (produced and isinstance(produced[0], (int, float, str, bytes))):
        return iter(produced)
    return produced if hasattr(produced, "__next__") else iter((produced,))


def hook_form(target: Any, name: str, where: str) -> Callable[[RecordBatch], Any]:
    """How a hook wants its batch, from the annotation of its parameter ``batch``."""
    method = getattr(target, name)
    found = ann.annotations_of(getattr(method, "__func__", method), where).get("batch")
    form = None if found is None else ann.table_form(ann.Annotation(found))
    return BATCH_FORMS.get(form or ann.BATCH, _itself)


def _itself(batch: Any) -> Any:
    return batch


def _arrow_table(batch: RecordBatch) -> Any:
    import pyarrow as pa

    return pa.Table.from_batches([batch.to_arrow()])


def masked(column: Array) -> Any:
    """As NumPy array; masked where something is null and its type cannot say so."""
    values = column.to_numpy()
    valid = column.valid()
    if valid is None or values.dtype == object:
        return values
    import numpy.ma

    return numpy.ma.MaskedArray(values, mask=~valid)


def _columns(batch: RecordBatch) -> dict[str, Any]:
    return {name: masked(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}


BATCH_FORMS: Final[dict[str, Callable[[RecordBatch], Any]]] = {
    ann.BATCH: _itself,
    ann.ARROW_BATCH: RecordBatch.to_arrow,
    ann.ARROW_TABLE: _arrow_table,
    ann.COLUMNS: _columns,
}
COLUMN_FORMS: Final[dict[str, Callable[[Array], Any]]] = {
    ann.NUMPY: masked,
    ann.MASKED: masked,
    ann.ARROW: Array.to_arrow,
    ann.ARRAY: _itself,
}


class TableInOutGenerator(FunctionClass[TArgs, TState]):
    """Base of table-in-out functions that emit. ``process`` is called for each batch of the table.

    The state is that of one substream: of one thread of DuckDB, unless ``Meta.max_workers`` is 1.
    """

    HOOKS: ClassVar[Any] = {
        "on_bind": ("params",),
        "on_init": ("params",),
        "cardinality": ("params",),
        "initial_state": ("params",),
        "process": ("params", "state", "batch", "out"),
        "finalize": ("params", "state"),
        "on_cancel": ("params", "state"),
    }
    FIXED_SCHEMA: ClassVar[Any] = None
    """Columns, when they depend on nothing. Without it and ``on_bind``, they are those of the table."""
    CACHE_CONTROL: ClassVar[CacheControl | None] = None

    @classmethod
    def on_bind(cls, params: BindParams[TArgs], *args: Any, **kwargs: Any) -> Any:
        """The output columns: a schema in any form, or a ``BindResponse``."""
        raise NotImplementedError

    @classmethod
    def on_init(cls, params: InitParams[TArgs], *args: Any, **kwargs: Any) -> GlobalInitResponse | int | None:
        """Runs once for each substream."""
        raise NotImplementedError

    @classmethod
    def cardinality(cls, params: BindParams[TArgs], *args: Any, **kwargs: Any) -> TableCardinality | int | None:
        """Number of rows, if it is known at plan time."""
        raise NotImplementedError

    @classmethod
    def initial_state(cls, params: ProcessParams[TArgs], *args: Any, **kwargs: Any) -> TState:
        """State of one substream."""
        raise NotImplementedError

    @classmethod
    def process(cls, *args: Any, **kwargs: Any) -> None:
        """``process(params, state, batch, out)``: Emit at most one batch.

        ``batch`` has the form of its annotation, a core batch by default.
        """
        raise NotImplementedError

    @classmethod
    def finalize(cls, *args: Any, **kwargs: Any) -> Any:
        """``finalize(params, state)``: Batches to give when the input has ended: a list, or an iterator."""
        raise NotImplementedError

    @classmethod
    def on_cancel(cls, *args: Any, **kwargs: Any) -> None:
        """``on_cancel(params, state)``: The query stopped early; best effort."""
        raise NotImplementedError


class TableInOutFunction(FunctionClass[TArgs, TState]):
    """Base of table-in-out functions that return: ``transform`` a batch for each batch, ``finish`` the rest."""

    HOOKS: ClassVar[Any] = {
        **{name: own for name, own in TableInOutGenerator.HOOKS.items() if name not in ("process", "finalize")},
        "transform": ("batch", "params", "state"),
        "finish": ("params", "state"),
    }
    FIXED_SCHEMA: ClassVar[Any] = None
    CACHE_CONTROL: ClassVar[CacheControl | None] = None

    @classmethod
    def transform(cls, *args: Any, **kwargs: Any) -> Any:
        """``transform(batch, params, state)``: The answer in any form; None is no rows."""
        raise NotImplementedError

    @classmethod
    def finish(cls, *args: Any, **kwargs: Any) -> Any:
        """``finish(params, state)``: Batches to give when the input has ended: a list, or an iterator."""
        raise NotImplementedError


@overload
def table_in_out(function: F, /) -> F: ...
@overload
def table_in_out(**options: Unpack[InOutOptions]) -> Callable[[F], F]: ...
def table_in_out(function: Any = None, /, **options: Any) -> Any:
    """Declare a table-in-out function; the function itself stays as it is.

    >>> from vgi_fast import TableInput, table_in_out
    >>> @table_in_out
    ... def first_rows(data: TableInput, count: int):
    ...     return data.slice(0, min(count, data.num_rows))
    """
    if function is not None and not callable(function):
        raise DefinitionError(f"@table_in_out takes a function, got {function!r}; options are keywords")

    def decorate(function: F) -> F:
        attach_spec(function, in_out_spec(function, options))
        return function

    return decorate if function is None else decorate(function)


def in_out_spec(function: Any, options: dict[str, Any]) -> TableInOutSpec:
    """Spec of a decorated function."""
    given = dict(options)
    finish = given.pop("finish", None)
    name = str(given.get("name") or getattr(function, "__name__", ""))
    where = f"{KIND} '{name}'"
    checked = FunctionOptions(where, given, OPTIONS)
    return TableInOutSpec(
        name, read_table(function, where, docs_reader(function)), checked, function, where, finish=finish
    )


def in_out_class_spec(cls: type[FunctionClass[Any, Any]]) -> TableInOutSpec:
    """Spec of a function class, made once."""
    work = "process" if issubclass(cls, TableInOutGenerator) else "transform"
    if meta.hook(cls, work, TableInOutGenerator if work == "process" else TableInOutFunction) is None:
        raise DefinitionError(f"{KIND} {cls.__qualname__}: the class has no method '{work}'")
    found: TableInOutSpec = class_spec(cls, KIND, TableInOutSpec, OPTIONS, class_options(cls), table=True)
    return found


def class_options(cls: Any) -> dict[str, Any]:
    """Options that are attributes of the class itself."""
    found = {}
    if cls.FIXED_SCHEMA is not None:
        found["columns"] = cls.FIXED_SCHEMA
    if cls.CACHE_CONTROL is not None:
        found["cache_control"] = cls.CACHE_CONTROL
    return found
