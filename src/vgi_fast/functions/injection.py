"""Values of the parameters that SQL callers do not see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgi_fast.functions.context import Projection
from vgi_fast.functions.signature import AUTH, LOG, PARAMS, PROJECTION, SECRET, SETTING, Injection
from vgi_fast.functions.spec import FunctionSpec

if TYPE_CHECKING:
    from vgi_fast.functions.context import BindParams

__all__ = ["inject"]


def inject(spec: FunctionSpec, injection: Injection, params: BindParams[Any]) -> Any:
    """The value of an injected parameter."""
    if injection.kind == SETTING:
        value = params.settings.get(injection.detail)
        has_default = type(injection.default).__name__ != "_Missing"
        return injection.default if value is None and has_default else value
    if injection.kind == SECRET:
        return spec.secret_for(injection, params)
    if injection.kind == AUTH:
        return params.auth
    if injection.kind == LOG:
        return params.log
    if injection.kind == PARAMS:
        return params
    assert injection.kind == PROJECTION
    return getattr(params, "projection", None) or Projection()
