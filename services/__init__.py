"""Lastword: the engine."""
