"""Table-buffering functions: they see the whole table before they give a row.

    @worker.table_buffering(columns={"n": "int64", "share": "float64"})
    def shares(data: pa.Table) -> pa.Table:                            # FROM shares((FROM t))
        n = data["n"]
        return pa.table({"n": n, "share": pc.divide(n.cast("float64"), pc.sum(n))})

A plain function gets all batches, as one table or through an iterator, and runs once. A class has the three
phases: ``process`` a batch, ``combine`` once, ``finalize`` for each id that ``combine`` gave. Each call may run in
another process, so what they share is in ``params.storage``; batches that are kept with ``params.keep`` are given
again by ``params.batches``. Hooks that are left out keep every batch and give it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, overload

from vgi_fast.errors import DefinitionError, SchemaValidationError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions.caching import CacheControl, StreamCache
from vgi_fast.functions.classes import FunctionClass, TArgs, TState, class_spec
from vgi_fast.functions.context import GlobalInitResponse, ProcessParams
from vgi_fast.functions.emission import Emission
from vgi_fast.functions.output import GeneratorProducer, OutputCollector, ProcessProducer
from vgi_fast.functions.over_tables.forms import BATCH_FORMS, hook_form
from vgi_fast.functions.over_tables.inout import TableInOutSpec, class_options
from vgi_fast.functions.over_tables.inout_calls import Arguments, InOutShaper, listed
from vgi_fast.functions.signature_reading import read_table
from vgi_fast.functions.spec import FunctionOptions, attach_spec, docs_reader
from vgi_fast.wire.arrow import RecordBatch, encode_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypedDict, TypeVar, Unpack

    from vgi_fast.functions.caching import Declared
    from vgi_fast.functions.context import BindParams, InitParams, TableCardinality
    from vgi_fast.functions.output import Producer
    from vgi_fast.wire.arrow import Schema

    F = TypeVar("F", bound=Callable[..., Any])

    class BufferingOptions(TypedDict, total=False):
        """Options of ``@table_buffering``."""

        columns: Any
        name: str
        schema: str
        description: str
        comment: str
        examples: list[Any]
        categories: list[str]
        tags: dict[str, str]
        cardinality: Any
        projection_pushdown: bool
        order_preservation: str
        required_settings: list[str]
        required_secrets: list[Any]
        cache_control: Declared
        sink_order_dependent: bool
        source_order_dependent: bool
        requires_input_batch_index: bool


__all__ = ["BufferingParams", "BufferingSpec", "Kept", "TableBufferingFunction", "table_buffering"]

KIND: Final = "table-buffering function"
OPTIONS: Final = ("has_finalize", "requires_input_batch_index", "sink_order_dependent", "source_order_dependent")
_GENERATOR_FLAG: Final = 0x20


class Kept(Protocol):
    """The batches of one execution, wherever they are."""

    def append(self, stream: bytes, batch_index: int | None = None) -> None:
        """Add the batch of an IPC stream."""

    def batches(self, part: bytes | None = None) -> Iterator[RecordBatch]:
        """Those of one part, or all of them; by batch index where that was asked for."""

    def parts(self) -> list[bytes]:
        """Names of parts that can be read independently; none when nothing was kept."""


class BufferingParams(ProcessParams[TArgs]):
    """What is known in each of the phases."""

    __slots__ = ("batch_index", "kept", "values")

    kept: Kept
    values: dict[str, Any]
    """Constant arguments by Python name."""
    batch_index: int | None
    """Place of the batch in the source, for a function that asks for it."""

    def keep(self, batch: Any) -> None:
        """Keep a batch of the table's columns for ``batches``."""
        own = batch if isinstance(batch, RecordBatch) else RecordBatch.from_arrow(batch)
        self.kept.append(encode_stream(own.schema, [own.with_metadata(None)]), self.batch_index)

    def batches(self) -> Iterator[RecordBatch]:
        """All batches that were kept in any process; complete from ``combine`` on."""
        return self.kept.batches()


class BufferingSpec(TableInOutSpec):
    __slots__ = ("generates", "ordered_by_index")

    function_type = "TABLE_BUFFERING"

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        extra = self.options.extra
        self.ordered_by_index = bool(extra.get("requires_input_batch_index"))
        if self.ordered_by_index and extra.get("sink_order_dependent"):
            raise DefinitionError(
                f"{self.where}: sink_order_dependent and requires_input_batch_index are mutually exclusive"
            )
        finalize = getattr(self.owner, "finalize", None) if "finalize" in self.hooks else None
        code = getattr(getattr(finalize, "__func__", finalize), "__code__", None)
        self.generates = code is not None and bool(code.co_flags & _GENERATOR_FLAG)
        """``finalize`` is a generator, not a function called for each batch."""

    @property
    def finishes(self) -> bool:
        return True

    @property
    def keeps_state(self) -> bool:
        """It is kept by its whole input."""
        return False

    @property
    def keeps(self) -> bool:
        """Each batch goes to the file as it was received."""
        return "process" not in self.hooks

    @property
    def replays(self) -> bool:
        """Each kept batch is given as it was received."""
        return self.owner is not None and "finalize" not in self.hooks

    def info_values(self, schema_name: str) -> dict[str, Any]:
        flags = ("source_order_dependent", "sink_order_dependent", "requires_input_batch_index")
        return {
            **super().info_values(schema_name),
            "has_finalize": True,
            **{name: bool(self.options.extra.get(name)) for name in flags},
        }

    def prepare(self, target: Any, params: BufferingParams[Any]) -> GlobalInitResponse:
        """The one-time initialisation of an execution."""
        answer = self.call(target, "on_init", params) if "on_init" in self.hooks else None
        if answer is None:
            return GlobalInitResponse()
        return answer if isinstance(answer, GlobalInitResponse) else GlobalInitResponse(answer)

    def processor(self, target: Any, params: BufferingParams[Any]) -> Callable[[RecordBatch], bytes]:
        process = self.bound(target, "process")
        form = hook_form(target, "process", self.where)
        shown = self.owner.__name__ if self.owner is not None else self.name

        def one(batch: RecordBatch) -> bytes:
            state_id = process(form(batch), params)
            if type(state_id) is not bytes:
                raise TypeError(
                    f"{shown}.process() returned {type(state_id).__name__}; must return bytes (the opaque state_id)"
                )
            return state_id

        return one

    def combine(self, target: Any, params: BufferingParams[Any], state_ids: list[bytes]) -> list[bytes]:
        if "combine" not in self.hooks:
            return params.kept.parts() if self.replays and self.keeps else [params.execution_id]
        found = self.bound(target, "combine")(state_ids, params)
        shown = self.owner.__name__ if self.owner is not None else self.name
        if not isinstance(found, (list, tuple)):
            raise TypeError(f"{shown}.combine() returned {type(found).__name__}; must return a list of bytes")
        for index, one in enumerate(found):
            if type(one) is not bytes:
                raise TypeError(
                    f"{shown}.combine() returned non-bytes finalize_state_id at index {index}: {type(one).__name__}"
                )
        return list(found)

    def source_producer(
        self, target: Any, params: BufferingParams[Any], values: dict[str, Any], finalize_state_id: bytes
    ) -> Producer:
        """What one finalize id gives; for ``replays`` the worker sees to it without this."""
        shaper = InOutShaper(params, self.where)
        emission = Emission(self.where, cache=StreamCache(self.options.cache_control, params))
        if self.owner is None:
            return GeneratorProducer(self._run(params, values), shaper, emission)
        if "finalize" not in self.hooks:
            return GeneratorProducer(params.kept.batches(), shaper, emission)
        finalize = self.bound(target, "finalize")
        if self.generates:
            produced = finalize(params, finalize_state_id, None, None)
            return GeneratorProducer((one for one in produced if one is not None), shaper, emission)
        state = None
        if "initial_finalize_state" in self.hooks:
            state = self.bound(target, "initial_finalize_state")(finalize_state_id, params)
        cancel = None
        if "on_cancel" in self.hooks:
            on_cancel = self.bound(target, "on_cancel")
            cancel = lambda: on_cancel(params, finalize_state_id, state)  # noqa: E731
        out = OutputCollector(shaper, params.log, emission)
        return ProcessProducer(lambda out: finalize(params, finalize_state_id, state, out), cancel, out, emission)

    def _run(self, params: BufferingParams[Any], values: dict[str, Any]) -> Iterator[Any]:
        """A plain function over everything that was kept."""
        table = self.signature.table
        assert table is not None
        arguments = Arguments(self, params, values)
        form = BATCH_FORMS[table.form.removeprefix(ann.EACH)]
        batches = params.kept.batches()
        if self.consumes:
            produced = arguments.apply_to_all(self.source, (form(batch) for batch in batches))
        else:
            produced = arguments.apply_to_all(self.source, whole_table(batches, params.input_schema, table.form))
        return (one for one in listed(produced) if one is not None)


def whole_table(batches: Iterator[RecordBatch], schema: Schema | None, form: str) -> Any:
    """All batches as one table, in the form that a function asks for."""
    import pyarrow as pa

    if schema is None:
        raise SchemaValidationError("the call has no table")
    table = pa.Table.from_batches([batch.to_arrow() for batch in batches], schema=pa.schema(schema))
    if form == ann.ARROW_TABLE:
        return table
    parts = table.combine_chunks().to_batches()
    joined = parts[0] if parts else pa.RecordBatch.from_pylist([], schema=table.schema)
    return joined if form == ann.ARROW_BATCH else BATCH_FORMS[form](RecordBatch.from_arrow(joined))


class TableBufferingFunction(FunctionClass[TArgs, TState]):
    """Base of table-buffering functions. The state is that of one stream of the source.

    >>> from vgi_fast import TableBufferingFunction
    >>> class Collect(TableBufferingFunction[None]):
    ...     "Gives the table when all of it was read"
    """

    HOOKS: ClassVar[Any] = {
        "on_bind": ("params",),
        "on_init": ("params",),
        "cardinality": ("params",),
        "process": ("batch", "params"),
        "combine": ("state_ids", "params"),
        "initial_finalize_state": ("finalize_state_id|fid", "params"),
        "finalize": ("params", "finalize_state_id|fid", "state", "out"),
        "on_cancel": ("params", "finalize_state_id|fid", "state"),
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
        """Runs once per execution, before any batch is processed."""
        raise NotImplementedError

    @classmethod
    def cardinality(cls, params: BindParams[TArgs], *args: Any, **kwargs: Any) -> TableCardinality | int | None:
        """Number of rows, if it is known at plan time."""
        raise NotImplementedError

    @classmethod
    def process(cls, *args: Any, **kwargs: Any) -> bytes:
        """``process(batch, params)``: Take a batch, in the form of its annotation.

        Of each thread's answers, ``combine`` sees the last.
        """
        raise NotImplementedError

    @classmethod
    def combine(cls, *args: Any, **kwargs: Any) -> list[bytes]:
        """``combine(state_ids, params)``: Runs once, after all of ``process``.

        Gives the ids to finalize, each as a stream of its own.
        """
        raise NotImplementedError

    @classmethod
    def initial_finalize_state(cls, *args: Any, **kwargs: Any) -> TState:
        """``initial_finalize_state(finalize_state_id, params)``: State of the stream of one id."""
        raise NotImplementedError

    @classmethod
    def finalize(cls, *args: Any, **kwargs: Any) -> Any:
        """``finalize(params, finalize_state_id, state, out)``: Emit one batch, or finish.

        As a generator it yields the batches of the id instead.
        """
        raise NotImplementedError

    @classmethod
    def on_cancel(cls, *args: Any, **kwargs: Any) -> None:
        """``on_cancel(params, finalize_state_id, state)``: The query stopped early; best effort."""
        raise NotImplementedError


@overload
def table_buffering(function: F, /) -> F: ...
@overload
def table_buffering(**options: Unpack[BufferingOptions]) -> Callable[[F], F]: ...
def table_buffering(function: Any = None, /, **options: Any) -> Any:
    """Declare a table-buffering function; the function itself stays as it is.

    >>> from collections.abc import Iterator
    >>> from vgi_fast import RecordBatch, table_buffering
    >>> @table_buffering(columns={"rows": "int64"})
    ... def count_rows(batches: Iterator[RecordBatch]):
    ...     yield {"rows": [sum(batch.num_rows for batch in batches)]}
    """
    if function is not None and not callable(function):
        raise DefinitionError(f"@table_buffering takes a function, got {function!r}; options are keywords")

    def decorate(function: F) -> F:
        attach_spec(function, buffering_spec(function, options))
        return function

    return decorate if function is None else decorate(function)


def buffering_spec(function: Any, options: dict[str, Any]) -> BufferingSpec:
    """Spec of a decorated function."""
    name = str(options.get("name") or getattr(function, "__name__", ""))
    where = f"{KIND} '{name}'"
    checked = FunctionOptions(where, options, OPTIONS)
    return BufferingSpec(name, read_table(function, where, docs_reader(function)), checked, function, where)


def buffering_class_spec(cls: type[TableBufferingFunction[Any, Any]]) -> BufferingSpec:
    """Spec of a function class, made once."""
    found: BufferingSpec = class_spec(cls, KIND, BufferingSpec, OPTIONS, class_options(cls), table=True)
    return found
