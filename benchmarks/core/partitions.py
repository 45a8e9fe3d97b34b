"""What do the values of partition columns cost beside each batch?

Two columns of one value each, one of strings; beside it what pyarrow takes to find them and to encode the payload.
The next batch of the same partition is the usual case; a new partition each time is the other one.
"""

import base64
from itertools import cycle
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.harness import Case, core_main
from vgi_fast import RecordBatch, partition_field
from vgi_fast.functions.partitions import PartitionTagger
from vgi_fast.wire.arrow import Schema, decode_stream


def cases() -> list[Case]:
    return [_case(rows, repeated) for rows in (2048, 65536) for repeated in (True, False)]


def _case(rows: int, repeated: bool) -> Case:
    theirs = [
        pa.record_batch({"country": [country] * rows, "year": pa.array([2024 + k] * rows, pa.int64())})
        for k, country in enumerate(["US"] if repeated else ["US", "FR"])
    ]
    mine = [RecordBatch.from_arrow(batch) for batch in theirs]
    schema = Schema([partition_field("country", "utf8"), partition_field("year", "int64")])
    tagger = PartitionTagger(schema, schema, "SINGLE_VALUE_PARTITIONS", "benchmark")
    turns = {"mine": cycle(mine), "theirs": cycle(theirs)}

    def arrow() -> bytes:
        batch = next(turns["theirs"])
        pairs = []
        for column in batch.columns:
            if pc.count_distinct(column).as_py() != 1:
                raise AssertionError
            ends = pc.min_max(column)
            pairs.append(pa.array([ends["min"].as_py(), ends["max"].as_py()], column.type))
        sink = pa.BufferOutputStream()
        payload = pa.record_batch(pairs, names=batch.schema.names)
        with pa.ipc.new_stream(sink, payload.schema) as writer:
            writer.write_batch(payload)
        return base64.b64encode(sink.getvalue())

    return Case(
        f"single value, {'same' if repeated else 'new'} partition, {rows}",
        {"vgi_fast": lambda: tagger.payload(next(turns["mine"])), "pyarrow": arrow},
        plain=_plain,
    )


def _plain(payload: bytes) -> Any:
    _, batches = decode_stream(base64.b64decode(payload))
    return batches[0].to_pydict()


if __name__ == "__main__":
    core_main("core.partitions", __doc__, cases())
