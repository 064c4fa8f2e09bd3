"""Posts what became of each message to the engine, again and again as the vendor would.

Within a message the order is kept; only a webhook's later tries go on beside the next one. Nothing
but loopback is called.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp

from services.runtime.clock import boot_seconds, utc_now
from services.sandbox.credentials import sandbox_secrets
from services.sandbox.fates import Planned
from services.sandbox.faults import Faults, Target, WebhooksDuplicated, WebhooksForged, WebhooksLost
from services.sandbox.ledger import Entry, Event, Occurrence, addresses_in
from services.sandbox.vendor import Vendor, WebhookCall

__all__ = ["Targets", "Webhooks", "is_loopback"]

_TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5)


def is_loopback(url: str) -> bool:
    """Whether calling it stays on this machine, without asking a name server."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and _is_here(parts.hostname or "")
    except ValueError:
        return False


@lru_cache
def _is_here(host: str) -> bool:
    return host == "localhost" or ip_address(host).is_loopback


class Targets:
    """Where each account's webhooks go, and the secrets that they are signed with."""

    def __init__(self, template: str = "") -> None:
        """``template``: for accounts not set singly; {provider} and {account} are filled in."""
        self.template = template
        self._urls: dict[tuple[str, str], str] = {}
        self._secrets: dict[tuple[str, str], dict[str, str]] = {}

    def set(self, provider: str, account: str, url: str, secrets: Mapping[str, str]) -> None:
        self._urls[provider, account] = url
        self._secrets[provider, account] = {**sandbox_secrets(provider, account), **secrets}

    def url(self, entry: Entry) -> str:
        """A message's own callback goes before the account's."""
        own = self._urls.get((entry.provider, entry.account))
        filled = self.template.format(provider=entry.provider, account=entry.account)
        return entry.callback_url or own or filled

    def secrets(self, entry: Entry) -> Mapping[str, str]:
        key = (entry.provider, entry.account)
        if key not in self._secrets:
            self._secrets[key] = sandbox_secrets(entry.provider, entry.account)
        return self._secrets[key]


class Webhooks:
    """The sandbox's one sender of webhooks. ``time_scale`` divides the waits between tries."""

    def __init__(self, targets: Targets, *, time_scale: float = 1.0) -> None:
        self.targets = targets
        #: planned, posted, answered (2xx), refused (any other answer), unanswered, lost, given_up
        self.counts: Counter[str] = Counter()
        self._time_scale = time_scale
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(limit=64)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=_TIMEOUT, auto_decompress=False
        )

    async def close(self) -> None:
        """Stops in the middle, as a vendor that we switch off."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def follow(self, vendor: Vendor, faults: Faults, entry: Entry, plan: list[Planned]) -> None:
        """Let happen what is planned for a message, and tell of it."""
        self._spawn(self._follow(vendor, faults, entry, plan))

    async def settled(self) -> None:
        """Once all that was planned has happened and been told, or given up."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(
        self, vendor: Vendor, faults: Faults, entry: Entry, plan: list[Planned]
    ) -> None:
        for planned in plan:
            await asyncio.sleep(planned.after_s)
            self._number += 1
            event = Event(what=planned.what, at=utc_now(), number=self._number)
            entry.history.append(event)
            await self._tell(vendor, faults, entry, event)

    async def _tell(self, vendor: Vendor, faults: Faults, entry: Entry, event: Event) -> None:
        target = Target(entry.account, addresses_in(entry.to))
        now = boot_seconds()
        url, secrets = self.targets.url(entry), self.targets.secrets(entry)
        if faults.draw(WebhooksForged, target, now=now):
            secrets = {name: f"not-{value}" for name, value in secrets.items()}
        call = vendor.webhook(entry, event, secrets, url=url, now=utc_now())
        if call is None or not url:
            return
        self.counts["planned"] += 1
        if not is_loopback(call.url) or faults.draw(WebhooksLost, target, now=now):
            self.counts["lost"] += 1
            return
        duplicated = faults.draw(WebhooksDuplicated, target, now=now)
        if duplicated is None:
            await self._try(vendor, event.what, call, 1)
            return
        tries = (self._try(vendor, event.what, call, 1) for _ in range(duplicated.copies))
        await asyncio.gather(*tries)

    async def _try(self, vendor: Vendor, what: Occurrence, call: WebhookCall, tries: int) -> None:
        status = await self._post(call)
        if status is not None and 200 <= status < 300:
            self.counts["answered"] += 1
            return
        self.counts["unanswered" if status is None else "refused"] += 1
        wait = vendor.next_try(what, tries, status, call)
        if wait is None:
            self.counts["given_up"] += 1
            return
        self._spawn(self._again(vendor, what, call, tries, wait / self._time_scale))

    async def _again(
        self, vendor: Vendor, what: Occurrence, call: WebhookCall, tries: int, wait_s: float
    ) -> None:
        await asyncio.sleep(wait_s)
        await self._try(vendor, what, call, tries + 1)

    async def _post(self, call: WebhookCall) -> int | None:
        assert self._session is not None, "start first"
        self.counts["posted"] += 1
        try:
            async with self._session.post(
                call.url, data=call.body, headers=call.headers, allow_redirects=False
            ) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None
