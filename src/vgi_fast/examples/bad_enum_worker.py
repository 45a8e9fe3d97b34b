"""The catalog ``example``, with a function whose description has an unknown word in it."""

from typing import Any

from vgi_fast import AttachData, ReadOnlyCatalogInterface, Worker
from vgi_fast.examples.example.catalogs import EXAMPLE
from vgi_fast.wire import records


class BadEnum(ReadOnlyCatalogInterface):
    """Listings may hold encoded records in place of descriptors."""

    def schema_contents(self, *, attach_opaque_data: AttachData, name: str, type: str, **call: Any) -> list[Any]:
        listed = super().schema_contents(attach_opaque_data=attach_opaque_data, name=name, type=type, **call)
        return [_spoilt(one, name) if one.name == "double" else one for one in listed]


def _spoilt(spec: Any, schema_name: str) -> bytes:
    return records.FUNCTION_INFO.encode({**spec.info_values(schema_name), "null_handling": "WEIRD"})


worker = Worker("vgi-fast-bad-enum-worker", catalogs=[BadEnum(EXAMPLE.catalog)])


def main() -> None:
    worker.run()


if __name__ == "__main__":
    main()
