"""A client that costs nothing: it writes bytes that were recorded before, and counts what comes back."""

import os
import select
import subprocess
from dataclasses import dataclass
from threading import Thread
from time import monotonic
from typing import Any, Final

from vgi_fast import RecordBatch
from vgi_fast.client import Client
from vgi_fast.client.channels import EXIT_WAIT_S, ProcessChannel

CHUNK: Final = 1 << 20
PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Turn:
    """Bytes to send, and how many come back."""

    request: bytes
    answer_bytes: int


@dataclass(frozen=True, slots=True)
class Recording:
    """From the first request to the first answer of a scalar function."""

    turns: tuple[Turn, ...]
    ending: bytes
    """End of the answer, which has to come back again."""


def record(command: str, catalog: str, function: str, constants: list[Any], batch: RecordBatch) -> Recording:
    """Attach, bind, initialise, exchange one batch, as this project's client says it."""
    channel = TappedChannel(command)
    with Client(channel) as client:
        turns: list[Turn] = []
        sent = received = 0

        def end_turn(kept: bool = True) -> None:
            nonlocal sent, received
            now_sent, now_received = len(channel.sent), client.connection.input.bytes_read
            if kept:
                turns.append(Turn(bytes(channel.sent[sent:now_sent]), now_received - received))
            sent, received = now_sent, now_received

        attached = client.attach(catalog)
        end_turn()
        attached.functions(kind="scalar")  # the listing, which a worker is not asked for again
        end_turn(kept=False)
        with attached.open_scalar(function, batch.schema.types, constants) as call:
            end_turn()
            call.exchange(batch)
            end_turn()
        return Recording(tuple(turns), _last_bytes(command, tuple(turns)))


def _last_bytes(command: str, turns: tuple[Turn, ...]) -> bytes:
    with Replay(command) as replay:
        for turn in turns:
            answer = replay.exchange(turn)
        # Identifiers come first in a message, the values of its last buffer at the end.
        return answer[-64:]


class Replay:
    """A worker process under the replaying client."""

    def __init__(self, command: str) -> None:
        self.process = subprocess.Popen(
            command, shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)

    def exchange(self, turn: Turn) -> bytes:
        os.write(self._stdin.fileno(), turn.request)
        parts = []
        missing = turn.answer_bytes
        deadline = monotonic() + PATIENCE_S
        while missing > 0:
            if not self._poll.poll(max(deadline - monotonic(), 0) * 1000):
                raise TimeoutError(f"the worker answered {turn.answer_bytes - missing} of {turn.answer_bytes} bytes")
            part = os.read(self._stdout.fileno(), CHUNK)
            if not part:
                raise EOFError(f"the worker left after {turn.answer_bytes - missing} of {turn.answer_bytes} bytes")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def __enter__(self) -> "Replay":
        return self

    def __exit__(self, *details: object) -> None:
        self._stdin.close()
        self._stdout.close()
        self.process.wait(PATIENCE_S)


class TappedChannel(ProcessChannel):
    """Keeps what the client sends. The bytes take a detour through a thread, so nothing is to be timed here."""

    def __init__(self, command: str) -> None:
        super().__init__(command)
        self.sent = bytearray()
        read_fd, self.write_fd = os.pipe()
        self._tap = Thread(target=self._forward, args=(read_fd, self._stdin.fileno()), daemon=True)
        self._tap.start()

    def close(self, wait_s: float = EXIT_WAIT_S) -> int | None:
        os.close(self.write_fd)
        self._tap.join(wait_s)
        return super().close(wait_s)

    def _forward(self, source: int, sink: int) -> None:
        while part := os.read(source, CHUNK):
            # Kept first: the answer may be read before this thread runs again.
            self.sent += part
            while part:
                part = part[os.write(sink, part) :]
        os.close(source)
