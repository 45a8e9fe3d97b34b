"""The client: starts a worker and calls it."""

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final

from vgi_fast._core import RecordBatch, Schema
from vgi_fast.client.catalog import Catalog, typed_value
from vgi_fast.client.channels import EXIT_WAIT_S, Channel, ProcessChannel, SocketChannel, is_socket_location
from vgi_fast.client.connection import EMPTY_SCHEMA, Connection, Stream
from vgi_fast.client.messages import LogRecord
from vgi_fast.client.values import row_blob
from vgi_fast.errors import ArgumentError, ProtocolError
from vgi_fast.wire import keys, methods, records

KEPT_LOGS: Final = 1000


class Client:
    """A worker and one connection to it. One thread at a time.

    ``command`` is an argv list, a shell command line as in DuckDB's LOCATION, ``unix://PATH`` or
    ``tcp://HOST:PORT`` of a worker that listens, ``launch:COMMAND`` for one that is shared with DuckDB and other
    processes, or a ``Channel``. ``timeout_s`` bounds each exchange of messages; a worker that is later is ended.
    Logs go to ``on_log``, else to ``logs``. With ``shared_memory_bytes`` larger batches (of
    ``min_shared_batch_bytes``, as in DuckDB 128 KiB) travel through a segment of that size, where the worker can.

        with Client(["python", "worker.py"]) as client:
            catalog = client.attach()
            catalog.scalar("double", {"x": [1, 2, 3]})
    """

    def __init__(
        self,
        command: str | Sequence[str] | Channel,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        timeout_s: float | None = None,
        on_log: Callable[[LogRecord], None] | None = None,
        inherit_stderr: bool = False,
        shared_memory_bytes: int | None = None,
        min_shared_batch_bytes: int | None = None,
    ) -> None:
        self.logs: deque[LogRecord] = deque(maxlen=KEPT_LOGS)
        if isinstance(command, str) and is_socket_location(command):
            command = SocketChannel(command)
        elif isinstance(command, str) and command.startswith("launch:"):
            from vgi_fast.client.launcher import LAUNCH_PREFIX, LaunchChannel, Launcher

            command = LaunchChannel(Launcher(command.removeprefix(LAUNCH_PREFIX), env=dict(env or {}), cwd=cwd))
        elif isinstance(command, (str, Sequence)):
            command = ProcessChannel(command, env=env, cwd=cwd, inherit_stderr=inherit_stderr)
        self.connection = Connection(
            command,
            on_log or self.logs.append,
            timeout_s=timeout_s,
            shared_memory_bytes=shared_memory_bytes,
            min_shared_batch_bytes=min_shared_batch_bytes,
        )
        self.exit_status: int | None = None
        """Of a worker process, once the client is closed."""

    # -- protocol -------------------------------------------------------------------------------

    def call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """A unary call of a declared method. A record comes back as dict, a list of records as list, else bytes.

        ``params`` are the method's parameters, or the fields of its request record.
        """
        declared = methods.method(method)
        values = dict(params or {})
        if declared.request is not None:
            values = {"request": declared.request.encode(values)}
        _, answer = self.connection.call(method, _request(declared.params, values))
        if not declared.has_return:
            return None
        if answer is None:
            raise ProtocolError(f"the answer to {method!r} has no result")
        result = answer.row(0)["result"]
        if declared.response is None:
            return result
        row = declared.response.decode(result)
        if declared.response_item is None:
            return row
        return [declared.response_item.decode(item) for item in row["items"] or ()]

    def call_raw(
        self, method: str, request: RecordBatch | None = None, metadata: Mapping[bytes, bytes] | None = None
    ) -> tuple[Schema, RecordBatch | None]:
        """Any request, declared or not; ``metadata`` replaces the request's own."""
        return self.connection.call(method, request or _request(EMPTY_SCHEMA, {}), metadata)

    def init(self, request: Mapping[str, Any], *, input_schema: Schema = EMPTY_SCHEMA) -> Stream:
        """Open the stream of a bound function: fields of InitRequest, and what will be sent to it."""
        declared = methods.method("init")
        assert declared.request is not None
        values = {"request": declared.request.encode(request)}
        return self.connection.open("init", _request(declared.params, values), input_schema)

    def transport_options(self, offered: Mapping[bytes, bytes] | None = None) -> dict[str, str]:
        """What both sides can do beyond plain pipes (section 7 of the RPC document)."""
        metadata = self.connection.request_metadata(keys.TRANSPORT_OPTIONS_METHOD) | dict(offered or {})
        _, answer = self.call_raw(keys.TRANSPORT_OPTIONS_METHOD, metadata=metadata)
        return _metadata_text(answer)

    def describe_protocol(self) -> tuple[dict[str, str], list[dict[str, Any]]]:
        """The answer to ``__describe__``: its metadata and a row for each method. Workers may decline it."""
        _, answer = self.call_raw(keys.DESCRIBE_METHOD)
        rows = [] if answer is None else [answer.row(index) for index in range(answer.num_rows)]
        return _metadata_text(answer), rows

    # -- catalogs -------------------------------------------------------------------------------

    def catalogs(self) -> list[dict[str, Any]]:
        """Records CatalogInfo of what the worker offers."""
        return list(self.call("catalog_catalogs"))

    def attach(
        self,
        name: str | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        data_version_spec: str | None = None,
        implementation_version: str | None = None,
    ) -> Catalog:
        """Attach a catalog; without a name, the only one."""
        if name is None:
            name = self._only_catalog()
        request = {
            "name": name,
            "options": self._options_blob(name, options) if options else None,
            "data_version_spec": data_version_spec or None,
            "implementation_version": implementation_version or None,
        }
        return Catalog(self, name, self.call("catalog_attach", request))

    def describe(self) -> list[Catalog]:
        """Every catalog of the worker that needs no options, attached."""
        return [self.attach(info["name"]) for info in self.catalogs() if not required_options(info)]

    # -- life -----------------------------------------------------------------------------------

    def close(self, wait_s: float = EXIT_WAIT_S) -> int | None:
        """End the input, wait for the worker, end it if it stays. The exit status of a process."""
        status = self.connection.close(wait_s)
        if status is not None:
            self.exit_status = status
        return self.exit_status

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _only_catalog(self) -> str:
        names = [info["name"] for info in self.catalogs()]
        if len(names) != 1:
            listed = f" ({', '.join(names)})" if names else ""
            raise ArgumentError(f"the worker exposes {len(names)} catalogs{listed}", hint="name the one to attach")
        return str(names[0])

    def _options_blob(self, name: str, options: Mapping[str, Any]) -> bytes | None:
        infos = [info for info in self.catalogs() if info["name"] == name]
        if not infos:
            raise ArgumentError(f"the worker exposes no catalog named {name!r}")
        specs = [records.ATTACH_OPTION_SPEC.decode(spec) for spec in infos[0]["attach_option_specs"] or ()]
        by_name = {spec["name"].lower(): spec for spec in specs}
        encoded = {}
        for option, value in options.items():
            spec = by_name.get(option.lower())
            if spec is None:
                accepted = ", ".join(spec["name"] for spec in specs) or "(none)"
                raise ArgumentError(
                    f"Unknown ATTACH option '{option.lower()}' for catalog '{name}'. Accepted options: {accepted}"
                )
            encoded[spec["name"]] = typed_value(spec, {spec["name"]: value}, f"option {option!r}")
        return row_blob(encoded)


def required_options(info: Mapping[str, Any]) -> list[str]:
    """Attach options without which a catalog cannot be attached, of a record CatalogInfo."""
    specs = map(records.ATTACH_OPTION_SPEC.decode, info["attach_option_specs"] or ())
    return [spec["name"] for spec in specs if spec["required"]]


def _request(schema: Schema, values: Mapping[str, Any]) -> RecordBatch:
    # Without parameters DuckDB still sends one row.
    return RecordBatch.from_row(schema, values) if len(schema) else RecordBatch(schema, [], 1)


def _metadata_text(batch: RecordBatch | None) -> dict[str, str]:
    metadata = {} if batch is None else batch.metadata
    return {key.decode(): value.decode("utf-8", "replace") for key, value in metadata.items()}
