"""Points as structs, as lists and as lists of a fixed size."""

from functools import reduce
from typing import Annotated, Any, Final

from vgi_fast import Array, Param, Returns, scalar

POINT: Final = "struct<lat: float64, lon: float64>"

StructPoint = Annotated[Array, Param("Latitude and longitude", arrow_type=POINT)]
ListPoint = Annotated[Array, Param("Latitude, then longitude", arrow_type="list<float64>")]
FixedPoint = Annotated[Array, Param("Latitude, then longitude", arrow_type="fixed_size_list<float64>[2]")]
Distance = Annotated[Any, Returns(arrow_type="float64")]
Centroid = Annotated[Any, Returns(arrow_type=POINT)]


def _coordinates(points: Array) -> tuple[Any, Any]:
    """Latitudes and longitudes."""
    import pyarrow.compute as pc

    arrow = points.to_arrow()
    if points.type.kind == "struct":
        return pc.struct_field(arrow, "lat"), pc.struct_field(arrow, "lon")
    return pc.list_element(arrow, 0), pc.list_element(arrow, 1)


def _distance(p1: Array, p2: Array) -> Any:
    import pyarrow.compute as pc

    squares = (pc.power(pc.subtract(b, a), 2) for a, b in zip(_coordinates(p1), _coordinates(p2), strict=True))
    return pc.sqrt(pc.add(*squares))


def _centroid(points: tuple[Array, ...]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    axes = zip(*map(_coordinates, points), strict=True)
    return pa.StructArray.from_arrays([pc.divide(reduce(pc.add, axis), len(points)) for axis in axes], ["lat", "lon"])


@scalar
def geo_distance_struct(p1: StructPoint, p2: StructPoint) -> Distance:
    """Euclidean distance between two struct points"""
    return _distance(p1, p2)


@scalar
def geo_distance_list(p1: ListPoint, p2: ListPoint) -> Distance:
    """Euclidean distance between two list points"""
    return _distance(p1, p2)


@scalar
def geo_distance_fixed(p1: FixedPoint, p2: FixedPoint) -> Distance:
    """Euclidean distance between two fixed-size list points"""
    return _distance(p1, p2)


@scalar
def geo_centroid_struct(*points: StructPoint) -> Centroid:
    """Centroid of N struct points"""
    return _centroid(points)


@scalar
def geo_centroid_list(*points: ListPoint) -> Centroid:
    """Centroid of N list points"""
    return _centroid(points)


@scalar
def geo_centroid_fixed(*points: FixedPoint) -> Centroid:
    """Centroid of N fixed-size list points"""
    return _centroid(points)


FUNCTIONS: Final = [
    geo_distance_struct,
    geo_distance_list,
    geo_distance_fixed,
    geo_centroid_struct,
    geo_centroid_list,
    geo_centroid_fixed,
]
