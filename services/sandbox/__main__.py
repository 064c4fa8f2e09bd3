"""``python -m services.sandbox``: configured by ``LASTWORD_*`` variables.

Its own two: ``LASTWORD_SANDBOX_SCRIPT``, a file of faults to play, and
``LASTWORD_SANDBOX_WEBHOOKS``, where webhooks go, with {provider} and {account} in it.
"""

import os
import sys
from asyncio import Event
from pathlib import Path

from services.runtime.process import run_service
from services.runtime.settings import Settings
from services.sandbox.app import serve
from services.sandbox.script import read_script


async def _serve(settings: Settings, stop: Event) -> None:
    script = os.environ.get("LASTWORD_SANDBOX_SCRIPT", "")
    await serve(
        settings,
        stop,
        webhooks=os.environ.get("LASTWORD_SANDBOX_WEBHOOKS", ""),
        script=read_script(Path(script)) if script else (),
    )


if __name__ == "__main__":
    sys.exit(run_service("sandbox", _serve, os.environ))
