"""What does it cost to decode a stream and to encode it again?

One batch of 2,048 rows with an int64, a float64, a utf8, an int32 and a bool column.
"""

import pyarrow as pa

from benchmarks.data import mixed_batch, stream_of
from benchmarks.harness import Case, core_main
from vgi_fast._core import decode_stream, encode_stream


def cases() -> list[Case]:
    return [
        _case("without nulls", mixed_batch()),
        _case("a tenth null", mixed_batch(null_share=0.1)),
    ]


def _case(name: str, batch: pa.RecordBatch) -> Case:
    stream = stream_of(batch)
    buffer = pa.py_buffer(stream)

    def ours() -> bytes:
        schema, batches = decode_stream(stream)
        return encode_stream(schema, batches)

    def arrow() -> pa.Buffer:
        reader = pa.ipc.open_stream(buffer)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, reader.schema) as writer:
            for each in reader:
                writer.write_batch(each)
        return sink.getvalue()

    return Case(
        name,
        {"vgi_fast": ours, "pyarrow": arrow},
        plain=lambda written: pa.ipc.open_stream(written).read_all().to_pydict(),
    )


if __name__ == "__main__":
    core_main("core.round_trip", __doc__, cases())
