"""Files as tables: Parquet, Arrow IPC, CSV; one, several, or a directory with Hive's partitions."""

from __future__ import annotations

import os
from collections.abc import Iterable
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import DefinitionError
from vgi_fast.sources.base import BATCH_ROWS, SourceDefaults
from vgi_fast.sources.types import storable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from pyarrow import dataset as ds

    from vgi_fast.functions.statistics import ColumnStatisticsInput
    from vgi_fast.sources.base import ScanRequest

__all__ = ["FileSource"]

FORMATS: Final = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "ipc",
    ".ipc": "ipc",
    ".feather": "ipc",
    ".csv": "csv",
    ".tsv": "csv",
    ".orc": "orc",
}
_COUNTED: Final = ("parquet", "ipc", "orc")
"""Formats that know their number of rows."""
_MAX_FOOTERS: Final = 1000
"""Files of which more are not opened for statistics."""


class FileSource(SourceDefaults):
    """Files of one format, opened when first needed. Arrow IPC files are mapped into memory.

    DuckDB plans with what it was told about them, so a scan after a change of any of them is an error; unless
    ``live`` makes DuckDB ask for changes at the start of each transaction.
    """

    __slots__ = ("_dataset", "_format", "_opened_at", "_paths", "_schema", "_where", "live")

    def __init__(self, paths: Any, where: str, *, format: str | None = None, live: bool = False) -> None:
        given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        self._paths = [os.fspath(path) for path in given]
        self._where = where
        self.live = live
        self._dataset: ds.Dataset | None = None
        self._schema: pa.Schema | None = None
        self._opened_at: str | None = None
        files = self._files()
        if not files:
            raise DefinitionError(f"{where}: no file at {', '.join(map(repr, self._paths))}")
        self._format = format or _format_of(files, where)

    def _files(self) -> list[str]:
        """Every file, in the order in which they are read."""
        found: list[str] = []
        for path in self._paths:
            if os.path.isdir(path):
                inside = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
                found += sorted(
                    str(one) for one in inside if not one.name.startswith((".", "_")) and one.stat().st_size
                )
            elif os.path.exists(path):
                found.append(path)
            elif has_magic(path):
                found += sorted(one for one in glob(path, recursive=True) if os.path.isfile(one))
        return found

    def _fingerprint(self, files: Iterable[str]) -> str:
        import hashlib

        digest = hashlib.blake2b(digest_size=12)
        for path in files:
            stat = os.stat(path)
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        return digest.hexdigest()

    @property
    def dataset(self) -> ds.Dataset:
        files = self._files()
        state = self._fingerprint(files)
        if self._dataset is None or state != self._opened_at:
            self._dataset = self._open(files)
            self._opened_at = state
        return self._dataset

    def _open(self, files: list[str]) -> ds.Dataset:
        import pyarrow as pa
        from pyarrow import dataset as ds
        from pyarrow import fs

        base = self._paths[0] if len(self._paths) == 1 and os.path.isdir(self._paths[0]) else None
        partitioning = ds.HivePartitioning.discover(infer_dictionary=False) if base is not None else None
        format: Any = self._format
        if format == "csv" and any(path.endswith(".tsv") for path in files):
            from pyarrow import csv

            format = ds.CsvFileFormat(csv.ParseOptions(delimiter="\t"))
        try:
            return ds.dataset(
                files,
                format=format,
                filesystem=fs.LocalFileSystem(use_mmap=self._format == "ipc"),
                partitioning=partitioning,
                partition_base_dir=base,
            )
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DefinitionError(f"{self._where}: cannot read {files[0]!r}", detail=str(error)) from error

    def state(self) -> str | None:
        return self._fingerprint(self._files())

    def schema(self) -> pa.Schema:
        if self._schema is None:
            self._schema = storable(self.dataset.schema, self._where)
        return self._schema

    def cardinality(self) -> int | None:
        return self.dataset.count_rows() if self._format in _COUNTED else None

    def statistics(self) -> Mapping[str, ColumnStatisticsInput]:
        if self._format != "parquet" or len(self.dataset.files) > _MAX_FOOTERS:
            return {}
        from vgi_fast.sources.statistics import parquet_statistics

        fragments = list(self.dataset.get_fragments())
        keys = _partition_values(fragments)
        plain = self.schema()
        for name in keys:
            if name in plain.names:
                plain = plain.remove(plain.get_field_index(name))
        found = parquet_statistics(plain, (fragment.metadata for fragment in fragments))
        return found | self._partition_statistics(keys, len(fragments))

    def _partition_statistics(self, keys: dict[str, list[Any]], files: int) -> dict[str, ColumnStatisticsInput]:
        from vgi_fast.sources.statistics import arrow_statistics

        if not keys:
            return {}
        import pyarrow as pa

        schema = self.schema()
        columns = {
            name: pa.array(values, schema.field(name).type) for name, values in keys.items() if len(values) == files
        }
        return arrow_statistics(pa.table(columns))

    def scan(self, request: ScanRequest) -> Iterator[Any]:
        dataset = self.dataset
        wanted = request.filters.to_pyarrow(dataset.schema) if request.filters else None
        scanner = dataset.scanner(columns=request.columns, filter=wanted, batch_size=BATCH_ROWS)
        for batch in scanner.to_batches():
            if batch.num_rows:
                yield batch


def _partition_values(fragments: list[Any]) -> dict[str, list[Any]]:
    """Values of the partition columns, one per file."""
    from pyarrow import dataset as ds

    values: dict[str, list[Any]] = {}
    for fragment in fragments:
        for name, value in ds.get_partition_keys(fragment.partition_expression).items():
            values.setdefault(name, []).append(value)
    return values


def _format_of(files: list[str], where: str) -> str:
    found = {FORMATS.get(Path(path).suffix.lower()) for path in files}
    if len(found) != 1 or None in found:
        endings = sorted({Path(path).suffix for path in files})
        raise DefinitionError(
            f"{where}: cannot tell the format of {endings}",
            hint=f"name files by their format ({', '.join(FORMATS)}), or pass format=",
        )
    return str(found.pop())
