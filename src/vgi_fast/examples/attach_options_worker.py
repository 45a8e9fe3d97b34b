"""Catalogs with options at ATTACH, and a function that shows what was given.

ATTACH 'attach_options' AS a (TYPE vgi, LOCATION 'vgi-fast-attach-options-worker', opt_string 'world');
FROM a.echo_attach_options();
"""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from vgi_fast import (
    AttachOption,
    BindParams,
    Catalog,
    OutputCollector,
    ProcessParams,
    TableFunctionGenerator,
    Worker,
)

MOMENT = datetime(2026, 4, 24, 12, 34, 56)
OPTIONS = {
    "attach_options": [
        AttachOption("opt_bool", "bool", True),
        AttachOption("opt_int8", "int8", -8),
        AttachOption("opt_int16", "int16", -16),
        AttachOption("opt_int32", "int32", -32),
        AttachOption("opt_int64", "int64", -64),
        AttachOption("opt_uint8", "uint8", 8),
        AttachOption("opt_uint16", "uint16", 16),
        AttachOption("opt_uint32", "uint32", 32),
        AttachOption("opt_uint64", "uint64", 64),
        AttachOption("opt_float32", "float32", 1.5),
        AttachOption("opt_float64", "float64", 2.5),
        AttachOption("opt_string", "utf8", "hello"),
        AttachOption("opt_blob", "binary", b"\0\1\2"),
        AttachOption("opt_date", "date32", date(2026, 4, 24)),
        AttachOption("opt_time", "time64[us]", time(12, 34, 56)),
        AttachOption("opt_timestamp", "timestamp[us]", MOMENT),
        AttachOption("opt_timestamp_tz", "timestamp[us, tz=UTC]", MOMENT.replace(tzinfo=UTC)),
        AttachOption("opt_decimal", "decimal128(18, 4)", Decimal("123.4500")),
        AttachOption("opt_list", "list<int64>", [1, 2, 3]),
        AttachOption("opt_struct", "struct<a: int64, b: utf8>", {"a": 1, "b": "x"}),
    ],
    "attach_options_required": [
        AttachOption("api_key", "utf8", required=True, description="Without it there is nothing to attach"),
        AttachOption("region", "utf8", "us-east-1"),
    ],
}


class EchoAttachOptions(TableFunctionGenerator[None]):
    """One row: the options of this ATTACH"""

    @classmethod
    def on_bind(cls, params: BindParams[None]) -> dict[str, Any]:
        return {option.name: option.type for option in OPTIONS[params.attach.catalog]}

    @classmethod
    def process(cls, params: ProcessParams[None], state: None, out: OutputCollector) -> None:
        out.emit({name: [value] for name, value in params.attach.options.items()})
        out.finish()


CATALOGS = [Catalog(name, functions=[EchoAttachOptions], attach_options=options) for name, options in OPTIONS.items()]
worker = Worker("vgi-fast-attach-options-worker", catalogs=CATALOGS)


def main() -> None:
    worker.run()


if __name__ == "__main__":
    main()
