"""All core benchmarks under pytest-benchmark: ``python -m pytest benchmarks/core``."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import Case

MODULES = sorted(path.stem for path in Path(__file__).parent.glob("[!_t]*.py"))


def _parameters() -> list[Any]:
    return [
        pytest.param(case, candidate, id=f"{module}: {case.name}: {candidate}")
        for module in MODULES
        for case in import_module(f"benchmarks.core.{module}").cases()
        for candidate in case.candidates
    ]


@pytest.mark.parametrize(("case", "candidate"), _parameters())
def test_core(benchmark: Any, case: Case, candidate: str) -> None:
    if candidate == next(iter(case.candidates)):
        case.verify()
    benchmark.group = case.name
    benchmark(case.candidates[candidate])
