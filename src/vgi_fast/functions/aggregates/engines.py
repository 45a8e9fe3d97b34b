"""How the states of an aggregate are kept and changed: one engine for each way of writing one.

An engine works on ``Groups``: the groups of one request with their records, which the caller has loaded and
will publish. It never touches storage but for nodes, the bytes of states that no record has room for.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from vgi_fast._core import (
    Reduction,
    WindowIndex,
    collect_parts,
    join_parts,
    list_array,
    parts_to_array,
    running,
)
from vgi_fast.errors import DefinitionError, ProtocolError, RowCountMismatchError, StorageError, TypeMismatchError
from vgi_fast.functions import annotations as ann
from vgi_fast.wire.arrow import Array, RecordBatch

if TYPE_CHECKING:
    from vgi_fast._core import Groups
    from vgi_fast.functions.aggregates.context import Aggregation, WindowPartition
    from vgi_fast.wire.arrow import DataType

__all__ = ["CollectEngine", "Engine", "Frames", "ReductionEngine", "VectorEngine"]

Frames = list[tuple[int, int]]

_LEAF: Final = struct.Struct("<Bxxxxxxxq")
"""Kind and left neighbour of a node of collected values; a part follows, or the right neighbour."""
_REFERENCE: Final = struct.Struct("<qq")
"""In a record: node and number of values."""
_NOTHING: Final = -1


class Engine:
    """Common to all engines. Made for one ``Aggregation``, used by one thread at a time."""

    stride: int = 16
    """Bytes of a record; the first is 1 where the group has a state."""
    windows = False
    """Frames are answered by ``window``."""

    def __init__(self, run: Aggregation) -> None:
        self.run = run

    @property
    def layout(self) -> bytes:
        """Tells records of the same size apart."""
        types = ", ".join(str(one) for one in self.run.input_types)
        return f"{type(self).__name__} {self.run.spec.name}({types})".encode()

    def update(self, groups: Groups, batch: RecordBatch, columns: list[int]) -> None:
        raise NotImplementedError

    def combine(self, groups: Groups) -> None:
        """Pairs of ``Groups.assign_pairs``, in their order; only changed groups are kept afterwards."""
        raise NotImplementedError

    def finish(self, groups: Groups) -> Array:
        """One result for each row of ``groups``."""
        raise NotImplementedError

    def answered(self) -> None:
        """What was changed is published and the client knows."""

    def unanswered(self) -> None:
        """It may not be published, or the client may not know."""

    def index(self, partition: WindowPartition) -> Any:
        """What frames of the partition are answered from, built once."""
        raise DefinitionError(f"{self.run.spec.where} has no window support")

    def window(self, index: Any, frames: Frames, rid: int) -> Any:
        """The value for one row."""
        raise DefinitionError(f"{self.run.spec.where} has no window support")


class ReductionEngine(Engine):
    """A building block of the core."""

    windows = True

    def __init__(self, run: Aggregation) -> None:
        super().__init__(run)
        self.reduction = reduction_of(run)
        self.stride = self.reduction.stride

    @property
    def layout(self) -> bytes:
        return f"{self.reduction.name} {self.reduction.type} {self.reduction.result}".encode()

    def update(self, groups: Groups, batch: RecordBatch, columns: list[int]) -> None:
        self.reduction.update(groups, batch, columns[0] if columns else -1)

    def combine(self, groups: Groups) -> None:
        self.reduction.combine(groups)

    def finish(self, groups: Groups) -> Array:
        return self.reduction.finish(groups)

    def index(self, partition: WindowPartition) -> WindowIndex:
        return WindowIndex(self.reduction, partition.batch, 0, partition.mask)

    def running(self, chunk: RecordBatch, column: int, starts: bytes, record: bytes | None) -> tuple[Array, bytes]:
        return running(self.reduction, chunk, column, starts, record)


def reduction_of(run: Aggregation) -> Reduction:
    """With the bound result type where the block can have it; else ``finish`` casts."""
    block: dict[str, Any] = run.spec.block
    column = run.input_types[0] if run.input_types else None
    options: dict[str, Any] = {"degrees": block.get("degrees", 1), "root": block.get("root", False)}
    if run.output_type is not None and block["name"] in ("sum", "product"):
        try:
            return Reduction(block["name"], column, run.output_type, **options)
        except TypeMismatchError:
            pass
    return Reduction(block["name"], column, None, **options)


class VectorState:
    """States of the groups of one batch, as arrays: one element of each field by group.

    ``present`` tells which groups have a state; the runtime sets it for groups of which a row was delivered.
    """

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        object.__setattr__(self, "_array", array)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._array[name]
        except ValueError:
            raise AttributeError(f"no state field {name!r}; there are {self._array.dtype.names}") from None

    def __setattr__(self, name: str, values: Any) -> None:
        if name not in self._array.dtype.names:
            raise AttributeError(f"no state field {name!r}; there are {self._array.dtype.names}")
        self._array[name] = values

    def __getitem__(self, name: str) -> Any:
        return self._array[name]

    def __setitem__(self, name: str, values: Any) -> None:
        self._array[name] = values

    def __len__(self) -> int:
        return len(self._array)


class VectorEngine(Engine):
    """The author's NumPy code over a declared layout of states."""

    def __init__(self, run: Aggregation) -> None:
        super().__init__(run)
        import numpy as np

        self.np = np
        layout = run.spec.layout
        self.initial = {name: initial for name, (_, initial, _) in layout.items()}
        names, offsets, at = ["present"], [0], 8
        formats: list[Any] = [np.dtype("?")]
        for name, (dtype, _, shape) in layout.items():
            field = np.dtype((dtype, shape)) if shape else np.dtype(dtype)
            names.append(name)
            formats.append(field)
            offsets.append(at)
            at += -(-field.itemsize // 8) * 8
        self.stride = at
        self.dtype = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": at})

    @property
    def layout(self) -> bytes:
        return super().layout + repr(self.run.spec.layout).encode()

    def _states(self, groups: Groups) -> Any:
        return self.np.frombuffer(groups.records_view(), self.dtype)

    def _fill(self, states: Any, where: Any) -> None:
        for name, initial in self.initial.items():
            states[name][where] = initial

    def update(self, groups: Groups, batch: RecordBatch, columns: list[int]) -> None:
        if not groups.rows:
            return
        states = self._states(groups)
        local = groups.locals_array()
        arrays = [batch.column(index) for index in columns]
        spec = self.run.spec
        if spec.skips_nulls:
            local, values = self._without_nulls(local, arrays)
        else:
            values = [
                ann_values(array, column.form) for array, column in zip(arrays, spec.forms(len(arrays)), strict=True)
            ]
        fresh = ~states["present"]
        if fresh.any():
            self._fill(states, fresh)
        touched = states["present"].copy()
        touched[local] = True
        states["present"][:] = touched
        if len(local) or not spec.skips_nulls:
            spec.call_update(self.run, VectorState(states), local, values)

    def _without_nulls(self, local: Any, arrays: list[Array]) -> tuple[Any, list[Any]]:
        keep = None
        for array in arrays:
            valid = array.valid()
            if valid is not None:
                keep = valid if keep is None else keep & valid
        forms = [column.form for column in self.run.spec.forms(len(arrays))]
        if keep is None:
            return local, [ann_values(array, form) for array, form in zip(arrays, forms, strict=True)]
        rows = self.np.flatnonzero(keep)
        return local[rows], [_taken(array, form, rows) for array, form in zip(arrays, forms, strict=True)]

    def combine(self, groups: Groups) -> None:
        np = self.np
        states = self._states(groups)
        pairs = groups.locals_array().reshape(-1, 2)
        pairs = pairs[self._will_have_source(states, pairs)]
        for part in _rounds(pairs.tolist()):
            sources, targets = np.array(part, np.intp).T
            into, source = states[targets], states[sources]
            absent = ~into["present"]
            if absent.any():
                self._fill(into, absent)
            self.run.spec.call_combine(self.run, VectorState(source), VectorState(into))
            into["present"] = True
            states[targets] = into
            groups.mark(targets.tolist())
        groups.keep_changed()

    def _will_have_source(self, states: Any, pairs: Any) -> list[bool]:
        """Of each pair, whether its source has a state by the time it is its turn."""
        present: list[bool] = states["present"].tolist()
        wanted = []
        for source, target in pairs.tolist():
            wanted.append(present[source] and source != target)
            present[target] = present[target] or present[source]
        return wanted

    def finish(self, groups: Groups) -> Array:
        np = self.np
        states = self._states(groups)
        present = states["present"]
        have = np.flatnonzero(present)
        run = self.run
        assert run.output_type is not None
        results = run.spec.call_finalize(run, VectorState(states[have]))
        column = _coerced(run, results, len(have))
        local = groups.locals_array()
        if len(have) == groups.count and groups.count == groups.rows and (groups.count == 1 or _is_range(np, local)):
            return column
        empty = run.spec.on_empty
        values = [empty] * groups.count
        for position, value in zip(have.tolist(), column.to_pylist(), strict=True):
            values[position] = value
        return Array.from_pylist([values[position] for position in local.tolist()], run.output_type)


def _is_range(np: Any, local: Any) -> bool:
    return bool((local == np.arange(len(local))).all())


def _rounds(pairs: list[list[int]]) -> list[list[list[int]]]:
    """Consecutive pairs, in parts within which no group is changed twice, or changed and then read.

    >>> _rounds([[0, 5], [1, 6], [2, 5], [5, 7]])
    [[[0, 5], [1, 6]], [[2, 5]], [[5, 7]]]
    """
    parts: list[list[list[int]]] = []
    changed: set[int] = set()
    part: list[list[int]] = []
    for pair in pairs:
        if pair[1] in changed or pair[0] in changed:
            parts.append(part)
            part, changed = [], set()
        part.append(pair)
        changed.add(pair[1])
    if part:
        parts.append(part)
    return parts


def ann_values(array: Array, form: str) -> Any:
    """A column as the author declared it."""
    if form == ann.ARROW:
        return array.to_arrow()
    if form == ann.ARRAY:
        return array
    values = array.to_numpy()
    valid = array.valid()
    if valid is None and form != ann.MASKED:
        return values
    import numpy.ma as ma

    return ma.MaskedArray(values, ma.nomask if valid is None else ~valid)


def _taken(array: Array, form: str, rows: Any) -> Any:
    if form in (ann.NUMPY, ann.MASKED):
        return array.to_numpy()[rows]
    taken = array.to_arrow().take(rows)
    return taken if form == ann.ARROW else Array.from_arrow(taken)


def _coerced(run: Aggregation, results: Any, count: int) -> Array:
    assert run.output_type is not None
    if hasattr(results, "num_columns") and hasattr(results, "column"):  # a batch of one column
        results = results.column(0)
    column = Array.coerce(results, run.output_type)
    if len(column) != count:
        raise RowCountMismatchError(
            f"{run.spec.where}: finalize() returned {len(column)} rows but expected {count} (one per group_id)"
        )
    return column


class CollectEngine(Engine):
    """All values of a group, kept as they came: lists, joined texts, and functions of all values.

    The values of one batch are a part; parts are leaves of a tree whose nodes never change, so that a combine
    adds a node over two trees and leaves both as they are.
    """

    stride = 8 + _REFERENCE.size
    windows = True

    def __init__(self, run: Aggregation) -> None:
        super().__init__(run)
        self.keep_nulls: bool = run.spec.keeps_nulls
        self.type: DataType = run.input_types[0]

    def update(self, groups: Groups, batch: RecordBatch, columns: list[int]) -> None:
        parts = collect_parts(groups, batch.column(columns[0]), self.keep_nulls)
        records = groups.records_view()
        nodes: list[bytes] = []
        changed: list[tuple[int, int]] = []
        for position, part in enumerate(parts):
            if part is None:
                continue
            at = position * self.stride
            head, count = _REFERENCE.unpack_from(records, at + 8) if records[at] else (_NOTHING, 0)
            nodes.append(_LEAF.pack(0, head) + part)
            changed.append((at, count + int.from_bytes(part[:8], "little")))
        for (at, count), node in zip(changed, self.run.records.put_nodes(nodes), strict=True):
            records[at] = 1
            _REFERENCE.pack_into(records, at + 8, node, count)

    def combine(self, groups: Groups) -> None:
        records = groups.records_view()
        local = groups.locals_list()
        changed = []
        for source, target in zip(local[::2], local[1::2], strict=True):
            source_at, target_at = source * self.stride, target * self.stride
            if source == target or not records[source_at]:
                continue
            changed.append(target)
            if not records[target_at]:
                records[target_at : target_at + self.stride] = records[source_at : source_at + self.stride]
                continue
            right, more = _REFERENCE.unpack_from(records, source_at + 8)
            left, count = _REFERENCE.unpack_from(records, target_at + 8)
            node = _LEAF.pack(1, left) + right.to_bytes(8, "little", signed=True)
            (head,) = self.run.records.put_nodes([node])
            _REFERENCE.pack_into(records, target_at + 8, head, count + more)
        groups.mark(changed)
        groups.keep_changed()

    def _parts(self, head: int) -> list[bytes]:
        """Parts of a tree, in the order of their rows."""
        parts: list[bytes] = []
        waiting = [head]
        while waiting:
            one = waiting.pop()
            if one == _NOTHING:
                continue
            (node,) = self.run.records.get_nodes([one])
            if len(node) < _LEAF.size:
                raise StorageError("collected values are damaged: a node is cut off")
            kind, left = _LEAF.unpack_from(node)
            # From the end to the start: a leaf is done with before what is left of it.
            if kind == 0:
                parts.append(node[_LEAF.size :])
                waiting.append(left)
            else:
                waiting += (left, int.from_bytes(node[_LEAF.size :], "little", signed=True))
        parts.reverse()
        return parts

    def finish(self, groups: Groups) -> Array:
        records = groups.records_view()
        found: list[list[bytes] | None] = []
        for position in range(groups.count):
            at = position * self.stride
            found.append(self._parts(_REFERENCE.unpack_from(records, at + 8)[0]) if records[at] else None)
        local = groups.locals_list()
        return self.results([found[position] for position in local])

    def results(self, rows: list[list[bytes] | None]) -> Array:
        """Of the parts of each row; None for a row without state."""
        block = self.run.spec.block
        assert self.run.output_type is not None
        if block["name"] == "list":
            parts = [part for row in rows for part in row or ()]
            counts = [None if row is None else sum(int.from_bytes(p[:8], "little") for p in row) for row in rows]
            return list_array(parts_to_array(parts, self.type, self.keep_nulls), counts).cast(self.run.output_type)
        if block["name"] == "string_agg":
            separator: bytes = block["separator"].encode()
            joined = [None if row is None else join_parts(row, separator).decode() for row in rows]
            return Array.from_pylist(joined, self.run.output_type)
        return _list_or_array([self._called(row) for row in rows], self.run)

    def _called(self, row: list[bytes] | None) -> Any:
        if row is None:
            return self.run.spec.on_empty
        values = parts_to_array(row, self.type, self.keep_nulls)
        return self.run.spec.call_values(self.run, ann_values(values, self.run.spec.signature.columns[0].form))

    # -- windows --

    def index(self, partition: WindowPartition) -> _Contributing:
        return _Contributing(partition, self.keep_nulls)

    def window(self, index: _Contributing, frames: Frames, rid: int) -> Any:
        array = index.column(frames)
        block = self.run.spec.block
        if len(array) == 0:
            return self.run.spec.on_empty
        if block["name"] == "list":
            return array.to_pylist()
        if block["name"] == "string_agg":
            return block["separator"].join(array.to_pylist())
        return self.run.spec.call_values(self.run, ann_values(array, self.run.spec.signature.columns[0].form))


def _list_or_array(values: list[Any], run: Aggregation) -> Array:
    assert run.output_type is not None
    return Array.from_pylist([value.item() if hasattr(value, "item") else value for value in values], run.output_type)


class _Contributing:
    """The rows of a partition's first column that take part, and how many of them are before each row."""

    def __init__(self, partition: WindowPartition, keep_nulls: bool) -> None:
        column = partition.batch.column(0)
        valid = None if keep_nulls else column.valid()
        self._rows = column
        self._before: list[int] | None = None
        if partition.mask or valid is not None:
            import numpy as np

            takes_part = partition.filter_mask if valid is None else partition.filter_mask & valid
            if not takes_part.all():
                self._before = np.concatenate(([0], np.cumsum(takes_part))).tolist()
                rows = np.flatnonzero(takes_part)
                taken = column.to_arrow().take(rows)
                self._rows = Array.from_arrow(taken)

    def column(self, frames: Frames) -> Array:
        ranges = []
        rows = len(self._before) - 1 if self._before is not None else len(self._rows)
        for start, end in frames:
            start, end = max(start, 0), min(end, rows)
            if start >= end:
                continue
            if self._before is not None:
                start, end = self._before[start], self._before[end]
            if start < end:
                ranges.append((start, end))
        if len(ranges) == 1:
            return self._rows.slice(ranges[0][0], ranges[0][1] - ranges[0][0])
        values: list[Any] = []
        for start, end in ranges:
            values += self._rows.slice(start, end - start).to_pylist()
        return Array.from_pylist(values, self._rows.type)


def frame_pairs(starts: list[int], ends: list[int]) -> Frames:
    if len(starts) != len(ends):
        raise ProtocolError(f"{len(starts)} frame starts and {len(ends)} frame ends")
    return list(zip(starts, ends, strict=True))
