"""serve_exchange and serve_producer over pipes: one answer for each batch, reconciled inputs, cancel, errors."""

import os
from collections.abc import Callable, Iterable
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.core.compare import read_with_pyarrow
from tests.fix_core import Pipe
from vgi_fast._core import (
    Array,
    Input,
    Output,
    RecordBatch,
    ScalarPlan,
    Schema,
    encode_stream,
    serve_exchange,
    serve_producer,
)
from vgi_fast.errors import ProtocolError, RowCountMismatchError, TransportError, TypeMismatchError

INPUT = Schema.parse("a: int64, b: float64")
OUTPUT = Schema.parse("result: float64")
CANCEL = {b"vgi_rpc.cancel": b"1"}
Step = ScalarPlan | Callable[[RecordBatch], RecordBatch]


def batch(*rows: tuple[Any, Any], schema: Schema = INPUT) -> RecordBatch:
    first, second = schema.names
    return RecordBatch.from_pydict(schema, {first: [r[0] for r in rows], second: [r[1] for r in rows]})


def product() -> ScalarPlan:
    return ScalarPlan(lambda a, b: a * b, [("numpy", 0), ("numpy", 1)], INPUT, OUTPUT)


class Exchange:
    """Serves prepared bytes and keeps what was answered."""

    def __init__(self, pipes: Callable[[], Pipe], schema: Schema, batches: Iterable[RecordBatch]) -> None:
        self.incoming, self.outgoing = pipes(), pipes()
        self.incoming.send(encode_stream(schema, batches))
        self.input, self.output = Input(self.incoming.read), Output(self.outgoing.write)
        self.input.read_schema()

    def serve(self, step: Step, input_schema: Schema = INPUT) -> bool:
        return serve_exchange(self.input, self.output, input_schema, OUTPUT, step)

    def answers(self) -> list[list[Any]]:
        if not self.output.open:
            self.output.schema(OUTPUT)
        self.output.eos()
        self.output.flush()
        return [b.column(0).to_pylist() for b in read_with_pyarrow(self.outgoing.receive())[1]]


Make = Callable[..., Exchange]


@pytest.fixture
def exchange(pipes: Callable[[], Pipe]) -> Make:
    def make(schema: Schema, *batches: RecordBatch) -> Exchange:
        return Exchange(pipes, schema, batches)

    return make


def test_one_answer_for_each_batch(exchange: Make) -> None:
    made = exchange(INPUT, batch((1, 2.0), (3, None)), batch(), batch((5, 0.5)))
    assert made.serve(product()) is False
    assert made.answers() == [[2.0, None], [], [2.5]]
    assert not made.input.open


def test_steps_in_python(exchange: Make) -> None:
    seen = []

    def step(received: RecordBatch) -> RecordBatch:
        seen.append(received.to_pydict())
        return RecordBatch.from_pydict(OUTPUT, {"result": [float(received.num_rows)]}).with_metadata({b"k": b"v"})

    made = exchange(INPUT, batch((1, 2.0)), batch())
    assert made.serve(step) is False
    made.output.eos()
    made.output.flush()
    _, answers, metadata = read_with_pyarrow(made.outgoing.receive())
    assert [a.to_pydict() for a in answers] == [{"result": [1.0]}, {"result": [0.0]}]
    assert metadata == [{b"k": b"v"}] * 2
    assert seen == [{"a": [1], "b": [2.0]}, {"a": [], "b": []}]


def test_each_answer_leaves_at_once(pipes: Callable[[], Pipe]) -> None:
    """Lockstep: the peer sends the next batch after it has the answer."""
    incoming, outgoing = pipes(), pipes()

    def serve() -> None:
        input, output = Input(incoming.read), Output(outgoing.write)
        input.read_schema()
        serve_exchange(input, output, INPUT, OUTPUT, product())
        output.eos()
        output.flush()
        outgoing.close_write()

    thread = Thread(target=serve, daemon=True)
    thread.start()
    there, back = Output(incoming.write), Input(outgoing.read)
    there.schema(INPUT)
    for i in range(50):
        there.batch(batch((i, 2.0)))
        there.flush()
        if i == 0:
            assert back.read_schema() == OUTPUT
        answer = back.read_batch()
        assert answer is not None
        assert answer.to_pydict() == {"result": [2.0 * i]}
    there.eos()
    there.flush()
    assert back.read_batch() is None
    thread.join(10)


def test_cancel(exchange: Make) -> None:
    made = exchange(INPUT, batch((1, 2.0)), batch().with_metadata(CANCEL), batch((3, 3.0)))
    assert made.serve(product()) is True
    assert made.answers() == [[2.0]]
    made.input.drain()
    assert made.input.read_schema() is None


def test_cancel_at_once(exchange: Make) -> None:
    made = exchange(INPUT, batch().with_metadata(CANCEL))
    assert made.serve(product()) is True
    assert not made.output.open
    assert made.answers() == []


def test_end_without_marker(pipe: Pipe) -> None:
    os.write(pipe.write, encode_stream(INPUT, [batch((1, 2.0))])[:-8])
    pipe.close_write()
    input, output = Input(pipe.read), Output()
    input.read_schema()
    assert serve_exchange(input, output, INPUT, OUTPUT, product()) is False


def test_a_stream_has_to_be_open() -> None:
    with pytest.raises(ProtocolError, match="no input stream is open"):
        serve_exchange(Input(b""), Output(), INPUT, OUTPUT, product())
    input = Input(encode_stream(INPUT, []))
    input.read_schema()
    input.drain()
    with pytest.raises(ProtocolError, match="no input stream is open"):
        serve_exchange(input, Output(), INPUT, OUTPUT, product())


# ---- reconciliation ----


def test_columns_in_another_order(exchange: Make) -> None:
    other = Schema.parse("b: float64, a: int64")
    made = exchange(other, batch((2.0, 3), (4.0, None), schema=other))
    assert made.serve(product()) is False
    assert made.answers() == [[6.0, None]]


def test_columns_of_other_types(exchange: Make) -> None:
    other = Schema.parse("a: int8, b: float32")
    made = exchange(other, batch((2, 0.5), schema=other), batch(schema=other))
    assert made.serve(product()) is False
    assert made.answers() == [[1.0], []]


def test_columns_in_another_order_and_of_other_types(exchange: Make) -> None:
    other = Schema.parse("b: decimal128(5, 2), a: utf8")
    made = exchange(other, batch(("1.50", "4"), schema=other))
    assert made.serve(product()) is False
    assert made.answers() == [[6.0]]


def test_equal_names_are_taken_by_position(exchange: Make) -> None:
    twice = Schema.parse("a: int64, a: float64")
    plan = ScalarPlan(lambda a, b: a - b, [("numpy", 0), ("numpy", 1)], twice, OUTPUT)
    columns = [Array.from_pylist([5], "int8"), Array.from_pylist([3.0], "float64")]
    made = exchange(Schema.parse("a: int8, a: float64"), RecordBatch(Schema.parse("a: int8, a: float64"), columns))
    assert made.serve(plan, twice) is False
    assert made.answers() == [[2.0]]


def test_null_columns_are_cast(exchange: Make) -> None:
    other = Schema.parse("a: null, b: float64")
    made = exchange(other, batch((None, 2.0), schema=other))
    assert made.serve(product()) is False
    assert made.answers() == [[None]]


@pytest.mark.parametrize("text", ["a: int64, c: float64", "a: int64", "a: int64, b: float64, c: int8", ""])
def test_other_columns_are_refused(exchange: Make, text: str) -> None:
    schema = Schema.parse(text)
    made = exchange(schema, RecordBatch(schema, [Array.from_pylist([None], t) for t in schema.types], 1))
    with pytest.raises(TypeError, match="Input schema mismatch"):
        made.serve(product())
    assert made.answers() == []


def test_values_that_cannot_be_cast_are_refused(exchange: Make) -> None:
    other = Schema.parse("a: utf8, b: float64")
    made = exchange(other, batch(("4", 2.0), schema=other), batch(("x", 2.0), schema=other))
    with pytest.raises(TypeMismatchError, match="Input type mismatch for parameter 'a'"):
        made.serve(product())
    assert made.answers() == [[8.0]]


# ---- errors ----


def test_an_error_leaves_nothing_of_its_step(exchange: Make) -> None:
    calls = 0

    def function(a: Any, b: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ValueError("third")
        return a * b

    made = exchange(INPUT, *[batch((i, 1.0)) for i in range(5)])
    plan = ScalarPlan(function, [("numpy", 0), ("numpy", 1)], INPUT, OUTPUT)
    with pytest.raises(ValueError, match="third"):
        made.serve(plan)
    made.output.empty_batch({b"error": b"third"})
    assert made.answers() == [[0.0], [1.0], []]
    made.input.drain()
    assert made.input.read_schema() is None


def test_an_error_in_the_first_step_opens_nothing(exchange: Make) -> None:
    def step(received: RecordBatch) -> RecordBatch:
        raise KeyError("first")

    made = exchange(INPUT, batch((1, 1.0)))
    with pytest.raises(KeyError):
        made.serve(step)
    assert not made.output.open
    made.output.flush()
    assert made.output.bytes_written == 0


def test_results_of_another_length(exchange: Make) -> None:
    made = exchange(INPUT, batch((1, 1.0)))
    with pytest.raises(RowCountMismatchError, match="Expected 1 rows, got 2"):
        made.serve(ScalarPlan(lambda a: np.zeros(2), [("numpy", 0)], INPUT, OUTPUT))
    assert made.answers() == []


def test_results_of_another_schema(exchange: Make) -> None:
    made = exchange(INPUT, batch((1, 1.0)))
    with pytest.raises(TypeMismatchError, match="Output type mismatch"):
        made.serve(lambda received: received)
    assert made.answers() == []


@pytest.mark.parametrize("wrong", [5, "text", pa.record_batch({"result": [1.0]})])
def test_results_that_are_no_batches(exchange: Make, wrong: Any) -> None:
    made = exchange(INPUT, batch((1, 1.0)))
    with pytest.raises(TypeError):
        made.serve(lambda received: wrong)
    assert made.answers() == []


def test_no_result(exchange: Make) -> None:
    made = exchange(INPUT, batch((1, 1.0)))
    with pytest.raises(TypeError):
        made.serve(lambda received: None)  # type: ignore[arg-type,return-value]
    assert made.answers() == []


def test_broken_input(pipe: Pipe) -> None:
    data = encode_stream(INPUT, [batch((1, 2.0)), batch((3, 4.0))])
    os.write(pipe.write, data[:-20])
    pipe.close_write()
    input, output = Input(pipe.read), Output()
    input.read_schema()
    with pytest.raises(ProtocolError, match="ended inside a message"):
        serve_exchange(input, output, INPUT, OUTPUT, product())
    output.eos()
    output.flush()
    assert [b.to_pydict() for b in read_with_pyarrow(output.getvalue())[1]] == [{"result": [2.0]}]


def test_reader_of_the_answers_is_gone(exchange: Make) -> None:
    made = exchange(INPUT, batch((1, 1.0)))
    made.outgoing.close_read()
    with pytest.raises(TransportError, match="Broken pipe"):
        made.serve(product())


# ---- producers ----

Item = tuple[RecordBatch, dict[bytes, bytes] | None] | None


def ticks(pipe: Pipe, count: int, *, cancel: bool = False) -> Input:
    empty = Schema([])
    batches = [RecordBatch(empty, [], 0) for _ in range(count)]
    if cancel:
        batches.append(RecordBatch(empty, [], 0, CANCEL))
    pipe.send(encode_stream(empty, batches))
    input = Input(pipe.read)
    input.read_schema()
    return input


def producer(count: int) -> Callable[[], Item]:
    items: list[Item] = [
        (RecordBatch.from_pydict(OUTPUT, {"result": [float(i)]}), {b"i": b"%d" % i}) for i in range(count)
    ]
    source = iter([*items, None])
    return lambda: next(source)


def test_one_batch_for_each_tick(pipe: Pipe) -> None:
    output = Output()
    assert serve_producer(ticks(pipe, 3), output, OUTPUT, producer(10)) is False
    output.eos()
    output.flush()
    _, batches, metadata = read_with_pyarrow(output.getvalue())
    assert [b.to_pydict() for b in batches] == [{"result": [float(i)]} for i in range(3)]
    assert metadata == [{b"i": b"%d" % i} for i in range(3)]


def test_producers_end(pipe: Pipe) -> None:
    input, output = ticks(pipe, 5), Output()
    assert serve_producer(input, output, OUTPUT, producer(2)) is False
    assert input.open
    input.drain()
    output.eos()
    output.flush()
    assert len(read_with_pyarrow(output.getvalue())[1]) == 2


def test_producers_are_cancelled(pipe: Pipe) -> None:
    output = Output()
    assert serve_producer(ticks(pipe, 2, cancel=True), output, OUTPUT, producer(5)) is True
    output.eos()
    output.flush()
    assert len(read_with_pyarrow(output.getvalue())[1]) == 2


@pytest.mark.parametrize("item", [5, (None, None), (5, None), "text"])
def test_producers_of_something_else(pipe: Pipe, item: Any) -> None:
    with pytest.raises(TypeError):
        serve_producer(ticks(pipe, 1), Output(), OUTPUT, lambda: item)


def test_producers_of_another_schema(pipe: Pipe) -> None:
    with pytest.raises(TypeMismatchError, match="Output type mismatch"):
        serve_producer(ticks(pipe, 1), Output(), OUTPUT, lambda: (batch((1, 1.0)), None))


def test_errors_of_producers(pipe: Pipe) -> None:
    def produce() -> Item:
        raise LookupError("mine")

    output = Output()
    with pytest.raises(LookupError, match="mine"):
        serve_producer(ticks(pipe, 1), output, OUTPUT, produce)
    assert not output.open
