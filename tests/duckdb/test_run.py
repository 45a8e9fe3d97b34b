"""``vgi-fast-run`` in LOCATION."""

import os
import shlex

import pytest

from tests.duckdb.conftest import WORKER, Sql, quoted
from tests.fix_run import Run, wait_until

duckdb = pytest.importorskip("duckdb")


@pytest.mark.parametrize("prefix", ["", "launch:"])
def test_location(sql: Sql, run: Run, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    for name, value in run.environment.items():
        monkeypatch.setenv(name, value)
    location = prefix + shlex.join([run.program, str(WORKER)])
    options = f", launcher_state_dir {quoted(str(run.folder))}" if prefix else ""
    sql(f"ATTACH 'tested' AS warm (TYPE vgi, LOCATION {quoted(location)}{options})")
    try:
        for _ in range(2):
            assert sql("SELECT warm.add(1, 2), warm.greet('wörld')") == [(3, "hello wörld")]
        total = sql("SELECT sum(warm.add(n, 1)) FROM range(100_000) AS numbers(n)")
        assert total == [(sum(range(100_000)) + 100_000,)]
        template = run.template()
        assert os.path.exists(f"/proc/{template}")
    finally:
        sql("DETACH warm")
    wait_until(lambda: run.templates() == [template], "nothing but the template to stay as it is")
