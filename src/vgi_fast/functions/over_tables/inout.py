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

from typing import TYPE_CHECKING, Any, ClassVar, Final, overload

from vgi_fast.errors import ArgumentError, DefinitionError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions import meta
from vgi_fast.functions.caching import CacheControl, StreamCache
from vgi_fast.functions.classes import ClassSpec, FunctionClass, TArgs, TState, class_spec
from vgi_fast.functions.context import BindResponse, GlobalInitResponse, TableCardinality
from vgi_fast.functions.emission import Emission
from vgi_fast.functions.output import ExchangeCollector, GeneratorProducer, NonEmptyProducer
from vgi_fast.functions.over_tables.inout_calls import Arguments, ClassCall, ConsumingCall, FunctionCall, InOutShaper
from vgi_fast.functions.signature_reading import read_table
from vgi_fast.functions.spec import BindOutcome, FunctionOptions, attach_spec, docs_reader
from vgi_fast.functions.table import table_schema
from vgi_fast.wire.arrow import Schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypedDict, TypeVar, Unpack

    from vgi_fast.functions.caching import Declared
    from vgi_fast.functions.context import BindParams, InitParams, ProcessParams
    from vgi_fast.functions.output import Producer
    from vgi_fast.functions.over_tables.inout_calls import InOutCall

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


__all__ = ["TableInOutFunction", "TableInOutGenerator", "TableInOutSpec", "table_in_out"]

KIND: Final = "table-in-out function"
OPTIONS: Final = ("has_finalize",)


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
