"""Attaching, listing and calling functions of a live worker."""

from collections.abc import Iterator
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from tests.fix_worker import Workers
from vgi_fast.client import Catalog, Client
from vgi_fast.errors import ArgumentError, RemoteError
from vgi_fast.wire import keys, methods


@pytest.fixture
def basic(worker: Workers) -> Iterator[Catalog]:
    with worker("basic") as client:
        yield client.attach()


def test_attach_by_name_or_as_the_only_catalog(worker: Workers) -> None:
    with worker("basic") as client:
        assert [info["name"] for info in client.catalogs()] == ["basic"]
        assert client.attach().name == client.attach("basic").name == "basic"
        with pytest.raises(RemoteError, match="nowhere"):
            client.attach("nowhere")
        assert client.attach().default_schema == "main"


def test_unknown_attach_option_is_refused_here(worker: Workers) -> None:
    with (
        worker("basic") as client,
        pytest.raises(ArgumentError, match=r"Unknown ATTACH option 'colour' for catalog 'basic'\. Accepted options: "),
    ):
        client.attach("basic", {"Colour": "red"})


def test_functions_are_listed_with_signatures(basic: Catalog) -> None:
    listed = {str(function) for function in basic.functions("main")}
    assert {
        "double(x: int64) -> int64",
        "power(base: int64, const exponent: int64) -> int64",
        "total(*values: float64) -> float64",
        "hypot(x: float64, y: float64) -> float64",
        "numbers(count: int64, *, batch_size: int64 = 2048, start: int64 = 0) -> table",
        "words(*texts: utf8) -> table",
    } <= listed
    assert {function.kind for function in basic.functions(kind="table")} == {"TABLE"}
    assert len([each for each in basic.functions("main", "scalar") if each.name == "shape"]) == 4
    assert not basic.functions(kind="aggregate")


@pytest.mark.parametrize(
    "data",
    [
        pa.table({"a": [1, None, 3]}),
        pa.record_batch({"a": pa.array([1, None, 3], pa.int32())}),
        {"a": [1, None, 3]},
        [[1, None, 3]],
        pa.array([1, None, 3]),
        pa.chunked_array([[1], [None, 3]]),
    ],
)
def test_scalar_takes_columns_in_any_form(basic: Catalog, data: object) -> None:
    result = basic.scalar("double", data)
    assert result.type == pa.int64()
    assert result.to_pylist() == [2, None, 6]


def test_scalar_over_many_batches(basic: Catalog) -> None:
    values = np.arange(100_000)
    result = basic.scalar("double", values, batch_rows=777)
    assert result.num_chunks == -(-100_000 // 777)
    assert np.array_equal(result.to_numpy(), values * 2)


def test_scalar_without_rows(basic: Catalog) -> None:
    assert basic.scalar("double", pa.array([], pa.int64())).to_pylist() == []


def test_scalar_without_columns_takes_the_number_of_rows(basic: Catalog) -> None:
    assert basic.scalar("seven", 5, batch_rows=2).to_pylist() == [7] * 5


def test_constants_are_cast_to_the_declared_type(basic: Catalog) -> None:
    assert basic.scalar("power", [[2, 3]], args=[3]).to_pylist() == [8, 27]
    assert basic.scalar("power", [[2, 3]], args=["2"]).to_pylist() == [4, 9]
    with pytest.raises(ArgumentError, match="Constant argument 'exponent' of function 'power': cannot cast string to"):
        basic.scalar("power", [[2, 3]], args=["two"])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([[1]], "int64"),
        ([pa.array([1], pa.int8())], "int64"),
        ([[1.5]], "float64"),
        ([pa.array([1.5], pa.float32())], "float64"),
        ([["x"]], "utf8"),
        ([pa.array(["x"]).dictionary_encode()], "utf8"),
        ([[1], [2]], "two"),
    ],
)
def test_overload_is_chosen_by_number_and_types(basic: Catalog, columns: list[object], expected: str) -> None:
    assert basic.scalar("shape", columns).to_pylist() == [expected]


def test_no_overload_fits(basic: Catalog) -> None:
    with pytest.raises(ArgumentError, match="No overload fits the call of 'shape'") as caught:
        basic.scalar("shape", [[date(2013, 1, 1)]])
    assert "shape(value: utf8) -> utf8" in str(caught.value)
    with pytest.raises(ArgumentError, match="No overload fits"):
        basic.scalar("double", [[1], [2]])
    with pytest.raises(ArgumentError, match="no scalar function 'dubble'"):
        basic.scalar("dubble", [[1]])


def test_names_are_matched_without_case(basic: Catalog) -> None:
    assert basic.scalar("DOUBLE", [[1]]).to_pylist() == [2]


def test_varargs(basic: Catalog) -> None:
    assert basic.scalar("total", [[1.0, 2.0], [10, 20], [100.5, 200.5]]).to_pylist() == [111.5, 222.5]
    with pytest.raises(RemoteError, match="requires at least 1 value"):
        basic.scalar("total", 2)


def test_ufunc(basic: Catalog) -> None:
    assert basic.scalar("hypot", {"x": [3.0, None], "y": [4.0, 1.0]}).to_pylist() == [5.0, None]


def test_settings_have_defaults_and_are_cast(basic: Catalog) -> None:
    assert basic.scalar("scaled", [[3]]).to_pylist() == [3]
    assert basic.scalar("scaled", [[3]], settings={"factor": "5"}).to_pylist() == [15]
    with pytest.raises(ArgumentError, match="has no setting 'factr'"):
        basic.scalar("scaled", [[3]], settings={"factr": 5})


def test_secret_is_found_by_type(basic: Catalog) -> None:
    secrets = {"mine": {"type": "vault", "word": "hush"}, "other": {"type": "s3", "word": "no"}}
    assert basic.scalar("whisper", [[1, 2]], secrets=secrets).to_pylist() == ["hush", "hush"]


def test_errors_and_logs_of_a_function(basic: Catalog) -> None:
    assert basic.scalar("complains", [[1]]).to_pylist() == [1]
    assert [(record.level, record.message, record.extra) for record in basic.client.logs] == [
        ("WARN", "about to fail", {"rows": 1})
    ]
    with pytest.raises(RemoteError, match="negative value") as caught:
        basic.scalar("complains", [[1, -1]])
    assert caught.value.error_type == "ValueError"
    assert "complains" in str(caught.value.extra["traceback"])
    assert basic.scalar("complains", [[2]]).to_pylist() == [2]


def test_open_scalar_is_reused_over_batches(basic: Catalog) -> None:
    with basic.open_scalar("power", ["int64"], [2]) as call:
        assert call.apply([[1, 2]]).to_pylist() == [1, 4]
        assert call.apply([[3]]).to_pylist() == [9]
    assert basic.scalar("double", [[1]]).to_pylist() == [2]


def test_table_by_position_and_name(basic: Catalog) -> None:
    rows = basic.table("numbers", 5, batch_size=2, start=10).read_all()
    assert rows.to_pydict() == {"n": [10, 11, 12, 13, 14], "square": [100, 121, 144, 169, 196]}
    assert [batch.num_rows for batch in basic.table("numbers", 5, batch_size=2)] == [2, 2, 1]
    assert basic.table("numbers", 0).read_all().num_rows == 0


def test_table_projection(basic: Catalog) -> None:
    assert basic.table("numbers", 3, projection=["square"]).read_all().to_pydict() == {"square": [0, 1, 4]}
    result = basic.table("numbers", 2, projection=[1, 0]).read_all()
    assert result.column_names == ["square", "n"]
    # Not advertised by this one, so the client selects.
    assert basic.table("words", "a", "bcd", projection=["length"]).read_all().to_pydict() == {"length": [1, 3]}
    with pytest.raises(ArgumentError, match="no column 'cube'"):
        basic.table("numbers", 3, projection=["cube"])


def test_table_stopped_early(basic: Catalog) -> None:
    with basic.table("numbers", 1_000_000, batch_size=10) as call:
        first = next(iter(call))
    assert first.num_rows == 10
    assert basic.scalar("double", [[4]]).to_pylist() == [8]


def test_table_errors(basic: Catalog) -> None:
    call = basic.table("fails_after", 2)
    seen = []
    with pytest.raises(RemoteError, match="ran out"):
        for batch in call:
            seen += batch.column(0).to_pylist()
    assert seen == [0, 1]
    with pytest.raises(ArgumentError, match="No overload fits the call of 'numbers'"):
        basic.table("numbers", 3, size=1)
    assert basic.table("numbers", 2).read_all().num_rows == 2


def test_cardinality(basic: Catalog) -> None:
    assert basic.bind_table("numbers", [12]).cardinality() == (12, 12)


def test_describe_lists_every_catalog(worker: Workers) -> None:
    with worker("basic") as client:
        assert [(catalog.name, catalog.result["comment"]) for catalog in client.describe()] == [
            ("basic", "For the tests of the client")
        ]


def test_version_and_transport_options(worker: Workers) -> None:
    with worker("basic") as client:
        catalog = client.attach()
        assert isinstance(catalog.version(), int)
        assert client.transport_options()["vgi_rpc.request_version"] == "1"


def test_protocol_is_described_where_the_worker_allows_it(worker: Workers) -> None:
    with worker("basic", "--describe") as client:
        metadata, rows = client.describe_protocol()
    assert metadata["vgi_rpc.protocol_version"] == "1.3.0"
    assert [row["name"] for row in rows] == methods.names()
    with worker("basic") as client, pytest.raises(RemoteError) as caught:
        client.describe_protocol()
    assert caught.value.kind == keys.KIND_METHOD_NOT_IMPLEMENTED


def test_close_in_mid_stream_does_not_wait_for_the_worker(worker: Workers) -> None:
    client = worker("basic")
    batches = client.attach().table("numbers", 10_000_000, batch_size=500_000)
    next(iter(batches))
    assert client.close(wait_s=20) == 0


def test_unknown_method_is_declined_with_its_kind(worker: Workers) -> None:
    with worker("basic") as client:
        with pytest.raises(RemoteError) as caught:
            client.call_raw("nope")
        assert caught.value.kind == "method_not_implemented"
        assert client.catalogs()


def test_clients_are_independent(worker: Workers) -> None:
    clients: list[Client] = [worker("basic") for _ in range(2)]
    assert [client.attach().scalar("double", [[index]]).to_pylist() for index, client in enumerate(clients)] == [
        [0],
        [2],
    ]
