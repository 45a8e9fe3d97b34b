"""``attach_opaque_data``: all that later calls need to know about an attach (section 3.5 of the catalog document).

The client returns the bytes with every call, to any process, so they say everything themselves:
``magic | parts``, each part a little-endian u32 length and its bytes. The random identity tells two attaches
apart. Transports whose clients are told apart seal the bytes around this form, which is never altered.
"""

from __future__ import annotations

import os
from typing import Any, Final

from vgi_fast._core import decode_row
from vgi_fast.errors import ProtocolError

_MAGIC: Final = b"vf\x00\x02"
_PARTS: Final = 7
IDENTITY_BYTES: Final = 16


class AttachData(bytes):
    """The bytes themselves, which identify the attach, and what is written in them."""

    catalog: str
    """Name under which the worker declares the catalog: calls are routed by it."""
    name: str
    """Name that was attached."""
    data_version: str
    """What the worker chose; empty when the catalog has no versions."""
    implementation_version: str
    identity: bytes
    """Random, fresh for each ATTACH."""
    options_blob: bytes
    state: bytes
    """Whatever the catalog added."""

    @classmethod
    def new(
        cls,
        catalog: str,
        *,
        name: str | None = None,
        data_version: str | None = None,
        implementation_version: str | None = None,
        options_blob: bytes = b"",
        state: bytes = b"",
    ) -> AttachData:
        texts = (catalog, catalog if name is None else name, data_version or "", implementation_version or "")
        parts = [*(text.encode() for text in texts), os.urandom(IDENTITY_BYTES), options_blob, state]
        return cls.open(_MAGIC + b"".join(len(part).to_bytes(4, "little") + part for part in parts))

    @classmethod
    def open(cls, data: bytes) -> AttachData:
        """ProtocolError for bytes that no worker like this one made."""
        parts = _split(data)
        if parts is None or len(parts[4]) != IDENTITY_BYTES:
            raise ProtocolError("attach_opaque_data not recognized")
        made = cls(data)
        try:
            made.catalog, made.name, made.data_version, made.implementation_version = (
                part.decode() for part in parts[:4]
            )
        except UnicodeDecodeError:
            raise ProtocolError("attach_opaque_data not recognized") from None
        made.identity, made.options_blob, made.state = parts[4:]
        return made

    @property
    def options(self) -> dict[str, Any]:
        """Every declared attach option, those not given with their defaults."""
        return decode_row(self.options_blob) if self.options_blob else {}

    def __repr__(self) -> str:
        return f"AttachData({self.name!r}, {self.identity.hex()})"


def _split(data: bytes) -> list[bytes] | None:
    if not data.startswith(_MAGIC):
        return None
    parts = []
    position, size = len(_MAGIC), len(data)
    for _ in range(_PARTS):
        start = position + 4
        position = start + int.from_bytes(data[position:start], "little")
        if start > size or position > size:
            return None
        parts.append(bytes(data[start:position]))
    return parts if position == size else None
