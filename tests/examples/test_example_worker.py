"""The example worker, called as a client calls it."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.fix_memory import Peer
from tests.fix_worker import Workers
from vgi_fast.client.catalog import Catalog
from vgi_fast.errors import ArgumentError, RemoteError
from vgi_fast.examples.example_worker import worker as example_worker

MAIN = "from vgi_fast.examples.example_worker import main\nmain()"
TOP = 2**63 - 1
SECRET = {"type": "vgi_example", "secret_string": "hush", "api_key": "k", "port": 5432}

POINT = pa.struct([("lat", pa.float64()), ("lon", pa.float64())])


@pytest.fixture
def example(worker: Workers) -> Catalog:
    return worker(MAIN).attach("example")


def column(values: list[Any], type: Any = None) -> pa.Table:
    return columns(pa.array(values, type))


def columns(*arrays: pa.Array) -> pa.Table:
    return pa.table(list(arrays), [f"c{index}" for index in range(len(arrays))])


def rows(catalog: Catalog, name: str, data: Any, *args: Any, **options: Any) -> list[Any]:
    return catalog.scalar(name, data, args, **options).to_pylist()  # type: ignore[no-any-return]


def test_what_is_listed(example: Catalog) -> None:
    scalars = [*example.functions("main", "scalar"), *example.functions("data", "scalar")]
    assert len(scalars) == 52
    assert Counter(function.info["stability"] for function in scalars) == {
        "CONSISTENT": 49,
        "VOLATILE": 2,
        "CONSISTENT_WITHIN_QUERY": 1,
    }
    assert sum(any(argument.is_varargs for argument in function.arguments) for function in scalars) == 6
    by_name = {function.name: function for function in scalars}
    assert [name for name in by_name if by_name[name].info["null_handling"] == "SPECIAL"] == ["null_handling"]
    assert by_name["multiply_by_setting"].info["required_settings"] == ["multiplier"]
    assert [argument.doc for argument in by_name["multiply"].arguments] == [
        "Integer value to multiply",
        "Multiplication factor",
    ]
    undocumented = [function.name for function in scalars if not function.description]
    assert undocumented == []


def test_the_start_imports_neither_numpy_nor_pyarrow() -> None:
    source = """if True:
        import sys
        from vgi_fast.examples.example_worker import worker

        worker.service()
        print(*{"numpy", "pyarrow"} & sys.modules.keys())
    """
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""


def test_arithmetic(example: Catalog) -> None:
    assert rows(example, "multiply", column([2, None, TOP]), 3) == [6, None, TOP - 2]
    assert rows(example, "null_handling", column([1, None])) == [1, -5000]
    assert rows(example, "query_seed", column([1, None])) == [1001, None]
    assert rows(example, "collatz_steps", column([1, 2, 27, 0, -1, None])) == [0, 1, 111, 0, 0, None]
    assert rows(example, "concat_values", columns(pa.array([1, 2]), pa.array([3, None]))) == ["4", None]
    assert rows(example, "concat_values", columns(pa.array(["a", "b"]), pa.array(["c", None]))) == ["ac", None]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pa.array([1, None], pa.int8()), pa.array([2, None], pa.int16())),
        (pa.array([2**31 - 1], pa.int32()), pa.array([2**32 - 2], pa.int64())),
        (pa.array([2**63], pa.uint64()), pa.array([0], pa.uint64())),
        (pa.array([1.5, None], pa.float32()), pa.array([3.0, None], pa.float64())),
        (pa.array([Decimal("1.25")], pa.decimal128(10, 2)), pa.array([Decimal("2.50")], pa.decimal128(11, 2))),
        (pa.array([Decimal(7)], pa.decimal128(38, 0)), pa.array([Decimal(14)], pa.decimal128(38, 0))),
    ],
)
def test_double_makes_room(example: Catalog, given: pa.Array, expected: pa.Array) -> None:
    assert example.scalar("double", columns(given)).combine_chunks().equals(expected)


def test_double_refuses(example: Catalog) -> None:
    with pytest.raises(RemoteError, match="_is_multipliable_type"):
        rows(example, "double", column(["a"]))
    with pytest.raises(RemoteError, match="does not fit in precision 38"):
        rows(example, "double", column([Decimal(5 * 10**37)], pa.decimal128(38, 0)))
    assert rows(example, "double", column([21])) == [42]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (pa.int8(), pa.int8(), pa.int16()),
        (pa.int16(), pa.int64(), pa.int64()),
        (pa.int32(), pa.uint32(), pa.int64()),
        (pa.int64(), pa.uint64(), pa.int64()),
        (pa.uint8(), pa.uint16(), pa.uint32()),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.decimal128(4, 1), pa.float64(), pa.float64()),
        (pa.decimal128(38, 0), pa.decimal128(38, 0), pa.decimal128(38, 0)),
        (pa.date32(), pa.duration("us"), pa.timestamp("us")),
    ],
)
def test_common_types(example: Catalog, left: pa.DataType, right: pa.DataType, expected: pa.DataType) -> None:
    found = example.scalar("add_values", columns(pa.array([1, None], left), pa.array([2, 2], right)))
    assert found.type == expected
    assert found.combine_chunks().cast(expected).null_count == 1


def test_sums(example: Catalog) -> None:
    three = columns(pa.array([1, None], pa.int32()), pa.array([2, 2], pa.int32()), pa.array([3, 3], pa.int32()))
    found = example.scalar("sum_values", three)
    assert (found.type, found.to_pylist()) == (pa.int64(), [6, None])
    with pytest.raises(RemoteError, match="_is_addable_type"):
        rows(example, "sum_values", column([True]))
    with pytest.raises(RemoteError, match="data loss|truncated"):
        rows(example, "sum_values", columns(pa.array([1]), pa.array([0.5])))


def test_texts(example: Catalog) -> None:
    words = column(["straße", None])
    assert rows(example, "upper_case", words) == ["STRAẞE", None]
    assert rows(example, "passthru", words) == ["straße", None]
    assert rows(example, "sha256_hex", column(["abc", None]))[1] is None
    assert rows(example, "hash_rounds", column(["abc", None]), 0) == ["616263", None]
    assert rows(example, "hash_rounds", column(["abc"]), 2)[0].startswith("4f8b42c2")
    flags = column([True, False, None])
    assert rows(example, "conditional_message", flags, 2, "ab") == ["abab", "", None]
    packet = column([b"\x01", None])
    assert rows(example, "binary_packet", packet, b"\xca", {"label": "v", "version": 257}) == [
        b"\xca\x01v\x01",
        b"\xcav\x01",
    ]


def test_overloads_by_constants(example: Catalog) -> None:
    numbers = column([0.5, 1.5, -0.0, float("inf"), None])
    assert rows(example, "format_number", numbers) == ["0", "2", "-0", "inf", None]
    assert rows(example, "format_number", numbers, 2, "$") == ["$0.50", "$1.50", "$-0.00", "$inf", None]
    assert rows(example, "smart_format", column([1e16, 3.14]), 5) == ["1e+16", " 3.14"]
    assert rows(example, "smart_format", column([1e-5, 10.0]), ">") == [">1e-05", ">10.0"]
    with pytest.raises(RemoteError, match="(?s)'precision' is too large.*must be <= 10"):
        rows(example, "format_number", numbers, 11)


def test_overloads_by_columns(example: Catalog) -> None:
    for type, name in ((pa.int32(), "int32"), (pa.uint64(), "uint64"), (pa.string(), "varchar")):
        assert rows(example, "type_info", columns(pa.array([None, "1"]).cast(type))) == [None, name]
    numbers, texts = pa.array([1, None]), pa.array(["a", "b"])
    assert rows(example, "pair_type", columns(numbers, texts)) == ["int+str", None]
    assert rows(example, "any_mixed", columns(numbers, texts)) == ["any+str: a", "any+str: b"]
    assert rows(example, "any_mixed", columns(texts, numbers)) == ["any+int: 1", None]


def test_random_values(example: Catalog) -> None:
    full = columns(pa.array([0, 7, None]), pa.array([TOP, 7, 3]))
    low, seven, nothing = rows(example, "random_int", full)
    assert low >= 0
    assert (seven, nothing) == (7, None)
    with pytest.raises(RemoteError, match="low > high"):
        rows(example, "random_int", columns(pa.array([2]), pa.array([1])))
    assert set(rows(example, "bernoulli", 64)) == {False, True}
    assert rows(example, "hash_seed", 3, TOP - 2) == [TOP - 2, TOP - 1, TOP]
    blobs = rows(example, "random_bytes", 2, 42, 5)
    assert [len(blob) for blob in blobs] == [5, 5]
    assert rows(example, "random_bytes", 2, 42, 5) == blobs
    with pytest.raises(RemoteError, match="ValueError"):
        rows(example, "random_bytes", 1, 42, -1)


@pytest.mark.parametrize("form", ["struct", "list", "fixed"])
def test_points(example: Catalog, form: str) -> None:
    type = {"struct": POINT, "list": pa.list_(pa.float64()), "fixed": pa.list_(pa.float64(), 2)}[form]

    def points(*pairs: tuple[float | None, float] | None) -> pa.Array:
        if form == "struct":
            return pa.array([pair and {"lat": pair[0], "lon": pair[1]} for pair in pairs], type)
        return pa.array([pair and list(pair) for pair in pairs], type)

    pair = columns(points((0.0, 0.0), (None, 1.0), None), points((3.0, 4.0), (0.0, 0.0), (1.0, 1.0)))
    assert rows(example, f"geo_distance_{form}", pair) == [5.0, None, None]
    middle = {"lat": 1.5, "lon": 2.0}
    assert rows(example, f"geo_centroid_{form}", pair) == [middle, {"lat": None, "lon": 0.5}, None]


def test_settings(example: Catalog) -> None:
    assert rows(example, "multiply_by_setting", column([2, None])) == [2, None]
    assert rows(example, "multiply_by_setting", column([2]), settings={"multiplier": 5}) == [10]
    assert rows(example, "scale_by_setting", column([2.0]), settings={"scale_factor": 0.5}) == [1.0]
    plain = example.table("settings_aware", 2, settings={"multiplier": 3}).read_all()
    assert plain.to_pydict() == {"id": [0, 1], "greeting": ["Hello", "Hello"], "value": [0.0, 7.5]}
    verbose = example.table("settings_aware", 1, settings={"vgi_verbose_mode": True}).read_all()
    assert verbose["details"].to_pylist() == ["row_0"]
    config = {"start": 10, "step": 5, "label": "item"}
    assert example.table("struct_settings", 2, settings={"config": config}).read_all().to_pydict() == {
        "n": [10, 15],
        "label": ["item_0", "item_1"],
    }


def test_secrets(example: Catalog) -> None:
    secrets = {"mine": SECRET}
    assert rows(example, "secret_field", 1, secrets=secrets) == ["port=5432;name=hush"]
    assert '"api_key": "k"' in rows(example, "return_secret_value", 1, secrets=secrets)[0]
    with pytest.raises(RemoteError, match="needs a secret of type 'vgi_example'"):
        rows(example, "secret_field", 1)
    listed = example.table("secret_demo", secrets=secrets).read_all().to_pylist()
    assert {"key": "secret_string", "value": "hush", "arrow_type": "utf8"} in listed
    assert example.table("secret_demo").read_all().num_rows == 0


def test_secrets_by_scope(example: Catalog) -> None:
    secrets = {letter: {**SECRET, "scope": f"s3://bucket-{letter}/", "api_key": f"k{letter}"} for letter in "ab"}
    for path, found, key in (("s3://bucket-b/x", True, "kb"), ("s3://other/x", False, "")):
        scoped = example.table("scoped_secret_demo", path, secrets=secrets).read_all().to_pylist()
        assert [(row["scope"], row["found"]) for row in scoped] == [(path, found)]
        assert example.table("multi_secret_demo", path, secrets=secrets).read_all()["api_key"].to_pylist() == [key]


def test_identity_is_known_for_null_rows_too(example: Catalog) -> None:
    assert rows(example, "whoami", column([1, None], pa.int64())) == ["anonymous", "anonymous"]


@pytest.mark.parametrize(
    ("name", "args", "result"),
    [
        ("cached_double_scalar", (), [2, -2, None]),
        ("cached_add_const", (10,), [11, 9, None]),
        ("cached_label", (), ["lbl-1", None, None]),
    ],
)
def test_cacheable_values(peer: Callable[..., Peer], name: str, args: tuple[int, ...], result: list[Any]) -> None:
    answer = peer(example_worker).scalar_stream(name, [{"value": [1, -1, None]}] * 2, {"value": "int64"}, *args)
    assert answer.rows() == {"result": result * 2}
    advertised = {b"vgi.cache.ttl": b"300", b"vgi.cache.scope": b"catalog", b"vgi.cache.per_value": b"1"}
    assert [metadata for _, metadata in answer.batches] == [advertised, advertised]


def test_schemas_and_catalogs_are_told_apart(worker: Workers) -> None:
    client = worker(MAIN)
    example = client.attach("example")
    for schema in ("main", "data"):
        assert rows(example, "test_same_name_bind", column([1, None]), schema=schema) == [f"{schema}:1", None]
    twins = [client.attach(name) for name in ("twin_a", "twin_b")]
    assert [rows(twin, "test_same_name_catalog", column([1])) for twin in twins] == [["twin_a:1"], ["twin_b:1"]]


def tensor(cells: Any, axes: dict[str, list[Any]]) -> pa.Table:
    return column([{"tensor": cells, "axes": axes}, None])


def test_unnest_tensor(example: Catalog) -> None:
    (cells, nothing) = rows(example, "unnest_tensor", tensor([[1, 2], [None, 4]], {"x": [0, 1], "y": ["a", "b"]}))
    assert nothing is None
    assert [(cell["axes"]["x"], cell["axes"]["y"], cell["value"]) for cell in cells] == [
        (0, "a", 1),
        (0, "b", 2),
        (1, "a", None),
        (1, "b", 4),
    ]
    for data, text in (
        (column([1]), "must be a struct"),
        (column([{"tensor": [1]}]), "'tensor' and 'axes'"),
        (tensor([1], {"x": [0], "y": [0]}), "nesting depth"),
    ):
        with pytest.raises(RemoteError, match=text):
            rows(example, "unnest_tensor", data)


def test_sequence(example: Catalog) -> None:
    call = example.table("sequence", 5, batch_size=2, increment=3)
    assert [batch.column(0).to_pylist() for batch in call] == [[0, 3], [6, 9], [12]]
    assert call.bound.cardinality() == (5, 5)
    assert example.table("sequence", 0).read_all().num_rows == 0
    for named in ({"batch_size": 0}, {"increment": -3}):
        with pytest.raises(RemoteError, match="must be >= 1"):
            example.table("sequence", 5, named=named)
    with pytest.raises(RemoteError, match="must be >= 0"):
        example.table("sequence", -1)


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("make_series", (3,), {"value": [0, 1, 2]}),
        ("make_series", ("10, 20",), {"value": [10, 20]}),
        ("make_series", (0.5,), {"value": [0.5 * row for row in range(10)]}),
        ("make_series", (3, 5), {"value": [3, 4]}),
        ("make_series", (5, 3), {"value": []}),
        ("make_series", (0, 10, 4), {"value": [0, 4, 8]}),
        ("make_pairs", (1, 3), {"a": [1, 2], "b": [2, 4]}),
        ("make_pairs", (7, "r"), {"a": list(range(7, 12)), "b": ["r0", "r1", "r2", "r3", "r4"]}),
        ("repeat_value", (2, 5, 6), {"v0": [5, 5], "v1": [6, 6]}),
        ("repeat_value", (1, "a"), {"v0": ["a"]}),
        ("global_table", (), {"n": [0, 1, 2], "label": ["global_table:0", "global_table:1", "global_table:2"]}),
    ],
)
def test_producers(example: Catalog, name: str, args: tuple[Any, ...], expected: dict[str, list[Any]]) -> None:
    assert example.table(name, *args).read_all().to_pydict() == expected


def test_named_arguments(example: Catalog) -> None:
    assert example.table("named_params_echo", 2).read_all().to_pylist() == [
        {"id": row, "greeting": "hello", "value": row, "float_value": row * 1.0, "enabled": True} for row in range(2)
    ]
    last = example.table("named_params_echo", 5000, greeting="", multiplier=10, scale=0.5, enabled=False)
    assert last.read_all().to_pylist()[-1] == {
        "id": 4999,
        "greeting": "",
        "value": 49990,
        "float_value": 2499.5,
        "enabled": False,
    }


def test_projected_data(example: Catalog) -> None:
    row = {"id": 1999, "name": "item_1999", "value": 2998.5, "extra": 1999**2}
    assert example.table("projected_data", 2000).read_all().to_pylist()[-1] == row
    for wanted in (["extra", "id"], ["name"]):
        found = example.table("projected_data", 2000, projection=wanted).read_all()
        assert (found.column_names, found.to_pylist()[-1]) == (wanted, {name: row[name] for name in wanted})


@pytest.mark.parametrize(
    "value",
    [
        pa.scalar(-128, pa.int8()),
        pa.scalar(2**64 - 1, pa.uint64()),
        pa.scalar(Decimal("12.3"), pa.decimal128(4, 1)),
        pa.scalar("größe"),
        pa.scalar(1_700_000_000_123_456_789, pa.timestamp("ns")),
        pa.scalar([1, None], pa.list_(pa.int32())),
        pa.scalar([("a", 1)], pa.map_(pa.string(), pa.int32())),
        pa.scalar({"x": 1.5}, pa.struct([("x", pa.float64())])),
        pa.scalar(None, pa.date32()),
    ],
)
def test_constant_columns(example: Catalog, value: pa.Scalar) -> None:
    call = example.table("constant_columns", 3000, 7, value)
    assert call.schema.names == ["col_0", "col_1"]
    assert call.schema.field("col_1").type == value.type
    batches = list(call)
    assert [batch.num_rows for batch in batches] == [2048, 952]
    assert batches[1].column(0).to_pylist() == [7] * 952
    assert batches[1].column(1).to_pylist() == [value.as_py()] * 952
    assert example.table("constant_columns", 0, value).read_all().num_rows == 0


def test_constant_columns_need_a_value(example: Catalog) -> None:
    with pytest.raises((RemoteError, ArgumentError), match="constant_columns|values"):
        example.table("constant_columns", 3)


def test_logs_of_a_producer(worker: Workers) -> None:
    client = worker(MAIN)
    assert client.attach("example").table("logging_generator", 3).read_all()["n"].to_pylist() == [0, 1, 2]
    assert [(log.level, log.message) for log in client.logs] == [
        ("INFO", "Starting generation of 3 values"),
        ("INFO", "Generation complete"),
    ]


def test_a_profile_is_read_in_any_process(worker: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGI_FAST_STATE_DIR", str(tmp_path))
    one, two = (worker(MAIN).attach("example") for _ in range(2))
    stream = one.bind_table("profiling_demo", [5000], {"batch_size": 2000, "increment": 3}).init()
    values = [value for batch in stream.batches() for value in batch.column("n").to_pylist()]
    assert values == list(range(0, 15000, 3))
    profile = two.bind_table("profiling_demo", [5000]).explain(stream.header["execution_id"])
    assert (profile["rows_produced"], profile["batches_emitted"]) == ("5000", "3")
    assert float(profile["elapsed_ms"]) > 0
    assert one.bind_table("profiling_demo", [5000]).explain(stream.header["execution_id"]) == {}
    assert list((tmp_path / "run").iterdir()) == []


def test_a_producer_is_told_that_nobody_reads_on(example: Catalog, tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    stream = example.bind_table("slow_cancellable", [str(probe)], {"sleep_ms": 0}).init()
    batch = stream.tick()
    assert batch is not None
    assert batch.column("n").to_pylist() == [0]
    stream.cancel()
    assert re.fullmatch(r"pid=\d+ emitted=1\n", probe.read_text())
    assert example.table("slow_cancellable", str(probe), count=3, sleep_ms=0).read_all()["n"].to_pylist() == [0, 1, 2]


def test_a_value_for_the_transaction(example: Catalog) -> None:
    def value(key: str, seed: int) -> int:
        (found,) = example.table("tx_cached_value", key, seed).read_all()["v"].to_pylist()
        return int(found)

    assert [value("k", 100), value("k", -200)] == [100, -200]
    for end in (example.commit, example.rollback):
        example.begin()
        assert [value("k", -111), value("k", 222), value("other", TOP), value("other", 1)] == [-111, -111, TOP, TOP]
        end()
        assert value("k", 333) == 333


@pytest.mark.parametrize("name", ["tt_pushdown_fn", "tt_pushdown_cols"])
def test_versions_under_filters(example: Catalog, name: str) -> None:
    for at, version in (
        (None, 2),
        (("VERSION", "1"), 1),
        (("VERSION", "2"), 2),
        (("TIMESTAMP", "2020-12-31 00:00:00"), 1),
        (("TIMESTAMP", "2021-01-01 00:00:00"), 2),
    ):
        found = example.scan(name, "data", at=at).read_all().to_pydict()
        rows = 5 * version
        assert found["id"] == list(range(1, rows + 1))
        assert found["val"][-1] == 10 * rows
        assert set(found["seen_version"]) == {version}
        assert set(found["pushed_filters"]) == {"(none)"}
    for wrong in ("3", "x"):
        with pytest.raises(RemoteError, match=f"Unknown version: {wrong}"):
            example.scan(name, "data", at=("VERSION", wrong)).read_all()
