"""The producers library."""
