"""What functions tell DuckDB about keeping their results (section 12 of the pushdown document).

    @worker.table(columns={"n": "int64"}, cache_control={"ttl": 300})
    @worker.table(columns={"n": "int64"}, cache_control=lambda args: {"ttl": args.ttl})

DuckDB keeps complete results, and gives them to calls with equal arguments, columns, filters, settings and caller. One
that may be revalidated costs a short answer when it is stale:

    @worker.table(columns={"n": "int64"}, cache_control={"ttl": 0, "revalidatable": True})
    def readings(params: ProcessParams) -> Iterator[Emit]:
        tag = current_tag()
        if params.if_none_match == tag:
            yield Emit(None, cache_control={"not_modified": True})
        else:
            yield Emit(load(), cache_control={"etag": tag})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from vgi_fast.errors import ArgumentError, DefinitionError
from vgi_fast.wire import keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from vgi_fast.functions.context import ProcessParams

    Metadata = dict[bytes, bytes]

__all__ = ["CacheControl", "CacheRules", "StreamCache"]

MAX_SECONDS: Final = 315_360_000
"""Ten years: what the client makes of anything longer."""
CATALOG, TRANSACTION = "catalog", "transaction"
_SCOPES: Final = [CATALOG, TRANSACTION]
_SECONDS: Final = ("ttl", "stale_while_revalidate", "stale_if_error")
_INSTANTS: Final = ("expires", "last_modified")
_FLAGS: Final = ("no_store", "revalidatable", "not_modified", "partition_scope", "per_value")


class CacheControl(TypedDict, total=False):
    """Whether and for how long DuckDB may keep a result. With neither ``ttl`` nor ``expires`` it does not.

    >>> CacheControl(ttl=300) == {"ttl": 300}
    True
    """

    ttl: int
    """Seconds. With 0 only a revalidatable result is kept, and asked for again each time."""
    expires: datetime | str
    """An end instead of a duration."""
    no_store: bool
    """Never keep it, whatever else is said."""
    scope: Literal["catalog", "transaction"]
    """``transaction``: only for other queries of the same transaction."""
    etag: str
    """Any text that changes with the result; comes back in ``params.if_none_match``."""
    last_modified: datetime | str
    """Comes back in ``params.if_modified_since``."""
    revalidatable: bool
    """A stale result may be asked for with its etag, to be answered with ``not_modified``."""
    stale_while_revalidate: int
    stale_if_error: int
    not_modified: bool
    """The answer, instead of rows, that what the client has is still right."""
    partition_scope: bool
    """Also keep each partition, for queries that fix the partition columns."""
    per_value: bool
    """Functions over columns: keep the result of each row's values, which pays where one call is expensive."""


if TYPE_CHECKING:
    Declared = CacheControl | Callable[[Any], CacheControl | None]
    """What a function declares; a callable is given the arguments of the call."""


class CacheRules:
    """The cache control of one function: what it declares, and what makes no sense for it. False if undeclared."""

    __slots__ = ("_declared", "_metadata", "_needs_per_value", "_refused", "where")

    def __init__(self, where: str, declared: Declared | None) -> None:
        self.where = where
        self._declared = declared
        self._refused: dict[str, str] = {"not_modified": "is the answer to a request; emit it"}
        self._needs_per_value = False
        self._metadata: Metadata | None = None
        """Of what is declared, if it is always the same."""
        self._look()

    def __bool__(self) -> bool:
        return bool(self._declared)

    @property
    def may_change(self) -> bool:
        """It is not the same for each call."""
        return bool(self._declared) and self._metadata is None

    def for_scan(self, single_valued: bool) -> None:
        """These are the rules of a table function. ``single_valued``: of one that tells each partition's value."""
        self._refused["per_value"] = "is for functions over columns"
        if not single_valued:
            self._refused["partition_scope"] = "needs partition_kind SINGLE_VALUE_PARTITIONS"
        self._look()

    def for_input(self, *, stateful: bool = False) -> None:
        """These are the rules of a function over a table or columns."""
        self._refused["partition_scope"] = "is for table functions"
        self._refused[TRANSACTION] = "is for table functions"
        if stateful and self:
            raise DefinitionError(
                f"{self.where}: what it answers depends on the batches before, so it cannot have cache_control"
            )
        self._look()

    def for_values(self) -> None:
        """These are the rules of a scalar function, whose results are kept by value or not at all."""
        self._needs_per_value = True
        self.for_input()

    def _look(self) -> None:
        declared = self._declared
        if not declared or callable(declared):
            return
        metadata = self.check(declared)
        if "expires" not in declared or "ttl" in declared:
            self._metadata = metadata

    def declared(self, args: Any) -> Mapping[str, Any] | None:
        """What a call of these arguments declares."""
        declared: Any = self._declared
        if not declared or not callable(declared):
            return declared or None
        control = declared(args)
        if control:
            self.check(control)
        return control or None

    def check(self, control: Any, *, answers: bool = False) -> Metadata:
        """As metadata; DefinitionError for what is declared wrongly. ``answers``: not_modified may be among it."""
        found = cache_metadata(self.where, control)
        for name, reason in self._refused.items():
            if name == TRANSACTION:
                if control.get("scope") == TRANSACTION:
                    raise DefinitionError(f"{self.where}: CacheControl.scope '{TRANSACTION}' {reason}")
            elif control.get(name) and not (answers and name == "not_modified"):
                raise DefinitionError(f"{self.where}: CacheControl.{name} {reason}")
        if self._needs_per_value and not control.get("per_value") and not control.get("no_store"):
            raise DefinitionError(
                f"{self.where}: results of scalar functions are kept by value",
                hint="add per_value=True to cache_control",
            )
        return found

    def metadata(self, declared: Mapping[str, Any] | None, given: Mapping[str, Any] | None) -> Metadata:
        """Of what is declared, and what the author gives with one batch."""
        if given:
            return self.check({**(declared or {}), **given}, answers=True)
        return self._metadata or cache_metadata(self.where, declared or {})


class StreamCache:
    """The cache control of one stream."""

    __slots__ = ("_params", "_rules", "declared")

    def __init__(self, rules: CacheRules, params: ProcessParams[Any] | None = None) -> None:
        self._rules = rules
        self._params = params
        self.declared = None if params is None else rules.declared(params.args)

    def metadata(self, given: Mapping[str, Any] | None = None, rows: int = 0) -> Metadata:
        """Goes beside a batch of so many rows."""
        if given and given.get("not_modified"):
            self._check_answer(rows)
        return self._rules.metadata(self.declared, given)

    def _check_answer(self, rows: int) -> None:
        params = self._params
        if rows:
            raise ArgumentError(f"{self._rules.where}: not_modified goes without rows, but the batch has {rows}")
        if params is None or params.if_none_match is params.if_modified_since is None:
            raise ArgumentError(
                f"{self._rules.where}: not_modified, but the client has no result that could be kept",
                hint="compare params.if_none_match with the etag, or params.if_modified_since with last_modified",
            )


def check_form(where: str, given: Any) -> None:
    if not isinstance(given, Mapping):
        raise DefinitionError(f'{where}: cache_control is a dict such as {{"ttl": 300}}, got {given!r:.80}')


def cache_metadata(where: str, given: Any) -> Metadata:
    """Cache control as metadata of a batch (section 2.4 of the RPC document)."""
    check_form(where, given)
    for name in given:
        if name not in keys.CACHE_CONTROL_NAMES:
            raise DefinitionError(
                f"{where}: unknown cache control {name!r}; there are {', '.join(keys.CACHE_CONTROL_NAMES)}"
            )
    texts: dict[str, str] = {}
    for name in keys.CACHE_CONTROL_NAMES:
        value = given.get(name)
        if name == "scope":
            texts[name] = _scope(where, value)
        elif value is None:
            continue
        elif name in _SECONDS:
            texts[name] = str(_seconds(where, name, value))
        elif name in _FLAGS:
            if type(value) is not bool:
                raise DefinitionError(f"{where}: CacheControl.{name} must be a bool, got {value!r:.80}")
            if value:
                texts[name] = "1"
        elif name in _INSTANTS:
            texts[name] = _instant(where, name, value)
        else:
            texts[name] = _etag(where, value)
    if "expires" in texts and "ttl" not in texts:
        texts["ttl"] = str(_remaining(texts["expires"]))  # the client does not read the date itself
    return {keys.CACHE_PREFIX + name.encode(): text.encode() for name, text in texts.items()}


def _scope(where: str, value: Any) -> str:
    if value is None:
        return CATALOG
    if value not in _SCOPES:
        raise DefinitionError(f"{where}: CacheControl.scope must be one of {_SCOPES}, got {value!r:.80}")
    return str(value)


def _seconds(where: str, name: str, value: Any) -> int:
    if type(value) is not int:
        raise DefinitionError(f"{where}: CacheControl.{name} must be an int of seconds, got {value!r:.80}")
    if value < 0:
        raise DefinitionError(f"{where}: CacheControl.{name} must be >= 0, got {value}")
    return min(value, MAX_SECONDS)


def _etag(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise DefinitionError(f"{where}: CacheControl.etag must be printable text, got {value!r:.80}")
    return value


def _instant(where: str, name: str, value: Any) -> str:
    """In the one form that the client is told about: RFC 3339, in UTC."""
    from datetime import UTC, datetime

    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value[10:11] == "T" and value.endswith("Z"):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return value
    raise DefinitionError(
        f"{where}: CacheControl.{name} must be a datetime with a time zone, or text such as "
        f"'2024-01-31T12:00:00Z', got {value!r:.80}"
    )


def _remaining(expires: str) -> int:
    from datetime import UTC, datetime

    return min(max(int((datetime.fromisoformat(expires) - datetime.now(UTC)).total_seconds()), 0), MAX_SECONDS)
