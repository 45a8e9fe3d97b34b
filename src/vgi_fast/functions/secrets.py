"""Settings and secrets of one call (sections 4.4 and 4.5 of the function document)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgi_fast.wire.arrow import decode_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vgi_fast.wire.arrow import DataType

__all__ = ["SecretLookup", "SecretValues", "SecretsAccessor", "decode_settings"]


class SecretValues(dict[str, Any]):
    """One secret: its own keys and ``type``, ``provider``, ``name``, ``scope``. Its repr shows no value."""

    __slots__ = ("types",)

    def __init__(self, values: dict[str, Any], types: dict[str, DataType]) -> None:
        super().__init__(values)
        self.types = types
        """Arrow type by key."""

    @property
    def secret_type(self) -> str:
        return str(self.get("type") or "")

    @property
    def scopes(self) -> list[str]:
        """Path prefixes that the secret covers; empty when it is not scoped."""
        return [prefix for prefix in str(self.get("scope") or "").split("\n") if prefix]

    def __repr__(self) -> str:
        return f"SecretValues({self.get('name')!r}, keys={sorted(self)})"


class SecretLookup:
    """A secret wanted at bind. Empty texts are unspecified."""

    __slots__ = ("name", "scope", "type")

    def __init__(self, type: str, scope: str | None = None, name: str | None = None) -> None:
        self.type = type
        self.scope = scope or ""
        self.name = name or ""

    def __repr__(self) -> str:
        return f"SecretLookup({self.type!r}, scope={self.scope!r}, name={self.name!r})"


class SecretsAccessor:
    """Secrets delivered with a call.

    During ``on_bind``, ``get`` of a secret that was not delivered asks the client for it: it returns None,
    and the bind is repeated with the answer. In the repetition None means that there is no such secret.
    """

    __slots__ = ("_blob", "_secrets", "pending_lookups", "resolved")

    def __init__(self, blob: bytes | None, resolved: bool) -> None:
        self._blob = blob
        self._secrets: list[SecretValues] | None = None
        self.resolved = resolved
        self.pending_lookups: list[SecretLookup] = []

    def all(self) -> list[SecretValues]:
        if self._secrets is None:
            self._secrets = _decode(self._blob)
        return self._secrets

    def __iter__(self) -> Iterator[SecretValues]:
        return iter(self.all())

    def get(self, type: str, scope: str | None = None, name: str | None = None) -> SecretValues | None:
        """The best secret of ``type``: by name if one is given, else the longest prefix of ``scope``."""
        found = self.find(type, scope, name)
        if found is None and not self.resolved:
            self.pending_lookups.append(SecretLookup(type, scope, name))
        return found

    def find(self, type: str, scope: str | None = None, name: str | None = None) -> SecretValues | None:
        """As ``get``, without asking the client."""
        best: SecretValues | None = None
        best_length = -1
        for secret in self.all():
            if secret.secret_type.lower() != type.lower() or (name and secret.get("name") != name):
                continue
            length = _scope_length(secret, scope)
            if length > best_length:
                best, best_length = secret, length
        return best

    @property
    def needs_resolution(self) -> bool:
        return bool(self.pending_lookups) and not self.resolved


def _scope_length(secret: SecretValues, path: str | None) -> int:
    """Length of the longest prefix covering the path; 0 for an unscoped secret, -1 when it does not apply.

    Without a path every secret of the type applies.
    """
    scopes = secret.scopes
    if not scopes or not path:
        return 0
    return max((len(prefix) for prefix in scopes if path.startswith(prefix)), default=-1)


def _decode(blob: bytes | None) -> list[SecretValues]:
    if not blob:
        return []
    schema, batches = decode_stream(blob)
    if not batches or batches[0].num_rows == 0:
        return []
    row = batches[0].row(0)
    secrets = []
    for field in schema.fields:
        values = row.get(field.name)
        if isinstance(values, dict):
            if not values.get("name"):
                values = {**values, "name": field.name}
            secrets.append(SecretValues(values, {child.name: child.type for child in field.type.children}))
    return secrets


def decode_settings(blob: bytes | None) -> dict[str, Any]:
    """Session value by setting; no bytes are no settings."""
    if not blob:
        return {}
    _, batches = decode_stream(blob)
    return batches[0].row(0) if batches and batches[0].num_rows else {}
