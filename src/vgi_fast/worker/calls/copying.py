"""COPY formats: their listing, and the streams of readers (section 9 of the function document)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgi_fast.catalog import encode
from vgi_fast.functions.over_tables.copying import CopyFromSpec, CopyToSpec
from vgi_fast.functions.signature import NAMED
from vgi_fast.wire import records
from vgi_fast.wire.arrow import Field, Schema
from vgi_fast.worker.calls.catalog import Asked
from vgi_fast.worker.calls.stream import send_header, serve_producer_stream, stream_params

if TYPE_CHECKING:
    from vgi_fast.functions.context import ProcessParams
    from vgi_fast.functions.invocation import Invocation
    from vgi_fast.worker.calls.catalog import Handler
    from vgi_fast.worker.calls.stream import Phased
    from vgi_fast.worker.dispatch import Call, Reply


def formats(call: Call, row: dict[str, Any]) -> Reply | bytes | None:
    """Those of registered functions, and what the catalog adds. DuckDB asks at each ATTACH."""
    asked = Asked(call, row)
    return asked.reply(None, lambda: encode.items(_format_infos(asked)))


def _format_infos(asked: Asked) -> list[bytes]:
    call = asked.call
    items = [_format_info(call, specs) for specs in call.service.registry.copy_formats(asked.attach.catalog).values()]
    for one in asked.interface.copy_from_formats(attach_opaque_data=asked.attach):
        items.append(records.COPY_FROM_FORMAT_INFO.encode(one, call.generation))
    return items


def _format_info(call: Call, specs: list[CopyFromSpec | CopyToSpec]) -> bytes:
    """Both directions of a format are one item: DuckDB would drop the second."""
    first = specs[0]
    options: dict[str, Field] = {}
    tags: dict[str, str] = {}
    for spec in specs:
        tags.update(spec.options.tags)
        named = [parameter.name for parameter in spec.signature.parameters if parameter.role == NAMED]
        options.update({field.name: field for field in spec.arguments_schema if field.name in named})
    return records.COPY_FROM_FORMAT_INFO.encode(
        {
            "comment": first.options.comment,
            "tags": tags,
            "format_name": first.format_name,
            "handler": first.name,
            "options": Schema(options.values()).serialize(),
            "direction": "both" if len(specs) == 2 else first.direction,
            "description": first.description,
            "ordered": any(isinstance(spec, CopyToSpec) and spec.ordered for spec in specs),
        },
        call.generation,
    )


def init_copy_from(call: Call, request: dict[str, Any], invocation: Invocation) -> None:
    spec = invocation.spec
    assert isinstance(spec, CopyFromSpec)
    params: ProcessParams[Any] = stream_params(call, invocation, request)
    response, producer = spec.start(params, invocation.values)
    send_header(call, params.execution_id, response)
    serve_producer_stream(call, producer, params.output_schema)


PHASED: Phased = {CopyFromSpec: ((None, ""), init_copy_from)}

HANDLERS: dict[str, Handler] = {"catalog_copy_from_formats": formats}
