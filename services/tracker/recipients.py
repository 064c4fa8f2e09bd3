"""What is known of a recipient, and addresses that are not written to again.

An address is in the body and in no path or query, so that it stands in nobody's log.
"""

from collections.abc import Iterator

import msgspec
from aiohttp import web

from services.core.events import Addresses, Channel
from services.core.identifiers import DEFAULT_TENANT
from services.core.recipients import RecipientBook, Suppression, address_digest
from services.core.ways import address_on
from services.tracker.access import Keys
from services.tracker.problems import Problem
from services.tracker.queries import asked, json_response, parameters

__all__ = ["RecipientQueries"]

_MOST_BYTES = 10_000


class _Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which address is meant."""

    channel: Channel
    address: str
    tenant: str | None = None


class RecipientQueries:
    """Only a caller's own tenant is there for it, once there are keys."""

    def __init__(self, book: RecipientBook, keys: Keys) -> None:
        self._book = book
        self._keys = keys

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/recipients/{user}", self.one),
            web.post("/v1/suppressions", self.look),
            web.post("/v1/suppressions/lift", self.lift),
        ]

    async def one(self, request: web.Request) -> web.Response:
        """The profile, and what of its addresses is suppressed."""
        own = self._keys.tenant(request.headers.get("Authorization"))
        tenant = _tenant(own, parameters(request, ("tenant",)).get("tenant"))
        who = (tenant, request.match_info["user"])
        profile = (await asked(self._book.profiles([who]))).get(who)
        if profile is None:
            raise Problem(404, "Nobody of this name has a profile, or it was not read yet")
        digests = {digest: channel for channel, digest in _digests(tenant, profile.to)}
        found = await asked(self._book.suppressions(digests)) if digests else {}
        told = [_told(digests[digest], one) for digest, each in found.items() for one in each]
        body = {"tenant": who[0], "user": who[1], **msgspec.to_builtins(profile)}
        return json_response({**body, "suppressions": told})

    async def look(self, request: web.Request) -> web.Response:
        """Whether an address is suppressed, and for which categories."""
        channel, digest = await self._named(request)
        found = await asked(self._book.suppressions([digest]))
        return json_response({"suppressions": [_told(channel, s) for s in found.get(digest, ())]})

    async def lift(self, request: web.Request) -> web.Response:
        """What is sent from now on may go there again, until another receipt says no."""
        _, digest = await self._named(request)
        return json_response({"lifted": await asked(self._book.lift(digest))})

    async def _named(self, request: web.Request) -> tuple[Channel, str]:
        own = self._keys.tenant(request.headers.get("Authorization"))
        try:
            named = msgspec.json.decode(await request.content.read(_MOST_BYTES), type=_Address)
        except msgspec.MsgspecError:
            detail = 'Send {"channel": "email", "address": "...", "tenant": "..."} as JSON'
            raise Problem(400, detail) from None
        tenant = _tenant(own, named.tenant)
        return named.channel, address_digest(tenant, named.channel, named.address)


def _tenant(own: str | None, named: str | None) -> str:
    if own is not None and named not in (None, own):
        raise Problem(400, "This key is of another tenant", "tenant")
    return own or named or DEFAULT_TENANT


def _digests(tenant: str, to: Addresses | None) -> Iterator[tuple[Channel, str]]:
    for channel in Channel:
        address = None if to is None else address_on(to, channel)
        if address:
            yield channel, address_digest(tenant, channel, address)


def _told(channel: Channel, one: Suppression) -> dict[str, str]:
    return {"channel": channel, "category": one.category, "kind": one.kind}
