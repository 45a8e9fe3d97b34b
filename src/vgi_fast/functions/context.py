"""What an author's hooks receive and answer: ``params``, the caller's identity, logs and responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from vgi_fast.errors import ArgumentError
from vgi_fast.functions.secrets import SecretsAccessor, decode_settings
from vgi_fast.wire.arrow import decode_row, schema_from_bytes
from vgi_fast.wire.attach import AttachData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vgi_fast.functions.arguments import GivenArguments
    from vgi_fast.functions.filters.nodes import CurrentFilters, PushdownFilters
    from vgi_fast.storage import BoundStorage, TransactionStorage
    from vgi_fast.wire.arrow import DataType, Schema

__all__ = [
    "ANONYMOUS",
    "Arguments",
    "BindParams",
    "BindResponse",
    "CallerIdentity",
    "ClientLog",
    "ExecutionParams",
    "GlobalInitResponse",
    "InitParams",
    "Level",
    "OrderHint",
    "ProcessParams",
    "Projection",
    "SampleHint",
    "TableCardinality",
    "WriteOptions",
]

TArgs = TypeVar("TArgs")


class Level:
    """Levels of a log to the client."""

    ERROR: Final = "ERROR"
    WARN: Final = "WARN"
    INFO: Final = "INFO"
    DEBUG: Final = "DEBUG"
    TRACE: Final = "TRACE"


class CallerIdentity:
    """Who calls. On stdio and sockets nobody is authenticated."""

    __slots__ = ("authenticated", "claims", "domain", "principal")

    def __init__(
        self,
        principal: str | None = None,
        domain: str | None = None,
        claims: Mapping[str, Any] | None = None,
        authenticated: bool | None = None,
    ) -> None:
        self.principal = principal
        self.domain = domain
        self.claims = dict(claims or {})
        self.authenticated = principal is not None if authenticated is None else authenticated

    def __repr__(self) -> str:
        return f"CallerIdentity({self.principal!r}, domain={self.domain!r})"


ANONYMOUS: Final = CallerIdentity()


class Projection(list[str]):
    """Names of the columns that the query reads, in output order."""

    __slots__ = ()


class OrderHint:
    """The first key of ORDER BY … LIMIT above the scan. Advisory: DuckDB sorts and limits in any case.

    Rows may be left out only if all rows that could be among the first ``limit`` are there, ties included.
    """

    __slots__ = ("column", "direction", "limit", "null_order")

    def __init__(self, column: str, direction: str, null_order: str, limit: int | None) -> None:
        self.column = column
        self.direction = direction
        """``ASC`` or ``DESC``."""
        self.null_order = null_order
        """``NULLS_FIRST`` or ``NULLS_LAST``."""
        self.limit = limit

    @property
    def descending(self) -> bool:
        return self.direction == "DESC"

    @property
    def nulls_first(self) -> bool:
        return self.null_order == "NULLS_FIRST"

    def __repr__(self) -> str:
        return f"OrderHint({self.column!r}, {self.direction}, {self.null_order}, limit={self.limit})"


class SampleHint:
    """TABLESAMPLE SYSTEM. Mandatory: DuckDB does not sample again."""

    __slots__ = ("percentage", "seed")

    def __init__(self, percentage: float, seed: int | None) -> None:
        self.percentage = percentage
        self.seed = seed

    def __repr__(self) -> str:
        return f"SampleHint({self.percentage}, seed={self.seed})"


class ClientLog:
    """Sends a line to DuckDB's log: ``log("INFO", "half way", rows=10)``."""

    __slots__ = ("_write",)

    def __init__(self, write: Callable[[str, str, dict[str, Any]], None]) -> None:
        self._write = write

    def __call__(self, level: str, message: str, /, **extra: Any) -> None:
        name = getattr(level, "name", level)
        self._write("WARN" if name == "WARNING" else str(name), message, extra)


def discard_log(level: str, message: str, extra: dict[str, Any]) -> None:
    """Where logs go when a call has no client to send them to."""


class Arguments:
    """Constant arguments by name: ``args.count`` or ``args["count"]``."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"no argument {name!r}; there are {list(self._values)}") from None

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Arguments({self._values!r})"


class BindResponse:
    """Answer of ``on_bind``: the output schema (a type, for a scalar) and bytes for the later calls."""

    __slots__ = ("opaque_data", "output_schema")

    def __init__(self, output_schema: Any, opaque_data: bytes | None = None) -> None:
        self.output_schema = output_schema
        self.opaque_data = opaque_data


class GlobalInitResponse:
    """Answer of ``on_init``: an upper bound of parallel streams, and bytes for each of them."""

    __slots__ = ("max_workers", "opaque_data")

    def __init__(self, max_workers: int = 1, opaque_data: bytes | None = None) -> None:
        self.max_workers = max_workers
        self.opaque_data = opaque_data


class TableCardinality:
    """Expected and greatest number of rows; None is unknown."""

    __slots__ = ("estimate", "max")

    def __init__(self, estimate: int | None = None, max: int | None = None) -> None:
        self.estimate = estimate
        self.max = max

    @staticmethod
    def of(value: Any, where: str) -> TableCardinality:
        """An integer is an exact count."""
        if value is None or isinstance(value, TableCardinality):
            return value or TableCardinality()
        if isinstance(value, int) and not isinstance(value, bool):
            return TableCardinality(value, value)
        raise ArgumentError(
            f"{where}: cardinality must be an int, a TableCardinality or None, got {type(value).__name__}"
        )


WRITE_OPTIONS: Final = "write_options"


class WriteOptions:
    """How a statement writes (section 5.3 of the catalog document)."""

    __slots__ = ("on_conflict", "on_conflict_columns", "return_chunks")

    def __init__(self, blob: bytes | None) -> None:
        row = decode_row(blob) if blob else {}
        self.return_chunks = bool(row.get("return_chunks"))
        """RETURNING: the rows are wanted, not their number."""
        self.on_conflict = str(row.get("on_conflict") or "throw")
        """``throw`` or ``nothing``."""
        self.on_conflict_columns: list[str] = list(row.get("on_conflict_columns") or ())

    def __repr__(self) -> str:
        return f"WriteOptions(return_chunks={self.return_chunks}, on_conflict={self.on_conflict!r})"


class BindParams(Generic[TArgs]):
    """What is known when a call is planned."""

    __slots__ = (
        "_secrets",
        "_settings",
        "args",
        "at_unit",
        "at_value",
        "attach_opaque_data",
        "auth",
        "copy_direction",
        "copy_format",
        "expected_schema",
        "file_path",
        "function_name",
        "given",
        "input_schema",
        "log",
        "schema_name",
        "secrets_blob",
        "secrets_resolved",
        "settings_blob",
        "transaction_opaque_data",
    )

    def __init__(
        self,
        request: Mapping[str, Any],
        args: TArgs,
        given: GivenArguments,
        input_schema: Schema | None,
        *,
        auth: CallerIdentity = ANONYMOUS,
        log: ClientLog | None = None,
    ) -> None:
        self.args = args
        self.given = given
        """Arguments as they arrived, with their types."""
        self.input_schema = input_schema
        self.function_name: str = request["function_name"]
        self.schema_name: str | None = request["schema_name"]
        self.attach_opaque_data: bytes | None = request["attach_opaque_data"]
        self.transaction_opaque_data: bytes | None = request["transaction_opaque_data"]
        self.at_unit: str | None = request["at_unit"]
        self.at_value: str | None = request["at_value"]
        copy = request.get("copy_from") or request.get("copy_to") or {}
        self.copy_direction: str | None = None if not copy else "from" if request.get("copy_from") else "to"
        self.copy_format: str | None = copy.get("format")
        self.file_path: str | None = copy.get("file_path")
        """What a COPY reads or writes; DuckDB may have chosen a temporary name."""
        expected = copy.get("expected_schema")
        self.expected_schema: Schema | None = None if expected is None else schema_from_bytes(expected)
        self.auth = auth
        self.log = log or ClientLog(discard_log)
        self.settings_blob: bytes | None = request["settings"]
        self.secrets_blob: bytes | None = request["secrets"]
        self.secrets_resolved = bool(request["resolved_secrets_provided"])
        self._settings: dict[str, Any] | None = None
        self._secrets: SecretsAccessor | None = None

    @property
    def settings(self) -> dict[str, Any]:
        if self._settings is None:
            self._settings = decode_settings(self.settings_blob)
        return self._settings

    @property
    def secrets(self) -> SecretsAccessor:
        if self._secrets is None:
            self._secrets = SecretsAccessor(self.secrets_blob, self.secrets_resolved)
        return self._secrets

    @property
    def attach(self) -> AttachData:
        """The ATTACH that the call belongs to; ArgumentError for a call outside of any."""
        if self.attach_opaque_data is None:
            raise ArgumentError(f"Function '{self.function_name}' is called without an attached catalog")
        return AttachData.open(self.attach_opaque_data)

    @property
    def write_options(self) -> WriteOptions:
        given = self.given.named.get(WRITE_OPTIONS)
        return WriteOptions(given.value if given is not None else None)

    @property
    def input_types(self) -> list[DataType]:
        """Types of the input columns, in order."""
        return self.input_schema.types if self.input_schema is not None else []

    @property
    def attach_storage(self) -> BoundStorage:
        """What all calls of this ATTACH share; it outlives them."""
        from vgi_fast.storage import BoundStorage, attach_scope, default_storage

        return BoundStorage(default_storage(), b"", scope=attach_scope(self.attach_opaque_data or b""))

    @property
    def transaction_storage(self) -> TransactionStorage | None:
        """What all calls of this transaction share until it ends; None outside of one."""
        if not self.transaction_opaque_data:
            return None
        from vgi_fast.storage import TransactionStorage, default_storage

        return TransactionStorage(default_storage(), self.transaction_opaque_data)

    def client_log(self, level: str, message: str, **extra: Any) -> None:
        self.log(level, message, **extra)


class ExecutionParams(BindParams[TArgs]):
    """What is known of an execution, also after its last stream: what ``dynamic_to_string`` takes."""

    __slots__ = ("execution_id",)

    execution_id: bytes
    """Common to all parallel streams of one execution."""

    @property
    def storage(self) -> BoundStorage:
        """What all processes of this execution share."""
        from vgi_fast.storage import BoundStorage, default_storage

        return BoundStorage(default_storage(), self.execution_id)


class InitParams(ExecutionParams[TArgs]):
    """What is known when a stream starts."""

    __slots__ = (
        "bind_opaque_data",
        "full_schema",
        "init_opaque_data",
        "is_secondary",
        "order_by",
        "output_schema",
        "projection",
        "projection_ids",
        "sample",
        "stream_filters",
        "substream_id",
        "wire_schema",
    )

    is_secondary: bool
    full_schema: Schema
    """All columns of the bind."""
    output_schema: Schema
    """The columns to produce, in order."""
    projection_ids: list[int] | None
    projection: Projection
    bind_opaque_data: bytes | None
    init_opaque_data: bytes | None
    substream_id: bytes | None
    stream_filters: CurrentFilters
    order_by: OrderHint | None
    sample: SampleHint | None
    wire_schema: Schema
    """The columns that leave; ``output_schema`` may add some that only filters read."""

    @property
    def filters(self) -> PushdownFilters:
        """The pushed filters, with what DuckDB has found out since the scan began.

        >>> params.filters.bounds("n").lower            # doctest: +SKIP
        """
        return self.stream_filters.current

    pushdown_filters = filters

    @property
    def required_columns(self) -> list[str]:
        """Names of the columns that are worth reading: those of the query and of its filters."""
        return self.output_schema.names


class ProcessParams(InitParams[TArgs]):
    """What is known while a stream runs: as ``InitParams``, with the answer of ``on_init``."""

    __slots__ = ("if_modified_since", "if_none_match", "init_response")

    init_response: GlobalInitResponse
    if_none_match: str | None
    """The etag of a cached result that the client would like to keep: answer with ``not_modified``, or anew.

    It is known when the first batch is asked for: in a generator and in ``process``, not in ``initial_state``. Of
    functions over tables or columns, each batch has its own.
    """
    if_modified_since: str | None
    """The same by ``last_modified``, for a result without etag."""
