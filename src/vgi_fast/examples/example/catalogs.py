"""What the example worker serves: ``example``, and two catalogs that differ in nothing but their names."""

from typing import Final

from vgi_fast import Catalog, CatalogSchema
from vgi_fast.examples.example import (
    arithmetic,
    buffering,
    cacheable,
    copying,
    geometry,
    probes,
    random_values,
    row_transforms,
    sequences,
    session,
    table_in_out,
    tensors,
    text,
)
from vgi_fast.examples.example.accumulate import ACCUMULATE

EXAMPLE: Final = Catalog(
    "example",
    schemas=[
        CatalogSchema(
            "main",
            functions=[
                *arithmetic.FUNCTIONS,
                *text.FUNCTIONS,
                *random_values.FUNCTIONS,
                *probes.FUNCTIONS,
                *geometry.FUNCTIONS,
                *session.FUNCTIONS,
                *cacheable.FUNCTIONS,
                *tensors.FUNCTIONS,
                *sequences.FUNCTIONS,
                *table_in_out.FUNCTIONS,
                *row_transforms.FUNCTIONS,
                *buffering.FUNCTIONS,
                *copying.FUNCTIONS,
            ],
            comment="Example functions for testing VGI",
        ),
        CatalogSchema(
            "data",
            functions=[*probes.DATA_FUNCTIONS, *table_in_out.DATA_FUNCTIONS, *buffering.DATA_FUNCTIONS],
            comment="Example tables backed by functions",
        ),
    ],
    settings=session.SETTINGS,
    secret_types=session.SECRET_TYPES,
    global_functions=["global_scalar", "global_table", "global_buffered"],
    global_function_prefix="vgi_example",
    comment="Example VGI catalog for testing",
    tags={"source": "vgi-fixture-worker", "version": "1"},
)
TWINS: Final = [
    Catalog(name, functions=[probes.in_catalog(name)], comment=f"Half of a pair: {name}")
    for name in ("twin_a", "twin_b")
]
CATALOGS: Final = [EXAMPLE, ACCUMULATE, *TWINS]
