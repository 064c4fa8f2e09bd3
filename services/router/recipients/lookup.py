"""What is known of those whom some requests are for.

A request without addresses whose recipient has no profile may be here before the profile is: then
it is waited for until all profiles are taken in that were appended before. So whoever is answered
for a profile can ask for a notification at once. Of a list, all members are waited for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence, Set
from typing import TypeAlias

from lastword.contract import recipient_key
from services.core.events import Addresses, Channel, NotificationRequested
from services.core.partitioner import partition_of
from services.core.recipients import Known, Profile, RecipientBook, Who, address_digest
from services.core.topics import LISTS, RECIPIENTS
from services.core.ways import address_on
from services.runtime.bridge import Bridge

__all__ = ["Ends", "RecipientLookup", "known_of"]

_AGAIN_S = 0.05
#: of a topic and its id, by partition, the next record to be appended
Ends: TypeAlias = Callable[[str, str], Mapping[int, int]]


class RecipientLookup:
    """For the stream's thread; the ledger's book lives on an event loop."""

    def __init__(
        self, book: RecipientBook, bridge: Bridge, topic_ids: Mapping[str, str], ends: Ends
    ) -> None:
        """``ends`` may block, and raise ``Retryable``."""
        self._book = book
        self._bridge = bridge
        self._topic_ids = topic_ids
        self._ends = ends

    def __call__(self, requests: Sequence[NotificationRequested]) -> Known:
        """Raises ``Stopped`` where it was told to while the ledger is away."""
        return self._bridge.ask(lambda: self._known(requests))

    async def _known(self, requests: Sequence[NotificationRequested]) -> Known:
        if any(is_to_list(request) for request in requests):
            await self._catch_up(LISTS)
        return await known_of(requests, self._book, self._catch_up_with)

    async def _catch_up_with(self, whos: Set[Who]) -> None:
        await self._catch_up(RECIPIENTS, [recipient_key(*who) for who in whos])

    async def _catch_up(self, topic: str, keys: Sequence[bytes] | None = None) -> None:
        """Until all is taken in that stands there now, where these keys belong or anywhere."""
        topic_id = self._topic_ids[topic]
        ends = await asyncio.to_thread(self._ends, topic, topic_id)
        wanted = set(ends) if keys is None else {partition_of(key, len(ends)) for key in keys}
        done = await self._book.offsets(topic_id)
        while any(done.get(partition, 0) < ends[partition] for partition in wanted):
            await asyncio.sleep(_AGAIN_S)
            done = await self._book.offsets(topic_id)


def is_to_list(request: NotificationRequested) -> bool:
    return request.to is not None and request.to.list is not None


async def _as_it_is(_: Set[Who]) -> None:
    """Nothing is waited for."""


async def known_of(
    requests: Sequence[NotificationRequested],
    book: RecipientBook,
    catch_up: Callable[[Set[Who]], Awaitable[None]] = _as_it_is,
) -> Known:
    """``catch_up``: called for those who have no profile and need one, before a second look."""
    whos = {(r.tenant, r.user) for r in requests if not is_to_list(r)}
    if not whos:
        return Known()
    profiles = await book.profiles(whos)
    if missing := {(r.tenant, r.user) for r in requests if r.to is None} - profiles.keys():
        await catch_up(missing)
        profiles = {**profiles, **await book.profiles(missing)}
    digests = {digest for request in requests for digest in _digests(request, profiles)}
    suppressions = await book.suppressions(digests) if digests else {}
    return Known(profiles=profiles, suppressions=suppressions)


def _digests(request: NotificationRequested, profiles: Mapping[Who, Profile]) -> Iterator[str]:
    profile = profiles.get((request.tenant, request.user))
    to = request.to or (None if profile is None else profile.to) or Addresses()
    for channel in Channel:
        if address := address_on(to, channel):
            yield address_digest(request.tenant, channel, address)
