"""What ATTACH and name resolution ask."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from tests.fix_memory import Peer, RemoteFailure, request
from vgi_fast import Catalog, CatalogSchema, Int64, Schema, SecretType, SettingSpec, Worker, scalar, table
from vgi_fast.wire import methods, records
from vgi_fast.wire.arrow import decode_row, encode_row

Connect = Callable[..., Peer]


@scalar
def same(x: Int64) -> Int64:
    """The same."""
    return x


@table(columns="n: int64", schema="data")
def numbers(count: int) -> object:
    yield range(count)


@pytest.fixture
def served(peer: Connect) -> Peer:
    catalog = Catalog(
        "example",
        schemas=[CatalogSchema("main", comment="All", functions=[same]), CatalogSchema("data", tags={"k": "v"})],
        functions=[numbers],
        settings=[SettingSpec("greeting", "utf8", "Hello", "Text"), SettingSpec("config", "struct<a: int64>")],
        secret_types=[SecretType("vault", {"key": str, "port": "int32"}, redact=["key"])],
        global_functions=["same"],
        global_function_prefix="ex",
        comment="For tests",
        tags={"a": "b"},
        source_url="https://example.org",
    )
    return peer(Worker("w", catalogs=[catalog, Catalog("other")]))


def test_attach(served: Peer) -> None:
    result = served.call("catalog_attach", name="example")
    assert result["attach_opaque_data"] != served.attach_data
    assert (result["catalog_version_frozen"], result["catalog_version"]) == (True, 1)
    assert (result["supports_transactions"], result["default_schema"]) == (False, "main")
    assert (result["comment"], dict(result["tags"])) == ("For tests", {"a": "b"})
    settings = [records.SETTING_SPEC.decode(blob) for blob in result["settings"]]
    assert [(one["name"], one["description"]) for one in settings] == [("greeting", "Text"), ("config", "")]
    assert decode_row(settings[0]["default_value"]) == {"value": "Hello"}
    assert settings[1]["default_value"] is None
    assert pa.ipc.read_schema(pa.py_buffer(settings[1]["type"])).field("value").type == pa.struct([("a", pa.int64())])
    (secret_type,) = [records.SECRET_TYPE_SPEC.decode(blob) for blob in result["secret_types"]]
    parameters = pa.ipc.read_schema(pa.py_buffer(secret_type["parameters_schema"]))
    assert parameters.field("key").metadata == {b"redact": b"true"}
    assert not parameters.field("port").metadata
    (published,) = [records.FUNCTION_INFO.decode(blob) for blob in result["global_functions"]]
    assert (published["name"], published["schema_name"], result["global_function_prefix"]) == ("same", "main", "ex")


def test_attach_is_refused(served: Peer) -> None:
    with pytest.raises(RemoteFailure, match="No worker handles catalog 'nonexistent_catalog'"):
        served.call("catalog_attach", name="nonexistent_catalog")
    with pytest.raises(RemoteFailure, match="Unsupported data_version_spec '1.0.0'"):
        served.call("catalog_attach", name="other", data_version_spec="1.0.0")
    with pytest.raises(RemoteFailure, match="Unsupported implementation_version '2'"):
        served.call("catalog_attach", name="other", implementation_version="2")
    options = encode_row(Schema.of({"api_key": "utf8"}), {"api_key": "x"})
    with pytest.raises(RemoteFailure, match=r"Unknown ATTACH options \['api_key'\]"):
        served.call("catalog_attach", name="other", options=options)


def test_catalogs(served: Peer) -> None:
    found = served.call("catalog_catalogs")
    assert [(one["name"], one["source_url"]) for one in found] == [("example", "https://example.org"), ("other", None)]


def test_schemas_count_exactly(served: Peer) -> None:
    main, data = served.call("catalog_schemas")
    assert (main["name"], main["comment"], data["name"], dict(data["tags"])) == ("main", "All", "data", {"k": "v"})
    zeros = dict.fromkeys(records.OBJECT_COUNT_KEYS, 0)
    assert dict(main["estimated_object_count"]) == {**zeros, "scalar_function": 1}
    assert dict(data["estimated_object_count"]) == {**zeros, "table_function": 1}
    assert [one["name"] for one in served.call("catalog_schema_get", name="MAIN")] == ["main"]
    assert served.call("catalog_schema_get", name="nope") == []


def test_functions_by_schema_and_kind(served: Peer) -> None:
    assert [one["name"] for one in served.functions("SCALAR_FUNCTION")] == ["same"]
    assert [one["name"] for one in served.functions("TABLE_FUNCTION", "Data")] == ["numbers"]
    assert served.functions("TABLE_FUNCTION")[1:] == []
    assert served.functions("AGGREGATE_FUNCTION") == []
    assert served.functions("SCALAR_FUNCTION", "nope") == []
    with pytest.raises(RemoteFailure, match="'VIEW' is not a type of function"):
        served.functions("VIEW")


def test_a_listing_is_the_same_bytes_each_time(served: Peer) -> None:
    params = {"attach_opaque_data": served.attach_data, "name": "main", "type": "SCALAR_FUNCTION"}
    first, second = served.exchange(request("catalog_schema_contents_functions", params) * 2)
    assert first.batches[0][0].equals(second.batches[0][0])


def test_there_is_nothing_else(served: Peer) -> None:
    for kind in ("tables", "views", "indexes"):
        assert served.call(f"catalog_schema_contents_{kind}", name="main") == []
    assert served.call("catalog_schema_contents_macros", name="main", type="SCALAR_MACRO") == []
    for kind in ("table", "view", "macro", "index"):
        assert served.call(f"catalog_{kind}_get", schema_name="main", name="x") == []
    assert served.call("catalog_copy_from_formats") == []
    assert served.call("catalog_version") == {"version": 1}
    assert served.call("catalog_detach") is None
    assert served.call("catalog_table_column_statistics_get", schema_name="main", name="x") is None


COLUMN = Schema.parse("c: int64").serialize()
VALUES = {"utf8": "x", "binary": COLUMN, "bool": False, "dictionary": "ERROR", "map": None, "list": []}
MEMBERS = {"macro_type": "SCALAR", "constraint_type": "NONE"}
CHANGES = [name for name in methods.names() if methods.method(name).kind == "void" and name != "catalog_detach"]


def change_request(method: methods.Method, attach_data: bytes, **values: Any) -> bytes:
    """A request of a method that changes something, with a value in every field."""
    schema = method.params if method.request is None else method.request.schema()
    params = {field.name: VALUES[field.type.kind] for field in schema}
    params |= {name: value for name, value in MEMBERS.items() if name in params}
    params |= {name: None for name in ("options", "parameter_default_values") if name in params}
    params |= {"attach_opaque_data": attach_data} if "attach_opaque_data" in params else {}
    params |= values
    if method.request is not None:
        params = {"request": method.request.encode(params)}
    return request(method.name, params)


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_refused(served: Peer, name: str) -> None:
    (answer,) = served.exchange(change_request(methods.method(name), served.attach_data))
    with pytest.raises(RemoteFailure, match="^CatalogReadOnlyError: Cannot .*: catalog is read-only$"):
        answer.checked()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("catalog_view_create", {"on_conflict": "PERHAPS"}, "on_conflict must be one of ERROR, IGNORE, REPLACE"),
        ("catalog_table_create", {"columns": b"x"}, "ProtocolError"),
        ("catalog_table_column_add", {"column_definition": Schema([]).serialize()}, "expected a schema of one field"),
        ("catalog_table_create", {"schema_name": None}, "schema_name is missing"),
        ("catalog_index_create", {"constraint_type": "ODD"}, "constraint_type must be one of NONE, UNIQUE, PRIMARY"),
    ],
)
def test_what_cannot_be_read_is_not_called_read_only(
    served: Peer, name: str, values: dict[str, Any], message: str
) -> None:
    (answer,) = served.exchange(change_request(methods.method(name), served.attach_data, **values))
    with pytest.raises(RemoteFailure, match=message):
        answer.checked()


def test_an_attach_of_another_worker_is_not_recognized(served: Peer) -> None:
    with pytest.raises(RemoteFailure, match="attach_opaque_data not recognized"):
        served.call("catalog_schemas", attach_opaque_data=b"VGI\0MWC\0\x07example")
    renamed = served.attach_data.replace(b"example", b"exampel")
    with pytest.raises(RemoteFailure, match="Cannot route catalog_schemas: no catalog 'exampel'"):
        served.call("catalog_schemas", attach_opaque_data=renamed)
