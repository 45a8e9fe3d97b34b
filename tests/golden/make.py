"""Writes the golden messages beside this file with pyarrow: ``python -m tests.golden.make``.

Each ``*.bin`` is one complete IPC stream, small, so that tests can try every prefix of it and the fuzzer
can mutate millions. ``legacy_*`` have the framing from before Arrow 0.15, ``v4_*`` metadata version 4.
"""

import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, Final

import pyarrow as pa

from tests.generators import TYPES, random_array, random_batch

HERE: Final = Path(__file__).parent
ROWS: Final = 7


def stream(batches: list[pa.RecordBatch], options: Any = None, schema: pa.Schema | None = None) -> bytes:
    sink = BytesIO()
    schema = batches[0].schema if schema is None else schema
    with pa.ipc.new_stream(sink, schema, options=options or pa.ipc.IpcWriteOptions()) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()


def read_golden() -> dict[str, bytes]:
    """Every golden stream by name."""
    return {path.stem: path.read_bytes() for path in sorted(HERE.glob("*.bin"))}


def type_streams() -> Iterator[tuple[str, bytes]]:
    for text, type in TYPES.items():
        name = re.sub("[^a-z0-9]+", "_", text).strip("_")
        array = random_array(Random(text), type, ROWS, 0.3)
        yield f"type_{name}", stream([pa.record_batch([array], names=["c"])])


def dictionary_streams() -> Iterator[tuple[str, bytes]]:
    def batch(values: list[str], indices: list[int | None]) -> pa.RecordBatch:
        array = pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), pa.array(values))
        return pa.record_batch([array], names=["d"])

    first, second, third = (batch(list(values), [0, None, 1]) for values in ("ab", "abcd", "xyz"))
    yield "dictionary_delta", stream([first, second], pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True))
    yield "dictionary_replaced", stream([first, third, third])
    lists = [pa.array([["a"], []]), pa.array([["a"], [], ["b", None]])]
    nested = [
        pa.record_batch([pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.int8()), values)], names=["d"])
        for values in lists
    ]
    yield "dictionary_delta_lists", stream(nested, pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True))


def shape_streams() -> Iterator[tuple[str, bytes]]:
    rows = pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([])))
    yield "no_columns", stream([rows, rows])
    numbers = pa.record_batch({"a": pa.array([1, None, 3]), "b": pa.array(["x", "yy", None])})
    yield "no_batches", stream([], schema=numbers.schema)
    yield "no_rows", stream([numbers.slice(0, 0), numbers])
    yield "slices", stream([numbers.slice(1, 2), numbers.slice(2, 1)])
    many = pa.schema([pa.field(f"c{i}", type) for i, type in enumerate(list(TYPES.values())[:12])])
    yield "many_columns", stream([random_batch(Random("many"), many, 3)])


def metadata_streams() -> Iterator[tuple[str, bytes]]:
    field = pa.field("f", pa.int64(), nullable=False, metadata={"k": "v", "": "empty key"})
    schema = pa.schema([field], {"schema": "s", "twice": "1"})
    sink = BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        batch = pa.record_batch([pa.array([1, 2])], schema=schema)
        writer.write_batch(batch, custom_metadata={"batch": "b", "binary": b"\0\xff"})
        writer.write_batch(batch)
    yield "metadata", sink.getvalue()
    extension = pa.field(
        "id",
        pa.binary(16),
        metadata={"ARROW:extension:name": "arrow.uuid", "ARROW:extension:metadata": ""},
    )
    yield "extension", stream([pa.record_batch([pa.array([bytes(16)], pa.binary(16))], schema=pa.schema([extension]))])


def framing_streams() -> Iterator[tuple[str, bytes]]:
    batch = pa.record_batch({"a": pa.array([1, None, 3]), "b": pa.array(["x" * 40, "yy", None])})
    views = pa.record_batch([pa.array(["view of more than 12 bytes", None], pa.string_view())], names=["v"])
    nested = random_batch(Random("nested"), pa.schema([("l", pa.list_(pa.struct([("u", pa.utf8())])))]), 4)
    dictionary = pa.record_batch([pa.array(["p", "q"]).dictionary_encode()], names=["d"])
    union = random_batch(Random("union"), pa.schema([("u", TYPES["dense_union<3: a: int8, 7: b: bool>"])]), 4)
    runs = random_batch(Random("runs"), pa.schema([("r", TYPES["run_end_encoded<int16, utf8>"])]), 4)
    for codec in ("lz4", "zstd"):
        yield f"{codec}_flat", stream([batch], pa.ipc.IpcWriteOptions(compression=codec))
        yield f"{codec}_views", stream([views], pa.ipc.IpcWriteOptions(compression=codec))
        yield f"{codec}_nested", stream([nested], pa.ipc.IpcWriteOptions(compression=codec))
    yield "legacy_flat", stream([batch, batch], pa.ipc.IpcWriteOptions(use_legacy_format=True))
    yield "legacy_dictionary", stream([dictionary], pa.ipc.IpcWriteOptions(use_legacy_format=True))
    v4 = pa.ipc.MetadataVersion.V4
    yield "v4_flat", stream([batch], pa.ipc.IpcWriteOptions(metadata_version=v4))
    yield "v4_nested", stream([nested], pa.ipc.IpcWriteOptions(metadata_version=v4))
    yield "v4_legacy", stream([batch], pa.ipc.IpcWriteOptions(metadata_version=v4, use_legacy_format=True))
    yield "v4_union", stream([union], pa.ipc.IpcWriteOptions(metadata_version=v4))
    yield "v4_runs", stream([runs], pa.ipc.IpcWriteOptions(metadata_version=v4))


SETS: Final[list[Callable[[], Iterator[tuple[str, bytes]]]]] = [
    type_streams,
    dictionary_streams,
    shape_streams,
    metadata_streams,
    framing_streams,
]


def main() -> None:
    for old in HERE.glob("*.bin"):
        old.unlink()
    total = 0
    for make in SETS:
        for name, data in make():
            (HERE / f"{name}.bin").write_bytes(data)
            total += 1
    print(f"{total} golden streams in {HERE}")


if __name__ == "__main__":
    main()
