"""Statements about the system."""
