"""``vgi-fast call``."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import BASIC, Run
from vgi_fast.cli.files import open_sink, open_source

TABLE = pa.table({"a": [1.5, 2.5, None], "x": [3.0, 6.0, 1.0], "y": [4.0, 8.0, 1.0], "word": ["p", "q", None]})
FORMATS = ["parquet", "csv", "arrow", "feather", "arrows", "jsonl"]


def write(path: Path, table: pa.Table) -> Path:
    with open_sink(path, table.schema) as sink:
        for batch in table.to_batches(max_chunksize=2):
            sink.write(batch)
    return path


def read(path: Path) -> pa.Table:
    source = open_source(path)
    return pa.Table.from_batches(list(source.batches), source.schema)


@pytest.mark.parametrize("ending", FORMATS)
def test_formats_read_what_they_write(tmp_path: Path, ending: str) -> None:
    assert read(write(tmp_path / f"table.{ending}", TABLE)).to_pydict() == TABLE.to_pydict()


@pytest.mark.parametrize("ending", FORMATS)
def test_scalar_over_a_file(run: Run, tmp_path: Path, ending: str) -> None:
    source = write(tmp_path / f"in.{ending}", TABLE)
    result = run("call", BASIC, "hypot", "--input", source, "--output", f"out.{ending}", "--batch-rows", 2)
    assert f"3 rows written to out.{ending}" in result.output
    # Columns are found by the names of the function's arguments.
    assert read(tmp_path / f"out.{ending}").to_pydict() == {
        "x": [3.0, 6.0, 1.0],
        "y": [4.0, 8.0, 1.0],
        "hypot": [5.0, 10.0, pytest.approx(2**0.5)],
    }


def test_result_is_shown_without_output(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "in.csv", TABLE)
    output = run("call", BASIC, "upper", "-i", "in.csv", "-c", "word").output
    assert [line.split() for line in output.splitlines() if "P" in line] == [["│", "p", "│", "P", "│"]]
    assert "NULL" in output
    assert "3 rows" in output


def test_constants_settings_and_limit(run: Run, tmp_path: Path) -> None:
    pq.write_table(pa.table({"base": list(range(100))}), tmp_path / "in.parquet")
    run("call", BASIC, "power", "-i", "in.parquet", "--arg", "3", "--limit", 4, "-o", "out.csv")
    assert read(tmp_path / "out.csv").to_pydict() == {"base": [0, 1, 2, 3], "power": [0, 1, 8, 27]}
    run("call", BASIC, "scaled", "-i", "in.parquet", "-c", "base", "-s", "factor=10", "--limit", 3, "-o", "out.csv")
    assert read(tmp_path / "out.csv")["scaled"].to_pylist() == [0, 10, 20]


def test_table_function(run: Run, tmp_path: Path) -> None:
    run("call", BASIC, "numbers", "-a", "5", "-n", "start=10", "-n", "batch_size=2", "-o", "out.json")
    rows = [json.loads(line) for line in (tmp_path / "out.json").read_text().splitlines()]
    assert rows[0] == {"n": 10, "square": 100}
    assert len(rows) == 5
    output = run("call", BASIC, "numbers", "--arg", "1000", "--limit", "30").output
    assert "30 rows, 20 shown" in output
    assert "no rows" in run("call", BASIC, "numbers", "--arg", "0").output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nothing"], "no function 'nothing'"),
        (["double"], "give a file with --input"),
        (["double", "-i", "absent.csv"], "no such file: absent.csv"),
        (["double", "-i", "in.txt"], "unknown file format: in.txt"),
        (["double", "-i", "in.csv", "-c", "b"], "in.csv has no column 'b'"),
        (["double", "-i", "bad.parquet"], "cannot read bad.parquet"),
        (["double", "-i", "in.csv", "-c", "word"], "cannot cast column 'word' from string to int64"),
        (["numbers", "--named", "start"], "expected NAME=VALUE"),
        (["fails_after", "--arg", "1"], "ran out"),
    ],
)
def test_mistakes_are_explained(run: Run, tmp_path: Path, args: list[str], message: str) -> None:
    write(tmp_path / "in.csv", TABLE)
    (tmp_path / "in.txt").write_text("x")
    (tmp_path / "bad.parquet").write_text("x")
    result = run("call", BASIC, *args, status=2 if "NAME=" in message else 1)
    assert any(part in result.output for part in message.split("|")), result.output
    assert "Traceback" not in result.output
