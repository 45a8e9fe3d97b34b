"""Filter blobs: what they become, how they are shown, and what is wrong with those that are refused."""

import json
from base64 import b64encode
from typing import Any

import pyarrow as pa
import pytest

from tests.functions.filter_cases import filter_blob, keys_blob
from vgi_fast import RecordBatch, Schema
from vgi_fast.errors import FilterDeserializationError, FilterError, FilterVersionError, TypeMismatchError
from vgi_fast.functions.filters.decoding import decode_filters
from vgi_fast.functions.filters.nodes import Bounds, ConstantFilter, PushdownFilters
from vgi_fast.functions.filters.plan import StreamFilters, bind_filters


def named(column: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"column_name": column, "column_index": 0, "type": kind, **more}


def constant(column: str, op: str, ref: int) -> dict[str, Any]:
    return named(column, "constant", op=op, value_ref=ref)


def decoded(nodes: list[Any], *values: Any, keys: list[bytes] | None = None) -> PushdownFilters:
    table = pa.table({f"k{i}": [value] for i, value in enumerate(values)}) if values else None
    return decode_filters(filter_blob(nodes, table), keys)


def passing(filters: PushdownFilters, **columns: Any) -> list[int]:
    batch = RecordBatch.from_arrow(pa.record_batch(columns))
    plan = bind_filters(filters, batch.schema)
    if plan is None:
        return list(range(batch.num_rows))
    return [i for i, passes in enumerate(plan.mask(batch)) if passes]


def test_no_filters() -> None:
    assert not decode_filters(None)
    assert not decoded([])
    assert repr(decoded([])) == "PushdownFilters([])"
    assert passing(decoded([]), n=[1, None]) == [0, 1]


def test_texts() -> None:
    filters = decoded(
        [
            constant("n", "ge", 0),
            named("s", "or", children=[named("s", "is_null"), constant("s", "eq", 1)]),
            named("st", "struct", child_index=1, child_name="b", child_filter=constant("st", "lt", 0)),
            named("n", "join_keys", keys_column="n"),
            named("m", "and", children=[named("m", "is_not_null")]),
        ],
        5,
        "a",
        keys=[keys_blob("n", pa.array([1, 2, 3, 4, 5, 6]))],
    )
    assert repr(filters) == (
        "PushdownFilters([ConstantFilter(n >= 5), OrFilter(IsNullFilter(s IS NULL) OR ConstantFilter(s = a)), "
        "StructFilter(st.b: ConstantFilter(st < 5)), InFilter(n IN [1, 2, 3]...(6 total)), "
        "AndFilter(IsNotNullFilter(m IS NOT NULL))])"
    )
    assert filters.to_sql() == (
        "n >= ? AND (s IS NULL OR s = ?) AND st.b < ? AND n IN (?, ?, ?, ?, ?, ?) AND (m IS NOT NULL)",
        [5, "a", 5, 1, 2, 3, 4, 5, 6],
    )
    assert filters.columns == {"n", "s", "st", "m"}
    assert filters.has_filter("n") and not filters.has_filter("b")
    assert decoded([named("n", "and", children=[])]).to_sql() == ("TRUE", [])
    assert decoded([named("n", "or", children=[])]).to_sql() == ("FALSE", [])


def test_accessors() -> None:
    filters = decoded(
        [
            named(
                "n",
                "and",
                children=[
                    constant("n", "gt", 0),
                    named("n", "and", children=[constant("n", "ge", 1), constant("n", "lt", 2)]),
                    named("n", "join_keys", keys_column="n"),
                ],
            ),
            named("s", "or", children=[constant("s", "eq", 3), constant("s", "eq", 4), constant("s", "eq", 3)]),
            constant("e", "eq", 1),
        ],
        1,
        3,
        9,
        "b",
        "a",
        keys=[keys_blob("n", pa.array([4, 8]))],
    )
    assert filters.bounds("n") == Bounds(3, 9, True, False)
    assert repr(filters.bounds("n")) == "Bounds([3, 9))"
    assert filters.in_values("n") == [4, 8]
    assert filters.values("n") == [4, 8]
    assert filters.values("s") == ["b", "a"]
    assert filters.constant("e") == 3 and filters.bounds("e") == Bounds(3, 3)
    assert filters.constant("n") is None and not filters.bounds("s")
    same = decoded([named("n", "and", children=[constant("n", "gt", 0), constant("n", "ge", 0)])], 5)
    assert same.bounds("n") == Bounds(5, None, True, True)


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ({}, "expected an array of filters"),
        ([1], "expected an object"),
        ([named("n", "strange")], "Unknown filter type: strange"),
        ([constant("n", "about", 0)], "'about' is not a valid ComparisonOp"),
        ([named("n", "constant", op="eq")], "has no 'value_ref'"),
        ([constant("n", "eq", 1)], "value_ref 1 of 1 values"),
        ([constant("n", "eq", -1)], "value_ref -1 of 1 values"),
        ([named("n", "constant", op="eq", value_ref=True)], "'value_ref' is True, expected int"),
        ([named("n", "and", children=3)], "'children' is 3, expected list"),
        ([{"type": "is_null", "column_index": 0}], "has no 'column_name'"),
        ([named("n", "in", value_ref=0)], "an IN list of int64"),
        ([named("n", "expression", expr={"expr_type": "case"})], "Unknown expression node type: case"),
        (
            [named("n", "expression", expr={"expr_type": "comparison", "op": "unknown"})],
            "'unknown' is not a valid ComparisonOp",
        ),
    ],
)
def test_refused(nodes: Any, text: str) -> None:
    with pytest.raises(FilterDeserializationError, match=text):
        decoded(nodes, 1)


def test_deep_nesting_is_refused() -> None:
    node: Any = named("n", "is_null")
    for _ in range(150):
        node = named("n", "and", children=[node])
    with pytest.raises(FilterDeserializationError, match="nest deeper"):
        decoded([node])


def test_versions() -> None:
    with pytest.raises(FilterVersionError, match="Missing vgi_filter_version metadata"):
        decode_filters(filter_blob([], None, version=None))
    with pytest.raises(FilterVersionError, match="Unsupported filter version: '2'"):
        decode_filters(filter_blob([], None, version=b"2"))
    with pytest.raises(FilterError):
        decode_filters(b"nonsense")


def test_join_keys_that_did_not_come() -> None:
    keys = named("n", "join_keys", keys_column="n")
    assert passing(decoded([keys]), n=[1, 2]) == [0, 1]
    assert passing(decoded([named("n", "and", children=[keys, constant("n", "gt", 0)])], 1), n=[1, 2]) == [1]
    assert passing(decoded([named("n", "or", children=[keys, constant("n", "gt", 0)])], 1), n=[1, 2]) == [0, 1]
    assert not decoded([named("n", "and", children=[keys])])


def test_keys_of_one_name_are_taken_in_order() -> None:
    node = named("n", "join_keys", keys_column="n")
    blobs = [keys_blob("n", pa.array([1, 3, 7])), keys_blob("n", pa.array([1, 3, 9]))]
    filters = decoded([named("n", "and", children=[node, named("n", "and", children=[node])])], keys=blobs)
    assert passing(filters, n=[1, 3, 7, 9, None]) == [0, 1]


def test_columns_are_found_by_name() -> None:
    node = {**constant("s", "eq", 0), "column_index": 0}
    assert passing(decoded([node], "a"), n=[1, 2], s=["b", "a"]) == [1]
    with pytest.raises(FilterError, match="a filter on column 'z'"):
        passing(decoded([constant("z", "eq", 0)], 1), n=[1])
    both = Schema.parse("n: int64, n: int64")
    batch = RecordBatch(both, [RecordBatch.from_arrow(pa.record_batch({"n": v})).column(0) for v in ([1, 2], [2, 1])])
    plan = bind_filters(decoded([{**constant("n", "eq", 0), "column_index": 1}], 1), both)
    assert plan is not None and plan.mask(batch).to_pylist() == [False, True]


def test_unknown_operators_do_not_constrain() -> None:
    node = named("n", "or", children=[constant("n", "unknown", 0), constant("n", "eq", 0)])
    assert passing(decoded([node], 1), n=[1, 2, None]) == [0, 1, 2]


def test_incomparable_types() -> None:
    with pytest.raises(TypeMismatchError, match="cannot be compared"):
        passing(decoded([constant("n", "eq", 0)], "text"), n=[1])
    with pytest.raises(TypeMismatchError, match="cannot be compared"):
        passing(decoded([constant("u", "eq", 0)], "no uuid"), u=pa.array([bytes(16)], pa.binary(16)))


def test_in_lists_of_older_clients() -> None:
    assert passing(decoded([named("n", "in", value_ref=0)], [1, 5]), n=[1, 2, 5, None]) == [0, 2]


# ---- dynamic filters ----


def tick(nodes: list[Any], *values: Any) -> bytes:
    return b64encode(filter_blob(nodes, pa.table({f"k{i}": [value] for i, value in enumerate(values)})))


def stream(nodes: list[Any], *values: Any, schema: str = "k: int64, n: int64") -> StreamFilters:
    return StreamFilters(decoded(nodes, *values), Schema.parse(schema), True)


def kept(filters: StreamFilters, values: list[int | None]) -> list[int | None]:
    batch = RecordBatch.from_pydict(filters.schema, {"k": values, "n": values})
    return filters.apply(batch).column("k").to_pylist()


def test_dynamic_filters_join_the_static_ones() -> None:
    filters = stream([constant("n", "gt", 0)], 2)
    values = [1, 2, 3, 4, 5, None]
    assert kept(filters, values) == [3, 4, 5]
    for bound in (5, 5, 4, 3):
        filters.tick(tick([{**constant("k", "lt", 0), "column_index": 17}], bound))
        assert kept(filters, values) == [value for value in (3, 4, 5) if value < bound]
    assert repr(filters.current) == "PushdownFilters([ConstantFilter(n > 2), ConstantFilter(k < 3)])"
    filters.tick(tick([named("k", "or", children=[named("k", "is_null"), constant("k", "lt", 0)])], 4))
    assert kept(filters, values) == [3]
    assert kept(stream([]), values) == values


def test_nulls_first() -> None:
    filters = stream([])
    for bound in (3, 2):
        filters.tick(tick([named("k", "or", children=[named("k", "is_null"), constant("k", "lt", 0)])], bound))
        assert kept(filters, [1, 2, None, 3]) == [*range(1, bound), None]


@pytest.mark.parametrize(
    "value",
    [
        b"not base64!",
        b64encode(b"nonsense"),
        b64encode(filter_blob([named("k", "strange")], None)),
        b64encode(filter_blob([constant("missing", "lt", 0)], pa.table({"k0": [1]}))),
        b64encode(filter_blob([constant("k", "lt", 0)], pa.table({"k0": ["text"]}))),
        b64encode(filter_blob([constant("k", "lt", 0)], pa.table({"k0": pa.array([None], pa.int64())}))),
    ],
)
def test_dynamic_filters_that_do_not_work_are_ignored(value: bytes) -> None:
    filters = stream([constant("n", "gt", 0)], 2)
    filters.tick(value)
    assert kept(filters, [1, 2, 3]) == [3]


def test_row_id_of_dynamic_filters() -> None:
    schema = Schema(
        [field if field.name != "k" else type(field)("k", "int64", False, {b"is_row_id": b"1"})
         for field in Schema.parse("k: int64, n: int64").fields]
    )  # fmt: skip
    filters = StreamFilters(PushdownFilters(), schema, True)
    name = "18446744073709551615"
    filters.tick(tick([{**constant(name, "lt", 0), "column_index": 2**64 - 1}], 2))
    assert kept(filters, [1, 2, 3]) == [1]


def test_shown_constants_are_those_that_came() -> None:
    filters = decoded([constant("n", "lt", 0)], 499)
    assert json.dumps(repr(filters.filters[0])) == '"ConstantFilter(n < 499)"'
    node = filters.filters[0]
    assert isinstance(node, ConstantFilter) and node.value == 499 and str(node.array.type) == "int64"
