"""The program, its template and its children under ``kill -9`` at random moments.

    VGI_FAST_KILL_ROUNDS=1000 python -m pytest tests/run/test_kill.py -s

Whatever dies: each client has a right answer or an error, in time; no process and no socket is left.
"""

import os
import random
import signal
from collections import Counter
from contextlib import suppress
from threading import Thread
from time import monotonic, sleep
from typing import Final

import pytest

from tests.fix_run import PATIENCE_S, Run, command_line, wait_gone, wait_until
from vgi_fast.client import Client
from vgi_fast.errors import VgiError

ROUNDS: Final = int(os.environ.get("VGI_FAST_KILL_ROUNDS", "25"))
SEED: Final = int(os.environ.get("VGI_FAST_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
CLIENTS: Final = 3
CALLS: Final = 3
LONGEST_DELAY_S: Final = 0.08


class Caller(Thread):
    """One use of the worker."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self.client: Client | None = None
        self.outcome = "nothing"

    def run(self) -> None:
        try:
            # Not Run.client, which would keep each of thousands.
            self.client = Client(
                self._run.command("worker.py"), env=self._run.environment, cwd=self._run.folder, timeout_s=PATIENCE_S
            )
            catalog = self.client.attach()
            answers = [catalog.scalar("double", {"x": [call, None]}).to_pylist() for call in range(CALLS)]
            right = answers == [[2 * call, None] for call in range(CALLS)]
            self.outcome = "right answers" if right else f"wrong: {answers}"
        except VgiError as error:
            self.outcome = f"wrong: {error}" if "longer than" in str(error) else "error"
        except BaseException as error:
            self.outcome = f"wrong: {error!r}"
        if self.client is not None:
            self.client.close()


def kind_of(pid: int, templates: list[int]) -> str:
    if pid in templates:
        return "template"
    return "program" if b"vgi-fast-run" in command_line(pid).split(b"\0")[0] else "worker"


@pytest.mark.timeout(60 + ROUNDS * 5)
def test_random_kills(run: Run) -> None:
    print(f"\nseed {SEED}")
    chance = random.Random(SEED)
    outcomes: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    longest = 0.0
    for _ in range(ROUNDS):
        began = monotonic()
        callers = [Caller(run) for _ in range(CLIENTS)]
        for caller in callers:
            caller.start()
        for _ in range(chance.choice((1, 1, 2))):
            sleep(chance.random() * LONGEST_DELAY_S)
            wanted = chance.choice(("program", "template", "worker"))
            templates = run.templates()
            running = [pid for pid in run.processes() if kind_of(pid, templates) == wanted]
            if running:
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(running), signal.SIGKILL)
                    killed[wanted] += 1
        for caller in callers:
            caller.join(2 * PATIENCE_S)
            assert not caller.is_alive(), "a client hangs"
            outcomes[caller.outcome] += 1
        longest = max(longest, monotonic() - began)
        # What served for a client is gone soon after it; templates may stay.
        for pid in run.processes():
            if pid not in run.templates():
                wait_gone(pid)
    print(f"{ROUNDS} rounds, longest {longest:.2f} s, killed {dict(killed)}, clients {dict(outcomes)}")
    assert not {outcome for outcome in outcomes if outcome.startswith("wrong")}, outcomes
    assert outcomes["right answers"]
    for pid in run.templates():
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not run.processes(), "the end of all processes")
    assert run.fact("loaded_by") == run.template()
    assert len([path for path in run.state.iterdir() if path.is_socket()]) == 1
