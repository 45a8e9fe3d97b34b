"""Executions of aggregates: their ids, and what a process remembers of them (section 3.2 of the stateful document).

An execution id is 16 random bytes, by which state is found, and whatever the bind knew and later calls need:
constants, settings and types. Nothing has to be stored at bind, and no destructor can take it away.
"""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import ProtocolError
from vgi_fast.functions.aggregates.context import NAME_BYTES, Aggregation
from vgi_fast.functions.aggregates.declaration import AggregateSpec
from vgi_fast.functions.arguments import bind_arguments, decode_arguments
from vgi_fast.functions.secrets import decode_settings
from vgi_fast.storage import default_storage
from vgi_fast.wire.arrow import schema_from_bytes, type_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vgi_fast.functions.spec import FunctionSpec
    from vgi_fast.wire.arrow import DataType

__all__ = ["Executions", "new_execution_id"]

_HEAD: Final = struct.Struct("<BBHIIII")
"""Version, flags, overload, lengths of arguments, settings, input schema and result type."""
_VERSION: Final = 1
_MAX_REMEMBERED: Final = 256


def new_execution_id(
    spec: AggregateSpec, overload: int, request: Mapping[str, Any], has_constants: bool, output_type: DataType
) -> bytes:
    name = os.urandom(NAME_BYTES)
    arguments = request["arguments"] if has_constants else b""
    settings = request["settings"] if spec.required_settings else b""
    types = request["input_schema"] if spec.depends_on_types else b""
    result = str(output_type).encode() if spec.result_type is None else b""
    parts = [bytes(part or b"") for part in (arguments, settings, types, result)]
    if not overload and not any(parts):
        return name
    return name + _HEAD.pack(_VERSION, 0, overload, *map(len, parts)) + b"".join(parts)


class Executions:
    """What this process remembers; it can always be found again from the id."""

    def __init__(self, find: Callable[[Mapping[str, Any], bytes | None, str], list[FunctionSpec]]) -> None:
        self._find = find
        self._known: OrderedDict[tuple[Any, ...], Aggregation] = OrderedDict()
        self._lock = Lock()

    def get(self, owner: tuple[Any, ...], method: str) -> Aggregation:
        """``owner``: execution id, names of function and schema, attach data."""
        found = self._known.get(owner)
        if found is None:
            execution_id, function, schema, attach = owner
            if not execution_id:
                raise ProtocolError(f"{method}: a call without an execution_id")
            found = self._make(execution_id, function, schema, attach or None, method)
            with self._lock:
                self._known[owner] = found
                if len(self._known) > _MAX_REMEMBERED:
                    self._known.popitem(last=False)
        return found

    def _make(
        self, execution_id: bytes, function: str, schema: str | None, attach: bytes | None, method: str
    ) -> Aggregation:
        candidates = self.candidates(function, schema, attach, method)
        name, overload, arguments, settings, types, result = _taken_apart(execution_id)
        if overload >= len(candidates):
            raise ProtocolError(f"{method}: the execution_id names overload {overload} of {len(candidates)}")
        spec = candidates[overload]
        given = decode_arguments(arguments)
        return Aggregation(
            spec,
            name,
            given,
            bind_arguments(spec.signature, given, f"Function '{spec.name}'"),
            schema_from_bytes(types) if types else None,
            type_named(result) if result else None,
            decode_settings(settings),
            default_storage(),
        )

    def candidates(self, function: str, schema: str | None, attach: bytes | None, method: str) -> list[AggregateSpec]:
        request = {"function_name": function, "schema_name": schema, "function_type": "AGGREGATE"}
        found = self._find(request, attach, method)
        return [spec for spec in found if isinstance(spec, AggregateSpec)]


def _taken_apart(execution_id: bytes) -> tuple[bytes, int, bytes, bytes, bytes, str]:
    name = execution_id[:NAME_BYTES]
    if len(name) < NAME_BYTES:
        raise ProtocolError(f"an execution_id of {len(execution_id)} bytes was not made here")
    rest = execution_id[NAME_BYTES:]
    if not rest:
        return name, 0, b"", b"", b"", ""
    if len(rest) < _HEAD.size:
        raise ProtocolError("an execution_id is cut off")
    version, _, overload, *sizes = _HEAD.unpack_from(rest)
    if version != _VERSION or _HEAD.size + sum(sizes) != len(rest):
        raise ProtocolError("an execution_id is damaged")
    at = _HEAD.size
    parts = []
    for size in sizes:
        parts.append(rest[at : at + size])
        at += size
    try:
        result = parts[3].decode()
    except UnicodeDecodeError:
        raise ProtocolError("an execution_id is damaged") from None
    return name, overload, parts[0], parts[1], parts[2], result
