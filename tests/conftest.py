"""Plugins by concern; see README.md for their options."""

pytest_plugins = ["tests.fix_core", "tests.fix_worker"]
