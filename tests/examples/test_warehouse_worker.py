"""Files and a database side by side."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fix_memory import Peer
from vgi_fast.examples.warehouse_worker import make_worker

sa = pytest.importorskip("sqlalchemy")


def test_both(peer: Callable[..., Peer], tmp_path: Path) -> None:
    files = tmp_path / "sales" / "year=2024"
    files.mkdir(parents=True)
    pq.write_table(pa.table({"order_id": [1, 2], "amount": [1.5, 2.5]}), files / "a.parquet")
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE orders (order_id INTEGER PRIMARY KEY, city TEXT)"))
    engine.dispose()
    served = peer(make_worker(str(tmp_path / "sales"), url))
    assert [one["name"] for one in served.call("catalog_schema_contents_tables", name="main")] == ["sales"]
    assert served.table("scan_sales", projection_ids=[2, 1]).rows() == {"year": [2024, 2024], "amount": [1.5, 2.5]}
    shop = served.call("catalog_attach", name="shop")["attach_opaque_data"]
    (orders,) = served.call("catalog_schema_contents_tables", name="main", attach_opaque_data=shop)
    assert (orders["name"], orders["supports_insert"]) == ("orders", False)
