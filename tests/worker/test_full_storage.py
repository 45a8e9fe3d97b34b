"""State that finds no room, no permission or no directory: an error that says so, and a worker that goes on."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from vgi_fast.client import Client
from vgi_fast.client.catalog import Catalog
from vgi_fast.errors import RemoteError

LIMIT = 4 << 20
"""Bytes that a file may have; the states of groups begin with less."""

WORKER = """
import resource, sys
from vgi_fast import Int64, TableBufferingFunction, Worker

worker = Worker("filling")
worker.aggregate.from_block("total", "sum", "int64 -> int64", supports_window=True, streaming_partitioned=True)
worker.aggregate.from_block("joined", "string_agg", "utf8 -> utf8")

class Kept(TableBufferingFunction[None]):
    "Gives the table when all of it was read"

worker.add(Kept)

@worker.scalar
def double(x: Int64) -> Int64:
    return x * 2

if len(sys.argv) > 1:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
    sys.argv[1:] = []
worker.run()
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("VGI_FAST_STATE_DIR", str(folder))
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """A worker whose files may have so many bytes."""
    started: list[Client] = []
    (tmp_path / "worker.py").write_text(WORKER, encoding="utf-8")

    def begin(limit: int | None = None) -> Client:
        command = [sys.executable, "-W", "error", str(tmp_path / "worker.py")]
        started.append(Client([*command, *([] if limit is None else [str(limit)])], timeout_s=60))
        return started[-1]

    yield begin
    for client in started:
        client.close()


def sum_of(catalog: Catalog, groups: list[int], values: list[int]) -> Any:
    bound = catalog.open_aggregate("total", {"x": pa.int64()})
    bound.update(groups, {"x": pa.array(values, pa.int64())})
    found = bound.finalize(groups[:1]).to_pylist()
    bound.destroy()
    return found


def fill_groups(catalog: Catalog) -> None:
    ids = pa.array(range(500_000), pa.int64())
    catalog.open_aggregate("total", {"x": pa.int64()}).update(ids, {"x": ids})


def fill_texts(catalog: Catalog) -> None:
    joined = catalog.open_aggregate("joined", {"x": pa.string()})
    for _ in range(10):
        joined.update([0], {"x": ["x" * 1_000_000]})


def fill_partition(catalog: Catalog) -> None:
    bound = catalog.open_aggregate("total", {"x": pa.int64()})
    bound.window_init({"x": pa.array(range(1_000_000), pa.int64())})


def fill_spool(catalog: Catalog) -> None:
    table = pa.table({"n": pa.array(range(1_000_000), pa.int64())})
    catalog.table("kept", input=table, batch_rows=2048).read_all()


FILLERS = (fill_groups, fill_texts, fill_partition, fill_spool)


@pytest.mark.parametrize("fill", FILLERS)
def test_files_that_must_not_grow(start: Callable[..., Client], state: Path, fill: Callable[[Catalog], None]) -> None:
    catalog = start(LIMIT).attach("filling")
    for _ in range(2):
        with pytest.raises(RemoteError, match=r"(?s)StorageError.*File too large.*VGI_FAST_STATE_DIR"):
            fill(catalog)
        assert sum_of(catalog, [0, 0], [1, 2]) == [3]
        assert catalog.scalar("double", {"x": [4]}).to_pylist() == [8]


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of its own, of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user cannot mount a file system")
    monkeypatch.setenv("VGI_FAST_STATE_DIR", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # the workers have not left yet


@pytest.mark.parametrize("fill", FILLERS)
def test_a_full_disk(start: Callable[..., Client], small_disk: Path, fill: Callable[[Catalog], None]) -> None:
    client = start()
    catalog = client.attach("filling")
    with pytest.raises(RemoteError, match=r"(?s)StorageError.*(No space left|no room).*VGI_FAST_STATE_DIR"):
        fill(catalog)
    assert catalog.scalar("double", {"x": [4]}).to_pylist() == [8]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert sum_of(catalog, [0, 0], [1, 2]) == [3]
    client.close()


def test_a_directory_without_permission(start: Callable[..., Client], state: Path) -> None:
    """Root may do everything, so a file stands where the directory would be."""
    (state / "run").mkdir(parents=True)
    catalog = start().attach("filling")
    assert sum_of(catalog, [0, 0], [1, 2]) == [3]
    shutil.rmtree(state)
    state.write_bytes(b"")
    for _ in range(2):
        with pytest.raises(RemoteError, match="StorageError.*cannot make the state directory .*Not a directory"):
            sum_of(catalog, [0, 0], [1, 2])
    assert catalog.scalar("double", {"x": [4]}).to_pylist() == [8]
    state.unlink()
    assert sum_of(catalog, [0, 0], [1, 2]) == [3]


def test_states_that_somebody_removes(start: Callable[..., Client], state: Path) -> None:
    """What was summed up is gone: no answer is better than half of one."""
    catalog = start().attach("filling")
    bound = catalog.open_aggregate("total", {"x": pa.int64()})
    bound.update([0], {"x": pa.array([1], pa.int64())})
    shutil.rmtree(state)
    with pytest.raises(RemoteError, match="StorageError.*was removed while it was in use"):
        bound.update([0], {"x": pa.array([2], pa.int64())})
    with pytest.raises(RemoteError, match="StorageError.*was removed while it was in use"):
        bound.finalize([0])
    assert sum_of(catalog, [0, 0], [1, 2]) == [3]


def test_partitions_and_sessions_that_somebody_removes(start: Callable[..., Client], state: Path) -> None:
    catalog = start().attach("filling")
    bound = catalog.open_aggregate("total", {"x": pa.int64()})
    stream = bound.stream(["utf8"])
    assert stream.chunk([["a"], [1]]).to_pylist() == [1]
    shutil.rmtree(state)
    with pytest.raises(RemoteError, match="StorageError"):
        stream.chunk([["a"], [1]])
    assert sum_of(catalog, [0, 0], [1, 2]) == [3]
