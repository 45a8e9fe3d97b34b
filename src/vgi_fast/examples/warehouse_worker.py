"""Files and a database as catalogs: a directory of Parquet files, and whatever SQLAlchemy can reach.

    WAREHOUSE_FILES=/data/sales WAREHOUSE_DATABASE=postgresql+psycopg://localhost/shop python -m \\
        vgi_fast.examples.warehouse_worker

    ATTACH 'warehouse' (TYPE vgi, LOCATION 'python -m vgi_fast.examples.warehouse_worker');
    ATTACH 'shop' (TYPE vgi, LOCATION 'python -m vgi_fast.examples.warehouse_worker');
    SELECT o.city, sum(s.amount) FROM warehouse.sales s JOIN shop.orders o USING (order_id)
    WHERE s.year = 2024 GROUP BY ALL;

Of the files only the folders, row groups and columns are read that the query needs, of the database only the
columns and rows.
"""

import os

from vgi_fast import Catalog, CatalogSchema, SqlAlchemyCatalog, Worker, data_table
from vgi_fast.catalog.interface import CatalogInterface


def make_worker(files: str | None, database: str | None) -> Worker:
    """A catalog for each that is given."""
    catalogs: list[Catalog | CatalogInterface] = []
    if files:
        tables = [data_table("sales", files, comment="Sales by year", live=True)]
        catalogs.append(Catalog("warehouse", schemas=[CatalogSchema("main", tables=tables)]))
    if database:
        catalogs.append(SqlAlchemyCatalog(database, name="shop", read_only=True))
    return Worker("warehouse", catalogs=catalogs)


def main() -> None:
    make_worker(os.environ.get("WAREHOUSE_FILES"), os.environ.get("WAREHOUSE_DATABASE")).run()


if __name__ == "__main__":
    main()
