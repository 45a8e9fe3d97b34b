"""States of groups between processes: what a process leaves that dies at any point of a change."""

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vgi_fast._core import STATE_LAYOUT, Groups
from vgi_fast.errors import StorageError
from vgi_fast.storage.base import execution_scope
from vgi_fast.storage.groups import GroupRecords, MemoryGroups, StoredGroups
from vgi_fast.storage.mapped import MappedStorage
from vgi_fast.storage.mapped_groups import MappedGroups
from vgi_fast.storage.memory import MemoryStorage

NAME = b"n" * 16
STRIDE = 16

CHILD = """
import os, signal, struct, sys
from vgi_fast._core import STATE_LAYOUT, Groups
from vgi_fast.storage.mapped_groups import MappedGroups
from vgi_fast.storage.mapped import MappedStorage

storage = MappedStorage(sys.argv[1], sys.argv[2])
states = MappedGroups(storage, b"n" * 16, 16, b"test")
groups = Groups(16)

def add(ids, amount):
    groups.assign_list(ids)
    states.load(groups)
    view = groups.records_view()
    for at in range(0, len(view), 16):
        view[at] = 1
        struct.pack_into("<q", view, at + 8, struct.unpack_from("<q", view, at + 8)[0] + amount)

def die():
    print("done", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[MappedStorage]:
    made = MappedStorage(str(tmp_path / "run"), str(tmp_path / "keep"))
    yield made
    made.close()


@pytest.fixture
def child(storage: MappedStorage, tmp_path: Path) -> Callable[[str], None]:
    """Runs code in a process that kills itself."""

    def run(code: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", CHILD + code + "\ndie()", str(tmp_path / "run"), str(tmp_path / "keep")],
            capture_output=True,
            text=True,
        )
        assert (done.stdout, done.returncode) == ("done\n", -signal.SIGKILL), done.stderr

    return run


@pytest.fixture
def states(storage: MappedStorage) -> MappedGroups:
    return MappedGroups(storage, NAME, STRIDE, b"test")


def values(states: MappedGroups, ids: list[int]) -> list[int | None]:
    groups = Groups(STRIDE)
    groups.assign_list(ids)
    states.load(groups)
    found = dict(zip(groups.ids_list(), groups.get_records(), strict=True))
    records = [found[one] for one in ids]
    return [None if record is None else struct.unpack_from("<q", record, 8)[0] for record in records]


def add(states: MappedGroups, ids: list[int], amount: int, request: bytes) -> bool:
    """As an update does; False where it had been done before."""
    groups = Groups(STRIDE)
    groups.assign_list(ids)
    if not states.load(groups, request):
        return False
    view = groups.records_view()
    for at in range(0, len(view), STRIDE):
        view[at] = 1
        struct.pack_into("<q", view, at + 8, struct.unpack_from("<q", view, at + 8)[0] + amount)
    states.publish(groups, request)
    states.answered()
    return True


def test_an_unanswered_change_is_not_made_twice(states: MappedGroups, child: Callable[[str], None]) -> None:
    child("add([1, 2, 1], 5); states.publish(groups, b'r' * 16)")
    assert values(states, [2, 1, 3]) == [5, 5, None]
    assert not add(states, [1, 2], 5, b"r" * 16)
    assert values(states, [1, 2]) == [5, 5]
    # The client has its answer now. The same request again is another one.
    assert add(states, [1, 2], 5, b"r" * 16)
    assert values(states, [1, 2]) == [10, 10]


def test_an_answered_change_may_come_again(states: MappedGroups, child: Callable[[str], None]) -> None:
    child("add([1], 5); states.publish(groups, b'r' * 16); states.answered()")
    assert add(states, [1], 5, b"r" * 16)
    assert values(states, [1]) == [10]


def test_a_change_that_was_not_published_is_not_made(states: MappedGroups, child: Callable[[str], None]) -> None:
    child("add([1], 5); states.publish(groups, b'r' * 16); states.answered(); add([1, 7], 100)")
    assert values(states, [1, 7]) == [5, None]


UNSPREAD = """
old = open(states._path, "rb").read()
add([1, 2], 5)
states.publish(groups, b"r" * 16)
os.pwrite(states._fd, old[STATE_LAYOUT["records_at"]:][:48], STATE_LAYOUT["records_at"])  # as if it had died before
os.pwrite(states._local.writer._fd, (1).to_bytes(8, "little"), STATE_LAYOUT["state"])
"""


def test_a_published_change_is_made_by_whoever_comes(states: MappedGroups, child: Callable[[str], None]) -> None:
    child("add([1], 2); states.publish(groups, b'q' * 16); states.answered()" + UNSPREAD)
    assert values(states, [1, 2]) == [7, 5]
    assert not add(states, [1, 2], 5, b"r" * 16)
    assert values(states, [1, 2]) == [7, 5]


def test_a_group_that_went_on_ends_the_claim(states: MappedGroups, child: Callable[[str], None]) -> None:
    """The client had the answer: it sent something else for the group. What is equal later is new."""
    child("add([1], 5); states.publish(groups, b'r' * 16)")
    assert add(states, [4], 1, b"z" * 16)
    assert add(states, [1], 2, b"s" * 16)
    assert add(states, [1], 5, b"r" * 16)
    assert values(states, [1, 4]) == [12, 1]


def test_a_damaged_journal_is_an_error(
    storage: MappedStorage, states: MappedGroups, child: Callable[[str], None]
) -> None:
    child("add([1], 2); states.publish(groups, b'q' * 16); states.answered()" + UNSPREAD)
    (journal,) = Path(storage.writers().folder).iterdir()
    good = journal.read_bytes()
    layout = STATE_LAYOUT
    for at, value in ((layout["groups"], 2**40), (layout["stride"], 24), (layout["journal_body"], 2**63)):
        journal.write_bytes(good[:at] + value.to_bytes(8, "little") + good[at + 8 :])
        with pytest.raises(StorageError, match="journal is damaged"):
            values(states, [1])
    journal.write_bytes(b"x" + good[1:])
    with pytest.raises(StorageError, match="journal .* is damaged"):
        values(states, [1])
    journal.write_bytes(good)
    assert values(states, [1]) == [7]


def test_a_file_is_removed_while_somebody_publishes(storage: MappedStorage, states: MappedGroups) -> None:
    assert add(states, [1], 5, b"r" * 16)
    groups = Groups(STRIDE)
    groups.assign_list([1])
    states.settled(groups)
    storage.retire(execution_scope(NAME))
    groups.assign_list([1, 2])
    states.load(groups)
    view = groups.records_view()
    view[STRIDE] = 1
    struct.pack_into("<q", view, STRIDE + 8, 9)
    assert storage.sweep(3600, 0) == 1
    states.publish(groups, b"s" * 16)
    states.answered()
    fresh = MappedGroups(storage, NAME, STRIDE, b"test")
    assert values(fresh, [1, 2]) == [5, 9]


def test_what_nobody_has_seen_is_not_removed(storage: MappedStorage, states: MappedGroups) -> None:
    add(states, [1, 70_000], 5, b"r" * 16)
    groups = Groups(STRIDE)
    groups.assign_list([1])
    states.settled(groups)
    storage.retire(execution_scope(NAME))
    assert storage.sweep(3600, 0) == 0
    groups.assign_list([70_000])
    states.settled(groups)
    assert storage.sweep(3600, 3600) == 0
    assert storage.sweep(3600, 0) == 1
    assert not os.path.exists(storage.folder(execution_scope(NAME)))


def test_a_look_of_the_sweeper_is_no_change(
    storage: MappedStorage, states: MappedGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(states, [1], 5, b"r" * 16)
    storage.retire(execution_scope(NAME))
    assert storage.sweep(3600, 0) == 0  # nobody has seen group 1
    groups = Groups(STRIDE)
    groups.assign_list([1])
    states.settled(groups)
    assert storage.sweep(3600, 0) == 1


def test_a_long_idle_execution_goes_with_all_it_has(storage: MappedStorage, states: MappedGroups) -> None:
    add(states, [1], 5, b"r" * 16)
    assert storage.sweep(60, 0) == 0
    assert storage.sweep(-5, 0) == 1
    assert values(states, [1]) == [None]


def test_journals_of_the_dead_are_removed(
    storage: MappedStorage, states: MappedGroups, child: Callable[[str], None]
) -> None:
    folder = Path(storage.writers().folder)
    for ending in ("states.publish(groups, b'r' * 16); states.answered()", "states.publish(groups, b's' * 16)"):
        child(f"add([1], 5); {ending}")
    add(states, [9], 1, b"t" * 16)
    assert len(list(folder.iterdir())) == 3
    storage.sweep(3600, 0)
    assert len(list(folder.iterdir())) == 2  # this process's, and one whose client may ask again
    storage.sweep(-5, 0)
    assert len(list(folder.iterdir())) == 1


def test_entries_of_the_dead_are_taken_over(states: MappedGroups) -> None:
    """Without a pool each request has a process of its own."""
    add(states, [0], 1, b"0" * 16)
    store = states._store
    assert store is not None
    while store.add_writer(12345) >= 0:
        pass
    states._entries.clear()
    assert add(states, [0], 1, b"1" * 16)
    assert values(states, [0]) == [2]


def test_a_child_of_fork_has_a_journal_of_its_own(states: MappedGroups) -> None:
    add(states, [0], 1, b"0" * 16)
    child = os.fork()
    if child == 0:
        try:
            add(states, [0, 1], 10, b"1" * 16)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    add(states, [1], 100, b"2" * 16)
    assert values(states, [0, 1]) == [11, 110]


def test_a_full_file_system_is_an_error(
    storage: MappedStorage, states: MappedGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, start: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    add(states, [0], 1, b"0" * 16)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(StorageError, match="no room for .* No space left"):
            add(states, [1_000_000], 1, b"1" * 16)
    assert add(states, [1_000_000], 1, b"1" * 16)
    assert values(states, [0, 1_000_000]) == [1, 1]


@pytest.mark.parametrize("kind", ["mapped", "memory", "stored"])
def test_nodes(kind: str, storage: MappedStorage) -> None:
    choices: dict[str, GroupRecords] = {
        "mapped": MappedGroups(storage, NAME, STRIDE, b"test"),
        "memory": MemoryGroups(NAME, STRIDE),
        "stored": StoredGroups(MemoryStorage(), NAME),
    }
    made = choices[kind]
    nodes = [b"", b"a", b"b" * 100, b"c" * 100_000]
    ids = made.put_nodes(nodes)
    assert made.get_nodes(ids[::-1]) == nodes[::-1]
    made.drop_nodes([(ids[2], 100)])
    (again,) = made.put_nodes([b"d" * 90])
    assert made.get_nodes([again, ids[1]]) == [b"d" * 90, b"a"]
    assert (again == ids[2]) == (kind == "mapped")
    with pytest.raises(StorageError):
        made.get_nodes([1_000_003])


def test_damaged_nodes(storage: MappedStorage, states: MappedGroups) -> None:
    ids = states.put_nodes([b"x" * 1000, b"y" * 1000])
    path = Path(storage.folder(execution_scope(NAME))) / "arena"
    good = path.read_bytes()
    path.write_bytes(good.replace(b"y", b"z"))
    with pytest.raises(StorageError, match="wrong checksum"):
        states.get_nodes(ids)
    path.write_bytes(good[: ids[1] + 500])
    assert states.get_nodes(ids[:1]) == [b"x" * 1000]
    with pytest.raises(StorageError, match="cut off"):
        states.get_nodes(ids)
    path.write_bytes(good[: ids[1]])
    with pytest.raises(StorageError, match="no node at"):
        states.get_nodes(ids)
