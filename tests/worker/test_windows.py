"""Windows and streamed partitions through two live workers, against a plain computation."""

import itertools
import math
import random
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from vgi_fast.client import Client
from vgi_fast.client.catalog import Catalog
from vgi_fast.errors import RemoteError
from vgi_fast.wire.arrow import RecordBatch, encode_stream

WORKER = '''
import numpy as np
import pyarrow as pa
from typing import Annotated
from vgi_fast import AggregateFunction, Float64, Int64, Param, Returns, Utf8, Worker

worker = Worker("basic")
for name in ("sum", "product", "min", "max", "first", "last", "bit_xor"):
    worker.aggregate.from_block(f"int_{name}", name, "int64 -> int64", supports_window=True, streaming_partitioned=True)
for name in ("sum", "min", "mean"):
    worker.aggregate.from_block(f"double_{name}", name, "float64 -> float64", supports_window=True,
                                streaming_partitioned=True)
worker.aggregate.from_block("mean", "mean", "int64 -> float64", supports_window=True, streaming_partitioned=True)
worker.aggregate.from_block("spread", "var_samp", "float64 -> float64", supports_window=True)
worker.aggregate.from_block("rows", "count_rows", "-> int64", supports_window=True, streaming_partitioned=True)
worker.aggregate.from_block("counted", "count", "utf8 -> int64", supports_window=True, streaming_partitioned=True)
worker.aggregate.from_block("flag", "bit_and", "bool -> bool", supports_window=True, streaming_partitioned=True)
worker.aggregate.from_block("small", "max", "int16 -> int16", supports_window=True, streaming_partitioned=True)
worker.aggregate.from_block("day", "max", "date32 -> date32", supports_window=True)
worker.aggregate.from_block("joined", "string_agg", "utf8 -> utf8", supports_window=True)
worker.aggregate.from_block("texts", "list", "utf8 -> list<utf8>", supports_window=True)

@worker.aggregate.of_values(supports_window=True)
def median(value: Float64) -> Float64:
    return np.median(value)

class Product:
    def __init__(self, value=1):
        self.value = value

class Hooked(AggregateFunction[Product]):
    """All hooks of vgi-python, called by the protocol's window and streaming methods."""

    class Meta:
        name = "hooked"
        supports_window = True
        streaming_partitioned = True

    @classmethod
    def update(cls, states, group_ids, value: Annotated[pa.Int64Array, Param()]):
        for group, one in zip(group_ids.to_pylist(), value.to_pylist()):
            states[group] = Product(states[group].value * (one or 1))

    @classmethod
    def combine(cls, source, target, params):
        return Product(source.value * target.value)

    @classmethod
    def finalize(cls, group_ids, states, params) -> Annotated[pa.RecordBatch, Returns(arrow_type=pa.int64())]:
        found = [states[group] for group in group_ids.to_pylist()]
        return pa.record_batch({"r": [None if one is None else one.value for one in found]})

    @classmethod
    def window_init(cls, partition, params):
        return partition.inputs.column(0).to_pylist()

    @classmethod
    def window_prepare(cls, partition, state, params):
        return [one or 0 for one in state]

    @classmethod
    def window(cls, rid, frames, partition, state, params):
        return sum(state[row] for row in partition.rows(frames))

    @classmethod
    def streaming_open(cls, params):
        return {}

    @classmethod
    def streaming_chunk(cls, chunk, state, partition_key_count, order_key_count, params):
        results = []
        for row in chunk.to_pylist():
            key = tuple(str(row[f"__pk_{i}"]) for i in range(partition_key_count))
            state[key] = state.get(key, 0) + (row["__val_0"] or 0)
            results.append(state[key])
        return results

worker.add(Hooked)
worker.run()
'''


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Client]]:
    folder: Path = tmp_path_factory.mktemp("state")
    (folder / "worker.py").write_text(WORKER, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VGI_FAST_STATE_DIR", str(folder))
        started = [Client([sys.executable, "-W", "error", str(folder / "worker.py")]) for _ in range(2)]
        yield started
        for client in started:
            client.close()
    assert not list(folder.glob("run/x-*"))


@pytest.fixture(scope="module")
def catalog(clients: list[Client]) -> Catalog:
    return clients[0].attach("basic")


def only(reduce: Callable[[list[Any]], Any], least: int = 1) -> Callable[[list[Any]], Any]:
    def of(values: list[Any]) -> Any:
        some = [value for value in values if value is not None]
        return reduce(some) if len(some) >= least else None

    return of


def close_to(reduce: Callable[[list[Any]], float]) -> Callable[[list[Any]], Any]:
    return lambda values: pytest.approx(reduce(values), rel=1e-9, abs=1e-9)


def wrapped(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def xored(values: list[int]) -> int:
    found = 0
    for value in values:
        found ^= value
    return found


CASES: dict[str, tuple[str, Callable[[list[Any]], Any]]] = {
    "int_sum": ("int64", only(lambda v: wrapped(sum(v)))),
    "int_product": ("int64", only(lambda v: wrapped(math.prod(v)))),
    "int_min": ("int64", only(min)),
    "int_max": ("int64", only(max)),
    "int_first": ("int64", only(lambda v: v[0])),
    "int_last": ("int64", only(lambda v: v[-1])),
    "int_bit_xor": ("int64", only(xored)),
    "double_sum": ("float64", only(close_to(math.fsum))),
    "double_min": ("float64", only(min)),
    "double_mean": ("float64", only(close_to(statistics.fmean))),
    "mean": ("int64", only(close_to(statistics.fmean))),
    "spread": ("float64", only(close_to(statistics.variance), 2)),
    "counted": ("string", lambda v: sum(one is not None for one in v)),
    "flag": ("bool_", only(all)),
    "small": ("int16", only(max)),
    "day": ("date32", only(max)),
    "joined": ("string", only(",".join)),
    "texts": ("string", only(list)),
    "median": ("float64", only(close_to(statistics.median))),
    "hooked": ("int64", lambda v: sum(one or 0 for one in v)),
}


def values_of(type: str, count: int, rng: random.Random) -> list[Any]:
    import datetime

    def one() -> Any:
        if rng.random() < 0.2:
            return None
        match type:
            case "int64":
                return rng.choice([rng.randrange(-5, 6), rng.randrange(-(2**40), 2**40)])
            case "int16":
                return rng.randrange(-(2**15), 2**15)
            case "float64":
                return rng.uniform(-100, 100)
            case "bool_":
                return rng.random() < 0.9
            case "date32":
                return datetime.date(2000, 1, 1) + datetime.timedelta(days=rng.randrange(9999))
        return rng.choice(["", "a", "zwölf", "x" * rng.randrange(9)])

    return [one() for _ in range(count)]


def frames_of(rows: int, rng: random.Random) -> list[tuple[int, int]]:
    """One to three ranges, sorted and disjoint; some empty, inverted or reaching outside."""
    bounds = sorted(rng.randrange(rows + 1) for _ in range(2 * rng.randrange(1, 4)))
    frames = list(zip(bounds[::2], bounds[1::2], strict=True))
    if rng.random() < 0.1:
        frames.append((rows, rows - 3))
    if rng.random() < 0.1:
        frames = [(-5, rows + 7)]
    return frames


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rows", [1, 2, 37, 130])
def test_frames(name: str, rows: int, catalog: Catalog, clients: list[Client]) -> None:
    kind, expected = CASES[name]
    rng = random.Random(f"{name}{rows}")
    type = getattr(pa, kind)()
    bound = catalog.open_aggregate(name, {"x": type})
    for partition in range(2):
        values = values_of(kind, rows, rng)
        taking = [rng.random() < 0.8 for _ in range(rows)] if partition else [True] * rows
        mask = sum(1 << row for row, takes in enumerate(taking) if takes).to_bytes((rows + 7) // 8, "little")
        bound.window_init({"x": pa.array(values, type)}, partition, mask if partition else b"", clients[partition])
        wanted = [frames_of(rows, rng) for _ in range(12)]
        answers = [
            expected(
                [values[row] for start, end in frames for row in range(max(start, 0), min(end, rows)) if taking[row]]
            )
            for frames in wanted
        ]
        for frames, answer in zip(wanted, answers, strict=True):
            assert bound.window(frames, partition, client=rng.choice(clients)) == answer
        assert bound.window_batch(wanted, partition, clients[1]).to_pylist() == answers
        bound.window_destroy(partition, clients[0])
        bound.window_destroy(partition, clients[1])


def test_partitions_without_columns(catalog: Catalog) -> None:
    rows = catalog.open_aggregate("rows")
    rows.call(
        "aggregate_window_init",
        partition_id=3,
        row_count=10,
        partition_batch=encode_stream(rows.input_schema, [RecordBatch(rows.input_schema, [], 10)]),
        output_schema=rows.output_schema.serialize(),
        filter_mask=b"\xfe\xff",
        frame_stats=b"",
        all_valid=b"",
    )
    assert rows.window([(0, 4), (5, 10)], 3) == 8
    rows.window_destroy(3)


def test_unknown_partitions(catalog: Catalog) -> None:
    total = catalog.open_aggregate("int_sum", {"x": pa.int64()})
    with pytest.raises(RemoteError, match="unknown partition_id=4 .*window_init never ran or destructor already"):
        total.window([(0, 1)], 4)
    total.window_destroy(4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"frame_starts": [0, 1], "frame_ends": [1]}, "2 frame starts and 1 frame ends"),
        ({"partition_id": 9}, "unknown partition_id=9"),
    ],
)
def test_bad_frames(catalog: Catalog, fields: dict[str, Any], message: str) -> None:
    for name in ("int_sum", "joined"):
        bound = catalog.open_aggregate(name, {"x": pa.int64() if name == "int_sum" else pa.string()})
        bound.window_init({"x": pa.array([1 if name == "int_sum" else "a"])})
        request = {"partition_id": 0, "rid": 0, "frame_starts": [0], "frame_ends": [1], **fields}
        with pytest.raises(RemoteError, match=message):
            bound.call("aggregate_window", **request)
        bound.window_destroy()


def test_bad_batches_of_frames(catalog: Catalog) -> None:
    total = catalog.open_aggregate("int_sum", {"x": pa.int64()})
    total.window_init({"x": [1, 2]})
    request: dict[str, Any] = {"partition_id": 0, "row_idx": 0, "frame_starts": [0], "frame_ends": [1]}
    with pytest.raises(RemoteError, match="count=2 but frames_per_row has 1 entries"):
        total.call("aggregate_window_batch", count=2, frames_per_row=[1], **request)
    with pytest.raises(RemoteError, match="counts more frames than there are"):
        total.call("aggregate_window_batch", count=1, frames_per_row=[2], **request)
    with pytest.raises(RemoteError, match="counts 0 frames, there are 1"):
        total.call("aggregate_window_batch", count=1, frames_per_row=[0], **request)
    total.window_destroy()


@pytest.mark.parametrize("mask", [b"\xff", b""])
def test_a_mask_has_a_bit_for_each_row(catalog: Catalog, mask: bytes) -> None:
    total = catalog.open_aggregate("int_sum", {"x": pa.int64()})
    total.window_init({"x": list(range(20))}, mask=mask)
    if mask:
        with pytest.raises(RemoteError, match="filter mask of 1 bytes for 20 rows"):
            total.window([(0, 20)])
    else:
        assert total.window([(0, 20)]) == 190
    total.window_destroy()


STREAMED = ("int_sum", "int_product", "int_min", "int_last", "double_sum", "mean", "counted", "flag", "small", "hooked")


@pytest.mark.parametrize("name", STREAMED)
@pytest.mark.parametrize("keys", [[], ["int64"], ["utf8", "float64"], ["list<int64>"]])
def test_running_results(name: str, keys: list[str], catalog: Catalog, clients: list[Client]) -> None:
    """Each chunk goes to the next process; a partition may span several of them."""
    kind, expected = CASES[name]
    rng = random.Random(f"{name}{keys}")
    type = getattr(pa, kind)()
    bound = catalog.open_aggregate(name, {"x": type})
    stream = bound.stream(keys, ["int64"])
    choices: dict[str, list[Any]] = {
        "int64": [None, -1, 0, 1, 7],
        "utf8": [None, "", "a", "b"],
        "float64": [None, 0.0, 1.5, math.inf],
        "list<int64>": [None, [], [1], [1, 2]],
    }
    partitions = list(itertools.islice(itertools.product(*(choices[key] for key in keys)), 8))
    rows = [(key, value) for key in partitions for value in values_of(kind, rng.randrange(1, 60), rng)]
    seen: dict[Any, list[Any]] = defaultdict(list)
    at = 0
    for number in itertools.count():
        part = rows[at : at + rng.choice([0, 1, 5, 40])]
        at += len(part)
        columns: list[Any] = [[key[index] for key, _ in part] for index in range(len(keys))]
        columns += [list(range(len(part))), pa.array([value for _, value in part], type)]
        got = stream.chunk(columns, clients[number % 2]).to_pylist()
        wanted = []
        for key, value in part:
            seen[str(key)].append(value)
            wanted.append(expected(seen[str(key)]))
        assert got == wanted
        if at >= len(rows):
            break
    stream.close(clients[1])
    stream.close(clients[0])
    with pytest.raises(RemoteError, match="unknown execution_id"):
        stream.chunk([[] for _ in stream.schema])


def test_sessions_are_independent(catalog: Catalog, clients: list[Client]) -> None:
    total = catalog.open_aggregate("int_sum", {"x": pa.int64()})
    one, two = total.stream(["int64"]), total.stream(["int64"])
    assert one.chunk([[1, 1], [5, 6]]).to_pylist() == [5, 11]
    assert two.chunk([[1, 1], [7, 8]], clients[1]).to_pylist() == [7, 15]
    assert one.chunk([[1, 2], [1, 1]], clients[1]).to_pylist() == [12, 1]
    one.close()
    assert two.chunk([[1], [1]]).to_pylist() == [16]
    two.close()


def test_equal_chunks_are_not_taken_for_repetitions(catalog: Catalog) -> None:
    """Only a request of a process that has died can be one."""
    for name in ("int_sum", "hooked"):
        stream = catalog.open_aggregate(name, {"x": pa.int64()}).stream()
        assert [stream.chunk([[1, 1]]).to_pylist() for _ in range(4)] == [[1, 2], [3, 4], [5, 6], [7, 8]]
        stream.close()


@pytest.mark.parametrize(("name", "kind"), [("int_sum", "int64"), ("double_sum", "float64"), ("small", "int16")])
def test_large_chunks(name: str, kind: str, catalog: Catalog, clients: list[Client]) -> None:
    """Equal numbers of rows with and without nulls take different ways to the client."""
    type = getattr(pa, kind)()
    stream = catalog.open_aggregate(name, {"x": type}).stream(["int64"])
    expected = CASES[name][1]
    before: list[Any] = []
    for number in range(6):
        values: list[Any] = [row % 7 + number for row in range(300)]
        if number % 3 == 2:
            values[5] = None
        got = stream.chunk([[1] * 300, pa.array(values, type)], clients[number % 2]).to_pylist()
        assert got[::37] == [expected([*before, *values[: row + 1]]) for row in range(0, 300, 37)]
        before += values
    stream.close()
