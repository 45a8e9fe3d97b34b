"""Workers that are shared through the launcher (section 9.4): names, who starts them, and what can go wrong."""

import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pool.conftest import await_end
from vgi_fast.client import Client, LaunchChannel, Launcher
from vgi_fast.client.channels import connect_unix
from vgi_fast.client.launcher import (
    checked_state_dir,
    collect,
    default_state_dir,
    is_answering,
    launch_hash,
    seconds_text,
    split_command,
)
from vgi_fast.errors import ArgumentError, TransportError

DEADLINE_S = 30
SOURCE = """
    import os
    from pathlib import Path
    import numpy as np
    from vgi_fast import Int64, Worker

    worker = Worker("shared")

    @worker.scalar(stability="volatile")
    def pid(x: Int64) -> Int64:
        return np.full(len(x), os.getpid())

    if __name__ == "__main__":
        with open(Path(__file__).with_suffix(".starts"), "a") as file:
            file.write(f"{os.getpid()}\\n")
        worker.run()
"""


class Program:
    """A worker that notes who was started; those are ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "shared.py"
        self.path.write_text(dedent(SOURCE))
        self.words = [sys.executable, "-W", "error", str(self.path), "--workers", "1"]

    def starts(self) -> list[int]:
        path = self.path.with_suffix(".starts")
        return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "vgi-rpc"


@pytest.fixture
def program(tmp_path: Path, state_dir: Path) -> Iterator[Program]:
    made = Program(tmp_path)
    yield made
    for pid in made.starts():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def pid_of(client: Client) -> int:
    answer: list[int] = client.attach("shared").scalar("pid", {"x": [0]}).to_pylist()
    return answer[0]


# -- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "cwd", "env", "expected"),
    [
        (["w"], "/", {}, "5455e85b6d306e5b"),
        (["uv", "run", "my worker"], "/home/me", {}, "0c9686757fbb79b0"),
        (["w"], "/srv/app", {"VGI_RPC_B": "2", "VGI_RPC_A": 'q"\\x', "VGI_OTHER": "x"}, "33b9dca18051a29f"),
        (["w\ttab"], "/srv/app", {}, "e397d8a581d99461"),
        (["w\x7f"], "/srv/app", {}, "34b17b3cf4d10426"),
        (["w"], "/srv/é", {}, "aa93d777d655f9d7"),
    ],
)
def test_names_are_those_of_duckdb(words: list[str], cwd: str, env: dict[str, str], expected: str) -> None:
    assert launch_hash(words, cwd, env) == expected


def test_bytes_that_are_no_text_have_a_name_too() -> None:
    assert launch_hash([os.fsdecode(b"w\xff")], "/", {}) != launch_hash([os.fsdecode(b"w\xfe")], "/", {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b", ["a", "b"]),
        ("  a\t b\n", ["a", "b"]),
        ("""a "b c" 'd e' f\\ g""", ["a", "b c", "d e", "f g"]),
        ('''"\\$x" "\\`b" "\\n" "\\\\" "\\""''', ["$x", "`b", "\\n", "\\", '"']),
        ("'a\\b'", ["a\\b"]),
        ("""a""b "" ''""", ["ab", "", ""]),
        ("$HOME ~ * a;b | > & # x#y", ["$HOME", "~", "*", "a;b", "|", ">", "&", "#", "x#y"]),
        ('"a\\\nb" c\\\nd', ["a\nb", "c\nd"]),
    ],
)
def test_words_are_those_of_duckdb(text: str, words: list[str]) -> None:
    assert split_command(text) == words


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\\", "trailing backslash"), ('"a', "unterminated quote"), ("'", "unterminated quote"), (" ", "no command")],
)
def test_wrong_commands(text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        split_command(text)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=0, max_size=8), min_size=1))
def test_quoted_words_come_back(words: list[str]) -> None:
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    assert split_command(quoted) == words


def test_state_directory_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/me")
    assert default_state_dir() == Path("/run/me/vgi-rpc")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setenv("TMPDIR", "/scratch")
    assert default_state_dir() == Path(f"/scratch/vgi-rpc-{os.geteuid()}")
    monkeypatch.delenv("TMPDIR")
    assert default_state_dir() == Path(f"/tmp/vgi-rpc-{os.geteuid()}")


def test_seconds_are_written_as_duckdb_does() -> None:
    assert [seconds_text(each) for each in (300, 0, 2.5, 0.001, 100.0, 1e6)] == [
        "300", "0", "2.5", "0.001", "100", "1000000",
    ]  # fmt: skip


def test_another_variable_or_directory_is_another_worker(tmp_path: Path) -> None:
    plain = Launcher("w", state_dir=tmp_path)
    assert Launcher(["w"], state_dir=tmp_path).socket_path == plain.socket_path
    assert Launcher("w", state_dir=tmp_path, env={"VGI_RPC_X": "1"}).socket_path != plain.socket_path
    assert Launcher("w", state_dir=tmp_path, cwd="/").socket_path != plain.socket_path
    assert plain.lock_path == plain.socket_path.with_suffix(".lock")
    assert Launcher("w", explicit_socket="/x/y.s").lock_path == Path("/x/y.s.lock")


# -- the state directory ------------------------------------------------------------------------


def test_state_directory_is_made_private(tmp_path: Path) -> None:
    path = checked_state_dir(tmp_path / "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    path.chmod(0o777)
    assert stat.S_IMODE(checked_state_dir(path).stat().st_mode) == 0o700


def test_state_directory_that_cannot_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("file", "link"):
        with pytest.raises(TransportError, match="is not a directory, or a link to one"):
            checked_state_dir(tmp_path / name)
    with pytest.raises(TransportError, match="No such file"):
        checked_state_dir(tmp_path / "missing" / "deep")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(TransportError, match="belongs to user"):
        checked_state_dir(tmp_path / "real")


def test_paths_that_do_not_fit_into_an_address(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="socket path is longer than"):
        Launcher("w", state_dir=tmp_path / ("x" * 100)).launch()


# -- launching ----------------------------------------------------------------------------------


def test_clients_share_one_worker(program: Program, state_dir: Path) -> None:
    import shlex

    location = f"launch:{shlex.join(program.words)}"
    with Client(location, timeout_s=DEADLINE_S) as first, Client(location, timeout_s=DEADLINE_S) as second:
        assert pid_of(first) == pid_of(second) == program.starts()[0]
    assert len(program.starts()) == 1
    path = Launcher(program.words).socket_path
    assert path.parent == state_dir
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


RACE = """
import sys
from vgi_fast.client import Launcher
sys.stdin.read(1)
print(Launcher(sys.argv[1:]).launch())
"""


def test_of_many_launchers_at_once_one_starts_the_worker(program: Program) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RACE, *program.words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(20)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("x")
        racer.stdin.flush()
    said = {racer.communicate(timeout=90) for racer in racers}
    assert said == {(f"{Launcher(program.words).socket_path}\n", "")}
    assert len(program.starts()) == 1


def test_a_stale_socket_is_replaced(program: Program) -> None:
    launcher = Launcher(program.words)
    launcher.launch()
    (first,) = program.starts()
    os.kill(first, signal.SIGKILL)
    await_end(first)
    assert launcher.socket_path.exists() and not is_answering(launcher.socket_path)
    with Client(LaunchChannel(launcher), timeout_s=DEADLINE_S) as client:
        assert pid_of(client) == program.starts()[1]


def test_the_worker_leaves_when_idle_and_nothing_stays(program: Program) -> None:
    launcher = Launcher(program.words, idle_timeout_s=0.05)
    with Client(LaunchChannel(launcher), timeout_s=DEADLINE_S) as client:
        pid = pid_of(client)
    await_end(pid)
    assert not launcher.socket_path.exists()
    # The next one starts another.
    with Client(LaunchChannel(launcher), timeout_s=DEADLINE_S) as client:
        assert pid_of(client) != pid


def test_something_else_at_the_sockets_place_is_kept(program: Program, state_dir: Path) -> None:
    launcher = Launcher(program.words)
    launcher.prepared().write_text("kept")
    with pytest.raises(TransportError, match="not a socket"):
        launcher.launch()
    assert launcher.socket_path.read_text() == "kept"


def test_an_explicit_socket(program: Program, tmp_path: Path) -> None:
    launcher = Launcher(program.words, explicit_socket=tmp_path / "mine.sock")
    assert launcher.launch() == tmp_path / "mine.sock"
    assert (tmp_path / "mine.sock.lock").exists()
    assert not (tmp_path / "vgi-rpc").exists()


def test_standard_error_goes_to_a_file(tmp_path: Path, state_dir: Path) -> None:
    log = tmp_path / "stderr"
    launcher = Launcher([sys.executable, "-c", "raise SystemExit('no licence')"], worker_stderr=log)
    for _ in range(2):
        with pytest.raises(TransportError, match="exited with status 1 before it announced.*\n.*standard error is in"):
            launcher.launch()
    assert log.read_text() == "no licence\n" * 2


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('UNIX:/elsewhere', flush=True); __import__('time').sleep(60)", "announces another socket: UNIX:/else"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed by signal 9"),
        ("print('x' * 2000000)", "writes other things"),
        ("print('hello', flush=True); __import__('time').sleep(60)", "has announced nothing for 0.5 s"),
    ],
)
def test_programs_that_are_no_workers(state_dir: Path, code: str, message: str) -> None:
    launcher = Launcher([sys.executable, "-c", code], startup_timeout_s=0.5 if "hello" in code else DEADLINE_S)
    with pytest.raises(TransportError, match=message):
        launcher.launch()
    assert not launcher.socket_path.exists()


def test_a_program_that_does_not_exist(state_dir: Path) -> None:
    with pytest.raises(TransportError, match="cannot start worker: no-such-program --flag"):
        Client("launch:no-such-program --flag")


def test_lines_before_the_announcement_are_skipped(state_dir: Path) -> None:
    code = "import sys; print('hello\\nUNIX:' + sys.argv[2], flush=True); sys.stdin.close()"
    launcher = Launcher([sys.executable, "-c", code])
    assert launcher.launch() == launcher.socket_path


def test_a_lock_that_is_never_released(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = Launcher(program.words)
    launcher.prepared()
    monkeypatch.setattr("vgi_fast.client.launcher._LOCK_TIMEOUT_S", 0.1)
    with launcher.lock_path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TransportError, match="another launcher has held"):
            launcher.launch()
    assert program.starts() == []
    launcher.launch()


def test_negative_idle_timeout(state_dir: Path) -> None:
    with pytest.raises(ArgumentError, match="idle_timeout_s: expected seconds from 0 on"):
        Launcher("w", idle_timeout_s=-1).launch()


def test_a_listener_that_accepts_nothing_counts_as_alive(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        filling: list[socket.socket] = []
        with suppress(TimeoutError):
            while len(filling) < 10:
                filling.append(connect_unix(str(path), 0.05))
        assert 0 < len(filling) < 10
        with pytest.raises(TimeoutError):
            connect_unix(str(path), 0.05)
        for each in filling:
            each.close()
    with pytest.raises(ConnectionRefusedError):
        connect_unix(str(path), 0.05)


def test_collection_removes_dead_sockets_only(program: Program, state_dir: Path) -> None:
    live = Launcher(program.words).launch()
    dead = state_dir / "0123456789abcdef.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(dead))
    dead.with_suffix(".meta").touch()
    assert collect() == [dead]
    assert sorted(path.name for path in state_dir.iterdir()) == sorted(
        [live.name, live.with_suffix(".lock").name, dead.with_suffix(".lock").name]
    )
    assert is_answering(live)
