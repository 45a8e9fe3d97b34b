"""A worker that writes the method of each call, before it answers, to the file that CALLS_LOG names.

With CALLS_OF=example it is the example worker that does so.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

from vgi_fast import Catalog, CatalogSchema, ColumnStatisticsInput, Int64, Table, Worker, scalar, table
from vgi_fast.worker.calls import HANDLERS


def counted(method: str, handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def handle(call: Any, row: Any) -> Any:
        os.write(log, f"{method}\n".encode())
        return handler(call, row)

    return handle


if "CALLS_LOG" in os.environ:
    log = os.open(os.environ["CALLS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    HANDLERS.update({method: counted(method, handler) for method, handler in HANDLERS.items()})


@table(
    columns={"n": "int64"},
    cardinality=lambda args: args.count,
    statistics=lambda args: {"n": ColumnStatisticsInput(0, args.count - 1, has_null=False)},
    projection_pushdown=True,
)
def numbers(count: int) -> Iterator[range]:
    """Integers from 0."""
    yield range(count)


@scalar
def same(x: Int64) -> Int64:
    return x


NUMBERS = Table("hundred", function=numbers, arguments=[100], comment="The first hundred integers")
CATALOG = Catalog("counted", schemas=[CatalogSchema("main", functions=[numbers, same], tables=[NUMBERS])])
worker = Worker("counted", catalogs=[CATALOG])

if __name__ == "__main__":
    if os.environ.get("CALLS_OF") == "example":
        from vgi_fast.examples.example_worker import worker
    worker.run()
