"""Serves the database whose URL is the first argument; further ones are keywords of the catalog, as JSON."""

import json
import sys

from vgi_fast import Worker
from vgi_fast.sources.sql import SqlAlchemyCatalog

if __name__ == "__main__":
    options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    Worker("sql", catalogs=[SqlAlchemyCatalog(sys.argv[1], name="db", log_sql=True, **options)]).run([])
