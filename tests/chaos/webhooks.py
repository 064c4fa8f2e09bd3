"""Webhooks by the test's own hand, as the vendors write them."""

from collections.abc import Mapping
from datetime import datetime
from itertools import count
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from services.core.identifiers import AccountName
from services.runtime.clock import utc_now
from services.sandbox.credentials import sandbox_secrets
from services.sandbox.ledger import Entry, Event, Occurrence
from services.sandbox.vendor import WebhookCall
from services.sandbox.vendors import VENDORS
from tests.chaos.house import House

__all__ = ["post", "webhook"]

_numbers = count(1_000_000)


def webhook(
    house: House,
    account: str,
    id: str,
    what: Occurrence,
    *,
    secrets: Mapping[str, str] | None = None,
    signed_at: datetime | None = None,
) -> WebhookCall:
    """What became of the first attempt of a notification; signed by the account's secrets."""
    provider, now = house.catalogue.accounts[AccountName(account)].provider, utc_now()
    number = next(_numbers)
    entry = Entry(
        seq=number,
        provider=provider,
        account=account,
        provider_ref=f"by-hand-{number}",
        to="by-hand@chaos.example",
        received_at=now,
        monotonic=0.0,
        batch=1,
        variables={"nid": id, "att": "1"},
    )
    call = VENDORS[provider].webhook(
        entry,
        Event(what=what, at=now, number=number),
        secrets or sandbox_secrets(provider, account),
        url=f"{house.cabling.webhooks.url}/webhooks/{account}",
        now=signed_at or now,
    )
    assert call is not None, f"{provider} does not tell of {what}"
    return call


def post(call: WebhookCall) -> int:
    """The status that it is answered with."""
    request = Request(call.url, data=call.body, headers=dict(call.headers), method="POST")
    try:
        with urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code
