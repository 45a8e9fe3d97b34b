"""DDL, INSERT and transactions as DuckDB sends them."""

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.duckdb.conftest import EXTENSION, quoted

WORKER = Path(__file__).parents[1] / "workers" / "changing.py"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Any]:
    path = os.environ.get(EXTENSION)
    if not path:
        pytest.skip(f"{EXTENSION} is not set: it names the file of DuckDB's vgi extension")
    import duckdb

    # The file is an argument, so that no worker of another test is used for this one.
    command = shlex.join(["env", f"CHANGING_DB={tmp_path / 'state'}", sys.executable, "-W", "error", str(WORKER)])
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as made:
        made.execute(f"LOAD {quoted(path)}")
        made.execute(f"ATTACH 'changing' AS c (TYPE vgi, LOCATION {quoted(command)})")
        yield made


def rows(connection: Any, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()  # type: ignore[no-any-return]


COLUMNS = "SELECT column_name, data_type, column_default, comment FROM duckdb_columns() WHERE table_name = 't'"


def test_a_table_from_create_to_drop(connection: Any) -> None:
    run = connection.execute
    run("CREATE TABLE c.t (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL UNIQUE, n BIGINT DEFAULT 7, CHECK (n > 0))")
    run("INSERT INTO c.t (id, name) VALUES (1, 'one'), (2, 'two')")
    assert rows(connection, "INSERT INTO c.t VALUES (3, 'three', 9) RETURNING n, id") == [(9, 3)]
    assert rows(connection, "FROM c.t ORDER BY id") == [(1, "one", 7), (2, "two", 7), (3, "three", 9)]
    constraints = "SELECT constraint_type, constraint_column_names FROM duckdb_constraints() WHERE table_name = 't'"
    assert sorted(rows(connection, constraints)) == [
        ("CHECK", ["n"]),
        ("NOT NULL", ["id"]),
        ("NOT NULL", ["name"]),
        ("PRIMARY KEY", ["id"]),
        ("UNIQUE", ["name"]),
    ]
    run("ALTER TABLE c.t ADD COLUMN extra DOUBLE")
    run("ALTER TABLE c.t ADD COLUMN IF NOT EXISTS extra DOUBLE")
    run("ALTER TABLE c.t RENAME COLUMN name TO title")
    run("ALTER TABLE c.t ALTER COLUMN n DROP DEFAULT")
    run("ALTER TABLE c.t ALTER COLUMN extra SET DEFAULT 1.5")
    run("ALTER TABLE c.t ALTER COLUMN extra TYPE DECIMAL(9, 2)")
    run("ALTER TABLE c.t ALTER COLUMN extra SET NOT NULL")
    run("ALTER TABLE c.t ALTER COLUMN extra DROP NOT NULL")
    run("ALTER TABLE c.t DROP COLUMN IF EXISTS nothing")
    run("COMMENT ON COLUMN c.t.title IS 'A title'")
    run("COMMENT ON TABLE c.t IS 'A table'")
    run("FROM c.t")  # DuckDB lists a changed table only after it has looked it up again
    assert rows(connection, COLUMNS) == [
        ("id", "INTEGER", None, None),
        ("title", "VARCHAR", None, "A title"),
        ("n", "BIGINT", None, None),
        ("extra", "DECIMAL(9,2)", None, None),
    ]
    assert rows(connection, "SELECT comment FROM duckdb_tables() WHERE table_name = 't'") == [("A table",)]
    run("ALTER TABLE c.t DROP COLUMN n")
    run("ALTER TABLE c.t RENAME TO u")
    assert rows(connection, "SELECT title FROM c.u WHERE id = 2") == [("two",)]
    run("DROP TABLE c.u")
    with pytest.raises(Exception, match="does not exist"):
        run("FROM c.u")
    run("DROP TABLE IF EXISTS c.u")


def test_schemas_and_views(connection: Any) -> None:
    run = connection.execute
    run("CREATE SCHEMA c.more")
    with pytest.raises(Exception, match="exists already"):
        run("CREATE SCHEMA c.more")
    run("CREATE SCHEMA IF NOT EXISTS c.more")
    run("CREATE TABLE c.more.t AS SELECT range AS i FROM range(5000)")
    run("CREATE VIEW c.more.v AS SELECT sum(i) AS total FROM c.more.t")
    run("CREATE OR REPLACE VIEW c.more.v AS SELECT count(*) AS total FROM c.more.t")
    run("COMMENT ON VIEW c.more.v IS 'How many'")
    assert rows(connection, "FROM c.more.v") == [(5000,)]
    run("ALTER VIEW c.more.v RENAME TO w")
    assert rows(connection, "SELECT view_name, comment FROM duckdb_views() WHERE database_name = 'c'") == [
        ("w", "How many")
    ]
    run("DROP VIEW c.more.w")
    with pytest.raises(Exception, match="is not empty"):
        run("DROP SCHEMA c.more")
    run("DROP SCHEMA c.more CASCADE")
    assert rows(connection, "SELECT schema_name FROM duckdb_schemas() WHERE database_name = 'c'") == [("main",)]


def test_a_transaction_is_rolled_back_by_another_process(connection: Any) -> None:
    run = connection.execute
    run("CREATE TABLE c.t (i INTEGER)")
    run("BEGIN")
    run("INSERT INTO c.t VALUES (1)")
    run("CREATE TABLE c.gone (i INTEGER)")
    run("ROLLBACK")
    assert rows(connection, "FROM c.t") == []
    with pytest.raises(Exception, match="does not exist"):
        run("FROM c.gone")
    run("BEGIN")
    run("INSERT INTO c.t VALUES (2)")
    run("COMMIT")
    assert rows(connection, "FROM c.t") == [(2,)]


def test_a_statement_that_fails_stores_nothing(connection: Any) -> None:
    run = connection.execute
    run("CREATE TABLE c.t (word VARCHAR)")
    with pytest.raises(Exception, match="poison is not stored"):
        run("INSERT INTO c.t SELECT CASE WHEN range = 4000 THEN 'poison' ELSE 'word' END FROM range(5000)")
    assert rows(connection, "SELECT count(*) FROM c.t") == [(0,)]
