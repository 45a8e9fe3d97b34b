"""What an init brings for the optimizer's sake: filters, hints, validators, and what ticks add (section 0)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast._core import RecordBatch, Schema, decode_row, encode_row
from vgi_fast.errors import ProtocolError
from vgi_fast.functions.context import GlobalInitResponse, OrderHint, SampleHint
from vgi_fast.functions.filters.nodes import NO_FILTERS
from vgi_fast.wire import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vgi_fast.functions.context import ProcessParams
    from vgi_fast.functions.filters.nodes import PushdownFilters
    from vgi_fast.functions.table import TableSpec

    Note = Callable[[Mapping[bytes, bytes]], object]
    Step = Callable[[RecordBatch], RecordBatch]

_ENVELOPE: Final = b"vgi_fast.filters\0"
_ENVELOPE_SCHEMA: Final = "opaque_data: binary, pushdown_filters: large_binary, join_keys: list<large_binary>"


class Unfiltered:
    """The filters of a function that takes none."""

    static = current = NO_FILTERS
    applies = False

    def tick(self, value: bytes | None) -> None:
        """A tick's filters are not for this function."""

    def apply(self, batch: RecordBatch) -> RecordBatch:
        return batch


_UNFILTERED: Final = Unfiltered()


def prepare(spec: TableSpec, params: ProcessParams[Any], request: dict[str, Any]) -> None:
    """Filters and hints become attributes of ``params``. What the function has not declared is ignored."""
    options = spec.options
    blob, join_keys = request["pushdown_filters"], request["join_keys"]
    opaque = params.init_opaque_data
    if opaque is not None and opaque.startswith(_ENVELOPE):
        known = decode_row(opaque[len(_ENVELOPE) :])
        params.init_opaque_data = known.get("opaque_data")
        blob, join_keys = known.get("pushdown_filters"), known.get("join_keys")
    params.wire_schema = params.output_schema
    params.stream_filters = _UNFILTERED
    if options.filter_pushdown:
        _take_filters(params, blob, join_keys, options.auto_apply_filters)
    column = request["order_by_column_name"]
    params.order_by = None
    if column is not None:
        direction, null_order = request["order_by_direction"] or "ASC", request["order_by_null_order"] or "NULLS_LAST"
        params.order_by = OrderHint(column, direction, null_order, request["order_by_limit"])
    percentage = request["tablesample_percentage"]
    params.sample = None
    if percentage is not None and options.sampling_pushdown:
        params.sample = SampleHint(percentage, request["tablesample_seed"])


def _take_filters(
    params: ProcessParams[Any], blob: bytes | None, join_keys: list[bytes | None] | None, applies: bool
) -> None:
    # Imported when first needed: a worker without such functions starts faster.
    from vgi_fast.functions.filters.decoding import decode_filters
    from vgi_fast.functions.filters.plan import StreamFilters

    static: PushdownFilters = decode_filters(blob, join_keys)
    if applies:
        params.output_schema = _widened(params, static.columns)
    log = params.log
    params.stream_filters = StreamFilters(static, params.output_schema, applies, lambda text: log("DEBUG", text))


def _widened(params: ProcessParams[Any], filtered: set[str]) -> Schema:
    """DuckDB requests the columns that it filters; another client's query may leave them out."""
    schema = params.output_schema
    names = set(schema.names)
    more = [field for field in params.full_schema.fields if field.name in filtered and field.name not in names]
    return Schema([*schema.fields, *more]) if more else schema


def shared(
    spec: TableSpec, params: ProcessParams[Any], request: dict[str, Any], response: GlobalInitResponse
) -> GlobalInitResponse:
    """The client gives filters to further streams only where projection is pushed as well: pass them on with the
    author's bytes, which every stream gets."""
    options = spec.options
    if (
        not options.filter_pushdown
        or options.projection_pushdown
        or response.max_workers == 1
        or not params.stream_filters.static
    ):
        return response
    if params.is_secondary:
        return response
    row = {
        "opaque_data": response.opaque_data,
        "pushdown_filters": request["pushdown_filters"],
        "join_keys": request["join_keys"],
    }
    blob = encode_row(Schema.parse(_ENVELOPE_SCHEMA), row)
    return GlobalInitResponse(response.max_workers, _ENVELOPE + blob)


def listener(params: ProcessParams[Any]) -> Note:
    """Takes the metadata of each tick that has some."""

    def note(metadata: Mapping[bytes, bytes]) -> None:
        params.stream_filters.tick(metadata.get(keys.PUSHDOWN_FILTERS))
        if keys.CACHE_IF_NONE_MATCH in metadata or keys.CACHE_IF_MODIFIED_SINCE in metadata:
            take_validators(params, metadata)

    return note


def take_validators(params: ProcessParams[Any], metadata: Mapping[bytes, bytes]) -> None:
    """What the client would like to keep: of the whole scan, or of the batch that it sends."""
    params.if_none_match = _text(metadata.get(keys.CACHE_IF_NONE_MATCH))
    params.if_modified_since = _text(metadata.get(keys.CACHE_IF_MODIFIED_SINCE))


def validated(step: Step, params: ProcessParams[Any]) -> Step:
    """Answers a batch with its validators in ``params``."""

    def answer(batch: RecordBatch) -> RecordBatch:
        take_validators(params, batch.metadata)
        return step(batch)

    return answer


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        raise ProtocolError(f"a cache validator is not UTF-8: {value!r:.80}") from None
