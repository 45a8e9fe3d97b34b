"""Short annotations: ``Int64`` for a column of 64-bit integers, ``Const[int]`` for a constant.

At run time a column marker is ``Annotated[NumPy delivery, ColumnType(...)]``, so it merges with further
options (``Annotated[Int64, Param(doc="...")]``) and costs no import; for a type checker it is the
NumPy array that the author receives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np
    import numpy.typing as npt

__all__ = [
    "AnyColumn",
    "Binary",
    "Bool",
    "ColumnType",
    "Const",
    "Date",
    "Float32",
    "Float64",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "Numpy",
    "Timestamp",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Utf8",
]

_T = TypeVar("_T")


class Numpy:
    """Stands for ``numpy.ndarray`` in a marker."""


class ColumnType:
    """Arrow type of a column marker, in text form; None accepts any type."""

    __slots__ = ("text",)

    def __init__(self, text: str | None) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"ColumnType({self.text!r})"


class ConstMarker:
    """What ``Const[T]`` carries; a ``ConstParam`` beside it refines it."""

    __slots__ = ()


CONST: Final = ConstMarker()

Const = Annotated[_T, CONST]
"""``Const[int]``: a constant argument, known when the query is planned."""

if TYPE_CHECKING:
    Int8: TypeAlias = npt.NDArray[np.int8]
    Int16: TypeAlias = npt.NDArray[np.int16]
    Int32: TypeAlias = npt.NDArray[np.int32]
    Int64: TypeAlias = npt.NDArray[np.int64]
    UInt8: TypeAlias = npt.NDArray[np.uint8]
    UInt16: TypeAlias = npt.NDArray[np.uint16]
    UInt32: TypeAlias = npt.NDArray[np.uint32]
    UInt64: TypeAlias = npt.NDArray[np.uint64]
    Float32: TypeAlias = npt.NDArray[np.float32]
    Float64: TypeAlias = npt.NDArray[np.float64]
    Bool: TypeAlias = npt.NDArray[np.bool_]
    Date: TypeAlias = npt.NDArray[np.datetime64]
    Timestamp: TypeAlias = npt.NDArray[np.datetime64]
    Utf8: TypeAlias = npt.NDArray[np.object_]
    Binary: TypeAlias = npt.NDArray[np.object_]
    AnyColumn: TypeAlias = npt.NDArray[Any]
else:
    Int8 = Annotated[Numpy, ColumnType("int8")]
    Int16 = Annotated[Numpy, ColumnType("int16")]
    Int32 = Annotated[Numpy, ColumnType("int32")]
    Int64 = Annotated[Numpy, ColumnType("int64")]
    UInt8 = Annotated[Numpy, ColumnType("uint8")]
    UInt16 = Annotated[Numpy, ColumnType("uint16")]
    UInt32 = Annotated[Numpy, ColumnType("uint32")]
    UInt64 = Annotated[Numpy, ColumnType("uint64")]
    Float32 = Annotated[Numpy, ColumnType("float32")]
    Float64 = Annotated[Numpy, ColumnType("float64")]
    Bool = Annotated[Numpy, ColumnType("bool")]
    Date = Annotated[Numpy, ColumnType("date32")]
    Timestamp = Annotated[Numpy, ColumnType("timestamp[us]")]
    Utf8 = Annotated[Numpy, ColumnType("utf8")]
    Binary = Annotated[Numpy, ColumnType("binary")]
    AnyColumn = Annotated[Numpy, ColumnType(None)]
