"""The same aggregates over every storage that processes can share."""

import os
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from tests.worker.test_windows import WORKER
from vgi_fast.client import Client

SERVERS = {"redis": "VGI_TEST_REDIS_URL", "postgres": "VGI_TEST_POSTGRES_DSN"}
VARIABLES = {"redis": "VGI_FAST_REDIS_URL", "postgres": "VGI_FAST_POSTGRES_DSN"}


@pytest.mark.parametrize("backend", ["mapped", "sqlite", "redis", "postgres"])
def test_two_processes(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend in SERVERS:
        server = os.environ.get(SERVERS[backend])
        if not server:
            pytest.skip(f"{SERVERS[backend]} names no server")
        monkeypatch.setenv(VARIABLES[backend], server)
    monkeypatch.setenv("VGI_WORKER_SHARED_STORAGE", backend.upper())
    monkeypatch.setenv("VGI_WORKER_SQLITE_PATH", str(tmp_path / "state.db"))
    monkeypatch.setenv("VGI_FAST_STATE_DIR", str(tmp_path))
    (tmp_path / "worker.py").write_text(WORKER, encoding="utf-8")
    clients = [Client([sys.executable, "-W", "error", str(tmp_path / "worker.py")]) for _ in range(2)]
    one, two = clients
    catalog = one.attach("basic")
    for name, values, wanted in (
        ("int_sum", [1, 2, 4, None], [5, 2, None, 7]),
        ("hooked", [2, 3, 5, None], [10, 3, 1, 30]),
    ):
        bound = catalog.open_aggregate(name, {"x": pa.int64()})
        bound.update([0, 1], {"x": pa.array(values[:2], pa.int64())}, one)
        bound.update([0, 2], {"x": pa.array(values[2:], pa.int64())}, two)
        bound.combine([(0, 3), (1, 3), (9, 3)], one)
        assert bound.finalize([0, 1, 2, 3], two).to_pylist() == wanted
        bound.destroy()
        bound.window_init({"x": pa.array(values, pa.int64())}, client=two)
        assert bound.window([(0, 1), (2, 4)]) == values[0] + values[2]  # type: ignore[operator]
        bound.window_destroy()
        stream = bound.stream(["utf8"])
        assert stream.chunk([["a", "a"], [1, 2]], two).to_pylist() == [1, 3]
        assert stream.chunk([["a", "b"], [3, 4]], one).to_pylist() == [6, 4]
        stream.close(two)
    joined = catalog.open_aggregate("joined", {"x": pa.string()})
    for number, text in enumerate("abcdef"):
        joined.update([0], {"x": [text]}, clients[number % 2])
    joined.combine([(0, 1), (0, 1)])
    assert joined.finalize([1], two).to_pylist() == ["a,b,c,d,e,f,a,b,c,d,e,f"]
    for client in clients:
        client.close()
