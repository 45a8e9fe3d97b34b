"""Workers that the end-to-end benchmarks start by name."""
