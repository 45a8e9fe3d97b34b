"""Filters that DuckDB pushes: decoded, planned over columns, translated for sources."""
