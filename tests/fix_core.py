"""Fixtures for the compiled core: ``pipe``, and on a debug build the check that a test left no memory behind.

    def test_reads(pipe):
        output, input = Output(pipe.write), Input(pipe.read)

Pipes are closed with their test. ``pipe.send(data, step)`` writes from a thread, ``step`` bytes at a time.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Final

import hypothesis
import pytest

from vgi_fast import _core

# A busy machine is not a slow core; timeouts are pytest-timeout's.
hypothesis.settings.register_profile("vgi_fast", deadline=None)
hypothesis.settings.load_profile("vgi_fast")

CORE: Final = Path(__file__).parent / "core"


class Pipe:
    """The two ends of an ``os.pipe``."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self._threads: list[Thread] = []
        self._open = {self.read, self.write}

    def close_read(self) -> None:
        self._close(self.read)

    def close_write(self) -> None:
        self._close(self.write)

    def _close(self, fd: int) -> None:
        if fd in self._open:
            self._open.remove(fd)
            os.close(fd)

    def send(self, data: bytes, step: int = 1 << 16, *, close: bool = True) -> None:
        """Write ``data`` from another thread."""

        def run() -> None:
            for at in range(0, len(data), step):
                part = memoryview(data)[at : at + step]
                while part:
                    part = part[os.write(self.write, part) :]
            if close:
                self.close_write()

        self._threads.append(Thread(target=run, daemon=True))
        self._threads[-1].start()

    def receive(self) -> bytes:
        """Everything up to the end of the pipe."""
        self.close_write()
        parts = []
        while part := os.read(self.read, 1 << 16):
            parts.append(part)
        return b"".join(parts)

    def finish(self) -> None:
        self.close_read()
        for thread in self._threads:
            thread.join(10)
        self.close_write()


@pytest.fixture
def pipes() -> Iterator[Callable[[], Pipe]]:
    """Makes pipes."""
    made: list[Pipe] = []

    def make() -> Pipe:
        made.append(Pipe())
        return made[-1]

    yield make
    for pipe in made:
        pipe.finish()


@pytest.fixture
def pipe(pipes: Callable[[], Pipe]) -> Pipe:
    return pipes()


@pytest.fixture(autouse=True)
def no_blocks_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """On a debug build: every buffer and export that a core test made is gone after it."""
    if not _core.DEBUG or CORE not in request.path.parents:
        yield
        return
    before = is_clean()
    yield
    if before:
        assert is_clean(), "buffers or exports of the core are still alive after the test"


def is_clean() -> bool:
    if not _core.is_instance_count_zero():
        gc.collect()
    return _core.is_instance_count_zero()
