"""Producers whose results DuckDB may keep, and some that it must not."""

import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

from vgi_fast import (
    Arg,
    CallerIdentity,
    Emit,
    ProcessParams,
    Projection,
    Table,
    table,
)
from vgi_fast.examples.example.cached_streams import KEPT, CacheOrdered, Rows, numbers

ABC: Final = {"a": "int64", "b": "int64", "c": "int64"}


def new_nonce() -> int:
    """No other call has it, in this process or another."""
    return int.from_bytes(os.urandom(7))


# --- kept for some time -------------------------------------------------------------------------------------------


@table(columns={"n": "int64"}, cache_control=lambda args: {"ttl": args.ttl})
def cacheable_numbers(
    *, n: Rows = 10, ttl: Annotated[int, Arg(doc="Seconds for which the result may be kept", ge=0)] = 300
) -> Iterator[Any]:
    """Numbers that may be kept as long as the caller says"""
    return numbers(range(n), 1000)


@table(columns={"nonce": "int64"}, cache_control=KEPT)
def cache_nonce() -> list[int]:
    """Another number with each call; an old one shows that the result was kept"""
    return [new_nonce()]


@table(columns={"n": "int64"}, cache_control={"no_store": True})
def cache_no_store(*, n: Rows = 10) -> Iterator[Any]:
    """Numbers that must not be kept"""
    return numbers(range(n), 1000)


@table(columns={"n": "int64", "nonce": "int64"}, cache_control={"ttl": 300, "scope": "transaction"})
def cache_scoped_txn(*, n: Rows = 10) -> dict[str, Any]:
    """Another number with each transaction"""
    return {"n": range(n), "nonce": [new_nonce()] * n}


@table(columns={"n": "int64"}, cache_control=KEPT)
def cache_big(*, rows: Rows = 5000) -> Iterator[Any]:
    """Several batches, of which the first says that all may be kept"""
    return numbers(range(rows), 1000)


@table(columns={"v": "int64"}, cache_control=KEPT)
def cache_bench(rows: Rows) -> Iterator[Any]:
    """As many numbers as are wanted, in order"""
    return numbers(range(rows), 2048)


@table(columns={"who": "utf8"}, cache_control=KEPT)
def cache_whoami(caller: CallerIdentity) -> list[str]:
    """Who calls: results are kept for each caller"""
    return [caller.principal or "anonymous"]


@table(columns={"v": "int64"}, cache_control=KEPT)
def cache_versioned_scan(version: Annotated[int, Arg(doc="Version of the data")]) -> list[int]:
    """One version of the table cache_versioned"""
    return {1: [101, 102, 103], 2: [201, 202]}.get(version, [301, 302, 303, 304])


def in_schema(schema: str) -> Any:
    """The function of one name that schemas share."""

    @table(
        name="test_same_name_cached",
        columns={"tag": "utf8"},
        cache_control=KEPT,
        description=f"Schema-disambiguation probe; the {schema}-schema cacheable producer",
    )
    def probe() -> list[str]:
        return [schema]

    return probe


TYPES: Final = {
    "id": "int64",
    "tags": "list<int64>",
    "attrs": "struct<x: int64, y: utf8>",
    "amt": "decimal128(18, 2)",
    "ts": "timestamp[us]",
    "label": "utf8",
}


@table(columns=TYPES, cache_control=KEPT)
def cache_types(rows: Rows) -> Iterator[dict[str, Any]]:
    """Values of several types; of each fifth row all but the id are null"""
    epoch = datetime(1970, 1, 1)
    for part in numbers(range(rows), 2048):
        ids = part.tolist()

        def filled(make: Callable[[int], Any], ids: list[int] = ids) -> list[Any]:
            return [make(i) if i % 5 else None for i in ids]

        yield {
            "id": part,
            "tags": filled(lambda i: [i, i + 1, i + 2]),
            "attrs": filled(lambda i: {"x": i, "y": f"y{i}"}),
            "amt": filled(lambda i: Decimal(f"{i}.{i % 100:02}")),
            "ts": filled(lambda i: epoch + timedelta(microseconds=i)),
            "label": filled(lambda i: f"label-{i}"),
        }


# --- what a kept result is good for -------------------------------------------------------------------------------


@table(columns=ABC, cache_control=KEPT)
def cache_multicol(*, n: Rows = 4, ttl: Annotated[int, Arg(doc="Not used", ge=0)] = 300) -> dict[str, Any]:
    """Columns that come all at once: what is kept serves queries of any of them"""
    return {"a": range(n), "b": range(0, 10 * n, 10), "c": range(0, 100 * n, 100)}


@table(columns=ABC, cache_control=KEPT, projection_pushdown=True)
def cache_projection(wanted: Projection) -> dict[str, list[int]]:
    """Columns that come if they are asked for: each choice is kept by itself"""
    factors = {"a": 1, "b": 10, "c": 100}
    return {name: [factors[name] * i for i in (1, 2, 3)] for name in wanted or ["a"]}


@table(columns={"n": "int64"}, cache_control=KEPT, filter_pushdown=True)
def cache_filtered(*, rows: Rows = 100) -> Iterator[Any]:
    """Rows that pass the filters: each set of filters is kept by itself"""
    return numbers(range(rows), 2048)


# --- asked for again ----------------------------------------------------------------------------------------------

ETAG: Final = '"rev-v1"'


@table(columns={"nonce": "int64"}, cache_control={"ttl": 0, "etag": ETAG, "revalidatable": True})
def cache_revalidatable(params: ProcessParams[Any]) -> Iterator[Any]:
    """Stale at once, but whoever has it already is told to keep it"""
    if params.if_none_match == ETAG:
        yield Emit(None, cache_control={"not_modified": True})
    else:
        yield [new_nonce()]


# --- never kept, since they do not end well -----------------------------------------------------------------------


@table(columns={"n": "int64"}, cache_control=KEPT)
def cache_poison() -> Iterator[list[int]]:
    """Fails after a batch that says that the result may be kept"""
    yield [0, 1, 2]
    raise RuntimeError("cache_poison: intentional mid-stream failure after a cacheable batch")


@table(columns={"n": "int64"}, cache_control=KEPT)
def cache_external_fail() -> Iterator[Any]:
    """Sends its second batch to a place where it cannot be fetched"""
    yield [0, 1, 2]
    yield Emit(None, metadata={b"vgi_rpc.location": b"http://127.0.0.1:9/vgi-cache-poison-nonexistent"})


FUNCTIONS: Final = [
    cacheable_numbers,
    cache_nonce,
    cache_no_store,
    cache_scoped_txn,
    cache_big,
    cache_bench,
    cache_whoami,
    cache_versioned_scan,
    in_schema("main"),
    cache_types,
    cache_projection,
    cache_filtered,
    cache_revalidatable,
    cache_poison,
    cache_external_fail,
]
DATA_FUNCTIONS: Final = [in_schema("data")]

# --- as tables ----------------------------------------------------------------------------------------------------

OF_TABLES: Final = {
    cacheable_numbers: "Cacheable 10-row result advertising vgi.cache.ttl",
    cache_nonce: "One-row cacheable result whose value changes per real invocation",
    cache_multicol: "Multi-column cacheable result (projection-coverage reuse)",
    cache_no_store: "Advertises vgi.cache.no_store \N{EM DASH} must never be cached",
    cache_scoped_txn: "Advertises vgi.cache.scope=transaction",
    cache_filtered: "Cacheable sequence with static filter pushdown (filter_bytes keying)",
    cache_big: "Large multi-batch cacheable result (advertises vgi.cache.ttl)",
    cache_revalidatable: "Always-revalidate result (304 not_modified reuses stored bytes)",
    cache_whoami: "Cacheable result echoing the caller's auth principal (identity-scoped)",
    cache_projection: "Projection-pushdown cacheable result (SELECT a vs b are distinct keys)",
    cache_poison: "Cacheable first batch then a mid-stream error (never-partial check)",
    cache_external_fail: "Cacheable first batch then an unresolvable external-location pointer",
}
TABLES: Final = [
    *(Table(function.__name__, function=function, comment=comment) for function, comment in OF_TABLES.items()),
    Table(
        "cache_ordered",
        function=CacheOrdered,
        comment="Multi-worker order-sensitive cacheable result (batch_index; parallel capture, ordered serve)",
    ),
]
"""They say nothing themselves: what their functions say goes for them."""
