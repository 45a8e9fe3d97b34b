"""Secrets: requested at bind, chosen by type and scope, never shown."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
import pytest

from tests.fix_memory import Peer, RemoteFailure, tick_stream
from vgi_fast import (
    Array,
    BindParams,
    DataType,
    Field,
    Int64,
    OutputCollector,
    OutputLength,
    ProcessParams,
    RecordBatch,
    Schema,
    Secret,
    SecretValues,
    TableFunctionGenerator,
    Utf8,
    Worker,
)
from vgi_fast.functions.secrets import SecretsAccessor
from vgi_fast.wire.arrow import encode_stream

Connect = Callable[..., Peer]
SECRET_TYPE = "struct<type: utf8, name: utf8, scope: utf8, provider: utf8, word: utf8, port: int32>"


def secrets_blob(*secrets: dict[str, Any]) -> bytes:
    fields = [Field(secret["name"], SECRET_TYPE) for secret in secrets]
    columns = [
        Array.from_pylist([{"type": "vault", "provider": "config", "scope": "", "port": 1, **secret}], SECRET_TYPE)
        for secret in secrets
    ]
    schema = Schema(fields)
    return encode_stream(schema, [RecordBatch(schema, columns, 1)])


def test_a_declared_secret_is_announced_asked_for_and_delivered(peer: Connect) -> None:
    worker = Worker("demo")

    @worker.scalar
    def whisper(rows: Annotated[int, OutputLength()], key: Annotated[SecretValues, Secret("vault")]) -> Utf8:
        assert key.types["port"] == DataType("int32")
        return np.full(rows, f"{key['word']}:{key['port']}", object)

    served = peer(worker)
    (info,) = served.functions("SCALAR_FUNCTION")
    assert info["required_secrets"] == [{"secret_type": "vault", "scope": None, "secret_name": None}]
    call: dict[str, Any] = {"columns": {}, "function_type": "SCALAR"}
    asked = served.bind("whisper", **call)
    assert (asked["lookup_secret_types"], asked["lookup_scopes"], asked["lookup_names"]) == (["vault"], [""], [""])
    with pytest.raises(RemoteFailure, match="(?s)Function 'whisper' needs a secret of type 'vault'.*CREATE SECRET"):
        served.bind("whisper", resolved_secrets_provided=True, **call)
    blob = secrets_blob({"name": "mine", "word": "hush"})
    assert served.bind("whisper", secrets=blob, **call)["lookup_secret_types"] == []
    bind_call = served.bind_request("whisper", secrets=blob, **call)
    batch = RecordBatch(Schema([]), [], 2)
    _, answer = served.exchange(served.init_request(bind_call) + encode_stream(Schema([]), [batch]))
    assert answer.checked().rows() == {"result": ["hush:1", "hush:1"]}


def test_an_optional_secret_may_be_missing(peer: Connect) -> None:
    worker = Worker("demo")

    @worker.scalar
    def known(x: Int64, key: Annotated[SecretValues | None, Secret("vault")]) -> Int64:
        return x if key is None else -x

    served = peer(worker)
    assert served.scalar("known", ("int64", [1]), resolved_secrets_provided=True) == [1]
    assert served.scalar("known", ("int64", [1]), secrets=secrets_blob({"name": "a", "word": "b"})) == [-1]


def test_the_scope_may_come_from_an_argument(peer: Connect) -> None:
    worker = Worker("demo")

    @worker.table(columns={"word": "utf8"})
    def read(path: str, key: Annotated[SecretValues, Secret("vault", scope_from="path")]) -> Iterator[Any]:
        yield {"word": [key["word"]]}

    served = peer(worker)
    asked = served.bind("read", "s3://b/x")
    assert (asked["lookup_secret_types"], asked["lookup_scopes"]) == (["vault"], ["s3://b/x"])
    blob = secrets_blob(
        {"name": "all", "word": "any"},
        {"name": "a", "word": "a", "scope": "s3://a/"},
        {"name": "b", "word": "b", "scope": "s3://b/\ns3://c/"},
    )
    resolved: dict[str, Any] = {"secrets": blob, "resolved_secrets_provided": True}
    assert served.table("read", "s3://b/x", **resolved).rows() == {"word": ["b"]}
    assert served.table("read", "s3://c/x", **resolved).rows() == {"word": ["b"]}
    assert served.table("read", "s3://d/x", **resolved).rows() == {"word": ["any"]}


def test_hooks_ask_and_may_fail_while_they_wait(peer: Connect) -> None:
    class Demo(TableFunctionGenerator[None]):
        @classmethod
        def on_bind(cls, params: BindParams[None]) -> Any:
            first = params.secrets.get("vault", scope="s3://a/")
            params.secrets.get("vault", name="other")
            return {first["word"]: "int64"}  # type: ignore[index]  # None in the first phase

        @classmethod
        def process(cls, params: ProcessParams[None], state: None, out: OutputCollector) -> None:
            out.finish()

    served = peer(Worker("demo", functions=[Demo]))
    asked = served.bind("demo")
    assert asked["lookup_secret_types"] == ["vault", "vault"]
    assert (asked["lookup_scopes"], asked["lookup_names"]) == (["s3://a/", ""], ["", "other"])
    blob = secrets_blob({"name": "mine", "word": "column"})
    bind_call = served.bind_request("demo", secrets=blob, resolved_secrets_provided=True)
    bound = served.bind_blob(bind_call)
    assert Schema.from_bytes(bound["output_schema"]).names == ["column"]
    _, answer = served.exchange(served.init_request(bind_call) + tick_stream(1))
    assert answer.checked().rows() == {"column": []}
    with pytest.raises(RemoteFailure, match="TypeError"):
        served.bind("demo", resolved_secrets_provided=True)


def test_selection() -> None:
    blob = secrets_blob(
        {"name": "long", "word": "1", "scope": "s3://a/b"},
        {"name": "short", "word": "2", "scope": "s3://a"},
        {"name": "other", "word": "3", "type": "else"},
    )
    secrets = SecretsAccessor(blob, resolved=True)
    assert [secret["name"] for secret in secrets] == ["long", "short", "other"]
    assert secrets.get("VAULT", "s3://a/b/c")["name"] == "long"  # type: ignore[index]
    assert secrets.get("vault", "s3://a/c")["name"] == "short"  # type: ignore[index]
    assert secrets.get("vault", "s3://z") is None
    assert secrets.get("vault", name="short")["name"] == "short"  # type: ignore[index]
    assert secrets.get("else") is not None
    assert "1" not in repr(secrets.all()[0])
    assert list(SecretsAccessor(None, resolved=True)) == []
