"""One service as one process: settings in, an exit code out, stopped in order by a signal."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from services.core.errors import Misconfigured, Retryable
from services.runtime.logs import configure_logs, get_logger
from services.runtime.settings import Settings, read_settings

__all__ = ["Serve", "run_service", "tell_address"]

#: serves until the event is set; raises ``Misconfigured`` or ``Retryable`` if it cannot
Serve = Callable[[Settings, asyncio.Event], Awaitable[None]]
#: objects of the youngest generation, and how many of its collections make one of the next
_THRESHOLDS = (1_000, 20, 500)


def run_service(name: str, serve: Serve, environment: Mapping[str, str]) -> int:
    """Run until signalled. 0: stopped in order; 2: a person must change something; 1: try again."""
    try:
        settings = read_settings(environment)
        configure_logs(name, settings.log_level)
        _collect_seldom()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signalled(serve, settings))
    except Misconfigured as error:
        get_logger().error("misconfigured", what=str(error))
        return 2
    except Retryable as error:
        get_logger().error("not_running", cause=str(error))
        return 1
    return 0


async def _until_signalled(serve: Serve, settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop)


def _collect_seldom() -> None:
    """Keep collections of cyclic garbage short and few: one over all modules takes 0.1 to 0.25 s.

    Nearly all that a service makes is freed by reference counts, or is data that cannot form a
    cycle and is not tracked at all (``gc=False``).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.callbacks.append(_set_survivors_aside)


def _set_survivors_aside(phase: str, info: Mapping[str, int]) -> None:
    """What has outlived a full collection is not looked at by the next: a backlog takes 0.6 s."""
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()


async def first_to_end(*tasks: "asyncio.Future[Any]") -> None:
    """Wait until one of them ends; what it died of is raised."""
    ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()


def tell_address(file: str, name: str, address: str) -> None:
    """Write the bound address where whoever started us looks for it, in one step."""
    if file:
        path = Path(file)
        draft = path.with_name(f"{path.name}.part")
        draft.write_bytes(msgspec.json.encode({name: address}))
        draft.replace(path)
