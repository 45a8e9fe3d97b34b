"""A database behind SQLAlchemy, read and written in SQL: SQLite always, PostgreSQL where VGI_FAST_TEST_POSTGRES names one."""

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from tests.duckdb.conftest import EXTENSION, quoted

duckdb = pytest.importorskip("duckdb")
sa = pytest.importorskip("sqlalchemy")

POSTGRES: Final = "VGI_FAST_TEST_POSTGRES"
WORKER: Final = Path(__file__).parent / "sql_worker.py"

SHOP: Final = {
    "sqlite": """
        DROP VIEW IF EXISTS names;
        DROP TABLE IF EXISTS orders;
        DROP TABLE IF EXISTS customers;
        DROP TABLE IF EXISTS "Odd ""Name%s";
        CREATE TABLE customers (
            id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL, email TEXT UNIQUE, born DATE, vip BOOLEAN NOT NULL DEFAULT false
        );
        CREATE TABLE orders (
            customer_id INTEGER NOT NULL REFERENCES customers (id), line INTEGER NOT NULL, placed TIMESTAMP, price NUMERIC(10, 2),
            weight DOUBLE PRECISION, note TEXT DEFAULT 'none', raw BLOB, doubled DOUBLE GENERATED ALWAYS AS (weight * 2) STORED,
            PRIMARY KEY (customer_id, line), CHECK (line > 0)
        );
        CREATE VIEW names AS SELECT name FROM customers;
        CREATE TABLE "Odd ""Name%s" ("Mixed Case" TEXT, "a%b" INTEGER, "select" INTEGER);
    """,
    "postgresql": """
        DROP SCHEMA public CASCADE;
        CREATE SCHEMA public;
        CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
        CREATE TABLE customers (
            id SERIAL PRIMARY KEY, name VARCHAR(40) NOT NULL, email TEXT UNIQUE, born DATE, vip BOOLEAN NOT NULL DEFAULT false
        );
        COMMENT ON TABLE customers IS 'Who buys';
        COMMENT ON COLUMN customers.born IS 'The day';
        CREATE TABLE orders (
            customer_id INTEGER NOT NULL REFERENCES customers (id), line INTEGER NOT NULL, placed TIMESTAMP, price NUMERIC(10, 2),
            weight DOUBLE PRECISION, note TEXT DEFAULT 'none', raw BYTEA,
            doubled DOUBLE PRECISION GENERATED ALWAYS AS (weight * 2) STORED,
            PRIMARY KEY (customer_id, line), CHECK (line > 0)
        );
        CREATE VIEW names AS SELECT name FROM customers;
        CREATE TABLE "Odd ""Name%s" ("Mixed Case" TEXT, "a%b" INTEGER, "select" INTEGER);
        CREATE TABLE types (
            id UUID PRIMARY KEY, small SMALLINT, big BIGINT, real REAL, free NUMERIC, zoned TIMESTAMPTZ, clock TIME, span INTERVAL,
            fixed CHAR(5), doc JSONB, feeling mood, addr INET, ints INTEGER[], texts TEXT[], bits BIT(3), clockz TIMETZ
        );
    """,
}
ROWS: Final = """
    INSERT INTO customers (id, name, email, born, vip) VALUES
        (1, 'Ann', 'ann@example.org', '1980-01-02', true), (2, 'Bö', NULL, NULL, false), (3, 'O''Hara', 'o@example.org', '2001-12-31', false);
    INSERT INTO orders (customer_id, line, placed, price, weight, note) VALUES
        (1, 1, '2024-05-06 07:08:09.123456', 12.50, 1.5, NULL), (1, 2, NULL, NULL, NULL, 'x'), (2, 1, '1999-01-01 00:00:00', -3.00, 0.25, 'y');
    INSERT INTO "Odd ""Name%s" VALUES ('50% \\ "quoted" ''text''', 7, 8);
"""


class Workers:
    """Worker processes on sockets, one per way of serving, for all tests: starting one takes longer than a test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, tuple[subprocess.Popen[str], Path]] = {}

    def location(self, url: str, options: dict[str, Any]) -> str:
        key = json.dumps([url, options])
        if key not in self._running:
            path = self._folder / f"{len(self._running)}.sock"
            command = [sys.executable, "-W", "error", str(WORKER), url, json.dumps(options), str(path)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            self._running[key] = process, path
            assert process.stdout is not None
            assert str(path) in process.stdout.readline()
        return f"unix://{self._running[key][1]}"

    def stop(self) -> None:
        for process, _ in self._running.values():
            process.terminate()
            assert process.stdout is not None
            process.stdout.close()
            process.wait(10)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short: the path of a socket has its limit."""
    with TemporaryDirectory(prefix="vgi") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def workers(folder: Path) -> Iterator[Workers]:
    made = Workers(folder)
    yield made
    made.stop()


class Database:
    """One database, and DuckDB with it attached as ``db``."""

    def __init__(self, url: str, workers: Workers) -> None:
        self.url = url
        self._workers = workers
        self.engine = sa.create_engine(url)
        self.postgres = self.engine.dialect.name == "postgresql"
        self._connections: list[Any] = []

    def attach(self, extra: str = "", **options: Any) -> "Run":
        connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        self._connections.append(connection)
        connection.execute(f"LOAD {quoted(os.environ[EXTENSION])}")
        connection.execute("SET TimeZone = 'UTC'")
        location = self._workers.location(self.url, options)
        connection.execute(f"ATTACH 'db' AS db (TYPE vgi, LOCATION {quoted(location)} {extra})")
        return lambda statement, *parameters: connection.execute(statement, list(parameters)).fetchall()

    def run(self, script: str) -> None:
        with self.engine.begin() as connection:
            for statement in script.split(";\n"):
                if statement.strip():
                    connection.exec_driver_sql(statement.replace("%", "%%") if self.postgres else statement)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database itself says."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement))]

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self.engine.dispose()


Run = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, folder: Path, workers: Workers) -> Iterator[Database]:
    if not os.environ.get(EXTENSION):
        pytest.skip(f"{EXTENSION} is not set: it names the file of DuckDB's vgi extension")
    if request.param == "sqlite":
        made = Database(f"sqlite:///{folder / 'shop.db'}", workers)
    else:
        url = os.environ.get(POSTGRES)
        if not url:
            pytest.skip(
                f"{POSTGRES} is not set: it is the URL of a PostgreSQL database whose schema public may be replaced"
            )
        pytest.importorskip("psycopg")
        made = Database(url, workers)
    made.run(SHOP[request.param].replace("\n        ", "\n") + ";\n" + ROWS)
    yield made
    made.close()


@pytest.fixture
def postgres(database: Database) -> Database:
    if not database.postgres:
        pytest.skip("about PostgreSQL's own types")
    return database


@pytest.fixture
def run(database: Database) -> Run:
    return database.attach()


# ---- what is there ----


def test_tables_and_columns(run: Run, database: Database) -> None:
    found: dict[str, Any] = dict(run("SELECT name, column_types FROM (SHOW ALL TABLES) WHERE database = 'db'"))
    assert set(found) - {"types"} == {"customers", "orders", "names", 'Odd "Name%s'}
    integer = "INTEGER" if database.postgres else "BIGINT"
    assert found["customers"] == [integer, "VARCHAR", "VARCHAR", "DATE", "BOOLEAN"]
    price = "DECIMAL(10,2)" if database.postgres else "DOUBLE"
    assert found["orders"] == [integer, integer, "TIMESTAMP", price, "DOUBLE", "VARCHAR", "BLOB", "DOUBLE"]


def test_constraints_and_defaults(run: Run) -> None:
    rows = run("SELECT constraint_type, constraint_column_names FROM duckdb_constraints() WHERE table_name = 'orders'")
    found: set[Any] = {(kind, *names) for kind, names in rows}
    assert {("PRIMARY KEY", "customer_id", "line"), ("FOREIGN KEY", "customer_id"), ("CHECK", "line")} <= found
    rows = run(
        "SELECT constraint_type, constraint_column_names FROM duckdb_constraints() WHERE table_name = 'customers'"
    )
    found = {(kind, *names) for kind, names in rows}
    assert {("PRIMARY KEY", "id"), ("NOT NULL", "name"), ("UNIQUE", "email")} <= found
    assert ("note", "'none'") in run(
        "SELECT column_name, column_default FROM duckdb_columns() WHERE table_name = 'orders'"
    )


def test_comments(postgres: Database) -> None:
    run = postgres.attach()
    assert run("SELECT comment FROM duckdb_tables() WHERE table_name = 'customers'") == [("Who buys",)]
    assert ("born", "The day") in run(
        "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'customers'"
    )


def test_cardinality(postgres: Database) -> None:
    postgres.run(
        "INSERT INTO customers (id, name) SELECT i, 'x' FROM generate_series(11, 5010) AS g(i);\nANALYZE customers;\n"
    )
    (plan,) = postgres.attach()("EXPLAIN SELECT * FROM db.customers")
    assert "~5,003 rows" in plan[1]


# ---- reads ----


def test_rows(run: Run, database: Database) -> None:
    assert run("FROM db.customers ORDER BY id") == [
        (1, "Ann", "ann@example.org", dt.date(1980, 1, 2), True),
        (2, "Bö", None, None, False),
        (3, "O'Hara", "o@example.org", dt.date(2001, 12, 31), False),
    ]
    number = Decimal if database.postgres else float
    assert run("SELECT placed, price, weight, note, raw, doubled FROM db.orders ORDER BY customer_id, line") == [
        (dt.datetime(2024, 5, 6, 7, 8, 9, 123456), number("12.50"), 1.5, None, None, 3.0),
        (None, None, None, "x", None, None),
        (dt.datetime(1999, 1, 1), number("-3.00"), 0.25, "y", None, 0.5),
    ]
    assert run("SELECT name FROM db.names ORDER BY name") == [("Ann",), ("Bö",), ("O'Hara",)]


def test_names_that_need_quotes(run: Run) -> None:
    assert run('SELECT "Mixed Case", "a%b", "select" FROM db."Odd ""Name%s"') == [("50% \\ \"quoted\" 'text'", 7, 8)]
    assert run('SELECT "a%b" FROM db."Odd ""Name%s" WHERE "Mixed Case" = \'50% \\ "quoted" \'\'text\'\'\'') == [(7,)]


def test_only_wanted_columns_are_read(run: Run) -> None:
    run("CALL enable_logging('VGI', level = 'trace')")
    assert run("SELECT weight, line FROM db.orders WHERE customer_id = 2") == [(0.25, 1)]
    (statement,) = [one for one in logged(run) if "'event': 'SELECT" in one]
    assert "orders.weight AS weight" in statement
    assert "price" not in statement
    assert "note" not in statement


def test_types_of_postgres(postgres: Database) -> None:
    postgres.run("""
        INSERT INTO types VALUES ('00000000-0000-0000-0000-00000000000a', 1, 5000000000, 1.5, 1.25, '2024-01-02 03:04:05+02', '12:34:56',
            '1 month 2 days 3 seconds', 'ab', '{"a": 1}', 'ok', '10.0.0.1', '{1,NULL,3}', '{a,NULL}', B'101', '01:02:03+01')
    """)
    for adbc in (True, False):
        (row,) = postgres.attach(adbc=adbc)(
            "SELECT * REPLACE (zoned::TIMESTAMP AS zoned, span::VARCHAR AS span) FROM db.types"
        )
        assert row == (
            "00000000-0000-0000-0000-00000000000a", 1, 5_000_000_000, 1.5, 1.25, dt.datetime(2024, 1, 2, 1, 4, 5), dt.time(12, 34, 56),
            "1 month 2 days 00:00:03" if adbc else row[7], "ab", '{"a": 1}', "ok", "10.0.0.1/32", [1, None, 3], ["a", None], "101",
            "01:02:03+01",
        )  # fmt: skip


def test_many_rows(run: Run, database: Database) -> None:
    series = "generate_series(10, 100009) AS g(i)" if database.postgres else (
        "(WITH RECURSIVE g(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM g WHERE i < 100009) SELECT i FROM g)"
    )  # fmt: skip
    database.run(f"INSERT INTO customers (id, name) SELECT i, 'name ' || i FROM {series}")
    assert run("SELECT count(*), sum(id), max(name) FROM db.customers WHERE id >= 10") == [
        (100_000, sum(range(10, 100_010)), "name 99999")
    ]
    assert len(run("SELECT name FROM db.customers LIMIT 5")) == 5
    assert run("SELECT count(*) FROM db.customers") == [(100_003,)]


def test_errors_of_the_database(run: Run, database: Database) -> None:
    assert run("SELECT count(*) FROM db.names") == [(3,)]
    database.run("DROP VIEW names")
    with pytest.raises(duckdb.Error, match="the database says: .*names"):
        run("SELECT name FROM db.names")


# ---- writes ----


def test_insert(run: Run, database: Database) -> None:
    assert run("INSERT INTO db.customers (id, name, vip) VALUES (10, 'Zoë', true), (11, 'x', NULL)") == [(2,)]
    assert database.rows("SELECT id, name, email, vip FROM customers WHERE id >= 10 ORDER BY id") == [
        (10, "Zoë", None, True),
        (11, "x", None, False),  # it may not be NULL, so it is the default
    ]
    assert run("INSERT INTO db.orders (customer_id, line, price, raw) VALUES (10, 1, 2.25, 'ab'::BLOB)") == [(1,)]
    assert database.rows("SELECT note, raw, doubled FROM orders WHERE customer_id = 10") == [("none", b"ab", None)]


def test_insert_numbers_its_rows(run: Run, database: Database) -> None:
    if database.postgres:
        database.run("SELECT setval('customers_id_seq', 100)")
    ((one, name),) = run("INSERT INTO db.customers (name) VALUES ('new') RETURNING id, name")
    assert name == "new"
    assert database.rows(f"SELECT name FROM customers WHERE id = {one}") == [("new",)]


def test_insert_many(run: Run, database: Database) -> None:
    run("INSERT INTO db.customers (id, name, email) SELECT i, 'n' || i, 'e' || i FROM range(100, 10100) r(i)")
    assert database.rows("SELECT count(*), max(id) FROM customers WHERE id >= 100") == [(10_000, 10_099)]


def test_update_by_key(run: Run, database: Database) -> None:
    assert run("UPDATE db.customers SET name = upper(name), email = 'new' || id WHERE id <> 2") == [(2,)]
    assert database.rows("SELECT id, name, email FROM customers ORDER BY id") == [
        (1, "ANN", "new1"),
        (2, "Bö", None),
        (3, "O'HARA", "new3"),
    ]


def test_update_by_address(run: Run, database: Database) -> None:
    """The key has two columns."""
    assert run("UPDATE db.orders SET price = price + 1, note = 'up' WHERE customer_id = 1") == [(2,)]
    assert [
        tuple(map(str, row)) for row in database.rows("SELECT line, note FROM orders ORDER BY customer_id, line")
    ] == [
        ("1", "up"),
        ("2", "up"),
        ("1", "y"),
    ]


def test_update_all_of_many(run: Run, database: Database) -> None:
    run("INSERT INTO db.customers (id, name) SELECT i, repeat('long', 10) FROM range(100, 20100) r(i)")
    assert run("UPDATE db.customers SET name = 'short' WHERE id >= 100") == [(20_000,)]
    assert database.rows("SELECT count(*) FROM customers WHERE name = 'short'") == [(20_000,)]


def test_delete(run: Run, database: Database) -> None:
    assert run("DELETE FROM db.orders WHERE line = 1") == [(2,)]
    assert database.rows("SELECT customer_id, line FROM orders") == [(1, 2)]
    assert run("DELETE FROM db.customers WHERE id = 3") == [(1,)]
    assert database.rows("SELECT id FROM customers ORDER BY id") == [(1,), (2,)]


def test_returning(run: Run, database: Database) -> None:
    assert run("INSERT INTO db.customers (id, name) VALUES (20, 'a'), (21, 'b') RETURNING id, name, vip") == [
        (20, "a", False),
        (21, "b", False),
    ]
    assert run("UPDATE db.customers SET name = name || '!' WHERE id >= 20 RETURNING name") == [("a!",), ("b!",)]
    assert run("DELETE FROM db.customers WHERE id >= 20 RETURNING id") == [(20,), (21,)]
    assert run("DELETE FROM db.customers WHERE id >= 20 RETURNING id") == []


def test_statement_is_all_or_nothing(run: Run, database: Database) -> None:
    """The last of many rows, chunks after the first, is refused."""
    with pytest.raises(duckdb.Error, match="the database says"):
        run(
            "INSERT INTO db.customers (id, name) SELECT CASE WHEN i = 9000 THEN 1 ELSE i END, 'x' FROM range(100, 9001) r(i)"
        )
    assert database.rows("SELECT count(*) FROM customers") == [(3,)]
    with pytest.raises(duckdb.Error, match="the database says"):
        run("DELETE FROM db.customers")  # some have orders
    assert database.rows("SELECT count(*) FROM customers") == [(3,)]


def test_views_are_not_written(run: Run) -> None:
    with pytest.raises(duckdb.Error, match="does not support INSERT"):
        run("INSERT INTO db.names VALUES ('x')")


def test_read_only(database: Database) -> None:
    run = database.attach(read_only=True)
    assert run("SELECT count(*) FROM db.customers") == [(3,)]
    with pytest.raises(duckdb.Error, match="does not support DELETE"):
        run("DELETE FROM db.customers")
    with pytest.raises(duckdb.Error, match="catalog is read-only"):
        run("DROP TABLE db.customers")


def test_types_of_postgres_written(postgres: Database) -> None:
    run = postgres.attach()
    run("""
        INSERT INTO db.types (id, small, zoned, fixed, doc, feeling, addr, ints, clock, free)
        VALUES ('00000000-0000-0000-0000-00000000000b', 3, '2024-01-02 03:04:05+00', 'ab', '{"k": [1]}', 'happy', '10.1.0.0/16', [1, 2],
            '01:02:03', 2.5)
    """)
    assert postgres.rows("SELECT doc -> 'k', feeling::text, addr::text, ints, free FROM types") == [
        ([1], "happy", "10.1.0.0/16", [1, 2], Decimal("2.5"))
    ]
    assert run("UPDATE db.types SET feeling = 'sad', doc = NULL WHERE id = '00000000-0000-0000-0000-00000000000b'") == [
        (1,)
    ]
    assert postgres.rows("SELECT feeling::text, doc FROM types") == [("sad", None)]
    assert run("UPDATE db.types SET feeling = 'ok' RETURNING feeling, addr, ints") == [("ok", "10.1.0.0/16", [1, 2])]
    returned = run(
        "INSERT INTO db.types (id, doc) VALUES ('00000000-0000-0000-0000-00000000000c', '[]') RETURNING id, doc"
    )
    assert returned == [("00000000-0000-0000-0000-00000000000c", "[]")]
    with pytest.raises(duckdb.Error, match="the database says: .*mood"):
        run("UPDATE db.types SET feeling = 'weird'")


def test_numbered_by_the_database(postgres: Database) -> None:
    """Addressed by ctid, and RETURNING sends every column."""
    postgres.run("CREATE TABLE log (id INTEGER GENERATED ALWAYS AS IDENTITY, text TEXT);\n")
    run = postgres.attach()
    assert run("INSERT INTO db.log (text) VALUES ('a'), ('b') RETURNING id, text") == [(1, "a"), (2, "b")]
    assert run("UPDATE db.log SET text = 'c' WHERE id = 2 RETURNING id, text") == [(2, "c")]
    assert run("DELETE FROM db.log WHERE id = 1 RETURNING text") == [("a",)]


# ---- tables that come and go ----


def test_create_and_drop(run: Run, database: Database) -> None:
    run("""
        CREATE TABLE db.made (
            id BIGINT PRIMARY KEY, name VARCHAR NOT NULL, price DECIMAL(8, 2) DEFAULT 1.5, at_day DATE, UNIQUE (name, price)
        )
    """)
    run("INSERT INTO db.made (id, name) VALUES (1, 'a')")
    assert [(name, float(price)) for name, price in database.rows("SELECT name, price FROM made")] == [("a", 1.5)]
    keys = sa.inspect(database.engine).get_pk_constraint("made")["constrained_columns"]
    assert keys == ["id"]
    with pytest.raises(duckdb.Error, match="already exists"):
        run("CREATE TABLE db.made (x INTEGER)")
    run("CREATE TABLE IF NOT EXISTS db.made (x INTEGER)")
    run("DROP TABLE db.made")
    with pytest.raises(duckdb.Error, match="does not exist"):
        run("FROM db.made")


def test_create_table_as(run: Run, database: Database) -> None:
    run("CREATE OR REPLACE TABLE db.copied AS SELECT id, upper(name) AS name FROM db.customers")
    assert database.rows("SELECT name FROM copied ORDER BY id") == [("ANN",), ("BÖ",), ("O'HARA",)]
    assert run("SELECT count(*) FROM db.copied") == [(3,)]
    run("DROP TABLE db.copied")


def test_what_is_not_passed_on(run: Run) -> None:
    with pytest.raises(duckdb.Error, match="table column add is not passed on"):
        run("ALTER TABLE db.customers ADD COLUMN x INTEGER")
    with pytest.raises(duckdb.Error, match="CHECK .* is not passed on"):
        run("CREATE TABLE db.made (x INTEGER CHECK (x > 0))")


# ---- what the server is asked ----


def logged(run: Run) -> list[str]:
    """What the workers logged, on one line each, without the quotes of DuckDB's log."""
    messages = [str(row[0]) for row in run("SELECT message FROM duckdb_logs()")]
    return [" ".join(one.replace("\\'", "'").replace("\\\\", "\\").split()) for one in messages]


@pytest.mark.parametrize(
    ("where", "sent"),
    [
        ("id = 2", ["id = 2"]),
        ("id BETWEEN 2 AND 7", [">= 2", "<= 7"]),
        ("id IN (1, 3, 17)", ["IN (1, 3, 17)"]),
        ("name = 'Ann'", ["name = 'Ann'"]),
        ("name > 'An' AND name <= 'B%\\'", ['COLLATE "', "> 'An'", "<= 'B%\\'"]),
        ("name LIKE 'O''H%'", [">= 'O''H'", "< 'O''I'"]),
        ("name <> 'Ann' AND vip", ["!= 'Ann'"]),
        ("id = 1 OR id = 3", ["id = 1 OR", "id = 3"]),
    ],
)
def test_filters(run: Run, where: str, sent: list[str]) -> None:
    """They arrive, and the answer is DuckDB's own."""
    everything = run("FROM db.customers")
    run("CREATE OR REPLACE TEMP TABLE here (id INTEGER, name VARCHAR, email VARCHAR, born DATE, vip BOOLEAN)")
    for row in everything:
        run("INSERT INTO here VALUES (?, ?, ?, ?, ?)", *row)
    run("CALL enable_logging('VGI', level = 'debug')")
    assert run(f"SELECT id FROM db.customers WHERE {where} ORDER BY id") == run(
        f"SELECT id FROM here WHERE {where} ORDER BY id"
    )
    (statement,) = [one for one in logged(run) if "SELECT" in one and "customers.id AS" in one]
    for part in sent:
        assert part in statement


@pytest.mark.parametrize(
    "where",
    [
        "placed >= TIMESTAMP '2000-01-01'",
        "placed = TIMESTAMP '1999-01-01'",
        "price = 12.5",
        "price < 0",
        "weight = 1.5",
        "weight > 'inf'::DOUBLE",
        "note = ''",
        "note > 'w'",
        "raw IS NULL",
        "doubled IN (3, 0.5, 7)",
        "note IS NULL OR note = 'x'",
    ],
)
def test_filters_of_all_types(run: Run, where: str) -> None:
    run("CREATE OR REPLACE TEMP TABLE here AS FROM db.orders")
    columns = "customer_id, line, placed, price"
    expected = run(f"SELECT {columns} FROM here WHERE {where} ORDER BY ALL")
    assert run(f"SELECT {columns} FROM db.orders WHERE {where} ORDER BY ALL") == expected


def test_first_rows(postgres: Database) -> None:
    """The server sends the first rows, ties included; DuckDB orders them further."""
    postgres.run("INSERT INTO customers (id, name) SELECT i, 'n' || i % 10 FROM generate_series(11, 1010) AS g(i);\n")
    run = postgres.attach()
    run("CALL enable_logging('VGI', level = 'debug')")
    assert run("SELECT id, name FROM db.customers ORDER BY name, id DESC LIMIT 3") == [
        (1, "Ann"),
        (2, "Bö"),
        (3, "O'Hara"),
    ]
    assert run("SELECT id FROM db.customers ORDER BY name DESC, id LIMIT 2") == [(19,), (29,)]
    messages = " ".join(logged(run))
    assert 'ORDER BY public.customers.name COLLATE "C" ASC NULLS LAST' in messages
    assert "WITH TIES" in messages


# ---- transactions ----


def test_rollback_and_commit(postgres: Database) -> None:
    run = postgres.attach(transactions=True)
    run("BEGIN")
    run("INSERT INTO db.customers (id, name) VALUES (10, 'a'), (11, 'b')")
    run("UPDATE db.customers SET name = name || '!' WHERE id >= 10")
    assert run("SELECT name FROM db.customers WHERE id >= 10 ORDER BY id") == [("a!",), ("b!",)]
    assert postgres.rows("SELECT count(*) FROM customers") == [(3,)]
    run("ROLLBACK")
    assert run("SELECT count(*) FROM db.customers") == [(3,)]
    run("BEGIN")
    run("DELETE FROM db.orders WHERE line = 2")
    run("CREATE TABLE db.made AS SELECT id FROM db.customers")
    assert run("SELECT count(*) FROM db.made") == [(3,)]
    run("COMMIT")
    assert postgres.rows("SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM made)") == [(2, 3)]


def test_statements_without_a_transaction_are_committed(postgres: Database) -> None:
    run = postgres.attach(transactions=True)
    run("INSERT INTO db.customers (id, name) VALUES (10, 'a')")
    with pytest.raises(duckdb.Error, match="the database says: duplicate key"):
        run("INSERT INTO db.customers (id, name) VALUES (11, 'b'), (10, 'again')")
    assert postgres.rows("SELECT id FROM customers WHERE id >= 10") == [(10,)]


def test_large_update_in_a_transaction(postgres: Database) -> None:
    """Its scan and its writes take turns on one connection."""
    postgres.run("INSERT INTO customers (id, name) SELECT i, 'x' FROM generate_series(11, 40010) AS g(i);\n")
    run = postgres.attach(transactions=True)
    run("BEGIN")
    assert run("UPDATE db.customers SET name = 'y' WHERE id > 10") == [(40_000,)]
    assert run("UPDATE db.customers SET name = 'z' WHERE name = 'y'") == [(40_000,)]
    run("COMMIT")
    assert postgres.rows("SELECT count(*) FROM customers WHERE name = 'z'") == [(40_000,)]


# ---- attaching ----


def test_live_tables(database: Database) -> None:
    run = database.attach(live=True)
    assert run("SELECT count(*) FROM db.customers") == [(3,)]
    database.run("ALTER TABLE customers ADD COLUMN extra INTEGER")
    assert run("SELECT extra FROM db.customers") == [(None,)] * 3


def test_parts_of_the_url_come_from_attach(database: Database, workers: Workers) -> None:
    target = database.engine.url.database
    assert target is not None
    url = database.engine.url.set(database="nowhere").render_as_string(hide_password=False)
    hidden = Database(url, workers)
    try:
        run = hidden.attach(f", database {quoted(target)}", attach_options=["database"])
        assert run("SELECT count(*) FROM db.customers") == [(3,)]
    finally:
        hidden.close()


def test_unreachable_database(tmp_path: Path, workers: Workers) -> None:
    if not os.environ.get(EXTENSION):
        pytest.skip(f"{EXTENSION} is not set")
    lost = Database(f"sqlite:///{tmp_path / 'no' / 'folder' / 'x.db'}", workers)
    run = lost.attach()
    with pytest.raises(duckdb.Error, match="the database says: unable to open database file"):
        run("SELECT * FROM db.t")
    lost.close()
