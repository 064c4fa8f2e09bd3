"""``python -m services.sandbox``: the sandbox as a process of its own."""

import asyncio
import os
import signal
from pathlib import Path

from services.runtime.logs import configure_logs, get_logger
from services.runtime.monitoring import split_bind
from services.runtime.settings import read_settings
from services.sandbox.app import Sandbox, run
from services.sandbox.script import read_script

__all__ = ["main"]

_WEBHOOKS = "{public_url}/webhooks/{{account}}"


async def _main() -> None:
    settings = read_settings(os.environ)
    configure_logs("sandbox", settings.log_level)
    script = os.environ.get("LASTWORD_SANDBOX_SCRIPT", "")
    _, port = split_bind(settings.sandbox_bind)
    sandbox = Sandbox(
        port=port,
        webhooks=os.environ.get(
            "LASTWORD_SANDBOX_WEBHOOKS", _WEBHOOKS.format(public_url=settings.public_url)
        ),
        time_scale=settings.time_scale,
        script=read_script(Path(script)) if script else (),
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    address_file = Path(settings.address_file) if settings.address_file else None
    get_logger().info("starting")
    await run(sandbox, stop, address_file=address_file)


def main() -> None:
    """Until SIGINT or SIGTERM."""
    asyncio.run(_main())


if __name__ == "__main__":
    main()
