"""A worker as a process: its standard streams, command line, exit codes and start."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.fix_memory import encode_arguments, read_streams, request, tick_stream
from vgi_fast.wire import records

SOURCE = """
    import os, sys
    from vgi_fast import Int64, Worker

    worker = Worker("demo")
    print("a banner")

    @worker.table(columns="n: int64")
    def noisy():
        print("printed by the author")
        os.system("echo printed by a child; cat")
        assert sys.stdin.read() == ""
        yield [1]

    @worker.table(columns="n: int64")
    def leaves():
        raise SystemExit(7)
        yield

    if __name__ == "__main__":
        worker.run()
"""


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    path = tmp_path / "worker.py"
    path.write_text(dedent(SOURCE).replace('print("a banner")\n', ""), encoding="utf-8")
    return [sys.executable, "-W", "error", str(path)]


def run(command: list[str], data: bytes, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        command, input=data, capture_output=True, timeout=60, check=False, env={**os.environ, **environment}
    )


def init_request(function: str) -> bytes:
    from vgi_fast import Schema

    bind_call = records.BIND_REQUEST.encode(
        {"function_name": function, "function_type": "TABLE", "arguments": encode_arguments([], [], {})}
    )
    row = {"bind_call": bind_call, "output_schema": Schema.of("n: int64").serialize()}
    return request("init", {"request": records.INIT_REQUEST.encode(row)})


def test_standard_output_belongs_to_the_protocol(program: list[str]) -> None:
    done = run(program, init_request("noisy") + tick_stream(2) + request("catalog_catalogs"))
    _, output, listing = read_streams(done.stdout)
    assert output.checked().rows() == {"n": [1]}
    assert listing.error is None
    assert sorted(done.stderr.decode().splitlines()) == ["printed by a child", "printed by the author"]
    assert done.returncode == 0


@pytest.mark.parametrize("data", [b"", b"garbage " * 4, request("catalog_catalogs")[:-20]])
def test_the_end_of_the_input_is_a_normal_end(program: list[str], data: bytes) -> None:
    done = run(program, data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(read_streams(done.stdout)) == bool(data)


def test_a_closed_output_is_a_quiet_end(program: list[str]) -> None:
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(request("catalog_catalogs") * 3)
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


@pytest.mark.parametrize(("signal_number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_signals(program: list[str], signal_number: int, status: int) -> None:
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(request("__transport_options__"))
        process.stdin.flush()
        process.stdout.read(1)  # it serves
        process.send_signal(signal_number)
        assert process.wait(60) == status
        assert process.stderr.read() == b""


def test_leaving_from_within_a_function(program: list[str]) -> None:
    assert run(program, init_request("leaves") + tick_stream(1)).returncode == 7


@pytest.mark.parametrize(
    ("flags", "status", "text"),
    [
        (["--quiet", "--idle-timeout", "300.0", "--log-format", "json", "--threaded", "--describe"], 0, ""),
        (["--access-log", "/nowhere", "--http-threads", "4", "-q"], 0, ""),
        (["--debug"], 0, "worker_starting"),
        (["--log-level", "INFO", "--log-format", "json"], 0, '"message": "VgiProtocol.catalog_catalogs ok"'),
        (["--debug", "--log-logger", "vgi_rpc"], 0, "catalog_catalogs ok"),
        (["--http"], 2, "--http is not supported"),
        (["--unix", "a", "--http"], 2, "not allowed with argument"),
        (["--nope"], 2, "unrecognized arguments: --nope"),
        (["positional"], 2, "unrecognized arguments: positional"),
        (["--log-level", "LOUD"], 2, "invalid choice: 'LOUD'"),
    ],
)
def test_command_line(program: list[str], flags: list[str], status: int, text: str) -> None:
    done = run([*program, *flags], request("catalog_catalogs"))
    assert done.returncode == status
    assert text in done.stderr.decode()
    assert bool(text) == bool(done.stderr)
    assert bool(done.stdout) == (status == 0)


def test_environment(program: list[str]) -> None:
    assert b"worker_starting" in run(program, b"", VGI_WORKER_DEBUG="1").stderr
    assert run(program, b"", VGI_WORKER_LOG_LEVEL="info").stderr.count(b"\n") == 1
    assert run(program, b"", VGI_RPC_IPC_VALIDATION="Full").stderr == b""
    assert b"unknown VGI_RPC_IPC_VALIDATION 'most'" in run(program, b"", VGI_RPC_IPC_VALIDATION="most").stderr
    refused = run(program, b"", VGI_WORKER_LOG_LEVEL="LOUD")
    assert refused.returncode == 1
    assert b"VGI_WORKER_LOG_LEVEL=LOUD" in refused.stderr


def test_describe_is_enabled_by_its_flag(program: list[str]) -> None:
    data = request("__describe__")
    assert read_streams(run(program, data).stdout)[0].error is not None
    (answer,) = read_streams(run([*program, "--describe"], data).stdout)
    assert answer.checked().batches[0][0].num_rows == 70


AVOIDED = (
    "argparse",
    "asyncio",
    "dataclasses",
    "inspect",
    "json",
    "logging",
    "numpy",
    "pyarrow",
    "socket",
    "subprocess",
    "traceback",
    "uuid",
)


def test_starting_imports_nothing_that_serving_does_not_need(tmp_path: Path) -> None:
    """Each spawned worker pays for what is imported."""
    path = tmp_path / "start.py"
    path.write_text(
        dedent(f"""
        import sys
        before = set(sys.modules)
        from vgi_fast import Const, Int64, Worker
        import vgi_fast.transports.stdio
        worker = Worker("demo")

        @worker.scalar
        def power(x: Int64, n: Const[int]) -> Int64:
            return x**n

        @worker.table(columns="n: int64")
        def numbers(count: int, *, step: int = 1):
            yield range(0, count, step)

        worker.service()
        print(sorted(set({AVOIDED!r}) & (set(sys.modules) - before)))
        """),
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, "-I", str(path)], capture_output=True, timeout=60, check=True)
    assert done.stdout.decode().strip() == "[]"
