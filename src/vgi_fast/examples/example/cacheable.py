"""Results that DuckDB may keep, value by value."""

from typing import Final

from vgi_fast import CacheControl, Int64, scalar
from vgi_fast.examples.example.columns import Texts

PER_VALUE: Final[CacheControl] = {"ttl": 300, "scope": "catalog", "per_value": True}


@scalar(cache_control=PER_VALUE)
def cached_double_scalar(value: Int64) -> Int64:
    """Twice the value"""
    return value * 2


cached_add_const = scalar.from_ufunc(
    "cached_add_const",
    "numpy.add",
    "value: int64, addend: const int64 -> int64",
    description="Adds a constant",
    cache_control=PER_VALUE,
)


@scalar(cache_control=PER_VALUE)
def cached_label(value: Int64) -> Texts:
    """Label of a value, null for a negative one"""
    return [f"lbl-{number}" if number >= 0 else None for number in value.tolist()]


FUNCTIONS: Final = [cached_double_scalar, cached_add_const, cached_label]
