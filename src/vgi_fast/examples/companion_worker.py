"""A table that DuckDB reads from another database, which it attaches together with the catalog.

``VGI_TEST_COMPANION_TARGET`` says which database, for example ``ducklake:sqlite:lake.db``; it has to have a table
``main.events(id BIGINT, val VARCHAR)``.
"""

import os

from vgi_fast import Catalog, CatalogSchema, CompanionCatalog, ScanBranch, Table, Worker

VARIABLE = "VGI_TEST_COMPANION"
ALIAS = os.environ.get(f"{VARIABLE}_ALIAS") or "vgi_companion"
EVENTS = (ALIAS, "main", "events")


def companions() -> list[CompanionCatalog]:
    target = os.environ.get(f"{VARIABLE}_TARGET")
    if not target:
        return []
    found = [
        CompanionCatalog(
            ALIAS,
            target,
            db_type=os.environ.get(f"{VARIABLE}_DBTYPE", ""),
            required=True,
            hidden=os.environ.get(f"{VARIABLE}_HIDDEN") == "1",
        )
    ]
    if os.environ.get(f"{VARIABLE}_POISON") == "1":  # a scheme that DuckDB does not permit
        found.append(CompanionCatalog("vgi_companion_poison", "ftp://nope/x", required=True))
    return found


CATALOG = Catalog(
    "companion",
    default_schema="data",
    schemas=[
        CatalogSchema(
            "data",
            tables=[
                Table(
                    "hot_cold",
                    columns={"id": "int64", "val": "utf8"},
                    branches=[
                        ScanBranch(source=EVENTS, filter="id < 100"),
                        ScanBranch(source=EVENTS, filter="id >= 100"),
                    ],
                    required_extensions=["parquet"],
                    comment="Events of another database, in two parts",
                )
            ],
        )
    ],
    companions=companions(),
)
worker = Worker("vgi-fast-companion-worker", catalogs=[CATALOG])


def main() -> None:
    worker.run()


if __name__ == "__main__":
    main()
