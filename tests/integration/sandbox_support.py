"""What the tests on the sandbox share: an engine's side of the wire, as small as can be."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from uuid import UUID, uuid4

import aiohttp
from aiohttp import web

from services.core.catalogue import Account
from services.core.events import Channel
from services.core.identifiers import AccountName, NotificationId
from services.core.outcomes import Outcome
from services.core.ports import (
    Access,
    Callback,
    Content,
    Lookup,
    Message,
    Provider,
    Report,
    Request,
    Response,
)
from services.providers import PROVIDERS
from services.sandbox.app import Sandbox
from services.sandbox.credentials import sandbox_secrets

SETTINGS = {
    "postmark": {"from": "Shop <shop@example.test>"},
    "mailgun": {"from": "Shop <shop@mg.example.test>", "domain": "mg.example.test"},
    "twilio": {"from": "+15550002222", "account_sid": "AC0123456789abcdef0123456789abcdef"},
}
CHANNELS = {"postmark": Channel.EMAIL, "mailgun": Channel.EMAIL, "twilio": Channel.SMS}
#: nobody listens there
NOWHERE = "http://127.0.0.1:1/webhooks"
SOON = timedelta(minutes=10)


def access(sandbox: Sandbox, provider: str, account: str, callback_url: str = NOWHERE) -> Access:
    return Access(
        account=Account(name=AccountName(account), provider=provider, settings=SETTINGS[provider]),
        base_url=sandbox.base_urls[provider],
        secrets=sandbox_secrets(provider, account),
        callback_url=callback_url,
    )


def message(
    provider: str, to: str | None = None, *, id: UUID | None = None, attempt: int = 1
) -> Message:
    channel = CHANNELS[provider]
    email = channel is Channel.EMAIL
    return Message(
        notification_id=NotificationId(id or uuid4()),
        attempt=attempt,
        type="password_reset",
        channel=channel,
        address=to or ("ann@example.test" if email else "+15550001111"),
        content=Content(
            text=f"Your code is {uuid4().hex[:6]}, ä <ok>",
            subject="Your code" if email else None,
            html="<p>Your <b>code</b></p>" if email else None,
        ),
    )


class Caller:
    """Sends what a provider builds, and reads the replies with it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def exchange(self, request: Request, *, timeout_s: float = 10) -> Response:
        async with self._session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=BytesIO(request.body) if request.body else None,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        ) as reply:
            headers = {name.lower(): value for name, value in reply.headers.items()}
            return Response(status=reply.status, headers=headers, body=await reply.read())

    async def send(
        self, at: Access, *messages: Message, timeout_s: float = 10, time_left: timedelta = SOON
    ) -> Sequence[Outcome]:
        provider = provider_of(at)
        request = provider.build_request(at, messages, time_left=time_left)
        return provider.read_response(messages, await self.exchange(request, timeout_s=timeout_s))

    async def look_up(self, at: Access, sought: Message) -> tuple[Lookup, str | None]:
        provider = provider_of(at)
        since = datetime.now(UTC) - timedelta(seconds=30)  # noqa: TID251 - a test's own clock
        request = provider.build_lookup(at, sought, since=since)
        assert request is not None
        return provider.read_lookup(sought, await self.exchange(request), since=since)


def provider_of(at: Access) -> Provider:
    return PROVIDERS[at.account.provider]


@asynccontextmanager
async def calling() -> AsyncIterator[Caller]:
    # No connection is used twice: a port that came back is not met through an old connection.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Caller(session)


class Receiver:
    """Takes webhooks, as the tracker would, and keeps them in their order."""

    def __init__(self) -> None:
        self.calls: list[Callback] = []
        #: what is answered, the first first; then 200
        self.statuses: list[int] = []
        self.url = ""
        self._arrived = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        self.calls.append(
            Callback(
                url=str(request.url),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=await request.read(),
            )
        )
        self._arrived.set()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def wait_for(self, count: int, *, timeout_s: float = 10) -> list[Callback]:
        async with asyncio.timeout(timeout_s):
            while len(self.calls) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.calls

    def reports(self, at: Access) -> list[Report]:
        now = datetime.now(UTC)  # noqa: TID251 - a test's own clock
        provider = provider_of(at)
        return [
            report for call in self.calls for report in provider.read_callback(at, call, now=now)
        ]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{tail:.*}", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}/webhooks"
    try:
        yield receiver
    finally:
        await runner.cleanup()
