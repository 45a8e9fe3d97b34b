"""Descriptors of catalogs and schemas.

Catalog(
    "weather",
    schemas=[CatalogSchema("main", functions=[celsius], tables=[Table("stations", function=stations)])],
    settings=[SettingSpec("units", "utf8", default="metric")],
    comment="Weather of the last decade",
)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.errors import DefinitionError
from vgi_fast.wire import keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vgi_fast.catalog.specs import AttachOption, CompanionCatalog, Release, SecretType, SettingSpec

__all__ = ["Catalog", "CatalogSchema"]

DEFAULT_SCHEMA: Final = "main"


class CatalogSchema:
    """A schema of a catalog and the objects in it.

    ``exact_counts`` False leaves out the numbers of objects, for schemas whose listings do not show everything.
    """

    __slots__ = ("comment", "exact_counts", "functions", "indexes", "macros", "name", "tables", "tags", "views")

    def __init__(
        self,
        name: str = DEFAULT_SCHEMA,
        *,
        functions: Iterable[Any] = (),
        tables: Iterable[Any] = (),
        views: Iterable[Any] = (),
        macros: Iterable[Any] = (),
        indexes: Iterable[Any] = (),
        exact_counts: bool = True,
        comment: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        if not name:
            raise DefinitionError("a schema needs a name")
        self.name = name
        self.functions = list(functions)
        self.tables = list(tables)
        self.views = list(views)
        self.macros = list(macros)
        self.indexes = list(indexes)
        self.exact_counts = exact_counts
        self.comment = comment
        self.tags = dict(tags or {})

    def __repr__(self) -> str:
        return f"CatalogSchema({self.name!r}, {len(self.functions)} functions)"


class Catalog:
    """What ``ATTACH '<name>'`` gives. ``functions`` go to the default schema unless they name another.

    ``data_versions`` and ``implementation_versions`` are what an ATTACH can ask for, the first by default; releases
    say more about data versions. ``transactions`` makes DuckDB begin and end one for each statement, two calls.
    """

    __slots__ = (
        "attach_options",
        "comment",
        "companions",
        "data_version_spec",
        "data_versions",
        "default_schema",
        "functions",
        "global_function_prefix",
        "global_functions",
        "implementation_versions",
        "name",
        "releases",
        "schemas",
        "secret_types",
        "settings",
        "source_url",
        "tags",
        "transactions",
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
        secret_service_url: str | None = None,
        attach_options: Iterable[AttachOption] = (),
        companions: Iterable[CompanionCatalog] = (),
        data_versions: Iterable[str] = (),
        data_version_spec: str | None = None,
        releases: Iterable[Release] = (),
        implementation_versions: Iterable[str] = (),
        transactions: bool = False,
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
        self.attach_options = list(attach_options)
        self.companions = list(companions)
        self.releases = list(releases)
        self.data_versions = list(data_versions) or [release.version for release in self.releases]
        self.data_version_spec = data_version_spec
        """The range that is served, as ``vgi_catalogs()`` shows it."""
        self.implementation_versions = list(implementation_versions)
        self.transactions = transactions
        self.global_functions = list(global_functions)
        self.global_function_prefix = global_function_prefix
        self.comment = comment
        self.tags = dict(tags or {})
        if secret_service_url:
            self.tags[keys.SECRET_SERVICE_URL_TAG] = secret_service_url
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
        for kind, names in (
            ("setting", [spec.name for spec in self.settings]),
            ("secret type", [spec.name for spec in self.secret_types]),
            ("attach option", [spec.name for spec in self.attach_options]),
            ("companion", [companion.alias for companion in self.companions]),
            ("release", [release.version for release in self.releases]),
        ):
            lowered = [name.lower() for name in names]
            for name in lowered:
                if lowered.count(name) > 1:
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
