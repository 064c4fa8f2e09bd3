"""A sandbox for senders to send to, and how many it takes in a second."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.request import Request as Call
from urllib.request import urlopen
from uuid import UUID

from msgspec import Struct

from benchmarks.figures import rate
from benchmarks.ground import Ground
from services.cli.wiring import with_sandbox
from services.core.catalogue import Catalogue
from services.core.events import Channel
from services.core.identifiers import AccountName, NotificationId
from services.core.ports import Content, Message
from services.providers import PROVIDERS
from services.runtime.access import build_accesses
from services.runtime.settings import Settings

__all__ = ["Sandbox", "sample", "sample_id", "sandbox"]

_LOOK_S = 0.1


class Sandbox(Struct, frozen=True):
    """Where it is."""

    url: str

    def accepted(self) -> int:
        with urlopen(f"{self.url}/ledger/summary") as answer:
            count: int = json.loads(answer.read())["accepted"]
            return count

    def forget(self) -> None:
        urlopen(Call(f"{self.url}/ledger", method="DELETE")).close()

    def is_down(self, down: bool) -> None:
        """All providers, from now on."""
        body = json.dumps([{"fault": "down"}] if down else []).encode()
        told = {"Content-Type": "application/json"}
        urlopen(Call(f"{self.url}/control/every/faults", body, told, method="PUT")).close()

    def rate(self, count: int) -> float:
        """Messages a second, from the first tenth of ``count`` to the last."""
        return rate(self.accepted, count, _LOOK_S)


@contextmanager
def sandbox(ground: Ground) -> Iterator[Sandbox]:
    """All accounts of the ground's catalogue are its own, for as long as it lasts."""
    before = ground.settings
    with ground.serving("services.sandbox", LASTWORD_SANDBOX_BIND="127.0.0.1:0") as (_, told):
        ground.settings = with_sandbox(before, ground.loaded.catalogue, told["providers"])
        try:
            yield Sandbox(told["url"])
        finally:
            ground.settings = before


def sample(catalogue: Catalogue, settings: Settings, account: str, count: int = 1) -> str:
    """One request to the sandbox with so many messages, as ours would make it; in JSON.

    The ids are ``sample_id(0)`` and those after it.
    """
    access = build_accesses(catalogue, PROVIDERS, settings)[AccountName(account)]
    text = "Order A-1: EUR 129.90\nhttps://shop.example.test/invoices/" + 32 * "0"
    messages = [
        Message(
            notification_id=sample_id(number),
            attempt=1,
            type="invoice",
            channel=Channel.EMAIL,
            address=f"user-{number}@customers.example.test",
            content=Content(text=text, subject="Your invoice for order A-1"),
        )
        for number in range(count)
    ]
    provider = PROVIDERS[access.account.provider]
    request = provider.build_request(access, messages, time_left=timedelta(hours=1))
    return json.dumps(
        {"url": request.url, "headers": dict(request.headers), "body": request.body.decode()}
    )


def sample_id(number: int) -> NotificationId:
    return NotificationId(UUID(int=number, version=4))
