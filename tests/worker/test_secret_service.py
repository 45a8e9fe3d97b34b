"""What the remote secret service answers."""

import pyarrow as pa
import pytest

from vgi_fast import ArgumentError, CallerIdentity
from vgi_fast.catalog.secret_service import SecretAnswer, SecretService
from vgi_fast.wire import records
from vgi_fast.wire.arrow import decode_row

ALICE = CallerIdentity("alice")


class Vault(SecretService):
    def lookup(self, path: str, type: str, auth: CallerIdentity) -> SecretAnswer | None:
        if type != "s3" or not path.startswith("s3://bucket/") or auth.principal != "alice":
            return None
        return SecretAnswer({"key_id": "k", "port": 1, "use_ssl": True}, scope=["s3://bucket/"], ttl_seconds=60)


def test_found() -> None:
    blob = Vault().answer({"path": "s3://bucket/x", "type": "s3"}, ALICE)
    found = records.SECRET_LOOKUP_RESPONSE.decode(blob)
    assert (found["found"], found["secret_type"], found["scope"]) == (True, "s3", ["s3://bucket/"])
    assert decode_row(found["values"]) == {"key_id": "k", "port": 1, "use_ssl": True}
    assert found["redact_keys"] == ["key_id", "port", "use_ssl"]  # everything, unless told otherwise
    assert (found["ttl_seconds"], found["expires_at_unix"], found["provider"], found["name"]) == (60, 0, "", "")


@pytest.mark.parametrize(
    ("row", "auth"),
    [
        ({"path": "s3://other/x", "type": "s3"}, ALICE),
        ({"path": "s3://bucket/x", "type": "gcs"}, ALICE),
        ({"path": "s3://bucket/x", "type": "s3"}, CallerIdentity()),
    ],
)
def test_not_found(row: dict[str, str], auth: CallerIdentity) -> None:
    blob = Vault().answer(row, auth)
    found = records.SECRET_LOOKUP_RESPONSE.decode(blob)
    assert (found["found"], found["values"], found["scope"]) == (False, None, [])
    # Absent values are a null cell in a column that is declared not null.
    schema = pa.ipc.open_stream(blob).schema
    assert not schema.field("values").nullable
    assert [str(schema.field(name).type) for name in ("found", "scope", "values", "ttl_seconds")] == [
        "bool",
        "list<item: string>",
        "binary",
        "int64",
    ]


def test_values_are_plain() -> None:
    with pytest.raises(ArgumentError, match="secret key 'key': expected bool, int, float, str or bytes, got list"):
        SecretAnswer({"key": [1]})
    assert "hush" not in repr(SecretAnswer({"key": "hush"}))
