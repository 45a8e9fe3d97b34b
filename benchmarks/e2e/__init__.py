"""Whole workers under a client."""
