"""States that are Python objects: ``AggregateFunction`` and classes of which each group has an instance."""

from __future__ import annotations

import pickle
import threading
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import DefinitionError, StorageError
from vgi_fast.functions.aggregates.engines import Engine, Frames, _coerced, ann_values
from vgi_fast.wire.arrow import Array

if TYPE_CHECKING:
    from vgi_fast._core import Groups
    from vgi_fast.functions.aggregates.context import Aggregation, WindowPartition
    from vgi_fast.wire.arrow import RecordBatch

__all__ = ["FunctionEngine", "InstanceEngine", "States"]

_MAX_REMEMBERED: Final = 65_536


class States(dict[int, Any]):
    """State by group. A group that is new gets one by assignment, not by being looked at or changed in place."""

    __slots__ = ("assigned",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.assigned: set[int] = set()

    def __setitem__(self, group: int, state: Any) -> None:
        super().__setitem__(group, state)
        self.assigned.add(group)


class ObjectEngine(Engine):
    """Keeps objects as bytes in nodes. Objects of this process are used again where nobody changed them since."""

    stride = 24

    def __init__(self, run: Aggregation) -> None:
        super().__init__(run)
        self._remembered: dict[int, tuple[int, Any]] = {}
        """By group: node and object."""
        self._outdated: dict[int, list[tuple[int, int]]] = {}
        """By thread, nodes that its request replaces."""

    def initial(self) -> Any:
        raise NotImplementedError

    def encode(self, state: Any) -> bytes:
        write = getattr(state, "serialize_to_bytes", None)
        if write is not None:
            return bytes(write())
        try:
            return pickle.dumps(state, pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise DefinitionError(
                f"{self.run.spec.where}: a {type(state).__name__} cannot be persisted as per-group aggregate state: "
                f"{error}",
                hint="give it serialize_to_bytes() and deserialize_from_bytes(), or make it picklable",
            ) from error

    def decode(self, data: bytes) -> Any:
        read = getattr(self.run.spec.state_class, "deserialize_from_bytes", None)
        try:
            return pickle.loads(data) if read is None else read(data)
        except Exception as error:
            raise StorageError(f"{self.run.spec.where}: a stored state cannot be read: {error}") from error

    def _load(self, groups: Groups) -> tuple[memoryview, list[Any]]:
        """The records, and the state of each group, None where it has none."""
        records = groups.records_view()
        states: list[Any] = [None] * groups.count
        missing = []
        for position, group in enumerate(groups.ids_list()):
            at = position * self.stride
            if records[at]:
                node = int.from_bytes(records[at + 8 : at + 16], "little")
                known = self._remembered.get(group)
                if known is not None and known[0] == node:
                    states[position] = known[1]
                else:
                    missing.append((position, node))
        found = self.run.records.get_nodes([node for _, node in missing])
        for (position, _), data in zip(missing, found, strict=True):
            states[position] = self.decode(data)
        return records, states

    def _save(self, groups: Groups, records: memoryview, changed: dict[int, Any]) -> None:
        """New states by position."""
        encoded = [self.encode(state) for state in changed.values()]
        outdated = self._outdated[threading.get_ident()] = []
        ids = groups.ids_list()
        if len(self._remembered) + len(changed) > _MAX_REMEMBERED:
            self._remembered.clear()
        for (position, state), node, data in zip(
            changed.items(), self.run.records.put_nodes(encoded), encoded, strict=True
        ):
            at = position * self.stride
            if records[at]:
                old = int.from_bytes(records[at + 8 : at + 16], "little")
                outdated.append((old, int.from_bytes(records[at + 16 : at + 24], "little")))
            records[at] = 1
            records[at + 8 : at + 16] = node.to_bytes(8, "little")
            records[at + 16 : at + 24] = len(data).to_bytes(8, "little")
            self._remembered[ids[position]] = (node, state)

    def answered(self) -> None:
        outdated = self._outdated.pop(threading.get_ident(), None)
        if outdated:
            self.run.records.drop_nodes(outdated)

    def unanswered(self) -> None:
        self._outdated.pop(threading.get_ident(), None)

    def update(self, groups: Groups, batch: RecordBatch, columns: list[int]) -> None:
        records, states = self._load(groups)
        try:
            changed = self.change(groups, states, [batch.column(index) for index in columns])
        except BaseException:
            self._remembered.clear()  # the author's code may have changed objects half-way
            raise
        self._save(groups, records, changed)

    def change(self, groups: Groups, states: list[Any], columns: list[Array]) -> dict[int, Any]:
        """Apply the rows; gives the states to keep, by position."""
        raise NotImplementedError

    def combine(self, groups: Groups) -> None:
        records, states = self._load(groups)
        local = groups.locals_list()
        shared = {id(state) for state in states if state is not None}
        changed: dict[int, Any] = {}
        try:
            for source, target in zip(local[::2], local[1::2], strict=True):
                if source == target or states[source] is None:
                    continue
                if states[target] is None:
                    states[target] = self.initial()
                # The source stays as it is, whatever the author's code does to it.
                lent = self.decode(self.encode(states[source])) if id(states[source]) in shared else states[source]
                states[target] = self.combined(lent, states[target])
                changed[target] = states[target]
        except BaseException:
            self._remembered.clear()
            raise
        self._save(groups, records, changed)
        groups.mark(list(changed))
        groups.keep_changed()

    def combined(self, source: Any, target: Any) -> Any:
        raise NotImplementedError


class FunctionEngine(ObjectEngine):
    """``AggregateFunction``: hooks over all groups of a batch at once."""

    @property
    def windows(self) -> bool:  # type: ignore[override]
        return self.run.spec.options.supports_window

    def initial(self) -> Any:
        return self.run.spec.owner.initial_state(self.run.params())

    def change(self, groups: Groups, states: list[Any], columns: list[Array]) -> dict[int, Any]:
        spec = self.run.spec
        ids = groups.ids_list()
        given = States()
        for group, state in zip(ids, states, strict=True):
            dict.__setitem__(given, group, self.initial() if state is None else state)
        local = groups.locals_list()
        group_ids = Array.from_pylist([ids[position] for position in local], "int64")
        forms = [column.form for column in spec.forms(len(columns))]
        values = [ann_values(column, form) for column, form in zip(columns, forms, strict=True)]
        spec.call_function_update(self.run, given, ann_values(group_ids, spec.group_form), values)
        return {
            position: given[group]
            for position, group in enumerate(ids)
            if states[position] is not None or group in given.assigned
        }

    def combined(self, source: Any, target: Any) -> Any:
        return self.run.spec.owner.combine(source, target, self.run.params())

    def finish(self, groups: Groups) -> Array:
        run = self.run
        _, states = self._load(groups)
        ids = groups.ids_list()
        local = groups.locals_list()
        group_ids = Array.from_pylist([ids[position] for position in local], "int64")
        # A hook that changes what it is given must not change what others of this process will see.
        self._remembered.clear()
        answer = run.spec.owner.finalize(
            ann_values(group_ids, run.spec.group_form),
            dict(zip(ids, states, strict=True)),
            run.params(run.result_schema()),
        )
        return _coerced(run, answer, groups.rows)

    # -- windows --

    def index(self, partition: WindowPartition) -> tuple[WindowPartition, Any]:
        owner, params = self.run.spec.owner, self.run.params(self.run.result_schema())
        state = None
        if run_hook(owner, "window_init"):
            state = owner.window_init(partition, params)
        if run_hook(owner, "window_prepare"):
            state = owner.window_prepare(partition, state, params)
        return partition, state

    def window(self, index: tuple[WindowPartition, Any], frames: Frames, rid: int) -> Any:
        partition, state = index
        return self.run.spec.owner.window(rid, frames, partition, state, self.run.params(self.run.result_schema()))


def run_hook(owner: Any, name: str) -> bool:
    """Whether the class has the hook."""
    return getattr(owner, name, None) is not None


class InstanceEngine(ObjectEngine):
    """A class of which each group has an instance that sees one row after the other."""

    def initial(self) -> Any:
        return self.run.spec.make_instance(self.run)

    def change(self, groups: Groups, states: list[Any], columns: list[Array]) -> dict[int, Any]:
        rows = [column.to_pylist() for column in columns]
        skip = [not column.optional for column in self.run.spec.forms(len(columns))]
        changed: dict[int, Any] = {}
        for number, position in enumerate(groups.locals_list()):
            values = [column[number] for column in rows]
            if any(value is None and skips for value, skips in zip(values, skip, strict=True)):
                continue
            state = states[position]
            if state is None:
                state = states[position] = self.initial()
            state.update(*values)
            changed[position] = state
        return changed

    def combined(self, source: Any, target: Any) -> Any:
        target.combine(source)
        return target

    def finish(self, groups: Groups) -> Array:
        _, states = self._load(groups)
        empty = self.run.spec.on_empty
        results = [empty if state is None else state.finalize() for state in states]
        self._remembered.clear()
        return _coerced(self.run, [results[position] for position in groups.locals_list()], groups.rows)
