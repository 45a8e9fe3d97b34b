"""From what a database says about its tables to descriptors of a catalog."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.catalog.literals import Sql
from vgi_fast.catalog.objects import ForeignKeyDef, Table
from vgi_fast.catalog.scans import ScanFunction
from vgi_fast.sources.sql.plan import (
    COMPUTED,
    CTID,
    DEFAULTED,
    NUMBERED,
    PLAIN,
    WRITTEN,
    SqlColumn,
    TablePlan,
    column_form,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import sqlalchemy as sa

    from vgi_fast.sources.sql.catalog import SqlAlchemyCatalog

__all__ = ["SYSTEM_SCHEMAS", "literal_default", "reflect_tables", "table_names", "version"]

SYSTEM_SCHEMAS: Final = re.compile(r"information_schema|pg_.*|sys|mysql|performance_schema|INFORMATION_SCHEMA")

_LITERAL: Final = re.compile(
    r"""\(*(?P<value> '(?:[^']|'')*' | [+-]?\d+(?:\.\d+)? | true | false | null
        | current_timestamp | current_date | now\(\) )
        (?: :: [a-z ]+ (?:\([\d, ]+\))? )? \)*""",
    re.VERBOSE | re.IGNORECASE,
)
"""Defaults that mean the same to DuckDB; PostgreSQL writes a cast behind them."""

_CHECK: Final = re.compile(
    r"""(?: \s+ | '(?:[^']|'')*' | \d+(?:\.\d+)? | [a-z_][a-z0-9_]* | "[a-z_][a-z0-9_]*"
        | <= | >= | <> | != | [<>=()+*/,-] | ::\ *(?:numeric|text|integer|bigint|double\ precision) )*""",
    re.VERBOSE | re.IGNORECASE,
)
"""Conditions that DuckDB's parser takes for certain; one that it does not take would hide the whole schema."""


def table_names(inspector: sa.Inspector, schema: str) -> list[str]:
    names = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
    if inspector.dialect.name == "postgresql":
        names += inspector.get_materialized_view_names(schema)
        names += inspector.get_foreign_table_names(schema)  # type: ignore[attr-defined]
    return names


def reflect_tables(
    catalog: SqlAlchemyCatalog, connection: sa.Connection, schema: str, names: Iterable[str] | None = None
) -> list[Table]:
    """Tables and views of a schema, or those of these names, with a few queries for all of them together."""
    import sqlalchemy as sa
    from sqlalchemy.engine.reflection import ObjectKind

    inspector = sa.inspect(connection)
    wanted: dict[str, Any] = {"schema": schema, "filter_names": None if names is None else list(names)}
    found: dict[str, Mapping[Any, Any]] = {
        "columns": inspector.get_multi_columns(kind=ObjectKind.ANY, **wanted),
        "primary_key": inspector.get_multi_pk_constraint(**wanted),
        "unique": inspector.get_multi_unique_constraints(**wanted),
        "foreign_keys": inspector.get_multi_foreign_keys(**wanted),
        "indexes": inspector.get_multi_indexes(**wanted),
        "checks": _asked(inspector.get_multi_check_constraints, wanted, []),
        "comment": _asked(inspector.get_multi_table_comment, {**wanted, "kind": ObjectKind.ANY}, {}),
    }
    physical = _physical(connection, schema)
    tables = []
    for key, columns in found["columns"].items():
        if columns:
            about = {what: by_table.get(key) for what, by_table in found.items()}
            tables.append(_table(catalog, schema, key[1], about, physical.get(key[1])))
    return tables


def _asked(ask: Any, wanted: dict[str, Any], default: Any) -> Mapping[Any, Any]:
    """Not every database has comments and conditions."""
    try:
        return ask(**wanted)  # type: ignore[no-any-return]
    except NotImplementedError:
        return {}


class _Physical:
    """A table as it is stored. ``row_id`` addresses a row where the primary key does not."""

    __slots__ = ("row_id", "rows", "writable")

    def __init__(self, rows: int | None, row_id: SqlColumn | None, writable: bool) -> None:
        self.rows = rows
        self.row_id = row_id
        self.writable = writable


_POSTGRES_TABLES: Final = """
    SELECT relname, reltuples::bigint, relkind IN ('r') AND NOT relhassubclass, relkind IN ('r', 'p', 'f')
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE nspname = :schema AND relkind IN ('r', 'p', 'v', 'm', 'f')
"""


def _physical(connection: sa.Connection, schema: str) -> dict[str, _Physical]:
    import sqlalchemy as sa

    dialect = connection.dialect.name
    if dialect == "postgresql":
        found = connection.execute(sa.text(_POSTGRES_TABLES), {"schema": schema})
        ctid = SqlColumn("rowid", "utf8", CTID, "ctid")
        return {
            name: _Physical(rows if rows >= 0 else None, ctid if plain else None, writable)
            for name, rows, plain, writable in found
        }
    if dialect == "sqlite":
        rowid = SqlColumn("rowid", "int64", PLAIN, "rowid")
        found = connection.execute(sa.text('SELECT "schema", name, type, wr FROM pragma_table_list'))
        return {
            name: _Physical(None, None if without or kind != "table" else rowid, kind in ("table", "virtual"))
            for in_schema, name, kind, without in found
            if in_schema == schema
        }
    names = sa.inspect(connection).get_table_names(schema)
    return {name: _Physical(None, None, True) for name in names}


def _table(
    catalog: SqlAlchemyCatalog, schema: str, name: str, about: dict[str, Any], physical: _Physical | None
) -> Table:
    columns = _columns(about["columns"], catalog.dialect_name, (about["primary_key"] or {}).get("constrained_columns"))
    visible = {column.source: column.name for column in columns}
    key = _named((about["primary_key"] or {}).get("constrained_columns"), visible)
    writable = physical is not None and physical.writable and not catalog.read_only
    row_id = _row_id(columns, key, physical) if writable else None
    plan = TablePlan(schema, name, columns, row_id)
    argument = [plan.encode()]
    addressed = writable and row_id is not None
    checks, unread = _checks(about["checks"] or (), visible)
    tags = {f"check:{index}": text for index, text in enumerate(unread)}
    tags |= {f"index:{one['name']}": ", ".join(map(str, one["column_names"])) for one in about["indexes"] or ()}
    if physical is not None and not physical.writable:
        tags["kind"] = "view"
    reflected = {column.source: one for column, one in zip(columns, about["columns"], strict=True)}
    return Table(
        name,
        columns=plan.schema,
        scan=ScanFunction(catalog.scan_function, argument),
        insert_function=ScanFunction(catalog.insert_function, argument) if writable else None,
        update_function=ScanFunction(catalog.update_function, argument) if addressed else None,
        delete_function=ScanFunction(catalog.delete_function, argument) if addressed else None,
        supports_returning=writable,
        row_id=None if row_id is None else row_id.name,
        not_null=[visible[source] for source, one in reflected.items() if not one["nullable"]],
        primary_key=key,
        unique=[group for one in about["unique"] or () if (group := _named(one["column_names"], visible))],
        foreign_key=[
            ForeignKeyDef(local, one["referred_table"], one["referred_columns"], one["referred_schema"] or schema)
            for one in about["foreign_keys"] or ()
            if (local := _named(one["constrained_columns"], visible))
        ],
        check=checks,
        defaults={
            visible[source]: default for source, one in reflected.items() if (default := _default(one)) is not None
        },
        column_comments={visible[source]: one["comment"] for source, one in reflected.items() if one.get("comment")},
        cardinality_estimate=-1 if physical is None or physical.rows is None else physical.rows,
        comment=(about["comment"] or {}).get("text"),
        tags=tags,
    )


def _columns(reflected: list[dict[str, Any]], dialect: str, key: list[str] | None) -> list[SqlColumn]:
    columns: list[SqlColumn] = []
    taken: set[str] = set()
    for one in reflected:
        type, form = column_form(one["type"], dialect)
        name = source = str(one["name"])
        while name.lower() in taken:  # names that differ in case only are one to DuckDB
            name += "_"
        taken.add(name.lower())
        columns.append(SqlColumn(name, type, form, source, _write(one, key == [source])))
    return columns


def _write(reflected: dict[str, Any], is_key: bool) -> str:
    if reflected.get("computed"):
        return COMPUTED
    if (reflected.get("identity") or {}).get("always"):
        return NUMBERED
    has_default = (
        reflected.get("default") is not None or reflected.get("identity") or reflected.get("autoincrement") is True
    )
    # SQLite numbers its integer keys without saying so.
    automatic = is_key and reflected["type"].__class__.__name__ == "INTEGER"
    return DEFAULTED if (has_default and not reflected["nullable"]) or automatic else WRITTEN


def _row_id(columns: list[SqlColumn], key: list[str], physical: _Physical | None) -> SqlColumn | None:
    names = {column.name.lower() for column in columns}
    name = "rowid"
    while name in names:
        name = f"_{name}_"
    if len(key) == 1:
        (column,) = (one for one in columns if one.name == key[0])
        return SqlColumn(name, column.type, column.form, column.source)
    stored = None if physical is None else physical.row_id
    if stored is None or stored.source in {column.source for column in columns}:
        return None
    return SqlColumn(name, stored.type, stored.form, stored.source)


def _named(sources: list[Any] | None, visible: dict[str, str]) -> list[str]:
    """As DuckDB sees them; empty where something else than a plain column takes part."""
    if not sources or any(source not in visible for source in sources):
        return []
    return [visible[source] for source in sources]


def _default(reflected: dict[str, Any]) -> Sql | None:
    text = reflected.get("default")
    if text is None or reflected.get("computed"):
        return None
    literal = literal_default(str(text))
    return None if literal is None else Sql(literal)


def literal_default(text: str) -> str | None:
    """The default if it means the same to everybody."""
    match = _LITERAL.fullmatch(text.strip())
    return None if match is None else match["value"]


def _checks(reflected: Iterable[dict[str, Any]], visible: dict[str, str]) -> tuple[list[str], list[str]]:
    """Conditions to announce, and those that are only shown."""
    announced: list[str] = []
    shown: list[str] = []
    for one in reflected:
        text = str(one["sqltext"])
        plain = _CHECK.fullmatch(text) is not None and text.count("(") == text.count(")") and "," not in text
        (announced if plain else shown).append(text)
    return announced, shown


_POSTGRES_VERSION: Final = """
    SELECT coalesce(hashtextextended(string_agg(
        concat_ws(':', c.oid, c.relname, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef), ','
        ORDER BY c.oid, a.attnum), 0), 1)
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
"""


def version(connection: sa.Connection) -> int:
    """Changes when tables do; 0 where the database cannot tell."""
    import sqlalchemy as sa

    if connection.dialect.name == "sqlite":
        return int(connection.execute(sa.text("PRAGMA schema_version")).scalar_one()) + 1
    if connection.dialect.name == "postgresql":
        return int(connection.execute(sa.text(_POSTGRES_VERSION)).scalar_one()) or 1
    return 0
