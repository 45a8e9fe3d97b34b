"""Rows of several batches put together, for columns of every type."""

from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.generators import TYPES, random_array
from vgi_fast import Array, RecordBatch, Schema, TypeMismatchError
from vgi_fast.wire.arrow import BatchBuilder, decode_stream, encode_stream

NUMBERS = Schema.parse("n: int64")
BIG = 5 << 20


def of(theirs: Any) -> RecordBatch:
    column = Array.from_arrow(theirs)
    rows = Array.from_numpy(np.arange(len(column)), "int64")
    return RecordBatch(Schema.of({"c": column.type, "d": "int64"}), [column, rows])


@pytest.mark.parametrize("text", TYPES)
def test_every_type(text: str) -> None:
    rng = Random(text)
    whole = of(random_array(rng, TYPES[text], 300))
    schema = whole.schema
    if not BatchBuilder.supports(schema):
        assert any(word in text for word in ("union", "run_end", "view<", "list_view"))
        with pytest.raises(TypeMismatchError, match="cannot be put together"):
            BatchBuilder(schema)
        return
    builder = BatchBuilder(schema)
    for _ in range(3):
        wanted: list[Any] = []
        rows: list[int] = []
        for _ in range(rng.randint(1, 12)):
            start = rng.randint(0, 300)
            part = whole.slice(start, min(rng.choice([0, 1, 7, 8, 63, 64, 65, 300]), 300 - start))
            assert builder.append(part)
            wanted += part.column(0).to_pylist()
            rows += part.column(1).to_pylist()
        assert builder.num_rows == len(wanted)
        made = builder.finish()
        assert made.num_rows == len(wanted) and builder.num_rows == 0
        assert repr(made.column(0).to_pylist()) == repr(wanted)
        assert made.column(1).to_pylist() == rows
        assert made.column(0).null_count == sum(value is None for value in wanted)
        _, again = decode_stream(encode_stream(made.schema, [made]))
        assert repr(again[0].column(0).to_pylist()) == repr(wanted)
        made.column(0).to_arrow().validate(full=True)


def test_what_is_appended_is_copied() -> None:
    values = np.arange(10)
    builder = BatchBuilder(NUMBERS)
    for _ in range(2):
        assert builder.append(RecordBatch(NUMBERS, [Array.from_numpy(values, "int64")]))
        values += 100
    assert builder.finish().column(0).to_pylist() == [*range(10), *range(100, 110)]


def test_dictionaries_are_not_united() -> None:
    codes = [
        pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(names)) for names in (["a", "b"], ["c", "d"])
    ]
    parts = [of(each) for each in codes]
    builder = BatchBuilder(parts[0].schema)
    assert builder.append(parts[0]) and builder.append(of(codes[0]))  # the same memory, imported twice
    assert not builder.append(parts[1])
    assert builder.finish().column(0).to_pylist() == ["a", "b", None] * 2
    assert builder.append(parts[1])
    assert builder.finish().column(0).to_pylist() == ["c", "d", None]


def test_many_bytes_are_left_to_the_caller() -> None:
    text = of(pa.array(["x" * BIG]))
    builder = BatchBuilder(text.schema)
    assert not builder.append(text)
    assert builder.append(of(pa.array(["y"])))
    assert not builder.append(text)
    assert builder.finish().column(0).to_pylist() == ["y"]


def test_nothing_is_no_batch() -> None:
    with pytest.raises(ValueError, match="no batch was appended"):
        BatchBuilder(NUMBERS).finish()


def test_batches_of_another_schema_are_refused() -> None:
    with pytest.raises(TypeMismatchError, match="expected rows of"):
        BatchBuilder(NUMBERS).append(of(pa.array([1])))
