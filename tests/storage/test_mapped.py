"""Files between processes: publication, damage and repair."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vgi_fast.errors import StorageError
from vgi_fast.storage.base import attach_scope, execution_scope
from vgi_fast.storage.mapped import MappedStorage

SCOPE = execution_scope(b"x" * 16)

WRITER = """
import sys
from vgi_fast.storage.mapped import MappedStorage
storage = MappedStorage(sys.argv[1], sys.argv[2])
scope = b"x" + b"x" * 16
print("ready", flush=True)
number = 0
while True:
    number += 1
    value = number.to_bytes(8, "little") * 50
    storage.state_put_many(scope, b"n", [(bytes([i]), value) for i in range(20)])
    storage.state_append(scope, b"log", b"", value)
    storage.spool_append(scope, b"spool", value * 20)
"""


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    return str(tmp_path / "run"), str(tmp_path / "keep")


@pytest.fixture
def storage(folders: tuple[str, str]) -> Iterator[MappedStorage]:
    made = MappedStorage(*folders)
    yield made
    made.close()


def test_another_process_sees_it(storage: MappedStorage, folders: tuple[str, str]) -> None:
    storage.state_put_many(SCOPE, b"n", [(b"k", b"from here")])
    code = (
        "import sys; from vgi_fast.storage.mapped import MappedStorage as M; s = M(*sys.argv[1:]);"
        "scope = b'x' + b'x' * 16; print(s.state_get_many(scope, b'n', [b'k']));"
        "s.state_counter_add(scope, b'n', b'c', 3)"
    )
    done = subprocess.run([sys.executable, "-c", code, *folders], capture_output=True, text=True, check=True)
    assert done.stdout == "[b'from here']\n"
    assert storage.state_counter_get(SCOPE, b"n", b"c") == 3


def test_a_killed_writer_leaves_whole_steps(storage: MappedStorage, folders: tuple[str, str]) -> None:
    rng = random.Random(4)
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, *folders], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        with writer, writer.stdout as stdout:
            stdout.readline()
            target = len(storage.state_log_scan(SCOPE, b"log", b"")) + rng.randrange(1, 40)
            while len(storage.state_log_scan(SCOPE, b"log", b"")) < target:
                pass
            writer.kill()
        values = storage.state_get_many(SCOPE, b"n", [bytes([i]) for i in range(20)])
        assert len(set(values)) == 1  # all or nothing
        assert all(len(item) == 400 for _, item in storage.state_log_scan(SCOPE, b"log", b""))
        assert all(len(item) == 8000 for item in storage.spool_scan(SCOPE, b"spool"))
    assert storage.execution_clear(SCOPE) > 0
    assert not os.path.exists(storage.folder(SCOPE))


def test_a_journal_is_compacted(storage: MappedStorage, folders: tuple[str, str]) -> None:
    other = MappedStorage(*folders)
    storage.state_counter_set(SCOPE, b"n", b"c", 5)
    storage.queue_push(SCOPE, [b"work"])
    first = storage.state_append(SCOPE, b"n", b"k", b"item")
    for number in range(60):
        storage.state_put_many(SCOPE, b"n", [(b"k", bytes([number]) * 100_000)])
        assert other.state_get_many(SCOPE, b"n", [b"k"]) == [bytes([number]) * 100_000]
    assert os.path.getsize(os.path.join(storage.folder(SCOPE), "kv")) < 2_500_000
    assert other.state_counter_get(SCOPE, b"n", b"c") == 5
    assert other.state_log_scan(SCOPE, b"n", b"k") == [(first, b"item")]
    assert other.state_append(SCOPE, b"n", b"k", b"more") > first
    assert other.queue_pop(SCOPE) == b"work"
    other.close()


def test_damage_is_reported(folders: tuple[str, str]) -> None:
    """Whatever the file holds: the right answer or a StorageError."""
    writer = MappedStorage(*folders)
    writer.state_put_many(SCOPE, b"n", [(bytes([i]), bytes([i]) * 50) for i in range(20)])
    writer.state_append(SCOPE, b"n", b"k", b"item")
    path = Path(writer.folder(SCOPE)) / "kv"
    good = path.read_bytes()
    writer.close()
    rng = random.Random(1)
    refused = 0
    for number in range(400):
        bad = bytearray(good)
        if number % 2:
            del bad[rng.randrange(1, len(bad)) :]
        else:
            for _ in range(rng.randrange(1, 4)):
                bad[rng.randrange(len(bad))] = rng.randrange(256)
        path.write_bytes(bad)
        reader = MappedStorage(*folders)
        try:
            reader.state_get_many(SCOPE, b"n", [b"\x01"])
            reader.state_log_scan(SCOPE, b"n", b"k")
        except StorageError:
            refused += 1
        finally:
            reader.close()
    assert refused > 200


def test_a_cut_spool_is_reported(storage: MappedStorage) -> None:
    storage.spool_append(SCOPE, b"n", b"x" * 100)
    storage.spool_append(SCOPE, b"n", b"y" * 100)
    (path,) = (path for path in Path(storage.folder(SCOPE)).iterdir() if path.name.startswith("spool-"))
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) - 104, 20):
        path.write_bytes(whole[:size])
        with pytest.raises(StorageError, match="cut off"):
            list(storage.spool_scan(SCOPE, b"n"))


def test_files_are_private(storage: MappedStorage, folders: tuple[str, str]) -> None:
    storage.state_put_many(SCOPE, b"n", [(b"k", b"v")])
    storage.state_put_many(attach_scope(b"c"), b"n", [(b"k", b"v")])
    storage.spool_append(SCOPE, b"n", b"v")
    for folder in folders:
        found = [Path(folder), *Path(folder).rglob("*")]
        assert len(found) > 2
        assert not any(path.stat().st_mode & 0o077 for path in found)


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path)
    with pytest.raises(StorageError, match="not a directory of this user"):
        MappedStorage(str(tmp_path / "run"), str(tmp_path / "keep")).folder(SCOPE)


def test_a_child_of_fork_takes_descriptors_of_its_own(storage: MappedStorage) -> None:
    storage.state_counter_add(SCOPE, b"n", b"c", 1)
    child = os.fork()
    if child == 0:
        try:
            storage.state_counter_add(SCOPE, b"n", b"c", 1)
            storage.spool_append(SCOPE, b"n", b"child")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert storage.state_counter_add(SCOPE, b"n", b"c", 1) == 3
    assert list(storage.spool_scan(SCOPE, b"n")) == [b"child"]
