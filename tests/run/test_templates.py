"""When a template must not be used, and what happens to everybody when one of the processes is killed."""

import os
import signal
import socket
import subprocess
import sys
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fix_run import FACTS, PATIENCE_S, Run, fact, wait_gone, wait_until
from vgi_fast.errors import TransportError

# -- changes ------------------------------------------------------------------------------------


def test_changes_are_picked_up_at_once(run: Run) -> None:
    run.write("answer = 1", "helper.py")
    run.write(FACTS.replace("import json", "import helper, json"))
    assert run.fact("helper.answer") == 1
    first = run.template()
    run.write("answer = 2222", "helper.py")
    assert run.fact("helper.answer") == 2222
    wait_gone(first)
    run.write(FACTS.replace("x * 2", "x * 3"))
    with run.client("worker.py") as client:
        assert client.attach().scalar("double", {"x": [1]}).to_pylist() == [3]


def test_a_stale_template_serves_its_children_to_their_end(run: Run) -> None:
    run.write("answer = 1", "helper.py")
    run.write(FACTS.replace("import json", "import helper, json"))
    with run.client("worker.py") as old:
        assert fact(old, "helper.answer") == 1
        (first,) = run.templates()
        run.write("answer = 22", "helper.py")
        assert "have changed" in run.way("worker.py")
        assert fact(old, "helper.answer") == 1
    assert old.exit_status == 0
    wait_gone(first)
    assert run.fact("helper.answer") == 22


# -- unsuitable workers -------------------------------------------------------------------------

UNSUITABLE = {
    "threads": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n",
        "thread",
    ),
    "raw threads": ("import _thread, time\n_thread.start_new_thread(time.sleep, (60,))\n", "thread"),
    "sockets": ("import socket\nopened = socket.socketpair()\n", "network connection"),
}


@pytest.mark.parametrize("kind", UNSUITABLE)
def test_workers_that_cannot_be_forked_run_plainly(run: Run, kind: str) -> None:
    before, reason = UNSUITABLE[kind]
    run.write(FACTS.replace("worker =", before + "worker ="))
    for _ in range(2):  # the second time it is known
        way = run.way("worker.py")
        assert way.startswith("plain execution: ")
        assert reason in way
        assert run.fact("loaded_by == os.getpid()") is True
    assert not run.templates()


def test_a_worker_can_ask_for_no_template(run: Run) -> None:
    run.write(FACTS.replace('Worker("facts")', 'Worker("facts", template=False)'))
    assert "template=False" in run.way("worker.py")
    assert run.fact("loaded_by == os.getpid()") is True


def test_thread_pools_that_survive_forks_are_no_obstacle(run: Run) -> None:
    run.write(
        """
        import numpy as np, pyarrow as pa, pyarrow.compute as pc
        from vgi_fast import Worker
        worker = Worker("facts")
        (np.ones((200, 200)) @ np.ones((200, 200))).sum()
        data = pa.table({"a": list(range(200_000))})
        pc.sum(data["a"]), data.filter(pc.greater(data["a"], 5)).group_by("a").aggregate([])

        @worker.table(columns="fact: utf8")
        def facts(expression: str):
            yield [repr(eval(expression))]
        """
    )
    expression = "len(data.group_by('a').aggregate([])), float((np.ones((300, 300)) @ np.ones((300, 300))).sum())"
    for _ in range(2):
        assert run.fact(expression) == (200_000, 27_000_000.0)
    assert len(run.templates()) == 1


def test_no_template_by_option_and_variable(run: Run) -> None:
    assert run.way("--no-template", "worker.py") == "plain execution: no template is wanted"
    assert run.way("worker.py", env={"VGI_FAST_RUN_TEMPLATE": "0"}) == "plain execution: no template is wanted"
    assert run("worker.py", env={"VGI_FAST_RUN_EXPLAIN": "1"}).stderr.count(b"template serves") == 1


# -- everything that can be in the way ----------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "import no_such_module",
        "raise RuntimeError('no_such_module')",
        "def no_such_module(:",
        "raise SystemExit(3)",
        "x = 1",
    ],
)
def test_a_worker_that_does_not_load_is_reported_as_by_python(run: Run, source: str) -> None:
    run.write(source)
    plain, first, second = (run(way, "worker.py") for way in ("--no-template", "--template", "--template"))
    assert plain.returncode != 0
    assert (first.returncode, first.stderr) == (second.returncode, second.stderr) == (plain.returncode, plain.stderr)
    assert not run.templates()


def _open_to_others(run: Run) -> None:
    run.state.chmod(0o750)


def _a_link(run: Run) -> None:
    (run.folder / "link").symlink_to(run.state)
    run.environment["VGI_FAST_RUN_DIR"] = str(run.folder / "link")


def _long(run: Run) -> None:
    run.environment["VGI_FAST_RUN_DIR"] = str(run.state / ("x" * 100))


def _relative(run: Run) -> None:
    run.environment["VGI_FAST_RUN_DIR"] = "state"


def _a_file(run: Run) -> None:
    (run.folder / "file").write_text("")
    run.environment["VGI_FAST_RUN_DIR"] = str(run.folder / "file")


def _nowhere(run: Run) -> None:
    run.environment["VGI_FAST_RUN_DIR"] = "/proc/nowhere"


def _locked(run: Run) -> None:
    (run.state / "lock").mkdir()


@pytest.mark.parametrize("obstruct", [_open_to_others, _a_link, _long, _relative, _a_file, _nowhere, _locked])
def test_obstacles_lead_to_plain_execution(run: Run, obstruct: Callable[[Run], None]) -> None:
    obstruct(run)
    assert run.way("worker.py").startswith("plain execution: ")
    assert run.fact("loaded_by == os.getpid()") is True


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_directory_of_somebody_else_is_not_used(run: Run) -> None:
    os.chown(run.state, 65534, 65534)
    assert "must belong to this user" in run.way("worker.py")


def test_closed_descriptors(run: Run) -> None:
    command = f"{run.program} --explain worker.py <&- 2>&1"
    done = subprocess.run(command, shell=True, cwd=run.folder, env=run.environment, capture_output=True, timeout=60)
    assert b"plain execution: standard input, output or error is closed" in done.stdout
    assert done.returncode == 1


def test_a_stale_socket_is_replaced(run: Run) -> None:
    run("worker.py")
    template = run.template()
    os.kill(template, signal.SIGKILL)
    wait_gone(template)
    assert [path for path in run.state.iterdir() if path.is_socket()]
    assert run.way("worker.py").startswith("a new template")


def test_an_interpreter_without_the_package(run: Run) -> None:
    environment = {"PYTHONPATH": str(run.folder), "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1"}
    (run.folder / "vgi_fast.py").write_text("raise ImportError('another package')")
    done = run("--explain", "worker.py", env=environment)
    assert done.returncode == 1
    assert b"plain execution: the new template ended before it served" in done.stderr


def test_a_template_that_does_not_answer(run: Run) -> None:
    run("worker.py")
    template = run.template()
    os.kill(template, signal.SIGSTOP)
    hurried = {"VGI_FAST_RUN_TIMEOUT_S": "1"}
    assert run.way("worker.py", env=hurried) == "plain execution: the template did not answer within 1 s"
    # It takes no more, and what it missed is not served a second time when it wakes up.
    with run.client("worker.py") as client:
        os.kill(template, signal.SIGCONT)
        wait_gone(template)
        assert fact(client, "loaded_by == os.getpid()") is True
    assert run.way("worker.py") == "plain execution: the template did not answer within 1 s"


def test_leftovers_are_tidied_away(run: Run) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(run.state / "listening.sock"))
    listening.listen()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(run.state / "dead.sock"))
    with socket.socket(socket.AF_UNIX) as young:
        young.bind(str(run.state / "young.sock"))
    for name in ("old.plain", "new.plain", "old.id"):
        (run.state / name).write_text("x")
    for name in ("listening.sock", "dead.sock", "old.plain", "old.id"):
        os.utime(run.state / name, (1, 1))
    run("worker.py")
    wait_until(lambda: not (run.state / "dead.sock").exists(), "the template to tidy up")
    listening.close()
    found = {path.name for path in run.state.iterdir()}
    assert {"listening.sock", "young.sock", "new.plain", "lock"} <= found
    assert not {"dead.sock", "old.plain", "old.id"} & found
    for name in ("listening.sock", "young.sock"):
        (run.state / name).unlink()


def test_usage(run: Run) -> None:
    assert run("--version").stdout.startswith(b"vgi-fast-run 0")
    assert run("--help").stdout.startswith(b"Usage: vgi-fast-run")
    assert run().returncode == 2
    assert run("--no-such-option", "worker.py").returncode == 2
    assert run("missing.py").returncode == 127
    assert run("missing.py:worker").returncode == 127
    assert run("no_such_module:worker").returncode == 2
    assert run("worker.py", env={"VGI_FAST_PYTHON": "/no/python"}).returncode == 127
    assert run("--", "worker.py").returncode == 0


# -- strangers ----------------------------------------------------------------------------------


def connected(run: Run) -> socket.socket:
    (path,) = [path for path in run.state.iterdir() if path.is_socket()]
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(PATIENCE_S)
    peer.connect(str(path))
    return peer


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"VGFR" + b"\xff" * 8,
        b"VGFR" + bytes(8) + b"more than announced",
        b"VGFR" + (100).to_bytes(4, sys.byteorder) + bytes(4) + b"x" * 100,
    ],
)
def test_hostile_bytes(run: Run, data: bytes) -> None:
    run("worker.py")
    with connected(run) as peer:
        peer.sendall(data)
        assert peer.recv(100)[:1] in (b"", b"P")
    with run.client("worker.py") as client:
        assert fact(client, "loaded_by") == run.template()


def test_requests_with_wrong_descriptors_or_identity(run: Run) -> None:
    run("worker.py")
    template = run.template()
    null = os.open(os.devnull, os.O_RDWR)
    identity = identity_of(run)
    request = b"VGFR" + len(identity).to_bytes(4, sys.byteorder) + bytes(4) + identity
    for count in (0, 1, 3, 5, 200):
        with connected(run) as peer:
            peer.sendall(request)
            assert peer.recv(100)[:1] == b"A"
            passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [null] * count))]
            peer.sendmsg([b"\0"], passed if count else [])
            assert peer.recv(100) == b""
    for early in (request, b"VGFR" + bytes(8)):
        with connected(run) as peer:
            peer.sendmsg([early], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [null] * 4))])
            assert peer.recv(100)[:1] == (b"A" if early is request else b"P")
    os.close(null)
    with connected(run) as peer:
        peer.sendall(request)
        assert peer.recv(100)[:1] == b"A"
    with connected(run) as unfinished, connected(run) as silent:
        unfinished.send(b"VG")
        with run.client("worker.py") as client:
            assert fact(client, "loaded_by") == template
        for peer in (unfinished, silent):  # after a while they are dropped
            assert peer.recv(1) == b""
    run("worker.py")
    # Three standard ones, the listener, and what signals arrive on.
    wait_until(lambda: len(os.listdir(f"/proc/{template}/fd")) == 6, "nothing to be left open")


def identity_of(run: Run) -> bytes:
    """What the program sends: read from one that finds a listener in the place of its template."""
    template = run.template()
    (path,) = [path for path in run.state.iterdir() if path.is_socket()]
    path.rename(run.state / "aside")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with run.popen("worker.py") as process:
            listener.settimeout(PATIENCE_S)
            peer, _ = listener.accept()
            data = b""
            while len(data) < 12 or len(data) < 12 + sum(array("I", data[4:12])):
                data += peer.recv(1 << 16)
            peer.close()
            process.kill()
    (run.state / "aside").rename(path)
    assert run.template() == template
    return data[12 : 12 + array("I", data[4:8])[0]]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_other_users_are_refused_even_if_they_get_at_the_socket(run: Run) -> None:
    run("worker.py")
    (path,) = [path for path in run.state.iterdir() if path.is_socket()]
    assert as_another_user(path) == "PermissionError"
    run.state.chmod(0o755)
    path.chmod(0o666)
    try:
        assert as_another_user(path) == "b''"
    finally:
        run.state.chmod(0o700)


def as_another_user(path: Path) -> str:
    """What a connection comes to."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(path))
                answer = repr(peer.recv(10))
        except OSError as error:
            answer = type(error).__name__
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as answers:
        said = answers.read()
    os.waitpid(child, 0)
    return said


def test_files_are_private(run: Run) -> None:
    run("worker.py")
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in run.state.iterdir())


# -- deaths -------------------------------------------------------------------------------------


def test_death_of_the_program_ends_the_worker(run: Run) -> None:
    with run.waiting("worker.py") as (process, child):
        process.kill()
        wait_gone(child)
    assert run.fact("loaded_by") == run.template()


def test_death_of_the_program_ends_a_worker_that_does_not_want_to(run: Run) -> None:
    run.write(FACTS.replace("if __name__", "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nif __name__"))
    with run.waiting("worker.py") as (process, child):
        process.kill()
        wait_gone(child)


def test_death_of_the_template_is_an_error_of_the_program(run: Run) -> None:
    with run.waiting("worker.py") as (process, child):
        os.kill(run.template(), signal.SIGKILL)
        assert process.wait(PATIENCE_S) == 125
        assert process.stderr is not None
        assert b"the template process ended" in process.stderr.read()
        wait_gone(child)
    assert run.way("worker.py").startswith("a new template")


def test_the_end_of_the_template_ends_its_children(run: Run) -> None:
    with run.waiting("worker.py") as (process, child):
        os.kill(run.template(), signal.SIGTERM)
        assert process.wait(PATIENCE_S) == -signal.SIGTERM
        wait_gone(child)
    wait_until(lambda: not run.processes(), "the end of the template")


def test_death_of_the_worker_under_a_client(run: Run) -> None:
    client = run.client("worker.py")
    pid = fact(client, "os.getpid()")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(TransportError, match="killed by signal 9"):
        client.catalogs()
    assert client.close() == -signal.SIGKILL


def test_death_of_the_first_program_while_the_worker_loads(run: Run) -> None:
    """Another one that waits is served."""
    (run.folder / "gate").mkdir()
    run.write(FACTS.replace("loaded_by", "os.mkdir('begun')\nwhile not os.path.exists('go'): pass\nloaded_by", 1))
    with run.popen("worker.py") as first:
        wait_until((run.folder / "begun").exists, "the load to begin")
        with run.popen("--explain", "worker.py") as second:
            first.kill()
            first.wait(PATIENCE_S)
            assert first.stdout is not None
            assert first.stdout.read() == b""  # the process that loads the worker does not hold it
            (run.folder / "go").touch()
            _, errors = second.communicate(timeout=PATIENCE_S)
    assert b"a warm template serves" in errors
    assert len(run.templates()) == 1


def test_death_of_the_template_while_it_loads(run: Run, tmp_path: Path) -> None:
    run.write(
        FACTS.replace(
            "loaded_by",
            "if not os.path.exists('second'):\n    os.mkdir('second'); os.kill(os.getpid(), 9)\nloaded_by",
            1,
        )
    )
    assert "plain execution: the new template ended before it served" in run.way("worker.py")
    assert run.way("worker.py").startswith("a new template")
