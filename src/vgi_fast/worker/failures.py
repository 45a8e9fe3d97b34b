"""From an exception to the metadata of an error batch (section 5.3 of the RPC document).

DuckDB shows the message and then the traceback, so the traceback begins with what the author wrote:
frames of this package are left out.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from vgi_fast.wire import keys

if TYPE_CHECKING:
    from traceback import StackSummary

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_EXAMPLES = os.path.join(_PACKAGE, "examples")


def error_metadata(error: BaseException, *, server_id: str, request_id: str | None) -> dict[bytes, bytes]:
    kind = getattr(error, "kind", None)
    metadata = {
        keys.LOG_LEVEL: keys.EXCEPTION.encode(),
        keys.LOG_MESSAGE: _utf8(f"{type(error).__name__}: {_text(error)}"),
        keys.LOG_EXTRA: _utf8(_extra(error, kind)),
    }
    if kind:
        metadata[keys.ERROR_KIND] = _utf8(kind)
    metadata[keys.SERVER_ID] = server_id.encode()
    if request_id is not None:
        metadata[keys.REQUEST_ID] = request_id.encode()
    return metadata


def log_metadata(
    level: str, message: str, extra: dict[str, Any], *, server_id: str, request_id: str | None
) -> dict[bytes, bytes]:
    """Metadata of a log batch. ``request_id`` is left out of logs of a running stream."""
    metadata = {keys.LOG_LEVEL: _utf8(level), keys.LOG_MESSAGE: _utf8(message)}
    if extra:
        import json

        metadata[keys.LOG_EXTRA] = _utf8(json.dumps(extra, ensure_ascii=False, default=str))
    metadata[keys.SERVER_ID] = server_id.encode()
    if request_id is not None:
        metadata[keys.REQUEST_ID] = request_id.encode()
    return metadata


def _extra(error: BaseException, kind: str | None) -> str:
    import json

    frames = author_frames(error)
    extra: dict[str, Any] = {
        "exception_type": type(error).__name__,
        "exception_message": _text(error),
        "traceback": _capped(formatted(error, frames)),
    }
    if error.__cause__ is not None:
        extra["cause"] = _capped(formatted(error.__cause__, author_frames(error.__cause__)))
    elif error.__context__ is not None and not error.__suppress_context__:
        extra["context"] = _capped(formatted(error.__context__, author_frames(error.__context__)))
    extra["frames"] = [
        {"file": frame.filename, "line": frame.lineno, "function": frame.name, "code": frame.line}
        for frame in list(frames)[-keys.MAX_ERROR_FRAMES :]
    ]
    if kind:
        extra["error_kind"] = kind
    return json.dumps(extra, ensure_ascii=False)


def formatted(error: BaseException, frames: StackSummary) -> str:
    """The message first, then the frames."""
    return "".join([f"{type(error).__name__}: {_text(error)}\n", *frames.format()]).rstrip("\n")


def author_frames(error: BaseException) -> StackSummary:
    """Frames outside of this package, outermost first."""
    from traceback import StackSummary, extract_tb

    return StackSummary.from_list([frame for frame in extract_tb(error.__traceback__) if not _is_own(frame.filename)])


def _is_own(filename: str) -> bool:
    """Frames of the compiled core are named by its source, relative to the build directory."""
    if filename.startswith(_EXAMPLES):
        return False
    return filename.startswith(_PACKAGE) or "vgi_fast/_core" in filename


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as inner:  # an author's __str__ must not hide the error
        return f"<text of the error is unavailable: {type(inner).__name__}>"


def _capped(text: str) -> str:
    if len(text) <= keys.MAX_TRACEBACK_CHARS:
        return text
    return text[: keys.MAX_TRACEBACK_CHARS] + keys.TRACEBACK_TRUNCATED


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
