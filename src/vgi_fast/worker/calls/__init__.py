"""Handlers by method name, one module per group of methods.

A handler takes the call and its parameters by name, and gives the bytes of the result record, a constant
``Reply``, or None for void and absent results. Built-in methods answer by themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from vgi_fast.wire import methods
from vgi_fast.worker.calls import bind, builtin, catalog, planning, stream

if TYPE_CHECKING:
    from vgi_fast.worker.dispatch import Call, Reply

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


def _later(table: dict[str, Any], module: str, prefix: str) -> None:
    """Handlers whose module is imported by the first call: a worker seldom has functions of every kind."""

    def load(call: Call, given: Any) -> Any:
        found: dict[str, Any] = import_module(f"{__name__}.{module}").HANDLERS
        table.update(found)
        return found[call.method.name](call, given)

    table.update((name, load) for name in methods.names() if name.startswith(prefix))


_later(HANDLERS, "buffering", "table_buffering_")
_later(HANDLERS, "copying", "catalog_copy_")
_later(RECORD_HANDLERS, "aggregate", "aggregate_")
_later(RECORD_HANDLERS, "streaming", "aggregate_streaming_")


def load_all() -> None:
    """For a process that others are forked from."""
    from vgi_fast.worker.calls import aggregate, buffering, copying, inout, streaming

    HANDLERS.update({**buffering.HANDLERS, **copying.HANDLERS})
    RECORD_HANDLERS.update({**aggregate.HANDLERS, **streaming.HANDLERS})
    stream.PHASED.update({**inout.PHASED, **buffering.PHASED, **copying.PHASED})
