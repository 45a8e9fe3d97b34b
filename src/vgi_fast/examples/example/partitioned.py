"""Producers whose streams share the work: each takes the next part that nobody has."""

import fcntl
import os
from typing import Annotated, Final

from vgi_fast import Arg, GlobalInitResponse, InitParams, OutputCollector, ProcessParams, TableFunctionGenerator
from vgi_fast.examples.row_store import user_file

PARTS: Final = 24
ROWS_PER_BATCH: Final = 1000
NUMBER_BYTES: Final = 8


class SharedParts:
    """Numbers from 0, each handed out once to one of the processes that serve an execution."""

    def __init__(self, execution_id: bytes) -> None:
        self._path = user_file(f"parts_{execution_id.hex()}")

    def create(self) -> None:
        os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))

    def take(self, end: int) -> int | None:
        """The next number below ``end``. Whoever finds none removes the file."""
        try:
            descriptor = os.open(self._path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            part = int.from_bytes(os.pread(descriptor, NUMBER_BYTES, 0), "little")
            if part < end:
                os.pwrite(descriptor, (part + 1).to_bytes(NUMBER_BYTES, "little"), 0)
                return part
        finally:
            os.close(descriptor)
        self.remove()
        return None

    def remove(self) -> None:
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass


class Arguments:
    count: Annotated[int, Arg(0, doc="Number of rows", ge=0)]
    increment: Annotated[int, Arg("increment", doc="Difference of neighbours", ge=1)] = 1

    def __init__(self, count: int, increment: int) -> None:
        self.count = count
        self.increment = increment


class Progress:
    """What one stream works on."""

    def __init__(self, parts: SharedParts) -> None:
        self.parts = parts
        self.rows = range(0)


class PartitionedSequence(TableFunctionGenerator[Arguments, Progress]):
    """Generates a partitioned sequence for multi-worker execution"""

    FIXED_SCHEMA = "n: int64"

    class Meta:
        max_workers = PARTS

    @classmethod
    def cardinality(cls, params: InitParams[Arguments]) -> int:  # type: ignore[override]
        return params.args.count

    @classmethod
    def on_init(cls, params: InitParams[Arguments]) -> GlobalInitResponse:
        SharedParts(params.execution_id).create()
        return GlobalInitResponse(PARTS)

    @classmethod
    def initial_state(cls, params: ProcessParams[Arguments]) -> Progress:
        return Progress(SharedParts(params.execution_id))

    @classmethod
    def process(cls, params: ProcessParams[Arguments], state: Progress, out: OutputCollector) -> None:
        count, increment = params.args.count, params.args.increment
        if not state.rows:
            size = max(1, -(-count // PARTS))
            part = state.parts.take(-(-count // size))
            if part is None:
                return out.finish()
            state.rows = range(part * size, min((part + 1) * size, count))
        batch, state.rows = state.rows[:ROWS_PER_BATCH], state.rows[ROWS_PER_BATCH:]
        out.emit({"n": range(batch.start * increment, batch.stop * increment, increment)})
        return None

    @classmethod
    def on_cancel(cls, params: ProcessParams[Arguments], state: Progress) -> None:
        state.parts.remove()


FUNCTIONS: Final = [PartitionedSequence]
