"""Every backend behind one fixture, ``storage``; those of a server run where the environment names one."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vgi_fast.storage.base import Storage, execution_scope
from vgi_fast.storage.mapped import MappedStorage
from vgi_fast.storage.memory import MemoryStorage

BACKENDS = ("memory", "mapped")


def opener(name: str, folder: Path) -> Callable[[], Storage]:
    """Opens handles that share what they store."""
    if name == "memory":
        only = MemoryStorage()
        return lambda: only
    if name == "mapped":
        return lambda: MappedStorage(str(folder / "run"), str(folder / "keep"))
    raise AssertionError(name)


@pytest.fixture(params=BACKENDS)
def open_handle(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Storage]]:
    handles: list[Storage] = []
    make = opener(request.param, tmp_path)

    def open_one() -> Storage:
        handles.append(make())
        return handles[-1]

    yield open_one
    for handle in handles:
        handle.close()


@pytest.fixture
def storage(open_handle: Callable[[], Storage]) -> Storage:
    return open_handle()


@pytest.fixture
def scope() -> bytes:
    return execution_scope(b"\x00one\xff")


@pytest.fixture
def in_threads() -> Callable[..., list[Any]]:
    """Runs a function in several threads at once and gives the results."""

    def run(count: int, function: Callable[[int], Any]) -> list[Any]:
        results: list[Any] = [None] * count
        errors: list[BaseException] = []
        start = threading.Barrier(count)

        def body(number: int) -> None:
            try:
                start.wait()
                results[number] = function(number)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return results

    return run
