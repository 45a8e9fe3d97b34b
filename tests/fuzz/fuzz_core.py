"""Mutates golden messages and reads them: only ProtocolError may come out.

    python -m tests.fuzz.fuzz_core --count 1000000 --seed 1 --jobs 2

Each message is a golden stream with one to four changes: flipped bits, overwritten lengths and offsets in the
metadata or the body, cuts, insertions, and splices with other streams. It is read through Input, decode_stream,
Schema.from_bytes, or behind a pointer into shared memory; whatever is accepted is then touched in full: every value,
masks, NumPy views, slices, and encoded and decoded again. Ends with status 1 after a finding and prints the message
in hex; ``--replay HEX`` reads one again. Meant for a sanitizer build, where a bad read ends the process:
``--keep FILE`` holds the message that was being read.
"""

import argparse
import mmap
import os
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Final

import posix_ipc

from tests.golden.make import read_golden
from vgi_fast._core import (
    DataType,
    Input,
    Output,
    RecordBatch,
    Schema,
    Segment,
    decode_stream,
    encode_stream,
)
from vgi_fast.errors import ProtocolError
from vgi_fast.wire import keys

MOST_VALUES: Final = 4096
"""Longer columns are not turned into Python values: types of no width announce any length for free."""

# ---- messages ----


@dataclass(frozen=True)
class Golden:
    """A stream and where its parts are, as (start, end)."""

    data: bytes
    schema: bytes
    frames: list[tuple[int, int]]
    metadata: list[tuple[int, int]]
    bodies: list[tuple[int, int]]


def dissect(data: bytes) -> Golden:
    at = 0
    frames, metadata, bodies = [], [], []
    while at + 4 <= len(data):
        prefix = 8 if data[at : at + 4] == b"\xff\xff\xff\xff" else 4
        length = int.from_bytes(data[at + prefix - 4 : at + prefix], "little")
        if not length:
            break
        start, end = at + prefix, at + prefix + length
        body = body_length(data[start:end])
        frames.append((at, end + body))
        metadata.append((start, end))
        if body:
            bodies.append((end, end + body))
        at = end + body
    return Golden(data, data[slice(*frames[0])], frames, metadata, bodies)


def body_length(metadata: bytes) -> int:
    """Message.bodyLength, the fourth field of the root table."""
    root = int.from_bytes(metadata[:4], "little")
    vtable = root - int.from_bytes(metadata[root : root + 4], "little", signed=True)
    if int.from_bytes(metadata[vtable : vtable + 2], "little") < 12:
        return 0
    offset = int.from_bytes(metadata[vtable + 10 : vtable + 12], "little")
    return int.from_bytes(metadata[root + offset : root + offset + 8], "little") if offset else 0


# ---- mutations ----

EDGES: Final = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    15,
    16,
    63,
    64,
    127,
    128,
    255,
    256,
    32767,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
]
WIDE_EDGES: Final = [2**32, 2**40, 2**56, 2**61, 2**62, 2**63 - 8, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1]


class Mutator:
    def __init__(self, seed: int, golden: dict[str, bytes]) -> None:
        self.rng = Random(seed)
        self.all = [dissect(data) for data in golden.values()]
        self.changes: list[Callable[[bytearray, Golden], None]] = [
            self.flip_bit,
            self.set_byte,
            self.edit_metadata_number,
            self.edit_metadata_number,
            self.edit_metadata_number,
            self.edit_metadata_long,
            self.edit_vtable,
            self.edit_body_number,
            self.edit_body_number,
            self.edit_length_prefix,
            self.cut,
            self.insert,
            self.splice,
        ]

    def below(self, limit: int) -> int:
        return self.rng.getrandbits(32) % limit if limit > 0 else 0

    def choose(self) -> Golden:
        return self.all[self.below(len(self.all))]

    def message(self) -> bytearray:
        golden = self.choose()
        data = bytearray(golden.data)
        how = self.below(16)
        if how == 0:
            # Batches under another stream's schema.
            data = bytearray(golden.schema + self.choose().data[len(golden.schema) :])
        elif how == 1:
            other = self.choose()
            data = bytearray(golden.schema + other.data[other.frames[0][1] :])
        for _ in range(1 + self.below(4) if how else self.below(2)):
            if not data:
                break
            self.changes[self.below(len(self.changes))](data, golden)
        return data

    def somewhere(self, data: bytearray, ranges: list[tuple[int, int]], step: int) -> int:
        """A multiple of ``step`` from the start of one of the ranges, with ``step`` bytes of data behind it."""
        if not ranges:
            return -1
        start, end = ranges[self.below(len(ranges))]
        at = start + step * self.below((end - start) // step)
        return at if at + step <= len(data) else -1

    def number(self, old: int, bits: int) -> int:
        how = self.below(4)
        if how == 0:
            new = EDGES[self.below(len(EDGES))]
        elif how == 1:
            new = old + self.below(33) - 16
        elif how == 2:
            new = old ^ (1 << self.below(bits))
        else:
            new = self.rng.getrandbits(bits) if bits < 64 else WIDE_EDGES[self.below(len(WIDE_EDGES))]
        return new % (1 << bits)

    def edit(self, data: bytearray, at: int, width: int) -> None:
        if at >= 0:
            old = int.from_bytes(data[at : at + width], "little")
            data[at : at + width] = self.number(old, 8 * width).to_bytes(width, "little")

    def flip_bit(self, data: bytearray, golden: Golden) -> None:
        data[self.below(len(data))] ^= 1 << self.below(8)

    def set_byte(self, data: bytearray, golden: Golden) -> None:
        data[self.below(len(data))] = self.below(256)

    def edit_metadata_number(self, data: bytearray, golden: Golden) -> None:
        self.edit(data, self.somewhere(data, golden.metadata, 4), 4)

    def edit_metadata_long(self, data: bytearray, golden: Golden) -> None:
        self.edit(data, self.somewhere(data, golden.metadata, 8), 8)

    def edit_vtable(self, data: bytearray, golden: Golden) -> None:
        self.edit(data, self.somewhere(data, golden.metadata, 2), 2)

    def edit_body_number(self, data: bytearray, golden: Golden) -> None:
        width = (1, 2, 4, 4, 8)[self.below(5)]
        self.edit(data, self.somewhere(data, golden.bodies, width), width)

    def edit_length_prefix(self, data: bytearray, golden: Golden) -> None:
        at = golden.frames[self.below(len(golden.frames))][0] + 4 * self.below(2)
        self.edit(data, at if at + 4 <= len(data) else -1, 4)

    def cut(self, data: bytearray, golden: Golden) -> None:
        if self.below(2):
            del data[self.below(len(data)) :]
        else:
            start = self.below(len(data))
            del data[start : start + 1 + self.below(16)]

    def insert(self, data: bytearray, golden: Golden) -> None:
        at = self.below(len(data))
        data[at:at] = bytes(8 * self.below(3)) or data[at : at + self.below(64)]

    def splice(self, data: bytearray, golden: Golden) -> None:
        other = self.choose().data
        start = 8 * self.below(len(other) // 8)
        size = 8 * (1 + self.below(16))
        at = 8 * self.below(len(data) // 8)
        data[at : at + size] = other[start : start + size]


# ---- reading ----


def read_input(data: bytes) -> None:
    source = Input(data)
    while source.read_schema() is not None:
        while (batch := source.read_batch()) is not None:
            touch(batch)


def read_stream(data: bytes) -> None:
    schema, batches = decode_stream(data)
    str(schema)
    for batch in batches:
        touch(batch)


def read_schema(data: bytes) -> None:
    schema = Schema.from_bytes(data)
    hash(schema)
    out = Output()
    out.schema(schema)
    out.empty_batch()
    out.eos()
    out.flush()
    again, batches = decode_stream(out.getvalue())
    assert again.equals(schema, check_metadata=True)
    touch(*batches)


def read_pointer(data: bytes) -> None:
    """The stream lies in shared memory, behind a pointer on its schema."""
    schema = Input(data).read_schema()
    if schema is None:
        return
    if any(field.type.kind == "dictionary" for field in schema):
        prefix = 8 if data[:4] == b"\xff\xff\xff\xff" else 4
        data = data[prefix + int.from_bytes(data[prefix - 4 : prefix], "little") :]
    segment, memory = shared_memory(len(data))
    offset = (len(memory) - len(data)) & ~7  # what reads on leaves the mapping
    memory[offset : offset + len(data)] = data
    out = Output()
    out.schema(schema)
    out.empty_batch({keys.SHM_OFFSET: str(offset).encode(), keys.SHM_LENGTH: str(len(data)).encode()})
    out.eos()
    out.flush()
    source = Input(out.getvalue())
    source.attach_segment(segment)
    source.read_schema()
    while (batch := source.read_batch()) is not None:
        touch(batch)
        memory[offset : offset + len(data)] = data  # what was looked at may change nothing


TABLE_BYTES: Final = 65536
_shared: list[tuple[Segment, mmap.mmap]] = []


def shared_memory(size: int) -> tuple[Segment, mmap.mmap]:
    """A segment of this process, and its bytes."""
    if not _shared or len(_shared[0][1]) < size + 2 * mmap.PAGESIZE + TABLE_BYTES:
        segment = Segment.create(
            f"vgi_shm_fuzz_{os.getpid():x}", TABLE_BYTES + (size // mmap.PAGESIZE + 4) * mmap.PAGESIZE
        )
        opened = posix_ipc.SharedMemory(f"/{segment.name}")
        segment.unlink()
        _shared[:] = [(segment, mmap.mmap(opened.fd, segment.size))]
        opened.close_fd()
    return _shared[0]


READERS: Final = [read_input, read_input, read_input, read_stream, read_schema, read_pointer, read_pointer]


def touch(batch: RecordBatch) -> None:
    """Everything that code can do with a received batch."""
    assert str(batch.schema) is not None
    assert batch.metadata is not None
    for column in batch.columns:
        assert column.null_count >= 0
        assert column.nbytes >= 0
        small = len(column) <= MOST_VALUES
        if small:
            column.valid()
        if small and is_bounded(column.type):
            column.to_pylist()
            column.to_numpy()
            column.slice(len(column) // 3, len(column) // 2).to_pylist()
    for part in (batch, batch.slice(batch.num_rows // 3, batch.num_rows // 2)):
        decode_stream(encode_stream(batch.schema, [part]))


_bounded: dict[DataType, bool] = {}


def is_bounded(type: DataType) -> bool:
    """The values of a column are bounded by its bytes: no list holds elements that take no bytes."""
    known = _bounded.get(type)
    if known is None:
        if len(_bounded) > 10_000:
            _bounded.clear()
        known = _bounded[type] = not any(
            "list" in part.kind or part.kind in ("map", "dictionary")
            for part in walk(type)
            if any(takes_no_bytes(inner) for inner in walk(part) if inner is not part)
        )
    return known


def walk(type: DataType) -> list[DataType]:
    found = [type]
    for child in type.children:
        found += walk(child.type)
    if type.kind == "dictionary" and type.value_type is not None:
        found += walk(type.value_type)
    return found


def takes_no_bytes(type: DataType) -> bool:
    if type.kind in ("null", "run_end_encoded"):
        return True
    if type.kind == "fixed_size_binary":
        return type.byte_width == 0
    if type.kind == "fixed_size_list":
        return type.list_size == 0 or takes_no_bytes(type.children[0].type)
    return type.kind == "struct" and all(takes_no_bytes(child.type) for child in type.children)


# ---- campaign ----


@dataclass
class Result:
    count: int = 0
    accepted: int = 0
    seconds: float = 0.0
    findings: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By place: (traceback, message in hex)."""

    def add(self, other: "Result") -> None:
        self.count += other.count
        self.accepted += other.accepted
        self.seconds = max(self.seconds, other.seconds)
        self.findings.update(other.findings)


def run(count: int, seed: int, keep: str | None = None, golden: dict[str, bytes] | None = None) -> Result:
    mutator = Mutator(seed, golden or read_golden())
    result = Result()
    started = time.perf_counter()
    note = open_note(keep)
    for index in range(count):
        data = bytes(mutator.message())
        reader = READERS[index % len(READERS)]
        if note is not None:
            note[:4] = len(data).to_bytes(4, "little")
            note[4 : 4 + len(data)] = data
        try:
            reader(data)
            result.accepted += 1
        except ProtocolError:
            pass
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} in {frame.filename}:{frame.lineno}"
            trace = f"{reader.__name__}: {''.join(traceback.format_exception(error))}"
            result.findings.setdefault(place, (trace, data.hex()))
    result.count = count
    result.seconds = time.perf_counter() - started
    _shared.clear()  # a debug build counts what it holds
    return result


def open_note(path: str | None) -> mmap.mmap | None:
    """A file that keeps the current message even when the process is ended in the middle of it."""
    if path is None:
        return None
    size = 1 << 20
    with Path(path).open("wb+") as file:
        file.truncate(size)
        return mmap.mmap(file.fileno(), size)


def run_jobs(count: int, seed: int, jobs: int, keep: str | None) -> Result:
    if jobs == 1:
        return run(count, seed, keep)
    total = Result()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        keeps = [f"{keep}.{job}" if keep else None for job in range(jobs)]
        for result in pool.map(run, [count // jobs] * jobs, range(seed, seed + jobs), keeps):
            total.add(result)
    return total


def replay(data: bytes) -> None:
    for reader in dict.fromkeys(READERS):
        try:
            reader(data)
            print(f"{reader.__name__}: accepted")
        except ProtocolError as error:
            print(f"{reader.__name__}: {error}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", metavar="FILE")
    parser.add_argument("--replay", metavar="HEX")
    options = parser.parse_args()
    if options.replay:
        replay(bytes.fromhex(options.replay))
        return 0
    result = run_jobs(options.count, options.seed, options.jobs, options.keep)
    for place, (trace, message) in result.findings.items():
        print(f"FINDING {place}\n{trace}  message: {message}\n")
    rate = result.count / result.seconds if result.seconds else 0.0
    print(
        f"{result.count} messages in {result.seconds:.0f} s, {rate:.0f}/s a job, {result.accepted} accepted, "
        f"{len(result.findings)} findings, seed {options.seed}"
    )
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
