"""``Worker``: what an author's program builds and runs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TypeVar, overload

from vgi_fast.catalog.descriptors import Catalog
from vgi_fast.catalog.registry import Registry, specs_of
from vgi_fast.errors import DefinitionError, TransportError
from vgi_fast.functions.aggregate_declared import AggregateRegistrar
from vgi_fast.functions.scalar import scalar_spec, spec_from_kernel, spec_from_ufunc
from vgi_fast.functions.spec import attach_spec
from vgi_fast.functions.table import table_spec
from vgi_fast.wire.arrow import load_numpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Unpack

    from vgi_fast.catalog.descriptors import SecretType, SettingSpec
    from vgi_fast.functions.scalar import ScalarOptions
    from vgi_fast.functions.spec import FunctionSpec
    from vgi_fast.functions.table import TableOptions
    from vgi_fast.transports.base import Connection
    from vgi_fast.worker.commandline import Options
    from vgi_fast.worker.dispatch import Service
    from vgi_fast.worker.log import Log

__all__ = ["Worker"]

F = TypeVar("F", bound="Callable[..., Any]")

_EXIT_INTERRUPTED = 130


class Worker:
    """Functions and catalogs, served to DuckDB.

    Functions given here or added by the decorator methods belong to a catalog of the worker's name; further
    catalogs stand beside it. Without functions of its own and with ``catalogs``, there is no such catalog.

    >>> from vgi_fast import Int64, Worker
    >>> worker = Worker("demo")
    >>> @worker.scalar
    ... def add_one(x: Int64) -> Int64:
    ...     return x + 1
    >>> worker.catalogs
    [Catalog('demo', schemas=['main'])]
    """

    def __init__(
        self,
        name: str = "worker",
        *,
        functions: Iterable[Any] = (),
        catalogs: Iterable[Catalog] = (),
        settings: Iterable[SettingSpec] = (),
        secret_types: Iterable[SecretType] = (),
        comment: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._registry = Registry()
        self._own: Catalog | None = None
        self._own_options: dict[str, Any] = {
            "settings": list(settings),
            "secret_types": list(secret_types),
            "comment": comment,
            "tags": tags,
        }
        self._service: Service | None = None
        given = list(catalogs)
        for catalog in given:
            self._registry.add_catalog(catalog)
        listed = list(functions)
        if listed or not given or any(self._own_options.values()):
            self._own_catalog()
        for source in listed:
            self.add(source)

    @property
    def catalogs(self) -> list[Catalog]:
        return list(self._registry.catalogs.values())

    def _own_catalog(self) -> Catalog:
        if self._own is None:
            self._own = Catalog(self.name, **self._own_options)
            self._registry.add_catalog(self._own)
        return self._own

    def add(self, source: Any) -> None:
        """Add a decorated function or a function class to the worker's own catalog."""
        for spec in specs_of(source):
            self._add_spec(spec)

    def _add_spec(self, spec: FunctionSpec) -> None:
        catalog = self._own_catalog()
        self._registry.add(catalog, spec.options.schema or catalog.default_schema, spec)
        self._service = None

    @overload
    def scalar(self, function: F, /) -> F: ...
    @overload
    def scalar(self, /, **options: Unpack[ScalarOptions]) -> Callable[[F], F]: ...
    def scalar(self, function: Any = None, /, **options: Any) -> Any:
        """As the free-standing ``@scalar``, and registers at once."""

        def decorate(function: F) -> F:
            spec = scalar_spec(function, options)
            self._add_spec(spec)
            attach_spec(function, spec)
            return function

        return decorate if function is None else decorate(_function(function, "scalar"))

    @overload
    def table(self, function: F, /) -> F: ...
    @overload
    def table(self, /, **options: Unpack[TableOptions]) -> Callable[[F], F]: ...
    def table(self, function: Any = None, /, **options: Any) -> Any:
        """As the free-standing ``@table``, and registers at once."""

        def decorate(function: F) -> F:
            spec = table_spec(function, options)
            self._add_spec(spec)
            attach_spec(function, spec)
            return function

        return decorate if function is None else decorate(_function(function, "table"))

    @property
    def aggregate(self) -> AggregateRegistrar:
        """As the free-standing ``aggregate``, and registers at once."""
        return AggregateRegistrar(self._add_spec)

    def register_ufunc(self, name: str, ufunc: Any, types: str, **options: Any) -> None:
        """A NumPy ufunc as scalar function: ``register_ufunc("hypot", np.hypot, "float64, float64 -> float64")``.

        No Python code runs per batch. By name, ``"numpy.hypot"``, it is imported when first called, so that NumPy
        takes no part in the start of the worker. ``docs`` are the texts of the arguments.
        """
        self._add_spec(spec_from_ufunc(name, ufunc, types, options))

    def register_kernel(
        self, name: str, kernel: Any, types: str, *, signature: str | None = None, **options: Any
    ) -> None:
        """A compiled C function as scalar function, from its address, a PyCapsule or a Numba cfunc.

        ``signature`` is C's (``"double(double, double)"``, derived from ``types`` by default) or ``"loop"``
        for a NumPy inner loop. No Python code runs per batch.
        """
        self._add_spec(spec_from_kernel(name, kernel, types, signature, options))

    def service(self, *, describe: bool = False, log: Log | None = None) -> Service:
        """The request handler over everything registered so far."""
        from vgi_fast.worker.dispatch import Service

        if self._service is None or describe != self._service.describe or log is not None:
            self._registry.check()
            self._service = Service(self._registry, name=self.name, describe=describe, log=log)
            if self._registry.delivers_numpy():
                self._service.prepare = load_numpy
        return self._service

    def serve(self, connection: Connection | None = None, *, describe: bool = False, log: Log | None = None) -> None:
        """Serve one connection, standard input and output by default, until the peer leaves."""
        from vgi_fast.worker.dispatch import Session

        service = self.service(describe=describe, log=log)
        if connection is None:
            from vgi_fast.transports.stdio import StdioConnection

            connection = StdioConnection.take()
        try:
            Session(service, connection).run()
        finally:
            connection.close()
            service.end()

    def _listen(self, options: Options) -> None:
        """Serve a socket until it was idle for long enough."""
        from vgi_fast.transports import sockets
        from vgi_fast.worker.dispatch import Session

        service = self.service(describe=options.describe, log=options.log)
        if options.unix is not None:
            listener = sockets.listen_unix(options.unix)
        else:
            assert options.tcp is not None
            listener = sockets.listen_tcp(*options.tcp)
        sockets.serve(
            listener,
            options.idle_timeout_s,
            lambda connection: Session(service, connection).run(),
        )
        service.end()

    def run(self, argv: Sequence[str] | None = None) -> None:
        """The program's main: obey the command line, serve, and leave with the exit code of section 10.5.

        ``argv`` is without the program's name; by default that of the process.
        """
        import gc

        from vgi_fast.worker.commandline import parse

        options = parse(list(sys.argv[1:] if argv is None else argv))
        options.notice(self.name)
        try:
            gc.freeze()  # what was imported stays; collections while serving need not look at it
            if "numpy" not in sys.modules:
                # DuckDB starts a process for each of its threads; a pool of BLAS threads in each is start-up time.
                os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            options.log.write("INFO", "vgi.worker", "worker_starting", name=self.name)
            if options.unix is not None or options.tcp is not None:
                self._listen(options)
            else:
                self.serve(describe=options.describe, log=options.log)
        except KeyboardInterrupt:
            raise SystemExit(_EXIT_INTERRUPTED) from None
        except TransportError as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            raise SystemExit(1) from None


def _function(given: Any, decorator: str) -> Any:
    if not callable(given):
        raise DefinitionError(f"@worker.{decorator} takes a function, got {given!r}; options are keywords")
    return given
