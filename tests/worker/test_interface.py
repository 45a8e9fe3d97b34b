"""Catalogs whose objects live elsewhere, and what the interface does without an author's method."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.fix_memory import Peer, RemoteFailure, request
from vgi_fast import (
    AttachData,
    AttachOption,
    AttachResult,
    Catalog,
    CatalogContext,
    CatalogInterface,
    CatalogSchema,
    CompanionCatalog,
    ReadOnlyCatalogInterface,
    ScanFunction,
    Table,
    View,
    Worker,
    table,
)
from vgi_fast.wire import records

Connect = Callable[..., Peer]


@table(columns={"n": "int64"})
def numbers(count: int) -> object:
    yield range(count)


class Elsewhere(CatalogInterface):
    """Tables by any name that is a number; catalogs by any name that starts with a dot."""

    def __init__(self, catalog: Catalog) -> None:
        super().__init__(catalog)
        self.asked: list[tuple[str, Any]] = []

    def accepts(self, name: str) -> bool:
        return name.startswith(".")

    def catalog_attach(
        self, *, name: str, options: Any, data_version_spec: str | None, ctx: CatalogContext, **call: Any
    ) -> AttachResult:
        assert not ctx.auth.authenticated
        return AttachResult(
            name.encode(), catalog_version=41, comment=f"{dict(options)}", data_version=data_version_spec
        )

    def catalog_version(self, *, attach_opaque_data: AttachData, transaction_opaque_data: bytes | None) -> int:
        return 42

    def schema_contents(self, *, attach_opaque_data: AttachData, name: str, type: str, **call: Any) -> list[Any]:
        self.asked.append((type, attach_opaque_data.state))
        if type == "VIEW":
            return [View("v", "SELECT 1")]
        return [b"not checked"] if type == "TABLE" else []

    def table_get(self, *, name: str, **call: Any) -> Table | None:
        return Table(name, function=numbers, arguments=[int(name)]) if name.isdigit() else None

    def copy_from_formats(self, *, attach_opaque_data: AttachData) -> list[dict[str, Any]]:
        return [
            {
                "format_name": "f",
                "handler": "h",
                "options": b"",
                "direction": "from",
                "description": "",
                "ordered": False,
                "tags": {},
            }
        ]


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere(
        Catalog("elsewhere", functions=[numbers], attach_options=[AttachOption("depth", "int32", 3)], transactions=True)
    )


def test_answers_come_from_the_methods(peer: Connect, elsewhere: Elsewhere) -> None:
    served = peer(Worker(catalogs=[elsewhere]))
    result = served.call("catalog_attach", name="elsewhere", data_version_spec="now")
    assert (result["catalog_version_frozen"], result["catalog_version"]) == (False, 41)
    assert (result["comment"], result["supports_transactions"]) == ("{'depth': 3}", True)
    assert result["resolved_data_version"] == "now"
    assert served.call("catalog_version") == {"version": 42}
    assert [one["name"] for one in served.call("catalog_schemas")] == ["main"]
    assert served.call("catalog_schemas")[0]["estimated_object_count"] is None
    assert [one["name"] for one in served.call("catalog_schema_get", name="MAIN")] == ["main"]
    # Nothing is kept: the catalog may have changed.
    for _ in range(2):
        assert [one["name"] for one in served.call("catalog_schema_contents_views", name="Main")] == ["v"]
    assert elsewhere.asked == [("VIEW", b"elsewhere")] * 2
    (found,) = served.call("catalog_table_get", schema_name="main", name="7")
    assert records.SCAN_FUNCTION_RESULT.decode(found["scan_function"])["function_name"] == "numbers"
    assert served.call("catalog_table_get", schema_name="main", name="seven") == []
    (branch,) = served.call("catalog_table_scan_branches_get", schema_name="main", name="7")["branches"]
    assert records.SCAN_BRANCH.decode(branch)["function_name"] == "numbers"
    assert served.call("catalog_copy_from_formats")[0]["format_name"] == "f"


def test_a_catalog_may_accept_further_names(peer: Connect, elsewhere: Elsewhere) -> None:
    served = peer(Worker(catalogs=[Catalog("declared"), elsewhere]))
    attached = served.call("catalog_attach", name=".hidden")["attach_opaque_data"]
    assert AttachData.open(attached).name == ".hidden"
    served.call("catalog_schema_contents_views", attach_opaque_data=attached, name="main")
    assert elsewhere.asked == [("VIEW", b".hidden")]
    with pytest.raises(RemoteFailure, match="No worker handles catalog 'visible'"):
        served.call("catalog_attach", name="visible")


def test_a_listing_may_hold_encoded_records(peer: Connect, elsewhere: Elsewhere) -> None:
    served = peer(Worker(catalogs=[elsewhere]))
    answer = served.stream("catalog_schema_contents_tables", name="main").checked()
    blob = answer.batches[0][0].column(0)[0].as_py()
    assert records.ITEMS_RESPONSE.decode(blob) == {"items": [b"not checked"]}


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("catalog_schema_drop", {"name": "main", "ignore_not_found": False, "cascade": False}, "Schema drop not impl"),
        (
            "catalog_table_column_default_drop",
            {"schema_name": "main", "name": "t", "column_name": "c", "ignore_not_found": False},
            "Table column default drop not implemented",
        ),
        ("catalog_transaction_begin", {}, "Catalog transaction begin not implemented"),
        ("catalog_drop", {"name": "x"}, "Catalog drop not implemented"),
        (
            "catalog_table_insert_function_get",
            {"schema_name": "main", "name": "7"},
            r"Table 'main\.7' does not support INSERT\.",
        ),
    ],
)
def test_what_is_not_overridden_refuses(
    peer: Connect, elsewhere: Elsewhere, method: str, params: dict[str, Any], message: str
) -> None:
    served = peer(Worker(catalogs=[elsewhere]))
    with pytest.raises(RemoteFailure, match=message) as caught:
        served.call(method, **params)
    assert caught.value.kind == ""  # an error kind would tell DuckDB that the method is unknown


def test_an_unknown_field_of_the_attach_result_is_refused(peer: Connect) -> None:
    class Wrong(CatalogInterface):
        def catalog_attach(self, **call: Any) -> AttachResult:
            return AttachResult(colour="red")

    with pytest.raises(RemoteFailure, match=r"catalog_attach: unknown fields \['colour'\]"):
        peer(Worker(catalogs=[Wrong(Catalog("wrong"))]))


def test_transactions_of_a_declared_catalog(peer: Connect) -> None:
    ended: list[bytes] = []

    class Watched(ReadOnlyCatalogInterface):
        def transaction_ended(self, transaction_opaque_data: bytes) -> None:
            ended.append(transaction_opaque_data)

    served = peer(Worker(catalogs=[Watched(Catalog("c", transactions=True))]))
    one, two = (served.call("catalog_transaction_begin")["transaction_opaque_data"] for _ in range(2))
    assert one != two
    served.call("catalog_transaction_commit", transaction_opaque_data=one)
    served.call("catalog_transaction_rollback", transaction_opaque_data=two)
    assert ended == [one, two]


def test_companions_and_the_secret_service(peer: Connect) -> None:
    companion = CompanionCatalog("lake", "ducklake:x.db", options={"a": 1}, hidden=True, required=True)  # type: ignore[dict-item]
    served = peer(Worker(catalogs=[Catalog("c", companions=[companion], secret_service_url="https://example.org/s")]))
    result = served.call("catalog_attach", name="c")
    assert dict(result["tags"]) == {"vgi_secret_service_url": "https://example.org/s"}
    (found,) = [records.ATTACH_CATALOG_INFO.decode(blob) for blob in result["attach_catalogs"]]
    assert {**found, "options": dict(found["options"])} == {
        "alias": "lake",
        "target": "ducklake:x.db",
        "db_type": "",
        "options": {"a": "1"},
        "hidden": True,
        "required": True,
        "secret_ref": "",
    }


def test_listings_of_one_attach_serve_the_next(peer: Connect) -> None:
    served = peer(Worker(catalogs=[Catalog("c", schemas=[CatalogSchema("main", views=[View("v", "SELECT 1")])])]))
    served.call("catalog_schema_contents_views", name="main")
    kept = len(served.service.replies)
    again = served.call("catalog_attach", name="c")["attach_opaque_data"]
    served.call("catalog_schema_contents_views", attach_opaque_data=again, name="MAIN")
    assert len(served.service.replies) == kept
    # Names that do not exist leave nothing behind.
    for name in ("x", "y", "z"):
        served.call("catalog_view_get", schema_name="main", name=name)
        served.call("catalog_schema_contents_views", name=name)
    assert len(served.service.replies) == kept + 2  # the two empty answers


def test_listings_can_be_made_before_anybody_asks(peer: Connect) -> None:
    versions = ["2.0.0", "1.0.0"]
    tables = [Table("t", function=numbers, arguments=[1], versions=["1.0.0"])]
    declared = Catalog("c", schemas=[CatalogSchema("main", tables=tables)], data_versions=versions)
    worker = Worker(catalogs=[declared, Elsewhere(Catalog("d"))])
    worker.service().prebuild()
    made = dict(worker.service().replies)
    served = peer(worker)
    for version in versions:
        attached = served.call("catalog_attach", name="c", data_version_spec=version)["attach_opaque_data"]
        served.call("catalog_schemas", attach_opaque_data=attached)
        listed = served.call("catalog_schema_contents_tables", attach_opaque_data=attached, name="main")
        assert len(listed) == (version == "1.0.0")
        for kind in records.OBJECT_TYPES[2:5]:
            served.call("catalog_schema_contents_functions", attach_opaque_data=attached, name="main", type=kind)
    assert served.service.replies == made


def test_a_missing_scan_function_is_named(peer: Connect) -> None:
    served = peer(
        Worker(
            catalogs=[
                Catalog(
                    "c",
                    schemas=[
                        CatalogSchema("main", tables=[Table("t", columns={"n": "int64"}, scan=ScanFunction("glob"))])
                    ],
                )
            ]
        )
    )
    with pytest.raises(RemoteFailure, match="Unknown function: 'glob'"):
        (answer,) = served.exchange(
            request("bind", {"request": served.bind_request("glob", attach_opaque_data=served.attach_data)})
        )
        answer.checked()
