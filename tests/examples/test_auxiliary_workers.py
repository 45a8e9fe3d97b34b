"""The smaller example workers, called as a client calls them."""

from pathlib import Path

import pyarrow as pa
import pytest

from tests.fix_worker import Workers
from vgi_fast._core import Schema
from vgi_fast.client import Catalog, Client
from vgi_fast.client.values import arguments_blob
from vgi_fast.errors import RemoteError
from vgi_fast.wire import records

pytestmark = pytest.mark.transports("stdio")


def main_of(name: str) -> str:
    return f"from vgi_fast.examples.{name}_worker import main\nmain()"


@pytest.fixture(autouse=True)
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.fixture
def example(worker: Workers) -> Client:
    return worker(main_of("example"))


def test_versions(worker: Workers) -> None:
    client = worker(main_of("versioned"))
    result = client.attach("versioned").result
    assert (result["resolved_data_version"], result["resolved_implementation_version"]) == ("1.2.0", "1.0.0")
    assert client.attach("versioned", data_version_spec="1.1.0").result["resolved_data_version"] == "1.1.0"
    assert [schema["name"] for schema in client.attach("versioned").schemas()] == ["main"]
    with pytest.raises(RemoteError, match="Unsupported implementation_version"):
        client.attach("versioned", implementation_version="2.0.0")


def test_tables_of_each_version(worker: Workers) -> None:
    client = worker(main_of("versioned_tables"))
    tables = {
        version: {info["name"]: len(pa.ipc.read_schema(pa.py_buffer(info["columns"]))) for info in catalog.tables()}
        for version in ("1.0.0", "1.1.0", "2.0.0", "3.0.0")
        for catalog in [client.attach("versioned_tables", data_version_spec=version)]
    }
    assert tables == {
        "1.0.0": {"animals": 3},
        "1.1.0": {"animals": 4},
        "2.0.0": {"animals": 3, "plants": 3},
        "3.0.0": {"plants": 3},
    }
    oldest = client.attach("versioned_tables", data_version_spec="1.0")
    assert oldest.scan("animals").read_all()["name"].to_pylist() == ["chicken", "cow", "horse", "pig", "sheep"]
    assert oldest.table_info("plants") is None


def test_attach_options(worker: Workers) -> None:
    client = worker(main_of("attach_options"))
    (row,) = client.attach("attach_options", {"opt_int8": 5}).table("echo_attach_options").read_all().to_pylist()
    assert (row["opt_int8"], row["opt_string"], row["opt_struct"]) == (5, "hello", {"a": 1, "b": "x"})
    assert len(row) == 20
    with pytest.raises(RemoteError, match="required option 'api_key'"):
        client.attach("attach_options_required")


def test_writes(worker: Workers) -> None:
    client = worker(main_of("simple_writable"))
    one, two = client.attach("simple_writable"), client.attach("simple_writable")
    rows = {"id": [1, 2], "name": ["a", None], "qty": [10, 20]}
    assert one.insert("items", rows) == 2
    assert one.insert("items", {"id": [3], "name": ["c"], "qty": [30]}, returning=True).to_pylist() == [
        {"id": 3, "name": "c", "qty": 30}
    ]
    assert one.update("items", {"rowid": [1, 3], "qty": [11, 31]}) == 2
    assert one.delete("items", [2], returning=True).to_pylist() == [{"id": 2, "name": None, "qty": 20}]
    assert one.scan("items").read_all().to_pylist() == [
        {"id": 1, "name": "a", "qty": 11, "rowid": 1},
        {"id": 3, "name": "c", "qty": 31, "rowid": 3},
    ]
    assert one.scan("items", columns=["rowid", "id", "rowid"]).read_all().column(2).to_pylist() == [1, 3]
    assert two.scan("items").read_all().num_rows == 0
    with pytest.raises(RemoteError, match="there is no row 7"):
        one.delete("items", [7])


def test_returning_that_is_not_delivered(worker: Workers) -> None:
    catalog = worker(main_of("simple_writable")).attach()
    answer = catalog.insert("items_broken_returning", {"id": [1], "name": ["x"]}, returning=True)
    assert answer.to_pylist() == [{"count": 1}]


def test_types_are_strict(example: Client) -> None:
    catalog = example.attach("schema_reconcile")
    (info,) = [info for info in catalog.tables() if info["name"] == "struct_demo"]
    schema = pa.ipc.read_schema(pa.py_buffer(info["columns"]))
    row = {"id": 1, "ts": 0, "nested": {"a": 2, "b": "x", "ts2": None}, "tags": [{"k": "a", "v": b"1"}]}
    fields = [schema.field(name) for name in schema.names[:-1]]
    data = pa.Table.from_pylist([row], schema=pa.schema(fields))
    assert catalog.insert("struct_demo", data) == 1
    read = catalog.scan("struct_demo").read_all().to_pylist()
    assert read[0]["rowid"] == {"a": 1, "b": "x"}
    assert catalog.delete("struct_demo", [read[0]["rowid"]]) == 1
    request = {
        "function_name": "schema_reconcile_insert",
        "function_type": "TABLE",
        "schema_name": "main",
        "arguments": arguments_blob([pa.scalar("demo")], {}),
        "input_schema": Schema.parse("id: int64").serialize(),
        "attach_opaque_data": catalog.result["attach_opaque_data"],
        "resolved_secrets_provided": False,
    }
    with pytest.raises(RemoteError, match="schema_reconcile: .* expects"):
        example.call("bind", request)


def test_an_unknown_word_in_a_listing(worker: Workers) -> None:
    catalog = worker(main_of("bad_enum")).attach("example")
    spoilt = {one.name for one in catalog.functions("main", "scalar") if one.info["null_handling"] == "WEIRD"}
    assert spoilt == {"double"}


def test_another_protocol_version(worker: Workers) -> None:
    client = worker(main_of("bad_protocol"))
    with pytest.raises(RemoteError, match="protocol_version mismatch") as caught:
        client.catalogs()
    assert caught.value.kind == "protocol_version_mismatch"


def test_companions(worker: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker(main_of("companion")).attach().result["attach_catalogs"] == []
    monkeypatch.setenv("VGI_TEST_COMPANION_TARGET", "ducklake:sqlite:x.db")
    monkeypatch.setenv("VGI_TEST_COMPANION_POISON", "1")
    catalog = worker(main_of("companion")).attach()
    found = [records.ATTACH_CATALOG_INFO.decode(blob) for blob in catalog.result["attach_catalogs"]]
    assert [(one["alias"], one["required"], one["hidden"]) for one in found] == [
        ("vgi_companion", True, False),
        ("vgi_companion_poison", True, False),
    ]
    branches, extensions = catalog.scan_branches("hot_cold")
    assert extensions == ["parquet"]
    assert {(one["source_catalog"], one["source_table"]) for one in branches} == {("vgi_companion", "events")}


@pytest.fixture
def attached(example: Client) -> Catalog:
    return example.attach("example")


def test_tables_of_the_example(attached: Catalog) -> None:
    listed = {info["name"]: info for info in attached.tables("data")}
    assert [name for name, info in listed.items() if not info["comment"]] == []
    assert listed["numbers"]["scan_function"] is None
    assert listed["ten_thousand_table"]["cardinality_estimate"] is None
    assert listed["cardinality_inlined_table"]["cardinality_max"] == 10_000
    assert attached.scan("versioned_data", "data", at=("TIMESTAMP", "2021-05-05")).read_all().num_rows == 5
    assert attached.scan("secret_demo_table", "data").read_all().num_rows == 0
    with pytest.raises(RemoteError, match="table did not exist before 2020"):
        attached.table_info("versioned_data", "data", at=("TIMESTAMP", "1990-01-01"))
    with pytest.raises(RemoteError, match="Unknown version"):
        attached.table_info("versioned_data", "data", at=("VERSION", "-1"))
    assert attached.scan_branches("multi_branch_empty", "data")[0] == []


def test_work_is_shared_between_streams(attached: Catalog) -> None:
    values = attached.table("partitioned_sequence", 5000, increment=2).read_all()["n"].to_pylist()
    assert values == list(range(0, 10_000, 2))


def test_every_catalog_attaches(example: Client) -> None:
    names = [info["name"] for info in example.catalogs()]
    assert names == [
        "example",
        "projection_repro",
        "schema_reconcile",
        "accumulate",
        "narrow_bind",
        "twin_a",
        "twin_b",
    ]
    assert example.attach("accumulate").result["resolved_data_version"] == "2.0.0"
    wide = example.attach("projection_repro")
    for name in ("proj_repro_strict", "proj_repro_full_schema", "proj_repro_chunked", "proj_repro_multi_worker"):
        assert wide.table(name, 5, projection=["partition"]).read_all()["partition"].to_pylist() == [0, 1, 2, 3, 0]
    with pytest.raises(RemoteError, match="No worker handles catalog 'nonexistent_catalog'"):
        example.attach("nonexistent_catalog")
