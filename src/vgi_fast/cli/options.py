"""Options and values that several commands share."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])


def worker_options(function: _F) -> _F:
    """How to attach: ``--catalog``, ``--option`` and ``--timeout``."""
    for option in (
        click.option("--timeout", "timeout_s", type=float, help="Seconds that each answer may take."),
        click.option("--option", "options", multiple=True, metavar="K=V", help="Attach option; repeatable."),
        click.option("--catalog", help="Catalog to attach; the only one by default."),
    ):
        function = option(function)
    return function


def read_value(text: str) -> Any:
    """A JSON value where the text is one, else the text itself.

    >>> read_value("2.5"), read_value("[1, 2]"), read_value("null"), read_value("JFK")
    (2.5, [1, 2], None, 'JFK')
    """
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_pairs(texts: Sequence[str], option: str) -> dict[str, Any]:
    """
    >>> read_pairs(["a=1", "b=x=y"], "--named")
    {'a': 1, 'b': 'x=y'}
    """
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"expected NAME=VALUE, got {text!r}", param_hint=option)
        pairs[name] = read_value(value)
    return pairs
