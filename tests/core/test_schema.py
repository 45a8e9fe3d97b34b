"""Schema messages: the bytes that Arrow C++ writes, both ways, and what a Schema answers."""

import pickle
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given

from tests.core import flat
from tests.generators import INTERVALS, TYPES, random_schema, schemas
from vgi_fast._core import DataType, Field, Schema
from vgi_fast.errors import ProtocolError

METADATA = {b"key": b"value", b"": b"empty key", "schlüssel".encode(): b"\0\xff", b"empty": b""}


def check_same_bytes(theirs: pa.Schema) -> None:
    expected = theirs.serialize().to_pybytes()
    ours = Schema.of(theirs)
    assert ours.serialize() == expected
    read = Schema.from_bytes(expected)
    assert read.equals(ours, check_metadata=True)
    assert pa.schema(read).equals(theirs, check_metadata=True)
    assert read.serialize() == expected


@pytest.mark.parametrize("text", TYPES)
@pytest.mark.parametrize("nullable", [True, False])
def test_bytes_of_each_type(text: str, nullable: bool) -> None:
    if text == "null" and not nullable:
        pytest.skip("pyarrow has no null column that is not null")
    check_same_bytes(pa.schema([pa.field("c", TYPES[text], nullable)]))


@pytest.mark.parametrize("text", TYPES)
def test_bytes_of_each_type_with_metadata(text: str) -> None:
    field = pa.field("größe", TYPES[text], metadata=METADATA)
    check_same_bytes(pa.schema([field, pa.field("", TYPES[text])], metadata=METADATA))


@pytest.mark.parametrize("text", INTERVALS)
def test_bytes_of_intervals(text: str) -> None:
    type = pa.DataType._import_from_c_capsule(DataType(text).__arrow_c_schema__())
    check_same_bytes(pa.schema([pa.field("i", type)]))


def test_bytes_of_nested_metadata() -> None:
    inner = pa.field("x", pa.int8(), False, metadata=METADATA)
    outer = pa.field("s", pa.struct([inner, pa.field("y", pa.list_(inner))]), metadata=METADATA)
    check_same_bytes(pa.schema([outer]))


def test_bytes_of_extension_types() -> None:
    # Unknown to pyarrow, which leaves it as it is; a known one becomes a class there.
    metadata = {"ARROW:extension:name": "test.unknown", "ARROW:extension:metadata": "{}"}
    check_same_bytes(pa.schema([pa.field("id", pa.binary(16), metadata=metadata)]))
    theirs = pa.schema([pa.field("id", pa.uuid())])
    ours = Schema.of(theirs)
    assert ours.fields[0].type == DataType("fixed_size_binary[16]")
    assert ours.fields[0].metadata[b"ARROW:extension:name"] == b"arrow.uuid"
    assert pa.schema(ours) == theirs
    assert Schema.from_bytes(ours.serialize()).equals(ours, check_metadata=True)


def test_bytes_of_no_fields() -> None:
    check_same_bytes(pa.schema([]))
    check_same_bytes(pa.schema([], metadata=METADATA))
    assert Schema.of("") == Schema([])


def test_bytes_of_many_fields() -> None:
    check_same_bytes(pa.schema([pa.field(f"column {i}", pa.int64()) for i in range(2000)]))
    check_same_bytes(pa.schema([pa.field("same", pa.dictionary(pa.int8(), pa.utf8())) for _ in range(50)]))


@given(schemas(depth=3))
def test_bytes_of_any_schema(schema: pa.Schema) -> None:
    check_same_bytes(schema)


def test_the_message_stands_alone() -> None:
    message = Schema.of("a: int64").serialize()
    assert pa.ipc.read_schema(pa.BufferReader(message)) == pa.schema([("a", pa.int64())])
    assert len(message) % 8 == 0
    assert Schema.from_bytes(memoryview(message)) == Schema.from_bytes(bytearray(message)) == Schema.of("a: int64")
    assert Schema.from_bytes(message + b"what follows is not looked at") == Schema.of("a: int64")


def test_framing_from_before_arrow_0_15() -> None:
    message = Schema.of("a: int64, b: utf8!").serialize()
    assert Schema.from_bytes(message[4:]) == Schema.of("a: int64, b: utf8!")


def test_every_prefix_is_refused() -> None:
    for seed in range(5):
        message = Schema.of(random_schema(Random(seed))).serialize()
        for size in range(len(message)):
            with pytest.raises(ProtocolError):
                Schema.from_bytes(message[:size])


@pytest.mark.parametrize("value", ["text", None, 5])
def test_bytes_are_expected(value: object) -> None:
    with pytest.raises(TypeError):
        Schema.from_bytes(value)  # type: ignore[arg-type]


def test_a_batch_is_not_a_schema() -> None:
    message = pa.record_batch({"a": [1]}).serialize().to_pybytes()
    with pytest.raises(ProtocolError, match="expected a schema message"):
        Schema.from_bytes(message)


def test_text_round_trip() -> None:
    text = "a: int64!, größe: list<item: utf8>, s: struct<x: decimal128(3, 1), y: map<utf8, bool>>"
    assert str(Schema.parse(text)) == text
    assert Schema.parse(str(Schema.parse(text))) == Schema.parse(text)
    assert repr(Schema.parse("a: int8")) == "Schema('a: int8')"
    with pytest.raises(ValueError, match="name: type"):
        Schema.parse("int64")


def test_ways_to_give_a_schema() -> None:
    expected = Schema([Field("a", "int64"), Field("b", "utf8")])
    assert Schema.of(expected) is expected
    assert Schema.of("a: int64, b: utf8") == expected
    assert Schema.of({"a": "int64", "b": pa.utf8()}) == expected
    assert Schema.of(pa.schema([("a", pa.int64()), ("b", pa.utf8())])) == expected
    for value in (None, 5, ["a"]):
        with pytest.raises(TypeError):
            Schema.of(value)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected fields"):
        Schema(["a: int64"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="expected a schema"):
        Schema.of(pa.int64())


def test_positions_and_names() -> None:
    schema = Schema.parse("a: int64, b: utf8, a: bool")
    assert schema.names == ["a", "b", "a"]
    assert [str(t) for t in schema.types] == ["int64", "utf8", "bool"]
    assert len(schema) == 3
    assert [f.name for f in schema] == schema.names
    assert schema.index("a") == 0
    assert schema["a"].type == DataType("int64")
    assert schema[2].type == schema[-1].type == DataType("bool")
    for missing in ("", "A", "c"):
        with pytest.raises(KeyError):
            schema.index(missing)
    with pytest.raises(IndexError):
        schema[3]


def test_select() -> None:
    schema = Schema([Field("a", "int64"), Field("b", "utf8"), Field("c", "bool")], {"k": "v"})
    chosen = schema.select([2, 0, 0])
    assert chosen.names == ["c", "a", "a"]
    assert chosen.metadata == {b"k": b"v"}
    assert schema.select([]).names == []
    for index in (3, -1, 2**40):
        with pytest.raises(IndexError, match="outside of a schema with 3 fields"):
            schema.select([index])


def test_equality() -> None:
    one = Schema([Field("a", "int64", metadata={"x": "1"})], {"k": "v"})
    other = Schema.parse("a: int64")
    assert one == other
    assert hash(one) == hash(other)
    assert not one.equals(other, check_metadata=True)
    assert one != Schema.parse("a: int64!")
    assert one != Schema.parse("a: int64, b: int64")
    assert one != object()


def test_pickle() -> None:
    schema = Schema([Field("a", "int64", metadata={"x": "1"})], {"k": "v"})
    assert schema.equals(pickle.loads(pickle.dumps(schema)), check_metadata=True)


def test_metadata_keeps_the_first_of_equal_keys() -> None:
    # Not writable with a mapping: the second key is renamed in the bytes.
    message = Schema([], {"k1": "first", "k2": "second"}).serialize().replace(b"k2", b"k1")
    assert Schema.from_bytes(message).metadata == {b"k1": b"first"}


def test_big_endian_is_refused() -> None:
    # Little endian is 0 and left out; here the field is laid over the low half of an offset, which is not 0.
    message = bytearray(Schema.parse("a: int8").serialize())
    entry = flat.vtable_entry(message, flat.header(message), 0)
    assert flat.u16(message, entry) == 0
    message[entry] = 4
    with pytest.raises(ProtocolError, match="big-endian"):
        Schema.from_bytes(message)


def test_overlapping_strings_do_not_grow() -> None:
    """A message of 0.4 MB whose fields all name the same 100 kB string must not cost 300 MB."""
    large = "y" * 100_000
    message = bytearray(Schema([Field(large, "int8"), *(Field(f"n{i}", "int8") for i in range(3000))]).serialize())
    target = message.index(large.encode()) - 4
    for table in flat.fields(message)[1:]:
        name = flat.slot(message, table, 0)
        message[name : name + 4] = (target - name).to_bytes(4, "little")
    with pytest.raises(ProtocolError, match="strings overlap"):
        Schema.from_bytes(message)


def test_overlapping_metadata_does_not_grow() -> None:
    pairs: dict[bytes | str, bytes | str] = {"large": "y" * 100_000}
    pairs |= {f"k{i}": "v" for i in range(3000)}
    message = bytearray(Schema([], pairs).serialize())
    target = message.index(b"y" * 100_000) - 4
    vector = flat.follow(message, flat.slot(message, flat.header(message), 2))
    for index in range(1, 3001):
        value = flat.slot(message, flat.element(message, vector, index), 1)
        message[value : value + 4] = (target - value).to_bytes(4, "little")
    with pytest.raises(ProtocolError, match="strings overlap"):
        Schema.from_bytes(message)


def test_shared_strings_are_fine() -> None:
    message = bytearray(Schema([Field(f"name{i}", "int8") for i in range(100)]).serialize())
    first = flat.follow(message, flat.slot(message, flat.fields(message)[0], 0))
    for table in flat.fields(message)[1:]:
        name = flat.slot(message, table, 0)
        message[name : name + 4] = (first - name).to_bytes(4, "little")
    assert Schema.from_bytes(message).names == ["name0"] * 100
