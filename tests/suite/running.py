"""One test under the extension's runner, and what came of it."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import Final


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    verdict: Verdict
    seconds: float


_REASON_CHARACTERS: Final = 160
_RULE: Final = "=" * 80
_PASSED: Final = re.compile(r"^All tests passed \(.*\bassertions? in 1 test case\)", re.MULTILINE)
_SKIPPED: Final = re.compile(r"^Skipped tests for the following reasons:\n(?P<reasons>(?:.+\n?)+)", re.MULTILINE)
_EMPTY: Final = re.compile(r"^test cases: 1 \| 1 passed\nassertions: - none -$", re.MULTILINE)
_UNKNOWN: Final = re.compile(r"^No test cases matched|^No tests ran", re.MULTILINE)
_WHERE: Final = re.compile(r"^1\. (?P<test>.+?):(?P<line>\d+)$", re.MULTILINE)
_ERROR: Final = re.compile(r"^.*\b(?:Error|Exception): .*$", re.MULTILINE)


def classified(status: int, output: str) -> Verdict:
    """What the runner's exit status and its two outputs say.

    A test that the runner leaves because of an error's text has failed, whatever the runner calls it.
    """
    if status < 0:
        return Verdict(Outcome.FAILED, f"the runner was ended by {signal.Signals(-status).name}")
    if _UNKNOWN.search(output):
        return Verdict(Outcome.FAILED, "the runner does not know this test")
    if status:
        return Verdict(Outcome.FAILED, _failure(output) or f"the runner ended with status {status}")
    if skipped := _SKIPPED.search(output):
        reasons = [text.rpartition(":")[0] or text for text in skipped["reasons"].splitlines()]
        required = all(text.startswith("require") for text in reasons)
        return Verdict(Outcome.SKIPPED if required else Outcome.FAILED, "; ".join(reasons))
    if _PASSED.search(output):
        return Verdict(Outcome.PASSED)
    if _EMPTY.search(output):
        return Verdict(Outcome.SKIPPED, "it asserts nothing: mode skip")
    return Verdict(Outcome.FAILED, "the runner said neither that the test passed nor that it was skipped")


def _failure(output: str) -> str:
    """Line and error of the first failure; its title where there is no error, as for a wrong result."""
    found = _WHERE.search(output)
    if not found:
        return ""
    told = output[found.end() :].strip().removeprefix(_RULE).strip()
    error = _ERROR.search(told)
    title = told.partition("\n")[0].partition(" (test/")[0]
    return f"line {found['line']}: {error[0].strip() if error else title}"[:_REASON_CHARACTERS]


class Runner:
    """The extension's runner, for the tests of one folder."""

    def __init__(self, program: Path, folder: Path, timeout_s: float) -> None:
        self._program = program
        self._folder = folder
        self._timeout_s = timeout_s

    def run(self, test: Path, configuration: object, variables: Mapping[str, str], log: Path) -> Run:
        """What the runner prints goes to ``log``: a pipe would stay open as long as a worker has it."""
        config = test.with_suffix(".json")
        config.write_text(json.dumps(configuration))
        options = ["--test-config", str(config), "--test-dir", str(self._folder)]
        log.parent.mkdir(parents=True, exist_ok=True)
        started = perf_counter()
        with log.open("w") as output:
            process = subprocess.Popen(
                [str(self._program), *options, str(test.relative_to(self._folder))],
                cwd=self._folder,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            verdict = classified(process.wait(self._timeout_s), log.read_text(errors="replace"))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            verdict = Verdict(Outcome.FAILED, f"no end after {self._timeout_s:g} s")
        reason = verdict.reason.replace(str(self._folder), "…")
        return Run(Verdict(verdict.outcome, reason), perf_counter() - started)
