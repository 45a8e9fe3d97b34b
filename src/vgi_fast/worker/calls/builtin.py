"""``__transport_options__`` and ``__describe__`` (sections 6.1 and 7 of the RPC document)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vgi_fast._core import RecordBatch, Schema
from vgi_fast.wire import keys, methods, versions
from vgi_fast.wire.arrow import empty_schema

if TYPE_CHECKING:
    from vgi_fast.worker.dispatch import Session


def transport_options(session: Session, metadata: dict[bytes, bytes]) -> bool:
    """Always answered, and always successfully: after an error DuckDB would lose its place."""
    shared_memory = session.connection.capabilities.shared_memory
    if shared_memory:
        from vgi_fast.transports.shared_memory import is_available

        shared_memory = is_available()
    output = session.output
    output.schema(empty_schema())
    output.empty_batch(
        {
            keys.TRANSPORT_SHM: keys.TRUE if shared_memory else keys.FALSE,
            keys.REQUEST_VERSION: versions.REQUEST_VERSION,
            keys.SERVER_ID: session.service.server_id.encode(),
        }
    )
    output.eos()
    output.flush()
    return True


def describe(session: Session, metadata: dict[bytes, bytes]) -> bool:
    """One row per method. Off unless enabled; then the name is as unknown as any other."""
    if not session.service.describe:
        return False
    generation = versions.generation_of(metadata)
    rows = methods.describe_rows(generation)
    schema = Schema.parse(methods.DESCRIBE_SCHEMA_TEXT)
    columns = {name: [row[name] for row in rows] for name in schema.names}
    output = session.output
    output.schema(schema)
    output.batch(
        RecordBatch.from_pydict(schema, columns),
        {
            keys.PROTOCOL_NAME: versions.PROTOCOL_NAMES[generation].encode(),
            keys.REQUEST_VERSION: versions.REQUEST_VERSION,
            keys.DESCRIBE_VERSION: versions.DESCRIBE_VERSION,
            keys.PROTOCOL_HASH: methods.protocol_hash(generation).encode(),
            keys.SERVER_ID: session.service.server_id.encode(),
            keys.PROTOCOL_VERSION: versions.GENERATIONS[generation].encode(),
        },
    )
    output.eos()
    output.flush()
    return True


BUILTINS = {keys.TRANSPORT_OPTIONS_METHOD: transport_options, keys.DESCRIBE_METHOD: describe}
