"""Catalogs and what they contain: descriptors written by authors, and the one registry over them."""
