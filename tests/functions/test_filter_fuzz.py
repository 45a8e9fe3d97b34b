"""Mutated filter blobs: whatever is wrong with one is a VgiError. tests/fuzz/fuzz_filters.py tries more of them."""

import pytest

from tests.fuzz.fuzz_filters import run


@pytest.mark.parametrize("seed", range(4))
def test_mutated_blobs(seed: int) -> None:
    accepted, finding = run(400, seed)
    assert finding is None, finding.hex()
    assert accepted
