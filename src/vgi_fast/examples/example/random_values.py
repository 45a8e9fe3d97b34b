"""Rows without columns, and values that differ from call to call."""

from functools import cache
from random import Random
from typing import TYPE_CHECKING, Annotated, Final

from vgi_fast import Array, Bool, ConstParam, Int64, OutputLength, Param, scalar
from vgi_fast.examples.example.columns import Blobs

if TYPE_CHECKING:
    from numpy.random import Generator

Rows = Annotated[int, OutputLength()]
Seed = Annotated[int, ConstParam("Equal seeds give equal values")]


@cache
def _generator() -> "Generator":
    from numpy.random import default_rng

    return default_rng()


@scalar(stability="volatile")
def random_int(
    min_val: Annotated[Array, Param("Least value", arrow_type="int64")],
    max_val: Annotated[Array, Param("Greatest value", arrow_type="int64")],
) -> Int64:
    """Generate random integers (demonstrates VOLATILE stability)"""
    import numpy as np

    low, high = min_val.to_numpy(), max_val.to_numpy()
    if min_val.null_count or max_val.null_count:  # what a null's slot holds need not be a range
        low, high = np.minimum(low, high), np.maximum(low, high)
    return _generator().integers(low, high, endpoint=True)


@scalar(stability="volatile")
def bernoulli(rows: Rows) -> Bool:
    """Generate random booleans (demonstrates VOLATILE stability)"""
    return _generator().random(rows) < 0.5


@scalar
def hash_seed(seed: Seed, rows: Rows) -> Int64:
    """Generate deterministic integers from a constant seed"""
    import numpy as np

    return np.arange(rows) + seed


@scalar
def random_bytes(
    seed: Seed, byte_length: Annotated[int, ConstParam("Number of bytes of each blob")], rows: Rows
) -> Blobs:
    """Generate pseudo-random binary blobs from seed and length"""
    source = Random(seed)
    return [source.randbytes(byte_length) for _ in range(rows)]


FUNCTIONS: Final = [random_int, bernoulli, hash_seed, random_bytes]
