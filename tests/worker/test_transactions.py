"""Storage that the calls of one transaction share, under live workers."""

import os
from pathlib import Path

import pytest

from tests.fix_worker import Workers
from vgi_fast.client.catalog import Catalog

WORKER = """
    from typing import Any

    from vgi_fast import (
        BindParams,
        BindResponse,
        Catalog,
        OutputCollector,
        ProcessParams,
        TableFunctionGenerator,
        Worker,
        table,
    )

    def first(params: BindParams[Any], key: str) -> str:
        shared = params.transaction_storage
        if shared is None:
            return "none"
        found = shared.get_one(key.encode())
        if found is None:
            shared.put_one(key.encode(), found := f"{key} of {params.transaction_opaque_data.hex()}".encode())
        return found.decode()

    class AtBind(TableFunctionGenerator[None]):
        @classmethod
        def on_bind(cls, params: BindParams[None]) -> BindResponse:
            return BindResponse({"found": "utf8"}, first(params, "key").encode())

        @classmethod
        def initial_state(cls, params: ProcessParams[None]) -> list[str]:
            return [params.bind_opaque_data.decode()]

        @classmethod
        def process(cls, params: ProcessParams[None], state: list[str], out: OutputCollector) -> None:
            return out.emit({"found": [state.pop()]}) if state else out.finish()

    @table(columns={"found": "utf8"})
    def in_stream(params: ProcessParams[Any], key: str = "key") -> list[str]:
        return [first(params, key)]

    Worker("shared", catalogs=[Catalog("shared", functions=[AtBind, in_stream], transactions=True)]).run()
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VGI_FAST_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state" / "run"


def found(catalog: Catalog, name: str = "at_bind", **named: str) -> str:
    (value,) = catalog.table(name, named=named).read_all()["found"].to_pylist()
    return str(value)


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_values_last_as_long_as_the_transaction(worker: Workers, state: Path, end: str) -> None:
    catalog = worker(WORKER).attach()
    assert (found(catalog), found(catalog, "in_stream")) == ("none", "none")
    seen = set()
    for _ in range(2):
        catalog.begin()
        assert catalog.transaction is not None
        wanted = f"key of {catalog.transaction.hex()}"
        assert [found(catalog), found(catalog, "in_stream"), found(catalog)] == [wanted] * 3
        assert found(catalog, "in_stream", key="other").startswith("other of ")
        seen.add(wanted)
        getattr(catalog, end)()
        assert list(state.iterdir()) == []
    assert len(seen) == 2
    assert found(catalog) == "none"


@pytest.mark.transports("stdio", "pool")
def test_each_call_in_another_process(worker: Workers, state: Path) -> None:
    """One binds first, one later, and a third commits, as DuckDB does it without ``launch:``."""
    one, two, three = (worker(WORKER).attach() for _ in range(3))
    one.begin()
    two.transaction = three.transaction = one.transaction
    assert found(one) == found(two) == found(three, "in_stream") != "none"
    three.commit()
    assert list(state.iterdir()) == []
    assert one.transaction is not None
    other = found(two)  # begins anew, also in processes that have seen the old value
    assert other == f"key of {one.transaction.hex()}"
    two.rollback()


def test_transactions_do_not_share(worker: Workers, state: Path) -> None:
    client = worker(WORKER)
    one, two = client.attach(), client.attach()
    one.begin()
    two.begin()
    assert found(one) != found(two)
    one.commit()
    assert found(two) == found(two, "in_stream")
    two.commit()
    assert list(state.iterdir()) == []


@pytest.mark.transports("stdio")
def test_a_commit_counts_even_where_nothing_can_be_erased(worker: Workers, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    client = worker(WORKER, env={"VGI_FAST_STATE_DIR": str(tmp_path / "file")})
    catalog = client.attach()
    catalog.begin()
    catalog.commit()
    assert found(catalog) == "none"


@pytest.mark.transports("stdio")
def test_what_was_abandoned_goes_with_the_next_process_that_ends(worker: Workers, state: Path) -> None:
    lost = worker(WORKER).attach()
    lost.begin()
    found(lost)
    (left,) = state.iterdir()
    for path in (*left.iterdir(), left):
        os.utime(path, (0, 0))
    client = worker(WORKER)
    other = client.attach()
    other.begin()
    found(other)
    client.close()
    assert not left.exists()
    assert len(list(state.iterdir())) == 1  # of the transaction that may still go on
