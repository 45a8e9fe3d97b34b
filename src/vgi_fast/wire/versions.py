"""Version numbers and the two version checks (sections 6.3 and 6.4 of the RPC document)."""

from typing import Final

from vgi_fast.errors import ProtocolVersionError, VersionError
from vgi_fast.wire import keys

REQUEST_VERSION: Final = b"1"
DESCRIBE_VERSION: Final = b"4"

GENERATIONS: Final[dict[int, str]] = {1: "1.3.0"}
"""Served application protocol version by generation."""

PROTOCOL_NAMES: Final[dict[int, str]] = {1: "VgiProtocol", 2: "vgi.v2"}
DEFAULT_GENERATION: Final = 1

_EXACT: Final = {generation: text.encode() for generation, text in GENERATIONS.items()}


def pretend(text: str, generation: int = DEFAULT_GENERATION) -> None:
    """Serve under another protocol version, as workers do that test how a client takes it."""
    GENERATIONS[generation] = text
    _EXACT[generation] = text.encode()


def generation_of(metadata: dict[bytes, bytes]) -> int:
    """Generation of a request: the routing key exists from 2 on and is unknown, hence ignored, before."""
    if 2 in GENERATIONS and metadata.get(keys.PROTOCOL):
        return 2
    return DEFAULT_GENERATION


def check_request_version(version: bytes | None) -> None:
    if version == REQUEST_VERSION:
        return
    if version is None:
        raise VersionError("Missing 'vgi_rpc.request_version' in request batch custom_metadata")
    raise VersionError(f"Unsupported request version {version!r}, expected {REQUEST_VERSION!r}")


def check_protocol_version(version: bytes | None, generation: int = DEFAULT_GENERATION) -> None:
    """Major and minor must agree; the patch number is never compared."""
    if version == _EXACT[generation]:
        return
    server = GENERATIONS[generation]
    if version is None:
        raise _mismatch("<not declared>", server, "not sent; the client must declare vgi_rpc.protocol_version")
    try:
        text = version.decode()
    except UnicodeDecodeError:
        raise _mismatch("<undecodable bytes>", server, "not UTF-8; the client must send MAJOR.MINOR.PATCH") from None
    parts = parse_version(text)
    if parts is None:
        raise _mismatch(text, server, "malformed; expected MAJOR.MINOR.PATCH without leading zeros or suffixes")
    own = parse_version(server)
    assert own is not None
    if parts[:2] == own[:2]:
        return
    if parts[:2] < own[:2]:
        raise _mismatch(text, server, "client too old; upgrade the client (the DuckDB vgi extension)")
    raise _mismatch(text, server, "server too old; upgrade the worker")


def parse_version(text: str) -> tuple[int, int, int] | None:
    """``MAJOR.MINOR.PATCH`` of ASCII digits without leading zeros; None for anything else."""
    parts = text.split(".")
    if len(parts) != 3:
        return None
    for part in parts:
        if not (part.isascii() and part.isdigit()) or (len(part) > 1 and part[0] == "0"):
            return None
    return int(parts[0]), int(parts[1]), int(parts[2])


def _mismatch(client: str, server: str, direction: str) -> ProtocolVersionError:
    return ProtocolVersionError(
        "VGI client/worker protocol_version mismatch.\n"
        f"  Client: {client}\n"
        f"  Server: {server}\n"
        f"  Direction: {direction}"
    )
