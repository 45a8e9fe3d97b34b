"""The nested ``Meta`` class of function classes (section 11.4 of the function document)."""

from __future__ import annotations

from typing import Any, Final

from vgi_fast.functions.spec import META_ATTRIBUTES

_SUFFIXES: Final = ("_function", "_func")


def meta_options(cls: type) -> dict[str, Any]:
    """Attributes of ``Meta`` over the class hierarchy, nearest wins; an unknown one is a warning."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        meta = base.__dict__.get("Meta")
        if meta is None:
            continue
        for part in reversed(meta.__mro__):
            for name, value in vars(part).items():
                if not name.startswith("__") and part is not object:
                    found[name] = value
    for name in [name for name in found if name not in META_ATTRIBUTES]:
        import warnings

        del found[name]
        warnings.warn(f"{cls.__qualname__}.Meta: unknown attribute {name!r} is ignored", stacklevel=4)
    return found


def default_name(cls: type) -> str:
    """``AddOneFunction`` gives ``add_one``; a run of capitals is one word, as in ``HTTPGet``, ``http_get``."""
    text = cls.__name__
    letters: list[str] = []
    for index, letter in enumerate(text):
        if letter.isupper() and index and text[index - 1] != "_":
            after_lower = not text[index - 1].isupper()
            before_lower = index + 1 < len(text) and text[index + 1].islower()
            if after_lower or before_lower:
                letters.append("_")
        letters.append(letter.lower())
    name = "".join(letters)
    for suffix in _SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix):
            return name.removesuffix(suffix)
    return name


def hook(cls: type, name: str, base: type) -> Any:
    """The hook as its author wrote it (a classmethod object, say); None for the default of ``base``."""
    for owner in cls.__mro__:
        if name in owner.__dict__:
            return None if owner is base else owner.__dict__[name]
    return None
