"""What a received batch means: data, log or error (section 5 of the RPC document)."""

import json
from dataclasses import dataclass, field
from enum import Enum

from vgi_fast._core import RecordBatch
from vgi_fast.errors import ProtocolError, RemoteError
from vgi_fast.wire import keys


class Meaning(Enum):
    DATA = "data"
    LOG = "log"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A message that a worker sent along with its answer."""

    level: str
    message: str
    extra: dict[str, object] = field(default_factory=dict)


def meaning(batch: RecordBatch) -> Meaning:
    """Only a batch without rows can be anything but data (section 5.1)."""
    if batch.num_rows:
        return Meaning.DATA
    metadata = batch.metadata
    if not metadata:
        return Meaning.DATA
    level = metadata.get(keys.LOG_LEVEL) or metadata.get(keys.LEGACY_LOG_LEVEL)
    if level is not None:
        return Meaning.ERROR if level == keys.EXCEPTION.encode() else Meaning.LOG
    if keys.LOCATION in metadata:
        raise ProtocolError(f"the worker sent a {keys.LOCATION.decode()} pointer that was not asked for")
    return Meaning.DATA


def read_log(metadata: dict[bytes, bytes]) -> LogRecord:
    return LogRecord(
        level=_text(metadata, keys.LOG_LEVEL, keys.LEGACY_LOG_LEVEL),
        message=_text(metadata, keys.LOG_MESSAGE, keys.LEGACY_LOG_MESSAGE),
        extra=_extra(metadata),
    )


def read_error(metadata: dict[bytes, bytes]) -> RemoteError:
    message = _text(metadata, keys.LOG_MESSAGE, keys.LEGACY_LOG_MESSAGE)
    extra = _extra(metadata)
    error_type = extra.get("exception_type") or message.partition(":")[0]
    kind = _text(metadata, keys.ERROR_KIND)
    return RemoteError(message, error_type=str(error_type), kind=kind or None, extra=extra)


def _text(metadata: dict[bytes, bytes], *names: bytes) -> str:
    for name in names:
        value = metadata.get(name)
        if value is not None:
            return value.decode("utf-8", "replace")
    return ""


def _extra(metadata: dict[bytes, bytes]) -> dict[str, object]:
    """Every member is optional and the text may be anything, so an unreadable one is no second error."""
    try:
        extra = json.loads(_text(metadata, keys.LOG_EXTRA, keys.LEGACY_LOG_EXTRA) or "{}")
    except ValueError:
        return {}
    return extra if isinstance(extra, dict) else {}
