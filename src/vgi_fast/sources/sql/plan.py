"""What a call must know about a table: its columns, how each is read, compared and written.

It travels as JSON in the argument of the scan and write functions, so that no process has to reflect the table before
it can read from it.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import ArgumentError
from vgi_fast.wire.arrow import Field, Schema, type_named

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["SqlColumn", "TablePlan", "column_form"]

# How a column is read.
PLAIN: Final = ""
TEXT: Final = "text"  # by a cast to text: types that Arrow has not
PADDED: Final = "char"  # the same for CHAR(n), whose padding does not take part in comparisons
UUID: Final = "uuid"  # read as text, compared as UUID
DOUBLE: Final = "double"  # by a cast: numbers without a fixed scale
CTID: Final = "ctid"  # PostgreSQL's address of a row

# What INSERT does about a column.
WRITTEN: Final = ""
DEFAULTED: Final = "default"  # NULL would be refused, so it means the database's default
NUMBERED: Final = "always"  # the same, and UPDATE leaves it out: GENERATED ALWAYS AS IDENTITY
COMPUTED: Final = "never"


class SqlColumn:
    """``name`` is what DuckDB sees, ``source`` the database's name."""

    __slots__ = ("form", "name", "source", "type", "write")

    def __init__(
        self, name: str, type: str, form: str = PLAIN, source: str | None = None, write: str = WRITTEN
    ) -> None:
        self.name = name
        self.type = type
        self.form = form
        self.source = name if source is None else source
        self.write = write

    def __repr__(self) -> str:
        return f"SqlColumn({self.name!r}, {self.type!r}, {self.form!r})"


class TablePlan:
    """Immutable. ``row_id`` is the last column, if there is one."""

    __slots__ = ("_schema", "_table", "by_name", "columns", "name", "row_id", "schema_name")

    def __init__(
        self, schema_name: str | None, name: str, columns: list[SqlColumn], row_id: SqlColumn | None = None
    ) -> None:
        self.schema_name = schema_name
        self.name = name
        self.columns = columns
        self.row_id = row_id
        self.by_name = {column.name: column for column in (*columns, *([] if row_id is None else [row_id]))}
        self._schema: Schema | None = None
        self._table: Any = None

    def encode(self) -> str:
        listed = [[one.name, one.type, one.form, one.source, one.write] for one in self.by_name.values()]
        return json.dumps([self.schema_name, self.name, self.row_id is not None, listed], separators=(",", ":"))

    @staticmethod
    def decode(text: str) -> TablePlan:
        return _decode(text)

    @property
    def where(self) -> str:
        return f"table '{self.schema_name}.{self.name}'" if self.schema_name else f"table '{self.name}'"

    @property
    def schema(self) -> Schema:
        """All columns, the row id last."""
        if self._schema is None:
            self._schema = Schema([Field(one.name, type_named(one.type)) for one in self.by_name.values()])
        return self._schema

    @property
    def table(self) -> sa.TableClause:
        """For SQLAlchemy, with the types that matter where values are compared and written."""
        if self._table is None:
            import sqlalchemy as sa

            columns = {one.source: sa.column(one.source, sql_type(one)) for one in self.by_name.values()}
            self._table = sa.table(self.name, *columns.values(), schema=self.schema_name)
        return self._table  # type: ignore[no-any-return]

    def read(self, name: str) -> sa.ColumnElement[Any]:
        """A column as DuckDB gets it."""
        import sqlalchemy as sa

        column = self.by_name[name]
        source = self.table.c[column.source]
        if column.form in (TEXT, PADDED, UUID, CTID):
            return sa.cast(source, sa.Text)
        return sa.cast(source, sa.Double) if column.form == DOUBLE else source


@lru_cache(maxsize=256)
def _decode(text: str) -> TablePlan:
    try:
        schema_name, name, has_row_id, listed = json.loads(text)
        columns = [SqlColumn(*one) for one in listed]
    except (ValueError, TypeError) as error:
        raise ArgumentError("the argument of a table's function comes from the catalog's listing") from error
    row_id = columns.pop() if has_row_id else None
    return TablePlan(schema_name, name, columns, row_id)


def sql_type(column: SqlColumn) -> Any:
    """SQLAlchemy's type for values of a column; none for those that only the database understands."""
    import sqlalchemy as sa

    if column.form in (TEXT, CTID):
        return sa.types.NullType()
    if column.form == UUID:
        return sa.Uuid(as_uuid=False)
    kind = type_named(column.type).kind
    if kind == "timestamp":
        return sa.DateTime(timezone=type_named(column.type).timezone is not None)
    if kind == "decimal128":
        return sa.Numeric(type_named(column.type).precision, type_named(column.type).scale)
    known = {
        "bool": sa.Boolean,
        "int16": sa.SmallInteger,
        "int32": sa.Integer,
        "int64": sa.BigInteger,
        "uint64": sa.Numeric,
        "float32": sa.REAL,
        "float64": sa.Double,
        "utf8": sa.Text,
        "binary": sa.LargeBinary,
        "date32": sa.Date,
        "time64": sa.Time,
    }.get(kind)
    return sa.types.NullType() if known is None else known()


def column_form(type: Any, dialect: str) -> tuple[str, str]:
    """Arrow type and form of a reflected type. What nobody knows is read as text."""
    import sqlalchemy as sa

    postgres = dialect == "postgresql"
    if isinstance(type, sa.Boolean):
        return "bool", PLAIN
    if isinstance(type, sa.Integer):
        return _integer(type, dialect), PLAIN
    if isinstance(type, sa.Float):
        return ("float32" if isinstance(type, sa.REAL) and dialect != "sqlite" else "float64"), PLAIN
    if isinstance(type, sa.Numeric):
        if dialect == "sqlite":
            return "float64", PLAIN
        if type.precision is None or type.precision > 38:
            return "float64", DOUBLE
        return f"decimal128({type.precision}, {type.scale or 0})", PLAIN
    if isinstance(type, sa.DateTime):
        return ("timestamp[us, tz=UTC]" if type.timezone else "timestamp[us]"), PLAIN
    if isinstance(type, sa.Date):
        return "date32", PLAIN
    if isinstance(type, sa.Time):
        return ("utf8", TEXT) if type.timezone else ("time64[us]", PLAIN)
    if isinstance(type, sa.Interval) or type.__class__.__name__ == "INTERVAL":
        return ("month_day_nano_interval", PLAIN) if postgres else ("utf8", TEXT)
    if isinstance(type, sa.Uuid):
        return "utf8", UUID if postgres else TEXT
    if isinstance(type, sa.Enum):
        return "utf8", TEXT
    if isinstance(type, sa.CHAR):
        return "utf8", PADDED if postgres else PLAIN
    if isinstance(type, sa.String):
        foreign = type.__class__.__module__.startswith("sqlalchemy.dialects.postgresql")  # CITEXT, DOMAIN …
        return "utf8", TEXT if foreign else PLAIN
    if isinstance(type, sa.LargeBinary) or type.__class__.__name__ == "BYTEA":
        return "binary", PLAIN
    if isinstance(type, sa.ARRAY) and postgres:
        item, form = column_form(type.item_type, dialect)
        if form == PLAIN and not item.startswith(("decimal", "month")):
            return f"list<{item}>", PLAIN
    return "utf8", TEXT


def _integer(type: Any, dialect: str) -> str:
    import sqlalchemy as sa

    if dialect == "sqlite" or getattr(type, "unsigned", False):
        return "int64" if not isinstance(type, sa.BigInteger) or dialect == "sqlite" else "uint64"
    if isinstance(type, sa.SmallInteger):
        return "int16"
    return "int64" if isinstance(type, sa.BigInteger) else "int32"
