"""CREATE and DROP of tables and schemas, said in the database's own dialect by SQLAlchemy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgi_fast.errors import ArgumentError
from vgi_fast.sources.sql.reflect import literal_default
from vgi_fast.wire import keys

if TYPE_CHECKING:
    import sqlalchemy as sa

    from vgi_fast.catalog.objects import ForeignKeyDef
    from vgi_fast.wire.arrow import DataType, Schema

__all__ = ["create_table", "drop_table", "table_of"]


def table_of(
    schema_name: str,
    name: str,
    columns: Schema,
    *,
    not_null_constraints: list[int],
    unique_constraints: list[list[int]],
    check_constraints: list[str],
    primary_key_constraints: list[list[int]],
    foreign_key_constraints: list[ForeignKeyDef],
    **call: Any,
) -> sa.Table:
    """A table as SQLAlchemy declares one. What DuckDB says in its own SQL is refused unless it is plain."""
    import sqlalchemy as sa

    if check_constraints:
        raise ArgumentError(
            f"CHECK ({check_constraints[0]}) is in DuckDB's SQL and is not passed on; create the table in the database"
        )
    names = columns.names
    made = []
    for index, field in enumerate(columns.fields):
        text = field.metadata.get(keys.COLUMN_DEFAULT)
        default = None if text is None else literal_default(text.decode())
        if text is not None and default is None:
            raise ArgumentError(f"column '{field.name}': DEFAULT {text.decode()} is not passed on, only literals are")
        made.append(
            sa.Column(
                field.name,
                _column_type(field.type, field.name),
                nullable=index not in not_null_constraints,
                server_default=None if default is None else sa.text(default),
                autoincrement=False,
            )
        )
    constraints: list[Any] = [sa.UniqueConstraint(*[names[at] for at in group]) for group in unique_constraints]
    constraints += [sa.PrimaryKeyConstraint(*[names[at] for at in group]) for group in primary_key_constraints[:1]]
    metadata = sa.MetaData()
    for key in foreign_key_constraints:
        schema = key.referenced_schema or schema_name
        referred = [sa.Column(column, sa.types.NullType()) for column in key.referenced_columns]
        sa.Table(key.referenced_table, metadata, *referred, schema=schema, keep_existing=True)
        target = [f"{schema}.{key.referenced_table}.{column}" for column in key.referenced_columns]
        constraints.append(sa.ForeignKeyConstraint(key.columns, target))
    return sa.Table(name, metadata, *made, *constraints, schema=schema_name)


def create_table(connection: sa.Connection, table: sa.Table, on_conflict: str) -> None:
    from sqlalchemy.schema import CreateTable, DropTable

    if on_conflict == "REPLACE":
        connection.execute(DropTable(table, if_exists=True))
    connection.execute(CreateTable(table, if_not_exists=on_conflict == "IGNORE"))


def drop_table(connection: sa.Connection, schema_name: str, name: str, *, if_exists: bool) -> None:
    """Views of the database look like tables to DuckDB and are dropped in the same way."""
    import sqlalchemy as sa
    from sqlalchemy.schema import DropTable

    target = sa.Table(name, sa.MetaData(), schema=schema_name)
    if name in sa.inspect(connection).get_view_names(schema_name):
        # SQLAlchemy 2.0 has no construct for it; the name is quoted by the dialect.
        quoted = connection.dialect.identifier_preparer.format_table(target).replace(":", "\\:")
        connection.execute(sa.text(f"DROP VIEW {quoted}"))
    else:
        connection.execute(DropTable(target, if_exists=if_exists))


def _column_type(type: DataType, name: str) -> Any:
    import sqlalchemy as sa

    plain: dict[str, Any] = {
        "bool": sa.Boolean,
        "int8": sa.SmallInteger,
        "uint8": sa.SmallInteger,
        "int16": sa.SmallInteger,
        "uint16": sa.Integer,
        "int32": sa.Integer,
        "uint32": sa.BigInteger,
        "int64": sa.BigInteger,
        "float32": sa.REAL,
        "float64": sa.Double,
        "utf8": sa.Text,
        "large_utf8": sa.Text,
        "utf8_view": sa.Text,
        "binary": sa.LargeBinary,
        "large_binary": sa.LargeBinary,
        "date32": sa.Date,
        "time64": sa.Time,
    }
    if type.kind == "timestamp":
        return sa.DateTime(timezone=type.timezone is not None)
    if type.kind == "decimal128":
        return sa.Numeric(type.precision, type.scale)
    if type.kind == "uint64":
        return sa.Numeric(20, 0)
    if type.kind == "list" and type.value_type is not None:
        return sa.ARRAY(_column_type(type.value_type, name))
    if type.kind not in plain:
        raise ArgumentError(f"column '{name}': the database has no type for {type}")
    return plain[type.kind]()
