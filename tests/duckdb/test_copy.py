"""COPY that fails on its way, from several threads and in order: the destination is whole, or as it was."""

import os
import shlex
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.duckdb.conftest import Sql, quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

duckdb = pytest.importorskip("duckdb")

WORKER: Final = """
import os, resource
from collections.abc import Iterator
from typing import Annotated, NamedTuple
from vgi_fast import Arg, BufferingParams, CopyToFunction, RecordBatch, Schema, Worker, replacing
from vgi_fast.formats import arrow_ipc

worker = Worker("copies", functions=arrow_ipc.FUNCTIONS)

def put(path, batches, fail_at=-1):
    with replacing(path) as name, open(name, "w") as file:
        for batch in batches:
            for n in batch.column(0):
                if n == fail_at:
                    file.flush()
                    raise ValueError(f"no {n} please")
                file.write(f"{n}\\n")

@worker.copy_to("ordered", sink_order_dependent=True)
def write_ordered(batches: Iterator[RecordBatch], path: str, *, fail_at: int = -1):
    put(path, batches, fail_at)

class Options(NamedTuple):
    fail_at: Annotated[int, Arg("fail_at")] = -1

class Sharded(CopyToFunction[Options]):
    "Any process takes any batch"

    COPY_TO_FORMAT = "sharded"

    @classmethod
    def write(cls, batch: RecordBatch, options: Options, file_path: str, params: BufferingParams[Options]) -> None:
        if options.fail_at in batch.column(0):
            raise ValueError(f"no {options.fail_at} please")
        params.keep(batch)

    @classmethod
    def close(cls, options: Options, file_path: str, params: BufferingParams[Options]) -> None:
        put(file_path, params.batches())

worker.add(Sharded)

@worker.copy_to("killed", sink_order_dependent=True)
def write_killed(batches: Iterator[RecordBatch], path: str):
    with replacing(path) as name, open(name, "w") as file:
        file.write("half")
        file.flush()
        os.kill(os.getpid(), 9)

@worker.copy_to("stuffed", sink_order_dependent=True)
def write_stuffed(batches: Iterator[RecordBatch], path: str):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    try:
        put(path, batches)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

@worker.copy_from("broken")
def read_broken(path: str, schema: Schema):
    yield {schema.names[0]: [1, 2]}
    raise ValueError("the rest cannot be read")

worker.run()
"""
ROWS: Final = 200_000
FORMATS: Final = ("ordered", "sharded")


@pytest.fixture(params=["", ", pool false"])
def copies(sql: Sql, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Sql]:
    script = tmp_path / "worker.py"
    script.write_text(WORKER, encoding="utf-8")
    location = quoted(shlex.join([sys.executable, "-W", "error", str(script)]))
    sql(f"ATTACH 'copies' AS c (TYPE vgi, LOCATION {location}{request.param})")
    sql("SET threads = 4")
    sql(f"CREATE OR REPLACE TEMP TABLE numbers AS SELECT range AS n FROM range({ROWS})")
    try:
        yield sql
    finally:
        sql("RESET threads")
        sql("DETACH c")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file in a directory of its own."""
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "numbers.txt"
    path.write_text("as it was")
    return path


def numbers_in(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("temporary", ["", ", use_tmp_file true", ", use_tmp_file false"])
def test_writers(copies: Sql, target: Path, format: str, temporary: str) -> None:
    assert copies(f"COPY numbers TO '{target}' (FORMAT 'c.{format}'{temporary})") == [(ROWS,)]
    found = numbers_in(target)
    assert (found if format == "ordered" else sorted(found)) == list(range(ROWS))
    assert copies(f"COPY (FROM numbers LIMIT 0) TO '{target}' (FORMAT 'c.{format}'{temporary})") == [(0,)]
    assert target.read_text() == ""
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("row", [0, ROWS - 1])
def test_an_error_leaves_the_destination(copies: Sql, target: Path, format: str, row: int) -> None:
    for _ in range(2):
        with pytest.raises(duckdb.Error, match=f"no {row} please"):
            copies(f"COPY numbers TO '{target}' (FORMAT 'c.{format}', fail_at {row})")
        assert target.read_text() == "as it was"
        assert os.listdir(target.parent) == [target.name]
    copies(f"COPY numbers TO '{target}' (FORMAT 'c.{format}')")
    assert len(numbers_in(target)) == ROWS


def test_no_room_for_the_destination(copies: Sql, target: Path) -> None:
    with pytest.raises(duckdb.Error, match="File too large"):
        copies(f"COPY numbers TO '{target}' (FORMAT 'c.stuffed')")
    assert target.read_text() == "as it was"
    assert os.listdir(target.parent) == [target.name]
    copies(f"COPY numbers TO '{target}' (FORMAT 'c.ordered')")


def test_a_killed_writer_leaves_the_destination(copies: Sql, target: Path) -> None:
    with pytest.raises(duckdb.Error, match="EOF|exited|closed|died"):
        copies(f"COPY numbers TO '{target}' (FORMAT 'c.killed')")
    assert target.read_text() == "as it was"
    copies(f"COPY numbers TO '{target}' (FORMAT 'c.ordered')")
    assert numbers_in(target) == list(range(ROWS))


def test_no_directory_for_the_destination(copies: Sql, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "numbers.txt"
    for format in (*FORMATS, "arrow"):
        with pytest.raises(duckdb.Error, match="No such file or directory"):
            copies(f"COPY numbers TO '{path}' (FORMAT 'c.{format}')")
    assert not path.parent.exists()


def test_a_reader_that_fails_inserts_nothing(copies: Sql, target: Path) -> None:
    copies("CREATE OR REPLACE TEMP TABLE taken (n BIGINT)")
    with pytest.raises(duckdb.Error, match="the rest cannot be read"):
        copies(f"COPY taken FROM '{target}' (FORMAT 'c.broken')")
    assert copies("SELECT count(*) FROM taken") == [(0,)]


def test_a_truncated_arrow_file(copies: Sql, target: Path) -> None:
    copies(f"COPY numbers TO '{target}' (FORMAT 'c.arrow', batch_rows 10000)")
    whole = target.read_bytes()
    copies("CREATE OR REPLACE TEMP TABLE taken (n BIGINT)")
    for size in (0, 7, len(whole) // 2, len(whole) - 1):
        target.write_bytes(whole[:size])
        with pytest.raises(duckdb.Error, match="is not an Arrow IPC file"):
            copies(f"COPY taken FROM '{target}' (FORMAT 'c.arrow')")
    copies(f"COPY numbers TO '{target}' (FORMAT 'c.arrow', batch_rows 10000, stream true)")
    whole = target.read_bytes()
    target.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(duckdb.Error, match="VGI Worker Exception"):
        copies(f"COPY taken FROM '{target}' (FORMAT 'c.arrow', stream true)")
    assert copies("SELECT count(*) FROM taken") == [(0,)]


def test_several_connections_copy_at_once(copies: Sql, connection: "DuckDBPyConnection", target: Path) -> None:
    """Onto the same destination: one of them wins, whole."""

    def copy(_: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"COPY (SELECT range AS n FROM range({ROWS})) TO '{target}' (FORMAT 'c.sharded')")

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(copy, range(3)))
    assert sorted(numbers_in(target)) == list(range(ROWS))
    assert os.listdir(target.parent) == [target.name]
