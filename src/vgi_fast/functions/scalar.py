"""Scalar functions: one value per row, applied to whole columns.

    @worker.scalar
    def add_one(x: Int64) -> Int64:
        return x + 1

    class Repeat(ScalarFunction):
        @classmethod
        def compute(cls, text: Utf8, times: Const[int]) -> Utf8:
            return text * times

Whatever the form, a call becomes a ``ScalarPlan`` at init; a batch then runs the author's code and
nothing else of this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, overload

from vgi_fast.errors import ArgumentError, DefinitionError, SchemaValidationError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions import constraints, meta
from vgi_fast.functions.annotations import Annotation
from vgi_fast.functions.context import BindResponse
from vgi_fast.functions.signature import (
    AS_LIST,
    AUTH,
    BY_KEYWORD,
    COLUMN,
    LOG,
    ROWS,
    SECRET,
    SETTING,
    SPREAD,
    Injection,
    Parameter,
    Signature,
    Slot,
)
from vgi_fast.functions.signature_reading import read_hook, read_scalar
from vgi_fast.functions.spec import (
    BindOutcome,
    FunctionOptions,
    FunctionSpec,
    attach_spec,
    attached_specs,
    docs_reader,
)
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import DataType, Field, Kernel, ScalarPlan, Schema, type_named

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypedDict, Unpack

    from vgi_fast.functions.caching import CacheControl, Declared
    from vgi_fast.functions.context import BindParams, InitParams

    class ScalarOptions(TypedDict, total=False):
        """Options of ``@scalar``."""

        name: str
        schema: str
        description: str
        comment: str
        stability: str
        null_handling: str
        propagate_nulls: bool
        examples: list[Any]
        categories: list[str]
        tags: dict[str, str]
        returns: Any
        required_settings: list[str]
        required_secrets: list[Any]
        cache_control: Declared

    class CompiledOptions(ScalarOptions, total=False):
        """Options of functions that have no docstring."""

        docs: dict[str, str]
        """Text by argument."""


from vgi_fast.functions.injection import inject

__all__ = [
    "ScalarDecorator",
    "ScalarFunction",
    "ScalarSpec",
    "scalar",
    "scalar_spec",
]

F = TypeVar("F", bound="Callable[..., Any]")

_RESULT: Final = "result"


class ScalarSpec(FunctionSpec):
    """A scalar function. ``result_type`` None is found at bind."""

    __slots__ = ("fixed_schema", "hooks", "owner", "result_type", "returns", "target")

    kind = "scalar"
    function_type = "SCALAR"
    object_type = "SCALAR_FUNCTION"

    def __init__(
        self,
        name: str,
        signature: Signature,
        options: FunctionOptions,
        source: Any,
        where: str,
        *,
        target: Callable[..., Any] | Kernel | str,
        result_type: DataType | None,
        returns: Callable[[BindParams[Any]], Any] | None = None,
        owner: type[ScalarFunction] | None = None,
    ) -> None:
        super().__init__(name, signature, options, source, where)
        options.stability = options.stability or "CONSISTENT"
        options.null_handling = options.null_handling or "DEFAULT"
        options.cache_control.for_values()
        self.target = target
        self.result_type = result_type
        self.returns = returns
        self.owner = owner
        self.hooks = _hooks(owner, where) if owner is not None else {}
        self.fixed_schema = (
            Schema([Field(_RESULT, result_type)]) if result_type is not None and "on_bind" not in self.hooks else None
        )

    def published_output(self) -> Schema:
        if self.result_type is not None:
            return Schema([Field(_RESULT, self.result_type)])
        return Schema([Field(_RESULT, type_named("null"), True, {keys.RETURN_ANY: keys.TRUE})])

    @property
    def required_settings(self) -> list[str]:
        hooked = [i.detail for hook in self.hooks.values() for i in hook if i.kind == SETTING]
        return sorted({*super().required_settings, *hooked})

    def check_columns(self, input_schema: Schema | None) -> None:
        """Number of columns, varargs minimum and type bounds."""
        columns = self.signature.columns
        types = input_schema.types if input_schema is not None else []
        varargs = columns[-1] if columns and columns[-1].varargs else None
        if varargs is not None and len(types) < len(columns):
            if len(types) == len(columns) - 1:
                raise constraints.varargs_violation(varargs)
            raise self._wrong_column_count(len(types))
        if varargs is None and len(types) != len(columns):
            raise self._wrong_column_count(len(types))
        for index, given in enumerate(types):
            constraints.check_type_bound(columns[min(index, len(columns) - 1)], given)

    def _wrong_column_count(self, got: int) -> ArgumentError:
        return ArgumentError(f"{self.where}: {self.describe()} got {got} columns")

    def bind(self, params: BindParams[Any]) -> BindOutcome:
        if self.fixed_schema is not None:
            return BindOutcome(self.fixed_schema)
        if "on_bind" in self.hooks and self.owner is not None:
            answer = self.owner.on_bind(params, **_hook_values(self, "on_bind", params))
            response = answer if isinstance(answer, BindResponse) else BindResponse(answer)
            return BindOutcome(self._result_schema(response.output_schema), response.opaque_data)
        if "output_type" in self.hooks and self.owner is not None:
            return BindOutcome(self._result_schema(self.owner.output_type(params)))
        assert self.returns is not None
        return BindOutcome(self._result_schema(self.returns(params)))

    def _result_schema(self, found: Any) -> Schema:
        """From what an author's hook returned: a schema of one field, or a type in any form."""
        if isinstance(found, Schema) or type(found).__name__ == "Schema":
            schema = Schema.of(found)
            if len(schema) != 1:
                raise SchemaValidationError(f"{self.where}: the result has one field, got {len(schema)}")
            field = schema[0]
        else:
            resolved = ann.explicit_type(found, f"{self.where}, result type")
            if resolved is None:
                raise SchemaValidationError(f"{self.where}: the result type is not determined at bind")
            field = Field(_RESULT, resolved)
        if self.result_type is not None and field.type != self.result_type:
            raise SchemaValidationError(
                f"{self.where}: declared to return {self.result_type}, but bind says {field.type}"
            )
        return Schema([field])

    @property
    def reusable(self) -> bool:
        """The plan depends on nothing but the bind: no instance, no log, no identity."""
        if self.owner is not None or self.options.cache_control.may_change:
            return False
        return not any(injection.kind in (LOG, AUTH, SECRET) for injection in self.signature.injections)

    def plan(self, params: InitParams[Any], values: dict[str, Any], input_schema: Schema) -> ScalarPlan:
        """How this call is applied to each batch. ``values`` are the constants by Python name."""
        function: Any = self.target
        if self.owner is not None:
            function = self._start_owner(params)
        elif type(function) is str:
            from vgi_fast.functions.compiled import ufunc_named

            function = self.target = ufunc_named(function, self.signature, self.where)
        positional: list[tuple[Any, ...]] = []
        keywords: dict[str, tuple[Any, ...]] = {}
        column = 0
        listed: tuple[Slot, int] | None = None
        for slot in self.signature.slots:
            source = slot.source
            if slot.passing == AS_LIST:
                listed = (slot, column)
                continue
            if isinstance(source, Parameter) and source.role == COLUMN:
                form = self._form(source)
                if slot.passing == SPREAD:
                    positional.append(("varargs", form, column))
                    continue
                entry: tuple[Any, ...] = (form, column)
                column += 1
            elif isinstance(source, Parameter):
                entry = ("value", values[source.python_name])
            else:
                entry = ("rows",) if source.kind == ROWS else ("value", inject(self, source, params))
            if slot.passing == BY_KEYWORD or listed is not None:
                keywords[slot.python_name] = entry
            else:
                positional.append(entry)
        if listed is not None:
            slot, column = listed
            assert isinstance(slot.source, Parameter)
            function = _listing(function, len(positional), slot.python_name)
            positional.append(("varargs", self._form(slot.source), column))
        rules = self.options.cache_control
        declared = rules.declared(params.args)
        return ScalarPlan(
            function,
            positional,
            input_schema,
            params.output_schema,
            self.propagates_nulls,
            keywords or None,
            None if declared is None else rules.metadata(declared, None),
        )

    @property
    def propagates_nulls(self) -> bool:
        """A row with a null is null, so that the author need not look at it."""
        chosen = self.options.propagate_nulls
        return self.options.null_handling == "DEFAULT" if chosen is None else chosen

    def _form(self, column: Parameter) -> str:
        if column.form == ann.NUMPY and not self.propagates_nulls:
            return ann.MASKED
        return column.form

    def _start_owner(self, params: InitParams[Any]) -> Callable[..., Any]:
        """``compute`` bound to the class, or to an instance made for this stream."""
        assert self.owner is not None
        hooks = [meta.hook(self.owner, name, ScalarFunction) for name in ("compute", "on_init")]
        on_class = all(hook is None or isinstance(hook, (classmethod, staticmethod)) for hook in hooks)
        target: Any = self.owner if on_class else self.owner()
        if "on_init" in self.hooks:
            target.on_init(params, **_hook_values(self, "on_init", params))
        compute: Callable[..., Any] = target.compute
        return compute

    def input_schema(self, given: Schema | None) -> Schema:
        """Names as bound, types as declared: batches are cast to it before the author sees them.

        The session's Arrow settings may deliver, say, large_utf8 for a declared utf8.
        """
        if given is None:
            return Schema([])
        columns = self.signature.columns
        fields = []
        for index, field in enumerate(given):
            declared = columns[min(index, len(columns) - 1)].type
            fields.append(field if declared is None or declared == field.type else Field(field.name, declared))
        return Schema(fields)


class ScalarFunction:
    """Base of scalar functions written as classes.

    ``compute`` is a class, static or instance method whose parameters are annotated as those of a
    decorated function. An instance is made for each stream. Hooks take settings and secrets after ``params``,
    each by name.
    """

    CACHE_CONTROL: ClassVar[CacheControl | None] = None
    compute: ClassVar[Any]

    @classmethod
    def on_bind(cls, params: BindParams[Any], *args: Any, **kwargs: Any) -> Any:
        """Decide the result type at bind: a type, a ``BindResponse`` or a schema of one field."""
        raise NotImplementedError

    @classmethod
    def output_type(cls, params: BindParams[Any], *args: Any, **kwargs: Any) -> Any:
        """Decide the result type at bind."""
        raise NotImplementedError

    def on_init(self, params: InitParams[Any], *args: Any, **kwargs: Any) -> None:
        """Prepare a stream."""


class ScalarDecorator:
    """``@scalar``, and functions made of compiled code: ``scalar.from_ufunc``, ``scalar.from_kernel``.

    The decorated function itself stays as it is.

    >>> import numpy as np
    >>> from vgi_fast import Int64, Worker, scalar
    >>> @scalar(description="Adds one")
    ... def add_one(x: Int64) -> Int64:
    ...     return x + 1
    >>> hypot = scalar.from_ufunc("hypot", np.hypot, "float64, float64 -> float64")
    >>> worker = Worker("demo", functions=[add_one, hypot])
    """

    @overload
    def __call__(self, function: F, /) -> F: ...
    @overload
    def __call__(self, /, **options: Unpack[ScalarOptions]) -> Callable[[F], F]: ...
    def __call__(self, function: Any = None, /, **options: Any) -> Any:
        if function is not None and not callable(function):
            raise DefinitionError(f"@scalar takes a function, got {function!r}; options are keywords")

        def decorate(function: F) -> F:
            attach_spec(function, scalar_spec(function, options))
            return function

        return decorate if function is None else decorate(function)

    @staticmethod
    def from_ufunc(name: str, ufunc: Any, types: str, /, **options: Unpack[CompiledOptions]) -> ScalarSpec:
        """As ``Worker.register_ufunc``, to be listed in ``functions=``."""
        from vgi_fast.functions.compiled import spec_from_ufunc

        return spec_from_ufunc(name, ufunc, types, dict(options))

    @staticmethod
    def from_kernel(
        name: str, kernel: Any, types: str, /, *, signature: str | None = None, **options: Unpack[CompiledOptions]
    ) -> ScalarSpec:
        """As ``Worker.register_kernel``, to be listed in ``functions=``."""
        from vgi_fast.functions.compiled import spec_from_kernel

        return spec_from_kernel(name, kernel, types, signature, dict(options))


scalar: Final = ScalarDecorator()


def scalar_spec(function: Any, options: dict[str, Any]) -> ScalarSpec:
    """Spec of a decorated function."""
    name = str(options.get("name") or getattr(function, "__name__", ""))
    where = f"scalar function '{name}'"
    checked = FunctionOptions(where, options)
    _refuse_table_options(where, options)
    docs = docs_reader(function)
    signature = read_scalar(function, where, docs)
    annotation = ann.annotations_of(function, where).get("return")
    result_type, returns = _result(checked.returns, annotation, where, needed=True)
    return ScalarSpec(
        name, signature, checked, function, where, target=function, result_type=result_type, returns=returns
    )


def class_spec(cls: type[ScalarFunction]) -> ScalarSpec:
    """Spec of a function class, made once."""
    for known in attached_specs(cls):
        if isinstance(known, ScalarSpec):
            return known
    given = meta.meta_options(cls)
    if cls.CACHE_CONTROL is not None:
        given["cache_control"] = cls.CACHE_CONTROL
    name = str(given.get("name") or meta.default_name(cls))
    where = f"scalar function '{name}' ({cls.__qualname__})"
    compute = meta.hook(cls, "compute", ScalarFunction)
    if compute is None:
        raise DefinitionError(f"{where}: the class has no method 'compute'")
    options = FunctionOptions(where, given)
    docs = _class_docs(cls, compute)
    skip = 0 if isinstance(compute, staticmethod) else 1
    plain = getattr(compute, "__func__", compute)
    signature = read_scalar(plain, where, docs, skip)
    decided_at_bind = any(meta.hook(cls, hook, ScalarFunction) is not None for hook in ("on_bind", "output_type"))
    annotation = ann.annotations_of(plain, where).get("return")
    result_type, returns = _result(options.returns, annotation, where, needed=not decided_at_bind)
    spec = ScalarSpec(
        name, signature, options, cls, where, target=compute, result_type=result_type, returns=returns, owner=cls
    )
    attach_spec(cls, spec)
    return spec


def _result(
    option: Any, annotation: Any, where: str, *, needed: bool
) -> tuple[DataType | None, Callable[[BindParams[Any]], Any] | None]:
    """Fixed result type, or the callable that finds it at bind."""
    here = f"{where}, result type"
    if option is None and annotation is not None:
        read = Annotation(annotation)
        option = read.returns.arrow_type if read.returns is not None else None
        if option is None and (read.column is not None or ann.is_known_base(read.base)):
            fixed = ann.annotated_type(read, here)
            if fixed is not None or not needed:
                return fixed, None
            raise DefinitionError(f"{here} depends on the arguments; pass returns=<callable of the bind parameters>")
    if option is None:
        if not needed:
            return None, None
        raise DefinitionError(f"{where} has no result type", hint="annotate it (-> Int64) or pass returns=")
    if is_hook(option):
        return None, option
    fixed = ann.explicit_type(option, here)
    if fixed is None and needed:
        raise DefinitionError(f"{here} depends on the arguments; pass returns=<callable of the bind parameters>")
    return fixed, None


def is_hook(option: Any) -> bool:
    """A callable that decides at bind, as opposed to a class or annotation that stands for a type."""
    if not callable(option) or isinstance(option, type) or hasattr(option, "__arrow_c_schema__"):
        return False
    return not ann.is_known_base(Annotation(option).base)


def _refuse_table_options(where: str, options: dict[str, Any]) -> None:
    for name in ("columns", "cardinality", "statistics", "max_workers", "projection_pushdown", "order_preservation"):
        if options.get(name):
            raise DefinitionError(f"{where}: {name} is an option of table functions")
    refuse_aggregate_options(where, options)


def refuse_aggregate_options(where: str, options: dict[str, Any]) -> None:
    for name in ("order_dependent", "distinct_dependent", "supports_window", "streaming_partitioned"):
        if options.get(name) is True:
            raise DefinitionError(f"{where}: {name} is an option of aggregates")


def _class_docs(cls: type, compute: Any) -> Callable[[], dict[str, str]]:
    of_method, of_class = docs_reader(getattr(compute, "__func__", compute)), docs_reader(cls)
    return lambda: {**of_class(), **of_method()}


def _hooks(owner: type[ScalarFunction], where: str) -> dict[str, list[Injection]]:
    """Overridden hooks, with the settings and secrets each takes besides ``params``."""
    found = {}
    for name in ("on_bind", "output_type", "on_init"):
        hook = meta.hook(owner, name, ScalarFunction)
        if hook is not None:
            skip = 1 if isinstance(hook, staticmethod) else 2
            found[name] = read_hook(getattr(hook, "__func__", hook), f"{where}, {name}", skip)
    return found


def _hook_values(spec: ScalarSpec, name: str, params: BindParams[Any]) -> dict[str, Any]:
    return {injection.python_name: inject(spec, injection, params) for injection in spec.hooks[name]}


def _listing(function: Callable[..., Any], fixed: int, name: str) -> Callable[..., Any]:
    """Hands the varargs over as one list, which is how ``list[...]`` parameters are declared."""

    def with_list(*columns: Any, **keywords: Any) -> Any:
        return function(*columns[:fixed], **{name: list(columns[fixed:])}, **keywords)

    return with_list
