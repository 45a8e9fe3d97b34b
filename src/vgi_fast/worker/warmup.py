"""What a worker does ahead of its first call when others are forked from it: imports, constant answers."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from vgi_fast._core import Input, Output
from vgi_fast.catalog.readonly import ReadOnlyCatalogInterface
from vgi_fast.transports.base import Capabilities
from vgi_fast.wire import keys, methods, versions
from vgi_fast.wire.arrow import RecordBatch, encode_stream
from vgi_fast.wire.attach import AttachData
from vgi_fast.worker.dispatch import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from vgi_fast.catalog.registry import Registry
    from vgi_fast.worker.dispatch import Service

__all__ = ["warm_up"]

_LISTED: Final = {
    "catalog_schema_contents_functions": ("SCALAR_FUNCTION", "TABLE_FUNCTION", "AGGREGATE_FUNCTION"),
    "catalog_schema_contents_macros": ("SCALAR_MACRO", "TABLE_MACRO"),
    "catalog_schema_contents_tables": (None,),
    "catalog_schema_contents_views": (None,),
    "catalog_schema_contents_indexes": (None,),
}


def warm_up(service: Service, registry: Registry) -> None:
    """No code of the author runs here."""
    import fcntl  # noqa: F401  (of the transport on standard input and output)

    import vgi_fast.transports.stdio
    import vgi_fast.worker.commandline  # noqa: F401

    prepare, service.prepare = service.prepare, None
    if prepare is not None:
        prepare()
    if registry.delivers_arrow():
        import pyarrow  # noqa: F401
    _rehearse_arrow()
    for generation in versions.GENERATIONS:
        _rehearse(service, _listing(registry, generation))


def _rehearse_arrow() -> None:
    """pyarrow sets up its memory pool and its table of functions when they are first used: 6 MiB per process."""
    arrow = sys.modules.get("pyarrow")
    if arrow is None:
        return
    text = arrow.array([""])
    compute = sys.modules.get("pyarrow.compute")
    if compute is not None:
        compute.call_function("utf8_upper", [text])


def _listing(registry: Registry, generation: int) -> Iterator[bytes]:
    """What a client asks for when it attaches each catalog."""
    yield _request(generation, "catalog_catalogs", {})
    for interface in registry.interfaces.values():
        if type(interface) is not ReadOnlyCatalogInterface:
            continue  # the author's code answers
        catalog = interface.catalog
        attach = methods.method("catalog_attach", generation).request
        assert attach is not None
        yield _request(generation, "catalog_attach", {"request": attach.encode({"name": catalog.name}, generation)})
        data = {
            "attach_opaque_data": AttachData.new(catalog.name, data_version=next(iter(catalog.data_versions), None))
        }
        yield _request(generation, "catalog_version", data)
        yield _request(generation, "catalog_schemas", data)
        for schema in catalog.schemas:
            for method, kinds in _LISTED.items():
                for kind in kinds:
                    asked = {"name": schema.name} if kind is None else {"name": schema.name, "type": kind}
                    yield _request(generation, method, data | asked)


def _request(generation: int, name: str, params: Mapping[str, Any]) -> bytes:
    declared = methods.method(name, generation)
    metadata = {
        keys.METHOD: name.encode(),
        keys.REQUEST_VERSION: versions.REQUEST_VERSION,
        keys.PROTOCOL_VERSION: versions.GENERATIONS[generation].encode(),
    }
    batch = (
        RecordBatch.from_row(declared.params, params) if len(declared.params) else RecordBatch(declared.params, [], 1)
    )
    return encode_stream(declared.params, [batch.with_metadata(metadata)])


class _Rehearsal:
    """A connection whose requests come from a pipe and whose answers nobody reads."""

    def __init__(self, data: bytes) -> None:
        self._read, write = os.pipe()
        self._null = os.open(os.devnull, os.O_WRONLY)
        os.set_blocking(write, False)
        os.write(write, data)
        os.close(write)
        self.input = Input(self._read)
        self.output = Output(self._null)
        self.capabilities = Capabilities()

    def close(self) -> None:
        os.close(self._read)
        os.close(self._null)


def _rehearse(service: Service, requests: Iterator[bytes]) -> None:
    for data in requests:
        connection = _Rehearsal(data)
        try:
            Session(service, connection).run()
        finally:
            connection.close()
