"""Aggregates: building blocks, functions of all values of a group, and NumPy code over states."""

from math import isfinite
from typing import Annotated, Any, ClassVar, Final

from vgi_fast import (
    AnyColumn,
    ArgumentValidationError,
    BindParams,
    ConstParam,
    Float64,
    Int64,
    Param,
    Utf8,
    aggregate,
)

BLOCKS: Final = [
    aggregate.from_block(
        "vgi_count", "count_rows", "-> int64", null_handling="special", description="Counts the rows of each group"
    ),
    aggregate.from_block("vgi_sum", "sum", "int64 -> int64", description="Sum of the values that are not null"),
    aggregate.from_block("vgi_avg", "mean", "int64 -> float64", description="Mean of the values that are not null"),
    aggregate.from_block(
        "vgi_generic_sum",
        "sum",
        "any -> any",
        returns=lambda params: params.input_types[0],
        description="Sum in the type of its argument",
    ),
    aggregate.from_block("global_agg", "sum", "int64 -> int64", description="A sum that is published globally"),
    aggregate.from_block(
        "vgi_listagg",
        "string_agg",
        "utf8 -> utf8",
        order_dependent=True,
        distinct_dependent=True,
        description="Texts joined with commas, in the order of their rows",
    ),
    aggregate.from_block(
        "vgi_window_sum", "sum", "int64 -> int64", supports_window=True, description="Sum over each frame"
    ),
    aggregate.from_block(
        "vgi_window_sum_batch",
        "sum",
        "int64 -> int64",
        supports_window=True,
        description="Sum over each frame, for many rows at once where the client asks for that",
    ),
    aggregate.from_block(
        "vgi_window_listagg",
        "string_agg",
        "utf8 -> utf8",
        supports_window=True,
        order_dependent=True,
        distinct_dependent=True,
        description="Texts of each frame joined with commas",
    ),
    aggregate.from_block(
        "vgi_streaming_sum",
        "sum",
        "int64 -> int64",
        streaming_partitioned=True,
        description="Running sum of each partition",
    ),
]


@aggregate.of_values(supports_window=True)
def vgi_window_median(value: Float64) -> Float64:
    """Median of each frame"""
    import numpy as np

    return np.median(value)  # type: ignore[return-value]


def _percentile_type(params: BindParams[Any]) -> str:
    percentile = params.args.percentile
    if percentile is None:
        raise ArgumentValidationError("percentile must not be NULL")
    if not isfinite(percentile):
        raise ArgumentValidationError(f"percentile must be a finite number, got {percentile}")
    if not 0 <= percentile <= 1:
        raise ArgumentValidationError(f"percentile must be in [0, 1], got {percentile}")
    return "float64"


@aggregate.of_values(returns=_percentile_type)
def vgi_percentile(
    value: Float64, percentile: Annotated[float | None, ConstParam(doc="Between 0 and 1")] = 0.5
) -> float:
    """The value below which a share of the values of a group lies"""
    import numpy as np

    assert percentile is not None
    at = min(int(percentile * len(value)), len(value) - 1)
    return float(np.partition(value, at)[at])


@aggregate(name="vgi_weighted_sum")
class WeightedSum:
    """Sum of values times their weights"""

    state: ClassVar = {"total": "float64"}

    def update(state: Any, groups: Any, value: Float64, weight: Float64) -> None:
        import numpy as np

        np.add.at(state.total, groups, value * weight)

    def combine(source: Any, target: Any) -> None:
        target.total += source.total

    def finalize(state: Any) -> Float64:
        return state.total  # type: ignore[no-any-return]


@aggregate(name="vgi_sum_all", null_handling="special")
class SumAll:
    """Sum of all values of several columns"""

    state: ClassVar = {"total": "float64"}

    def update(
        state: Any,
        groups: Any,
        columns: Annotated[list[AnyColumn], Param(doc="Columns of numbers", varargs=True)],
    ) -> None:
        import numpy as np

        for column in columns:
            valid = ~np.ma.getmaskarray(column)
            np.add.at(state.total, groups[valid], np.ma.getdata(column)[valid].astype(np.float64))

    def combine(source: Any, target: Any) -> None:
        target.total += source.total

    def finalize(state: Any) -> Float64:
        return state.total  # type: ignore[no-any-return]


def _typed_by_secret(params: BindParams[Any]) -> str:
    secret = params.secrets.find("vgi_example")
    return "float64" if secret is not None and secret.get("use_ssl") else "int64"


SECRET_SUM: Final = aggregate.from_block(
    "secret_typed_sum",
    "sum",
    "int64 -> any",
    returns=_typed_by_secret,
    required_secrets=["vgi_example"],
    description="Sum whose type is chosen by a secret",
)


def _same_name(schema: str) -> Any:
    class SameName:
        state: ClassVar = {"total": "int64"}

        def update(state: Any, groups: Any, value: Int64) -> None:
            import numpy as np

            valid = ~np.ma.getmaskarray(value)
            np.add.at(state.total, groups[valid], np.ma.getdata(value)[valid])

        def combine(source: Any, target: Any) -> None:
            target.total += source.total

        def finalize(state: Any) -> Utf8:
            import numpy as np

            return np.array([f"{schema}:{total}" for total in state.total.tolist()], dtype=object)

    return aggregate(
        name="test_same_name_agg",
        null_handling="special",
        description=f"Schema-disambiguation probe; the {schema}-schema aggregate",
    )(SameName)


FUNCTIONS: Final = [
    *BLOCKS,
    vgi_window_median,
    vgi_percentile,
    WeightedSum,
    SumAll,
    SECRET_SUM,
    _same_name("main"),
]
DATA_FUNCTIONS: Final = [_same_name("data")]
