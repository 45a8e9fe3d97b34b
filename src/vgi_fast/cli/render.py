"""Tables on the terminal."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

MAX_CELL_CHARS: Final = 80
NULL_TEXT: Final = "[dim]NULL[/dim]"


def show_rows(console: Console, table: "pa.Table", *, max_rows: int, total_rows: int | None = None) -> None:
    """The first rows of ``table``, its types under the names, and how many there are."""
    import pyarrow as pa

    grid = Table(header_style="bold")
    for field in table.schema:
        is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        header = f"{escape(field.name)}\n[dim]{escape(str(field.type))}[/dim]"
        grid.add_column(header, justify="right" if is_number else "left", overflow="fold")
    for row in zip(*(column.to_pylist() for column in table.slice(0, max_rows).columns), strict=True):
        grid.add_row(*map(cell, row))
    console.print(grid)
    total = table.num_rows if total_rows is None else total_rows
    shown = min(table.num_rows, max_rows)
    console.print(f"[dim]{count(total)} rows" + (f", {shown} shown" if shown < total else "") + "[/dim]")


def show_grid(console: Console, headers: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """Columns of text; a header that ends in ``>`` is aligned to the right."""
    grid = Table(title=escape(title) or None, title_justify="left", header_style="bold")
    for header in headers:
        grid.add_column(escape(header.rstrip(">")), justify="right" if header.endswith(">") else "left")
    for row in rows:
        grid.add_row(*(cell(value, max_chars=None) for value in row))
    console.print(grid)


def cell(value: Any, max_chars: int | None = MAX_CELL_CHARS) -> str:
    """
    >>> cell(None), cell(2 / 3)
    ('[dim]NULL[/dim]', '0.666667')
    """
    if value is None:
        return NULL_TEXT
    text = value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else str(value)
    if max_chars is not None and len(text) > max_chars:
        text = text[: max_chars - 1] + "…"
    return escape(text)


def count(number: int) -> str:
    """
    >>> count(336776)
    '336,776'
    """
    return f"{number:,}"
