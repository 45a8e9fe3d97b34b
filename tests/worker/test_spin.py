"""Looking for bytes before sleeping."""

import os

import pyarrow as pa
import pytest

from tests.fix_core import Pipe
from tests.fix_worker import Workers
from vgi_fast._core import Input, Schema, Trace, encode_stream
from vgi_fast.errors import ArgumentError
from vgi_fast.transports import spin
from vgi_fast.transports.spin import spin_budget_us

SOURCE = """
    from vgi_fast import Int64, Worker

    worker = Worker("demo")

    @worker.scalar
    def double(x: Int64) -> Int64:
        return x * 2

    worker.run()
"""


def test_answers_are_the_same(worker: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGI_FAST_SPIN_US", "100")
    table = pa.table({"x": list(range(20_000))})
    doubled = worker(SOURCE).attach("demo").scalar("double", table, batch_rows=100)
    assert doubled.to_pylist() == [2 * x for x in range(20_000)]


def test_bytes_that_come_during_the_look(pipe: Pipe) -> None:
    input = Input(pipe.read)
    input.spin(1000)
    data = encode_stream(Schema.parse("a: int64"), [])
    for _ in range(50):
        pipe.send(data, 5, close=False)
        assert input.read_schema() is not None
        assert input.read_batch() is None


def test_the_end_is_seen(pipe: Pipe) -> None:
    input = Input(pipe.read)
    input.spin(1000)
    input.trace = Trace()
    pipe.close_write()
    assert input.read_schema() is None
    assert input.trace.take()["reads"] == 1


@pytest.mark.parametrize("budget", [-1.0, 1001.0, float("nan")])
def test_budget_out_of_range(pipe: Pipe, budget: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1000"):
        Input(pipe.read).spin(budget)


@pytest.mark.parametrize(
    ("processors", "load", "expected"), [(2, 0.0, 0.0), (4, 0.5, 20.0), (4, 2.5, 0.0), (64, 31.0, 20.0)]
)
def test_where_processors_are_idle(
    monkeypatch: pytest.MonkeyPatch, processors: int, load: float, expected: float
) -> None:
    monkeypatch.setattr(spin, "_processors", lambda: processors)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert spin_budget_us({}) == expected


@pytest.mark.parametrize("value", ["x", "-1", "1001"])
def test_a_wrong_variable(value: str) -> None:
    with pytest.raises(ArgumentError, match="VGI_FAST_SPIN_US"):
        spin_budget_us({"VGI_FAST_SPIN_US": value})
    assert spin_budget_us({"VGI_FAST_SPIN_US": "7.5"}) == 7.5
