"""Databases that SQLAlchemy speaks to, as whole catalogs.

worker = Worker(catalogs=[SqlAlchemyCatalog("postgresql+psycopg://localhost/shop", name="shop")])
"""

from vgi_fast.sources.sql.catalog import SqlAlchemyCatalog

__all__ = ["SqlAlchemyCatalog"]
