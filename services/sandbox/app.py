"""All of the sandbox in one process: a port for itself, and one for each provider."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from aiohttp import web

from services.core.errors import Misconfigured
from services.runtime.clock import boot_seconds
from services.runtime.http_logs import http_logger
from services.runtime.logs import get_logger
from services.runtime.monitoring import split_bind
from services.runtime.settings import Settings
from services.sandbox.api import Addresses, make_app
from services.sandbox.endpoint import Endpoint
from services.sandbox.faults import Fault
from services.sandbox.ledger import Ledger
from services.sandbox.script import EVERY, Step
from services.sandbox.vendors import VENDORS
from services.sandbox.webhooks import Targets, Webhooks, is_loopback

__all__ = ["Sandbox", "serve"]

_HOST = "127.0.0.1"


class Sandbox:
    """An asynchronous context in which every provider has a stand-in.

    ``webhooks``: where the accounts' webhooks go, with {provider} and {account} filled in; empty:
    nowhere, but for messages that name their own. ``time_scale`` divides the waits between the
    tries of a webhook. Equal seeds give equal chances, call by call. ``provider_ports``: those
    that are to be the same after a restart; else a free one each.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        webhooks: str = "",
        time_scale: float = 1.0,
        seed: int = 0,
        script: Sequence[Step] = (),
        provider_ports: Mapping[str, int] | None = None,
        bodies_kept: int = 5_000,
    ) -> None:
        self.ledger = Ledger(bodies_kept=bodies_kept)
        self.webhooks = Webhooks(Targets(webhooks), time_scale=time_scale)
        self.addresses = Addresses(url="", providers={})
        self._port = port
        self._seed = seed
        self._script = script
        self._provider_ports = provider_ports or {}
        self._endpoints: dict[str, Endpoint] = {}
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return self.addresses.url

    @property
    def base_urls(self) -> Mapping[str, str]:
        """Where each provider is called, by its name."""
        return self.addresses.providers

    async def __aenter__(self) -> Self:
        await self.webhooks.start()
        for index, (name, vendor) in enumerate(VENDORS.items()):
            endpoint = Endpoint(
                vendor,
                self.ledger,
                self.webhooks,
                host=_HOST,
                port=self._provider_ports.get(name, 0),
                seed=self._seed * 1_000 + index,
            )
            self._endpoints[name] = endpoint
            await endpoint.up()
        self.addresses = Addresses(
            url=await self._serve(),
            providers={name: endpoint.base_url for name, endpoint in self._endpoints.items()},
        )
        self._spawn_script()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        for endpoint in self._endpoints.values():
            await endpoint.close()
        await self.webhooks.close()

    async def _serve(self) -> str:
        """On the port that was asked for, or a free one where it is taken."""
        self._runner = web.AppRunner(
            make_app(self), access_log=None, logger=http_logger(), shutdown_timeout=0.1
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, _HOST, self._port).start()
        except OSError:
            await web.TCPSite(self._runner, _HOST, 0).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    def _spawn_script(self) -> None:
        if self._script:
            self._spawn(self._play(self._script))

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _play(self, script: Sequence[Step]) -> None:
        started = boot_seconds()
        for step in script:
            await asyncio.sleep(max(0.0, step.at_s - (boot_seconds() - started)))
            await self.set_faults(step.provider, list(step.faults))

    def faults(self, provider: str) -> list[Fault]:
        return [
            fault
            for endpoint in self._named(provider)
            for fault in endpoint.faults.active(now=boot_seconds())
        ]

    async def set_faults(self, provider: str, faults: list[Fault]) -> None:
        """Replaces what is set; an empty list makes the provider well again."""
        for endpoint in self._named(provider):
            endpoint.faults.replace(faults, now=boot_seconds())
            await self._follow(endpoint)

    async def add_fault(self, provider: str, fault: Fault) -> None:
        for endpoint in self._named(provider):
            endpoint.faults.add(fault, now=boot_seconds())
            await self._follow(endpoint)

    def _named(self, provider: str) -> list[Endpoint]:
        if provider == EVERY:
            return list(self._endpoints.values())
        return [self._endpoints[provider]]

    async def _follow(self, endpoint: Endpoint) -> None:
        """Open or close the port as the faults say, now and when the last ``down`` has passed."""
        if not endpoint.faults.is_down(now=boot_seconds()):
            await endpoint.up()
            return
        endpoint.down()
        until = endpoint.faults.down_until()
        if until is not None:
            self._spawn(self._rise(endpoint, until))

    async def _rise(self, endpoint: Endpoint, until: float) -> None:
        await asyncio.sleep(max(0.0, until - boot_seconds()) + 0.001)
        await self._follow(endpoint)


async def serve(
    settings: Settings, stop: asyncio.Event, *, webhooks: str = "", script: Sequence[Step] = ()
) -> None:
    """Until ``stop``. By default, webhooks go to the tracker's public address."""
    host, port = split_bind(settings.sandbox_bind)
    if not is_loopback(f"http://{settings.sandbox_bind}"):
        raise Misconfigured(f"the sandbox has no password: bind it to {_HOST}, not to {host}")
    sandbox = Sandbox(
        port=port,
        webhooks=webhooks or f"{settings.public_url}/webhooks/{{account}}",
        time_scale=settings.time_scale,
        script=script,
    )
    async with sandbox:
        if settings.address_file:
            _write(Path(settings.address_file), sandbox.addresses)
        get_logger().info("listening", address=sandbox.url, **sandbox.base_urls)
        await stop.wait()


def _write(path: Path, addresses: Addresses) -> None:
    """Whole or not at all: somebody is waiting for it."""
    half = path.with_name(path.name + ".part")
    half.write_bytes(msgspec.json.encode(addresses))
    half.replace(path)
