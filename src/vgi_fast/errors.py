"""Every error that vgi_fast raises.

    VgiError
    ├── DefinitionError         an author declared something impossible; raised at import or registration
    ├── ArgumentError           a caller's SQL gave a wrong argument
    │   ├── ArgumentValidationError   a constraint (range, choices, pattern, NULL) is violated
    │   ├── TypeMismatchError         a column or result has another Arrow type than declared
    │   ├── RowCountMismatchError     a scalar result has another length than its input
    │   └── SchemaValidationError     a type bound or an output schema is violated
    ├── FilterError             a pushed filter cannot be understood or evaluated
    │   ├── FilterVersionError        … of a version that is not known
    │   └── FilterDeserializationError … whose bytes break the contract
    ├── ProtocolError           bytes or messages that break the wire contract
    │   ├── VersionError              request version missing or not supported
    │   ├── ProtocolVersionError      application protocol version differs (kind protocol_version_mismatch)
    │   └── MethodNotImplementedError unknown or declined method (kind method_not_implemented)
    ├── TransportError          the peer went away, or a descriptor failed
    ├── RemoteError             the worker answered with an error (client side)
    ├── CatalogReadOnlyError    DDL or a transaction on a catalog that does not take it
    ├── StorageError            state storage failed
    └── InternalError           a defect of vgi_fast itself

Each class has a stable ``code``; an instance may carry a ``detail`` and a ``hint``, which
``str()`` appends on lines of their own. ``kind`` is what goes to the peer as
``vgi_rpc.error_kind`` where the protocol names one.
"""

from __future__ import annotations

__all__ = [
    "VgiError",
    "DefinitionError",
    "ArgumentError",
    "ArgumentValidationError",
    "TypeMismatchError",
    "RowCountMismatchError",
    "SchemaValidationError",
    "FilterError",
    "FilterVersionError",
    "FilterDeserializationError",
    "ProtocolError",
    "VersionError",
    "ProtocolVersionError",
    "MethodNotImplementedError",
    "TransportError",
    "RemoteError",
    "CatalogReadOnlyError",
    "StorageError",
    "InternalError",
]


class VgiError(Exception):
    code = "vgi"
    kind: str | None = None

    def __init__(self, message: str = "", *, detail: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.message]
        if self.detail:
            lines.append(self.detail)
        if self.hint:
            lines.append(f"Hint: {self.hint}")
        return "\n".join(lines)


class DefinitionError(VgiError):
    code = "definition"


class ArgumentError(VgiError, ValueError):
    code = "argument"


class ArgumentValidationError(ArgumentError):
    code = "argument.validation"


class TypeMismatchError(ArgumentError, TypeError):
    code = "argument.type"


class RowCountMismatchError(ArgumentError):
    code = "argument.row_count"


class SchemaValidationError(ArgumentError):
    code = "argument.schema"


class FilterError(VgiError):
    code = "filter"


class FilterVersionError(FilterError):
    code = "filter.version"


class FilterDeserializationError(FilterError):
    code = "filter.content"


class ProtocolError(VgiError):
    code = "protocol"


class VersionError(ProtocolError):
    code = "protocol.request_version"


class ProtocolVersionError(ProtocolError):
    code = "protocol.version"
    kind = "protocol_version_mismatch"


class MethodNotImplementedError(ProtocolError, NotImplementedError):
    code = "protocol.method"
    kind = "method_not_implemented"


class TransportError(VgiError, OSError):
    code = "transport"


class RemoteError(VgiError):
    """An EXCEPTION that a worker sent; ``kind`` and ``extra`` are as received."""

    code = "remote"

    def __init__(
        self, message: str, *, error_type: str = "", kind: str | None = None, extra: dict[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.kind = kind
        self.extra = extra or {}


class CatalogReadOnlyError(VgiError):
    code = "catalog.read_only"


class StorageError(VgiError):
    code = "storage"


class InternalError(VgiError):
    code = "internal"
