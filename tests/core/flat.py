"""Positions inside flatbuffer messages, for tests that change single fields of a good message."""

import struct


def u16(data: bytes | bytearray, at: int) -> int:
    return int(struct.unpack_from("<H", data, at)[0])


def i32(data: bytes | bytearray, at: int) -> int:
    return int(struct.unpack_from("<i", data, at)[0])


def i64(data: bytes | bytearray, at: int) -> int:
    return int(struct.unpack_from("<q", data, at)[0])


def follow(data: bytes | bytearray, at: int) -> int:
    """Where the offset at ``at`` leads."""
    return at + i32(data, at)


def vtable_entry(data: bytes | bytearray, table: int, index: int) -> int:
    """Position of the vtable entry of field ``index``."""
    return table - i32(data, table) + 4 + 2 * index


def slot(data: bytes | bytearray, table: int, index: int) -> int:
    """Position of field ``index`` of a table that has it."""
    entry = vtable_entry(data, table, index)
    assert entry < table - i32(data, table) + u16(data, table - i32(data, table))
    assert u16(data, entry), "the field is left out"
    return table + u16(data, entry)


def header(data: bytes | bytearray, message: int = 0) -> int:
    """Table of the schema, batch or dictionary of the message framed at ``message``."""
    return follow(data, slot(data, follow(data, message + 8), 2))


def element(data: bytes | bytearray, vector: int, index: int) -> int:
    """Table ``index`` of a vector of tables."""
    assert 0 <= index < i32(data, vector)
    return follow(data, vector + 4 + 4 * index)


def fields(data: bytes | bytearray, message: int = 0) -> list[int]:
    """Field tables of a schema message."""
    vector = follow(data, slot(data, header(data, message), 1))
    return [element(data, vector, index) for index in range(i32(data, vector))]


def frames(data: bytes | bytearray) -> list[int]:
    """Starts of the messages of a stream, end marker left out."""
    found, at = [], 0
    while at + 8 <= len(data) and (length := i32(data, at + 4)):
        found.append(at)
        body = i64(data, slot(data, follow(data, at + 8), 3)) if has(data, follow(data, at + 8), 3) else 0
        at += 8 + length + body
    return found


def has(data: bytes | bytearray, table: int, index: int) -> bool:
    vtable = table - i32(data, table)
    return 4 + 2 * index < u16(data, vtable) and u16(data, vtable + 4 + 2 * index) != 0
