"""What a docstring says about a function and its parameters, in Google or NumPy style."""

from __future__ import annotations

from typing import Final

_SECTIONS: Final = ("args:", "arguments:", "parameters:")
_OTHER_SECTIONS: Final = (
    "returns:",
    "yields:",
    "raises:",
    "example:",
    "examples:",
    "note:",
    "notes:",
    "see also:",
    "attributes:",
    "warning:",
    "references:",
)


def first_line(text: str | None) -> str:
    """First line that is not blank."""
    for line in (text or "").splitlines():
        if line.strip():
            return line.strip()
    return ""


def parameter_docs(text: str | None) -> dict[str, str]:
    """Text by parameter name; empty when there is no section for parameters.

    >>> parameter_docs('Adds.\\n\\n    Args:\\n        x: The first.\\n        y (int): The\\n            second.\\n')
    {'x': 'The first.', 'y': 'The second.'}
    """
    lines = (text or "").expandtabs().splitlines()
    for index, line in enumerate(lines):
        word = line.strip().lower()
        if word in _SECTIONS:
            return _google(lines[index + 1 :], _indent(line))
        if word == "parameters" and index + 1 < len(lines) and _is_rule(lines[index + 1]):
            return _numpy(lines[index + 2 :], _indent(line))
    return {}


def _google(lines: list[str], section_indent: int) -> dict[str, str]:
    docs: dict[str, list[str]] = {}
    entry_indent: int | None = None
    current: list[str] | None = None
    for line in lines:
        if not line.strip():
            continue
        indent = _indent(line)
        if indent <= section_indent or line.strip().lower() in _OTHER_SECTIONS:
            break
        if entry_indent is None:
            entry_indent = indent
        head, colon, rest = line.strip().partition(":")
        if indent == entry_indent and colon:
            current = docs.setdefault(_bare_name(head), [])
            line = rest
        if current is not None and line.strip():
            current.append(line.strip())
    return _joined(docs)


def _numpy(lines: list[str], section_indent: int) -> dict[str, str]:
    docs: dict[str, list[str]] = {}
    current: list[list[str]] = []
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        indent = _indent(line)
        if indent < section_indent or (index + 1 < len(lines) and _is_rule(lines[index + 1])):
            break
        if indent == section_indent:
            names = line.partition(":")[0].split(",")
            current = [docs.setdefault(_bare_name(name), []) for name in names]
        else:
            for texts in current:
                texts.append(line.strip())
    return _joined(docs)


def _bare_name(head: str) -> str:
    return head.partition("(")[0].strip().lstrip("*")


def _joined(docs: dict[str, list[str]]) -> dict[str, str]:
    return {name: " ".join(texts) for name, texts in docs.items() if texts}


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _is_rule(line: str) -> bool:
    stripped = line.strip()
    return len(stripped) >= 3 and not stripped.strip("-")
