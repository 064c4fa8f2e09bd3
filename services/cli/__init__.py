"""The command line, ``lastword``: starts, feeds and looks into an engine.

Each command is a module under ``commands/``, loaded only when it is called. What ``lastword up``
does with processes is in ``supervisor.py`` and the small modules beside it.
"""

from services.cli.group import main

__all__ = ["main"]
