"""Table functions: rows made from constant arguments, one batch per tick.

    @worker.table(columns={"n": "int64"}, cardinality=lambda args: args.count)
    def numbers(count: int, *, batch_size: int = 2048) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, count, batch_size):
            yield {"n": np.arange(start, min(start + batch_size, count))}

A parameter without default is positional, one with a default is a named argument. The class form has
hooks for parallel streams, state and cancellation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, get_args, get_origin, overload

from vgi_fast.errors import ArgumentError, DefinitionError, ProtocolError, VgiError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions import meta
from vgi_fast.functions.batches import BatchShaper
from vgi_fast.functions.caching import CacheControl, StreamCache
from vgi_fast.functions.context import BindResponse, GlobalInitResponse, TableCardinality
from vgi_fast.functions.emission import Emission
from vgi_fast.functions.injection import inject
from vgi_fast.functions.output import DenseProducer, GeneratorProducer, OutputCollector, ProcessProducer
from vgi_fast.functions.partitions import (
    NOT_PARTITIONED,
    SINGLE_VALUE,
    PartitionTagger,
    annotated,
    check_declaration,
    partition_columns,
)
from vgi_fast.functions.signature import AS_LIST, BY_POSITION, SETTING, SPREAD, Injection, Parameter, Signature
from vgi_fast.functions.signature_reading import read_arguments_class, read_hook, read_table
from vgi_fast.functions.spec import (
    BindOutcome,
    FunctionOptions,
    FunctionSpec,
    attach_spec,
    attached_specs,
    docs_reader,
    own_lists,
)
from vgi_fast.wire.arrow import BatchBuilder, Field, Schema, type_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypedDict, Unpack

    from typing_extensions import TypeVar

    from vgi_fast.functions.caching import Declared
    from vgi_fast.functions.context import BindParams, ExecutionParams, InitParams, ProcessParams
    from vgi_fast.functions.output import Producer

    F = TypeVar("F", bound=Callable[..., Any])
    TArgs = TypeVar("TArgs", default=Any)
    TState = TypeVar("TState", default=Any)

    class TableOptions(TypedDict, total=False):
        """Options of ``@table``."""

        columns: Any
        name: str
        schema: str
        description: str
        comment: str
        stability: str
        examples: list[Any]
        categories: list[str]
        tags: dict[str, str]
        cardinality: Any
        statistics: Any
        dynamic_to_string: Any
        projection_pushdown: bool
        filter_pushdown: bool
        auto_apply_filters: bool
        merge_filtered: bool
        supported_expression_filters: list[str]
        sampling_pushdown: bool
        late_materialization: bool
        supports_batch_index: bool
        partition_kind: str
        partition_columns: list[str]
        order_preservation: str
        max_workers: int
        required_settings: list[str]
        required_secrets: list[Any]
        cache_control: Declared
else:
    from typing import TypeVar

    TArgs = TypeVar("TArgs")
    TState = TypeVar("TState")

__all__ = [
    "TableFunction",
    "TableFunctionGenerator",
    "TableSpec",
    "bind_fixed_schema",
    "init_single_worker",
    "table",
    "table_spec",
]

_HOOKS: Final = (
    "on_bind",
    "on_init",
    "cardinality",
    "statistics",
    "dynamic_to_string",
    "initial_state",
    "process",
    "on_cancel",
)


class TableSpec(FunctionSpec):
    """A producer. ``fixed_schema`` None is found at bind."""

    __slots__ = ("args_class", "columns_hook", "fixed_schema", "hooks", "owner")

    kind = "table"
    function_type = "TABLE"
    object_type = "TABLE_FUNCTION"

    def __init__(
        self,
        name: str,
        signature: Signature,
        options: FunctionOptions,
        source: Any,
        where: str,
        *,
        owner: type[TableFunctionGenerator[Any, Any]] | None = None,
        args_class: type | None = None,
    ) -> None:
        super().__init__(name, signature, options, source, where)
        self.owner = owner
        self.args_class = args_class
        self.hooks = _hooks(owner, where) if owner is not None else {}
        columns = options.columns
        self.columns_hook: Callable[[BindParams[Any]], Any] | None = None
        self.fixed_schema: Schema | None = None
        if "on_bind" in self.hooks:
            pass
        elif columns is None:
            raise DefinitionError(
                f"{where} has no columns", hint='pass columns={"name": "int64"}, or a callable of the bind parameters'
            )
        elif callable(columns) and not isinstance(columns, type) and not hasattr(columns, "__arrow_c_schema__"):
            self.columns_hook = columns
        else:
            self.fixed_schema = self._declared(columns)
        if signature.table is not None:
            raise DefinitionError(
                f"{where} takes a table, which functions of @table_in_out and @table_buffering do",
            )
        if options.returns is not None or options.null_handling is not None:
            raise DefinitionError(f"{where}: returns and null_handling are options of scalar functions")
        options.cache_control.for_scan(options.partition_kind == SINGLE_VALUE)
        if (options.max_workers or 1) > 1 and "on_init" not in self.hooks:
            raise DefinitionError(
                f"{where}: max_workers > 1 needs a class with on_init, which shares the work between the streams",
                hint="a function that ignores parallelism would return its rows once per stream",
            )

    @property
    def required_settings(self) -> list[str]:
        hooked = [i.detail for hook in self.hooks.values() for i in hook if i.kind == SETTING]
        return sorted({*super().required_settings, *hooked})

    def info_values(self, schema_name: str) -> dict[str, Any]:
        return {
            **super().info_values(schema_name),
            "projection_pushdown": self.options.projection_pushdown,
            "filter_pushdown": self.options.filter_pushdown,
            "sampling_pushdown": self.options.sampling_pushdown,
            "late_materialization": self.options.late_materialization,
            "supported_expression_filters": advertised_functions(self.options.supported_expression_filters),
            "order_preservation": self.options.order_preservation or "PRESERVES_ORDER",
            "max_workers": self.options.max_workers,
        }

    def make_args(self, values: dict[str, Any]) -> Any:
        if self.owner is None:
            return super().make_args(values)
        return self.args_class(**own_lists(values)) if self.args_class is not None else None

    def check_columns(self, input_schema: Schema | None) -> None:
        if input_schema is not None and len(input_schema):
            raise ArgumentError(f"{self.where} takes no table")

    def bind(self, params: BindParams[Any]) -> BindOutcome:
        if self.fixed_schema is not None:
            return BindOutcome(self.fixed_schema)
        if self.columns_hook is not None:
            return BindOutcome(self._declared(self.columns_hook(params)))
        answer = self._call(self.owner_for(), "on_bind", params)
        response = answer if isinstance(answer, BindResponse) else BindResponse(answer)
        return BindOutcome(self._declared(response.output_schema), response.opaque_data)

    def _declared(self, columns: Any) -> Schema:
        schema = table_schema(columns, self.where)
        if self.options.partition_columns:
            schema = annotated(schema, self.options.partition_columns, self.where)
        check_declaration(schema, self.options.partition_kind, self.where)
        return schema

    @property
    def has_statistics(self) -> bool:
        return "statistics" in self.hooks or self.options.statistics is not None

    @property
    def explains(self) -> bool:
        return "dynamic_to_string" in self.hooks or self.options.dynamic_to_string is not None

    def statistics(self, params: BindParams[Any]) -> Any:
        """What the author gives, or None."""
        if "statistics" in self.hooks:
            return self._call(self.owner_for(), "statistics", params)
        declared = self.options.statistics
        return declared(params.args) if callable(declared) else declared

    def dynamic_to_string(self, params: ExecutionParams[Any]) -> Any:
        """Pairs for EXPLAIN ANALYZE."""
        if "dynamic_to_string" in self.hooks:
            return self.owner_for().dynamic_to_string(params, params.execution_id)
        declared = self.options.dynamic_to_string
        return declared(params) if declared is not None else None

    def cardinality(self, params: BindParams[Any]) -> TableCardinality:
        if "cardinality" in self.hooks:
            return TableCardinality.of(self._call(self.owner_for(), "cardinality", params), self.where)
        declared = self.options.cardinality
        return TableCardinality.of(declared(params.args) if callable(declared) else declared, self.where)

    def owner_for(self) -> Any:
        """The class, or an instance of it when a hook is an ordinary method."""
        assert self.owner is not None
        raw = [meta.hook(self.owner, name, TableFunctionGenerator) for name in self.hooks]
        if all(isinstance(hook, (classmethod, staticmethod)) for hook in raw):
            return self.owner
        return self.owner()

    def _call(self, target: Any, name: str, params: BindParams[Any], *more: Any) -> Any:
        extra = {i.python_name: inject(self, i, params) for i in self.hooks[name]}
        return getattr(target, name)(params, *more, **extra)

    def start(self, params: ProcessParams[Any], values: dict[str, Any]) -> tuple[GlobalInitResponse, Producer]:
        """Begin one stream."""
        shaper = BatchShaper(params.output_schema, self.where, self._partition_names(params.full_schema))
        emission = self._emission(params)
        if self.owner is not None:
            response, producer = self._start_class(params, shaper, emission)
        else:
            response, producer = self._start_function(params, values, shaper, emission)
        return response, self._dense(producer, emission, params)

    def _dense(self, producer: Producer, emission: Emission, params: ProcessParams[Any]) -> Producer:
        filters = emission.filters if self.options.merge_filtered else None
        if filters is None or not filters.static or not BatchBuilder.supports(params.wire_schema):
            return producer
        return DenseProducer(producer, filters, params.wire_schema)

    def _produced(self, batches: Iterator[Any], params: ProcessParams[Any]) -> Producer:
        """The stream of an iterator's batches."""
        emission = self._emission(params)
        return self._dense(
            GeneratorProducer(batches, BatchShaper(params.output_schema, self.where), emission), emission, params
        )

    def _start_function(
        self, params: ProcessParams[Any], values: dict[str, Any], shaper: BatchShaper, emission: Emission
    ) -> tuple[GlobalInitResponse, Producer]:
        if params.is_secondary:
            raise ProtocolError(f"{self.where} has one worker; it cannot serve a secondary stream")
        arguments, keywords = self._python_arguments(params, values)
        produced = self.source(*arguments, **keywords)
        iterator = produced if hasattr(produced, "__next__") else iter((produced,))
        return GlobalInitResponse(), GeneratorProducer(iterator, shaper, emission)

    def _partition_names(self, schema: Schema) -> list[str]:
        if self.options.partition_kind == NOT_PARTITIONED:
            return []
        return [schema.fields[i].name for i in partition_columns(schema)]

    def _emission(self, params: ProcessParams[Any]) -> Emission:
        options = self.options
        partitions = None
        if options.partition_kind != NOT_PARTITIONED:
            partitions = PartitionTagger(params.full_schema, params.wire_schema, options.partition_kind, self.where)
        return Emission(
            self.where,
            filters=params.stream_filters if options.auto_apply_filters else None,
            columns=len(params.wire_schema) if params.wire_schema is not params.output_schema else None,
            indexed=options.supports_batch_index,
            partitions=partitions,
            cache=StreamCache(options.cache_control, params),
        )

    def _start_class(
        self, params: ProcessParams[Any], shaper: BatchShaper, emission: Emission
    ) -> tuple[GlobalInitResponse, Producer]:
        target = self.owner_for()
        response = GlobalInitResponse(self.options.max_workers or 1, params.init_opaque_data)
        if not params.is_secondary:
            answer = self._call(target, "on_init", params) if "on_init" in self.hooks else None
            if isinstance(answer, GlobalInitResponse):
                response = answer
            elif answer is not None:
                response = GlobalInitResponse(answer)
        params.init_response = response
        state = self._call(target, "initial_state", params) if "initial_state" in self.hooks else None
        process = target.process
        cancel = (lambda: target.on_cancel(params, state)) if "on_cancel" in self.hooks else None
        out = OutputCollector(shaper, params.log, emission)
        return response, ProcessProducer(lambda out: process(params, state, out), cancel, out, emission)

    def _python_arguments(self, params: InitParams[Any], values: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        arguments: list[Any] = []
        keywords: dict[str, Any] = {}
        for slot in self.signature.slots:
            source = slot.source
            value = values[source.python_name] if isinstance(source, Parameter) else inject(self, source, params)
            if slot.passing == SPREAD:
                arguments.extend(value)
            elif slot.passing == AS_LIST:
                arguments.append(list(value))
            elif slot.passing == BY_POSITION:
                arguments.append(value)
            else:
                keywords[slot.python_name] = value
        return arguments, keywords


def filled_parameters(cls: type, items: Any) -> tuple[Any, ...]:
    """Type arguments of a generic class; Any for those at the end that were left out."""
    items = items if isinstance(items, tuple) else (items,)
    declared = getattr(cls, "__parameters__", ())
    return (*items, *[Any] * (len(declared) - len(items))) if declared else items


def advertised_functions(names: list[str]) -> list[str]:
    """DuckDB does not test again, and any name unlocks trees that only an engine evaluates in full.

    Without one nothing is announced: DuckDB then keeps such filters to itself.
    """
    if not names:
        return []
    from vgi_fast.functions.filters.expression_engine import engine_is_installed

    return names if engine_is_installed() else []


class TableFunctionGenerator(Generic[TArgs, TState]):
    """Base of table functions written as classes.

    The first type argument is the class of the arguments (fields ``Annotated[T, Arg(...)]``) or None; the
    second, the state of a stream. Hooks are class, static or instance methods; those that run before the stream
    take settings and secrets after ``params``, each by name.
    """

    FIXED_SCHEMA: ClassVar[Any] = None
    """Columns, when they do not depend on the arguments; otherwise override ``on_bind``."""
    CACHE_CONTROL: ClassVar[CacheControl | None] = None

    if not TYPE_CHECKING:

        def __class_getitem__(cls, items):
            """The state may be left out."""
            return super().__class_getitem__(filled_parameters(cls, items))

    @classmethod
    def on_bind(cls, params: BindParams[TArgs], *args: Any, **kwargs: Any) -> Any:
        """The output columns: a schema in any form, or a ``BindResponse``."""
        raise NotImplementedError

    @classmethod
    def on_init(cls, params: InitParams[TArgs], *args: Any, **kwargs: Any) -> GlobalInitResponse | int | None:
        """Runs once per execution, before any stream produces."""
        raise NotImplementedError

    @classmethod
    def cardinality(cls, params: BindParams[TArgs], *args: Any, **kwargs: Any) -> TableCardinality | int | None:
        """Number of rows, if it is known at plan time."""
        raise NotImplementedError

    @classmethod
    def statistics(cls, params: BindParams[TArgs], *args: Any, **kwargs: Any) -> Any:
        """What is certain about the output columns: ``ColumnStatisticsInput`` by column, a list of
        ``ColumnStatistics``, or encoded bytes."""
        raise NotImplementedError

    @classmethod
    def dynamic_to_string(cls, params: ExecutionParams[TArgs], execution_id: bytes) -> Any:
        """Pairs that EXPLAIN ANALYZE shows, from ``params.storage``: it may run in another process than the scan.

        DuckDB asks after the last row, once for each of its threads.
        """
        raise NotImplementedError

    @classmethod
    def initial_state(cls, params: ProcessParams[TArgs], *args: Any, **kwargs: Any) -> TState:
        """State of one stream."""
        raise NotImplementedError

    @classmethod
    def process(cls, params: ProcessParams[TArgs], state: TState, out: OutputCollector) -> None:
        """Emit one batch, or finish."""
        raise NotImplementedError

    @classmethod
    def on_cancel(cls, params: ProcessParams[TArgs], state: TState) -> None:
        """The query stopped early; best effort."""
        raise NotImplementedError


class TableFunction(TableFunctionGenerator[TArgs, TState]):
    """Another name of ``TableFunctionGenerator``."""


@overload
def table(function: F, /) -> F: ...
@overload
def table(**options: Unpack[TableOptions]) -> Callable[[F], F]: ...
def table(function: Any = None, /, **options: Any) -> Any:
    """Declare a table function; the function itself stays as it is.

    >>> from vgi_fast import table
    >>> @table(columns="n: int64", cardinality=lambda args: args.count)
    ... def numbers(count: int):
    ...     yield {"n": range(count)}
    """
    if function is not None and not callable(function):
        raise DefinitionError(f"@table takes a function, got {function!r}; options are keywords")

    def decorate(function: F) -> F:
        attach_spec(function, table_spec(function, options))
        return function

    return decorate if function is None else decorate(function)


def table_spec(function: Any, options: dict[str, Any]) -> TableSpec:
    """Spec of a decorated function."""
    name = str(options.get("name") or getattr(function, "__name__", ""))
    where = f"table function '{name}'"
    checked = FunctionOptions(where, options)
    return TableSpec(name, read_table(function, where, docs_reader(function)), checked, function, where)


def class_spec(cls: type[TableFunctionGenerator[Any, Any]]) -> TableSpec:
    """Spec of a function class, made once."""
    for known in attached_specs(cls):
        if isinstance(known, TableSpec):
            return known
    given = meta.meta_options(cls)
    if cls.CACHE_CONTROL is not None:
        given["cache_control"] = cls.CACHE_CONTROL
    if cls.FIXED_SCHEMA is not None:
        given["columns"] = cls.FIXED_SCHEMA
    name = str(given.get("name") or meta.default_name(cls))
    where = f"table function '{name}' ({cls.__qualname__})"
    if meta.hook(cls, "process", TableFunctionGenerator) is None:
        raise DefinitionError(f"{where}: the class has no method 'process'")
    args_class = arguments_class(cls, where, TableFunctionGenerator)
    signature = (
        Signature([], where) if args_class is None else read_arguments_class(args_class, where, _docs(cls, args_class))
    )
    options = FunctionOptions(where, given)
    spec = TableSpec(name, signature, options, cls, where, owner=cls, args_class=args_class)
    attach_spec(cls, spec)
    return spec


def init_single_worker(cls: type) -> type:
    """Kept for classes written for vgi-python: one worker is the default here."""
    return cls


def bind_fixed_schema(cls: type) -> type:
    """Kept for classes written for vgi-python: ``FIXED_SCHEMA`` alone suffices here."""
    if getattr(cls, "FIXED_SCHEMA", None) is None:
        raise DefinitionError(f"{cls.__qualname__}: bind_fixed_schema needs the class attribute FIXED_SCHEMA")
    return cls


def table_schema(value: Any, where: str) -> Schema:
    """Columns in any form: a mapping of names to types, text, a core or pyarrow schema, a list of fields."""
    try:
        if isinstance(value, Mapping):
            schema = Schema([_field(name, given, where) for name, given in value.items()])
        elif isinstance(value, (list, tuple)):
            schema = Schema(list(value))
        else:
            schema = Schema.of(value)
    except (VgiError, TypeError, ValueError) as error:
        if isinstance(error, DefinitionError):
            raise
        raise DefinitionError(f"{where}: {value!r} does not describe columns: {error}") from error
    if len(schema) == 0:
        raise DefinitionError(f"{where}: a table function has at least one column")
    return schema


def _field(name: str, given: Any, where: str) -> Field:
    if isinstance(given, Field):
        return Field(name, given.type, given.nullable, given.metadata)  # type: ignore[arg-type]
    return Field(name, ann.explicit_type(given, f"{where}, column '{name}'") or type_named("null"))


def arguments_class(cls: type, where: str, generic: type) -> type | None:
    """First type argument that a class gives to ``generic``, or its nested ``FunctionArguments``."""
    nested = getattr(cls, "FunctionArguments", None)
    if isinstance(nested, type):
        return nested
    for base in cls.__mro__:
        for original in base.__dict__.get("__orig_bases__", ()):
            origin = get_origin(original)
            if isinstance(origin, type) and issubclass(origin, generic):
                first = get_args(original)[0]
                if first is None or first is type(None) or first is Any:
                    return None
                if isinstance(first, type):
                    return first
                if not isinstance(first, TypeVar):
                    raise DefinitionError(f"{where}: {first!r} is not a class of arguments")
    return None


def _docs(cls: type, args_class: type) -> Callable[[], dict[str, str]]:
    of_arguments, of_class = docs_reader(args_class), docs_reader(cls)
    return lambda: {**of_class(), **of_arguments()}


def _hooks(owner: type, where: str) -> dict[str, list[Injection]]:
    """Overridden hooks, with the settings and secrets each takes besides its own parameters."""
    found: dict[str, list[Injection]] = {}
    for name in _HOOKS:
        hook = meta.hook(owner, name, TableFunctionGenerator)
        if hook is None:
            continue
        own = {"process": 3, "on_cancel": 2, "dynamic_to_string": 2}.get(name, 1)
        skip = own if isinstance(hook, staticmethod) else own + 1
        takes_more = name in ("on_bind", "on_init", "cardinality", "statistics", "initial_state")
        plain = getattr(hook, "__func__", hook)
        found[name] = read_hook(plain, f"{where}, {name}", skip) if takes_more else []
    return found
