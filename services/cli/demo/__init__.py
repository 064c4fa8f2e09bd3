"""``lastword demo``: half an hour without email in thirty seconds, on real parts."""

from services.cli.demo.command import demo

__all__ = ["demo"]
