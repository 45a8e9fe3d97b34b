"""``attach_opaque_data``: which catalog a later call belongs to (section 3.5 of the catalog document).

The client returns the bytes with every call, to any process, so they say everything themselves:
``magic | u8 length of the name | name | 16 random bytes``. The random part tells two attaches apart.
"""

from __future__ import annotations

import os
from typing import Final

from vgi_fast.errors import ProtocolError

_MAGIC: Final = b"vf\x00\x01"
IDENTITY_BYTES: Final = 16


def new_attach_data(catalog: str) -> bytes:
    name = catalog.encode()
    return b"%s%c%s%s" % (_MAGIC, len(name), name, os.urandom(IDENTITY_BYTES))


def catalog_of(data: bytes) -> str:
    """Name of the attached catalog; ProtocolError for bytes that no worker like this one made."""
    start = len(_MAGIC) + 1
    if data.startswith(_MAGIC) and len(data) >= start:
        end = start + data[start - 1]
        if len(data) == end + IDENTITY_BYTES:
            try:
                return data[start:end].decode()
            except UnicodeDecodeError:
                pass
    raise ProtocolError("attach_opaque_data not recognized")
