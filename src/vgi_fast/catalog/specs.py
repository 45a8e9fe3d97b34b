"""What ATTACH adds to a session: settings, secret types, attach options, companions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import DefinitionError
from vgi_fast.functions import annotations as ann
from vgi_fast.wire import keys, records
from vgi_fast.wire.arrow import DataType, Field, Schema, encode_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["AttachOption", "CompanionCatalog", "Release", "SecretType", "SettingSpec"]

_RESERVED_OPTIONS: Final = frozenset(
    {
        "attach_companion_secrets",
        "attach_companions",
        "bearer_token",
        "cache",
        "data_version_spec",
        "global_functions",
        "implementation_version",
        "launcher_idle_timeout",
        "launcher_state_dir",
        "location",
        "oauth_refresh_token",
        "path",
        "pool",
        "pool_max",
        "pool_timeout",
        "secrets",
        "type",
        "worker_debug",
    }
)
"""Options of ATTACH that DuckDB keeps for itself (section 3.2 of the catalog document)."""


class SettingSpec:
    """A setting that ATTACH adds to DuckDB: ``SET <name> = …``."""

    __slots__ = ("default", "description", "name", "type")

    def __init__(self, name: str, type: Any, default: Any = None, description: str = "") -> None:
        self.name = name
        self.type = concrete_type(type, f"{self._noun} {name!r}")
        self.default = default
        self.description = description

    _noun = "setting"

    def values(self) -> dict[str, Any]:
        schema = Schema([Field("value", self.type)])
        default = None if self.default is None else encode_row(schema, {"value": self.default})
        return {
            "name": self.name,
            "description": self.description,
            "type": schema.serialize(),
            "default_value": default,
        }

    def encode(self, generation: int = 1) -> bytes:
        return records.SETTING_SPEC.encode(self.values(), generation)


class AttachOption(SettingSpec):
    """An option of ATTACH: ``ATTACH 'c' (TYPE vgi, LOCATION '…', <name> <value>)``."""

    __slots__ = ("required",)

    def __init__(
        self, name: str, type: Any, default: Any = None, description: str = "", *, required: bool = False
    ) -> None:
        super().__init__(name, type, default, description)
        self.required = required
        if required and default is not None:
            raise DefinitionError(
                f"Attach option '{name}' is required but also declares a default, which could never be used"
            )
        if name.lower() in _RESERVED_OPTIONS:
            raise DefinitionError(f"Attach option '{name}' could never be given: DuckDB keeps that name for itself")

    _noun = "attach option"

    def encode(self, generation: int = 1) -> bytes:
        return records.ATTACH_OPTION_SPEC.encode({**self.values(), "required": self.required}, generation)


class SecretType:
    """A type of secret that ATTACH adds to DuckDB: ``CREATE SECRET (TYPE <name>, …)``."""

    __slots__ = ("description", "name", "parameters", "redact")

    def __init__(
        self, name: str, parameters: Mapping[str, Any], *, redact: Iterable[str] = (), description: str = ""
    ) -> None:
        self.name = name
        self.parameters = {
            key: concrete_type(type, f"secret type {name!r}, parameter {key!r}") for key, type in parameters.items()
        }
        self.redact = tuple(redact)
        """Parameters that DuckDB never shows."""
        self.description = description
        for key in self.redact:
            if key not in self.parameters:
                raise DefinitionError(
                    f"secret type {name!r}: redacted parameter {key!r} does not exist; there are {list(parameters)}"
                )

    def encode(self, generation: int = 1) -> bytes:
        fields = [
            Field(key, type, True, {keys.REDACT: keys.TRUE} if key in self.redact else None)
            for key, type in self.parameters.items()
        ]
        return records.SECRET_TYPE_SPEC.encode(
            {"name": self.name, "description": self.description, "parameters_schema": Schema(fields).serialize()},
            generation,
        )


class CompanionCatalog:
    """A database that DuckDB attaches together with the catalog, for branches that scan its tables."""

    __slots__ = ("alias", "db_type", "hidden", "options", "required", "secret_ref", "target")

    def __init__(
        self,
        alias: str,
        target: str,
        *,
        db_type: str = "",
        options: Mapping[str, str] | None = None,
        hidden: bool = False,
        required: bool = False,
        secret_ref: str = "",
    ) -> None:
        if not alias or not target:
            raise DefinitionError(f"a companion catalog needs an alias and a target, got {alias!r} and {target!r}")
        self.alias = alias
        self.target = target
        self.db_type = db_type
        self.options = {str(key): str(value) for key, value in (options or {}).items()}
        self.hidden = hidden
        self.required = required
        self.secret_ref = secret_ref

    def encode(self, generation: int = 1) -> bytes:
        return records.ATTACH_CATALOG_INFO.encode({name: getattr(self, name) for name in self.__slots__}, generation)


class Release:
    """One data version of a catalog, as ``vgi_catalogs()`` lists it. ``released_at`` is an aware datetime."""

    __slots__ = ("notes_url", "released_at", "summary", "version")

    def __init__(self, version: str, released_at: Any = None, summary: str = "", notes_url: str | None = None) -> None:
        self.version = version
        self.released_at = released_at
        self.summary = summary
        self.notes_url = notes_url

    def values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def concrete_type(given: Any, where: str) -> DataType:
    found = ann.explicit_type(given, where)
    if found is None:
        raise DefinitionError(f"{where} needs a concrete type")
    return found
