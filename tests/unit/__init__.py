"""Statements that need nothing running."""
