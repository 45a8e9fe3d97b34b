"""What a worker does ahead of its first call when others are forked from it: imports, constant answers."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

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


def warm_up(service: Service, registry: Registry) -> None:
    """No code of the author runs here."""
    import fcntl  # noqa: F401  (of the transport on standard input and output)

    import vgi_fast.transports.stdio
    import vgi_fast.worker.commandline  # noqa: F401
    from vgi_fast.worker.calls import load_all

    load_all()
    prepare, service.prepare = service.prepare, None
    if prepare is not None:
        prepare()
    if registry.delivers_arrow():
        import pyarrow  # noqa: F401
    _rehearse_arrow()
    for generation in versions.GENERATIONS:
        _rehearse(service, _opening(registry, generation))
    service.prebuild()


def _rehearse_arrow() -> None:
    """pyarrow sets up its memory pool and its table of functions when they are first used: 6 MiB per process."""
    arrow = sys.modules.get("pyarrow")
    if arrow is None:
        return
    text = arrow.array([""])
    compute = sys.modules.get("pyarrow.compute")
    if compute is not None:
        compute.call_function("utf8_upper", [text])


def _opening(registry: Registry, generation: int) -> Iterator[bytes]:
    """What a client asks first."""
    yield _request(generation, "catalog_catalogs", {})
    for interface in registry.interfaces.values():
        if type(interface) is not ReadOnlyCatalogInterface or interface.catalog.attach_options:
            continue  # the author's code answers, or options may be required
        name = interface.catalog.name
        attach = methods.method("catalog_attach", generation).request
        assert attach is not None
        yield _request(generation, "catalog_attach", {"request": attach.encode({"name": name}, generation)})
        yield _request(generation, "catalog_version", {"attach_opaque_data": bytes(AttachData.new(name))})


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
