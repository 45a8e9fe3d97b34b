"""Tables from data, asked about and scanned as DuckDB does it."""

import datetime as dt
import math
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.fix_memory import Peer, RemoteFailure
from tests.functions.filter_cases import filter_blob
from vgi_fast import Catalog, CatalogSchema, ColumnStatisticsInput, DefinitionError, Worker, data_table
from vgi_fast.wire import records
from vgi_fast.wire.arrow import decode_row

Connect = Callable[..., Peer]
NAN = float("nan")


class Demo:
    """A worker with one table, ``t``."""

    def __init__(self, connect: Connect, data: Any, **options: Any) -> None:
        worker = Worker("demo")
        worker.add_table("t", data, **options)
        self.peer = connect(worker)

    @property
    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = self.peer.call("catalog_table_get", schema_name="main", name="t")[0]
        return found

    def schema(self) -> pa.Schema:
        return pa.ipc.read_schema(pa.py_buffer(self.info["columns"]))

    def scan(self, *projection: int, **more: Any) -> dict[str, list[Any]]:
        if projection:
            more["projection_ids"] = list(projection)
        return self.peer.table("scan_t", **more).rows()

    def statistics(self) -> dict[str, dict[str, Any]]:
        table = pa.ipc.open_stream(self.info["column_statistics"]).read_all()
        return {row.pop("column_name"): row for row in table.to_pylist()}


@pytest.fixture
def demo(peer: Connect) -> Callable[..., Demo]:
    return lambda data, **options: Demo(peer, data, **options)


Make = Callable[..., Demo]

COLUMNS = {"i": [1, 2, None], "s": ["a", None, "é"], "f": [0.5, NAN, -1.0]}


def frames() -> Iterator[Any]:
    table = pa.table(COLUMNS)
    yield pytest.param(table, id="table")
    yield pytest.param(COLUMNS, id="dict")
    yield pytest.param(table.to_batches(), id="batches")
    yield pytest.param(table.to_batches()[0], id="batch")
    yield pytest.param(table.to_reader(), id="reader")
    yield pytest.param(lambda: table, id="function")
    yield pytest.param(table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get), id="pandas")


@pytest.mark.parametrize("data", list(frames()))
def test_data_in_memory(demo: Make, data: Any) -> None:
    table = demo(data)
    assert table.schema().names == ["i", "s", "f"]
    rows = table.scan()
    assert (rows["i"], rows["s"], rows["f"][::2]) == ([1, 2, None], ["a", None, "é"], [0.5, -1.0])
    assert rows["f"][1] is None if isinstance(data, pd.DataFrame) else math.isnan(rows["f"][1])
    assert table.scan(1, 0) == {"s": rows["s"], "i": rows["i"]}
    info = table.info
    assert (info["cardinality_estimate"], info["cardinality_max"], info["supports_column_statistics"]) == (3, 3, True)


@pytest.mark.parametrize("lazy", [False, True])
def test_polars(demo: Make, lazy: bool) -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {"i": [1, 2, None], "s": ["a", None, "é"], "c": pl.Series(["u", "v", "u"], dtype=pl.Categorical)}
    )
    table = demo(frame.lazy().filter(pl.col("i").is_null() | (pl.col("i") > 0)) if lazy else frame)
    assert table.scan(1, 0) == {"s": ["a", None, "é"], "i": [1, 2, None]}
    assert table.scan()["c"] == ["u", "v", "u"]
    assert table.info["cardinality_estimate"] == (-1 if lazy else 3)


def test_lazy_polars_reads_what_is_wanted(demo: Make, tmp_path: Path) -> None:
    """The column that is not asked for cannot even be computed."""
    pl = pytest.importorskip("polars")
    frame = pl.LazyFrame({"a": [1], "b": ["x"]}).with_columns(pl.col("b").cast(pl.Int64, strict=True))
    table = demo(frame)
    assert table.scan(0) == {"a": [1]}
    with pytest.raises(RemoteFailure, match="conversion"):
        table.scan(1)


def test_lazy_polars_leaves_out_rows_itself(demo: Make) -> None:
    """A row that is not asked for is not computed."""
    pl = pytest.importorskip("polars")

    def refuse(value: int) -> int:
        if value > 2:
            raise ValueError("not wanted")
        return value

    frame = pl.LazyFrame({"a": [1, 2, 3], "s": ["x", "y", "z"]})
    table = demo(frame.with_columns(b=pl.col("a").map_elements(refuse, return_dtype=pl.Int64)))
    assert table.scan(0, 2, pushdown_filters=pushed("a", "le", 2)) == {"a": [1, 2], "b": [1, 2]}
    with pytest.raises(RemoteFailure, match="not wanted"):
        table.scan(2)


def test_pandas_index(demo: Make) -> None:
    """A named index is a column, a running number is not."""
    frame = pd.DataFrame({"v": [1, 2]}, index=pd.Index(["x", "y"], name="k"))
    assert demo(frame).scan() == {"k": ["x", "y"], "v": [1, 2]}
    assert list(demo(frame.reset_index(drop=True)).scan()) == ["v"]


def test_scans_are_batches_of_moderate_size(demo: Make) -> None:
    stream = demo({"n": np.arange(100_000)}).peer.table("scan_t")
    sizes = [batch.num_rows for batch, _ in stream.batches]
    assert sum(sizes) == 100_000
    assert max(sizes) <= 65_536


def test_function_is_called_once_and_late(demo: Make) -> None:
    calls = []

    def load() -> dict[str, list[int]]:
        calls.append(1)
        return {"x": [1]}

    table = demo(load)
    assert not calls
    assert table.scan() == {"x": [1]}
    assert table.scan() == {"x": [1]}
    assert calls == [1]


# ---- statistics ----


def test_statistics_in_memory(demo: Make) -> None:
    table = pa.table(
        {
            "i": pa.array([3, None, -5], pa.int32()),
            "f": [1.5, NAN, -2.0],
            "s": ["b", "aé", "ccc"],
            "ascii": pa.array(["b", None, "ccc"], pa.string_view()),
            "d": pa.array(["x", "yy", "x"]).dictionary_encode(),
            "at": pa.array([10**18, 5, None], pa.timestamp("ns")),
            "day": pa.array([dt.date(2020, 1, 1)] * 3),
            "m": pa.array([Decimal("1.50"), None, Decimal("-3.00")]),
            "nothing": pa.array([None] * 3, pa.int64()),
            "list": [[1], [2], None],
        }
    )
    found = demo(table).statistics()
    assert set(found) == {"i", "f", "s", "ascii", "d", "at", "day", "m"}
    assert [found["i"][k] for k in ("min", "max", "has_null", "distinct_count")] == [-5, 3, True, 2]
    assert found["f"]["min"] == -2.0
    assert math.isnan(found["f"]["max"])
    assert [found["s"][k] for k in ("min", "max", "contains_unicode", "max_string_length")] == ["aé", "ccc", True, 3]
    assert [found["ascii"][k] for k in ("min", "contains_unicode", "max_string_length")] == ["b", False, 3]
    assert [found["d"][k] for k in ("min", "max")] == ["x", "yy"]
    assert found["m"]["max"] == Decimal("1.50")
    assert found["at"]["has_null"] is True


def test_statistics_can_be_given_or_left_out(demo: Make) -> None:
    assert demo({"i": [1, 5]}, statistics=False).info["supports_column_statistics"] is False
    given = {"i": ColumnStatisticsInput(0, 100)}
    assert demo({"i": [1, 5]}, statistics=given).statistics()["i"]["max"] == 100


# ---- files ----


def write(folder: Path, name: str = "a.parquet", **columns: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_parquet_file(demo: Make, tmp_path: Path) -> None:
    path = write(tmp_path, i=[4, 1, None, 2, 9], s=["x", "ÿ", None, "a", "b"], f=[1.0, 2.0, NAN, 0.0, 1.0])
    table = demo(path)
    assert table.scan(1, 0) == {"s": ["x", "ÿ", None, "a", "b"], "i": [4, 1, None, 2, 9]}
    assert (table.info["cardinality_estimate"], table.info["cardinality_max"]) == (5, 5)
    found = table.statistics()
    assert [found["i"][k] for k in ("min", "max", "has_null")] == [1, 9, True]
    assert [found["s"][k] for k in ("min", "max", "contains_unicode")] == ["a", "ÿ", True]
    assert found["s"]["max_string_length"] >= 2
    assert math.isnan(found["f"]["max"])  # a footer does not tell of NaN


def test_statistics_are_those_of_the_types_served(demo: Make, tmp_path: Path) -> None:
    at = pa.array([10**15, 2 * 10**15], pa.timestamp("us"))
    write(tmp_path, "1.parquet", at=at, m=pa.array([Decimal("-1.25"), Decimal("7.00")]), b=[True, False])
    write(tmp_path, "2.parquet", at=at, m=pa.array([Decimal("9.99"), None]), b=[False, False])
    found = demo(tmp_path).statistics()
    assert (found["m"]["min"], found["m"]["max"]) == (Decimal("-1.25"), Decimal("9.99"))
    assert found["at"]["min"] == pa.scalar(10**15, pa.timestamp("us")).as_py()
    assert (found["b"]["min"], found["b"]["max"]) == (False, True)


def test_no_statistics_for_a_column_that_a_row_group_hides(demo: Make, tmp_path: Path) -> None:
    write(tmp_path, "1.parquet", i=[1], j=[1])
    pq.write_table(pa.table({"i": [2], "j": [2]}), tmp_path / "2.parquet", write_statistics=["i"])
    assert set(demo(tmp_path).statistics()) == {"i"}


def test_directory_with_partitions(demo: Make, tmp_path: Path) -> None:
    data = pa.table({"year": [2020, 2021, 2021], "v": [1, 2, 3], "kind": ["a", "b", "a"]})
    partitioning = ds.partitioning(pa.schema([("year", pa.int64()), ("kind", pa.string())]), flavor="hive")
    ds.write_dataset(data, tmp_path, format="parquet", partitioning=partitioning)
    (tmp_path / "_SUCCESS").touch()
    table = demo(tmp_path)
    assert table.schema().names == ["v", "year", "kind"]
    rows = table.scan(1, 0)
    assert sorted(zip(rows["year"], rows["v"], strict=True)) == [(2020, 1), (2021, 2), (2021, 3)]
    found = table.statistics()
    assert [found["year"][k] for k in ("min", "max", "has_null")] == [2020, 2021, False]
    assert found["v"]["max"] == 3


def test_pattern_and_list(demo: Make, tmp_path: Path) -> None:
    one, two = write(tmp_path, "a/1.parquet", x=[1]), write(tmp_path, "b/2.parquet", x=[2])
    assert demo(str(tmp_path / "**" / "*.parquet")).scan() == {"x": [1, 2]}
    assert demo([two, one]).scan() == {"x": [2, 1]}


@pytest.mark.parametrize("ending", ["arrow", "feather", "csv", "tsv", "orc"])
def test_other_formats(demo: Make, tmp_path: Path, ending: str) -> None:
    from pyarrow import csv, feather, orc

    data, path = pa.table({"x": [1, 2], "s": ["a", "b"]}), tmp_path / f"data.{ending}"
    if ending == "arrow":
        with pa.ipc.new_file(path, data.schema) as writer:
            writer.write_table(data)
    elif ending == "feather":
        feather.write_feather(data, str(path), compression="lz4")
    elif ending == "orc":
        orc.write_table(data, str(path))
    else:
        csv.write_csv(data, path, csv.WriteOptions(delimiter="\t" if ending == "tsv" else ","))
    table = demo(path)
    assert table.scan(1, 0) == {"s": ["a", "b"], "x": [1, 2]}
    assert table.info["cardinality_estimate"] == (2 if ending in ("arrow", "feather", "orc") else -1)


def test_no_file(demo: Make, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"table 't': no file at .*nowhere"):
        demo(tmp_path / "nowhere")
    (tmp_path / "x.bin").write_bytes(b"x")
    with pytest.raises(DefinitionError, match=r"format of \['.bin'\]"):
        demo(tmp_path / "x.bin")


def test_unreadable_file(demo: Make, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(RemoteFailure, match="table 't': cannot read .*x.parquet"):
        demo(tmp_path / "x.parquet").schema()


def state_of(info: dict[str, Any]) -> str:
    scan = records.SCAN_FUNCTION_RESULT.decode(info["scan_function"])
    state = decode_row(scan["arguments"])["state"]
    assert isinstance(state, str)
    return state


def test_changed_file_is_refused_until_listed_anew(demo: Make, tmp_path: Path) -> None:
    """Its old statistics would make DuckDB leave out rows."""
    path = write(tmp_path, i=[1, 2])
    table = demo(path)
    state = state_of(table.info)
    assert table.scan(named={"state": state}) == {"i": [1, 2]}
    write(tmp_path, i=[10, 20, 30])
    with pytest.raises(RemoteFailure, match="table 't' has changed"):
        table.scan(named={"state": state})
    assert table.statistics()["i"]["max"] == 30
    assert table.scan(named={"state": state_of(table.info)}) == {"i": [10, 20, 30]}


@pytest.mark.parametrize("live", [False, True])
def test_live_files_change_the_version(demo: Make, tmp_path: Path, live: bool) -> None:
    write(tmp_path, "1.parquet", i=[1])
    peer = demo(tmp_path, live=live).peer
    attached = peer.call("catalog_attach", name="demo")
    assert attached["catalog_version_frozen"] is not live
    before = peer.call("catalog_version")["version"]
    assert before == peer.call("catalog_version")["version"] != 0
    if live:
        assert before == attached["catalog_version"]
    write(tmp_path, "2.parquet", i=[2])
    assert peer.call("catalog_version")["version"] != before


# ---- filters ----


def pushed(column: str, op: str, value: Any) -> bytes:
    node = {"column_name": column, "column_index": 0, "type": "constant", "op": op, "value_ref": 0}
    return filter_blob([node], pa.table({"v": [value]}))


@pytest.mark.parametrize("kind", ["table", "frame", "lazy", "parquet", "csv"])
def test_filters(demo: Make, tmp_path: Path, kind: str) -> None:
    data: Any = pa.table({"n": [1, 2, 3, None], "f": [1.0, NAN, 3.0, 4.0], "s": ["a", "b", "b", None]})
    if kind in ("frame", "lazy"):
        pl = pytest.importorskip("polars")
        data = pl.DataFrame(data).lazy() if kind == "lazy" else pl.DataFrame(data)
    elif kind == "parquet":
        pq.write_table(data, tmp_path / "x.parquet")
        data = tmp_path / "x.parquet"
    elif kind == "csv":
        from pyarrow import csv

        csv.write_csv(data, tmp_path / "x.csv")
        data = tmp_path / "x.csv"
    table = demo(data)
    assert table.scan(0, 2, pushdown_filters=pushed("n", "gt", 1)) == {"n": [2, 3], "s": ["b", "b"]}
    assert table.scan(2, pushdown_filters=pushed("s", "ne", "b"))["s"][0] == "a"
    # NaN is the greatest number, also where Arrow and Parquet think otherwise.
    found = table.scan(0, 1, pushdown_filters=pushed("f", "gt", 3.5))["n"]
    assert found == ([None] if kind == "csv" else [2, None])  # a CSV's "nan" is read as null


def test_small_chunks_with_few_matches_are_one_answer(demo: Make) -> None:
    table = pa.concat_tables([pa.table({"n": range(start, start + 10)}) for start in range(0, 500, 10)])
    answer = demo(table).peer.table("scan_t", pushdown_filters=pushed("n", "ge", 490))
    assert answer.rows() == {"n": list(range(490, 500))}
    everything = demo(table).peer.table("scan_t", pushdown_filters=pushed("n", "ge", 3))
    assert everything.rows() == {"n": list(range(3, 500))}
    assert len(answer.batches) < 10 and len(everything.batches) < 10


def test_row_groups_that_cannot_match_are_not_read(demo: Make, tmp_path: Path) -> None:
    """The second one cannot be read at all."""
    path = tmp_path / "x.parquet"
    numbers = np.arange(2000, dtype=np.int64)
    pq.write_table(pa.table({"n": numbers}), path, row_group_size=1000, compression="none", use_dictionary=False)
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    damaged = bytearray(path.read_bytes())
    damaged[start : start + 64] = b"\xff" * 64
    path.write_bytes(damaged)
    table = demo(path)
    assert table.scan(pushdown_filters=pushed("n", "lt", 5)) == {"n": [0, 1, 2, 3, 4]}
    with pytest.raises(RemoteFailure):
        table.scan(pushdown_filters=pushed("n", "gt", 1995))


def test_folders_that_cannot_match_are_not_opened(demo: Make, tmp_path: Path) -> None:
    for year in (2020, 2021):
        write(tmp_path, f"year={year}/x.parquet", v=[year])
    table = demo(tmp_path)
    assert table.schema().names == ["v", "year"]
    damaged = tmp_path / "year=2021" / "x.parquet"
    stat = damaged.stat()
    damaged.write_bytes(b"\0" * stat.st_size)
    os.utime(damaged, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert table.scan(0, 1, pushdown_filters=pushed("year", "eq", 2020)) == {"v": [2020], "year": [2020]}
    with pytest.raises(RemoteFailure):
        table.scan(0, 1, pushdown_filters=pushed("year", "eq", 2021))


# ---- sources by authors ----


class Squares:
    def __init__(self) -> None:
        self.requests: list[list[str]] = []

    def schema(self) -> dict[str, str]:
        return {"n": "int64", "square": "int64"}

    def cardinality(self) -> int:
        return 4

    def scan(self, request: Any) -> Iterator[dict[str, Any]]:
        self.requests.append(request.columns)
        assert request.filters.bounds("n").lower in (None, 2)
        yield {"n": [0, 1], "square": [0, 1]}
        yield {"n": [2, 3], "square": [4, 9]}


def test_own_source(demo: Make) -> None:
    source = Squares()
    table = demo(source, primary_key="n", comment="Squares", column_comments={"square": "n times n"})
    assert table.scan(1) == {"square": [0, 1, 4, 9]}
    assert source.requests == [["square"]]
    assert table.scan(0, pushdown_filters=pushed("n", "ge", 2)) == {"n": [2, 3]}
    assert (table.info["cardinality_max"], table.info["comment"]) == (4, "Squares")
    assert table.info["primary_key_constraints"] == [[0]]
    assert table.schema().field("square").metadata == {b"comment": b"n times n"}


def test_table_of_a_schema(peer: Connect) -> None:
    """``data_table`` goes where other tables go; its function is listed beside it, once."""
    shared = data_table("shared", {"x": [1]})
    schemas = [
        CatalogSchema("main", tables=[shared]),
        CatalogSchema("other", tables=[shared, data_table("b", {"y": [2]})]),
    ]
    served = peer(Worker("w", catalogs=[Catalog("c", schemas=schemas)]))
    assert [one["name"] for one in served.functions("TABLE_FUNCTION")] == ["scan_shared"]
    assert [one["name"] for one in served.functions("TABLE_FUNCTION", "other")] == ["scan_shared", "scan_b"]
    assert served.functions("TABLE_FUNCTION")[0]["projection_pushdown"] is True
    assert served.table("scan_shared", schema_name="other").rows() == {"x": [1]}


# ---- types ----


@pytest.mark.parametrize(
    ("array", "served"),
    [
        (pa.array([1.5], pa.float16()), pa.float32()),
        (pa.array([Decimal("1.5")], pa.decimal256(20, 2)), pa.decimal128(20, 2)),
        (pa.array([None], pa.null()), pa.int32()),
        (pa.array([[1.5]], pa.list_(pa.float16())), pa.list_(pa.float32())),
        (pa.array([1, 2, 1], pa.int64()).dictionary_encode(), pa.int64()),
        (pa.array(["a"]).dictionary_encode(), pa.dictionary(pa.int32(), pa.string())),
    ],
)
def test_types_are_cast_to_what_duckdb_takes(demo: Make, array: pa.Array, served: pa.DataType) -> None:
    table = demo(pa.table({"x": array}))
    assert table.schema().field("x").type == served
    assert table.scan()["x"] == array.to_pylist()


def test_refused_types_name_the_column() -> None:
    worker = Worker("w")
    with pytest.raises(DefinitionError, match="table 't', column 'wide': decimal256"):
        worker.add_table("t", pa.table({"wide": pa.array([Decimal(1)], pa.decimal256(60, 2))}))
    with pytest.raises(DefinitionError, match="table 't'.*no Arrow table\n.*mixed"):
        worker.add_table("t", pd.DataFrame({"mixed": [object(), 1]}))
    with pytest.raises(DefinitionError, match="cannot make a table of int"):
        worker.add_table("t", 5)
    with pytest.raises(DefinitionError, match="columns does not go with data"):
        worker.add_table("t", {"a": [1]}, columns="a: int64")
    with pytest.raises(DefinitionError, match="format and live are about files"):
        worker.add_table("t", {"a": [1]}, live=True)


def test_names_without_regard_to_case(demo: Make) -> None:
    with pytest.raises(RemoteFailure, match="columns 'a' and 'A' are one name"):
        demo(pa.table({"a": [1], "A": [2]})).schema()


def test_float_bits_survive(demo: Make) -> None:
    """Zero-copy: not even the payload of a NaN changes."""
    bits = struct.pack("<d", math.nan)[:6] + b"\xf9\x7f"
    column = pa.Array.from_buffers(pa.float64(), 1, [None, pa.py_buffer(bits)])
    served = demo(pa.table({"x": column})).peer.table("scan_t").batches[0][0].column(0)
    assert served.buffers()[1].to_pybytes()[:8] == bits


def test_paths_import_nothing_at_start(tmp_path: Path) -> None:
    """A worker of files starts without pyarrow; it is imported by the first query."""
    path = write(tmp_path, i=[1])
    program = (
        "import sys; from vgi_fast import Worker; w = Worker('w'); "
        f"w.add_table('t', {str(path)!r}); w.service(); print(sorted({{'pyarrow', 'numpy'}} & sys.modules.keys()))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
