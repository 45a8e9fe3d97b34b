"""SQL text, and values as SQL."""

from __future__ import annotations

from typing import Any

from vgi_fast.errors import DefinitionError

__all__ = ["Sql", "sql_literal"]


class Sql(str):
    """SQL text, where a plain str would be quoted as a literal."""

    __slots__ = ()


def sql_literal(value: Any, where: str) -> str:
    """SQL text of a Python value; ``Sql`` is taken as it is."""
    if isinstance(value, Sql):
        return str(value)
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value) if value == value and abs(value) != float("inf") else f"'{value}'::DOUBLE"
    if isinstance(value, bytes):
        return "'" + "".join(f"\\x{byte:02X}" for byte in value) + "'::BLOB"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    kind = {"date": "DATE", "datetime": "TIMESTAMP", "time": "TIME", "Decimal": ""}.get(type(value).__name__)
    if kind is None:
        raise DefinitionError(f"{where}: no literal for {value!r}", hint="write the expression as Sql('…')")
    if not kind:
        return str(value)
    if kind == "TIMESTAMP" and value.tzinfo is not None:
        kind = "TIMESTAMPTZ"
    return f"{kind} '{value.isoformat(' ') if kind.startswith('TIMESTAMP') else value.isoformat()}'"
