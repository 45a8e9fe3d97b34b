"""A bind request understood: which function is meant, and with which arguments.

Every request about a call (bind, init, cardinality, statistics) carries the complete bind request and may
reach another process than the one before, so understanding it is repeated. It depends on the bytes
and the registered functions alone, hence a process remembers it by the bytes; requests with secrets are
not remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import ArgumentError, ProtocolError
from vgi_fast.functions.arguments import GivenArguments, bind_arguments, decode_arguments
from vgi_fast.functions.overloads import resolve
from vgi_fast.wire import records
from vgi_fast.wire.arrow import Schema, schema_from_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vgi_fast.functions.spec import FunctionSpec

_MAX_REMEMBERED: Final = 256
_MAX_BYTES: Final = 65_536


class Invocation:
    """Immutable; shared by all calls with the same bytes."""

    __slots__ = ("given", "input_schema", "request", "spec", "values")

    def __init__(
        self,
        request: dict[str, Any],
        spec: FunctionSpec,
        given: GivenArguments,
        values: dict[str, Any],
        input_schema: Schema | None,
    ) -> None:
        self.request = request
        self.spec = spec
        self.given = given
        self.values = values
        """Constant arguments by Python name."""
        self.input_schema = input_schema


class InvocationCache:
    """Understands bind requests; one per set of registered functions."""

    __slots__ = ("_find", "_inits", "_known")

    def __init__(self, find: Callable[[Mapping[str, Any]], list[FunctionSpec]]) -> None:
        self._find = find
        self._known: dict[tuple[int, bytes], Invocation] = {}
        self._inits: dict[tuple[int, bytes], tuple[dict[str, Any], Invocation]] = {}

    def understand(self, blob: bytes, generation: int = 1) -> Invocation:
        known = self._known.get((generation, blob))
        if known is not None:
            return known
        request = records.BIND_REQUEST.decode(blob, generation)
        if not request["function_name"]:
            raise ProtocolError("a bind request names no function")
        invocation = understand(request, self._find(request))
        if not request["secrets"] and len(blob) <= _MAX_BYTES:
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[generation, blob] = invocation
        return invocation

    def understand_init(self, blob: bytes, generation: int = 1) -> tuple[dict[str, Any], Invocation]:
        """An init request, not to be changed, and its call. The threads of a scalar query send equal ones."""
        known = self._inits.get((generation, blob))
        if known is not None:
            return known
        request = records.INIT_REQUEST.decode(blob, generation)
        invocation = self.understand(request["bind_call"], generation)
        if not invocation.request["secrets"] and len(blob) <= _MAX_BYTES:
            if len(self._inits) >= _MAX_REMEMBERED:
                self._inits.clear()
            self._inits[generation, blob] = request, invocation
        return request, invocation


def understand(request: dict[str, Any], candidates: list[FunctionSpec]) -> Invocation:
    """Steps 2 to 4 of section 4.1 of the function document."""
    given = decode_arguments(request["arguments"])
    if request["copy_from"] or request["copy_to"]:
        direction = "from" if request["copy_from"] else "to"
        candidates = [one for one in candidates if getattr(one, "direction", None) == direction]
        if not candidates:
            raise ArgumentError(f"'{request['function_name']}' does not serve COPY ... {direction.upper()}")
    blob = request["input_schema"]
    input_schema = schema_from_bytes(blob) if blob else None
    spec = resolve(request["function_name"], candidates, given, input_schema)
    spec.check_settings(request["settings"])
    values = bind_arguments(spec.signature, given, f"Function '{spec.name}'")
    spec.check_columns(input_schema)
    return Invocation(request, spec, given, values, input_schema)
