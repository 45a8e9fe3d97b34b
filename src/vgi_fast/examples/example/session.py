"""What a session brings along: settings, secrets, the caller's identity."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple

from vgi_fast import (
    Arg,
    BindParams,
    CallerIdentity,
    Float64,
    Int64,
    OutputCollector,
    OutputLength,
    ProcessParams,
    Secret,
    SecretType,
    SecretValues,
    Setting,
    SettingSpec,
    TableFunctionGenerator,
    scalar,
    table,
)
from vgi_fast.examples.example.columns import Texts

SECRET: Final = "vgi_example"

SETTINGS: Final = [
    SettingSpec("vgi_verbose_mode", "bool", False, "Adds a column with details"),
    SettingSpec("greeting", "utf8", "Hello", "How to greet"),
    SettingSpec("multiplier", "int64", 1, "What values are multiplied by"),
    SettingSpec("threshold", "int64", 0, "Least value that passes a filter"),
    SettingSpec("scale_factor", "float64", 1.0, "What floating-point values are multiplied by"),
    SettingSpec(
        "config", "struct<start: int64, step: int64, label: utf8>", None, "Start, step and label of a sequence"
    ),
]
SECRET_TYPES: Final = [
    SecretType(
        SECRET,
        {"secret_string": "utf8", "api_key": "utf8", "port": "int32", "use_ssl": "bool", "timeout": "float64"},
        redact=["secret_string", "api_key"],
        description="Parameters of each simple type",
    )
]

Rows = Annotated[int, OutputLength()]
ExampleSecret = Annotated[SecretValues, Secret(SECRET)]
Count = Annotated[int, Arg(doc="Number of rows", ge=0)]
Path = Annotated[str, Arg(doc="Path that the secret has to cover")]


@scalar
def multiply_by_setting(value: Int64, multiplier: Annotated[int, Setting()] = 1) -> Int64:
    """Multiply the input value by a setting value"""
    return value * multiplier


@scalar
def scale_by_setting(value: Float64, scale_factor: Annotated[float, Setting()] = 1.0) -> Float64:
    """Scale the input value by the float setting `scale_factor`"""
    return value * scale_factor


@scalar
def return_secret_value(secret: ExampleSecret, rows: Rows) -> Texts:
    """Return a secret's value"""
    return [json.dumps(secret, default=str)] * rows


@scalar
def secret_field(secret: ExampleSecret, rows: Rows) -> Texts:
    """Look up secret fields by name"""
    port, name = secret.get("port"), secret.get("secret_string")
    return [f"port={'' if port is None else port};name={name or ''}"] * rows


@scalar(propagate_nulls=False)
def whoami(x: Int64, caller: CallerIdentity) -> Texts:
    """Name of the authenticated caller"""
    return [caller.principal or "anonymous"] * len(x)


def _aware_columns(params: BindParams[Any]) -> dict[str, str]:
    columns = {"id": "int64", "greeting": "utf8", "value": "float64"}
    return {**columns, "details": "utf8"} if params.settings["vgi_verbose_mode"] else columns


@table(columns=_aware_columns, cardinality=lambda args: args.count, required_settings=["vgi_verbose_mode"])
def settings_aware(
    count: Count, greeting: Annotated[str, Setting()], multiplier: Annotated[int, Setting()]
) -> Iterator[dict[str, Any]]:
    """Generates data demonstrating settings are passed"""
    yield {
        "id": range(count),
        "greeting": [greeting] * count,
        "value": [row * 2.5 * multiplier for row in range(count)],
        "details": [f"row_{row}" for row in range(count)],  # left out unless it was bound
    }


@table(columns={"n": "int64", "label": "utf8"}, cardinality=lambda args: args.count)
def struct_settings(count: Count, config: Annotated[dict[str, Any] | None, Setting()]) -> Iterator[dict[str, Any]]:
    """Generate a sequence configured by a struct setting"""
    start, step, label = (config or {"start": 0, "step": 1, "label": "row"}).values()
    yield {
        "n": [start + row * step for row in range(count)],
        "label": [f"{label}_{row}" for row in range(count)],
    }


class SecretDemo(TableFunctionGenerator[None]):
    """Lists the fields of a secret that is asked for at bind"""

    @classmethod
    def on_bind(cls, params: BindParams[None]) -> dict[str, str]:
        params.secrets.get(SECRET)  # the client is asked, and binds again with the answer
        return {"key": "utf8", "value": "utf8", "arrow_type": "utf8"}

    @classmethod
    def process(cls, params: ProcessParams[None], state: None, out: OutputCollector) -> None:
        secret = params.secrets.find(SECRET)
        if secret is not None:
            values = [None if value is None else str(value) for value in secret.values()]
            out.emit({"key": list(secret), "value": values, "arrow_type": [str(secret.types[key]) for key in secret]})
        out.finish()


@table(columns={"scope": "utf8", "found": "bool", "secret_keys": "utf8"})
def scoped_secret_demo(
    path: Path, secret: Annotated[SecretValues | None, Secret(SECRET, scope_from="path")]
) -> Iterator[dict[str, Any]]:
    """Looks up the secret whose scope covers a path"""
    yield {"scope": [path], "found": [secret is not None], "secret_keys": [",".join(secret or ())]}


class PathArguments(NamedTuple):
    path: Path


class MultiSecretDemo(TableFunctionGenerator[PathArguments]):
    """Asks for several secrets at once and takes the one that covers a path best"""

    @classmethod
    def on_bind(cls, params: BindParams[PathArguments]) -> dict[str, str]:
        for scope in ("s3://bucket-a/", "s3://bucket-b/"):
            params.secrets.get(SECRET, scope)
        return {"api_key": "utf8"}

    @classmethod
    def process(cls, params: ProcessParams[PathArguments], state: None, out: OutputCollector) -> None:
        best = params.secrets.find(SECRET, params.args.path)
        out.emit({"api_key": [best.get("api_key", "") if best is not None else ""]})
        out.finish()


FUNCTIONS: Final = [
    multiply_by_setting,
    scale_by_setting,
    return_secret_value,
    secret_field,
    whoami,
    settings_aware,
    struct_settings,
    SecretDemo,
    scoped_secret_demo,
    MultiSecretDemo,
]
