"""The compiled core: Arrow types, arrays and IPC without pyarrow (sections 1 and 5 of the protocol).

Text form of a type, accepted wherever a ``DataType`` is: ``int64``, ``utf8``, ``binary``, ``bool``,
``decimal128(10, 2)``, ``timestamp[us]``, ``timestamp[us, tz=UTC]``, ``time64[us]``, ``duration[ns]``,
``month_day_nano_interval``, ``fixed_size_binary[16]``, ``list<item: int64>`` or ``list<int64>``,
``fixed_size_list<float64>[2]``, ``struct<lat: float64, lon: float64>``, ``map<utf8, int64>``,
``sparse_union<0: a: int64, 1: b: utf8>`` (codes optional), ``dictionary<int16, utf8>``, ``null``.
A ``!`` after a field's type makes it not null: ``name: utf8!``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias, final, type_check_only

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

@type_check_only
class ArrowSchemaExporter(Protocol):
    def __arrow_c_schema__(self) -> object: ...

@type_check_only
class ArrowArrayExporter(Protocol):
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

TypeLike: TypeAlias = DataType | str | ArrowSchemaExporter
Buffer: TypeAlias = bytes | bytearray | memoryview

DEBUG: Final[bool]
"""True in a build made with VGI_FAST_DEBUG=1."""

@final
class DataType:
    """An Arrow type; immutable, hashable, compared structurally (child names included, metadata not)."""

    def __init__(self, text: str) -> None: ...
    @staticmethod
    def of(value: TypeLike) -> DataType:
        """Text, a DataType, or anything with ``__arrow_c_schema__`` (pyarrow types and fields)."""
    @staticmethod
    def from_numpy(dtype: npt.DTypeLike) -> DataType: ...
    @property
    def kind(self) -> str:
        """The bare name, without parameters: ``int64``, ``timestamp``, ``list``, ``dictionary`` …"""
    @property
    def children(self) -> tuple[Field, ...]: ...
    @property
    def unit(self) -> str | None: ...
    @property
    def timezone(self) -> str | None: ...
    @property
    def precision(self) -> int: ...
    @property
    def scale(self) -> int: ...
    @property
    def list_size(self) -> int: ...
    @property
    def byte_width(self) -> int:
        """Bytes per value of a fixed-width layout; 0 for bool and for variable layouts."""
    @property
    def index_type(self) -> DataType | None: ...
    @property
    def value_type(self) -> DataType | None:
        """Value type of a dictionary, element type of a list; otherwise None."""
    @property
    def ordered(self) -> bool:
        """Of a dictionary, its values; of a map, its keys."""
    @property
    def type_codes(self) -> tuple[int, ...]: ...
    def __arrow_c_schema__(self) -> object: ...
    def __hash__(self) -> int: ...

@final
class Field:
    def __init__(
        self,
        name: str,
        type: TypeLike,
        nullable: bool = True,
        metadata: Mapping[bytes | str, bytes | str] | None = None,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> DataType: ...
    @property
    def nullable(self) -> bool: ...
    @property
    def metadata(self) -> dict[bytes, bytes]: ...
    def equals(self, other: Field, check_metadata: bool = False) -> bool: ...
    def __arrow_c_schema__(self) -> object: ...

@final
class Schema:
    """Fields in order. ``serialize()`` is one encapsulated Schema message, without end marker (01 §1.7)."""

    def __init__(self, fields: Iterable[Field], metadata: Mapping[bytes | str, bytes | str] | None = None) -> None: ...
    @staticmethod
    def parse(text: str) -> Schema:
        """From the text form ``"a: int64!, b: list<utf8>"``; the empty string is the empty schema."""
    @staticmethod
    def of(value: Schema | str | Mapping[str, TypeLike] | ArrowSchemaExporter) -> Schema: ...
    @staticmethod
    def from_bytes(data: Buffer) -> Schema:
        """Raises ProtocolError for anything but a well-formed Schema message."""
    @property
    def fields(self) -> tuple[Field, ...]: ...
    @property
    def names(self) -> list[str]: ...
    @property
    def types(self) -> list[DataType]: ...
    @property
    def metadata(self) -> dict[bytes, bytes]: ...
    def serialize(self) -> bytes: ...
    def index(self, name: str) -> int:
        """Position of the first field of that name; KeyError when there is none."""
    def select(self, indices: Sequence[int]) -> Schema:
        """IndexError for an index outside 0 … len-1; a negative index never wraps."""
    def equals(self, other: Schema, check_metadata: bool = False) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Field]: ...
    def __getitem__(self, key: int | str, /) -> Field: ...
    def __hash__(self) -> int: ...
    def __arrow_c_schema__(self) -> object: ...

@final
class Array:
    """One column: a type and borrowed or owned Arrow buffers. Immutable; views keep their memory alive."""

    @staticmethod
    def from_arrow(value: ArrowArrayExporter) -> Array: ...
    @staticmethod
    def from_pylist(values: Iterable[Any], type: TypeLike) -> Array:
        """None is null. Lists of pairs or dicts for maps, dicts for structs, (code, value) for unions.
        Raises TypeMismatchError naming the position for a value that does not fit."""
    @staticmethod
    def from_numpy(values: npt.NDArray[Any], type: TypeLike, mask: npt.NDArray[np.bool_] | None = None) -> Array:
        """Shape (n,). ``mask`` is True where a value is null. Zero-copy when the dtype is the type's own."""
    @staticmethod
    def coerce(value: Any, type: TypeLike) -> Array:
        """From whatever an author returns: Array, NumPy (masked or not), pyarrow array or chunked array,
        scalar-free sequences. Casts like NumPy's ``same_kind``; otherwise TypeMismatchError."""
    @property
    def type(self) -> DataType: ...
    @property
    def null_count(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def valid(self) -> npt.NDArray[np.bool_] | None:
        """Shape (n,), True where not null; None when nothing is null."""
    def to_numpy(self) -> npt.NDArray[Any]:
        """Shape (n,). Zero-copy and read-only for fixed-width types; object dtype for the rest.
        Slots that are null hold unspecified values in a fixed-width array, None in an object array."""
    def to_pylist(self) -> list[Any]: ...
    def to_arrow(self) -> Any:
        """The same memory as a ``pyarrow.Array`` (imports pyarrow)."""
    def slice(self, offset: int, length: int) -> Array: ...
    def cast(self, type: TypeLike) -> Array:
        """Safe cast; identical types return self, others go through ``pyarrow.compute``."""
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __getitem__(self, index: int, /) -> Any: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...
    def __arrow_c_schema__(self) -> object: ...

@final
class RecordBatch:
    """Columns of equal length; a batch without columns still has ``num_rows`` (01 §1.6)."""

    def __init__(
        self,
        schema: Schema,
        columns: Sequence[Array],
        num_rows: int | None = None,
        metadata: Mapping[bytes, bytes] | None = None,
    ) -> None: ...
    @staticmethod
    def from_arrow(value: ArrowArrayExporter) -> RecordBatch: ...
    @staticmethod
    def from_pydict(schema: Schema, columns: Mapping[str, Iterable[Any]]) -> RecordBatch: ...
    @staticmethod
    def from_row(schema: Schema, row: Mapping[str, Any]) -> RecordBatch:
        """One row; a missing name is null."""
    @property
    def schema(self) -> Schema: ...
    @property
    def num_rows(self) -> int: ...
    @property
    def num_columns(self) -> int: ...
    @property
    def metadata(self) -> dict[bytes, bytes]:
        """custom_metadata of the message; first occurrence of a key wins."""
    def column(self, key: int | str) -> Array: ...
    @property
    def columns(self) -> list[Array]: ...
    def row(self, index: int) -> dict[str, Any]:
        """Binary cells are ``bytes``; a duplicated name keeps its first column."""
    def with_metadata(self, metadata: Mapping[bytes, bytes] | None) -> RecordBatch: ...
    def select(self, indices: Sequence[int]) -> RecordBatch: ...
    def slice(self, offset: int, length: int) -> RecordBatch: ...
    def to_pydict(self) -> dict[str, list[Any]]: ...
    def to_arrow(self) -> Any:
        """The same memory as a ``pyarrow.RecordBatch`` (imports pyarrow)."""
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...
    def __arrow_c_schema__(self) -> object: ...

def encode_stream(schema: Schema, batches: Iterable[RecordBatch]) -> bytes:
    """A complete IPC stream: schema, batches with their metadata, end marker."""

def decode_stream(data: Buffer) -> tuple[Schema, list[RecordBatch]]:
    """Zero-copy where ``data`` is 8-byte aligned. Raises ProtocolError."""

def encode_row(schema: Schema, row: Mapping[str, Any]) -> bytes:
    """``encode_stream`` of one row: the form of every nested record (01 §3.6)."""

def decode_row(data: Buffer) -> dict[str, Any]:
    """Inverse of ``encode_row``; no columns give {}; anything but one row is a ProtocolError."""

@final
class Trace:
    """Counts and times of one session, for both of its directions. One thread."""

    def __init__(self) -> None: ...
    def take(self) -> dict[str, Any]:
        """What was counted since the last call; starts anew.

        ``ns`` maps the phases (other, wait, read, decode, call, encode, write) to nanoseconds. ``batches`` are those
        of streams, with ``rows_in`` and ``rows_out``; ``reads`` and ``writes`` are system calls.
        """

@final
class Segment:
    """A POSIX shared-memory segment, in which batches of one connection may travel (01 §8). One thread at a time.

    Only its creator unlinks it; no resource tracker knows of it. Names are without their leading slash.
    """

    @staticmethod
    def attach(name: str) -> Segment:
        """A segment that another process made. TransportError where there is none, ProtocolError where it is
        something else."""
    @staticmethod
    def create(name: str, size: int) -> Segment:
        """Mode 0600. TransportError where the name is taken."""
    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int:
        """Of the object, as the kernel has it."""
    def allocate(self, length: int) -> int | None:
        """Offset of a new slot, first fit; None where there is no room. ProtocolError for a corrupt table."""
    def free(self, offset: int) -> bool:
        """Whether a slot began there."""
    def entries(self) -> list[tuple[int, int]]:
        """(offset, length) of the slots in use."""
    def reset(self) -> None:
        """Forget all slots."""
    def close(self) -> None:
        """Unmap, as far as nothing views it. Safe to repeat."""
    def unlink(self) -> None:
        """Take the name away. Safe to repeat."""

@final
class Input:
    """One direction of a connection, read: IPC streams back to back (01 §1.1).

    ``source`` is a file descriptor, which stays the caller's, or bytes. One thread at a time.
    Batches are views of the receive buffer and own what they view: a buffer that something still
    refers to is never overwritten, the next read takes another.
    """

    def __init__(self, source: int | Buffer, max_message_bytes: int = ...) -> None: ...
    def read_schema(self) -> Schema | None:
        """Start the next stream. None at end of file on a stream boundary."""
    def read_batch(self, resolve: bool = True) -> RecordBatch | None:
        """Next batch of the open stream; None at its end marker, or at end of file between messages.

        A pointer batch comes back as the batch in shared memory, with the pointer's own metadata, unless
        ``resolve`` is false. Its slot is freed once a later batch arrives and nothing refers to it any more.
        """
    def resolve(self, batch: RecordBatch) -> RecordBatch:
        """The batch that a pointer batch of this input stands for; any other comes back as it is."""
    def attach_segment(self, segment: Segment | None) -> None:
        """Where pointers of the peer lead. A pointer without a segment is a ProtocolError."""
    def give_back(self) -> None:
        """Free the slots of received batches that nothing refers to. The peer has to be waiting."""
    def release(self) -> None:
        """Free the slots of all received batches. What is still referred to gets memory of its own first, at
        the address where it is, so that views stay valid. Due before the peer may reset the segment."""
    def drain(self) -> None:
        """Discard up to and including the end marker of the open stream, if one is open."""
    @property
    def open(self) -> bool:
        """A stream's schema was read and its end was not."""
    trace: Trace | None
    """What counts this direction."""
    def spin(self, budget_us: float) -> None:
        """Look so long (0 to 1000) for bytes before sleeping, as long as they usually come within it."""
    def wait(self, timeout_ms: int) -> bool:
        """Whether something can be read, end of file included, within that time."""
    @property
    def truncated(self) -> bool:
        """The input ended before the end marker of the last stream."""
    @property
    def bytes_read(self) -> int: ...

@final
class Output:
    """One direction of a connection, written. Parts are queued and leave in one gather write.

    ``sink`` is a file descriptor, or None to collect in memory for ``getvalue``. One thread at a time.
    Raises TransportError when the peer is gone.
    """

    trace: Trace | None
    """What counts this direction."""
    def __init__(self, sink: int | None = None) -> None: ...
    def schema(self, schema: Schema) -> None:
        """Queue a schema message; it opens a stream."""
    def batch(self, batch: RecordBatch, metadata: Mapping[bytes, bytes] | None = None) -> None:
        """Queue a batch (preceded by its dictionaries). ``metadata`` replaces the batch's own."""
    def empty_batch(self, metadata: Mapping[bytes, bytes] | None = None) -> None:
        """Queue a zero-row batch on the open stream's schema: logs, errors, ticks, void results."""
    def attach_segment(self, segment: Segment | None, min_batch_bytes: int = 0) -> None:
        """Place batches with rows, of that size or more, in shared memory, as far as there is room."""
    @property
    def pointers_written(self) -> int:
        """Batches that were placed in shared memory."""
    def eos(self) -> None: ...
    def raw(self, data: bytes) -> None:
        """Queue bytes that were encoded before, whole messages only."""
    def flush(self) -> None: ...
    def discard(self) -> None:
        """Forget what is queued and not flushed."""
    def getvalue(self) -> bytes: ...
    @property
    def open(self) -> bool: ...
    @property
    def bytes_written(self) -> int: ...

@final
class ScalarPlan:
    """How one scalar call is applied to each batch, decided once at init.

    ``arguments`` holds one entry per argument of ``function``, in order:
      ("numpy", i)    column i as NumPy array        ("masked", i)   … as numpy.ma.MaskedArray
      ("arrow", i)    column i as pyarrow array      ("array", i)    … as vgi_fast Array
      ("varargs", form, i)   columns i… as further arguments, each in ``form``
      ("value", x)    the object x                   ("rows",)       the row count as int
    ``function`` is a callable, a NumPy ufunc, or a Kernel. With ``propagate_nulls`` a row with a null
    in any column is null in the result.
    """

    def __init__(
        self,
        function: Callable[..., Any] | Kernel,
        arguments: Sequence[tuple[Any, ...]],
        input_schema: Schema,
        output_schema: Schema,
        propagate_nulls: bool = True,
        keywords: Mapping[str, tuple[Any, ...]] | None = None,
        metadata: Mapping[bytes, bytes] | None = None,
    ) -> None: ...
    def apply(self, batch: RecordBatch) -> RecordBatch: ...

@final
class Kernel:
    """A compiled C function, applied without Python code per batch.

    ``pointer`` is an address, a PyCapsule, or an object with ``address`` (Numba cfunc).
    ``signature`` is ``"double(double, double)"`` or ``"int64_t(int64_t)"`` (one to four arguments of one
    type, called per row) or ``"loop"``: NumPy's inner loop
    ``void (char **args, const intptr_t *dimensions, const intptr_t *strides, void *data)``.
    """

    def __init__(self, pointer: object, signature: str, keep_alive: object = None) -> None: ...
    @property
    def signature(self) -> str: ...
    @property
    def type(self) -> DataType | None:
        """Of arguments and result; None for ``"loop"``."""
    @property
    def arity(self) -> int:
        """Number of inputs; 0 for ``"loop"``, which takes any."""

@final
class KeySet:
    """The values of an IN list, hashed once; null keys are left out. For columns that store values of ``keys.type``."""

    def __init__(self, keys: Array) -> None: ...
    @property
    def type(self) -> DataType: ...
    def __len__(self) -> int: ...

@final
class FilterPlan:
    """A filter bound to a schema. ``spec`` is a step; a path leads from a column through members of structs:

    ("all",)  ("none",)  ("and", [step, …])  ("or", [step, …])  ("call", function of a batch)
    ("null", path, is_null)                        IS NULL or IS NOT NULL
    ("range", path, width, signed, low, high, negate)   stored integers; width 0 for bool
    ("float", path, low, high, negate)             NaN is outside of every range
    ("text", path, "equal" | "prefix" | "suffix" | "contains" | "like", bytes, negate)
    ("text", path, "range", low | None, low_open, high | None, high_open, negate)
    ("text", path, "length", least, most, negate)  in characters
    ("in", path, KeySet)   ("list", path, step of any element)   ("box", path, xmin, ymin, xmax, ymax)
    ("arithmetic", path, [("+" | "-" | "from" | "*" | "%", constant), …], low, high, negate)   of int64
    """

    def __init__(self, schema: Schema, spec: tuple[Any, ...]) -> None: ...
    @property
    def schema(self) -> Schema: ...
    def patch(self, specs: Sequence[tuple[Any, ...]], start: int = 0) -> None:
        """Replace the constants of the leaves from ``start`` on, in their order."""
    def mask(self, batch: RecordBatch) -> Array:
        """Which rows pass, as an array of bool without nulls."""
    def count(self, batch: RecordBatch) -> int:
        """How many rows pass."""
    def apply(self, batch: RecordBatch) -> RecordBatch:
        """The rows that pass: the batch itself where all do, a slice of it where they are neighbours."""

@final
class BatchBuilder:
    """Rows of several batches put together as one. TypeMismatchError for a schema that it does not support: with a
    union, a run-end encoded column or a list view."""

    def __init__(self, schema: Schema) -> None: ...
    @staticmethod
    def supports(schema: Schema) -> bool: ...
    @property
    def schema(self) -> Schema: ...
    @property
    def num_rows(self) -> int: ...
    def append(self, batch: RecordBatch) -> bool:
        """Copy the rows. False, and nothing is copied, where they bring another dictionary or too many bytes (4 MiB
        for one buffer)."""
    def finish(self) -> RecordBatch:
        """What was appended since the last call; ValueError where that is no batch."""

def column_extremes(array: Array, skip_nan: bool = False) -> tuple[int, int] | None:
    """(row of the least value, row of the greatest), -1 where nothing is valid; None for a type without order."""

def column_summary(array: Array) -> tuple[int, int, int, int, bool, bytes] | None:
    """(least row, greatest row, nulls, longest text in bytes, whether all of it is ASCII, registers).

    ``registers`` count the different values: unite those of several arrays with ``unite_registers``, read them with
    ``count_distinct``. None for a type without order.
    """

def unite_registers(a: bytes, b: bytes) -> bytes: ...
def count_distinct(registers: bytes) -> int:
    """How many different values were noted; near the truth."""

@final
class PartitionPlan:
    """The values of partition columns that travel beside each batch (04 §8). ``single``: one value per batch."""

    def __init__(self, schema: Schema, single: bool) -> None: ...
    @property
    def schema(self) -> Schema: ...
    def encode(self, columns: Sequence[Array | tuple[Array, Array]]) -> bytes | None:
        """The payload for one batch. ``columns``: for each field of the schema an array of the batch, or a pair of
        one-element arrays (least, greatest). None where a column has two values and may have one."""

def different(array: Array) -> int:
    """How many different values a column has, nulls counting as one."""

def geometry_box(data: Buffer) -> tuple[float, float, float, float] | None:
    """(xmin, ymin, xmax, ymax) of a geometry in WKB; None where the bytes are not that or the geometry is empty."""

def stored_bytes(array: Array, index: int) -> bytes | None:
    """The bytes of one fixed-width slot as they are stored; None for a null."""

def serve_exchange(
    input: Input,
    output: Output,
    input_schema: Schema,
    output_schema: Schema,
    step: ScalarPlan | Callable[[RecordBatch], RecordBatch],
) -> bool:
    """Answer each input batch with exactly one output batch, to the end of the input stream (01 §4.5).

    Reconciles inputs to ``input_schema`` (01 §4.6). Returns True when the client cancelled. Whatever
    ``step`` raises leaves this function with nothing of that step written. The caller writes the
    output's end marker and drains the input.
    """

def serve_producer(
    input: Input,
    output: Output,
    schema: Schema,
    produce: Callable[[], tuple[RecordBatch, Mapping[bytes, bytes] | None] | None],
    note: Callable[[Mapping[bytes, bytes]], object] | None = None,
) -> bool:
    """Answer each tick with the batch that ``produce`` gives, until it gives None (01 §4.4).

    ``note`` gets the metadata of ticks that have some, before the batch is asked for. Returns True when the
    client cancelled. What ``produce`` raises leaves this function.
    """

def plain_batch(schema: Schema, columns: dict[str, Any]) -> RecordBatch | None:
    """A batch over NumPy columns that are already as declared; None where any needs a closer look."""

def reshape(batch: RecordBatch, schema: Schema, positions: Sequence[int] | None = None) -> RecordBatch | None:
    """The columns at ``positions`` (all by default) under ``schema``, zero-copy; None where a type differs.

    Names are not compared, and the batch's metadata is dropped.
    """

@final
class SpoolWriter:
    """Appends received batches to a file, which stays the caller's. One thread at a time."""

    def __init__(self, fd: int, size: int = 0) -> None: ...
    def append(self, data: Buffer, schema: Schema, batch_index: int | None = None) -> bool:
        """Add the batch of a received stream. False, with nothing added, where it is not of ``schema``."""
    @property
    def size(self) -> int: ...

@final
class SpoolReader:
    """Iterates over the batches of a spool, zero-copy out of ``data``, such as a memory map."""

    def __init__(self, data: object, schema: Schema) -> None: ...
    def order(self) -> list[tuple[int, int, int]]:
        """Batch index (-1 for none), place and rows of each record."""
    def at_place(self, place: int) -> RecordBatch: ...
    def __iter__(self) -> SpoolReader: ...
    def __next__(self) -> RecordBatch: ...

def serve_replay(
    input: Input,
    output: Output,
    schema: Schema,
    readers: Iterable[SpoolReader],
    positions: Sequence[int] | None = None,
) -> bool:
    """Answer each tick with the next batch of the readers, in turn; True when the client cancelled.

    ``positions`` are the columns to give. Large batches leave as they were received, small ones as one.
    """

@disjoint_base
class AlikeCalls:
    """Unary calls that bring a batch each, answered without Python code around them, as long as one follows the other.

    The first of them, of schema ``outer`` and with ``metadata``, was understood in full; the next ones are equal but
    for the batch. ``fixed`` are fields of the record inside.
    """

    def serve(self, input: Input, output: Output, idle_ms: int) -> tuple[RecordBatch | None, bool]:
        """The first request that is another one, or None at the end; True when none came for so long."""

@final
class SpoolCalls(AlikeCalls):
    """Each adds its batch to a spool."""

    def __init__(
        self,
        outer: Schema,
        metadata: Mapping[bytes, bytes],
        fixed: Mapping[str, Any],
        writer: SpoolWriter,
        schema: Schema,
        reply: bytes,
    ) -> None: ...

@final
class HandledCalls(AlikeCalls):
    """Each is answered by ``handler(digest, batch)`` with a complete stream, or None where it has to be understood
    first; ``handler.answered()`` or ``handler.unanswered()`` tells whether the answer has left.
    """

    def __init__(
        self, outer: Schema, metadata: Mapping[bytes, bytes], fixed: Mapping[str, Any], handler: Any
    ) -> None: ...

def load_numpy() -> None:
    """Import NumPy now, which the first array would otherwise wait for."""

def fork_tied() -> int:
    """As ``os.fork``; the child is killed when this process ends, however it does (Linux).

    It says nothing of threads that the child will lack: whoever forks has to have looked for them.
    """

def allow_wide_kernels(allowed: bool) -> bool:
    """Whether loops for this processor are used instead of those for any; tests compare the two."""

def set_validation(level: str) -> None:
    """``"standard"``: structure, always on; ``"full"``: also UTF-8. ``"none"`` is taken as standard."""

def is_instance_count_zero() -> bool:
    """Debug builds: no buffer block and no exported array is alive. Always True in release builds."""

def nested(batch: RecordBatch, column: int = 0) -> RecordBatch | None:
    """The only batch of the IPC stream in a binary cell, as a view of it; None where the cell is null or empty."""

def cell(batch: RecordBatch, column: int) -> Any:
    """The value of the only row."""

def cells(batch: RecordBatch, columns: tuple[int | None, ...]) -> tuple[Any, ...]:
    """Values of several columns of the only row; None for a column of None."""

def cell_digest(batch: RecordBatch, column: int) -> bytes:
    """16 bytes that stand for the bytes of a binary cell; not against an adversary."""

STATE_LAYOUT: Final[dict[str, int]]
"""Offsets in state and journal files, for the code that opens, repairs and removes them."""

@final
class Groups:
    """The groups of one request: their ids, the position of each row among them, and their records. One thread."""

    def __init__(self, stride: int) -> None: ...
    @property
    def count(self) -> int:
        """Distinct groups."""
    @property
    def rows(self) -> int: ...
    @property
    def stride(self) -> int: ...
    def assign(self, ids: Array) -> int:
        """Take the group of each row from an int64 column."""
    def assign_list(self, ids: list[int]) -> None: ...
    def assign_pairs(self, sources: Array, targets: Array) -> None:
        """Groups of a combine: rows 2i and 2i + 1 are the source and the target of pair i."""
    def mark(self, positions: list[int]) -> None:
        """After ``assign_pairs``: these groups were changed."""
    def keep_changed(self) -> None:
        """Forget the groups that a combine has only read."""
    def ids_list(self) -> list[int]: ...
    def locals_list(self) -> list[int]: ...
    def locals_array(self) -> npt.NDArray[np.int64]: ...
    def records_view(self) -> memoryview:
        """The records in place, as bytes that may be written until the next ``assign``."""
    def get_records(self) -> list[bytes | None]: ...
    def set_records(self, given: list[bytes | None]) -> None: ...
    def present(self) -> list[bool]: ...

@final
class StateJournal:
    """Where one change is written down before it is made. One thread at a time; one process."""

    def __init__(self, memory: Any) -> None: ...
    def attach(self, memory: Any) -> None: ...
    @property
    def capacity(self) -> int: ...
    def note(self, owner: bytes, request: bytes) -> None: ...
    def answered(self) -> None: ...

@final
class GroupStore:
    """Records by group id over a mapped file, or over memory of this process. Any thread, one at a time."""

    def __init__(
        self,
        stride: int,
        name: bytes,
        memory: Any,
        more: Callable[[int], Any],
        take: Callable[[int, int], None],
    ) -> None: ...
    @property
    def stride(self) -> int: ...
    @property
    def name(self) -> bytes: ...
    @property
    def capacity(self) -> int: ...
    def attach(self, memory: Any) -> None: ...
    def load(self, groups: Groups) -> None: ...
    def store(self, groups: Groups) -> None: ...
    def publish(self, groups: Groups, journal: StateJournal, writer: int, request: bytes) -> bool:
        """Journal, publish, spread. True where the file is about to be removed."""
    def settled(self, groups: Groups) -> None: ...
    def replay(self, journal: Buffer) -> None: ...
    def add_writer(self, name: int) -> int: ...
    def writers(self) -> list[tuple[int, int, int]]: ...
    def take_over(self, writer: int, name: int) -> None: ...
    def is_busy(self, but: int) -> bool: ...
    def settle(self, writer: int) -> None: ...
    def settle_if(self, writer: int, name: int) -> None: ...
    def reserve_arena(self, size: int) -> int: ...
    def memory(self) -> bytes: ...

def holds_unsettled(data: Buffer, stride: int) -> bool:
    """Whether any of the records has a state that was neither finalized nor combined."""

REDUCTIONS: Final[dict[str, int]]

@final
class Reduction:
    """One building block over the records of groups. One thread at a time."""

    def __init__(
        self,
        name: str,
        type: TypeLike | None = None,
        result: TypeLike | None = None,
        degrees: int = 1,
        root: bool = False,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> DataType | None: ...
    @property
    def result(self) -> DataType: ...
    @property
    def stride(self) -> int: ...
    def update(self, groups: Groups, batch: RecordBatch, column: int) -> None: ...
    def combine(self, groups: Groups) -> None: ...
    def finish(self, groups: Groups) -> Array: ...

def collect_parts(groups: Groups, values: Array, keep_nulls: bool = False) -> list[bytes | None]: ...
def parts_to_array(parts: list[bytes], type: TypeLike, keep_nulls: bool = False) -> Array: ...
def join_parts(parts: list[bytes], separator: bytes) -> bytes: ...
def list_array(values: Array, counts: list[int | None]) -> Array: ...

@final
class WindowIndex:
    """What answers frames of one column of a partition. Immutable; any thread."""

    def __init__(self, reduction: Reduction, batch: RecordBatch, column: int, mask: Buffer | None = None) -> None: ...
    @property
    def rows(self) -> int: ...
    def one(self, request: RecordBatch, starts: int, ends: int) -> bytes | None: ...
    def many(self, request: RecordBatch, per_row: int, starts: int, ends: int) -> Array: ...

def partition_key(batch: RecordBatch, columns: int, row: int) -> bytes: ...
def partition_starts(batch: RecordBatch, columns: int) -> bytes: ...
def running(
    reduction: Reduction, batch: RecordBatch, column: int, starts: bytes, record: bytes | None
) -> tuple[Array, bytes]: ...
