"""One registered function: its metadata, its parameters, and the record that announces it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import ArgumentError, DefinitionError, InternalError
from vgi_fast.functions import constraints, docstrings
from vgi_fast.functions.caching import CacheRules
from vgi_fast.functions.context import Arguments
from vgi_fast.functions.parameters import Secret
from vgi_fast.functions.secrets import decode_settings
from vgi_fast.functions.signature import SECRET
from vgi_fast.wire import records
from vgi_fast.wire.arrow import Field, Schema, empty_schema, type_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from vgi_fast.functions.context import BindParams
    from vgi_fast.functions.secrets import SecretValues
    from vgi_fast.functions.signature import Injection, Signature

__all__ = ["BindOutcome", "FunctionExample", "FunctionOptions", "FunctionSpec", "attached_specs"]

SPECS_ATTRIBUTE: Final = "__vgi_functions__"
"""Where a decorated function and a function class keep their specs."""

_NOT_YET: Final = (
    "has_finalize",
    "requires_input_batch_index",
    "sink_order_dependent",
    "source_order_dependent",
)
_OF_TABLES: Final = (
    "has_finalize",
    "requires_input_batch_index",
    "sink_order_dependent",
    "source_order_dependent",
)
_SWITCHED_OFF: Final = (None, False, "", "NOT_PARTITIONED")


class FunctionExample:
    """An example call, shown by ``duckdb_functions()``."""

    __slots__ = ("description", "expected_output", "sql")

    def __init__(self, sql: str, description: str = "", expected_output: str | None = None) -> None:
        self.sql = sql
        self.description = description
        self.expected_output = expected_output


class FunctionOptions:
    """Checked options of a decorator or a ``Meta`` class."""

    __slots__ = (
        "auto_apply_filters",
        "cache_control",
        "cardinality",
        "categories",
        "columns",
        "comment",
        "description",
        "distinct_dependent",
        "dynamic_to_string",
        "examples",
        "extra",
        "filter_pushdown",
        "late_materialization",
        "max_workers",
        "merge_filtered",
        "name",
        "null_handling",
        "order_dependent",
        "order_preservation",
        "partition_columns",
        "partition_kind",
        "projection_pushdown",
        "propagate_nulls",
        "required_secrets",
        "required_settings",
        "returns",
        "sampling_pushdown",
        "schema",
        "stability",
        "statistics",
        "streaming_partitioned",
        "supported_expression_filters",
        "supports_batch_index",
        "supports_window",
        "tags",
    )

    def __init__(self, where: str, given: Mapping[str, Any], kind_options: Iterable[str] = ()) -> None:
        """``kind_options`` are accepted besides those of all kinds; they are kept as given in ``extra``."""
        self.extra = {name: given[name] for name in kind_options if given.get(name) is not None}
        for name in given:
            if name in kind_options:
                continue
            if name in _NOT_YET:
                value = given[name]
                if getattr(value, "name", value) not in _SWITCHED_OFF and value not in ([], ()):
                    if name in _OF_TABLES:
                        raise DefinitionError(f"{where}: {name} is an option of functions over tables")
                    raise DefinitionError(f"{where}: {name} is not supported yet")
            elif name not in _ACCEPTED:
                raise DefinitionError(f"{where}: unknown option {name!r}; there are {', '.join(sorted(_ACCEPTED))}")
        self.name: str | None = given.get("name")
        self.schema: str | None = given.get("schema")
        self.description: str | None = given.get("description")
        self.comment: str | None = given.get("comment")
        self.stability = _member(where, "stability", given.get("stability"), records.STABILITIES)
        self.null_handling = _member(where, "null_handling", given.get("null_handling"), records.NULL_HANDLINGS)
        order = given.get("order_preservation", given.get("preserves_order"))
        if isinstance(order, bool):
            order = "PRESERVES_ORDER" if order else "NO_ORDER_GUARANTEE"
        self.order_preservation = _member(where, "order_preservation", order, records.ORDER_PRESERVATIONS)
        self.examples = [_example(where, one) for one in _sequence(where, "examples", given.get("examples"))]
        self.categories = [str(one) for one in _sequence(where, "categories", given.get("categories"))]
        self.tags = {str(key): str(value) for key, value in dict(given.get("tags") or {}).items()}
        self.required_settings = [
            str(one) for one in _sequence(where, "required_settings", given.get("required_settings"))
        ]
        self.required_secrets = [
            _secret(where, one) for one in _sequence(where, "required_secrets", given.get("required_secrets"))
        ]
        self.propagate_nulls: bool | None = given.get("propagate_nulls")
        """Scalars: a null in any column makes the row null. By default what ``null_handling`` says."""
        self.projection_pushdown = bool(given.get("projection_pushdown", False))
        self.max_workers: int | None = given.get("max_workers")
        if self.max_workers is not None and (type(self.max_workers) is not int or self.max_workers < 1):
            raise DefinitionError(f"{where}: max_workers must be an int >= 1, got {self.max_workers!r}")
        self.cache_control = CacheRules(where, given.get("cache_control"))
        self.returns = given.get("returns", given.get("output_type"))
        self.order_dependent = _dependent(where, "order_dependent", given, records.ORDER_DEPENDENCES)
        """Aggregates: ORDER BY inside of the call is kept."""
        self.distinct_dependent = _dependent(where, "distinct_dependent", given, records.DISTINCT_DEPENDENCES)
        """Aggregates: DISTINCT inside of the call is kept."""
        self.supports_window = bool(given.get("supports_window", False))
        self.streaming_partitioned = bool(given.get("streaming_partitioned", False))
        self.columns = given.get("columns")
        self.cardinality = given.get("cardinality")
        self.statistics = given.get("statistics")
        self.dynamic_to_string = given.get("dynamic_to_string")
        self._read_pushdown(where, given)

    def _read_pushdown(self, where: str, given: Mapping[str, Any]) -> None:
        self.filter_pushdown = bool(given.get("filter_pushdown", False))
        apply = given.get("auto_apply_filters")
        self.auto_apply_filters = self.filter_pushdown if apply is None else bool(apply) and self.filter_pushdown
        """Off leaves the filters to the author, who must then apply all of them: DuckDB does not test again."""
        self.merge_filtered = bool(given.get("merge_filtered", True))
        """Rows that filters left of several batches may be sent together. For authors who wait for data between two
        batches it is to be switched off: the rows at hand would wait as well."""
        self.sampling_pushdown = bool(given.get("sampling_pushdown", False))
        self.late_materialization = bool(given.get("late_materialization", False))
        if self.late_materialization and not (self.filter_pushdown and self.projection_pushdown):
            raise DefinitionError(f"{where}: late_materialization needs filter_pushdown and projection_pushdown")
        self.supported_expression_filters = [
            str(one)
            for one in _sequence(where, "supported_expression_filters", given.get("supported_expression_filters"))
        ]
        if self.supported_expression_filters and not self.auto_apply_filters and apply is None:
            raise DefinitionError(f"{where}: supported_expression_filters needs filter_pushdown")
        self.supports_batch_index = bool(given.get("supports_batch_index", False))
        kind = _member(where, "partition_kind", given.get("partition_kind"), records.PARTITION_KINDS)
        self.partition_kind: str = kind or "NOT_PARTITIONED"
        self.partition_columns = [
            str(one) for one in _sequence(where, "partition_columns", given.get("partition_columns"))
        ]


_ACCEPTED: Final = frozenset({*FunctionOptions.__slots__} - {"extra"} | {"preserves_order", "output_type"})
META_ATTRIBUTES: Final = frozenset({*_ACCEPTED, *_NOT_YET})


class BindOutcome:
    """What a bind decided."""

    __slots__ = ("opaque_data", "output_schema")

    def __init__(self, output_schema: Schema, opaque_data: bytes | None = None) -> None:
        self.output_schema = output_schema
        self.opaque_data = opaque_data


class FunctionSpec:
    """Common to all kinds of function. Immutable once made; the same spec may serve several schemas."""

    __slots__ = ("_arguments_schema", "_docs", "_infos", "name", "options", "signature", "source", "where")

    kind: str = ""
    function_type: str = ""
    """Member of ``records.FUNCTION_TYPES``."""
    is_exchange: bool = False
    """It answers input batches one by one."""
    lazy: bool = False
    """Its columns are asked for when a client does, not when a table over it is declared."""
    listed_with_table: bool = False
    """A table over it lists it as well, since DuckDB pushes projections into listed functions only."""
    stateful: bool = False
    """``state()`` tells what listings of its tables depend on."""
    live: bool = False
    """The state may change while a client is attached, and the client is to learn of it."""
    object_type: str = ""
    """Member of ``records.OBJECT_TYPES`` under which it is listed."""

    def __init__(self, name: str, signature: Signature, options: FunctionOptions, source: Any, where: str) -> None:
        if not name or "\0" in name:
            raise DefinitionError(f"{where}: {name!r} is not a function name")
        self.name = name
        self.signature = signature
        self.options = options
        self.source = source
        """What the author wrote: a function, a class, a ufunc."""
        self.where = where
        self._docs: dict[str, str] | None = None
        self._arguments_schema: Schema | None = None
        self._infos: dict[tuple[str, int], bytes] = {}

    @property
    def has_statistics(self) -> bool:
        """It tells column statistics of a call."""
        return False

    @property
    def description(self) -> str:
        if self.options.description is not None:
            return self.options.description
        return docstrings.first_line(docstring_of(self.source))

    @property
    def required_settings(self) -> list[str]:
        return sorted({*self.options.required_settings, *self.signature.settings()})

    @property
    def required_secrets(self) -> list[dict[str, str | None]]:
        """Resolved by the client before the first bind; those whose scope is an argument's value are not."""
        found = list(self.options.required_secrets)
        for secret in self.signature.secrets():
            entry = {"secret_type": secret.type, "scope": secret.scope, "secret_name": secret.name}
            if entry not in found:
                found.append(entry)
        return found

    @property
    def arguments_schema(self) -> Schema:
        if self._arguments_schema is None:
            null = type_named("null")
            self._arguments_schema = Schema(
                [
                    Field(
                        parameter.name,
                        null if parameter.type is None else parameter.type,
                        True,
                        constraints.field_metadata(parameter, parameter.doc) or None,
                    )
                    for parameter in self.signature.parameters
                ]
            )
        return self._arguments_schema

    def info(self, schema_name: str, generation: int = 1) -> bytes:
        """The encoded FunctionInfo."""
        known = self._infos.get((schema_name, generation))
        if known is None:
            values = self.info_values(schema_name)
            known = self._infos[schema_name, generation] = records.FUNCTION_INFO.encode(values, generation)
        return known

    def info_values(self, schema_name: str) -> dict[str, Any]:
        options = self.options
        return {
            "comment": options.comment,
            "tags": options.tags,
            "name": self.name,
            "schema_name": schema_name,
            "function_type": self.function_type,
            "arguments": self.arguments_schema.serialize(),
            "output_schema": self.published_output().serialize(),
            "stability": options.stability,
            "null_handling": options.null_handling,
            "description": self.description,
            "examples": options.examples,
            "categories": options.categories,
            "supported_expression_filters": [],
            "supports_batch_index": options.supports_batch_index,
            "partition_kind": options.partition_kind,
            "order_dependent": records.ORDER_DEPENDENCES[not options.order_dependent],
            "distinct_dependent": records.DISTINCT_DEPENDENCES[not options.distinct_dependent],
            "supports_window": options.supports_window,
            "streaming_partitioned": options.streaming_partitioned,
            "has_finalize": False,
            "source_order_dependent": False,
            "sink_order_dependent": False,
            "requires_input_batch_index": False,
            "input_from_args": False,
            "required_settings": self.required_settings,
            "required_secrets": self.required_secrets,
        }

    def state(self) -> str | None:
        """Of the data behind a table."""
        return None

    def published_output(self) -> Schema:
        return empty_schema()

    def describe(self) -> str:
        """One line for error texts: name and parameter types."""
        parts = []
        for parameter in self.signature.parameters:
            text = f"{parameter.name}{' :=' if parameter.role == 'named' else ''} {parameter.type or 'any'}"
            parts.append(f"{text}..." if parameter.varargs else text)
        return f"{self.name}({', '.join(parts)})"

    def make_args(self, values: dict[str, Any]) -> Any:
        """The object that hooks see as ``params.args``."""
        return Arguments(own_lists(values))

    def check_columns(self, input_schema: Schema | None) -> None:
        """Refuse input columns that the function does not take."""

    def bind(self, params: BindParams[Any]) -> BindOutcome:
        raise InternalError(f"{self.kind} functions have no bind")

    def check_settings(self, settings_blob: bytes | None) -> None:
        required = self.required_settings
        if not required:
            return
        given = decode_settings(settings_blob)
        missing = [name for name in required if name not in given]
        if missing:
            raise ArgumentError(f"Function '{self.name}' requires settings: {missing}")

    def request_secrets(self, params: BindParams[Any]) -> None:
        """Note the lookups of injected secrets that the client has not delivered."""
        for injection in self.signature.injections:
            if injection.kind == SECRET:
                self.secret_for(injection, params)

    def secret_for(self, injection: Injection, params: BindParams[Any]) -> SecretValues | None:
        secret: Secret = injection.detail
        scope = secret.scope
        if secret.scope_from is not None:
            value = getattr(params.args, secret.scope_from)
            scope = None if value is None else str(value)
        found = params.secrets.get(secret.type, scope, secret.name)
        if found is None and params.secrets.resolved and not injection.optional:
            raise ArgumentError(
                f"Function '{self.name}' needs a secret of type '{secret.type}', but there is none"
                + (f" for '{scope}'" if scope else ""),
                hint=f"CREATE SECRET (TYPE {secret.type}, ...)",
            )
        return found

    def __repr__(self) -> str:
        return f"<{self.kind} function {self.describe()}>"


def own_lists(values: dict[str, Any]) -> dict[str, Any]:
    """A copy whose lists an author may change: the values themselves are shared by equal calls."""
    return {name: list(value) if type(value) is list else value for name, value in values.items()}


def docs_reader(source: Any) -> Callable[[], dict[str, str]]:
    """Parameter texts of a docstring, parsed when first asked for."""
    cache: list[dict[str, str]] = []

    def docs() -> dict[str, str]:
        if not cache:
            cache.append(docstrings.parameter_docs(docstring_of(source)))
        return cache[0]

    return docs


def docstring_of(source: Any) -> str | None:
    """The author's own docstring: not one inherited from a base class or the class of a kernel object."""
    if isinstance(source, type):
        return source.__dict__.get("__doc__")
    return getattr(source, "__doc__", None) if hasattr(source, "__name__") else None


def attached_specs(source: Any) -> tuple[FunctionSpec, ...]:
    """Specs that a decorator left on a function; a subclass does not inherit its base's."""
    found = vars(source).get(SPECS_ATTRIBUTE, ()) if hasattr(source, "__dict__") else ()
    return tuple(found)


def attach_spec(source: Any, spec: FunctionSpec) -> None:
    setattr(source, SPECS_ATTRIBUTE, (*attached_specs(source), spec))


def _member(where: str, option: str, given: Any, members: tuple[str, ...]) -> str | None:
    """An enumeration's member from its name in any case, or from an enum's member."""
    if given is None:
        return None
    name = str(getattr(given, "name", given)).upper()
    if name not in members:
        allowed = ", ".join(repr(member.lower()) for member in members)
        raise DefinitionError(f"{where}: {option} must be one of {allowed}, got {given!r}")
    return name


def _dependent(where: str, option: str, given: Mapping[str, Any], members: tuple[str, ...]) -> bool:
    """``members``: dependent, then not."""
    value = given.get(option, False)
    if isinstance(value, bool):
        return value
    return _member(where, option, value, members) == members[0]


def _sequence(where: str, option: str, given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        raise DefinitionError(f"{where}: {option} must be a list, got {given!r}")
    return list(given)


def _example(where: str, given: Any) -> dict[str, str | None]:
    if isinstance(given, str):
        return {"sql": given, "description": "", "expected_output": None}
    if isinstance(given, tuple) and 1 <= len(given) <= 3 and isinstance(given[0], str):
        given = FunctionExample(*given)
    if not hasattr(given, "sql"):
        raise DefinitionError(f"{where}: an example is SQL text or (sql, description, expected_output), got {given!r}")
    return {
        "sql": given.sql,
        "description": getattr(given, "description", "") or "",
        "expected_output": getattr(given, "expected_output", None),
    }


def _secret(where: str, given: Any) -> dict[str, str | None]:
    if isinstance(given, str):
        given = Secret(given)
    if isinstance(given, Secret):
        return {"secret_type": given.type, "scope": given.scope, "secret_name": given.name}
    raise DefinitionError(f"{where}: a required secret is a type or Secret(...), got {given!r}")
