"""Functions that tell which of several was called: by type, by schema, by catalog, published globally."""

from typing import Annotated, Any, Final

from vgi_fast import Array, Int32, Int64, Param, UInt32, UInt64, Utf8, scalar
from vgi_fast.examples.example.columns import Texts

AnyValue = Annotated[Array, Param("Ignored")]


@scalar(name="type_info")
def type_info_int32(v: Int32) -> Texts:
    """Name of the argument's type"""
    return ["int32"] * len(v)


@scalar(name="type_info")
def type_info_int64(v: Int64) -> Texts:
    """Name of the argument's type"""
    return ["int64"] * len(v)


@scalar(name="type_info")
def type_info_uint32(v: UInt32) -> Texts:
    """Name of the argument's type"""
    return ["uint32"] * len(v)


@scalar(name="type_info")
def type_info_uint64(v: UInt64) -> Texts:
    """Name of the argument's type"""
    return ["uint64"] * len(v)


@scalar(name="type_info")
def type_info_varchar(v: Utf8) -> Texts:
    """Name of the argument's type"""
    return ["varchar"] * len(v)


@scalar(name="pair_type")
def pair_of_numbers(a: Int64, b: Int64) -> Texts:
    """Names of the arguments' types"""
    return ["int+int"] * len(a)


@scalar(name="pair_type")
def pair_of_texts(a: Utf8, b: Utf8) -> Texts:
    """Names of the arguments' types"""
    return ["str+str"] * len(a)


@scalar(name="pair_type")
def pair_mixed(a: Int64, b: Utf8) -> Texts:
    """Names of the arguments' types"""
    return ["int+str"] * len(a)


@scalar(name="any_mixed", propagate_nulls=False)  # the first argument may be null
def any_and_number(a: AnyValue, b: Int64) -> Texts:
    """The second argument behind the names of the types"""
    return [None if number is None else f"any+int: {number}" for number in b.tolist()]


@scalar(name="any_mixed", propagate_nulls=False)
def any_and_text(a: AnyValue, b: Utf8) -> Texts:
    """The second argument behind the names of the types"""
    return [None if text is None else f"any+str: {text}" for text in b.tolist()]


def tagger(name: str, tag: str, description: str) -> Any:
    """A function called ``name`` that puts ``tag`` before its argument."""

    @scalar(name=name, description=description)
    def tagged(value: Int64) -> Texts:
        return [f"{tag}:{number}" for number in value.tolist()]

    return tagged


def _in_schema(schema: str) -> Any:
    return tagger("test_same_name_bind", schema, f"Schema-disambiguation probe; the {schema}-schema implementation")


def in_catalog(catalog: str) -> Any:
    return tagger("test_same_name_catalog", catalog, f"Catalog-disambiguation probe; the {catalog} implementation")


FUNCTIONS: Final = [
    type_info_int32,
    type_info_int64,
    type_info_uint32,
    type_info_uint64,
    type_info_varchar,
    pair_of_numbers,
    pair_of_texts,
    pair_mixed,
    any_and_number,
    any_and_text,
    _in_schema("main"),
    tagger("global_scalar", "global_scalar", "Scalar function that is also published globally"),
]
DATA_FUNCTIONS: Final = [_in_schema("data")]
