"""Functions over tables under live workers: both phases of table-in-out, the three of buffering, and killed workers."""

import os
import signal
from pathlib import Path

import pyarrow as pa
import pytest

from tests.fix_worker import Workers
from vgi_fast.client import Client
from vgi_fast.client.calls import Bound, Buffering
from vgi_fast.client.values import as_batches
from vgi_fast.errors import RemoteError, TransportError

WORKER = """
    import os, time
    from collections.abc import Iterator
    from typing import Any
    from vgi_fast import RecordBatch, TableBufferingFunction, TableInput, Worker
    from vgi_fast.formats import arrow_ipc

    worker = Worker("tables", functions=arrow_ipc.FUNCTIONS)

    @worker.table_in_out(projection_pushdown=True)
    def echo(data: TableInput) -> TableInput:
        return data

    @worker.table_in_out(columns={"total": "int64"}, max_workers=1)
    def total(batches: Iterator[RecordBatch]) -> Iterator[Any]:
        found = 0
        for batch in batches:
            found += sum(batch.column(0))
            yield None
        yield {"total": [found]}

    class Collect(TableBufferingFunction[None]):
        "Gives the table when all of it was read"

    worker.add(Collect)
    worker.run()
"""
ROWS = 10_000


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VGI_FAST_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state" / "run"


def numbers(rows: int = ROWS) -> pa.Table:
    return pa.table({"n": pa.array(range(rows)), "text": pa.array([str(row) for row in range(rows)])})


def bind(client: Client, name: str, table: pa.Table) -> Bound:
    return client.attach().bind_table(name, input=table)


def test_both_phases_of_table_in_out(worker: Workers) -> None:
    catalog = worker(WORKER).attach()
    assert catalog.table("echo", input=numbers()).read_all().equals(numbers())
    assert catalog.table("echo", input=numbers(), projection=["text"]).read_all().equals(numbers().select(["text"]))
    assert catalog.table("total", input=numbers()).read_all().to_pydict() == {"total": [sum(range(ROWS))]}
    assert catalog.table("total", input=numbers(0)).read_all().to_pydict() == {"total": [0]}


def test_buffering(worker: Workers, state: Path) -> None:
    catalog = worker(WORKER).attach()
    for _ in range(2):
        assert catalog.table("collect", input=numbers()).read_all().equals(numbers())
    assert catalog.table("collect", input=numbers(), projection=["text"]).read_all().equals(numbers().select(["text"]))
    assert list(state.iterdir()) == []


@pytest.mark.transports("stdio")
def test_each_phase_in_another_process(worker: Workers, state: Path) -> None:
    table = numbers()
    first, second, third, last = [worker(WORKER) for _ in range(4)]
    sinks = [Buffering(bind(first, "collect", table))]
    sinks.append(Buffering(bind(second, "collect", table), execution_id=sinks[0].execution_id))
    states = [
        sinks[number % 2].process(batch) for number, batch in enumerate(as_batches(table, sinks[0].input_schema, 1000))
    ]
    ids = sinks[1].combine(states[-2:])
    assert len(ids) == 2
    rows: list[int] = []
    for client, finalize_state_id in zip((third, last), ids, strict=True):
        source = bind(client, "collect", table)
        stream = source.init(
            phase="TABLE_BUFFERING_FINALIZE",
            execution_id=sinks[0].execution_id,
            finalize_state_id=finalize_state_id,
        )
        rows += [value for batch in stream.batches() for value in batch.column("n").to_pylist()]
    assert sorted(rows) == list(range(ROWS))
    assert list(state.iterdir())
    sinks[0].destroy()
    assert list(state.iterdir()) == []


def pid_of(client: Client) -> int:
    pid: int = client.connection.channel.pid  # type: ignore[attr-defined]
    return pid


@pytest.mark.transports("stdio")
@pytest.mark.parametrize("phase", ["process", "combine", "source"])
def test_killed_workers(worker: Workers, state: Path, phase: str) -> None:
    """Everything or a clear error, and no files once somebody has sent the destructor."""
    table = numbers()
    victim, other = worker.may_fail(worker(WORKER)), worker(WORKER)
    doomed, sink = Buffering(bind(victim, "collect", table)), None
    sink = Buffering(bind(other, "collect", table), execution_id=doomed.execution_id)
    batches = list(as_batches(table, doomed.input_schema, 1000))
    for batch in batches[:5]:
        doomed.process(batch)
    for batch in batches[5:]:
        sink.process(batch)
    if phase == "source":
        ids = doomed.combine()
        stream = doomed.source(ids[0])
        next(stream)
    os.kill(pid_of(victim), signal.SIGKILL)
    with pytest.raises((TransportError, RemoteError), match="killed by signal|SIGKILL|hung up|Broken pipe"):
        if phase == "process":
            for _ in range(3):
                doomed.process(batches[0])
        elif phase == "combine":
            doomed.combine()
        else:
            list(stream)
    if phase != "process":  # what was processed is complete: another process may go on with it
        ids = sink.combine()
        rows = [value for one in ids for batch in sink.source(one) for value in batch.column("n").to_pylist()]
        assert sorted(rows) == list(range(ROWS))
    sink.destroy()
    assert list(state.iterdir()) == []


def test_an_ended_worker_holds_nothing(worker: Workers, state: Path) -> None:
    """The sink's file is not kept open by a worker that is waiting."""
    client = worker(WORKER)
    sink = Buffering(bind(client, "collect", numbers(10)))
    for batch in as_batches(numbers(10), sink.input_schema, 5):
        sink.process(batch)
    client.transport_options()
    assert sum(batch.num_rows for one in sink.combine() for batch in sink.source(one)) == 10
    sink.destroy()
    assert list(state.iterdir()) == []


def test_arrow_files(worker: Workers, tmp_path: Path, state: Path) -> None:
    client = worker(WORKER)
    catalog = client.attach()
    (format_info,) = catalog.call("catalog_copy_from_formats")
    assert (format_info["format_name"], format_info["direction"]) == ("arrow", "both")
    path = str(tmp_path / "x.arrow")
    table = numbers()
    bound = catalog.bind_copy("arrow_file", path, columns=table.schema, direction="to")
    with Buffering(bound) as writer:
        for batch in as_batches(table, bound.input_schema, 2048):  # type: ignore[arg-type]
            writer.process(batch)
        assert writer.combine() == []
    assert pa.ipc.open_file(path).read_all().equals(table)
    reading = catalog.bind_copy("arrow_file", path, columns=table.schema, direction="from")
    batches = [batch.to_arrow() for batch in reading.init().batches()]
    assert pa.Table.from_batches(batches).equals(table)
