"""Where the batches of one execution are kept between its phases, which run in different processes.

On one host each process appends to a file of its own in the execution's directory: what arrives is written as it
is, and read back from a memory map. Other storages get each batch as an item.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import TYPE_CHECKING, Final

from vgi_fast._core import RecordBatch, SpoolReader, SpoolWriter, decode_stream, encode_stream
from vgi_fast.errors import ArgumentError, ProtocolError, SchemaValidationError, StorageError
from vgi_fast.storage import default_storage, execution_scope
from vgi_fast.storage.mapped import MappedStorage
from vgi_fast.storage.paths import STATE_DIR_VARIABLE, private_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vgi_fast._core import Schema
    from vgi_fast.storage import Storage

__all__ = ["FileSpool", "ItemSpool", "Spool", "open_spool", "reconciled"]

_PREFIX: Final = "spool-in-"
"""Not a name of the storage's own spools, whose namespace is in hex; cleared together with them."""
_NAMESPACE: Final = b"_vgi/buffering_input"
_INDEX_BYTES: Final = 8


def open_spool(execution_id: bytes, schema: Schema, *, ordered: bool) -> Spool:
    """``ordered`` gives the batches by their index."""
    storage = default_storage()
    kind = FileSpool if isinstance(storage, MappedStorage) else ItemSpool
    return kind(storage, execution_id, schema, ordered)


class Spool:
    """Common to both: the batches of ``schema``, one stream each."""

    holds_frames = False
    """There are readers of batches as they were received."""
    writer: SpoolWriter | None = None
    """Of frames, while something was appended recently."""

    def __init__(self, storage: Storage, execution_id: bytes, schema: Schema, ordered: bool) -> None:
        self.storage = storage
        self.scope = execution_scope(execution_id)
        self.execution_id = execution_id
        self.schema = schema
        self.ordered = ordered

    def append(self, stream: bytes, batch_index: int | None = None) -> None:
        raise NotImplementedError

    def batches(self, part: bytes | None = None) -> Iterator[RecordBatch]:
        raise NotImplementedError

    def parts(self) -> list[bytes]:
        return [self.execution_id]

    def readers(self, part: bytes | None = None) -> list[SpoolReader]:
        raise NotImplementedError

    def pause(self) -> None:
        """Nothing is appended for a while: hold nothing that a removal would have to wait for."""


class FileSpool(Spool):
    """A file for each writer."""

    holds_frames = True

    def __init__(self, storage: Storage, execution_id: bytes, schema: Schema, ordered: bool) -> None:
        super().__init__(storage, execution_id, schema, ordered)
        assert isinstance(storage, MappedStorage)
        self.folder = storage.folder(self.scope)
        self._path: str | None = None
        self._fd = -1

    def append(self, stream: bytes, batch_index: int | None = None) -> None:
        writer = self.writer or self._open()
        try:
            if not writer.append(stream, self.schema, batch_index):
                batch = reconciled(decode_stream(stream)[1][0], self.schema)
                writer.append(encode_stream(self.schema, [batch]), self.schema, batch_index)
        except OSError as error:
            raise self._failed(error) from error

    def _open(self) -> SpoolWriter:
        try:
            if self._path is None:
                private_directory(self.folder)
                path = os.path.join(self.folder, f"{_PREFIX}{time.monotonic_ns():016x}-{os.urandom(4).hex()}")
                self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_APPEND, 0o600)
                self._path = path
            else:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC | os.O_APPEND)
        except OSError as error:
            raise self._failed(error) from error
        self.writer = SpoolWriter(self._fd)
        return self.writer

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(
            f"cannot keep a batch in {self.folder}: {error.strerror}",
            hint=f"the variable {STATE_DIR_VARIABLE} names another directory",
        )

    def pause(self) -> None:
        if self.writer is not None:
            self.writer = None
            os.close(self._fd)

    __del__ = pause

    def parts(self) -> list[bytes]:
        names = self._names()
        return [self.execution_id] if names and self.ordered else names

    def _names(self) -> list[bytes]:
        try:
            return sorted(os.fsencode(name) for name in os.listdir(self.folder) if name.startswith(_PREFIX))
        except FileNotFoundError:
            return []

    def readers(self, part: bytes | None = None) -> list[SpoolReader]:
        """Of one part, or of all for None and the execution's id."""
        names = self._names()
        if part is not None and part != self.execution_id:
            if part not in names:
                raise ArgumentError(f"nothing was kept under the finalize_state_id {part.hex()}")
            names = [part]
        found = []
        for name in names:
            with open(os.path.join(os.fsencode(self.folder), name), "rb") as file:
                if os.fstat(file.fileno()).st_size:
                    found.append(SpoolReader(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), self.schema))
        return found

    def batches(self, part: bytes | None = None) -> Iterator[RecordBatch]:
        readers = self.readers(part)
        if not self.ordered:
            for reader in readers:
                yield from reader
            return
        places = [
            (batch_index, number, place)
            for number, reader in enumerate(readers)
            for batch_index, place, _ in reader.order()
        ]
        for _, number, place in sorted(places):
            yield readers[number].at_place(place)


class ItemSpool(Spool):
    """An item of the storage for each batch."""

    def append(self, stream: bytes, batch_index: int | None = None) -> None:
        given, batches = decode_stream(stream)
        if len(batches) != 1:
            raise ProtocolError(f"{len(batches)} batches where one is due")
        if given is not self.schema:
            stream = encode_stream(self.schema, [reconciled(batches[0], self.schema)])
        index = -1 if batch_index is None else batch_index
        self.storage.spool_append(self.scope, _NAMESPACE, index.to_bytes(_INDEX_BYTES, "little", signed=True) + stream)

    def batches(self, part: bytes | None = None) -> Iterator[RecordBatch]:
        if part not in (None, self.execution_id):
            assert part is not None
            raise ArgumentError(f"nothing was kept under the finalize_state_id {part.hex()}")
        items: Iterator[bytes] = iter(self.storage.spool_scan(self.scope, _NAMESPACE))
        if self.ordered:
            items = iter(sorted(items, key=lambda item: int.from_bytes(item[:_INDEX_BYTES], "little", signed=True)))
        for item in items:
            yield reconciled(decode_stream(item[_INDEX_BYTES:])[1][0], self.schema)  # under its own schema


def reconciled(batch: RecordBatch, schema: Schema) -> RecordBatch:
    """The client may send other types than it bound (section 4.6 of the RPC document); names have to agree."""
    from vgi_fast._core import reshape

    same = reshape(batch, schema) if batch.schema.names == schema.names else None
    if same is not None:
        return same
    if sorted(batch.schema.names) != sorted(schema.names):
        raise SchemaValidationError(f"Input schema mismatch: expected {schema}, got {batch.schema}")
    columns = [batch.column(field.name).cast(field.type) for field in schema.fields]
    return RecordBatch(schema, columns, batch.num_rows)
