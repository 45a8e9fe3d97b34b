"""Aggregates: how they are declared, and the engines that keep the states of their groups."""
