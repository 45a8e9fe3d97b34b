"""Objects of an attached catalog: listed, read and written over each transport."""

from collections.abc import Iterator

import pyarrow as pa
import pytest

from tests.fix_worker import Workers
from vgi_fast._core import Schema, decode_row
from vgi_fast.client import Catalog
from vgi_fast.errors import ArgumentError, RemoteError
from vgi_fast.wire import records


@pytest.fixture
def tables(worker: Workers) -> Iterator[Catalog]:
    with worker("tables") as client:
        yield client.attach("tables", {"size": 5})


def test_what_is_listed(tables: Catalog) -> None:
    assert [one["name"] for one in tables.tables()] == ["large", "people", "computed", "versioned", "parts"]
    assert tables.tables("other") == tables.tables("nowhere") == tables.views("other") == []
    (view,) = tables.views()
    assert (view["definition"], view["comment"], dict(view["tags"])) == ("FROM large LIMIT 2", "Two", {"a": "b"})
    assert dict(view["column_comments"]) == {"n": "N"}
    (index,) = tables.indexes()
    assert (index["table_name"], index["constraint_type"], index["expressions"]) == ("people", "UNIQUE", ["name"])
    assert dict(index["options"]) == {"k": "v"}
    (plus,), (upto,) = tables.macros("scalar"), tables.macros("table")
    assert (plus["parameters"], decode_row(plus["parameter_default_values"])) == (["x", "y"], {"y": 1})
    arguments = Schema.from_bytes(plus["arguments_schema"])
    assert [str(type) for type in arguments.types] == ["null", "int64"]
    assert arguments["x"].metadata == {b"vgi_doc": b"Left"}
    assert (upto["macro_type"], upto["parameter_default_values"]) == ("TABLE", None)
    assert [one.name for one in tables.functions("main", "table")] == ["numbers", "echo"]
    main, other = tables.schemas()
    counts = {"table": 5, "view": 1, "scalar_function": 0, "aggregate_function": 0, "table_function": 2}
    assert dict(main["estimated_object_count"]) == {**counts, "macro": 2, "index": 1}
    assert other["estimated_object_count"] is None
    assert tables.copy_formats() == []


@pytest.mark.parametrize("name", ["LARGE", "large"])
def test_a_name_is_found_in_any_case(tables: Catalog, name: str) -> None:
    found = tables.table_info(name, "MAIN")
    assert found == tables.tables()[0]
    assert tables.table_info("nothing") is None
    assert tables.table_info(name, "nowhere") is None
    assert tables.view_info("Few") == tables.views()[0]
    assert tables.macro_info("PLUS") == tables.macros("scalar")[0]
    assert tables.macro_info("upto") == tables.macros("table")[0]
    assert tables.index_info("by_name") == tables.indexes()[0]
    assert tables.view_info("large") is tables.macro_info("few") is tables.index_info("plus") is None


def test_a_table_of_a_function_says_all_at_once(tables: Catalog) -> None:
    info = tables.tables()[0]
    scan = records.SCAN_FUNCTION_RESULT.decode(info["scan_function"])
    assert (scan["function_name"], decode_row(scan["arguments"])) == ("numbers", {"arg_0": 1000})
    assert (info["cardinality_estimate"], info["cardinality_max"]) == (1000, 1000)
    assert info["supports_column_statistics"]
    assert tables.statistics("large")[0]["max"].value == 999
    assert tables.scan("large").read_all()["n"].to_pylist() == list(range(1000))
    assert tables.scan("large", columns=["n"]).read_all().num_rows == 1000
    assert tables.scan_function("large")["function_name"] == "numbers"


def test_constraints_and_columns(tables: Catalog) -> None:
    info = tables.tables()[1]
    assert info["not_null_constraints"] == [0]
    assert info["unique_constraints"] == [[1], [1, 2]]
    assert (info["primary_key_constraints"], info["check_constraints"]) == ([[0]], ["age > 0"])
    (key,) = map(records.FOREIGN_KEY.decode, info["foreign_key_constraints"])
    assert key == {
        "fk_columns": ["age"],
        "pk_columns": ["age"],
        "referenced_table": "ages",
        "referenced_schema": "other",
    }
    assert info["required_filters"] == [["id", "name"]]
    columns = pa.ipc.read_schema(pa.py_buffer(info["columns"]))
    assert [columns.field(name).metadata for name in columns.names] == [
        {b"comment": b"Number"},
        {b"default": b"'it''s'"},
        {b"default": b"1 + 1"},
        {b"is_row_id": b""},
    ]
    assert not columns.field("id").nullable
    # Statistics that expire at once have to be asked for; those of texts say that they may be Unicode.
    assert (info["column_statistics"], info["supports_column_statistics"]) == (None, True)
    (found,) = tables.statistics("people")
    assert (found["column_name"], found["contains_unicode"], found["max_string_length"]) == ("name", True, 10)
    assert tables.statistics("computed") == []
    computed = Schema.from_bytes(tables.tables()[2]["columns"])
    assert computed["twice"].metadata == {b"generated_expression": b"n * 2"}


def test_functions_that_nobody_lists_can_be_scanned(tables: Catalog) -> None:
    assert "people_scan" not in [one.name for one in tables.functions()]
    assert tables.scan("people").read_all()["name"].to_pylist() == ["Ann", "Bob"]
    assert tables.scan("computed").read_all().to_pydict() == {"n": [0, 1, 2]}


def test_time_travel(tables: Catalog) -> None:
    assert tables.scan("versioned").read_all().to_pydict() == {"v": ["v2"]}
    first = ("VERSION", "1")
    info = tables.table_info("versioned", at=first)
    assert info is not None
    assert str(Schema.from_bytes(info["columns"])["v"].type) == "int64"
    assert tables.scan("versioned", at=first).read_all().to_pydict() == {"v": [1]}
    with pytest.raises(RemoteError, match="Unknown version: 3"):
        tables.table_info("versioned", at=("VERSION", "3"))
    with pytest.raises(RemoteError, match=r"Table 'main\.large' does not support time travel queries"):
        tables.scan_branches("large", at=first)
    with pytest.raises(RemoteError, match="at_unit and at_value must both be provided or both be None"):
        tables.call("catalog_table_get", schema_name="main", name="large", at_unit="VERSION")


def test_branches(tables: Catalog) -> None:
    branches, extensions = tables.scan_branches("parts")
    assert extensions == ["parquet"]
    assert [one["function_name"] for one in branches] == ["numbers", "read_parquet", ""]
    assert [one["branch_filter"] for one in branches] == ["n < 2", None, "n > 9"]
    assert [one["writable"] for one in branches] == [False, True, False]
    assert decode_row(branches[1]["arguments"]) == {"arg_0": "x.parquet"}
    assert [branches[2][f"source_{part}"] for part in ("catalog", "schema", "table")] == ["lake", "main", "events"]
    assert tables.table_info("parts")["scan_function"] is None  # type: ignore[index]
    (only,), _ = tables.scan_branches("computed")
    assert (only["function_name"], decode_row(only["arguments"])) == ("numbers", {"arg_0": 3})
    with pytest.raises(ArgumentError, match="3 branches"):
        tables.scan("parts")
    with pytest.raises(RemoteError, match=r"Table 'main\.nothing' does not exist"):
        tables.scan_function("nothing")
    with pytest.raises(RemoteError, match=r"Table 'main\.parts' has no scan function"):
        tables.scan_function("parts")


def test_insert_update_delete(tables: Catalog) -> None:
    rows = pa.table({"id": range(5000), "name": ["x"] * 5000, "age": [1] * 5000})
    assert tables.insert("people", rows) == 5000
    assert "finished" in [log.message for log in tables.client.logs]
    returned = tables.insert("people", rows.slice(0, 2), returning=True)
    assert returned.to_pydict() == {"id": [0, 1], "name": ["xx", "xx"], "age": [1, 1]}
    assert tables.update("people", {"key": [7], "name": ["Eve"]}) == 1
    assert tables.update("people", {"name": ["Eve"], "key": [7]}, returning=True)["name"].to_pylist() == ["EveEve"]
    assert tables.delete("people", [7, 8]) == 2
    with pytest.raises(RemoteError, match=r"Table 'main\.large' does not support UPDATE\."):
        tables.call("catalog_table_update_function_get", schema_name="main", name="large")


@pytest.mark.parametrize(("name", "message"), [("bad", "a bad name"), ("late", "too late")])
def test_a_write_that_fails_leaves_the_connection_usable(tables: Catalog, name: str, message: str) -> None:
    with pytest.raises(RemoteError, match=message):
        tables.insert("people", {"id": [1], "name": [name], "age": [1]})
    assert "aborted" in [log.message for log in tables.client.logs]
    assert tables.delete("people", [1]) == 1


def test_versions_choose_tables(worker: Workers) -> None:
    with worker("tables") as client:
        (info,) = client.catalogs()
        assert (info["implementation_version"], info["data_version_spec"]) == ("3.1.0", ">=1.0.0")
        assert [(one["version"], one["summary"]) for one in info["releases"]] == [
            ("2.0.0", "Newer"),
            ("1.0.0", "First"),
        ]
        assert info["releases"][1]["released_at"] is None
        old = client.attach("tables", {"size": 1}, data_version_spec="^1.0.0", implementation_version="~3.0.0")
        assert (old.result["resolved_data_version"], old.result["resolved_implementation_version"]) == (
            "1.0.0",
            "3.0.0",
        )
        assert old.scan("old").read_all().num_rows == 1
        new = client.attach("tables", {"size": 1})
        assert new.result["resolved_data_version"] == "2.0.0"
        assert new.table_info("old") is None
        assert old.table_info("old") is not None


def test_attach_options_travel_with_each_call(worker: Workers) -> None:
    with worker("tables") as client:
        one = client.attach("tables", {"SIZE": 3, "color": "blue"}, data_version_spec="1")
        two = client.attach("tables", {"size": 4})
        assert one.table("echo").read_all().to_pylist() == [
            {"catalog": "tables", "data_version": "1.0.0", "color": "blue", "size": 3}
        ]
        assert two.table("echo").read_all()["color"].to_pylist() == ["red"]
        with pytest.raises(RemoteError, match="cannot be attached without the required option 'size'"):
            client.attach("tables")
        with pytest.raises(RemoteError, match="Unsupported data_version_spec '9'"):
            client.attach("tables", {"size": 1}, data_version_spec="9")
        with pytest.raises(RemoteError, match=r"Unsupported implementation_version '~4\.0\.0'"):
            client.attach("tables", {"size": 1}, implementation_version="~4.0.0")
