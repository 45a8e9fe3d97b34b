"""What the example worker serves: ``example``, and smaller catalogs that show one thing each."""

from typing import Final

from vgi_fast import Catalog, CatalogInterface, CatalogSchema
from vgi_fast.examples.example import (
    aggregates,
    arithmetic,
    broken,
    buffering,
    cacheable,
    cached_streams,
    cached_tables,
    copying,
    diagnostics,
    filters,
    geometry,
    late_materialization,
    narrow_bind,
    nesting,
    partitioned,
    partitions,
    probes,
    projection_repro,
    random_values,
    row_transforms,
    scans,
    schema_reconcile,
    sequences,
    session,
    table_in_out,
    tables,
    tensors,
    text,
    time_travel,
    transactions,
    typed_constants,
)
from vgi_fast.examples.example.accumulate import ACCUMULATE

EXAMPLE: Final = tables.ExampleCatalog(
    Catalog(
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
                    *cached_tables.FUNCTIONS,
                    *cached_streams.FUNCTIONS,
                    *tensors.FUNCTIONS,
                    *aggregates.FUNCTIONS,
                    *nesting.FUNCTIONS,
                    *sequences.FUNCTIONS,
                    *scans.FUNCTIONS,
                    *partitioned.FUNCTIONS,
                    *filters.FUNCTIONS,
                    *partitions.FUNCTIONS,
                    *broken.FUNCTIONS,
                    *typed_constants.FUNCTIONS,
                    *late_materialization.FUNCTIONS,
                    *table_in_out.FUNCTIONS,
                    *row_transforms.FUNCTIONS,
                    *buffering.FUNCTIONS,
                    *copying.FUNCTIONS,
                    *diagnostics.FUNCTIONS,
                    *time_travel.FUNCTIONS,
                    *transactions.FUNCTIONS,
                ],
                views=tables.MAIN_VIEWS,
                macros=tables.MACROS,
                comment="Example functions for testing VGI",
            ),
            CatalogSchema(
                "data",
                functions=[
                    *probes.DATA_FUNCTIONS,
                    *aggregates.DATA_FUNCTIONS,
                    *table_in_out.DATA_FUNCTIONS,
                    *buffering.DATA_FUNCTIONS,
                    *cached_tables.DATA_FUNCTIONS,
                ],
                tables=tables.TABLES,
                views=tables.DATA_VIEWS,
                indexes=tables.INDEXES,
                comment="Example tables backed by functions",
            ),
        ],
        settings=session.SETTINGS,
        secret_types=session.SECRET_TYPES,
        transactions=True,
        global_functions=["global_scalar", "global_agg", "global_table", "global_buffered"],
        global_function_prefix="vgi_example",
        comment="Example VGI catalog for testing",
        tags={"source": "vgi-fixture-worker", "version": "1"},
        source_url="https://github.com/Query-farm/vgi",
    )
)
TWINS: Final = [
    Catalog(name, functions=[probes.in_catalog(name)], comment=f"Half of a pair: {name}")
    for name in ("twin_a", "twin_b")
]
CATALOGS: Final[list[Catalog | CatalogInterface]] = [
    EXAMPLE,
    projection_repro.CATALOG,
    schema_reconcile.CATALOG,
    ACCUMULATE,
    narrow_bind.CATALOG,
    *TWINS,
]
