"""The way in: help, version, and what is said when an extra is missing."""

import sys

import pytest

from tests.cli.conftest import Run
from vgi_fast.cli.main import main

SLOW_MODULES = ("click", "rich", "tqdm")


def test_help_lists_all_commands(run: Run) -> None:
    output = run("--help").output
    for name in ("serve", "launch", "describe", "call", "sql", "demo"):
        assert f"  {name}" in output


def test_version(run: Run) -> None:
    assert "version" in run("--version").output


def test_unknown_command(run: Run) -> None:
    assert "No such command 'brew'" in run("brew", status=2).output


@pytest.mark.parametrize("missing", SLOW_MODULES)
def test_missing_extra_is_explained(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(sys.modules):
        ours = name.startswith("vgi_fast.cli.") and name != "vgi_fast.cli.main"
        if ours or name.startswith(f"{missing}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "click":
        assert main(["describe", "x"]) == 1
    else:
        from tests.cli.conftest import BASIC

        arguments = ["call", BASIC, "numbers", "--arg", "3"] if missing == "tqdm" else ["describe", BASIC]
        assert main(arguments) == 1
    assert f"this command needs {missing}; install it with: pip install 'vgi-fast[cli]'" in capsys.readouterr().err
