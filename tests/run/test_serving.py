"""What a worker that is served out of a template has in common with one that was started plainly."""

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.fix_run import FACTS, PATIENCE_S, Run, fact, wait_gone, wait_until
from tests.fix_worker import WORKERS, ServedChannel
from vgi_fast.client import Client
from vgi_fast.errors import TransportError


def test_the_second_use_is_warm(run: Run) -> None:
    assert run.way("worker.py").startswith("a new template serves")
    assert run.way("worker.py").startswith("a warm template serves")
    with run.client("worker.py") as client:
        assert client.attach().scalar("double", {"x": [1, None, 3]}).to_pylist() == [2, None, 6]
        assert fact(client, "loaded_by") == run.template()
    assert client.exit_status == 0


def test_under_a_shell_as_duckdb_does_it(run: Run) -> None:
    for _ in range(2):
        command = f"{shlex.quote(run.program)} {shlex.quote(str(run.folder / 'worker.py'))}"
        with Client(command, env=run.environment, timeout_s=PATIENCE_S) as client:
            assert client.attach().scalar("double", {"x": [4]}).to_pylist() == [8]
        assert client.exit_status == 0


def test_a_worker_with_everything(run: Run) -> None:
    with run.client(str(WORKERS / "basic.py")) as client:
        catalog = client.attach()
        assert catalog.scalar("power", {"base": [2, 3]}, [3]).to_pylist() == [8, 27]
        assert len(catalog.table("numbers", 1000).read_all()) == 1000
    assert client.exit_status == 0


@pytest.mark.parametrize("way", [(), ("--no-template",)])
def test_what_is_handed_over(run: Run, way: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    target = str(tmp_path / "worker.py")
    arguments = [*way, target, "--quiet", "--log-format", "json"]
    mask = os.umask(0o027)
    try:
        for term in ("vt100", "xterm"):  # varies from shell to shell, so the template does not depend on it
            with run.client(*arguments, cwd=folder, env={"TERM": term, "MINE": "é\udcff"}) as client:
                assert fact(client, "os.getcwd()") == str(folder)
                assert fact(client, "sys.argv") == [target, "--quiet", "--log-format", "json"]
                assert fact(client, "os.environ['TERM']") == term
                assert fact(client, "os.popen('echo $TERM').read()") == f"{term}\n"
                assert fact(client, "os.environ['MINE']") == "é\udcff"
                assert fact(client, "(os.umask(0o77), os.umask(0o27))[0]") == 0o27
                assert fact(client, "__name__, __file__") == ("__main__", target)
                assert fact(client, "sys.path[0]") == str(tmp_path)
    finally:
        os.umask(mask)
    assert len(run.templates()) == (0 if way else 1)


def test_variables_that_the_template_had_and_a_later_use_has_not(run: Run) -> None:
    assert run.fact("os.environ.get('STY')", env={"STY": "1"}) == "1"
    assert run.fact("os.environ.get('STY'), loaded_by != os.getpid()") == (None, True)
    assert len(run.templates()) == 1


@pytest.mark.parametrize("changed", ["environment", "folder", "arguments", "limits", "file"])
def test_what_makes_another_template(run: Run, changed: str) -> None:
    arguments = ["worker.py"]
    options: dict[str, object] = {}
    first = run.fact("loaded_by", *arguments)
    if changed == "environment":
        options["env"] = {"MODEL": "large"}
    elif changed == "folder":
        (run.folder / "below").mkdir()
        options["cwd"], arguments = run.folder / "below", ["../worker.py"]
    elif changed == "arguments":
        arguments.append("--quiet")
    elif changed == "file":
        os.utime(run.folder / "worker.py", (1, 1))
    if changed == "limits":
        command = f"ulimit -n 300; {run.program} worker.py"
        with Client(command, env=run.environment, cwd=run.folder, timeout_s=PATIENCE_S) as client:
            second = fact(client, "loaded_by")
    else:
        second = run.fact("loaded_by", *arguments, **options)
    assert second != first


def test_standard_streams_are_the_callers(run: Run) -> None:
    run("worker.py")
    with run.client("worker.py") as client:
        client.attach()
        assert fact(client, "print('said', file=sys.stderr, flush=True)") is None
        assert fact(client, "os.system('echo a child says; cat')") == 0
    assert set(client.connection.channel.stderr_tail().splitlines()) == {"said", "a child says"}
    done = run("worker.py", data=b"garbage " * 10)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout


def test_the_end_of_the_input_ends_it(run: Run) -> None:
    with run.waiting("worker.py") as (process, child):
        assert process.stdin is not None
        process.stdin.close()
        wait_gone(child)
        assert process.wait(PATIENCE_S) == 0


def test_nothing_else_keeps_the_pipes_open(run: Run) -> None:
    """The end of a child is the end of its output, and the closing of its output is noticed by it."""
    with run.waiting("worker.py") as (process, child):
        assert process.stdout is not None
        os.kill(child, signal.SIGKILL)
        assert process.stdout.read() == b""
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_first_uses_at_once_start_one_template(run: Run) -> None:
    clients = [run.client("worker.py") for _ in range(20)]
    assert {fact(client, "loaded_by") for client in clients} == {run.template()}
    assert len({fact(client, "os.getpid()") for client in clients}) == 20


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from vgi_fast import Worker\nworker = Worker('w', comment='x')", ["w"]),
        ("from vgi_fast import Worker\nWorker('w', comment='x').run()", ["w"]),
        ("from vgi_fast import Worker\ndef main():\n    Worker('w', comment='x').run([])\nmain()", ["w"]),
        ("from vgi_fast import Worker\nmine = Worker('w', comment='x')\nif __name__ != '__main__':\n  exit(1)", ["w"]),
    ],
)
@pytest.mark.parametrize("way", ["--template", "--no-template"])
def test_programs_of_all_styles(run: Run, source: str, names: list[str], way: str) -> None:
    run.write(source)
    for _ in range(2):
        with run.client(way, "worker.py") as client:
            assert [info["name"] for info in client.catalogs()] == names
        assert client.exit_status == 0


@pytest.mark.parametrize("target", ["facts_module:worker", "facts_module", "worker.py:worker", "pkg.inner:worker"])
@pytest.mark.parametrize("way", ["--template", "--no-template"])
def test_modules_and_attributes(run: Run, target: str, way: str) -> None:
    run.write(name="facts_module.py")
    (run.folder / "pkg").mkdir()
    run.write("from facts_module import worker", "pkg/inner.py")
    for _ in range(2):
        with run.client(way, target) as client:
            assert client.attach().scalar("double", {"x": [4]}).to_pylist() == [8]
            assert client.call("catalog_catalogs")
    assert len(run.templates()) == (way == "--template")


def test_exit_status(run: Run) -> None:
    for way in ("--no-template", "--template", "--template"):
        done = run(way, "worker.py", "--nope")
        assert done.returncode == 2
        assert b"unrecognized arguments: --nope" in done.stderr
        with run.client(way, "worker.py") as client, pytest.raises(TransportError, match="exited with status 7"):
            fact(client, "sys.exit(7)")
        assert client.exit_status == 7


SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM]


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_to_the_program_reach_the_worker(run: Run, number: signal.Signals) -> None:
    with run.waiting("worker.py") as (process, child):
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == (130 if number == signal.SIGINT else -number)
        wait_gone(child)
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize("number", [*SIGNALS, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_the_program_ends_by_the_workers_signal(run: Run, number: signal.Signals) -> None:
    with run.waiting("worker.py") as (process, child):
        os.kill(child, number)
        assert process.wait(PATIENCE_S) == (130 if number == signal.SIGINT else -number)


def test_ignored_and_handled_signals(run: Run) -> None:
    run.write(
        FACTS.replace(
            "if __name__", "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: os._exit(9))\nif __name__"
        )
    )
    ignoring = ["sh", "-c", 'trap "" HUP; exec "$0" "$@"', run.program, "--explain", "worker.py"]
    with subprocess.Popen(
        ignoring, cwd=run.folder, env=run.environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        child = int(process.stderr.readline().split()[-1])
        os.kill(child, signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(PATIENCE_S) == 9


def test_sockets(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in run.environment.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        channel = ServedChannel(run.command(str(tmp_path / "worker.py")), "--unix", str(tmp_path / "s"))
        with Client(channel, timeout_s=PATIENCE_S) as client:
            assert client.attach().scalar("double", {"x": [4]}).to_pylist() == [8]
        assert client.exit_status == 0
        assert not (tmp_path / "s").exists()
    with Client(ServedChannel(run.command(str(tmp_path / "worker.py")), "--tcp", "0"), timeout_s=PATIENCE_S) as client:
        assert client.attach().scalar("double", {"x": [4]}).to_pylist() == [8]


def test_an_interrupted_socket_worker_removes_its_socket(run: Run, tmp_path: Path) -> None:
    with run.waiting("worker.py", "--unix", str(tmp_path / "s")) as (process, child):
        assert process.stdout is not None
        assert process.stdout.readline() == f"UNIX:{tmp_path}/s\n".encode()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
        wait_gone(child)
    assert not (tmp_path / "s").exists()


PRELOADING = """
import os, random
from vgi_fast import Worker
worker = Worker("facts")
token = None

@worker.preload
def load():
    global token
    assert token is None
    token = random.getrandbits(64)

@worker.table(columns="fact: utf8")
def facts(expression: str):
    yield [repr(eval(expression))]

worker.run()
"""


def test_preloaded_things_are_shared(run: Run) -> None:
    run.write(PRELOADING)
    tokens = [run.fact("token, os.getpid()") for _ in range(3)]
    assert len({token for token, _ in tokens}) == 1
    assert len({pid for _, pid in tokens}) == 3
    assert run.fact("token", "--no-template", "worker.py") not in (None, tokens[0][0])


RANDOM = """
import random, json
import numpy as np
from vgi_fast import Worker
worker = Worker("facts")
own = np.random.default_rng()
seeded = np.random.default_rng(42)

@worker.table(columns="fact: utf8")
def facts(expression: str):
    yield [repr(eval(expression))]

worker.run()
"""


def test_random_states_differ_unless_they_were_chosen(run: Run) -> None:
    run.write(RANDOM)
    expression = "[random.random(), float(np.random.rand()), own.random(), seeded.random()]"
    first, second, third = (run.fact(expression) for _ in range(3))
    for one, other, another in list(zip(first, second, third, strict=True))[:3]:
        assert len({one, other, another}) == 3
    assert first[3] == second[3] == third[3]
    run.write(RANDOM.replace("own =", "np.random.seed(1)\nown ="))
    assert run.fact("float(np.random.rand())") == run.fact("float(np.random.rand())")


EXITING = """
import atexit, os, tempfile, sys
from vgi_fast import Worker
worker = Worker("facts")
folder = tempfile.TemporaryDirectory()
atexit.register(lambda: print("loaded", file=sys.stderr, flush=True))

@worker.table(columns="fact: utf8")
def facts(expression: str):
    atexit.register(lambda: print("called", file=sys.stderr, flush=True))
    yield [repr(eval(expression))]

with tempfile.TemporaryDirectory() as other:
    worker.run()
"""


def test_exit_handlers_belong_to_the_process_that_registered_them(run: Run) -> None:
    run.write(EXITING)
    paths: tuple[str, str] = ("", "")
    for _ in range(3):
        with run.client("worker.py") as client:
            paths, exist = fact(client, "(folder.name, other), os.path.isdir(folder.name) and os.path.isdir(other)")
            assert exist
        assert client.connection.channel.stderr_tail() == "called"
    template = run.template()
    os.kill(template, signal.SIGTERM)
    wait_gone(template)
    assert not any(map(os.path.exists, paths))


def test_descriptors_do_not_leak(run: Run) -> None:
    def opened(pid: int) -> list[str]:
        return os.listdir(f"/proc/{pid}/fd")

    plain = run.fact("sorted(os.listdir('/proc/self/fd'))", "--no-template", "worker.py")
    assert run.fact("sorted(os.listdir('/proc/self/fd'))") == plain
    with run.client("worker.py"), run.client("worker.py") as client:
        assert len(fact(client, "os.listdir('/proc/self/fd')")) == len(plain)
    for _ in range(10):
        run("worker.py")
    wait_until(lambda: len(opened(run.template())) == 6, "nothing to be left open")


def test_descriptors_of_the_caller_stay_out_of_the_template(run: Run) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    with run.waiting("worker.py", close_fds=False) as (process, _):
        os.close(write)
        process.kill()
        process.wait(PATIENCE_S)
    assert os.read(read, 1) == b""  # nobody has it any more
    os.close(read)
    assert run.templates()


def test_unused_templates_leave(run: Run) -> None:
    run.environment["VGI_FAST_TEMPLATE_IDLE_S"] = "0.05"
    assert run.way("worker.py").startswith("a new template")
    wait_until(lambda: not run.processes(), "the end of the template")
    assert not [path for path in run.state.iterdir() if path.is_socket()]
    with run.client("worker.py") as client:
        assert fact(client, "loaded_by") in run.templates()


def test_templates_load_what_functions_need_and_no_more(run: Run) -> None:
    assert run.fact("'numpy' in sys.modules, 'pyarrow' in sys.modules") == (True, False)
    assert run.fact("'numpy' in sys.modules, 'pyarrow' in sys.modules", "--no-template", "worker.py") == (False, False)
    text = "import pyarrow as pa\n" + FACTS.replace("x: Int64", "x: pa.Int64Array").replace("x * 2", "pa.array([1])")
    run.write(text)
    assert run.fact("'pyarrow' in sys.modules") is True


def test_plain_execution_imports_no_more_than_python_would(run: Run) -> None:
    run.write("import sys\n" + FACTS.replace("import json, os, random, sys", "import os"))
    others = {"argparse", "click", "socket", "subprocess", "vgi_fast.run.template"}
    assert not others & set(run.fact("list(sys.modules)", "--no-template", "worker.py"))
