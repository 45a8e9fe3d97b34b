"""``vgi-fast serve``: finding the worker, and starting it without the command line's libraries."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import BASIC, Run
from vgi_fast.cli.targets import as_command, is_target, load_worker
from vgi_fast.client import Client
from vgi_fast.errors import DefinitionError

SERVE = [sys.executable, "-W", "error", "-m", "vgi_fast.cli", "serve"]
SOURCE = """
import sys
from vgi_fast import Worker

{name} = Worker("served")

@{name}.table(columns={{"module": "utf8"}})
def modules():
    yield {{"module": sorted(sys.modules)}}

if __name__ == "__main__":
    raise SystemExit("run, not imported")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "served.py").write_text(SOURCE.format(name="mine"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("target", ["served.py", "served.py:mine", "served:mine", "./served.py"])
def test_serves_without_the_libraries_of_the_command_line(folder: Path, target: str) -> None:
    with Client([*SERVE, target], timeout_s=30) as client:
        loaded = client.attach().table("modules").read_all().column("module").to_pylist()
    assert client.exit_status == 0
    assert "vgi_fast.cli.serve" in loaded
    assert not {"click", "rich", "tqdm", "pyarrow", "vgi_fast.client", "pkg_resources"} & set(loaded)


def test_flags_go_to_the_worker(folder: Path) -> None:
    done = subprocess.run([*SERVE, "served.py", "--no-such-flag"], stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode == 2
    assert b"no-such-flag" in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing.py", "no such file: nothing.py"),
        ("no_such_module:worker", "no module named 'no_such_module'"),
        ("served:theirs", "served:theirs: there is no 'theirs'"),
        ("served.py:sys", "'sys' is a module, not a Worker"),
        ("json", "json: 0 workers found"),
    ],
)
def test_wrong_targets_are_explained(folder: Path, target: str, message: str) -> None:
    done = subprocess.run([*SERVE, target], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_file_may_have_the_name_of_a_loaded_module(folder: Path) -> None:
    (folder / "json.py").write_text(SOURCE.format(name="worker"))
    with Client([*SERVE, "json.py"], timeout_s=30) as client:
        assert client.attach().name == "served"


def test_error_inside_a_target_is_not_hidden(folder: Path) -> None:
    (folder / "broken.py").write_text("import no_such_dependency")
    done = subprocess.run([*SERVE, "broken:worker"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no_such_dependency" in done.stderr


def test_several_workers_need_a_name(folder: Path) -> None:
    (folder / "two_workers.py").write_text("from vgi_fast import Worker\na, b = Worker('a'), Worker('b')")
    with pytest.raises(DefinitionError, match="2 workers found"):
        load_worker("two_workers.py")
    assert load_worker("two_workers.py:b") is not load_worker("two_workers.py:a")


def test_usage(run: Run) -> None:
    assert "module:attr" in run("serve", "--help").output
    assert "module:attr" in run("serve", status=2).output


def test_targets_and_commands_are_told_apart(folder: Path) -> None:
    assert is_target("served.py")
    assert is_target("pkg.mod:worker")
    assert not is_target("python served.py")
    assert not is_target("missing.py")
    assert not is_target("/usr/bin/worker --flag x:y")
    assert as_command("python served.py") == "python served.py"
    assert as_command(BASIC)[-2:] == ["serve", BASIC]
