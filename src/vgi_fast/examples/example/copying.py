"""COPY formats: lines of delimited text, and files that tell which secret covers their path."""

import os
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from vgi_fast import (
    Arg,
    ArgumentError,
    BindParams,
    BufferingParams,
    CopyFromFunction,
    CopyToFunction,
    ProcessParams,
    RecordBatch,
    Schema,
    replacing,
)
from vgi_fast.examples.example.session import SECRET

COUNT: Final = b"count"
ROWS_AT_ONCE: Final = 10_000

Delimiter = Annotated[str, Arg("delimiter", doc="Field separator")]


class ReaderOptions(NamedTuple):
    null_string: Annotated[str, Arg("null_string", doc="Token parsed as SQL NULL")]
    delimiter: Delimiter = ","
    on_error: Annotated[
        str,
        Arg(
            "on_error",
            doc="Behavior on a row whose column count does not match the target",
            choices=["fail", "skip"],
        ),
    ] = "fail"
    skip_rows: Annotated[int, Arg("skip_rows", doc="Leading lines to skip before data", ge=0)] = 0


class ExampleLinesCopyReader(CopyFromFunction[ReaderOptions]):
    """Reads lines of delimited text"""

    COPY_FROM_FORMAT = "example_lines"
    COPY_FROM_COMMENT = "Toy delimited-text reader for tests"

    class Meta:
        tags: ClassVar[dict[str, str]] = {"category": "copy_from", "stability": "example"}

    @classmethod
    def read(cls, path: str, options: ReaderOptions, expected_schema: Schema) -> Iterator[dict[str, list[Any]]]:
        parsers = [_parser(type.kind) for type in expected_schema.types]
        rows: list[list[Any]] = []
        with open(path, encoding="utf-8", newline="") as file:
            for number, line in enumerate(file):
                text = line.rstrip("\r\n")
                if number < options.skip_rows or not text:
                    continue
                cells = text.split(options.delimiter)
                if len(cells) != len(parsers):
                    if options.on_error == "skip":
                        continue
                    raise ArgumentError(f"line {number + 1} has {len(cells)} cells for {len(parsers)} columns")
                rows.append(
                    [
                        None if cell == options.null_string else parse(cell)
                        for parse, cell in zip(parsers, cells, strict=True)
                    ]
                )
                if len(rows) == ROWS_AT_ONCE:
                    yield _columns(expected_schema, rows)
                    rows = []
        if rows:
            yield _columns(expected_schema, rows)


def _columns(schema: Schema, rows: list[list[Any]]) -> dict[str, list[Any]]:
    return {name: [row[index] for row in rows] for index, name in enumerate(schema.names)}


def _parser(kind: str) -> Any:
    if kind.startswith(("int", "uint")):
        return int
    return float if kind.startswith("float") else str


class WriterOptions(NamedTuple):
    null_string: Annotated[str, Arg("null_string", doc="Token written for SQL NULL")]
    delimiter: Delimiter = ","
    fail_on_value: Annotated[
        str, Arg("fail_on_value", doc="If non-empty, fail mid-write when a cell equals this value")
    ] = ""
    header: Annotated[bool, Arg("header", doc="Write a header row of column names")] = False
    header_repeat: Annotated[
        int, Arg("header_repeat", doc="When header=true, write the header line this many times", ge=0, le=3)
    ] = 1
    on_exists: Annotated[
        str,
        Arg(
            "on_exists",
            doc="Behavior when the destination file already exists",
            choices=["overwrite", "error"],
        ),
    ] = "overwrite"


class ExampleLinesWriter(CopyToFunction[WriterOptions]):
    """Writes lines of delimited text"""

    COPY_TO_FORMAT = "example_lines_out"
    COPY_TO_COMMENT = "Toy delimited-text writer for tests"

    class Meta:
        tags: ClassVar[dict[str, str]] = {"category": "copy_to", "stability": "example"}

    @classmethod
    def write(cls, batch: RecordBatch, options: WriterOptions, file_path: str, params: BufferingParams[Any]) -> None:
        if options.fail_on_value:
            for column in batch.columns:
                if any(value is not None and _text(value) == options.fail_on_value for value in column):
                    raise ArgumentError(f"a cell equals fail_on_value {options.fail_on_value!r}")
        params.keep(batch)

    @classmethod
    def close(cls, options: WriterOptions, file_path: str, params: BufferingParams[Any]) -> None:
        if options.on_exists == "error" and os.path.exists(file_path):
            raise ArgumentError(f"the destination {file_path} already exists")
        assert params.input_schema is not None
        with replacing(file_path) as path, open(path, "w", encoding="utf-8", newline="\n") as file:
            if options.header:
                header = options.delimiter.join(params.input_schema.names) + "\n"
                file.write(header * options.header_repeat)
            for batch in params.batches():
                columns = [
                    [options.null_string if value is None else _text(value) for value in column]
                    for column in batch.columns
                ]
                file.writelines(options.delimiter.join(row) + "\n" for row in zip(*columns, strict=True))


def _text(value: Any) -> str:
    return value if type(value) is str else str(value)


class ExampleLinesOrderedWriter(ExampleLinesWriter):
    """Writes lines of delimited text in the order of the source"""

    COPY_TO_FORMAT = "example_lines_ordered_out"
    COPY_TO_COMMENT = "Toy delimited-text writer that keeps the order"

    class Meta:
        sink_order_dependent = True


# -- secrets --------------------------------------------------------------------------------------


class SecretOptions(NamedTuple):
    secret_type: Annotated[str, Arg("secret_type", doc="Type of the secret to look for")] = SECRET


class SecretLinesReader(CopyFromFunction[SecretOptions]):
    """One row that holds the key for the path"""

    COPY_FROM_FORMAT = "secret_lines_in"
    COPY_FROM_COMMENT = "Tells which secret covers the source"

    class Meta:
        tags: ClassVar[dict[str, str]] = {"category": "copy_from", "stability": "example"}

    @classmethod
    def on_secrets(cls, params: BindParams[SecretOptions]) -> None:
        params.secrets.get(params.args.secret_type, params.file_path)

    @classmethod
    def read(
        cls, path: str, options: SecretOptions, expected_schema: Schema, params: ProcessParams[SecretOptions]
    ) -> Iterator[dict[str, list[Any]]]:
        columns: dict[str, list[Any]] = {name: [None] for name in expected_schema.names}
        yield {**columns, expected_schema.names[0]: [_key(params)]}


class SecretLinesWriter(CopyToFunction[SecretOptions]):
    """The key for the path, and how many rows there were"""

    COPY_TO_FORMAT = "secret_lines_out"
    COPY_TO_COMMENT = "Tells which secret covers the destination"

    class Meta:
        tags: ClassVar[dict[str, str]] = {"category": "copy_to", "stability": "example"}

    @classmethod
    def on_secrets(cls, params: BindParams[SecretOptions]) -> None:
        params.secrets.get(params.args.secret_type, params.file_path)

    @classmethod
    def write(cls, batch: RecordBatch, options: SecretOptions, file_path: str, params: BufferingParams[Any]) -> None:
        params.storage.counter_add(COUNT, b"rows", batch.num_rows)

    @classmethod
    def close(cls, options: SecretOptions, file_path: str, params: BufferingParams[Any]) -> None:
        rows = params.storage.counter_get(COUNT, b"rows")
        with replacing(file_path) as path, open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(f"api_key={_key(params)}\nrows={rows}\n")


def _key(params: ProcessParams[Any]) -> str:
    secret = params.secrets.find(params.args.secret_type, params.file_path)
    return str(secret["api_key"]) if secret is not None and secret.get("api_key") is not None else "NONE"


FUNCTIONS: Final = [
    ExampleLinesCopyReader,
    ExampleLinesOrderedWriter,
    ExampleLinesWriter,
    SecretLinesReader,
    SecretLinesWriter,
]
