"""Reading and writing tables, the format told by the file's ending.

Rows stream through in batches wherever the format allows it.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from vgi_fast.errors import ArgumentError

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS: Final = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".arrows": "stream",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of a file. ``num_rows`` is None where only reading tells."""

    schema: "pa.Schema"
    num_rows: int | None
    batches: "Iterator[pa.RecordBatch]"


class Sink(Protocol):
    def write(self, batch: "pa.RecordBatch") -> None: ...


def format_of(path: Path) -> str:
    """
    >>> format_of(Path("flights.PARQUET"))
    'parquet'
    """
    known = FORMATS.get(path.suffix.lower())
    if known is None:
        raise ArgumentError(f"unknown file format: {path.name}", hint=f"known endings: {', '.join(FORMATS)}")
    return known


def open_source(path: Path, columns: list[str] | None = None) -> Source:
    """All columns, or those named, in that order."""
    import pyarrow as pa

    if not path.is_file():
        raise ArgumentError(f"no such file: {path}")
    try:
        source = _READERS[format_of(path)](path)
    except (pa.ArrowException, OSError) as error:
        raise ArgumentError(f"cannot read {path}", detail=str(error)) from error
    if columns is None:
        return source
    missing = [name for name in columns if name not in source.schema.names]
    if missing:
        raise ArgumentError(
            f"{path.name} has no column {missing[0]!r}", hint=f"it has {', '.join(source.schema.names)}"
        )
    schema = pa.schema([source.schema.field(name) for name in columns])
    return Source(schema, source.num_rows, (batch.select(columns) for batch in source.batches))


def open_sink(path: Path, schema: "pa.Schema") -> AbstractContextManager[Sink]:
    return _WRITERS[format_of(path)](path, schema)


def _read_parquet(path: Path) -> Source:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    return Source(file.schema_arrow, file.metadata.num_rows, file.iter_batches())


def _read_csv(path: Path) -> Source:
    from pyarrow import csv

    # As csv.CSVWriter has it: a null is nothing at all, an empty text is a pair of quotes.
    nulls = csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    reader = csv.open_csv(path, convert_options=nulls)
    return Source(reader.schema, None, iter(reader))


def _read_arrow(path: Path) -> Source:
    import pyarrow as pa

    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
    return Source(reader.schema, reader.count_rows() if hasattr(reader, "count_rows") else None, batches)


def _read_stream(path: Path) -> Source:
    import pyarrow as pa

    reader = pa.ipc.open_stream(pa.memory_map(str(path)))
    return Source(reader.schema, None, iter(reader))


def _read_json(path: Path) -> Source:
    from pyarrow import json as arrow_json

    table = arrow_json.read_json(path)
    return Source(table.schema, table.num_rows, iter(table.to_batches()))


def _write_parquet(path: Path, schema: "pa.Schema") -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(path, schema)


def _write_csv(path: Path, schema: "pa.Schema") -> Any:
    from pyarrow import csv

    return csv.CSVWriter(path, schema)


def _write_arrow(path: Path, schema: "pa.Schema") -> Any:
    import pyarrow as pa

    return pa.ipc.new_file(path, schema)


def _write_stream(path: Path, schema: "pa.Schema") -> Any:
    import pyarrow as pa

    return pa.ipc.new_stream(path, schema)


class _JsonLines:
    """One object a line; what JSON has no form for is written as text."""

    def __init__(self, path: Path, schema: "pa.Schema") -> None:
        self._file: IO[str] = path.open("w", encoding="utf-8")

    def write(self, batch: "pa.RecordBatch") -> None:
        self._file.writelines(json.dumps(row, default=str) + "\n" for row in batch.to_pylist())

    def __enter__(self) -> "_JsonLines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


_READERS: Final[dict[str, Callable[[Path], Source]]] = {
    "parquet": _read_parquet,
    "csv": _read_csv,
    "arrow": _read_arrow,
    "stream": _read_stream,
    "json": _read_json,
}
_WRITERS: Final[dict[str, Callable[[Path, "pa.Schema"], AbstractContextManager[Sink]]]] = {
    "parquet": _write_parquet,
    "csv": _write_csv,
    "arrow": _write_arrow,
    "stream": _write_stream,
    "json": _JsonLines,
}
