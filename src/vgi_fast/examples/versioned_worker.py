"""A catalog with versions and nothing in it.

ATTACH 'versioned' AS v (TYPE vgi, LOCATION 'vgi-fast-versioned-worker', data_version_spec '1.1.0');
SELECT tags FROM duckdb_databases() WHERE database_name = 'v';
"""

from vgi_fast import Catalog, Worker

CATALOG = Catalog(
    "versioned",
    data_versions=["1.2.0", "1.1.0", "1.0.0"],
    data_version_spec=">=1.0.0,<2.0.0",
    implementation_versions=["1.0.0"],
    comment="Nothing, in three versions",
)
worker = Worker("vgi-fast-versioned-worker", catalogs=[CATALOG])


def main() -> None:
    worker.run()


if __name__ == "__main__":
    main()
