"""Texts and blobs, and overloads told apart by their constants."""

from hashlib import sha256
from typing import Annotated, Any, Final

from vgi_fast import Binary, Bool, Const, ConstParam, Float64, Param, Utf8, scalar
from vgi_fast.examples.example.columns import ArrowText, Blobs, Text, Texts

Value = Annotated[Float64, Param("Number to format")]
Precision = Annotated[int, ConstParam("Number of decimals", ge=0, le=10)]
Prefix = Annotated[str, ConstParam("Text before the number")]


@scalar
def upper_case(value: Text) -> ArrowText:
    """Converts string values to uppercase"""
    import pyarrow.compute as pc

    return pc.utf8_upper(value.to_arrow())


@scalar
def passthru(value: Text) -> ArrowText:
    """Returns its argument"""
    return value


@scalar
def sha256_hex(value: Utf8) -> Texts:
    """SHA-256 of a text in hexadecimal digits"""
    return [None if text is None else sha256(text.encode()).hexdigest() for text in value]


@scalar
def hash_rounds(value: Utf8, rounds: Annotated[int, ConstParam("How often to apply SHA-256")]) -> Texts:
    """SHA-256 applied several times, in hexadecimal digits"""
    return [None if text is None else _hash(text.encode(), rounds).hex() for text in value]


def _hash(data: bytes, rounds: int) -> bytes:
    for _ in range(rounds):
        data = sha256(data).digest()
    return data


@scalar
def conditional_message(repeat_count: Const[int], message: Const[str], condition: Bool) -> Texts:
    """Returns repeated message when condition is true

    Args:
        repeat_count: How often the message is repeated
        message: Text to return
        condition: Rows that get the message; the others get an empty text
    """
    repeated = message * repeat_count
    return [repeated if wanted else "" for wanted in condition.tolist()]


@scalar(propagate_nulls=False)
def binary_packet(
    header: Const[bytes],
    payload: Binary,
    config: Annotated[dict[str, Any], ConstParam(arrow_type="struct<label: utf8, version: int64>")],
) -> Blobs:
    """Build binary packets with header, payload, and config

    Args:
        header: Bytes in front
        payload: Bytes of each packet; null counts as none
        config: Label and version, which follow the payload
    """
    trailer = config["label"].encode() + bytes([config["version"] % 256])
    return [header + (body or b"") + trailer for body in payload.tolist()]


@scalar(name="format_number")
def format_whole(value: Value) -> Texts:
    """Format number with default precision (0 decimals)"""
    return [f"{number:.0f}" for number in value.tolist()]


@scalar(name="format_number")
def format_decimals(precision: Precision, value: Value) -> Texts:
    """Format number with specified precision"""
    return [f"{number:.{precision}f}" for number in value.tolist()]


@scalar(name="format_number")
def format_prefixed(precision: Precision, prefix: Prefix, value: Value) -> Texts:
    """Format number with precision and prefix"""
    return [f"{prefix}{number:.{precision}f}" for number in value.tolist()]


@scalar(name="smart_format")
def format_padded(width: Annotated[int, ConstParam("Least number of characters")], value: Value) -> Texts:
    """Shortest text of a number, aligned to the right"""
    return [repr(number).rjust(width) for number in value.tolist()]


@scalar(name="smart_format")
def format_shortest(prefix: Prefix, value: Value) -> Texts:
    """Shortest text of a number behind a prefix"""
    return [f"{prefix}{number!r}" for number in value.tolist()]


FUNCTIONS: Final = [
    upper_case,
    passthru,
    sha256_hex,
    hash_rounds,
    conditional_message,
    binary_packet,
    format_whole,
    format_decimals,
    format_prefixed,
    format_padded,
    format_shortest,
]
