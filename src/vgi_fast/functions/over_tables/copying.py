"""COPY formats: ``COPY t FROM 'file' (FORMAT w.lines)`` and ``COPY t TO 'file' (FORMAT w.lines)``.

    @worker.copy_from("lines")
    def read_lines(path: str, schema: Schema, *, delimiter: str = ",") -> Iterator[dict[str, Any]]: ...

    @worker.copy_to("lines")
    def write_lines(batches: Iterator[pa.RecordBatch], path: str, *, delimiter: str = ",") -> None: ...

Options are the parameters behind ``*``. A reader gives batches of exactly the target's columns. A writer runs
once, when all rows are there; with ``sink_order_dependent`` they come in the order of the source. Both directions
of one format share the name of their functions as well.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from vgi_fast.errors import ArgumentError, DefinitionError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions.batches import BatchShaper
from vgi_fast.functions.classes import ClassSpec, FunctionClass, TArgs, class_spec
from vgi_fast.functions.context import GlobalInitResponse
from vgi_fast.functions.emission import Emission
from vgi_fast.functions.injection import inject
from vgi_fast.functions.output import GeneratorProducer, OutputCollector
from vgi_fast.functions.over_tables.buffering import OPTIONS as BUFFERING_OPTIONS
from vgi_fast.functions.over_tables.buffering import BufferingParams, BufferingSpec, whole_table
from vgi_fast.functions.over_tables.forms import BATCH_FORMS, hook_form
from vgi_fast.functions.signature import BY_POSITION, NAMED, TABLE, Parameter, Signature, Slot
from vgi_fast.functions.signature_reading import python_parameters, table_slot
from vgi_fast.functions.spec import BindOutcome, FunctionOptions, attach_spec, docs_reader
from vgi_fast.wire.arrow import Schema, empty_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from vgi_fast.functions.context import BindParams, ProcessParams
    from vgi_fast.functions.output import Producer
    from vgi_fast.wire.arrow import RecordBatch

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "CopyFromFunction",
    "CopyFromSpec",
    "CopyToFunction",
    "CopyToSpec",
    "copy_from",
    "copy_to",
    "replacing",
]

FROM: Final = "from"
TO: Final = "to"
OPTIONS: Final = ("format",)


def _check_path(params: BindParams[Any], direction: str, where: str) -> str:
    if params.copy_direction != direction or params.file_path is None:
        raise ArgumentError(f"{where} serves COPY ... {direction.upper()} and cannot be called as a table function")
    return params.file_path


class CopyFromSpec(ClassSpec):
    """A reader: a producer whose columns are those of the target."""

    __slots__ = ()

    kind = "table"
    function_type = "TABLE"
    object_type = "TABLE_FUNCTION"
    direction = FROM

    @property
    def format_name(self) -> str:
        return str(self.options.extra["format"])

    def info_values(self, schema_name: str) -> dict[str, Any]:
        return {
            **super().info_values(schema_name),
            "projection_pushdown": False,
            "filter_pushdown": False,
            "sampling_pushdown": False,
            "late_materialization": False,
            "order_preservation": "PRESERVES_ORDER",
            "max_workers": 1,
        }

    def bind(self, params: BindParams[Any]) -> BindOutcome:
        _check_path(params, FROM, self.where)
        if "on_secrets" in self.hooks:
            self.call(self.target(), "on_secrets", params)
        assert params.expected_schema is not None
        return BindOutcome(params.expected_schema)

    def start(self, params: ProcessParams[Any], values: dict[str, Any]) -> tuple[GlobalInitResponse, Producer]:
        path = _check_path(params, FROM, self.where)
        schema = params.output_schema
        shaper = BatchShaper(schema, self.where)
        params.init_response = GlobalInitResponse()
        if self.owner is None:
            given = (path, schema)[: self.source.__code__.co_argcount]
            produced = self.source(*given, **_options(self, params, values))
        else:
            produced = self._read(params, path, schema, shaper)
        iterator = produced if hasattr(produced, "__next__") else iter(() if produced is None else (produced,))
        return params.init_response, GeneratorProducer(iterator, shaper, Emission(self.where))

    def _read(self, params: ProcessParams[Any], path: str, schema: Schema, shaper: BatchShaper) -> Any:
        """``read`` yields, returns or emits its batches."""
        out = OutputCollector(shaper, params.log, Emission(self.where), repeats=True)
        produced = self.bound(self.target(), "read")(path, params.args, schema, params, out)
        return produced if produced is not None else out.drained()


class CopyToSpec(BufferingSpec):
    """A writer: the sink and the combine phase of table buffering."""

    __slots__ = ()

    direction = TO
    finishers = ()

    @property
    def format_name(self) -> str:
        return str(self.options.extra["format"])

    @property
    def keeps(self) -> bool:
        return "write" not in self.hooks

    @property
    def replays(self) -> bool:
        return False

    @property
    def ordered(self) -> bool:
        return bool(self.options.extra.get("sink_order_dependent"))

    def bind(self, params: BindParams[Any]) -> BindOutcome:
        _check_path(params, TO, self.where)
        if "on_secrets" in self.hooks:
            self.call(self.target(), "on_secrets", params)
        return BindOutcome(empty_schema())

    def processor(self, target: Any, params: BufferingParams[Any]) -> Callable[[RecordBatch], bytes]:
        write = self.bound(target, "write")
        form = hook_form(target, "write", self.where)
        path = _check_path(params, TO, self.where)

        def one(batch: RecordBatch) -> bytes:
            write(form(batch), params.args, path, params)
            return params.execution_id

        return one

    def combine(self, target: Any, params: BufferingParams[Any], state_ids: list[bytes]) -> list[bytes]:
        path = _check_path(params, TO, self.where)
        if self.owner is not None:
            self.bound(target, "close")(params.args, path, params)
            return []
        table = self.signature.table
        assert table is not None
        batches = params.batches()
        form = BATCH_FORMS[table.form.removeprefix(ann.EACH)]
        given: Any = (form(batch) for batch in batches)
        if not self.consumes:
            given = whole_table(batches, params.input_schema, table.form)
        positions = (given, path, params.input_schema)[: self.source.__code__.co_argcount]
        self.source(*positions, **_options(self, params, params.values))
        return []


def _options(spec: ClassSpec, params: ProcessParams[Any], values: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for slot in spec.signature.slots:
        source = slot.source
        if not isinstance(source, Parameter):
            found[slot.python_name] = inject(spec, source, params)
        elif source.role == NAMED:
            found[slot.python_name] = values[source.python_name]
    return found


class CopyFromFunction(FunctionClass[TArgs, Any]):
    """Base of readers. Fields of the arguments class are options; ``params.file_path`` is known from the bind on."""

    HOOKS: ClassVar[Any] = {
        "on_secrets": ("params",),
        "read": ("path|file_path", "options|args", "expected_schema|schema", "params", "out"),
    }
    COPY_FROM_FORMAT: ClassVar[str]
    COPY_FROM_COMMENT: ClassVar[str | None] = None

    @classmethod
    def on_secrets(cls, params: BindParams[TArgs], *args: Any, **kwargs: Any) -> None:
        """Ask for secrets at bind, such as ``params.secrets.get("s3", params.file_path)``."""
        raise NotImplementedError

    @classmethod
    def read(cls, *args: Any, **kwargs: Any) -> Any:
        """``read(path, options, expected_schema, params, out)``: Yield the file's batches, or emit them."""
        raise NotImplementedError


class CopyToFunction(FunctionClass[TArgs, Any]):
    """Base of writers. ``write`` runs for each batch in any process, ``close`` once when all were written.

    Without ``write`` each batch is kept, and ``close`` finds them in ``params.batches()``.
    """

    HOOKS: ClassVar[Any] = {
        "on_init": ("params",),
        "on_secrets": ("params",),
        "write": ("batch", "options|args", "file_path|path", "params"),
        "close": ("options|args", "file_path|path", "params"),
    }
    COPY_TO_FORMAT: ClassVar[str]
    COPY_TO_COMMENT: ClassVar[str | None] = None

    @classmethod
    def on_init(cls, params: BufferingParams[TArgs], *args: Any, **kwargs: Any) -> None:
        """Runs once, before anything is written."""
        raise NotImplementedError

    @classmethod
    def on_secrets(cls, params: BindParams[TArgs], *args: Any, **kwargs: Any) -> None:
        """Ask for secrets at bind, such as ``params.secrets.get("s3", params.file_path)``."""
        raise NotImplementedError

    @classmethod
    def write(cls, *args: Any, **kwargs: Any) -> None:
        """``write(batch, options, file_path, params)``: Take a batch.

        What ``close`` needs of it goes to ``params.storage`` or ``params.keep``.
        """
        raise NotImplementedError

    @classmethod
    def close(cls, *args: Any, **kwargs: Any) -> None:
        """``close(options, file_path, params)``: Make the file; runs also when there are no rows."""
        raise NotImplementedError


def copy_from(format: str, **options: Any) -> Callable[[F], F]:
    """Declare a reader; the function itself stays as it is.

    >>> from vgi_fast import Schema, copy_from
    >>> @copy_from("words", comment="One word in each line")
    ... def read_words(path: str, schema: Schema, *, skip: int = 0):
    ...     with open(path) as file:
    ...         yield {schema.names[0]: file.read().split()[skip:]}
    """

    def decorate(function: F) -> F:
        attach_spec(function, copy_from_spec(function, {**options, "format": format}))
        return function

    return decorate


def copy_to(format: str, **options: Any) -> Callable[[F], F]:
    """Declare a writer; the function itself stays as it is.

    >>> from collections.abc import Iterator
    >>> from vgi_fast import RecordBatch, copy_to
    >>> @copy_to("words", sink_order_dependent=True)
    ... def write_words(batches: Iterator[RecordBatch], path: str):
    ...     with open(path, "w") as file:
    ...         file.writelines(f"{word}\\n" for batch in batches for word in batch.column(0))
    """

    def decorate(function: F) -> F:
        attach_spec(function, copy_to_spec(function, {**options, "format": format}))
        return function

    return decorate


def copy_from_spec(function: Any, options: dict[str, Any]) -> CopyFromSpec:
    """Spec of a decorated reader."""
    name, where = _named(function, options, "COPY reader")
    checked = FunctionOptions(where, options, OPTIONS)
    fixed, slots = _signature(function, where, ("path", "schema"))
    if not fixed:
        raise DefinitionError(f"{where} takes (path) or (path, schema) by position, and its options behind *")
    return CopyFromSpec(name, Signature(slots, where), checked, function, where)


def copy_to_spec(function: Any, options: dict[str, Any]) -> CopyToSpec:
    """Spec of a decorated writer."""
    name, where = _named(function, options, "COPY writer")
    checked = FunctionOptions(where, options, (*OPTIONS, *BUFFERING_OPTIONS))
    fixed, slots = _signature(function, where, ("batches", "path", "schema"))
    form = ann.table_form(ann.Annotation(fixed[0].annotation)) if len(fixed) >= 2 else None
    if form is None:
        raise DefinitionError(
            f"{where} takes (batches, path) or (batches, path, schema) by position, and its options behind *",
            hint="annotate the first with pyarrow.Table, or with an Iterator of RecordBatch or pyarrow.RecordBatch",
        )
    slots.insert(0, Slot(fixed[0].name, BY_POSITION, Parameter("data", TABLE, None, form)))
    return CopyToSpec(name, Signature(slots, where), checked, function, where)


def _named(function: Any, options: dict[str, Any], kind: str) -> tuple[str, str]:
    format_name = str(options["format"])
    if not format_name.isidentifier():
        raise DefinitionError(f"{kind}: {format_name!r} is not the name of a format")
    name = str(options.get("name") or getattr(function, "__name__", ""))
    return name, f"{kind} '{name}'"


def _signature(function: Any, where: str, positions: tuple[str, ...]) -> tuple[list[Any], list[Slot]]:
    parameters = python_parameters(function, where)
    fixed = [parameter for parameter in parameters if parameter.kind == BY_POSITION]
    if len(fixed) > len(positions):
        raise DefinitionError(f"{where} takes ({', '.join(positions)}) by position; options go behind *")
    docs = docs_reader(function)
    return fixed, [table_slot(p, where, docs) for p in parameters if p.kind != BY_POSITION]


def copy_from_class_spec(cls: type[CopyFromFunction[Any]]) -> CopyFromSpec:
    """Spec of a reader class, made once."""
    options = _class_options(cls, "COPY_FROM")
    found: CopyFromSpec = class_spec(cls, "COPY reader", CopyFromSpec, OPTIONS, options)
    _needs(found, "read")
    return found


def copy_to_class_spec(cls: type[CopyToFunction[Any]]) -> CopyToSpec:
    """Spec of a writer class, made once."""
    options = _class_options(cls, "COPY_TO")
    found: CopyToSpec = class_spec(cls, "COPY writer", CopyToSpec, (*OPTIONS, *BUFFERING_OPTIONS), options, table=True)
    _needs(found, "close")
    return found


def _class_options(cls: Any, prefix: str) -> dict[str, Any]:
    format_name = getattr(cls, f"{prefix}_FORMAT", None)
    if not isinstance(format_name, str) or not format_name.isidentifier():
        raise DefinitionError(f"{cls.__qualname__}: {prefix}_FORMAT must be the name of a format, got {format_name!r}")
    comment = getattr(cls, f"{prefix}_COMMENT", None)
    return {"format": format_name, **({} if comment is None else {"comment": comment})}


def _needs(spec: ClassSpec, hook: str) -> None:
    if hook not in spec.hooks:
        raise DefinitionError(f"{spec.where}: the class has no method '{hook}'")


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """A name beside ``path`` to write to; it takes the place of ``path`` when the block ends well.

    Nobody sees a half-written file, and a failure leaves what was there. Pipes and devices are written directly.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        yield path
        return
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.urandom(6).hex()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        raise
