"""Aggregates through live workers, two of them, so that no answer can come from one process's memory."""

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
from vgi_fast.client.aggregates import AggregateCall
from vgi_fast.client.catalog import Catalog
from vgi_fast.errors import RemoteError

WORKER = '''
import numpy as np
import pyarrow as pa
from typing import Annotated
from vgi_fast import AggregateFunction, Const, ConstParam, Float64, Int64, Param, Returns, Utf8, Worker, aggregate

worker = Worker("basic")
block = worker.aggregate.from_block
for name in ("sum", "product", "min", "max", "first", "last", "bit_and", "bit_or", "bit_xor"):
    block(f"int_{name}", name, "int64 -> int64")
for name in ("sum", "min", "max", "first", "last"):
    block(f"double_{name}", name, "float64 -> float64")
block("rows", "count_rows", "-> int64")
block("counted", "count", "utf8 -> int64")
block("mean", "mean", "int64 -> float64")
block("spread", "stddev_pop", "float64 -> float64")
block("small_max", "max", "int8 -> int8")
block("big_max", "max", "uint64 -> uint64")
block("day_min", "min", "date32 -> date32")
block("any_flag", "bit_or", "bool -> bool")
block("distinct", "approx_count_distinct", "utf8 -> int64")
block("texts", "list", "utf8 -> list<utf8>", order_dependent=True)
block("numbers", "list", "int64 -> list<int64>", null_handling="special", order_dependent=True)
block("joined", "string_agg", "utf8 -> utf8", separator="|", order_dependent=True)
worker.aggregate.from_ufunc("total", np.add, "int64 -> int64")
worker.aggregate.from_ufunc("distance", np.hypot, "float64 -> float64")

@worker.aggregate.of_values
def quantile(value: Float64, q: Const[float] = 0.5) -> float:
    return np.quantile(value, q)

@worker.aggregate
class WeightedMean:
    state = {"total": "float64", "weight": ("float64", 0.0)}

    def update(state, groups, value: Float64, weight: Float64, bias: Const[float] = 0.0):
        np.add.at(state.total, groups, value * weight + bias)
        np.add.at(state.weight, groups, weight)

    def combine(source, target):
        target.total += source.total
        target.weight += source.weight

    def finalize(state) -> Float64:
        return state.total / state.weight

@worker.aggregate(on_empty=-1)
class Longest:
    """An instance for each group."""

    def __init__(self, at_least: Const[int] = 0):
        self.at_least, self.length = at_least, 0

    def update(self, text: str):
        if len(text) >= self.at_least:
            self.length = max(self.length, len(text))

    def combine(self, other):
        self.length = max(self.length, other.length)

    def finalize(self) -> int:
        return self.length

class Texts:
    def __init__(self, texts=()):
        self.texts = list(texts)
    def serialize_to_bytes(self):
        return "\\0".join(self.texts).encode()
    @classmethod
    def deserialize_from_bytes(cls, data):
        return cls(data.decode().split("\\0") if data else ())

class Listed(AggregateFunction[Texts]):
    """Assigns a state only where a text is not empty."""

    class Meta:
        name = "listed"
        order_dependent = True

    @classmethod
    def update(cls, states, group_ids, text: Annotated[pa.StringArray, Param()],
               separator: Annotated[str, ConstParam(phase="finalize")] = "-"):
        for group, one in zip(group_ids.to_pylist(), text.to_pylist()):
            states[group].texts.append(one or "")
            if one:
                states[group] = states[group]

    @classmethod
    def combine(cls, source, target, params):
        target.texts += source.texts
        source.texts.append("the source must not change")
        return target

    @classmethod
    def finalize(cls, group_ids, states, params) -> Annotated[pa.RecordBatch, Returns(arrow_type=pa.utf8())]:
        found = [states[group] for group in group_ids.to_pylist()]
        joined = [None if one is None else params.args.separator.join(one.texts) for one in found]
        return pa.record_batch({"anything": pa.array(joined, pa.utf8())})

worker.add(Listed)
worker.run()
'''


@pytest.fixture(scope="module")
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VGI_FAST_STATE_DIR", str(folder))
        yield folder / "run"


@pytest.fixture(scope="module")
def start(state_folder: Path) -> Iterator[Callable[[], Client]]:
    source = state_folder.parent / "worker.py"
    source.write_text(WORKER, encoding="utf-8")
    started: list[Client] = []

    def one() -> Client:
        started.append(Client([sys.executable, "-W", "error", str(source)]))
        return started[-1]

    yield one
    for client in started:
        client.close()


@pytest.fixture(scope="module")
def clients(start: Callable[[], Client]) -> list[Client]:
    return [start(), start()]


@pytest.fixture(scope="module")
def catalog(clients: list[Client]) -> Catalog:
    return clients[0].attach("basic")


def some(values: list[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def only(values: list[Any], reduce: Callable[[list[Any]], Any]) -> Any:
    return reduce(some(values)) if some(values) else None


def wrapped(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


CASES: dict[str, tuple[str, Callable[[list[Any]], Any]]] = {
    "int_sum": ("int64", lambda v: only(v, lambda x: wrapped(sum(x)))),
    "int_product": ("int64", lambda v: only(v, lambda x: wrapped(math.prod(x)))),
    "int_min": ("int64", lambda v: only(v, min)),
    "int_max": ("int64", lambda v: only(v, max)),
    "int_first": ("int64", lambda v: only(v, lambda x: x[0])),
    "int_last": ("int64", lambda v: only(v, lambda x: x[-1])),
    "counted": ("utf8", lambda v: len(some(v))),
    "mean": ("int64", lambda v: only(v, lambda x: pytest.approx(sum(x) / len(x), rel=1e-15))),
    "spread": ("float64", lambda v: only(v, lambda x: pytest.approx(statistics.pstdev(x), abs=1e-9))),
    "small_max": ("int8", lambda v: only(v, max)),
    "big_max": ("uint64", lambda v: only(v, max)),
    "double_sum": ("float64", lambda v: only(v, lambda x: pytest.approx(math.fsum(x), abs=1e-9))),
    "texts": ("utf8", lambda v: only(v, list)),
    "numbers": ("int64", lambda v: list(v) if v else None),
    "joined": ("utf8", lambda v: only(v, "|".join)),
    "total": ("int64", lambda v: only(v, lambda x: wrapped(sum(x)))),
    "quantile": ("float64", lambda v: only(v, lambda x: pytest.approx(statistics.median(x)))),
    "longest": ("utf8", lambda v: max(map(len, some(v)), default=-1)),
}


def value_of(type: str, rng: random.Random) -> Any:
    if rng.random() < 0.2:
        return None
    match type:
        case "int64":
            return rng.choice([rng.randrange(-5, 6), rng.randrange(-(2**63), 2**63)])
        case "uint64":
            return rng.randrange(2**64)
        case "int8":
            return rng.randrange(-128, 128)
        case "float64":
            return rng.uniform(-100, 100)
        case _:
            return rng.choice(["", "a", "zwölf", "x" * rng.randrange(30)])


@pytest.mark.parametrize("name", CASES)
def test_any_order_of_calls_in_any_process(name: str, catalog: Catalog, clients: list[Client]) -> None:
    """Rows by group in a model: what the groups hold, whatever was updated and combined where."""
    type, expected = CASES[name]
    arrow = pa.field("x", type if type != "utf8" else "string").type
    rng = random.Random(name)
    bound = catalog.open_aggregate(name, {"x": arrow})
    model: dict[int, list[Any]] = defaultdict(list)
    used: list[int] = []
    for _ in range(25):
        client = rng.choice(clients)
        match rng.randrange(4):
            case 0 | 1:
                ids = [rng.choice([rng.randrange(6), rng.randrange(6), 5000]) for _ in range(rng.randrange(40))]
                values = [value_of(type, rng) for _ in ids]
                bound.update(ids, {"x": pa.array(values, arrow)}, client)
                for group, value in zip(ids, values, strict=True):
                    model[group].append(value)
                used += ids
            case 2:
                pairs = [(rng.randrange(6), rng.randrange(6, 9)) for _ in range(rng.randrange(5))]
                bound.combine(pairs, client)
                for source, target in pairs:
                    model[target] = model[target] + model[source]
            case _:
                ids = [rng.choice([*used, 77, 3, 7, 3]) for _ in range(5)]
                got = bound.finalize(ids, client).to_pylist()
                assert got == [expected(model[group]) for group in ids]


def test_groups_without_state(catalog: Catalog) -> None:
    total = catalog.open_aggregate("int_sum", {"x": pa.int64()})
    total.update([0, 1, 1], {"x": pa.array([0, None, None], pa.int64())})
    assert total.finalize([0, 1, 2]).to_pylist() == [0, None, None]
    rows = catalog.open_aggregate("rows")
    rows.update([4, 4, 9])
    assert rows.finalize([9, 4, 5]).to_pylist() == [1, 2, 0]
    total.combine([(1, 10), (2, 10), (0, 11)])
    assert total.finalize([10, 11]).to_pylist() == [None, 0]


def test_nothing_is_sent(catalog: Catalog) -> None:
    total = catalog.open_aggregate("int_sum", {"x": pa.int64()})
    total.update([], {"x": pa.array([], pa.int64())})
    total.combine([])
    assert total.finalize([]).to_pylist() == []


def test_combine_goes_from_first_to_last_and_keeps_sources(catalog: Catalog) -> None:
    for name, seps in (("joined", "|"), ("listed", "-")):
        texts = catalog.open_aggregate(name, {"x": pa.string()})
        texts.update([0, 1, 2], {"x": ["a", "b", "c"]})
        texts.combine([(0, 1), (1, 2), (2, 5), (0, 5)])
        assert texts.finalize([0, 1, 2, 5]).to_pylist() == [
            "a",
            seps.join("ba"),
            seps.join("cba"),
            seps.join("cbaa"),
        ]


def test_only_assigned_states_are_kept(catalog: Catalog, clients: list[Client]) -> None:
    listed = catalog.open_aggregate("listed", {"x": pa.string()}, ["+"])
    listed.update([0, 0, 1], {"x": ["", "a", ""]}, clients[1])
    assert listed.finalize([0, 1, 2]).to_pylist() == ["+a", None, None]
    listed.update([0, 1], {"x": ["", "b"]}, clients[0])
    assert listed.finalize([0, 1], clients[1]).to_pylist() == ["+a+", "b"]


def test_constants_survive_the_destructor(catalog: Catalog, clients: list[Client]) -> None:
    quantile = catalog.open_aggregate("quantile", {"x": pa.float64()}, [pa.scalar(1)])
    quantile.update([0, 0], {"x": [1.0, 9.0]})
    assert quantile.finalize([0]).to_pylist() == [9.0]
    for client in (*clients, clients[0]):
        quantile.destroy(client)
    quantile.update([1, 1, 1], {"x": [3.0, 4.0, 5.0]}, clients[1])
    assert quantile.finalize([1]).to_pylist() == [5.0]
    longest = catalog.open_aggregate("longest", {"x": pa.string()}, [3])
    longest.update([0, 0, 1], {"x": ["ab", "abcd", "ab"]})
    assert longest.finalize([0, 1]).to_pylist() == [4, 0]


def test_what_is_removed_and_what_is_not(start: Callable[[], Client], state_folder: Path) -> None:
    """A destructor is a hint: another thread may just have begun a group."""
    clients = [start(), start()]
    catalog = clients[0].attach("basic")
    before = {path.name for path in state_folder.glob("x-*")}
    for name, type in (("int_sum", pa.int64()), ("texts", pa.string()), ("listed", pa.string())):
        done = catalog.open_aggregate(name, {"x": type})
        values: list[Any] = [1, 2] if name == "int_sum" else ["a", "b"]
        done.update([0, 1], {"x": values})
        done.combine([(0, 2), (1, 2)], clients[1])
        done.finalize([2])
        done.destroy()
    total = catalog.open_aggregate("int_sum", {"x": pa.int64()})
    total.update([0, 1], {"x": [1, 2]})
    total.finalize([0])
    total.destroy()
    for client in clients:
        client.close()  # each sweeps at its end
    left = {path.name for path in state_folder.glob("x-*")} - before
    assert left == {f"x-{total.execution_id.hex()}"}
    assert total.finalize([1], start()).to_pylist() == [2]


def test_a_damaged_state_file_is_an_error(catalog: Catalog, start: Callable[[], Client], state_folder: Path) -> None:
    total = catalog.open_aggregate("int_sum", {"x": pa.int64()})
    total.update([0], {"x": [1]})
    state = state_folder / f"x-{total.execution_id.hex()}" / "state"
    good = state.read_bytes()
    other = start()
    for damaged in (b"x" * len(good), good[:100], good[:40000], b"\x01" + good[1:]):
        state.write_bytes(damaged)
        with pytest.raises(RemoteError, match=r"StorageError: the state file .* is damaged"):
            total.finalize([0], other)
    state.write_bytes(good)
    assert total.finalize([0], other).to_pylist() == [1]


def test_another_function_cannot_read_the_states(catalog: Catalog, clients: list[Client]) -> None:
    total = catalog.open_aggregate("int_sum", {"x": pa.int64()})
    total.update([0], {"x": [1]})
    product = catalog.open_aggregate("int_product", {"x": pa.int64()})
    product.execution_id = total.execution_id
    with pytest.raises(RemoteError, match="those of another aggregate function"):
        product.finalize([0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"execution_id": b"short"}, "execution_id of 5 bytes"),
        ({"execution_id": b""}, "without an execution_id"),
        ({"execution_id": bytes(17)}, "execution_id is cut off"),
        ({"execution_id": bytes(60)}, "execution_id is damaged"),
        ({"function_name": "int_max"}, None),
        ({"function_name": "missing"}, "Unknown function: 'missing'"),
        ({"input_batch": b""}, "'input_batch' of a request is empty"),
        ({"input_batch": b"garbage!"}, "ProtocolError"),
    ],
)
def test_bad_requests_are_typed_errors(catalog: Catalog, fields: dict[str, Any], message: str | None) -> None:
    total = catalog.open_aggregate("int_sum", {"x": pa.int64()})
    request = {"input_batch": total.update_batch([0], {"x": [1]}), **fields}
    if message is None:
        total.call("aggregate_update", **request)
        return
    with pytest.raises(RemoteError, match=message):
        total.call("aggregate_update", **request)
    total.update([3], {"x": [4]})
    assert total.finalize([3]).to_pylist() == [4]


@pytest.mark.parametrize("group", [-1, -(2**63), 2**41, 2**63 - 1])
def test_group_ids_out_of_range(catalog: Catalog, group: int) -> None:
    total = catalog.open_aggregate("int_sum", {"x": pa.int64()})
    with pytest.raises(RemoteError, match="group ids from"):
        total.update([group], {"x": [1]})


def test_far_apart_groups(catalog: Catalog, clients: list[Client], state_folder: Path) -> None:
    """Ids of a statement that has run for long are large; its file has holes."""
    total = catalog.open_aggregate("int_sum", {"x": pa.int64()})
    ids = [0, 10_000_000, 200_000_000, 10_000_000, 0]
    total.update(ids, {"x": [1, 2, 3, 4, 5]})
    assert total.finalize([200_000_000, 0, 10_000_000], clients[1]).to_pylist() == [3, 6, 6]
    state = state_folder / f"x-{total.execution_id.hex()}" / "state"
    assert state.stat().st_blocks * 512 < 1_000_000


def test_bind_refuses(catalog: Catalog) -> None:
    with pytest.raises(RemoteError, match="got 2 columns"):
        catalog.open_aggregate("int_sum", {"x": pa.int64(), "y": pa.int64()})
    with pytest.raises(RemoteError, match="takes 1 positional argument, got 2"):
        catalog.open_aggregate("quantile", {"x": pa.float64()}, [0.5, 1.0])
    with pytest.raises(RemoteError, match=r"expected float64, got (utf8|string)"):
        catalog.open_aggregate("quantile", {"x": pa.float64()}, ["half"])


def test_weighted_mean(catalog: Catalog, clients: list[Client]) -> None:
    mean = catalog.open_aggregate("weighted_mean", {"x": pa.float64(), "w": pa.float64()}, [0.5])
    mean.update([0, 0, 1, 2], {"x": pa.array([1, 3, None, 5.0]), "w": pa.array([1, 1, 1.0, None])})
    mean.update([1], {"x": [8.0], "w": [2.0]}, clients[1])
    assert mean.finalize([0, 1, 2]).to_pylist() == [2.5, 8.25, None]
    mean.combine([(0, 7), (1, 7), (2, 7), (0, 8)], clients[1])
    assert mean.finalize([7, 8, 9]).to_pylist() == [(5 + 16.5) / 4, 2.5, None]


def test_sketches_count_distinct_values(catalog: Catalog, clients: list[Client]) -> None:
    distinct = catalog.open_aggregate("distinct", {"x": pa.string()})
    for part in range(4):
        values = [f"value {number}" for number in range(part * 1000, part * 1000 + 2000)]
        distinct.update([part % 2] * len(values), {"x": values}, clients[part % 2])
    distinct.combine([(0, 2), (1, 2)])
    few, _, many = distinct.finalize([0, 1, 2]).to_pylist()
    assert few == pytest.approx(4000, rel=0.1)
    assert many == pytest.approx(5000, rel=0.1)
    distinct.update([9] * 5, {"x": ["a", "b", None, "a", "c"]})
    assert distinct.finalize([9, 10]).to_pylist() == [3, 0]


def test_reduction_of_any_ufunc(catalog: Catalog, clients: list[Client]) -> None:
    distance = catalog.open_aggregate("distance", {"x": pa.float64()})
    distance.update([0, 0, 1], {"x": [3.0, 4.0, 5.0]})
    distance.combine([(0, 2), (1, 2)], clients[1])
    assert distance.finalize([0, 2]).to_pylist() == [5.0, pytest.approx(math.sqrt(50))]


def test_other_arrow_types_of_the_session(catalog: Catalog) -> None:
    """The client may bind a string and send large strings."""
    texts = catalog.open_aggregate("texts", {"x": pa.string()})
    texts.input_schema = type(texts.input_schema).parse("col_0: large_utf8")
    texts.update([0, 0], {"x": pa.array(["a", "b"], pa.large_string())})
    assert texts.finalize([0]).to_pylist() == [["a", "b"]]


def test_a_failed_update_changes_nothing(catalog: Catalog) -> None:
    weighted = catalog.open_aggregate("weighted_mean", {"x": pa.float64(), "w": pa.float64()})
    weighted.update([0], {"x": [1.0], "w": [1.0]})
    bad = AggregateCall.update_batch(weighted, [0], {"x": [5.0], "w": [1.0]})
    with pytest.raises(RemoteError):
        weighted.call("aggregate_update", input_batch=bad[:-40])
    assert weighted.finalize([0]).to_pylist() == [1.0]


def test_many_groups(catalog: Catalog, clients: list[Client]) -> None:
    total = catalog.open_aggregate("int_sum", {"x": pa.int64()})
    for start in range(0, 200_000, 50_000):
        rows = list(range(start, start + 50_000))
        total.update(rows, {"x": rows}, clients[start // 50_000 % 2])
    assert total.finalize(list(range(200_000)), clients[1]).to_pylist() == list(range(200_000))
