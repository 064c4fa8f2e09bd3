"""Routing that a business can rely on."""
