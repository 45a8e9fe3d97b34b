"""Kernels and framing, in one process."""
