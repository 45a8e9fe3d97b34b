"""Segments: their table against a model, what a hostile peer may write there, and their names."""

import os
import secrets
from collections.abc import Callable

import posix_ipc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fix_segments import DATA, Made
from vgi_fast._core import Segment
from vgi_fast.errors import ProtocolError, TransportError

Make = Callable[..., Made]
SLOTS = 4094


def test_layout(segments: Make) -> None:
    made = segments(size=DATA + 0x100000)
    header = bytes.fromhex("56474953 01000000 0000100000000000 00000000 00000000")
    assert made.bytes[:24] == header
    assert made.segment.allocate(244_240) == 0x10000
    assert made.segment.allocate(8) == 0x10000 + 244_240
    assert made.bytes[16:24] == bytes([2, 0, 0, 0, 0, 0, 0, 0])
    assert made.bytes[24:56] == bytes.fromhex("0000010000000000 10ba030000000000 10ba040000000000 0800000000000000")
    assert made.segment.free(0x10000)
    assert made.bytes[16:40] == bytes.fromhex("01000000 00000000 10ba040000000000 0800000000000000")
    made.segment.reset()
    assert made.segment.entries() == []
    assert made.bytes[:16] == header[:16]


class Model:
    """First fit, as section 8.3 puts it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.slots: list[tuple[int, int]] = []

    def allocate(self, length: int) -> int | None:
        if len(self.slots) == SLOTS:
            return None
        ends = [DATA, *(offset + size for offset, size in self.slots)]
        starts = [*(offset for offset, _ in self.slots), self.size]
        for index, (end, start) in enumerate(zip(ends, starts, strict=True)):
            if length <= start - end:
                self.slots.insert(index, (end, length))
                return end
        return None

    def free(self, offset: int) -> bool:
        kept = [slot for slot in self.slots if slot[0] != offset]
        found = len(kept) < len(self.slots)
        self.slots = kept
        return found


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("allocate"), st.integers(1, 700)),
            st.tuples(st.just("free"), st.integers(0, 40)),
            st.tuples(st.just("free at"), st.integers(0, DATA + 2048)),
            st.tuples(st.just("reset"), st.just(0)),
        ),
        max_size=60,
    )
)
def test_allocator_is_first_fit(steps: list[tuple[str, int]]) -> None:
    made = Made(DATA + 2048)
    try:
        model = Model(made.segment.size)
        for step, number in steps:
            if step == "allocate":
                assert made.segment.allocate(number) == model.allocate(number)
            elif step == "free" and model.slots:
                offset, _ = model.slots[number % len(model.slots)]
                assert made.segment.free(offset) is model.free(offset) is True
            elif step == "free at":
                assert made.segment.free(number) is model.free(number)
            elif step == "reset":
                made.segment.reset()
                model.slots.clear()
            assert made.segment.entries() == model.slots
    finally:
        made.segment.unlink()
        made.segment.close()
        made.bytes.close()


def test_a_full_table(segments: Make) -> None:
    made = segments()
    offsets = [made.segment.allocate(8) for _ in range(SLOTS)]
    assert offsets == [DATA + 8 * index for index in range(SLOTS)]
    assert made.segment.allocate(8) is None
    assert made.segment.free(DATA + 8 * 100)
    assert made.segment.allocate(8) == DATA + 8 * 100
    assert made.segment.allocate(8) is None


def test_what_does_not_fit(segments: Make) -> None:
    segment = segments(size=DATA + 1024).segment
    assert segment.allocate(1025) is None
    assert segment.allocate(2**62) is None
    assert segment.allocate(1024) == DATA
    assert segment.allocate(1) is None
    for length in (0, -1):
        with pytest.raises(ValueError, match="slot of"):
            segment.allocate(length)


# ---- hostile tables ----


@pytest.mark.parametrize("count", [SLOTS + 1, 2**16, 2**31, 2**32 - 1])
def test_more_entries_than_there_can_be(segments: Make, count: int) -> None:
    made = segments()
    made.set_count(count)
    for use in (lambda: made.segment.allocate(8), made.segment.entries):
        with pytest.raises(ProtocolError, match="slots"):
            use()
    assert made.segment.free(DATA) is False
    made.segment.reset()
    assert made.segment.allocate(8) == DATA


@pytest.mark.parametrize(
    "entries",
    [
        [(0, 8)],
        [(DATA - 8, 8)],
        [(DATA, 2**63)],
        [(DATA, 2**64 - 8)],
        [(DATA, 1 << 21)],
        [(2**63, 8)],
        [(2**64 - 8, 8)],
        [(2**62, 2**62)],
        [(DATA + 64, 8), (DATA, 8)],
        [(DATA, 64), (DATA + 8, 8)],
        [((1 << 20) + 8, 8)],
    ],
)
def test_impossible_entries(segments: Make, entries: list[tuple[int, int]]) -> None:
    made = segments(size=1 << 20)
    for index, (offset, length) in enumerate(entries):
        made.set_entry(index, offset, length)
    made.set_count(len(entries))
    with pytest.raises(ProtocolError, match="a slot at"):
        made.segment.allocate(1 << 19)
    made.segment.free(entries[0][0] if entries[0][0] < 2**63 else 0)


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.integers(1, 2**63 - 1))
def test_any_table(table: bytes, count: int, length: int) -> None:
    made = Made(DATA + 4096)
    try:
        made.bytes[24 : 24 + len(table)] = table
        made.set_count(count % 20 if count % 3 else count)
        try:
            offset = made.segment.allocate(length)
        except ProtocolError:
            return
        assert offset is None or DATA <= offset <= made.segment.size - length
    finally:
        made.segment.unlink()
        made.segment.close()
        made.bytes.close()


# ---- names and lives ----


def test_attaching_shares_the_bytes(segments: Make) -> None:
    made = segments()
    other = Segment.attach(made.segment.name)
    assert (other.name, other.size) == (made.segment.name, made.segment.size)
    offset = other.allocate(16)
    assert made.segment.entries() == [(offset, 16)]
    other.close()
    assert made.segment.free(DATA)
    assert Segment.attach("/" + made.segment.name).entries() == []


def test_the_size_is_the_kernels(segments: Make) -> None:
    made = segments(size=DATA + 4096)
    made.bytes[8:16] = (1 << 40).to_bytes(8, "little")
    other = Segment.attach(made.segment.name)
    assert other.size == DATA + 4096
    assert other.allocate(8192) is None


@pytest.mark.parametrize(("at", "data"), [(0, b"VGIT"), (0, b"\0\0\0\0"), (4, b"\2\0\0\0"), (16, b"\xff\xff\xff\xff")])
def test_what_is_not_a_segment(segments: Make, at: int, data: bytes) -> None:
    made = segments()
    made.bytes[at : at + len(data)] = data
    with pytest.raises(ProtocolError, match="segment"):
        Segment.attach(made.segment.name)


@pytest.mark.parametrize("size", [0, 1, DATA])
def test_too_small_for_a_segment(size: int) -> None:
    name = f"/vgi_shm_test_{secrets.token_hex(4)}"
    opened = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, size=size)
    try:
        with pytest.raises(ProtocolError, match="segment"):
            Segment.attach(name)
    finally:
        os.close(opened.fd)
        posix_ipc.unlink_shared_memory(name)


@pytest.mark.parametrize("name", ["", "/", "a/b", "../etc/passwd", "a\0b", "a\nb", "ä", "x" * 300])
def test_impossible_names(name: str) -> None:
    with pytest.raises(ProtocolError, match="cannot be the name"):
        Segment.attach(name)


def test_no_such_segment() -> None:
    with pytest.raises(TransportError, match="vgi_shm_test_nothing"):
        Segment.attach("vgi_shm_test_nothing")


def test_a_taken_name_and_a_bad_size(segments: Make) -> None:
    made = segments()
    with pytest.raises(TransportError, match="can be had"):
        Segment.create(made.segment.name, 1 << 20)
    assert Segment.attach(made.segment.name).entries() == []
    with pytest.raises(ValueError, match="table alone"):
        Segment.create("vgi_shm_test_small", DATA)
    with pytest.raises(TypeError, match="use Segment"):
        Segment()


def test_unlinked_and_closed(segments: Make) -> None:
    made = segments()
    other = Segment.attach(made.segment.name)
    made.segment.unlink()
    made.segment.unlink()
    with pytest.raises(TransportError):
        Segment.attach(made.segment.name)
    assert other.allocate(8) == DATA
    other.close()
    other.close()
    for use in (other.entries, other.reset, lambda: other.allocate(8), lambda: other.free(DATA)):
        with pytest.raises(TransportError, match="closed"):
            use()


def test_descriptors_are_given_back(segments: Make) -> None:
    made = segments()
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for _ in range(20):
        Segment.attach(made.segment.name)
        with pytest.raises(ProtocolError):
            made.set_count(2**31)
            Segment.attach(made.segment.name)
        made.set_count(0)
    after = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    assert after == before
