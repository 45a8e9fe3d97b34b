"""One database as this process reaches it: engines, connections, and rows as Arrow batches."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import ArgumentError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    import sqlalchemy as sa

    from vgi_fast.wire.arrow import Field

__all__ = ["Database", "row_batches", "sql_errors", "streamed"]

FETCH_ROWS: Final = 16_384
ADBC_BATCH_BYTES: Final = 1 << 20
_BATCH_SIZE_OPTION: Final = "adbc.postgresql.batch_size_hint_bytes"


class Database:
    """Made from a URL, or from an engine of the author's. Connections are opened when first needed, by any thread.

    PostgreSQL is read through ADBC where that is installed: COPY in binary form, decoded to Arrow in C. An author's own
    engine may connect in its own way, so it is not bypassed.
    """

    def __init__(self, given: str | sa.URL | sa.Engine, use_adbc: bool | None = None) -> None:
        import sqlalchemy as sa

        self._lock = Lock()
        self._idle: list[Any] = []
        self._engine = given if isinstance(given, sa.Engine) else None
        self.url = given.url if isinstance(given, sa.Engine) else sa.make_url(given)
        own = self._engine is None
        if use_adbc and self.url.get_backend_name() != "postgresql":
            raise ArgumentError(f"ADBC is used for PostgreSQL, not for {self.url.get_backend_name()}")
        if use_adbc is None:
            use_adbc = own and self.url.get_backend_name() == "postgresql" and _has_adbc()
        self._use_adbc = use_adbc
        self._literals: Any = None

    @property
    def dialect_name(self) -> str:
        return self.url.get_backend_name()

    @property
    def engine(self) -> sa.Engine:
        with self._lock:
            if self._engine is None:
                import sqlalchemy as sa

                self._engine = sa.create_engine(self.url)
                if self.dialect_name == "sqlite":
                    sa.event.listen(self._engine, "connect", _prepare_sqlite)
            return self._engine

    def sql(self, statement: sa.Select[Any]) -> str:
        """The text that is sent through ADBC. COPY takes no parameters, so values are written into it by SQLAlchemy."""
        if self._literals is None:
            from sqlalchemy.dialects import postgresql

            # Named parameters, so that a percent sign is one; backslashes mean nothing in standard strings, see below.
            self._literals = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
            self._literals._backslash_escapes = False
        return str(statement.compile(dialect=self._literals, compile_kwargs={"literal_binds": True}))

    def shown(self, statement: sa.Select[Any]) -> str:
        """For logs: what the server gets; values that the driver sends beside the text are written into it."""
        if self._use_adbc:
            return self.sql(statement)
        return str(statement.compile(self.engine, compile_kwargs={"literal_binds": True}))

    def fetch(self, statement: sa.Select[Any], fields: Sequence[Field]) -> Iterator[pa.RecordBatch]:
        """Batches in the given types. Leaving the loop early gives the server's work up."""
        with sql_errors():
            yield from self._fetch_adbc(statement, fields) if self._use_adbc else self._fetch_rows(statement, fields)

    def _fetch_rows(self, statement: sa.Select[Any], fields: Sequence[Field]) -> Iterator[pa.RecordBatch]:
        with self.engine.connect() as connection:
            yield from row_batches(connection, streamed(statement), fields)

    def _fetch_adbc(self, statement: sa.Select[Any], fields: Sequence[Field]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        schema = pa.schema([pa.field(field) for field in fields])
        connection = self._adbc_connection()
        finished = False
        try:
            with connection.cursor() as cursor:
                cursor.adbc_statement.set_options(**{_BATCH_SIZE_OPTION: str(ADBC_BATCH_BYTES)})
                cursor.execute(self.sql(statement))
                for batch in cursor.fetch_record_batch():
                    if batch.num_rows:
                        yield _as_declared(batch, schema)
            finished = True
        finally:
            if finished:
                with self._lock:
                    self._idle.append(connection)
            else:
                # In the middle of a COPY: the server would send all the rest first.
                _quietly(connection.adbc_cancel)
                _quietly(connection.close)

    def _adbc_connection(self) -> Any:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        from adbc_driver_postgresql import dbapi

        connection = dbapi.connect(
            self.url.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
        )
        with connection.cursor() as cursor:
            cursor.execute("SET standard_conforming_strings = on")
        return connection


def streamed(statement: sa.Select[Any]) -> sa.Select[Any]:
    """By a cursor of the server, where the driver has such."""
    return statement.execution_options(stream_results=True, max_row_buffer=FETCH_ROWS)


def row_batches(
    connection: sa.Connection, statement: Any, fields: Sequence[Field], values: Any = None
) -> Iterator[pa.RecordBatch]:
    """Any driver's rows, fetched as they are needed."""
    import pyarrow as pa

    schema = pa.schema([pa.field(field) for field in fields])
    with connection.execute(statement, values) as result:
        for rows in result.partitions(FETCH_ROWS):
            columns = zip(*rows, strict=True)
            arrays = [_array(values, field) for values, field in zip(columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: Sequence[Any], field: pa.Field) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(f"column '{field.name}' holds what is no {field.type}", detail=str(error)) from error


def _as_declared(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """ADBC has its own idea of some types: numbers with a scale come as text."""
    import pyarrow as pa

    if batch.schema.equals(schema):
        return batch
    columns = []
    for column, field in zip(batch.columns, schema, strict=True):
        if isinstance(column.type, pa.BaseExtensionType):
            column = column.storage
        try:
            columns.append(column if column.type.equals(field.type) else column.cast(field.type))
        except pa.ArrowException as error:
            raise ArgumentError(f"column '{field.name}' holds what is no {field.type}", detail=str(error)) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


@contextmanager
def sql_errors() -> Iterator[None]:
    """The database's own words, without SQLAlchemy's wrapping and never with the values of a statement."""
    try:
        yield
    except (ArgumentError, GeneratorExit):
        raise
    except Exception as error:
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        if isinstance(error, DBAPIError):
            raise _failure(str(error.orig)) from None
        if isinstance(error, SQLAlchemyError) or type(error).__module__.startswith("adbc_driver_manager"):
            raise _failure(str(error)) from None
        raise


def _failure(text: str) -> StorageError:
    first, _, rest = text.strip().partition("\n")
    return StorageError(f"the database says: {first}", detail=rest.strip() or None)


def _prepare_sqlite(connection: Any, record: Any) -> None:
    """An UPDATE writes while its own scan still reads; what it changes has to stay out of the file until it commits."""
    connection.execute("PRAGMA cache_spill = OFF")
    connection.execute("PRAGMA foreign_keys = ON")


def _quietly(action: Any) -> None:
    try:
        action()
    except Exception:  # the connection is given up in any case
        pass


def _has_adbc() -> bool:
    from importlib.util import find_spec

    return find_spec("adbc_driver_postgresql") is not None
