"""Which version an ATTACH asks for (section 3.4 of the catalog document).

``1.2.3`` is exact, ``1.2`` means ``1.2.0``, ``1`` the newest of that major, ``^1.2.3`` and ``~1.2.3`` the newest that
is not older and of the same major, or of the same major and minor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vgi_fast.errors import ArgumentError
from vgi_fast.wire.versions import parse_version

if TYPE_CHECKING:
    from collections.abc import Iterable

    Version = tuple[int, int, int]

__all__ = ["resolve_version"]


def resolve_version(kind: str, spec: str | None, available: Iterable[str], catalog: str) -> str | None:
    """The version meant by ``spec``; without one the first of ``available``, None when there are none.

    >>> resolve_version("data_version_spec", "^1.0.0", ["2.0.0", "1.1.0", "1.0.0"], "example")
    '1.1.0'
    """
    versions = list(available)
    if not spec:
        return versions[0] if versions else None
    if spec in versions:
        return spec
    parsed = {version: parts for version in versions if (parts := parse_version(version)) is not None}
    matching = [version for version, parts in parsed.items() if _matches(spec, parts)]
    if matching:
        return max(matching, key=lambda version: parsed[version])
    noun = "data" if kind == "data_version_spec" else "implementation"
    known = f"there are {', '.join(versions)}" if versions else f"catalog '{catalog}' has no {noun} versions"
    raise ArgumentError(f"Unsupported {kind} '{spec}': {known}")


def _matches(spec: str, version: Version) -> bool:
    if spec[0] in "^~":
        least = parse_version(spec[1:])
        same = 1 if spec[0] == "^" else 2
        return least is not None and version >= least and version[:same] == least[:same]
    parts = spec.split(".")
    if not all(part.isascii() and part.isdigit() for part in parts):
        return False
    if len(parts) == 1:
        return version[0] == int(spec)
    return len(parts) == 2 and version == (int(parts[0]), int(parts[1]), 0)
