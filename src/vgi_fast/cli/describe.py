"""``vgi-fast describe``: what a worker offers."""

import json
from typing import TYPE_CHECKING, Any

import click

from vgi_fast.cli.options import worker_options
from vgi_fast.cli.targets import as_command

if TYPE_CHECKING:
    from vgi_fast.client import Catalog, Client, Function


@click.command("describe")
@click.argument("worker")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@worker_options
def command(worker: str, as_json: bool, catalog: str | None, options: tuple[str, ...], timeout_s: float | None) -> None:
    """List catalogs, schemas and functions of WORKER: a target (module:attr, file.py) or a command line."""
    from vgi_fast.cli.options import read_pairs
    from vgi_fast.client import Client

    with Client(as_command(worker), timeout_s=timeout_s) as client:
        attached = _attach(client, catalog, read_pairs(options, "--option"))
        if as_json:
            click.echo(json.dumps({"catalogs": [_as_json(entry) for entry in attached]}, indent=2))
        else:
            _show(attached)


def _attach(client: "Client", name: str | None, options: dict[str, Any]) -> "list[Catalog]":
    from vgi_fast.client.client import required_options

    if name is None and not options:
        for info in client.catalogs():
            needed = required_options(info)
            if needed:
                click.echo(
                    f"catalog {info['name']} needs --option {', '.join(needed)}; choose it by --catalog", err=True
                )
        return client.describe()
    return [client.attach(name, options)]


def _show(catalogs: "list[Catalog]") -> None:
    from rich.console import Console

    from vgi_fast.cli.render import show_grid

    console = Console()
    for catalog in catalogs:
        comment = catalog.result["comment"]
        console.print(f"catalog [bold]{catalog.name}[/bold]" + (f": {comment}" if comment else ""), highlight=False)
        for schema in catalog.schemas():
            rows = [(_kind(each), str(each), _summary(each)) for each in catalog.functions(schema["name"])]
            rows += [(kind, name, comment) for kind, name, comment in _relations(catalog, schema["name"])]
            show_grid(console, ("kind", "signature", "description"), rows, f"schema {schema['name']}")


def _kind(function: "Function") -> str:
    return function.kind.lower().replace("_", " ")


def _summary(function: "Function") -> str:
    lines = (function.description or function.info["comment"] or "").strip().splitlines()
    return lines[0] if lines else ""


def _relations(catalog: "Catalog", schema: str) -> list[tuple[str, str, str]]:
    """Tables, views and macros, where the worker has them."""
    found = []
    for kind, entries in (
        ("table object", catalog.tables(schema)),
        ("view", catalog.views(schema)),
        ("macro", catalog.macros("scalar", schema)),
        ("table macro", catalog.macros("table", schema)),
    ):
        found += [(kind, entry["name"], entry["comment"] or "") for entry in entries]
    return found


def _as_json(catalog: "Catalog") -> dict[str, Any]:
    return {
        "name": catalog.name,
        "comment": catalog.result["comment"],
        "schemas": [
            {
                "name": schema["name"],
                "comment": schema["comment"],
                "functions": [_function_json(each) for each in catalog.functions(schema["name"])],
                "tables": [entry["name"] for entry in catalog.tables(schema["name"])],
                "views": [entry["name"] for entry in catalog.views(schema["name"])],
                "macros": [
                    entry["name"] for kind in ("scalar", "table") for entry in catalog.macros(kind, schema["name"])
                ],
            }
            for schema in catalog.schemas()
        ],
    }


def _function_json(function: "Function") -> dict[str, Any]:
    return {
        "name": function.name,
        "kind": function.kind,
        "signature": str(function),
        "description": function.description,
        "arguments": [
            {
                "name": argument.name,
                "type": None if argument.type is None else str(argument.type),
                "const": argument.is_const,
                "named": argument.is_named,
                "varargs": argument.is_varargs,
                "table": argument.is_table,
                "doc": argument.doc,
                **argument.hints,
            }
            for argument in function.arguments
        ],
        "returns": None if function.return_type is None else str(function.return_type),
        "examples": [example["sql"] for example in function.info["examples"] or ()],
        "categories": list(function.info["categories"] or ()),
    }
