"""Scalar functions without Python code for a batch: ufuncs and compiled C functions."""

from __future__ import annotations

from typing import Any, Final

from vgi_fast.errors import DefinitionError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions.scalar import ScalarSpec
from vgi_fast.functions.signature import BY_POSITION, COLUMN, CONST, Parameter, Signature, Slot
from vgi_fast.functions.spec import FunctionOptions
from vgi_fast.wire.arrow import DataType, Kernel

__all__ = ["docstring_line", "spec_from_kernel", "spec_from_ufunc", "ufunc_named"]


def spec_from_ufunc(name: str, ufunc: Any, types: str, options: dict[str, Any]) -> ScalarSpec:
    """A NumPy ufunc as a scalar function: no Python code runs per batch.

    One given by name, ``"numpy.hypot"``, is imported and checked when it is first called.
    """
    where = f"scalar function '{name}'"
    signature, result = _text_signature(types, where, options.pop("docs", {}))
    if type(ufunc) is not str:
        _check_ufunc(ufunc, signature, where)
        options.setdefault("description", docstring_line(ufunc))
    checked = FunctionOptions(where, options)
    return ScalarSpec(name, signature, checked, ufunc, where, target=ufunc, result_type=result)


def ufunc_named(path: str, signature: Signature, where: str) -> Any:
    from importlib import import_module

    module, _, name = path.rpartition(".")
    try:
        ufunc = getattr(import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise DefinitionError(f"{where}: there is no ufunc '{path}': {error}") from error
    _check_ufunc(ufunc, signature, where)
    return ufunc


def _check_ufunc(ufunc: Any, signature: Signature, where: str) -> None:
    if not hasattr(ufunc, "nin") or not hasattr(ufunc, "nout"):
        raise DefinitionError(f"{where}: expected a NumPy ufunc, got {type(ufunc).__name__}")
    if ufunc.nin != len(signature.slots) or ufunc.nout != 1:
        raise DefinitionError(
            f"{where}: {ufunc.__name__} takes {ufunc.nin} and gives {ufunc.nout}, "
            f"but the signature has {len(signature.slots)} arguments"
        )


def spec_from_kernel(name: str, pointer: Any, types: str, signature: str | None, options: dict[str, Any]) -> ScalarSpec:
    """A compiled C function as a scalar function: no Python code runs per batch.

    Without ``signature`` it is derived from the types: ``float64, float64 -> float64`` is
    ``double(double, double)``.
    """
    where = f"scalar function '{name}'"
    declared, result = _text_signature(types, where, options.pop("docs", {}))
    kernel = Kernel(pointer, signature or _c_signature(declared, result, where), keep_alive=pointer)
    if len(declared.columns) != len(declared.slots):
        raise DefinitionError(f"{where}: a kernel takes columns only, but the signature is '{types}'")
    if kernel.arity not in (0, len(declared.columns)):
        raise DefinitionError(f"{where}: the kernel takes {kernel.arity} inputs, but the signature is '{types}'")
    checked = FunctionOptions(where, options)
    return ScalarSpec(name, declared, checked, kernel, where, target=kernel, result_type=result)


def docstring_line(ufunc: Any) -> str:
    """A ufunc's docstring begins with its call signature; the sentence follows."""
    paragraphs = [part.strip() for part in (ufunc.__doc__ or "").split("\n\n")]
    texts = [part for part in paragraphs if part and not part.startswith(f"{ufunc.__name__}(")]
    return " ".join(texts[0].split()) if texts else ""


_C_TYPES: Final = {
    "float64": "double",
    "float32": "float",
    "int64": "int64_t",
    "int32": "int32_t",
    "int16": "int16_t",
    "int8": "int8_t",
    "uint64": "uint64_t",
    "uint32": "uint32_t",
    "uint16": "uint16_t",
    "uint8": "uint8_t",
}


def _c_signature(signature: Signature, result: DataType, where: str) -> str:
    kinds = [parameter.type.kind if parameter.type else "any" for parameter in signature.columns]
    for kind in (*kinds, result.kind):
        if kind not in _C_TYPES:
            raise DefinitionError(f"{where}: no C type is known for {kind}; pass signature=")
    return f"{_C_TYPES[result.kind]}({', '.join(_C_TYPES[kind] for kind in kinds)})"


def _text_signature(text: str, where: str, docs: dict[str, str]) -> tuple[Signature, DataType]:
    """``float64, float64 -> float64``; with names and constants: ``x: float64, digits: const int64 -> float64``."""
    left, arrow, right = text.rpartition("->")
    if not arrow or not right.strip():
        raise DefinitionError(f"{where}: '{text}' is not a signature such as 'float64, float64 -> float64'")
    result = ann.explicit_type(right.strip(), where)
    parts = _split_top(left)
    defaults = ("x",) if len(parts) == 1 else tuple(f"x{number + 1}" for number in range(len(parts)))
    slots = []
    for default, part in zip(defaults, parts, strict=True):
        name, type_text = _split_name(part)
        role = CONST if type_text.startswith("const ") else COLUMN
        given = ann.explicit_type(type_text.removeprefix("const ").strip(), where)
        if given is None:
            raise DefinitionError(f"{where}: '{part}' is not a concrete type")
        form = ann.NUMPY if role == COLUMN else ann.VALUE
        parameter = Parameter(name or default, role, given, form, optional=role == COLUMN, docs=lambda: docs)
        slots.append(Slot(parameter.name, BY_POSITION, parameter))
    strangers = sorted(docs.keys() - {slot.python_name for slot in slots})
    if strangers:
        raise DefinitionError(f"{where}: docs has {strangers}, but the signature is '{text}'")
    if result is None:
        raise DefinitionError(f"{where}: the result type must be concrete")
    return Signature(slots, where), result


def _split_top(text: str) -> list[str]:
    """Parts between commas that are outside of brackets."""
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(text):
        depth += letter in "<[("
        depth -= letter in ">])"
        if letter == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def _split_name(part: str) -> tuple[str, str]:
    for index, letter in enumerate(part):
        if letter in "<[(":
            break
        if letter == ":":
            return part[:index].strip(), part[index + 1 :].strip()
    return "", part
