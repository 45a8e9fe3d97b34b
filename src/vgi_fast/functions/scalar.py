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
from vgi_fast.functions.context import BindResponse, Projection
from vgi_fast.functions.signature import (
    AS_LIST,
    AUTH,
    BY_KEYWORD,
    BY_POSITION,
    COLUMN,
    CONST,
    LOG,
    PARAMS,
    PROJECTION,
    ROWS,
    SECRET,
    SETTING,
    SPREAD,
    Injection,
    Parameter,
    Signature,
    Slot,
    read_hook,
    read_scalar,
)
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


__all__ = [
    "ScalarDecorator",
    "ScalarFunction",
    "ScalarSpec",
    "scalar",
    "scalar_spec",
    "spec_from_kernel",
    "spec_from_ufunc",
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
            function = self.target = _ufunc_named(function, self.signature, self.where)
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
        return spec_from_ufunc(name, ufunc, types, dict(options))

    @staticmethod
    def from_kernel(
        name: str, kernel: Any, types: str, /, *, signature: str | None = None, **options: Unpack[CompiledOptions]
    ) -> ScalarSpec:
        """As ``Worker.register_kernel``, to be listed in ``functions=``."""
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


def spec_from_ufunc(name: str, ufunc: Any, types: str, options: dict[str, Any]) -> ScalarSpec:
    """A NumPy ufunc as a scalar function: no Python code runs per batch.

    One given by name, ``"numpy.hypot"``, is imported and checked when it is first called.
    """
    where = f"scalar function '{name}'"
    signature, result = _text_signature(types, where, options.pop("docs", {}))
    if type(ufunc) is not str:
        _check_ufunc(ufunc, signature, where)
        options.setdefault("description", docstring_line(ufunc))
    checked = FunctionOptions(where, options)
    return ScalarSpec(name, signature, checked, ufunc, where, target=ufunc, result_type=result)


def _ufunc_named(path: str, signature: Signature, where: str) -> Any:
    from importlib import import_module

    module, _, name = path.rpartition(".")
    try:
        ufunc = getattr(import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise DefinitionError(f"{where}: there is no ufunc '{path}': {error}") from error
    _check_ufunc(ufunc, signature, where)
    return ufunc


def _check_ufunc(ufunc: Any, signature: Signature, where: str) -> None:
    if not hasattr(ufunc, "nin") or not hasattr(ufunc, "nout"):
        raise DefinitionError(f"{where}: expected a NumPy ufunc, got {type(ufunc).__name__}")
    if ufunc.nin != len(signature.slots) or ufunc.nout != 1:
        raise DefinitionError(
            f"{where}: {ufunc.__name__} takes {ufunc.nin} and gives {ufunc.nout}, "
            f"but the signature has {len(signature.slots)} arguments"
        )


def spec_from_kernel(name: str, pointer: Any, types: str, signature: str | None, options: dict[str, Any]) -> ScalarSpec:
    """A compiled C function as a scalar function: no Python code runs per batch.

    Without ``signature`` it is derived from the types: ``float64, float64 -> float64`` is
    ``double(double, double)``.
    """
    where = f"scalar function '{name}'"
    declared, result = _text_signature(types, where, options.pop("docs", {}))
    kernel = Kernel(pointer, signature or _c_signature(declared, result, where), keep_alive=pointer)
    if len(declared.columns) != len(declared.slots):
        raise DefinitionError(f"{where}: a kernel takes columns only, but the signature is '{types}'")
    if kernel.arity not in (0, len(declared.columns)):
        raise DefinitionError(f"{where}: the kernel takes {kernel.arity} inputs, but the signature is '{types}'")
    checked = FunctionOptions(where, options)
    return ScalarSpec(name, declared, checked, kernel, where, target=kernel, result_type=result)


def docstring_line(ufunc: Any) -> str:
    """A ufunc's docstring begins with its call signature; the sentence follows."""
    paragraphs = [part.strip() for part in (ufunc.__doc__ or "").split("\n\n")]
    texts = [part for part in paragraphs if part and not part.startswith(f"{ufunc.__name__}(")]
    return " ".join(texts[0].split()) if texts else ""


_C_TYPES: Final = {
    "float64": "double",
    "float32": "float",
    "int64": "int64_t",
    "int32": "int32_t",
    "int16": "int16_t",
    "int8": "int8_t",
    "uint64": "uint64_t",
    "uint32": "uint32_t",
    "uint16": "uint16_t",
    "uint8": "uint8_t",
}


def _c_signature(signature: Signature, result: DataType, where: str) -> str:
    kinds = [parameter.type.kind if parameter.type else "any" for parameter in signature.columns]
    for kind in (*kinds, result.kind):
        if kind not in _C_TYPES:
            raise DefinitionError(f"{where}: no C type is known for {kind}; pass signature=")
    return f"{_C_TYPES[result.kind]}({', '.join(_C_TYPES[kind] for kind in kinds)})"


def _text_signature(text: str, where: str, docs: dict[str, str]) -> tuple[Signature, DataType]:
    """``float64, float64 -> float64``; with names and constants: ``x: float64, digits: const int64 -> float64``."""
    left, arrow, right = text.rpartition("->")
    if not arrow or not right.strip():
        raise DefinitionError(f"{where}: '{text}' is not a signature such as 'float64, float64 -> float64'")
    result = ann.explicit_type(right.strip(), where)
    parts = _split_top(left)
    defaults = ("x",) if len(parts) == 1 else tuple(f"x{number + 1}" for number in range(len(parts)))
    slots = []
    for default, part in zip(defaults, parts, strict=True):
        name, type_text = _split_name(part)
        role = CONST if type_text.startswith("const ") else COLUMN
        given = ann.explicit_type(type_text.removeprefix("const ").strip(), where)
        if given is None:
            raise DefinitionError(f"{where}: '{part}' is not a concrete type")
        form = ann.NUMPY if role == COLUMN else ann.VALUE
        parameter = Parameter(name or default, role, given, form, optional=role == COLUMN, docs=lambda: docs)
        slots.append(Slot(parameter.name, BY_POSITION, parameter))
    strangers = sorted(docs.keys() - {slot.python_name for slot in slots})
    if strangers:
        raise DefinitionError(f"{where}: docs has {strangers}, but the signature is '{text}'")
    if result is None:
        raise DefinitionError(f"{where}: the result type must be concrete")
    return Signature(slots, where), result


def _split_top(text: str) -> list[str]:
    """Parts between commas that are outside of brackets."""
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(text):
        depth += letter in "<[("
        depth -= letter in ">])"
        if letter == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def _split_name(part: str) -> tuple[str, str]:
    for index, letter in enumerate(part):
        if letter in "<[(":
            break
        if letter == ":":
            return part[:index].strip(), part[index + 1 :].strip()
    return "", part


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


def inject(spec: FunctionSpec, injection: Injection, params: BindParams[Any]) -> Any:
    """The value of an injected parameter."""
    if injection.kind == SETTING:
        value = params.settings.get(injection.detail)
        has_default = type(injection.default).__name__ != "_Missing"
        return injection.default if value is None and has_default else value
    if injection.kind == SECRET:
        return spec.secret_for(injection, params)
    if injection.kind == AUTH:
        return params.auth
    if injection.kind == LOG:
        return params.log
    if injection.kind == PARAMS:
        return params
    assert injection.kind == PROJECTION
    return getattr(params, "projection", None) or Projection()


def _listing(function: Callable[..., Any], fixed: int, name: str) -> Callable[..., Any]:
    """Hands the varargs over as one list, which is how ``list[...]`` parameters are declared."""

    def with_list(*columns: Any, **keywords: Any) -> Any:
        return function(*columns[:fixed], **{name: list(columns[fixed:])}, **keywords)

    return with_list
