"""The table of results: ``results.md``, written and read here; ``reasons.toml`` says more of what did not pass."""

import re
import tomllib
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Final

from tests.suite.lanes import LANES
from tests.suite.running import Outcome, Verdict

FOLDER: Final = Path(__file__).parent
RESULTS: Final = FOLDER / "results.md"
REASONS: Final = FOLDER / "reasons.toml"

Key = tuple[str, str]
"""Lane and test."""
Verdicts = dict[Key, Verdict]

_HEAD: Final = """\
# The extension's own tests

Written by `make suite SUITE=--update`, which also compares with it; `tests/README.md` says how to run it. Last
change with the tests of revision {revision}. What "why" says is in `reasons.toml`.
"""
_SECTION: Final = re.compile(r"^## (?P<title>.+)\n\n(?P<rows>(?:\|.*\n)+)", re.MULTILINE)
_CELL: Final = re.compile(r"(?<!\\)\|")


def read(path: Path) -> Verdicts:
    """What is recorded; nothing where there is no file yet."""
    found: Verdicts = {}
    for section in _SECTION.finditer(path.read_text() if path.exists() else ""):
        rows = [_cells(line) for line in section["rows"].splitlines()[2:]]
        if section["title"] == "Passed":
            for test, lanes in rows:
                found |= {(lane, test): Verdict(Outcome.PASSED) for lane in lanes.split(", ")}
        elif section["title"] == "Not passed":
            for test, lanes, outcome, reason, _ in rows:
                found |= {(lane, test): Verdict(Outcome(outcome), reason) for lane in lanes.split(", ")}
    return found


def render(verdicts: Mapping[Key, Verdict], revision: str, explain: "Explanations") -> str:
    lanes = [lane for lane in LANES if any(key[0] == lane for key in verdicts)]
    outcomes = Counter((lane, verdict.outcome) for (lane, _), verdict in verdicts.items())
    totals = [[lane, *(outcomes[lane, each] for each in Outcome)] for lane in lanes]
    by_group = Counter((lane, group_of(test), verdict.outcome) for (lane, test), verdict in verdicts.items())
    groups = sorted({group_of(test) for _, test in verdicts})
    parts = []
    for group in groups:
        counts = [[by_group[lane, group, each] for each in Outcome] for lane in lanes]
        parts.append([group, *(f"{each[0]} of {sum(each)}" if any(each) else "" for each in counts)])
    alike: dict[tuple[str, Verdict], list[str]] = {}
    for test in sorted({test for _, test in verdicts}):
        for lane in lanes:
            if verdict := verdicts.get((lane, test)):
                alike.setdefault((test, verdict), []).append(lane)
    missed, passed = [], []
    for (test, verdict), where in alike.items():
        if verdict.outcome is Outcome.PASSED:
            passed.append([test, ", ".join(where)])
        else:
            why = explain.why(test, where, verdict)
            missed.append([test, ", ".join(where), verdict.outcome, verdict.reason, why])
    return "\n".join(
        [
            _HEAD.format(revision=revision),
            _table("Lanes", ["lane", *Outcome], totals),
            _table("Groups", ["passed", *lanes], parts),
            _table("Not passed", ["test", "lanes", "outcome", "the runner says", "why"], missed),
            _table("Passed", ["test", "lanes"], passed),
        ]
    )


def group_of(test: str) -> str:
    """
    >>> group_of("integration/table_in_out/echo/basic"), group_of("integration/bad_enum"), group_of("vgi")
    ('table_in_out', '(files)', '(files)')
    """
    parts = test.removeprefix("integration/").split("/")
    return parts[0] if len(parts) > 1 else "(files)"


class Explanations:
    """Sentences by hand: by what the runner says; by test and lane; by test that passes only now and then."""

    def __init__(
        self, reasons: Mapping[str, str], tests: Mapping[str, Mapping[str, str]], unstable: Mapping[str, str]
    ) -> None:
        self.unstable = unstable
        self._reasons = reasons
        self._tests = tests

    @classmethod
    def load(cls, path: Path) -> "Explanations":
        given = tomllib.loads(path.read_text())
        return cls(given["reasons"], given["tests"], given["unstable"])

    def why(self, test: str, lanes: Iterable[str], verdict: Verdict) -> str:
        if test in self.unstable:
            return f"unstable: {self.unstable[test]}"
        told = self._tests.get(test, {})
        by_lane = dict.fromkeys(text for lane in lanes if (text := told.get(lane) or told.get("all")))
        return "; ".join(by_lane) or self._reasons.get(verdict.reason, "")


def changes(
    recorded: Mapping[Key, Verdict], now: Mapping[Key, Verdict], unstable: Container[str] = ()
) -> tuple[list[str], list[str]]:
    """Tests that no longer pass, which is an error; and other differences. Both as lines for a reader."""
    worse, other = [], []
    for (lane, test), verdict in now.items():
        before = recorded.get((lane, test))
        told = f"{lane}: {test}: {verdict.outcome}" + (f": {verdict.reason}" if verdict.reason else "")
        if before is None:
            other.append(f"{told} (not recorded)")
        elif before.outcome is Outcome.PASSED and verdict.outcome is not Outcome.PASSED and test not in unstable:
            worse.append(f"{told} (recorded: passed)")
        elif before.outcome is not verdict.outcome:
            other.append(f"{told} (recorded: {before.outcome})")
    return worse, other


def _table(title: str, names: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    head = list(map(str, names))
    lines = [head, ["---"] * len(head), *(map(_text, row) for row in rows)]
    return f"## {title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _text(cell: object) -> str:
    return " ".join(str(cell).split()).replace("|", "\\|")


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELL.split(line)[1:-1]]
