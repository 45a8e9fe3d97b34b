"""An aggregate: what is known of it, how it is bound, and how its hooks are called.

How authors declare one is in ``vgi_fast.functions.aggregates.declared``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from vgi_fast._core import Reduction
from vgi_fast.errors import ArgumentError, DefinitionError, SchemaValidationError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions import constraints
from vgi_fast.functions.context import BindResponse
from vgi_fast.functions.injection import inject
from vgi_fast.functions.parameters import ConstParam
from vgi_fast.functions.signature import AS_LIST, COLUMN, SPREAD, Injection, Parameter, Signature
from vgi_fast.functions.signature_reading import python_parameters
from vgi_fast.functions.spec import (
    BindOutcome,
    FunctionOptions,
    FunctionSpec,
)
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import DataType, Field, Schema, type_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vgi_fast.functions.aggregates.context import AggregateBindParams, Aggregation
    from vgi_fast.functions.aggregates.engines import Engine, VectorState
    from vgi_fast.functions.context import BindParams

__all__ = ["AggregateFunction", "AggregateSpec"]

F = TypeVar("F")
TState = TypeVar("TState")

_RESULT: Final = "result"


class AggregateSpec(FunctionSpec):
    """An aggregate. ``result_type`` None is found at bind."""

    __slots__ = (
        "_calls",
        "block",
        "engine_kind",
        "group_form",
        "hooks",
        "keeps_nulls",
        "layout",
        "on_empty",
        "owner",
        "result_type",
        "returns",
        "skips_nulls",
        "state_class",
    )

    kind = "aggregate"
    function_type = "AGGREGATE"
    object_type = "AGGREGATE_FUNCTION"

    def __init__(
        self,
        name: str,
        signature: Signature,
        options: FunctionOptions,
        source: Any,
        where: str,
        engine_kind: str,
        *,
        result_type: DataType | None,
        returns: Callable[[BindParams[Any]], Any] | None = None,
        owner: Any = None,
        block: Mapping[str, Any] | None = None,
        layout: Mapping[str, tuple[str, Any, tuple[int, ...]]] | None = None,
        on_empty: Any = None,
    ) -> None:
        super().__init__(name, signature, options, source, where)
        options.null_handling = options.null_handling or "DEFAULT"
        options.stability = options.stability or "CONSISTENT"
        self.engine_kind = engine_kind
        self.result_type = result_type
        self.returns = returns
        self.owner = owner
        self.block = dict(block or {})
        self.layout = dict(layout or {})
        self.on_empty = on_empty
        self.skips_nulls = options.null_handling == "DEFAULT"
        self.keeps_nulls = not self.skips_nulls
        self.state_class: Any = None
        self.group_form = ann.NUMPY
        self.hooks: dict[str, list[Injection]] = {}
        self._calls: dict[str, _Caller] = {}
        _refuse_other_options(where, options)

    # -- what the caller gives --

    def forms(self, count: int) -> list[Parameter]:
        """The parameter of each of ``count`` columns."""
        columns = self.signature.columns
        return [columns[min(index, len(columns) - 1)] for index in range(count)]

    def column_types(self, given: Schema | None) -> list[DataType]:
        """Declared types, and those of the call where any is accepted."""
        if given is None:
            return [parameter.type for parameter in self.signature.columns if parameter.type is not None]
        types = given.types
        return [
            actual if parameter.type is None else parameter.type
            for parameter, actual in zip(self.forms(len(types)), types, strict=True)
        ]

    @property
    def depends_on_types(self) -> bool:
        """Calls of it differ in the types of columns or result."""
        columns = self.signature.columns
        return self.result_type is None or any(one.type is None or one.varargs for one in columns)

    def check_columns(self, input_schema: Schema | None) -> None:
        columns = self.signature.columns
        types = input_schema.types if input_schema is not None else []
        varargs = columns[-1] if columns and columns[-1].varargs else None
        if varargs is not None and len(types) == len(columns) - 1:
            raise constraints.varargs_violation(varargs)
        if len(types) < len(columns) or (varargs is None and len(types) != len(columns)):
            raise ArgumentError(f"{self.where}: {self.describe()} got {len(types)} columns")
        for parameter, given in zip(self.forms(len(types)), types, strict=True):
            constraints.check_type_bound(parameter, given)

    # -- bind --

    def published_output(self) -> Schema:
        if self.result_type is not None:
            return Schema([Field(_RESULT, self.result_type)])
        return Schema([Field(_RESULT, type_named("null"), True, {keys.RETURN_ANY: keys.TRUE})])

    @property
    def required_settings(self) -> list[str]:
        hooked = [one.detail for hook in self.hooks.values() for one in hook if one.kind == "setting"]
        return sorted({*super().required_settings, *hooked})

    def bind(self, params: BindParams[Any]) -> BindOutcome:
        found: Any = self.result_type
        if "on_bind" in self.hooks:
            values = {one.python_name: inject(self, one, params) for one in self.hooks["on_bind"]}
            answer = self.owner.on_bind(params, **values)
            found = answer.output_schema if isinstance(answer, BindResponse) else answer
        elif self.returns is not None:
            found = self.returns(params)
            if self.result_type is not None and self._bound_type(found) != self.result_type:
                raise SchemaValidationError(
                    f"{self.where}: declared to return {self.result_type}, but bind says {found}"
                )
        elif found is None and self.engine_kind == "reduction":
            found = self._natural_type(params)
        if params.secrets.needs_resolution:
            raise ArgumentError(
                f"Aggregate function '{self.name}' requires secret resolution, which is not yet supported for "
                "aggregate functions."
            )
        return BindOutcome(Schema([Field(_RESULT, self._bound_type(found))]))

    def _natural_type(self, params: BindParams[Any]) -> DataType:
        types = params.input_types
        return Reduction(self.block["name"], types[0] if types else None).result

    def _bound_type(self, found: Any) -> DataType:
        if isinstance(found, Schema) or type(found).__name__ == "Schema":
            schema = Schema.of(found)
            if len(schema) != 1:
                raise SchemaValidationError(f"{self.where}: the result has one field, got {len(schema)}")
            return schema[0].type
        resolved = ann.explicit_type(found, f"{self.where}, result type")
        if resolved is None:
            raise SchemaValidationError(f"{self.where}: the result type is not determined at bind")
        return resolved

    # -- running --

    def engine(self, run: Aggregation) -> Engine:
        if self.engine_kind in ("function", "instance"):
            from vgi_fast.functions.aggregates.objects import FunctionEngine, InstanceEngine

            return FunctionEngine(run) if self.engine_kind == "function" else InstanceEngine(run)
        from vgi_fast.functions.aggregates.engines import CollectEngine, ReductionEngine, VectorEngine

        if self.engine_kind == "reduction":
            return ReductionEngine(run)
        return CollectEngine(run) if self.engine_kind == "collect" else VectorEngine(run)

    def _caller(self, hook: str) -> _Caller:
        known = self._calls.get(hook)
        if known is None:
            known = self._calls[hook] = _Caller(self, hook)
        return known

    def call_update(self, run: Aggregation, state: VectorState, groups: Any, values: list[Any]) -> None:
        self._caller("update")(run, {"state": state, "groups": groups}, values)

    def call_function_update(self, run: Aggregation, states: Any, group_ids: Any, values: list[Any]) -> None:
        self._caller("update")(run, {"states": states, "group_ids": group_ids}, values)

    def call_combine(self, run: Aggregation, source: VectorState, target: VectorState) -> None:
        self._caller("combine")(run, {"source": source, "target": target}, [])

    def call_finalize(self, run: Aggregation, state: VectorState) -> Any:
        return self._caller("finalize")(run, {"state": state}, [])

    def call_values(self, run: Aggregation, values: Any) -> Any:
        return self._caller("")(run, {}, [values])

    def make_instance(self, run: Aggregation) -> Any:
        constants = {one.python_name: run.values[one.python_name] for one in self.signature.constants}
        return self.owner(**constants)


class _Caller:
    """Calls one hook with what its parameters name: given values, columns in their order, constants, ``params``."""

    def __init__(self, spec: AggregateSpec, hook: str) -> None:
        self._function = plain_hook(spec.owner, hook) if hook else spec.source
        names = taken_names(self._function, spec.where)
        slots = {slot.python_name: slot for slot in spec.signature.slots}
        self._steps: list[tuple[str, str, Any]] = []
        for name, kind in names:
            slot = slots.get(name)
            if slot is None:
                self._steps.append(("given", name, kind))
            elif isinstance(slot.source, Parameter) and slot.source.role == COLUMN:
                self._steps.append(("rest" if slot.passing in (SPREAD, AS_LIST) else "column", name, slot.passing))
            elif isinstance(slot.source, Parameter):
                options = slot.source.options
                if hook == "update" and isinstance(options, ConstParam) and options.phase == "finalize":
                    continue
                self._steps.append(("constant", name, None))
            else:
                self._steps.append(("injected", name, slot.source))

    def __call__(self, run: Aggregation, given: dict[str, Any], columns: list[Any]) -> Any:
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        at = 0
        for step, name, detail in self._steps:
            if step == "column":
                keywords[name] = columns[at]
                at += 1
            elif step == "rest":
                if detail == SPREAD:
                    positional += columns[at:]
                else:
                    keywords[name] = columns[at:]
            elif step == "constant":
                keywords[name] = run.values[name]
            elif step == "injected":
                value = run.settings.get(detail.detail)
                keywords[name] = detail.default if value is None and detail.optional else value
            elif name == "params":
                keywords[name] = run.params()
            else:
                keywords[name] = given[name]
        if positional:  # *args take what is behind the others
            ordered = [keywords.pop(name) for step, name, _ in self._steps if step != "rest" and name in keywords]
            return self._function(*ordered, *positional)
        return self._function(**keywords)


def plain_hook(owner: Any, hook: str) -> Any:
    """A method of a class that is not instantiated: as it is, static, or bound to the class."""
    for base in owner.__mro__:
        if hook in base.__dict__:
            found = base.__dict__[hook]
            return found.__func__ if isinstance(found, staticmethod) else getattr(owner, hook)
    raise DefinitionError(f"{owner.__qualname__} has no method '{hook}'")


def taken_names(function: Any, where: str) -> list[tuple[str, str]]:
    skip = 1 if hasattr(function, "__self__") else 0
    return [(one.name, one.kind) for one in python_parameters(function, where, skip)]


class AggregateFunction(Generic[TState]):
    """Base of aggregates written as classes, with the hooks of vgi-python; all are class methods.

    ``update(states, group_ids, <columns>, <constants>[, params])`` gets a dict with a state for every group of
    the batch; a new group keeps the one that is assigned to it. States are made of bytes by their
    ``serialize_to_bytes`` and ``deserialize_from_bytes``, or pickled. Further hooks, where declared in ``Meta``:
    ``window_init(partition, params)``, ``window_prepare(partition, state, params)``,
    ``window(rid, frames, partition, state, params)`` and ``window_batch(rows, partition, state, params)`` with
    ``supports_window``; ``streaming_open(params)``, ``streaming_chunk(chunk, state, partition_key_count,
    order_key_count, params)`` and ``streaming_close(state, params)`` with ``streaming_partitioned``.
    """

    state_class: ClassVar[Any] = None
    update: ClassVar[Any]
    finalize: ClassVar[Any]

    @classmethod
    def on_bind(cls, params: AggregateBindParams[Any], *args: Any, **kwargs: Any) -> Any:
        """Decide the result type: a type, a schema of one field, or a ``BindResponse`` with it."""
        raise NotImplementedError

    @classmethod
    def initial_state(cls, params: Any) -> TState:
        """The state of a group before its first row."""
        if cls.state_class is None:
            raise DefinitionError(f"Aggregate function '{cls.__name__}' has no state_class defined")
        made: TState = cls.state_class()
        return made

    @classmethod
    def combine(cls, source: TState, target: TState, params: Any) -> TState:
        """The state of both; the source's rows come after the target's."""
        raise NotImplementedError


def _refuse_other_options(where: str, options: FunctionOptions) -> None:
    for name in ("columns", "cardinality", "max_workers", "projection_pushdown", "cache_control"):
        if getattr(options, name):
            raise DefinitionError(f"{where}: {name} is not an option of aggregates")
