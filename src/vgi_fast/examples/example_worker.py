"""A worker with a function of every kind, in the catalogs ``example``, ``twin_a`` and ``twin_b``.

    vgi-fast-example-worker
    vgi-fast describe vgi_fast.examples.example_worker:worker

In DuckDB, once the extension is loaded:

    ATTACH 'example' AS example (TYPE vgi, LOCATION 'vgi-fast-example-worker');
    SELECT example.multiply(n, 3) FROM example.sequence(10);
"""

from vgi_fast import Worker
from vgi_fast.examples.example.catalogs import CATALOGS

worker = Worker("vgi-fast-example-worker", catalogs=CATALOGS)


def main() -> None:
    worker.run()


if __name__ == "__main__":
    main()
