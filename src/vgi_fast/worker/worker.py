"""``Worker``: what an author's program builds and runs."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, overload

from vgi_fast.catalog.descriptors import Catalog
from vgi_fast.catalog.registry import Registry, is_object, specs_of
from vgi_fast.errors import DefinitionError, TransportError
from vgi_fast.functions.scalar import scalar_spec
from vgi_fast.functions.spec import attach_spec
from vgi_fast.functions.table import table_spec
from vgi_fast.wire.arrow import load_numpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Unpack

    from vgi_fast.catalog.interface import CatalogInterface
    from vgi_fast.catalog.specs import SecretType, SettingSpec
    from vgi_fast.functions.aggregates.declared import AggregateRegistrar
    from vgi_fast.functions.over_tables.buffering import BufferingOptions
    from vgi_fast.functions.over_tables.inout import InOutOptions
    from vgi_fast.functions.scalar import ScalarOptions
    from vgi_fast.functions.spec import FunctionSpec
    from vgi_fast.functions.table import TableOptions
    from vgi_fast.transports.base import Connection
    from vgi_fast.worker.commandline import Options
    from vgi_fast.worker.dispatch import Service
    from vgi_fast.worker.log import Log

__all__ = ["Worker", "run_by"]

F = TypeVar("F", bound="Callable[..., Any]")

_INTERRUPT = 2
_EXIT_INTERRUPTED = 130

_runner: Callable[[Worker, Sequence[str] | None], None] | None = None


@contextmanager
def run_by(runner: Callable[[Worker, Sequence[str] | None], None]) -> Iterator[None]:
    """The next ``Worker.run`` of this process is ``runner``'s, which may call it again."""
    global _runner
    _runner = runner
    try:
        yield
    finally:
        _runner = None


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

    ``template=False`` keeps ``vgi-fast-run`` from serving it out of a template process (see ``vgi_fast.run``).
    """

    def __init__(
        self,
        name: str = "worker",
        *,
        functions: Iterable[Any] = (),
        catalogs: Iterable[Catalog | CatalogInterface] = (),
        settings: Iterable[SettingSpec] = (),
        secret_types: Iterable[SecretType] = (),
        comment: str | None = None,
        tags: Mapping[str, str] | None = None,
        template: bool = True,
    ) -> None:
        self.name = name
        self.template = template
        self._preloads: list[Callable[[], object]] = []
        self._workers: int | None = None
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
        """Add a decorated function, a function class, or a table, view, macro or index to the worker's own catalog."""
        if is_object(source):
            catalog = self._own_catalog()
            self._registry.add(catalog, catalog.default_schema, source)
            self._service = None
            return
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

    def add_table(self, name: str, data: Any, *, schema: str | None = None, **options: Any) -> None:
        """A catalog table from data in one line: ``worker.add_table("flights", "flights/*.parquet")``.

        ``data`` is a pandas, polars or pyarrow table, a path, a directory, an object with ``schema()`` and ``scan()``,
        or a function that gives a table when it is first asked for. Options are those of ``data_table``.
        """
        from vgi_fast.sources.data import data_table

        catalog = self._own_catalog()
        self._registry.add(catalog, schema or catalog.default_schema, data_table(name, data, **options))
        self._service = None

    @property
    def aggregate(self) -> AggregateRegistrar:
        """As the free-standing ``aggregate``, and registers at once."""
        from vgi_fast.functions.aggregates.declared import AggregateRegistrar

        return AggregateRegistrar(self._add_spec)

    @overload
    def table_in_out(self, function: F, /) -> F: ...
    @overload
    def table_in_out(self, /, **options: Unpack[InOutOptions]) -> Callable[[F], F]: ...
    def table_in_out(self, function: Any = None, /, **options: Any) -> Any:
        """As the free-standing ``@table_in_out``, and registers at once."""
        from vgi_fast.functions.over_tables.inout import in_out_spec

        return self._registering(in_out_spec, "table_in_out", function, options)

    @overload
    def row_transform(self, function: F, /) -> F: ...
    @overload
    def row_transform(self, /, **options: Unpack[InOutOptions]) -> Callable[[F], F]: ...
    def row_transform(self, function: Any = None, /, **options: Any) -> Any:
        """As the free-standing ``@row_transform``, and registers at once."""
        from vgi_fast.functions.over_tables.row_transform import row_transform_spec

        return self._registering(row_transform_spec, "row_transform", function, options)

    @overload
    def table_buffering(self, function: F, /) -> F: ...
    @overload
    def table_buffering(self, /, **options: Unpack[BufferingOptions]) -> Callable[[F], F]: ...
    def table_buffering(self, function: Any = None, /, **options: Any) -> Any:
        """As the free-standing ``@table_buffering``, and registers at once."""
        from vgi_fast.functions.over_tables.buffering import buffering_spec

        return self._registering(buffering_spec, "table_buffering", function, options)

    def copy_from(self, format: str, **options: Any) -> Callable[[F], F]:
        """As the free-standing ``@copy_from``, and registers at once."""
        from vgi_fast.functions.over_tables.copying import copy_from_spec

        found: Callable[[F], F] = self._registering(copy_from_spec, "copy_from", None, {**options, "format": format})
        return found

    def copy_to(self, format: str, **options: Any) -> Callable[[F], F]:
        """As the free-standing ``@copy_to``, and registers at once."""
        from vgi_fast.functions.over_tables.copying import copy_to_spec

        found: Callable[[F], F] = self._registering(copy_to_spec, "copy_to", None, {**options, "format": format})
        return found

    def _registering(self, make: Callable[[Any, Any], FunctionSpec], name: str, function: Any, options: Any) -> Any:
        def decorate(function: F) -> F:
            spec = make(function, options)
            self._add_spec(spec)
            attach_spec(function, spec)
            return function

        return decorate if function is None else decorate(_function(function, name))

    def register_ufunc(self, name: str, ufunc: Any, types: str, **options: Any) -> None:
        """A NumPy ufunc as scalar function: ``register_ufunc("hypot", np.hypot, "float64, float64 -> float64")``.

        No Python code runs per batch. By name, ``"numpy.hypot"``, it is imported when first called, so that NumPy
        takes no part in the start of the worker. ``docs`` are the texts of the arguments.
        """
        from vgi_fast.functions.compiled import spec_from_ufunc

        self._add_spec(spec_from_ufunc(name, ufunc, types, options))

    def register_kernel(
        self, name: str, kernel: Any, types: str, *, signature: str | None = None, **options: Any
    ) -> None:
        """A compiled C function as scalar function, from its address, a PyCapsule or a Numba cfunc.

        ``signature`` is C's (``"double(double, double)"``, derived from ``types`` by default) or ``"loop"``
        for a NumPy inner loop. No Python code runs per batch.
        """
        from vgi_fast.functions.compiled import spec_from_kernel

        self._add_spec(spec_from_kernel(name, kernel, types, signature, options))

    def preload(self, function: F) -> F:
        """Register a function without parameters that loads what calls will need, such as models and tables.

        It runs once, before the worker serves; under ``vgi-fast-run`` once for all processes that share a template,
        which then share the memory of what it loaded.

            @worker.preload
            def load_model():
                global model
                model = read_model("model.bin")
        """
        if not callable(function):
            raise DefinitionError(f"@worker.preload takes a function, got {function!r}")
        self._preloads.append(function)
        return function

    def service(self, *, describe: bool = False, log: Log | None = None) -> Service:
        """The request handler over everything registered so far. Runs what has to be preloaded."""
        from vgi_fast.worker.dispatch import Service

        pending, self._preloads = self._preloads, []
        for function in pending:
            function()
        if self._service is None or describe != self._service.describe:
            self._registry.check()
            self._service = Service(self._registry, name=self.name, describe=describe)
            if self._registry.delivers_numpy():
                self._service.prepare = load_numpy
        if log is not None:
            self._service.log = log
        return self._service

    def warm_up(self) -> None:
        """Do now what the first calls would have to wait for; for a process that others are forked from."""
        from vgi_fast.worker.warmup import warm_up

        _limit_blas_threads()
        warm_up(self.service(), self._registry)

    def renew(self) -> None:
        """In a forked process: what tells it apart from its parent."""
        if self._service is not None:
            self._service.renew()

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

    def _listen(self, options: Options) -> int:
        """Serve a socket until it was idle for long enough, or, in several processes, until a signal: its number."""
        from functools import partial
        from threading import current_thread, main_thread

        from vgi_fast.pool.cpus import usable_cpus
        from vgi_fast.transports import sockets
        from vgi_fast.worker.dispatch import Session

        service = self.service(describe=options.describe, log=options.log)
        if options.unix is not None:
            listener = sockets.listen_unix(options.unix)
        else:
            assert options.tcp is not None
            listener = sockets.listen_tcp(*options.tcp)
        pool = options.pool
        assert pool is not None  # there were flags
        for interface in self._registry.interfaces.values():
            if interface.one_process:
                if pool.workers not in (None, 1) or not pool.threaded or pool.recycles:
                    listener.close()
                    raise TransportError(f"{interface!r} needs one process that stays: no other options of a pool")
                pool.workers = 1
        is_single = (pool.workers or usable_cpus()) == 1 and pool.threaded and not pool.recycles
        # Only the main thread gets to know of signals.
        if is_single or current_thread() is not main_thread():
            sockets.serve(listener, options.idle_timeout_s, lambda connection: Session(service, connection).run())
            service.end()
            return 0
        from vgi_fast.pool.supervisor import Supervisor

        return Supervisor(
            listener,
            pool,
            partial(Session, service),
            idle_timeout_s=options.idle_timeout_s,
            log=options.log,
            prepare=partial(_prepare, service),
        ).run()

    def run(self, argv: Sequence[str] | None = None, *, workers: int | None = None) -> None:
        """The program's main: obey the command line, serve, and leave with the exit code of section 10.5.

        ``argv`` is without the program's name; by default that of the process. On a socket the worker runs in as
        many processes as ``--workers`` says, else as ``workers`` says, else one for each processor; 1 is for
        workers whose calls share variables.
        """
        import gc

        from vgi_fast.worker.commandline import parse

        global _runner
        if workers is not None:
            self._workers = workers
        if _runner is not None:
            runner, _runner = _runner, None
            runner(self, argv)
            return
        options = parse(list(sys.argv[1:] if argv is None else argv), workers=self._workers)
        options.notice(self.name)
        try:
            gc.freeze()  # what was imported stays; collections while serving need not look at it
            _limit_blas_threads()
            options.log.write("INFO", "vgi.worker", "worker_starting", name=self.name)
            if options.unix is not None or options.tcp is not None:
                if self._listen(options) == _INTERRUPT:
                    raise SystemExit(_EXIT_INTERRUPTED)
            else:
                self.serve(describe=options.describe, log=options.log)
        except KeyboardInterrupt:
            raise SystemExit(_EXIT_INTERRUPTED) from None
        except TransportError as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            raise SystemExit(1) from None


def _prepare(service: Service) -> None:
    """What the sessions would prepare, in the process that others are forked from."""
    import gc

    from vgi_fast.worker.calls import load_all

    load_all()
    if service.prepare is not None:
        service.prepare()
        service.prepare = None
    gc.freeze()


def _limit_blas_threads() -> None:
    """DuckDB starts a process for each of its threads; a pool of BLAS threads in each is start-up time."""
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _function(given: Any, decorator: str) -> Any:
    if not callable(given):
        raise DefinitionError(f"@worker.{decorator} takes a function, got {given!r}; options are keywords")
    return given
