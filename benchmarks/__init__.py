"""Benchmarks: ``python -m benchmarks.core.<name>``, ``python -m benchmarks.e2e.<name>``."""
