"""``vgi-fast-run``: workers that serve at once, from a process that has them loaded."""
