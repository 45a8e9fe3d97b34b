"""``vgi-fast call``: one function, over a file or on its own."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from vgi_fast.cli.options import read_pairs, read_value, worker_options
from vgi_fast.cli.targets import as_command
from vgi_fast.errors import ArgumentError

if TYPE_CHECKING:
    import pyarrow as pa

    from vgi_fast.cli.files import Source
    from vgi_fast.client import Catalog, Function

DEFAULT_SHOWN_ROWS: Final = 20
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("call")
@click.argument("worker")
@click.argument("function")
@click.option("-i", "--input", "input_path", type=_FILE, help="Rows: .parquet, .csv, .arrow, .arrows or .json.")
@click.option("-c", "--columns", help="Input columns for the function, in its order: a,b.")
@click.option("-a", "--arg", "args", multiple=True, metavar="VALUE", help="Constant argument; repeatable, in order.")
@click.option("-n", "--named", multiple=True, metavar="K=V", help="Named argument; repeatable.")
@click.option("-s", "--setting", "settings", multiple=True, metavar="K=V", help="Setting; repeatable.")
@click.option("-o", "--output", "output_path", type=_FILE, help="Write the result here, instead of showing it.")
@click.option("--schema", help="Schema of the function.")
@click.option("--limit", type=click.IntRange(min=0), help="Stop after this many rows.")
@click.option("--batch-rows", type=click.IntRange(min=1), default=65_536, show_default=True, help="Rows in a batch.")
@worker_options
def command(
    worker: str,
    function: str,
    catalog: str | None,
    options: tuple[str, ...],
    timeout_s: float | None,
    **call: Any,
) -> None:
    """Call FUNCTION of WORKER, a target (module:attr, file.py) or a command line.

    A scalar function takes its columns from --input; the result holds them and the function's own column.
    A table function gives rows; its TABLE argument, if it has one, comes from --input.
    """
    from vgi_fast.client import Client

    with Client(as_command(worker), timeout_s=timeout_s) as client, ExitStack() as stack:
        attached = client.attach(catalog, read_pairs(options, "--option"))
        batches, total = _start(attached, function, call, stack)
        _deliver(batches, total, call["output_path"], call["limit"])


def _start(
    catalog: "Catalog", name: str, call: dict[str, Any], stack: ExitStack
) -> "tuple[Iterator[pa.RecordBatch], int | None]":
    """Result batches, and how many rows there will be if that is known."""
    args = [read_value(text) for text in call["args"]]
    shared = {"schema": call["schema"], "settings": read_pairs(call["settings"], "--setting")}
    overloads = [each for each in catalog.functions(call["schema"]) if each.name.lower() == name.lower()]
    if not overloads:
        known = sorted({each.name for each in catalog.functions(call["schema"])})
        raise ArgumentError(f"no function {name!r}", hint=f"known: {', '.join(known) or 'none'}")
    if any(each.kind == "SCALAR" for each in overloads):
        source = _scalar_source(overloads, call)
        return _scalar_batches(catalog, name, source, args, shared, call["batch_rows"]), source.num_rows
    named = read_pairs(call["named"], "--named")
    rows = None if call["input_path"] is None else _table_input(call)
    result = stack.enter_context(
        catalog.table(name, *args, named=named, input=rows, batch_rows=call["batch_rows"], **shared)
    )
    estimate = result.bound.cardinality()[0] if rows is None else None
    return iter(result), estimate


def _scalar_source(overloads: "list[Function]", call: dict[str, Any]) -> "Source":
    """The columns of the input file that the function takes."""
    from vgi_fast.cli.files import open_source

    if call["input_path"] is None:
        raise ArgumentError("a scalar function needs rows", hint="give a file with --input")
    if call["columns"] is not None:
        return open_source(call["input_path"], [name.strip() for name in call["columns"].split(",")])
    present = open_source(call["input_path"])
    for function in overloads:
        names = [argument.name for argument in function.columns]
        if names and all(name in present.schema.names for name in names):
            return open_source(call["input_path"], names)
    return present


def _scalar_batches(
    catalog: "Catalog", name: str, source: "Source", args: list[Any], shared: dict[str, Any], batch_rows: int
) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    with catalog.open_scalar(name, source.schema, args, **shared) as running:
        for batch in source.batches:
            result = running.apply(batch, batch_rows)
            table = pa.Table.from_batches([batch]).append_column(name, result)
            yield from table.to_batches()


def _table_input(call: dict[str, Any]) -> "pa.Table":
    import pyarrow as pa

    from vgi_fast.cli.files import open_source

    columns = None if call["columns"] is None else [name.strip() for name in call["columns"].split(",")]
    source = open_source(call["input_path"], columns)
    return pa.Table.from_batches(list(source.batches), source.schema)


def _deliver(
    batches: "Iterator[pa.RecordBatch]", total: int | None, output_path: Path | None, limit: int | None
) -> None:
    """Into the file or onto the terminal, with a progress bar over the rows."""
    from tqdm import tqdm

    known = total if limit is None else limit if total is None else min(total, limit)
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=known, unit=" rows", unit_scale=True, file=sys.stderr, disable=None))
        if output_path is not None:
            rows = _write(_limited(batches, limit, bar.update), output_path, stack)
        else:
            preview, rows = _collect(_limited(batches, limit, bar.update), DEFAULT_SHOWN_ROWS)
    if output_path is not None:
        click.echo(f"{rows:,} rows written to {output_path}", err=True)
        return
    from rich.console import Console

    from vgi_fast.cli.render import show_rows

    if preview is None:
        click.echo("no rows")
    else:
        show_rows(Console(), preview, max_rows=DEFAULT_SHOWN_ROWS, total_rows=rows)


def _limited(
    batches: "Iterator[pa.RecordBatch]", limit: int | None, advance: Callable[[int], Any]
) -> "Iterator[pa.RecordBatch]":
    left = limit
    try:
        while left is None or left > 0:
            batch = next(batches, None)
            if batch is None:
                return
            if left is not None:
                batch = batch.slice(0, left)
                left -= batch.num_rows
            advance(batch.num_rows)
            yield batch
    finally:
        # Ends the stream of a function that has more rows than were wanted.
        batches.close()  # type: ignore[attr-defined]


def _write(batches: "Iterator[pa.RecordBatch]", path: Path, stack: ExitStack) -> int:
    from vgi_fast.cli.files import open_sink

    sink = None
    rows = 0
    for batch in batches:
        if sink is None:
            sink = stack.enter_context(open_sink(path, batch.schema))
        sink.write(batch)
        rows += batch.num_rows
    if sink is None:
        raise ArgumentError("no rows, so nothing was written")
    return rows


def _collect(batches: "Iterator[pa.RecordBatch]", wanted: int) -> "tuple[pa.Table | None, int]":
    """The first rows, and how many there were."""
    import pyarrow as pa

    kept: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if rows < wanted or not kept:
            kept.append(batch.slice(0, wanted))
        rows += batch.num_rows
    return (pa.Table.from_batches(kept) if kept else None), rows
