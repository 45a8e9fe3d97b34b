"""The functions that INSERT, UPDATE and DELETE in a database. A statement is one transaction."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from vgi_fast.errors import ArgumentError
from vgi_fast.functions.exchange import TableWriteFunction
from vgi_fast.functions.parameters import Arg
from vgi_fast.sources.sql.database import row_batches, sql_errors
from vgi_fast.sources.sql.plan import COMPUTED, DEFAULTED, NUMBERED, TablePlan
from vgi_fast.wire.arrow import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from vgi_fast.functions.context import BindParams, ProcessParams
    from vgi_fast.sources.sql.catalog import SqlAlchemyCatalog
    from vgi_fast.sources.sql.sessions import Session
    from vgi_fast.wire.arrow import RecordBatch

__all__ = ["write_functions"]


@dataclass
class WriteArguments:
    plan: Annotated[str, Arg(0)]


class Statement:
    """One statement of DuckDB: a transaction of its own, or a part of the session's that can be undone alone."""

    __slots__ = ("connection", "lock", "plan", "session", "transaction")

    def __init__(self, plan: TablePlan, engine: sa.Engine, session: Session | None) -> None:
        self.plan = plan
        self.session = session
        self.lock: Any = nullcontext() if session is None else session.lock
        with self.lock:
            self.connection = engine.connect() if session is None else session.connection(engine)
            self.transaction = self.connection.begin() if session is None else self.connection.begin_nested()

    def close(self, *, commit: bool) -> None:
        with self.lock:
            try:
                if commit:
                    self.transaction.commit()
                elif self.transaction.is_active:
                    self.transaction.rollback()
            finally:
                if self.session is None:
                    self.connection.close()


class SqlWrite(TableWriteFunction[WriteArguments, Statement]):
    """What the three have in common."""

    catalog: ClassVar[SqlAlchemyCatalog]

    @classmethod
    def returning(cls, params: BindParams[WriteArguments]) -> Schema:
        plan = TablePlan.decode(params.args.plan)
        return Schema([plan.schema[column.name] for column in plan.columns])

    @classmethod
    def initial_state(cls, params: ProcessParams[WriteArguments]) -> Statement:
        plan = TablePlan.decode(params.args.plan)
        with sql_errors():
            session = cls.catalog.session(params.transaction_opaque_data)
            return Statement(plan, cls.catalog.database(params.attach).engine, session)

    @classmethod
    def on_finish(cls, params: ProcessParams[WriteArguments], state: Statement) -> None:
        with sql_errors():
            state.close(commit=True)

    @classmethod
    def on_abort(cls, params: ProcessParams[WriteArguments], state: Statement) -> None:
        with sql_errors():
            state.close(commit=False)

    @classmethod
    def process(cls, params: ProcessParams[WriteArguments], state: Statement, rows: RecordBatch) -> Any:
        with sql_errors(), state.lock:
            return cls.write(params, state, rows)

    @classmethod
    def write(cls, params: ProcessParams[WriteArguments], state: Statement, rows: RecordBatch) -> Any:
        raise NotImplementedError


def _returned(state: Statement, statement: Any, values: Any) -> Any:
    """The changed rows. Values go beside the statement, so that none gets a type by its looks."""
    import pyarrow as pa

    plan = state.plan
    names = [column.name for column in plan.columns]
    fields = [plan.schema[name] for name in names]
    statement = statement.returning(*[plan.read(name).label(name) for name in names])
    batches = list(row_batches(state.connection, statement, fields, values))
    return pa.Table.from_batches(batches) if batches else None


class SqlInsert(SqlWrite):
    """Adds rows. NULL means the default where the column has one and may not be NULL."""

    @classmethod
    def write(cls, params: ProcessParams[WriteArguments], state: Statement, rows: RecordBatch) -> Any:
        import sqlalchemy as sa

        plan, count = state.plan, 0
        parts: list[Any] = []
        for values in _insertable(plan, rows):
            insert = sa.insert(plan.table)
            if params.write_options.return_chunks:
                parts.append(_returned(state, insert, values))
            elif values[0]:
                state.connection.execute(insert, values)
            else:
                for _ in values:
                    state.connection.execute(insert.values())
            count += len(values)
        return _answer(params, count, parts)


def _insertable(plan: TablePlan, rows: RecordBatch) -> Iterator[list[dict[str, Any]]]:
    """Rows as SQLAlchemy takes them, neighbours with the same columns together."""
    named = rows.to_pydict()
    written = [column for column in plan.columns if column.write != COMPUTED and column.name in named]
    defaulted = [column.name for column in written if column.write in (DEFAULTED, NUMBERED)]
    pending: list[dict[str, Any]] = []
    left_out: list[str] = []
    for index in range(rows.num_rows):
        absent = [name for name in defaulted if named[name][index] is None]
        if pending and absent != left_out:
            yield pending
            pending = []
        left_out = absent
        pending.append({one.source: named[one.name][index] for one in written if one.name not in absent})
    if pending:
        yield pending


class SqlUpdate(SqlWrite):
    """Changes columns of the rows with these row ids."""

    @classmethod
    def write(cls, params: ProcessParams[WriteArguments], state: Statement, rows: RecordBatch) -> Any:
        import sqlalchemy as sa

        plan, row_id = state.plan, _row_id(state.plan)
        named = rows.to_pydict()
        ids = named.pop(row_id.name)
        columns = [plan.by_name[name] for name in named if plan.by_name[name].write not in (COMPUTED, NUMBERED)]
        table, key = plan.table, plan.table.c[row_id.source]
        bound = {
            column.source: sa.bindparam(f"v{at}", type_=table.c[column.source].type)
            for at, column in enumerate(columns)
        }
        statement = sa.update(table).where(key == sa.bindparam("row", type_=key.type)).values(bound)
        values = [
            {"row": one, **{f"v{at}": named[column.name][index] for at, column in enumerate(columns)}}
            for index, one in enumerate(ids)
        ]
        return _each(params, state, rows, statement, values)


class SqlDelete(SqlWrite):
    """Removes the rows with these row ids."""

    @classmethod
    def write(cls, params: ProcessParams[WriteArguments], state: Statement, rows: RecordBatch) -> Any:
        import sqlalchemy as sa

        row_id = _row_id(state.plan)
        key = state.plan.table.c[row_id.source]
        statement = sa.delete(state.plan.table).where(key == sa.bindparam("row", type_=key.type))
        return _each(params, state, rows, statement, [{"row": one} for one in rows.column(row_id.name).to_pylist()])


def _each(
    params: ProcessParams[WriteArguments], state: Statement, rows: RecordBatch, statement: Any, values: list[Any]
) -> Any:
    """The statement for each row: many at once, or one by one where its rows are to be returned."""
    if params.write_options.return_chunks:
        return _answer(params, len(values), [_returned(state, statement, one) for one in values])
    return _count(state.connection.execute(statement, values), len(values)) if values else 0


def _row_id(plan: TablePlan) -> Any:
    if plan.row_id is None:
        raise ArgumentError(f"{plan.where} has no key by which rows could be changed")
    return plan.row_id


def _count(result: Any, given: int) -> int:
    """What the database counted; a driver that does not count many executions together says -1."""
    return int(result.rowcount) if result.rowcount >= 0 else given


def _answer(params: ProcessParams[WriteArguments], count: int, parts: list[Any]) -> Any:
    if not params.write_options.return_chunks:
        return count
    import pyarrow as pa

    found = [part for part in parts if part is not None]
    if not found:
        return {name: [] for name in params.output_schema.names}
    batches = pa.concat_tables(found).combine_chunks().to_batches()
    return batches[0]


def write_functions(catalog: SqlAlchemyCatalog) -> list[type[SqlWrite]]:
    """Classes of their own for each catalog, since the hooks of a class know nothing but it."""
    made = []
    for base, name in ((SqlInsert, "sql_insert"), (SqlUpdate, "sql_update"), (SqlDelete, "sql_delete")):
        made.append(type(base.__name__, (base,), {"catalog": catalog, "Meta": type("Meta", (), {"name": name})}))
    return made
