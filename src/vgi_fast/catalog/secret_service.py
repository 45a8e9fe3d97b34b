"""Secrets that a worker gives out over HTTP (section 6.3 of the catalog document).

    class Vault(SecretService):
        def lookup(self, path, type, auth):
            if type == "s3" and path.startswith("s3://reports/"):
                return SecretAnswer({"key_id": "…", "secret": "…"}, scope=["s3://reports/"], ttl_seconds=600)

DuckDB asks the service that a catalog names (``Catalog(secret_service_url=…)``) whenever it needs a secret that it does
not have. It is a protocol of its own, spoken over HTTP only: ``answer`` is what its one method returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import ArgumentError
from vgi_fast.wire import records
from vgi_fast.wire.arrow import Field, Schema, encode_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vgi_fast.functions.context import CallerIdentity

__all__ = ["SecretAnswer", "SecretService"]

_TYPES: Final = {bool: "bool", int: "int64", float: "float64", str: "utf8", bytes: "binary"}


class SecretAnswer:
    """A secret that was found. Nothing of it is shown by DuckDB unless ``redact_keys`` leaves it out.

    ``scope`` are the path prefixes that it covers, none for all; ``ttl_seconds`` 0 leaves the time to DuckDB.
    """

    __slots__ = ("expires_at_unix", "name", "provider", "redact_keys", "scope", "ttl_seconds", "values")

    def __init__(
        self,
        values: Mapping[str, Any],
        *,
        scope: Iterable[str] = (),
        name: str = "",
        provider: str = "",
        redact_keys: Iterable[str] | None = None,
        ttl_seconds: int = 0,
        expires_at_unix: int = 0,
    ) -> None:
        self.values = dict(values)
        self.scope = list(scope)
        self.name = name
        self.provider = provider
        self.redact_keys = list(self.values if redact_keys is None else redact_keys)
        self.ttl_seconds = ttl_seconds
        self.expires_at_unix = expires_at_unix
        for key, value in self.values.items():
            if type(value) not in _TYPES:
                kind = type(value).__name__
                raise ArgumentError(f"secret key {key!r}: expected bool, int, float, str or bytes, got {kind}")

    def __repr__(self) -> str:
        return f"SecretAnswer(keys={sorted(self.values)}, scope={self.scope})"


class SecretService:
    """Derive from it and override ``lookup``."""

    def lookup(self, path: str, type: str, auth: CallerIdentity) -> SecretAnswer | None:
        """The secret of a type (lower case, as ``s3``) for a path; None when there is none for this caller."""
        raise NotImplementedError

    def answer(self, row: Mapping[str, Any], auth: CallerIdentity) -> bytes:
        """The result of ``secret_lookup`` for the parameters of one request."""
        found = self.lookup(row["path"], row["type"], auth)
        if found is None:
            return _encode(_NOTHING)
        schema = Schema([Field(key, _TYPES[type(value)]) for key, value in found.values.items()])
        return _encode(
            {
                "found": True,
                "secret_type": row["type"],
                "provider": found.provider,
                "name": found.name,
                "scope": found.scope,
                "values": encode_row(schema, found.values),
                "redact_keys": found.redact_keys,
                "ttl_seconds": found.ttl_seconds,
                "expires_at_unix": found.expires_at_unix,
            }
        )


_NOTHING: Final[dict[str, Any]] = {
    "found": False,
    "secret_type": "",
    "provider": "",
    "name": "",
    "scope": [],
    "redact_keys": [],
    "ttl_seconds": 0,
    "expires_at_unix": 0,
}


def _encode(values: Mapping[str, Any]) -> bytes:
    return records.SECRET_LOOKUP_RESPONSE.encode(values)
