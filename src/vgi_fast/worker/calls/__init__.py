"""Handlers by method name, one module per group of methods.

A handler takes the call and its parameters by name, and gives the bytes of the result record, a constant
``Reply``, or None for void and absent results. Built-in methods answer by themselves.
"""

from __future__ import annotations

from typing import Any

from vgi_fast.worker.calls import bind, buffering, builtin, catalog, copying, inout, planning, stream

HANDLERS: dict[str, Any] = {
    **catalog.HANDLERS,
    **bind.HANDLERS,
    **planning.HANDLERS,
    **stream.HANDLERS,
    **buffering.HANDLERS,
    **copying.HANDLERS,
}
stream.PHASED.update({**inout.PHASED, **buffering.PHASED, **copying.PHASED})
BUILTINS = builtin.BUILTINS
