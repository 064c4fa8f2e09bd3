"""What is known of those whom some requests are for.

A request without addresses whose recipient has no profile may be here before the profile is: then
it is waited for until all profiles are taken in that were appended before. So whoever is answered
for a profile can ask for a notification at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence, Set
from typing import TypeAlias

from lastword.contract import recipient_key
from services.core.events import Addresses, Channel, NotificationRequested
from services.core.partitioner import partition_of
from services.core.recipients import Known, Profile, RecipientBook, Who, address_digest
from services.core.ways import address_on
from services.runtime.bridge import Bridge

__all__ = ["Ends", "RecipientLookup", "known_of"]

_AGAIN_S = 0.05
#: by partition of the topic of profiles, the next record to be appended
Ends: TypeAlias = Callable[[], Mapping[int, int]]


class RecipientLookup:
    """For the stream's thread; the ledger's book lives on an event loop."""

    def __init__(self, book: RecipientBook, bridge: Bridge, topic_id: str, ends: Ends) -> None:
        """``ends`` may block, and raise ``Retryable``."""
        self._book = book
        self._bridge = bridge
        self._topic_id = topic_id
        self._ends = ends

    def __call__(self, requests: Sequence[NotificationRequested]) -> Known:
        """Raises ``Stopped`` where it was told to while the ledger is away."""
        return self._bridge.ask(lambda: known_of(requests, self._book, self._catch_up))

    async def _catch_up(self, whos: Set[Who]) -> None:
        """Until all is taken in that stands on their partitions now."""
        ends = await asyncio.to_thread(self._ends)
        wanted = {partition_of(recipient_key(*who), len(ends)) for who in whos}
        done = await self._book.offsets(self._topic_id)
        while any(done.get(partition, 0) < ends[partition] for partition in wanted):
            await asyncio.sleep(_AGAIN_S)
            done = await self._book.offsets(self._topic_id)


async def _as_it_is(_: Set[Who]) -> None:
    """Nothing is waited for."""


async def known_of(
    requests: Sequence[NotificationRequested],
    book: RecipientBook,
    catch_up: Callable[[Set[Who]], Awaitable[None]] = _as_it_is,
) -> Known:
    """``catch_up``: called for those who have no profile and need one, before a second look."""
    whos = {(request.tenant, request.user) for request in requests}
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
