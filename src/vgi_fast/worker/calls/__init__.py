"""Handlers by method name, one module per group of methods.

A handler takes the call and its parameters by name, and gives the bytes of the result record, a constant
``Reply``, or None for void and absent results. Built-in methods answer by themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.worker.calls import bind, builtin, catalog, planning, stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vgi_fast.worker.dispatch import Call, Reply

_AGGREGATE: Final = (
    "aggregate_bind",
    "aggregate_update",
    "aggregate_combine",
    "aggregate_finalize",
    "aggregate_destructor",
    "aggregate_window_init",
    "aggregate_window",
    "aggregate_window_batch",
    "aggregate_window_destructor",
)
_STREAMING: Final = ("aggregate_streaming_open", "aggregate_streaming_chunk", "aggregate_streaming_close")
_BUFFERING: Final = ("table_buffering_process", "table_buffering_combine", "table_buffering_destructor")

_CHANGES: Final = (
    "catalog_create",
    "catalog_drop",
    "catalog_transaction_commit",
    "catalog_transaction_rollback",
    "catalog_schema_create",
    "catalog_schema_drop",
    "catalog_table_create",
    "catalog_table_drop",
    "catalog_table_comment_set",
    "catalog_table_column_comment_set",
    "catalog_table_rename",
    "catalog_table_column_add",
    "catalog_table_column_drop",
    "catalog_table_column_rename",
    "catalog_table_column_default_set",
    "catalog_table_column_default_drop",
    "catalog_table_column_type_change",
    "catalog_table_not_null_drop",
    "catalog_table_not_null_set",
    "catalog_view_create",
    "catalog_view_drop",
    "catalog_view_rename",
    "catalog_view_comment_set",
    "catalog_macro_create",
    "catalog_macro_drop",
    "catalog_index_create",
    "catalog_index_drop",
)


def change(call: Call, row: dict[str, Any]) -> Reply:
    """Few workers take changes, so what answers them is imported with the first one."""
    from vgi_fast.worker.calls import changes

    own = {"catalog_create": changes.create_catalog, "catalog_drop": changes.drop_catalog}
    return own.get(call.method.name, changes.change)(call, row)


HANDLERS: dict[str, Any] = {
    **catalog.HANDLERS,
    **dict.fromkeys(_CHANGES, change),
    **bind.HANDLERS,
    **planning.HANDLERS,
    **stream.HANDLERS,
}
RECORD_HANDLERS: dict[str, Any] = {}
BUILTINS = builtin.BUILTINS


def _later(table: dict[str, Any], module: str, methods: Iterable[str]) -> None:
    """Handlers whose module is imported by the first call: a worker seldom has functions of every kind."""

    def load(call: Call, given: Any) -> Any:
        found: dict[str, Any] = import_module(f"{__name__}.{module}").HANDLERS
        table.update(found)
        return found[call.method.name](call, given)

    table.update(dict.fromkeys(methods, load))


_later(HANDLERS, "buffering", _BUFFERING)
_later(HANDLERS, "copying", ["catalog_copy_from_formats"])
_later(RECORD_HANDLERS, "aggregate", _AGGREGATE)
_later(RECORD_HANDLERS, "streaming", _STREAMING)


def load_all() -> None:
    """For a process that others are forked from."""
    from vgi_fast.worker.calls import aggregate, buffering, copying, inout, streaming

    HANDLERS.update({**buffering.HANDLERS, **copying.HANDLERS})
    RECORD_HANDLERS.update({**aggregate.HANDLERS, **streaming.HANDLERS})
    stream.PHASED.update({**inout.PHASED, **buffering.PHASED, **copying.PHASED})
