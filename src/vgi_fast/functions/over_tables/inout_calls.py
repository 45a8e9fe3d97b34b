"""Table-in-out functions while they run: the three ways to call one, and what becomes of their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from vgi_fast.errors import ArgumentError, SchemaValidationError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions.batches import BatchShaper
from vgi_fast.functions.injection import inject
from vgi_fast.functions.over_tables.forms import BATCH_FORMS, COLUMN_FORMS, hook_form, unchanged
from vgi_fast.functions.signature import AS_LIST, BY_POSITION, COLUMN, ROWS, SPREAD, TABLE, Parameter
from vgi_fast.wire.arrow import RecordBatch, reshape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vgi_fast.functions.context import InitParams, ProcessParams
    from vgi_fast.functions.output import ExchangeCollector
    from vgi_fast.functions.over_tables.inout import TableInOutSpec

__all__ = ["Arguments", "ClassCall", "ConsumingCall", "FunctionCall", "InOutCall", "InOutShaper", "listed"]


class InOutCall(Protocol):
    """One substream being served."""

    def step(self, batch: RecordBatch) -> RecordBatch:
        """The answer to one batch."""

    def finish(self) -> Iterator[Any]:
        """What remains, in any form that ``step`` takes."""

    def cancel(self) -> None:
        """The client asked to stop."""


class InOutShaper(BatchShaper):
    """Also takes batches of all bound columns by position of the projected ones."""

    __slots__ = ("_empty", "_full", "_full_names", "_ids")

    def __init__(self, params: InitParams[Any], where: str) -> None:
        super().__init__(params.output_schema, where)
        self._full = params.full_schema
        self._full_names = params.full_schema.names
        self._ids = params.projection_ids
        self._empty: RecordBatch | None = None

    def batch(self, produced: Any) -> RecordBatch:
        """Exactly one batch, whatever the form; None is no rows."""
        if type(produced) is RecordBatch:
            return self._from_batch(produced)
        if produced is None:
            return self.empty()
        if hasattr(produced, "__next__"):
            return self.joined([self.batch(one) for one in produced if one is not None])
        one = self.one(produced)
        return one if one is not None else self.joined(list(self.parts(produced)))

    def joined(self, batches: list[RecordBatch]) -> RecordBatch:
        filled = [batch for batch in batches if batch.num_rows]
        if len(filled) <= 1:
            return filled[0] if filled else self.empty()
        import pyarrow as pa

        table = pa.Table.from_batches([batch.to_arrow() for batch in filled]).combine_chunks()
        return self._from_batch(RecordBatch.from_arrow(table.to_batches()[0]))

    def provenance(self, parents: Any, rows: int, input_rows: int) -> bytes | None:
        """The input row of each output row as it travels (section 7.5); none for no rows."""
        import binascii

        import numpy as np

        found = np.ascontiguousarray(parents, dtype="<i4")
        if found.shape != (rows,):
            raise SchemaValidationError(f"{self._where}: {found.size} parent rows for {rows} output rows")
        if rows == 0:
            return None
        if found.min() < 0 or found.max() >= input_rows:
            bad = found[(found < 0) | (found >= input_rows)][0]
            raise SchemaValidationError(
                f"{self._where}: parent row {bad} is out of range; the batch has {input_rows} rows"
            )
        return binascii.b2a_base64(found.tobytes(), newline=False)

    def unrelated(self, rows: int, input_rows: int) -> SchemaValidationError:
        return SchemaValidationError(
            f"{self._where}: {rows} output rows for {input_rows} input rows without parent rows",
            hint="return RowsOf(rows, parents), or emit with parent_rows=",
        )

    def empty(self) -> RecordBatch:
        if self._empty is None:
            self._empty = super().empty()
        return self._empty

    def _from_batch(self, produced: RecordBatch) -> RecordBatch:
        schema = produced.schema
        if schema is self._full or schema.names == self._full_names:
            found = reshape(produced, self.schema, self._ids)
            if found is not None:
                return found
        found = super()._from_batch(produced)
        return found if not found.metadata else found.with_metadata(None)


class Arguments:
    """Arguments of a plain function: constants and injected values once, the table or its columns each time."""

    __slots__ = ("_columns", "_fixed", "_holes", "_keywords", "_listed", "_rows", "_tail")

    def __init__(self, spec: TableInOutSpec, params: ProcessParams[Any], values: dict[str, Any]) -> None:
        self._fixed: list[Any] = []
        self._keywords: dict[str, Any] = {}
        self._holes: list[tuple[int, int, Callable[[Any], Any]]] = []
        """Place among the arguments, column (-1 for the table, -2 for the number of rows), conversion."""
        self._tail: tuple[int, Callable[[Any], Any]] | None = None
        """First of the varargs columns."""
        self._listed: str | None = None
        self._rows: str | None = None
        """Keywords of a list of the varargs columns, and of the number of rows."""
        self._columns = 0
        for slot in spec.signature.slots:
            self._place(spec, slot, params, values)

    def _place(self, spec: TableInOutSpec, slot: Any, params: ProcessParams[Any], values: dict[str, Any]) -> None:
        source = slot.source
        if isinstance(source, Parameter) and source.role == TABLE:
            self._hole(-1, BATCH_FORMS[source.form.removeprefix(ann.EACH)])
            return
        if isinstance(source, Parameter) and source.role == COLUMN:
            if source.varargs:
                self._tail = (self._columns, COLUMN_FORMS[source.form])
                self._listed = slot.python_name if slot.passing == AS_LIST else None
            else:
                self._hole(self._columns, COLUMN_FORMS[source.form])
                self._columns += 1
            return
        by_position = slot.passing == BY_POSITION and self._listed is None
        if not isinstance(source, Parameter) and source.kind == ROWS:
            if by_position:
                self._hole(-2, unchanged)
            else:
                self._rows = slot.python_name
            return
        value = values[source.python_name] if isinstance(source, Parameter) else inject(spec, source, params)
        if slot.passing == SPREAD:
            self._fixed.extend(value)
        elif by_position:
            self._fixed.append(value)
        else:
            self._keywords[slot.python_name] = list(value) if slot.passing == AS_LIST else value

    def _hole(self, column: int, form: Callable[[Any], Any]) -> None:
        self._holes.append((len(self._fixed), column, form))
        self._fixed.append(None)

    def apply(self, function: Callable[..., Any], batch: RecordBatch) -> Any:
        arguments = self._fixed.copy()
        for place, column, form in self._holes:
            given = batch if column == -1 else batch.num_rows if column == -2 else batch.column(column)
            arguments[place] = form(given)
        keywords = self._keywords if self._rows is None else {**self._keywords, self._rows: batch.num_rows}
        if self._tail is not None:
            first, form = self._tail
            tail = [form(batch.column(index)) for index in range(first, batch.num_columns)]
            if self._listed is not None:
                return function(*arguments, **keywords, **{self._listed: tail})
            arguments.extend(tail)
        return function(*arguments, **keywords)

    def apply_to_all(self, function: Callable[..., Any], batches: Any) -> Any:
        """The table's place is taken by an iterator over its batches."""
        arguments = self._fixed.copy()
        arguments[self._holes[0][0]] = batches
        return function(*arguments, **self._keywords)


class FunctionCall:
    """A function that is called for each batch."""

    __slots__ = ("_arguments", "_finish", "_function", "_out")

    def __init__(
        self, arguments: Arguments, function: Callable[..., Any], out: ExchangeCollector, finish: Any = None
    ) -> None:
        self._arguments = arguments
        self._function = function
        self._out = out
        self._finish = finish

    def step(self, batch: RecordBatch) -> RecordBatch:
        return self._out.answer(self._arguments.apply(self._function, batch), batch.num_rows)

    def finish(self) -> Iterator[Any]:
        return listed(self._finish()) if self._finish is not None else iter(())

    def cancel(self) -> None:
        pass


class Inbox:
    """The batches that a generator iterates over; holds the one it has not taken yet."""

    __slots__ = ("_form", "batch", "ended", "where")

    def __init__(self, form: Callable[[RecordBatch], Any], where: str) -> None:
        self.batch: RecordBatch | None = None
        self.ended = False
        self.where = where
        self._form = form

    def __iter__(self) -> Inbox:
        return self

    def __next__(self) -> Any:
        batch, self.batch = self.batch, None
        if batch is not None:
            return self._form(batch)
        if self.ended:
            raise StopIteration
        raise ArgumentError(
            f"{self.where} asks for the next batch before it has answered the last one",
            hint="yield once for each batch; `yield None` for one that gives no rows",
        )


class ConsumingCall:
    """A generator over all batches. It runs until it has yielded for the batch it was given."""

    __slots__ = ("_generator", "_inbox", "_out")

    def __init__(
        self, spec: TableInOutSpec, params: ProcessParams[Any], values: dict[str, Any], out: ExchangeCollector
    ) -> None:
        table = spec.signature.table
        assert table is not None
        self._inbox = Inbox(BATCH_FORMS[table.form.removeprefix(ann.EACH)], spec.where)
        self._out = out
        self._generator: Iterator[Any] | None = Arguments(spec, params, values).apply_to_all(spec.source, self._inbox)
        if not hasattr(self._generator, "__next__"):
            raise ArgumentError(f"{spec.where} takes an iterator of batches, so it has to be a generator")

    def step(self, batch: RecordBatch) -> RecordBatch:
        """Further yields for the batch before come first: the generator is only resumed now."""
        inbox = self._inbox
        inbox.batch = batch
        produced: list[Any] = []
        while inbox.batch is not None and self._generator is not None:
            try:
                produced.append(next(self._generator))
            except StopIteration:
                self._generator = None
        inbox.batch = None
        return self._out.answer(produced[0] if len(produced) == 1 else iter(produced), batch.num_rows)

    def finish(self) -> Iterator[Any]:
        self._inbox.ended = True
        return self._generator or iter(())

    def cancel(self) -> None:
        close = getattr(self._generator, "close", None)
        if close is not None:
            close()


class ClassCall:
    """Hooks of a class. ``process`` emits, ``transform`` returns."""

    __slots__ = ("_cancel", "_form", "_out", "_params", "_process", "_spec", "_state", "_target", "_transform")

    def __init__(self, spec: TableInOutSpec, target: Any, params: ProcessParams[Any], out: ExchangeCollector) -> None:
        self._spec = spec
        self._target = target
        self._params = params
        self._out = out
        self._state = spec.call(target, "initial_state", params) if "initial_state" in spec.hooks else None
        self._process = spec.bound(target, "process") if "process" in spec.hooks else None
        self._transform = spec.bound(target, "transform") if "transform" in spec.hooks else None
        self._form = hook_form(target, "process" if self._process is not None else "transform", spec.where)

    def step(self, batch: RecordBatch) -> RecordBatch:
        given = self._form(batch)
        if self._process is not None:
            out = self._out
            out.begin()
            self._process(self._params, self._state, given, out)
            return out.emitted(batch.num_rows)
        assert self._transform is not None
        return self._out.answer(self._transform(given, self._params, self._state), batch.num_rows)

    def finish(self) -> Iterator[Any]:
        for name in ("finalize", "finish"):
            if name in self._spec.hooks:
                return listed(self._spec.bound(self._target, name)(self._params, self._state))
        return iter(())

    def cancel(self) -> None:
        if "on_cancel" in self._spec.hooks:
            self._spec.bound(self._target, "on_cancel")(self._params, self._state)


def listed(produced: Any) -> Iterator[Any]:
    """Batches of a finishing hook: none, one, a list of them, or an iterator."""
    if produced is None:
        return iter(())
    if isinstance(produced, (list, tuple)) and not (produced and isinstance(produced[0], (int, float, str, bytes))):
        return iter(produced)
    return produced if hasattr(produced, "__next__") else iter((produced,))
