"""``SqlAlchemyCatalog``: the tables of a database, read and written by DuckDB.

    worker = Worker(catalogs=[SqlAlchemyCatalog("postgresql+psycopg://localhost/shop", name="shop")])

ATTACH can give parts of the URL, so that a program holds no password:

    SqlAlchemyCatalog("postgresql+psycopg://db.example.org/shop", name="shop", attach_options=["username", "password"])
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.catalog.descriptors import DEFAULT_SCHEMA, Catalog, CatalogSchema
from vgi_fast.catalog.interface import AttachResult, CatalogContext, CatalogInterface
from vgi_fast.catalog.specs import AttachOption
from vgi_fast.errors import ArgumentError, CatalogReadOnlyError, DefinitionError
from vgi_fast.sources.sql.database import Database, row_batches, sql_errors, streamed
from vgi_fast.sources.sql.scan import SqlScan
from vgi_fast.sources.sql.sessions import Sessions
from vgi_fast.sources.sql.write import write_functions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pyarrow as pa
    import sqlalchemy as sa

    from vgi_fast.catalog.objects import Table
    from vgi_fast.functions.context import BindParams
    from vgi_fast.sources.sql.plan import TablePlan
    from vgi_fast.sources.sql.sessions import Session
    from vgi_fast.wire.arrow import Field, Schema
    from vgi_fast.wire.attach import AttachData

__all__ = ["SqlAlchemyCatalog"]

_DEFAULT_SCHEMAS: Final = {"postgresql": "public", "mssql": "dbo", "sqlite": "main"}
_URL_PARTS: Final = {"username": "utf8", "password": "utf8", "host": "utf8", "port": "int32", "database": "utf8"}
_SCAN: Final = "sql_scan"


class SqlAlchemyCatalog(CatalogInterface):
    """A whole database. Reads send the columns and rows that a query wants; a statement that writes is a transaction.

    ``database`` is a URL of SQLAlchemy or an engine. ``schemas`` are those to show, by default all but system schemas.
    ``live`` makes DuckDB ask at the start of each transaction whether tables have changed; otherwise it learns of them
    at ATTACH and by ``vgi_clear_cache()``. ``adbc`` says whether PostgreSQL is read through adbc-driver-postgresql,
    which is done where it is installed. ``log_sql`` sends the SQL of each scan to DuckDB's log.

    DuckDB's BEGIN, COMMIT and ROLLBACK do not reach the database: worker processes come and go between two statements,
    while a transaction of the database belongs to a connection of one process. Each statement is committed by itself.
    ``transactions`` passes them on; it is for workers behind ``launch:`` or a socket, which are one process then,
    costs two calls per statement, and is refused for SQLite, where one connection cannot read what it writes to.
    """

    def __init__(
        self,
        database: str | sa.URL | sa.Engine,
        *,
        name: str,
        schemas: Iterable[str] | None = None,
        default_schema: str | None = None,
        read_only: bool = False,
        live: bool = False,
        transactions: bool = False,
        attach_options: Iterable[str] = (),
        adbc: bool | None = None,
        log_sql: bool = False,
        comment: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._given = database
        self._adbc = adbc
        self._databases: dict[Any, Database] = {}
        self._schemas = None if schemas is None else list(schemas)
        self.read_only = read_only
        self.live = live
        self.log_sql = log_sql
        self._parts = list(attach_options)
        for part in self._parts:
            if part not in _URL_PARTS:
                raise DefinitionError(
                    f"attach_options: {part!r} is no part of a URL; there are {', '.join(_URL_PARTS)}"
                )
        backend = str(getattr(database, "url", database)).partition(":")[0].partition("+")[0]
        default = default_schema or _DEFAULT_SCHEMAS.get(backend, DEFAULT_SCHEMA)
        if default_schema is None and self._schemas and default not in self._schemas:
            default = self._schemas[0]
        self.dialect_name = backend
        self._sessions = Sessions()
        self.one_process = transactions
        if transactions and backend == "sqlite":
            raise DefinitionError("transactions over several statements are not for SQLite")
        self.scan_function = SqlScan(self, _SCAN)
        self.insert_function, self.update_function, self.delete_function = write_functions(self)
        functions = [self.scan_function, self.insert_function, self.update_function, self.delete_function]
        super().__init__(
            Catalog(
                name,
                functions=functions,
                default_schema=default,
                transactions=transactions,
                attach_options=[AttachOption(part, _URL_PARTS[part]) for part in self._parts],
                comment=comment,
                tags=tags,
            )
        )

    # -- the database -----------------------------------------------------------------------------

    def database(self, attach: AttachData) -> Database:
        """What an attach means by its options; each is opened once per process."""
        options = {key: value for key, value in attach.options.items() if value is not None} if self._parts else {}
        key = tuple(sorted(options.items()))
        known = self._databases.get(key)
        if known is None:
            given: Any = self._given
            if options:
                import sqlalchemy as sa

                given = sa.make_url(getattr(given, "url", given)).set(**options)
            known = self._databases[key] = Database(given, self._adbc)
        return known

    def scan(self, params: BindParams[Any], plan: TablePlan, statement: sa.Select[Any]) -> Iterator[pa.RecordBatch]:
        database = self.database(params.attach)
        if self.log_sql:
            params.log("INFO", database.shown(statement))
        fields = [plan.schema[column.name] for column in statement.selected_columns]
        session = self.session(params.transaction_opaque_data)
        if session is None or not session.changed:
            return database.fetch(statement, fields)
        return self._scan_changed(database, session, statement, fields)

    def _scan_changed(
        self, database: Database, session: Session, statement: sa.Select[Any], fields: list[Field]
    ) -> Iterator[pa.RecordBatch]:
        """What the transaction has changed is seen by its own connection only."""
        with sql_errors():
            connection = session.connection(database.engine)
            yield from session.in_turns(row_batches(connection, streamed(statement), fields))

    def session(self, transaction: bytes | None) -> Session | None:
        return None if transaction is None else self._sessions.get(transaction)

    @contextmanager
    def _reading(self, call: Mapping[str, Any]) -> Iterator[sa.Connection]:
        engine = self.database(call["attach_opaque_data"]).engine
        session = self.session(call.get("transaction_opaque_data"))
        with sql_errors():
            if session is not None and session.changed:
                with session.lock:
                    yield session.connection(engine)
            else:
                with engine.connect() as connection:
                    yield connection

    # -- lifecycle --------------------------------------------------------------------------------

    def catalog_attach(
        self,
        *,
        name: str,
        options: Mapping[str, Any],
        data_version_spec: str | None,
        implementation_version: str | None,
        ctx: CatalogContext,
    ) -> AttachResult:
        # A live catalog's number is asked for before it is first used.
        return AttachResult(catalog_version=0 if self.live else None)

    def catalog_version(self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes | None) -> int:
        if not self.live:
            return super().catalog_version(
                attach_opaque_data=attach_opaque_data, transaction_opaque_data=transaction_opaque_data
            )
        from vgi_fast.sources.sql.reflect import version

        # Asked before the transaction is begun.
        with sql_errors(), self.database(attach_opaque_data).engine.connect() as connection:
            return version(connection)

    def catalog_transaction_begin(self, *, attach_opaque_data: AttachData) -> bytes | None:
        return self._sessions.begin()

    def catalog_transaction_commit(self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes) -> None:
        with sql_errors():
            self._sessions.end(transaction_opaque_data, commit=True)

    def catalog_transaction_rollback(self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes) -> None:
        with sql_errors():
            self._sessions.end(transaction_opaque_data, commit=False)

    # -- discovery --------------------------------------------------------------------------------

    def schemas(self, **call: Any) -> Iterable[CatalogSchema]:
        import sqlalchemy as sa

        from vgi_fast.sources.sql.reflect import SYSTEM_SCHEMAS

        names = self._schemas
        if names is None:
            with self._reading(call) as connection:
                found = sa.inspect(connection).get_schema_names()
            names = [name for name in found if not SYSTEM_SCHEMAS.fullmatch(name)]
        default = self.catalog.default_schema
        return [CatalogSchema(name) for name in (names if default in names else [default, *names])]

    def schema_counts(self, *, schema: CatalogSchema, **call: Any) -> Mapping[str, int]:
        """Promises about the kinds that no database has here. Views of the database are read like tables."""
        import sqlalchemy as sa

        from vgi_fast.sources.sql.reflect import table_names

        with self._reading(call) as connection:
            count = len(table_names(sa.inspect(connection), schema.name))
        none = dict.fromkeys(("view", "scalar_function", "aggregate_function", "macro", "index"), 0)
        functions = int(schema.name == self.catalog.default_schema)
        return {"table": max(count, 1), "table_function": functions, **none}

    def schema_contents(self, *, name: str, type: str, **call: Any) -> Iterable[Any]:
        if type == "TABLE_FUNCTION":
            return [self.scan_function] if name == self.catalog.default_schema else []
        return self._tables(call, name) if type == "TABLE" else []

    def table_get(
        self, *, schema_name: str, name: str, at_unit: str | None, at_value: str | None, **call: Any
    ) -> Table | None:
        if at_unit is not None:
            raise ArgumentError(f"Table '{schema_name}.{name}' does not support time travel queries")
        import sqlalchemy as sa

        from vgi_fast.sources.sql.reflect import table_names

        with self._reading(call) as connection:
            names = table_names(sa.inspect(connection), schema_name)
        exact = [one for one in names if one == name] or [one for one in names if one.lower() == name.lower()]
        found = self._tables(call, schema_name, exact[:1]) if exact else []
        return found[0] if found else None

    def _tables(self, call: Mapping[str, Any], schema: str, names: list[str] | None = None) -> list[Table]:
        from vgi_fast.sources.sql.reflect import reflect_tables

        with self._reading(call) as connection:
            return reflect_tables(self, connection, schema, names)

    # -- changes ----------------------------------------------------------------------------------

    def schema_create(
        self, *, name: str, on_conflict: str, comment: str | None, tags: dict[str, str], **call: Any
    ) -> None:
        from sqlalchemy.schema import CreateSchema

        with self._change("schema_create", call) as connection:
            if on_conflict == "REPLACE":
                raise ArgumentError(f"schema '{name}' is not replaced; drop it first")
            connection.execute(CreateSchema(name, if_not_exists=on_conflict == "IGNORE"))

    def schema_drop(self, *, name: str, ignore_not_found: bool, cascade: bool, **call: Any) -> None:
        from sqlalchemy.schema import DropSchema

        with self._change("schema_drop", call) as connection:
            connection.execute(DropSchema(name, cascade=cascade, if_exists=ignore_not_found))

    def table_create(self, *, schema_name: str, name: str, columns: Schema, on_conflict: str, **call: Any) -> None:
        from vgi_fast.sources.sql.ddl import create_table, table_of

        with self._change("table_create", call) as connection:
            create_table(connection, table_of(schema_name, name, columns, **call), on_conflict)

    def table_drop(self, *, schema_name: str, name: str, ignore_not_found: bool, cascade: bool, **call: Any) -> None:
        from vgi_fast.sources.sql.ddl import drop_table

        with self._change("table_drop", call) as connection:
            if cascade:
                raise ArgumentError(f"DROP TABLE {name} CASCADE is not passed on; run it in the database")
            drop_table(connection, schema_name, name, if_exists=ignore_not_found)

    @contextmanager
    def _change(self, method: str, call: Mapping[str, Any]) -> Iterator[sa.Connection]:
        if self.read_only:
            raise self.refusal(method)
        engine = self.database(call["attach_opaque_data"]).engine
        session = self.session(call.get("transaction_opaque_data"))
        with sql_errors():
            if session is None:
                with engine.begin() as connection:
                    yield connection
            else:
                with session.lock, session.connection(engine).begin_nested():
                    yield session.connection(engine)

    def refusal(self, method: str) -> Exception:
        what = method.replace("_", " ")
        if self.read_only:
            return CatalogReadOnlyError(f"Cannot {what}: catalog is read-only")
        return ArgumentError(f"{what} is not passed on to the database; run it there, then CALL vgi_clear_cache()")
