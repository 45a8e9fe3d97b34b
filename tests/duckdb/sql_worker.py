"""Serves the database whose URL is the first argument.

The second one is the options of the catalog as JSON, the third the path of a socket to listen on.
"""

import json
import sys

from vgi_fast import SqlAlchemyCatalog, Worker

if __name__ == "__main__":
    url, options, *path = sys.argv[1:]
    catalog = SqlAlchemyCatalog(url, name="db", log_sql=True, **json.loads(options))
    Worker("sql", catalogs=[catalog]).run(["--unix", *path] if path else [])
