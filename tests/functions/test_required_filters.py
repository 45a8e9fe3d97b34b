"""Required filters: what may be declared."""

from typing import Any

import pytest

from vgi_fast import DefinitionError, Schema
from vgi_fast.functions.filters.required import required_filters

COLUMNS = Schema.parse("ticker: utf8, s: struct<a: int64, m: struct<leaf: utf8>>, n: int64")


def test_groups() -> None:
    assert required_filters(None, COLUMNS, "t") == []
    assert required_filters(["ticker", ("n", "s.m.leaf"), ["s"]], COLUMNS, "t") == [
        ["ticker"],
        ["n", "s.m.leaf"],
        ["s"],
    ]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("ticker", "must be a list"),
        (3, "must be a list"),
        ([[]], "could never be satisfied"),
        ([3], "names columns, got 3"),
        ([["z"]], "names no column"),
        ([["s.z"]], "names no member 'z'"),
        ([["n.a"]], "names no member 'a' of int64"),
        ([[None]], "names columns, got None"),
    ],
)
def test_what_is_refused(given: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        required_filters(given, COLUMNS, "t")
