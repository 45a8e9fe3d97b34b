"""Python values for the two Arrow types that have no natural one."""

from collections import namedtuple

__all__ = ["MonthDayNano", "UnionValue"]

MonthDayNano = namedtuple("MonthDayNano", ("months", "days", "nanoseconds"))
MonthDayNano.__doc__ = "A SQL INTERVAL: three independent integers, as Arrow keeps them."

UnionValue = namedtuple("UnionValue", ("tag", "value"))
UnionValue.__doc__ = "One value of a union: the member's name and its value."
