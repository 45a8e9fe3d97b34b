"""Descriptors of catalogs, schemas, settings and secret types.

Catalog(
    "weather",
    schemas=[CatalogSchema("main", functions=[celsius, stations])],
    settings=[SettingSpec("units", "utf8", default="metric")],
    comment="Weather of the last decade",
)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import DefinitionError
from vgi_fast.functions import annotations as ann
from vgi_fast.wire import keys, records
from vgi_fast.wire.arrow import DataType, Field, Schema, encode_row

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Catalog", "CatalogSchema", "SecretType", "SettingSpec"]

DEFAULT_SCHEMA: Final = "main"


class SettingSpec:
    """A setting that ATTACH adds to DuckDB: ``SET <name> = …``."""

    __slots__ = ("default", "description", "name", "type")

    def __init__(self, name: str, type: Any, default: Any = None, description: str = "") -> None:
        self.name = name
        self.type = _concrete(type, f"setting {name!r}")
        self.default = default
        self.description = description

    def encode(self, generation: int = 1) -> bytes:
        schema = Schema([Field("value", self.type)])
        default = None if self.default is None else encode_row(schema, {"value": self.default})
        return records.SETTING_SPEC.encode(
            {
                "name": self.name,
                "description": self.description,
                "type": schema.serialize(),
                "default_value": default,
            },
            generation,
        )


class SecretType:
    """A type of secret that ATTACH adds to DuckDB: ``CREATE SECRET (TYPE <name>, …)``."""

    __slots__ = ("description", "name", "parameters", "redact")

    def __init__(
        self, name: str, parameters: Mapping[str, Any], *, redact: Iterable[str] = (), description: str = ""
    ) -> None:
        self.name = name
        self.parameters = {
            key: _concrete(type, f"secret type {name!r}, parameter {key!r}") for key, type in parameters.items()
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


class CatalogSchema:
    """A schema of a catalog and the functions in it."""

    __slots__ = ("comment", "functions", "name", "tags")

    def __init__(
        self,
        name: str = DEFAULT_SCHEMA,
        *,
        functions: Iterable[Any] = (),
        comment: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        if not name:
            raise DefinitionError("a schema needs a name")
        self.name = name
        self.functions = list(functions)
        self.comment = comment
        self.tags = dict(tags or {})

    def __repr__(self) -> str:
        return f"CatalogSchema({self.name!r}, {len(self.functions)} functions)"


class Catalog:
    """What ``ATTACH '<name>'`` gives. ``functions`` go to the default schema unless they name another."""

    __slots__ = (
        "comment",
        "default_schema",
        "functions",
        "global_function_prefix",
        "global_functions",
        "name",
        "schemas",
        "secret_types",
        "settings",
        "source_url",
        "tags",
    )

    def __init__(
        self,
        name: str,
        *,
        schemas: Iterable[CatalogSchema] = (),
        functions: Iterable[Any] = (),
        default_schema: str = DEFAULT_SCHEMA,
        settings: Iterable[SettingSpec] = (),
        secret_types: Iterable[SecretType] = (),
        global_functions: Iterable[str] = (),
        global_function_prefix: str = "",
        comment: str | None = None,
        tags: Mapping[str, str] | None = None,
        source_url: str | None = None,
    ) -> None:
        if not name or len(name.encode()) > 255:
            raise DefinitionError(f"catalog name {name!r} must have 1 to 255 bytes")
        self.name = name
        self.functions = list(functions)
        self.schemas = list(schemas)
        self.default_schema = default_schema
        self.settings = list(settings)
        self.secret_types = list(secret_types)
        self.global_functions = list(global_functions)
        self.global_function_prefix = global_function_prefix
        self.comment = comment
        self.tags = dict(tags or {})
        self.source_url = source_url
        self._check()

    def _check(self) -> None:
        if not self.schemas:
            self.schemas = [CatalogSchema(self.default_schema)]
        seen: set[str] = set()
        for schema in self.schemas:
            if not isinstance(schema, CatalogSchema):
                raise DefinitionError(f"Catalog '{self.name}': expected a CatalogSchema, got {schema!r}")
            if schema.name.lower() in seen:
                raise DefinitionError(f"Catalog '{self.name}': duplicate schema name '{schema.name}'")
            seen.add(schema.name.lower())
        if self.default_schema.lower() not in seen:
            raise DefinitionError(
                f"Catalog '{self.name}': default_schema '{self.default_schema}' not found in schemas. "
                f"Available schemas: {[schema.name for schema in self.schemas]}"
            )
        prefix = self.global_function_prefix
        if prefix and not _is_prefix(prefix):
            raise DefinitionError(
                f"Catalog '{self.name}': global_function_prefix {prefix!r} must match [a-z_][a-z0-9_]*"
            )
        for kind, specs in (("setting", self.settings), ("secret type", self.secret_types)):
            names = [spec.name.lower() for spec in specs]
            for name in names:
                if names.count(name) > 1:
                    raise DefinitionError(f"Catalog '{self.name}': duplicate {kind} '{name}'")

    def schema(self, name: str) -> CatalogSchema:
        """The schema of that name in any case, added when there is none."""
        for schema in self.schemas:
            if schema.name.lower() == name.lower():
                return schema
        added = CatalogSchema(name)
        self.schemas.append(added)
        return added

    def __repr__(self) -> str:
        return f"Catalog({self.name!r}, schemas={[schema.name for schema in self.schemas]})"


def _is_prefix(text: str) -> bool:
    allowed = "abcdefghijklmnopqrstuvwxyz_0123456789"
    return all(letter in allowed for letter in text) and not text[0].isdigit()


def _concrete(given: Any, where: str) -> DataType:
    found = ann.explicit_type(given, where)
    if found is None:
        raise DefinitionError(f"{where} needs a concrete type")
    return found
