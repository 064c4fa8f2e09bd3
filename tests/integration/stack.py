"""The four services and the sandbox in one process and event loop, on real Kafka and PostgreSQL."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from services.dispatch import app as dispatch_app
from services.ingest import app as ingest_app
from services.router import app as router_app
from services.runtime.catalogue import load_catalogue
from services.runtime.process import Serve
from services.runtime.settings import Settings
from services.runtime.topics import create_topics
from services.sandbox.app import Sandbox
from services.sandbox.credentials import sandbox_secrets
from services.tracker import app as tracker_app

__all__ = ["SHOP", "Stack", "running_stack"]

SHOP = Path(__file__).parents[2] / "examples" / "shop"
_SERVICES: Mapping[str, Serve] = {
    "tracker": tracker_app.serve,
    "router": router_app.serve,
    "dispatch": dispatch_app.serve,
    "ingest": ingest_app.serve,
}


class Stack:
    """A running engine as its users see it."""

    def __init__(
        self, settings: Settings, sandbox: Sandbox, session: aiohttp.ClientSession
    ) -> None:
        self.settings = settings
        self.sandbox = sandbox
        self._session = session

    async def post(self, path: str, body: object, **headers: str) -> tuple[int, dict[str, object]]:
        """A call of ingest: the status and the answer."""
        url = f"http://{self.settings.ingest_bind}{path}"
        async with self._session.post(url, json=body, headers=headers) as reply:
            return reply.status, await reply.json(content_type=None)

    async def request(self, **fields: object) -> str:
        """Ask for a notification; its id."""
        status, answer = await self.post("/v1/notifications", fields)
        assert status == 202, answer
        return str(answer["id"])

    async def delivery(self, id: str) -> dict[str, object] | None:
        """What the tracker knows of it; None: nothing yet."""
        url = f"http://{self.settings.tracker_bind}/v1/deliveries/{id}"
        async with self._session.get(url) as reply:
            return await reply.json() if reply.status == 200 else None

    async def until(self, id: str, *statuses: str, timeout_s: float = 20.0) -> dict[str, object]:
        """Wait until it has one of these statuses, or any at all."""
        seen: dict[str, object] | None = None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    seen = await self.delivery(id)
                    if seen is not None and (not statuses or seen["status"] in statuses):
                        return seen
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(
                f"not {statuses} within {timeout_s} s: {json.dumps(seen)}"
            ) from None


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


def secrets(catalogue: Path) -> dict[str, str]:
    """The sandbox's secrets for every account, as the environment would give them."""
    accounts = load_catalogue(catalogue).catalogue.accounts.values()
    return {
        f"{account.name}_{name}".upper().replace("-", "_"): value
        for account in accounts
        for name, value in sandbox_secrets(account.provider, account.name).items()
    }


@asynccontextmanager
async def running_stack(
    kafka: Mapping[str, str],
    dsn: str,
    *,
    catalogue: Path = SHOP,
    time_scale: float = 1.0,
    services: Sequence[str] = tuple(_SERVICES),
) -> AsyncIterator[Stack]:
    """Everything up, until the block ends; then stopped in order."""
    create_topics(AdminClient(dict(kafka)), partitions=3, replication=1)
    ingest_port, tracker_port = free_ports(2)
    public_url = f"http://127.0.0.1:{tracker_port}"
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(
            Sandbox(webhooks=f"{public_url}/webhooks/{{account}}", time_scale=60)
        )
        settings = Settings(
            kafka=kafka,
            postgres=dsn,
            catalogue=catalogue,
            time_scale=time_scale,
            base_urls=sandbox.base_urls,
            secrets=secrets(catalogue),
            public_url=public_url,
            ingest_bind=f"127.0.0.1:{ingest_port}",
            tracker_bind=f"127.0.0.1:{tracker_port}",
        )
        for name in services:
            stack.push_async_callback(await _started(_SERVICES[name], settings))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        running = Stack(settings, sandbox, session)
        await _listening(ingest_port, tracker_port)
        yield running


async def _started(serve: Serve, settings: Settings):  # type: ignore[no-untyped-def]
    stop = asyncio.Event()
    task = asyncio.ensure_future(serve(replace(settings), stop))

    async def stopped() -> None:
        stop.set()
        await task

    return stopped


async def _listening(*ports: int) -> None:
    for port in ports:
        for _ in range(200):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.05)
