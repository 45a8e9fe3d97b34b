"""Table-in-out functions: each batch of a table answered by a batch."""

import os
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import Annotated, Any, Final, NamedTuple

from vgi_fast import (
    Arg,
    BindParams,
    CacheControl,
    ExchangeCollector,
    Field,
    ProcessParams,
    Projection,
    RecordBatch,
    Schema,
    SecretValues,
    Setting,
    TableCardinality,
    TableInOutGenerator,
    TableInput,
    table_in_out,
)
from vgi_fast.examples.example.session import SECRET

TEXT: Final = {"tag": "utf8"}
CACHED: Final[CacheControl] = {"ttl": 300, "scope": "catalog"}
REVALIDATED: Final[CacheControl] = {"ttl": 0, "revalidatable": True}


@table_in_out(
    projection_pushdown=True,
    categories=["utility", "debug"],
    tags={"category": "debug", "type": "passthrough"},
    examples=["SELECT * FROM example.echo((FROM range(10)))"],
)
def echo(data: TableInput) -> TableInput:
    """Passthrough function that emits each input batch unchanged"""
    return data


@table_in_out(projection_pushdown=True)
def echo_witness(data: TableInput, wanted: Projection) -> dict[str, Any]:
    """The number of columns that it was asked for, in every cell"""
    return {name: [len(wanted)] * data.num_rows for name in wanted}


@table_in_out
def repeat_inputs(
    repeat_count: Annotated[int, Arg(doc="How often each batch is repeated", ge=1)], data: RecordBatch
) -> Iterator[RecordBatch]:
    """Duplicates each input batch N times"""
    for _ in range(repeat_count):
        yield data


@table_in_out
def filter_by_setting(data: TableInput, threshold: Annotated[int, Setting()]) -> Any:
    """Filter rows where value column >= threshold setting"""
    import pyarrow.compute as pc

    batch = data.to_arrow()
    return batch.filter(pc.greater_equal(batch.column("value"), threshold))  # what is null is left out


def in_schema(schema: str) -> Any:
    """The function of one name that schemas share."""

    @table_in_out(
        name="test_same_name_transform",
        columns=TEXT,
        description=f"Schema-disambiguation probe; the {schema}-schema table-in-out",
    )
    def transform(data: TableInput) -> dict[str, Any]:
        return {"tag": [None if value is None else f"{schema}:{value}" for value in data.column(0)]}

    return transform


@table_in_out(cache_control=CACHED)
def cached_echo(data: TableInput) -> TableInput:
    """Passthrough whose result may be kept"""
    return data


class CachedRevalEcho(TableInOutGenerator[None]):
    """Passthrough whose kept result has to be asked for again"""

    CACHE_CONTROL = REVALIDATED

    @classmethod
    def process(cls, params: ProcessParams[None], state: None, batch: RecordBatch, out: ExchangeCollector) -> None:
        emit_unless_known(params, batch, batch, out)


def emit_unless_known(params: ProcessParams[Any], batch: RecordBatch, result: Any, out: ExchangeCollector) -> None:
    """The result of a batch, or that the client has it already."""
    digest = sha256(repr([list(column) for column in batch.columns]).encode()).hexdigest()
    if params.if_none_match == digest:
        out.emit(None, cache_control={"etag": digest, "not_modified": True})
    else:
        out.emit(result, cache_control={"etag": digest})


def _with_secret(params: BindParams[Any]) -> Schema:
    assert params.input_schema is not None
    params.secrets.get(SECRET)  # the client is asked, and binds again with the answer
    return Schema([*params.input_schema.fields, Field("secret_string", "utf8")])


class SecretInOut(TableInOutGenerator[None]):
    """Appends a field of a secret to each row"""

    @classmethod
    def on_bind(cls, params: BindParams[None]) -> Schema:
        return _with_secret(params)

    @classmethod
    def process(cls, params: ProcessParams[None], state: None, batch: RecordBatch, out: ExchangeCollector) -> None:
        secret = params.secrets.find(SECRET) or SecretValues({}, {})
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        out.emit({**columns, "secret_string": [secret.get("secret_string")] * batch.num_rows})


class SubstreamPartialSum(TableInOutGenerator[None, dict[str, int]]):
    """Sum of the first column over each substream"""

    @classmethod
    def on_bind(cls, params: BindParams[None]) -> dict[str, str]:
        assert params.input_schema is not None
        return {params.input_schema.names[0]: "int64"}

    @classmethod
    def cardinality(cls, params: BindParams[None]) -> TableCardinality:
        return TableCardinality(1, None)

    @classmethod
    def initial_state(cls, params: ProcessParams[None]) -> dict[str, int]:
        return {"total": 0}

    @classmethod
    def process(
        cls, params: ProcessParams[None], state: dict[str, int], batch: RecordBatch, out: ExchangeCollector
    ) -> None:
        state["total"] += sum(value for value in batch.column(0) if value is not None)

    @classmethod
    def finalize(cls, params: ProcessParams[None], state: dict[str, int]) -> list[Any]:
        return [{params.output_schema.names[0]: [state["total"]]}]


class SlowArguments(NamedTuple):
    probe_path: Annotated[str, Arg(0, doc="File to append to when cancelled")]
    data: Annotated[TableInput, Arg(1)]
    sleep_ms: Annotated[int, Arg("sleep_ms", doc="Time for each batch", ge=0)] = 50


class SlowCancellableInout(TableInOutGenerator[SlowArguments, list[int]]):
    """Passthrough that takes its time and tells when it is cancelled"""

    @classmethod
    def initial_state(cls, params: ProcessParams[SlowArguments]) -> list[int]:
        return [0]

    @classmethod
    def process(
        cls, params: ProcessParams[SlowArguments], state: list[int], batch: RecordBatch, out: ExchangeCollector
    ) -> None:
        time.sleep(params.args.sleep_ms / 1000)
        state[0] += 1
        out.emit(batch)

    @classmethod
    def on_cancel(cls, params: ProcessParams[SlowArguments], state: list[int]) -> None:
        with open(params.args.probe_path, "a", encoding="utf-8") as probe:
            probe.write(f"pid={os.getpid()} processed={state[0]}\n")


FUNCTIONS: Final = [
    cached_echo,
    CachedRevalEcho,
    echo,
    echo_witness,
    filter_by_setting,
    repeat_inputs,
    SecretInOut,
    SlowCancellableInout,
    SubstreamPartialSum,
    in_schema("main"),
]
DATA_FUNCTIONS: Final = [in_schema("data")]
