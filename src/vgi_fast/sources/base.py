"""What a table's data is to the framework: a ``Source``, and the function that scans it.

    class Readings:
        def schema(self):
            return "at: timestamp[us], value: float64"

        def scan(self, request):
            for day in days():
                yield load(day, request.columns)

    worker.add_table("readings", Readings())

Any process may be asked to scan, so a source holds what each process can come by itself: a path, a URL, data that
the program loads when it starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from vgi_fast.catalog.scans import ScanFunction
from vgi_fast.errors import ArgumentError, DefinitionError, ProtocolError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions.context import GlobalInitResponse, TableCardinality
from vgi_fast.functions.emission import Emit
from vgi_fast.functions.filters.nodes import NO_FILTERS
from vgi_fast.functions.signature import BY_KEYWORD, NAMED, Parameter, Signature, Slot
from vgi_fast.functions.spec import FunctionOptions, FunctionSpec
from vgi_fast.functions.table import TableSpec, table_schema
from vgi_fast.wire.arrow import type_named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vgi_fast.functions.caching import CacheControl
    from vgi_fast.functions.context import BindParams, ProcessParams
    from vgi_fast.functions.filters.nodes import PushdownFilters
    from vgi_fast.functions.output import Producer
    from vgi_fast.functions.statistics import ColumnStatisticsInput
    from vgi_fast.wire.arrow import Schema

__all__ = ["ScanRequest", "Source", "SourceScan", "SourceSpec"]

BATCH_ROWS: Final = 32_768
"""Rows of a batch where the source can choose: few messages, and yet small enough to stay in the cache."""

STATE: Final = "state"


class ScanRequest:
    """What a query wants of a source. A source gives at least these columns and rows; what is too much is dropped."""

    __slots__ = ("columns", "filters")

    def __init__(self, columns: list[str], filters: PushdownFilters = NO_FILTERS) -> None:
        self.columns = columns
        """Names, in the order in which they are sent."""
        self.filters = filters
        """Rows that do not pass may be left out: ``.to_pyarrow(schema)``, ``.bounds("n")``, ``.values("kind")``."""

    def __repr__(self) -> str:
        return f"ScanRequest(columns={self.columns}, filters={self.filters})"


@runtime_checkable
class Source(Protocol):
    """Where the rows of a table come from. ``SourceDefaults`` has what is optional."""

    def schema(self) -> Any:
        """The columns, in any form that a schema can have. Asked once per process, when first needed."""

    def scan(self, request: ScanRequest) -> Iterator[Any]:
        """Batches in any form that a table function can yield."""


class SourceDefaults:
    """What a source need not know."""

    __slots__ = ()

    def cardinality(self) -> TableCardinality | int | None:
        """An int is an exact number of rows, for as long as the data stays."""
        return None

    def statistics(self) -> Mapping[str, ColumnStatisticsInput]:
        """By column. They are certain: DuckDB leaves out scans because of them."""
        return {}

    live: bool = False
    """The state changes while the worker runs, and DuckDB is to ask for it with each transaction."""

    def state(self) -> str | None:
        """Identifies what the statistics and the number of rows were taken from; None for data that never changes."""
        return None


class SourceSpec(TableSpec):
    """The table function that scans a source. Nothing is opened before a column is asked for."""

    __slots__ = ("_schema", "_statistics", "data", "tagged")

    def __init__(
        self,
        name: str,
        data: Source,
        where: str,
        *,
        order_preservation: str | None = None,
        cache_control: CacheControl | None = None,
    ) -> None:
        # The state that a listing saw comes back with each scan of the table.
        state = Parameter(STATE, NAMED, type_named("utf8"), ann.VALUE, default=None)
        options = FunctionOptions(
            where,
            {
                "projection_pushdown": True,
                "filter_pushdown": True,
                "auto_apply_filters": True,
                "order_preservation": order_preservation,
                "description": f"Rows of {where}",
                "cache_control": cache_control,
            },
        )
        options.cache_control.for_scan(single_valued=False)
        self.tagged = bool(cache_control and cache_control.get("revalidatable") and not cache_control.get("etag"))
        """The state of the data is the etag of its results."""
        signature = Signature([Slot(STATE, BY_KEYWORD, state)], where)
        FunctionSpec.__init__(self, name, signature, options, data, where)
        self.owner = None
        self.args_class = None
        self.hooks = {}
        self.columns_hook = None
        self.data = data
        self._schema: Schema | None = None
        self._statistics: tuple[str | None, Mapping[str, ColumnStatisticsInput]] | None = None

    listed_with_table = True
    lazy = True

    @property
    def stateful(self) -> bool:  # type: ignore[override]
        return hasattr(self.data, "state")

    @property
    def live(self) -> bool:  # type: ignore[override]
        return bool(getattr(self.data, "live", False))

    @property
    def fixed_schema(self) -> Schema:  # type: ignore[override]
        if self._schema is None:
            schema = table_schema(self.data.schema(), self.where)
            _check_names(schema.names, self.where)
            self._schema = schema
        return self._schema

    def cardinality(self, params: BindParams[Any] | None) -> TableCardinality:
        ask = getattr(self.data, "cardinality", None)
        return TableCardinality.of(None if ask is None else ask(), self.where)

    def table_statistics(self) -> Mapping[str, ColumnStatisticsInput]:
        ask = getattr(self.data, "statistics", None)
        if ask is None:
            return {}
        state = self.state()
        if self._statistics is None or self._statistics[0] != state:
            self._statistics = state, ask()
        return self._statistics[1]

    def state(self) -> str | None:
        ask = getattr(self.data, "state", None)
        return None if ask is None else ask()

    def start(self, params: ProcessParams[Any], values: dict[str, Any]) -> tuple[GlobalInitResponse, Producer]:
        if params.is_secondary:
            raise ProtocolError(f"{self.where} has one worker; it cannot serve a secondary stream")
        seen = values.get(STATE)
        if seen is not None and seen != self.state():
            raise ArgumentError(
                f"{self.where} has changed since DuckDB learned its statistics",
                hint="FROM vgi_clear_cache(); or declare the table with live=True if its files keep changing",
            )
        batches = self._tagged(params) if self.tagged else iter(self._batches(params))
        return GlobalInitResponse(), self._produced(batches, params)

    def _batches(self, params: ProcessParams[Any]) -> Iterator[Any]:
        return self.data.scan(ScanRequest(params.output_schema.names, params.stream_filters.static))

    def _tagged(self, params: ProcessParams[Any]) -> Iterator[Any]:
        """Read only if the client's copy is of another state. Taken before the data is read, the state is never newer
        than the rows."""
        tag = self.state()
        if tag is not None and params.if_none_match == tag:
            yield Emit(None, cache_control={"not_modified": True, "etag": tag})
            return
        control: CacheControl | None = None if tag is None else {"etag": tag}
        for batch in self._batches(params):
            yield Emit(batch, cache_control=control)
            control = None


class SourceScan(ScanFunction):
    """The call of a source's function. It carries the state of the data at the time of the listing."""

    __slots__ = ()

    def __init__(self, spec: SourceSpec) -> None:
        super().__init__(spec)

    def arguments_blob(self) -> bytes:
        assert isinstance(self.spec, SourceSpec)
        state = self.spec.state()
        return b"" if state is None else ScanFunction(self.spec, {STATE: state}).arguments_blob()


def _check_names(names: list[str], where: str) -> None:
    """DuckDB finds columns without regard to case."""
    seen: dict[str, str] = {}
    for name in names:
        if not name:
            raise DefinitionError(f"{where}: a column has no name")
        other = seen.setdefault(name.lower(), name)
        if other is not name:
            raise DefinitionError(f"{where}: columns '{other}' and '{name}' are one name to DuckDB; rename one")
