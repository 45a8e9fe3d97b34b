"""VGI_FAST_TRACE: where the time of each call goes."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.fix_worker import Workers
from vgi_fast.worker.trace import tracer_from

SOURCE = """
    import time
    from vgi_fast import Int64, Worker

    worker = Worker("demo")

    @worker.scalar
    def slow(x: Int64) -> Int64:
        time.sleep(0.01)
        return x + 1

    @worker.table(columns="n: int64")
    def three():
        for i in range(3):
            yield {"n": [i, i]}

    worker.run()
"""


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VGI_FAST_TRACE", str(tmp_path / "trace.{pid}.jsonl"))
    return tmp_path


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in folder.glob("trace.*.jsonl") for line in file.read_text("utf-8").splitlines()]


@pytest.mark.transports("stdio", "unix")
def test_an_entry_for_each_call(worker: Workers, trace: Path) -> None:
    client = worker(SOURCE)
    catalog = client.attach("demo")
    table = pa.table({"x": list(range(5000))})
    assert catalog.scalar("slow", table, batch_rows=1000).to_pylist() == list(range(1, 5001))
    assert catalog.table("three").read_all().num_rows == 6
    client.close()
    found = entries(trace)
    assert {"catalog_attach", "bind", "init"} <= {entry["method"] for entry in found}
    (scalar,) = (entry for entry in found if entry["function"] == "slow")
    assert scalar["batches"] == 5
    assert scalar["rows_in"] == scalar["rows_out"] == 5000
    assert scalar["ns"]["call"] >= 5 * 10_000_000
    assert scalar["writes"] >= 6
    assert scalar["bytes_in"] > 5000 * 8
    (table_entry,) = (entry for entry in found if entry["function"] == "three")
    assert table_entry["batches"] == 3
    assert table_entry["rows_out"] == 6


@pytest.mark.transports("shm")
def test_bytes_in_shared_memory_are_not_read(worker: Workers, trace: Path) -> None:
    client = worker(SOURCE)
    client.attach("demo").scalar("slow", pa.table({"x": list(range(5000))}), batch_rows=1000)
    client.close()
    (scalar,) = (entry for entry in entries(trace) if entry["function"] == "slow")
    assert scalar["rows_in"] == scalar["rows_out"] == 5000
    assert scalar["bytes_in"] < 5000 * 8


@pytest.mark.transports("stdio")
def test_lines_on_standard_error(worker: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGI_FAST_TRACE", "1")
    client = worker(SOURCE)
    client.attach("demo").table("three").read_all()
    client.close()
    text = client.connection.channel.stderr_tail()
    assert "init three: 3 batches" in text
    assert "us per batch: other" in text


@pytest.mark.transports("stdio")
def test_a_file_that_cannot_be_written_harms_nothing(worker: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGI_FAST_TRACE", "/nowhere/at/all")
    assert worker(SOURCE).attach("demo").table("three").read_all().num_rows == 6


@pytest.mark.parametrize("value", ["", "0", "no", "False"])
def test_off(value: str) -> None:
    assert tracer_from({"VGI_FAST_TRACE": value}) is None
