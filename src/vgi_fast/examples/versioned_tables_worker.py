"""A catalog whose tables depend on the data version that was attached.

ATTACH 'versioned_tables' AS old (TYPE vgi, LOCATION 'vgi-fast-versioned-tables-worker', data_version_spec '1');
FROM old.animals;
"""

from datetime import UTC, datetime

from vgi_fast import Catalog, CatalogSchema, Release, Table, Worker
from vgi_fast.examples.example.scans import constant_rows

ANIMALS = [
    ("chicken", 2, "cluck", "red"),
    ("cow", 4, "moo", "brown"),
    ("horse", 4, "neigh", "black"),
    ("pig", 4, "oink", "pink"),
    ("sheep", 4, "baa", "white"),
]
ANIMAL_COLUMNS = {"name": "utf8", "legs": "int64", "sound": "utf8"}

animals_scan = constant_rows(
    "versioned_tables_animals_scan", ANIMAL_COLUMNS, [animal[:3] for animal in ANIMALS], "Animals"
)
animals_color_scan = constant_rows(
    "versioned_tables_animals_color_scan", {**ANIMAL_COLUMNS, "color": "utf8"}, ANIMALS, "Animals with their color"
)
plants_scan = constant_rows(
    "versioned_tables_plants_scan",
    {"name": "utf8", "kind": "utf8", "height_m": "float64"},
    [
        ("oak", "tree", 20.0),
        ("pine", "tree", 25.0),
        ("rose", "flower", 0.6),
        ("tomato", "vegetable", 1.5),
        ("wheat", "grass", 1.0),
    ],
    "Plants",
)


def released(version: str, month: int, day: int, summary: str) -> Release:
    return Release(version, datetime(2026, month, day, tzinfo=UTC), summary)


CATALOG = Catalog(
    "versioned_tables",
    schemas=[
        CatalogSchema(
            tables=[
                Table("animals", function=animals_scan, versions=["1.0.0", "2.0.0"]),
                Table("animals", function=animals_color_scan, versions=["1.1.0"]),
                Table("plants", function=plants_scan, versions=["2.0.0", "3.0.0"]),
            ],
            exact_counts=False,
        )
    ],
    releases=[
        released("3.0.0", 4, 15, "Plants only"),
        released("2.0.0", 2, 1, "Plants beside animals"),
        released("1.1.0", 1, 10, "Animals have a color"),
        released("1.0.0", 1, 1, "Animals"),
    ],
    data_version_spec=">=1.0.0,<4.0.0",
    implementation_versions=["11.0.0", "10.1.0", "10.0.0"],
    comment="Tables that come and go with the data version",
    source_url="https://github.com/Query-farm/vgi",
)
worker = Worker("vgi-fast-versioned-tables-worker", catalogs=[CATALOG])


def main() -> None:
    worker.run()


if __name__ == "__main__":
    main()
