"""``vgi-fast describe``."""

import json
import shlex
import sys

from tests.cli.conftest import BASIC, Run
from tests.fix_worker import WORKERS

TABLES = str(WORKERS / "tables.py")


def test_table_of_functions(run: Run) -> None:
    output = run("describe", BASIC).output
    assert "catalog basic: For the tests of the client" in output
    assert "power(base: int64, const exponent: int64) -> int64" in output
    assert "Whole numbers and their squares." in output
    assert "Twice x." in output
    assert "second paragraph" not in output


def test_json(run: Run) -> None:
    (catalog,) = json.loads(run("describe", "--json", BASIC).output)["catalogs"]
    assert catalog["name"] == "basic"
    functions = {each["name"]: each for schema in catalog["schemas"] for each in schema["functions"]}
    assert functions["hypot"]["signature"] == "hypot(x: float64, y: float64) -> float64"
    named = {each["name"]: each for each in functions["numbers"]["arguments"]}
    assert named["batch_size"] == {
        "name": "batch_size",
        "type": "int64",
        "const": False,
        "named": True,
        "varargs": False,
        "table": False,
        "doc": "",
        "default": 2048,
    }


def test_command_line_instead_of_a_target(run: Run) -> None:
    output = run("describe", shlex.join([sys.executable, BASIC]), "--catalog", "basic").output
    assert "catalog basic" in output


def test_worker_that_fails_to_start(run: Run) -> None:
    output = run("describe", f"{sys.executable} -c 'raise SystemExit(\"no luck today\")'", status=1).output
    assert "exited with status 1" in output
    assert "no luck today" in output


def test_objects_besides_functions(run: Run) -> None:
    output = run("describe", TABLES, "--catalog", "tables", "--option", "size=5").output
    for kind, name in (("table object", "large"), ("view", "few"), ("macro", "plus"), ("table macro", "upto")):
        assert any(kind in line and f" {name} " in line for line in output.splitlines())
    printed = run("describe", "--json", TABLES, "--catalog", "tables", "--option", "size=5").output
    ((main, _),) = [catalog["schemas"] for catalog in json.loads(printed)["catalogs"]]
    assert (main["views"], main["macros"]) == (["few"], ["plus", "upto"])


def test_a_catalog_that_needs_options_is_named(run: Run) -> None:
    assert "catalog tables needs --option size" in run("describe", TABLES).output
