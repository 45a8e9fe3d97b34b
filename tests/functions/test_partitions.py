"""Values of partition columns and batch indexes beside the batches."""

import datetime as dt
from base64 import b64decode
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tests.functions.filter_cases import filter_blob
from vgi_fast import DefinitionError, Emit, RecordBatch, Worker, partition_field
from vgi_fast.errors import ArgumentError
from vgi_fast.functions.emission import Emission
from vgi_fast.functions.filters.decoding import decode_filters
from vgi_fast.functions.filters.plan import StreamFilters
from vgi_fast.functions.partitions import PartitionTagger
from vgi_fast.wire import keys
from vgi_fast.wire.arrow import Schema, decode_stream

SINGLE, RANGES = "SINGLE_VALUE_PARTITIONS", "DISJOINT_PARTITIONS"


def tagger(kind: str, *types: str, emitted: str | None = None) -> PartitionTagger:
    schema = Schema([partition_field(f"c{i}", type) for i, type in enumerate(types)])
    return PartitionTagger(schema, schema if emitted is None else Schema.parse(emitted), kind, "here")


def pairs(payload: bytes) -> list[list[Any]]:
    _, batches = decode_stream(b64decode(payload, validate=True))
    assert len(batches) == 1 and batches[0].num_rows == 2
    return [column.to_pylist() for column in batches[0].columns]


def test_the_documented_bytes() -> None:
    full = Schema([partition_field("country", "utf8"), partition_field("year", "int64")])
    made = PartitionTagger(full, full, SINGLE, "here")
    payload = b64decode(made.payload(RecordBatch.from_pydict(full, {"country": ["US"] * 5, "year": [2024] * 5})))
    assert len(payload) == 576
    assert payload[0x210:0x240].hex(" ") == (
        "00 00 00 00 02 00 00 00 04 00 00 00 00 00 00 00 55 53 55 53 00 00 00 00 "
        "e8 07 00 00 00 00 00 00 e8 07 00 00 00 00 00 00 ff ff ff ff 00 00 00 00"
    )
    reader = pa.ipc.open_stream(payload)
    assert reader.schema.field("country").metadata == {b"vgi.partition_column": b"true"}


VALUES: dict[str, list[Any]] = {
    "int8": [-3, 7],
    "uint64": [0, 2**64 - 1],
    "float64": [-1.5, 2.5],
    "float32": [0.0, 1.0],
    "bool": [False, True],
    "decimal128(10, 2)": [Decimal("-1.25"), Decimal("3.00")],
    "utf8": ["a", "é"],
    "large_utf8": ["", "z"],
    "utf8_view": ["longer than twelve", "short"],
    "binary": [b"", b"\xff"],
    "binary_view": [b"1", b"2"],
    "fixed_size_binary[2]": [b"ab", b"b\0"],
    "dictionary<int8, utf8>": ["m", "n"],
    "date32": [dt.date(1960, 1, 1), dt.date(2024, 1, 1)],
    "time64[us]": [dt.time(1), dt.time(2)],
    "timestamp[us, tz=UTC]": [dt.datetime(1960, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)],
}


@pytest.mark.parametrize("type", VALUES)
@pytest.mark.parametrize("kind", [SINGLE, RANGES])
def test_every_type(type: str, kind: str) -> None:
    made = tagger(kind, type)
    schema = Schema([partition_field("c0", type)])
    low, high = VALUES[type]
    columns = [
        ([low] * 9, [low, low]),
        ([high] * 3, [high, high]),
        ([high] * 4, [high, high]),
        ([None] * 3, [None, None]),
    ]
    if kind == RANGES:
        columns += [([high, low, None, low], [low, high]), ([None, high, high], [high, high])]
    seen = []
    for column, ends in columns:
        seen.append(made.payload(RecordBatch.from_pydict(schema, {"c0": column})))
        assert pairs(seen[-1]) == [ends]
        assert decode_stream(b64decode(seen[-1]))[0].fields[0].type == schema.fields[0].type
    assert seen[1] is seen[2]
    if kind == SINGLE:
        for column in ([low, high], [low, None], [None, low], [low] * 70 + [high]):
            with pytest.raises(ArgumentError, match="has 2 distinct values; partition_kind=SINGLE_VALUE_PARTITIONS"):
                made.payload(RecordBatch.from_pydict(schema, {"c0": column}))


def test_numbers_that_are_equal_without_the_same_bytes() -> None:
    made = tagger(SINGLE, "float64")
    schema = Schema([partition_field("c0", "float64")])
    assert pairs(made.payload(RecordBatch.from_pydict(schema, {"c0": [0.0, -0.0]})))[0][0] == 0
    made.payload(RecordBatch.from_pydict(schema, {"c0": [float("nan")] * 3}))
    nans = tagger(RANGES, "float64").payload(RecordBatch.from_pydict(schema, {"c0": [float("nan"), 3.0, 1.0]}))
    assert pairs(nans)[0] == [1.0, 3.0]


def test_explicit_values() -> None:
    made = tagger(SINGLE, "utf8", "int64", emitted="c1: int64")
    batch = RecordBatch.from_pydict(Schema.parse("c1: int64"), {"c1": [5, 5]})
    assert pairs(made.payload(batch, {"c0": ("a", "a")})) == [["a", "a"], [5, 5]]
    assert pairs(made.payload(batch, {"c0": (pa.scalar(None, pa.utf8()),) * 2})) == [[None, None], [5, 5]]
    assert pairs(made.payload(batch, {"c0": ("a", "b"), "c1": (1, 2)})) == [["a", "b"], [1, 2]]
    with pytest.raises(ArgumentError, match="'c0' is partition-annotated but absent from emitted batch"):
        made.payload(batch)
    with pytest.raises(ArgumentError, match=r"partition_values\['c0'\] must be \(min, max\) tuple; got 'a'"):
        made.payload(batch, {"c0": "a"})
    with pytest.raises(ArgumentError, match=r"partition_values\['c0'\] max type mismatch: declared utf8, got int64"):
        made.payload(batch, {"c0": (pa.scalar("a"), pa.scalar(1))})
    with pytest.raises(ArgumentError, match="min type mismatch: declared utf8, got 3"):
        made.payload(batch, {"c0": (3, 4)})


def test_declarations() -> None:
    worker = Worker("demo")
    with pytest.raises(DefinitionError, match="no column is annotated"):
        worker.table(columns={"a": "int64"}, partition_kind="disjoint_partitions")(lambda: None)
    with pytest.raises(DefinitionError, match=r"\['a'\] are annotated .* but partition_kind is NOT_PARTITIONED"):
        worker.table(columns=[partition_field("a", "int64")])(lambda: None)
    with pytest.raises(DefinitionError, match="not among its columns"):
        worker.table(columns={"a": "int64"}, partition_columns=["b"], partition_kind=SINGLE)(lambda: None)
    with pytest.raises(DefinitionError, match="partition_kind must be one of"):
        worker.table(columns={"a": "int64"}, partition_kind="some")(lambda: None)
    with pytest.raises(DefinitionError, match="late_materialization needs"):
        worker.table(columns={"a": "int64"}, late_materialization=True)(lambda: None)


# ---- the rest of what goes beside a batch ----


def emission(**more: Any) -> Emission:
    node = {"column_name": "n", "column_index": 0, "type": "constant", "op": "gt", "value_ref": 0}
    filters = decode_filters(filter_blob([node], pa.table({"k": [5]})))
    return Emission("here", filters=StreamFilters(filters, Schema.parse("n: int64"), True), **more)


def rows(*values: int) -> RecordBatch:
    return RecordBatch.from_pydict(Schema.parse("n: int64"), {"n": list(values)})


def test_batch_indexes() -> None:
    made = emission(indexed=True)
    assert made.finish(rows(7), Emit(None, batch_index=3))[1] == {keys.BATCH_INDEX: b"3"}
    assert made.finish(rows(1), Emit(None))[1] is None
    assert made.finish(rows(7), Emit(None, metadata={keys.BATCH_INDEX: b"1"}))[1] == {keys.BATCH_INDEX: b"1"}
    for index, text in (
        (2, "may not decrease"),
        (-1, "from 0 to 9999999999998"),
        (10**13 - 1, "from 0"),
        (True, "int"),
    ):
        with pytest.raises(ArgumentError, match=text):
            made.finish(rows(7), Emit(None, batch_index=index))
    with pytest.raises(ArgumentError, match=r"requires batch_index= on a function"):
        made.finish(rows(7))
    with pytest.raises(ArgumentError, match=r"requires Meta.supports_batch_index = True"):
        emission().check(Emit(None, batch_index=1))
    with pytest.raises(ArgumentError, match="requires partition-annotated fields"):
        emission().check(Emit(None, partition_values={"n": (1, 1)}))
