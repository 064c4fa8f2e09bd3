"""What the ledger on PostgreSQL knows of recipients: ``sql/functions/8_recipients.sql``."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from services.core.events import ReceiptKind
from services.core.recipients import Profile, ProfileChange, Suppression, Who

__all__ = ["PostgresBook"]

_T = TypeVar("_T")


class _Call(Protocol):
    """A function of the ledger, its rows' type, and its arguments."""

    async def __call__(self, function: str, type_: type[_T], *arguments: object) -> list[_T]: ...


class PostgresBook:
    """``core.recipients.RecipientBook``, by the calls of a ledger."""

    def __init__(self, rows: _Call) -> None:
        self._rows = rows

    async def profiles(self, whos: Iterable[Who]) -> Mapping[Who, Profile]:
        rows = await self._rows("profiles_of", tuple[str, str, Profile], _json(list(whos)))
        return {(tenant, user): profile for tenant, user, profile in rows}

    async def suppressions(self, digests: Iterable[str]) -> Mapping[str, tuple[Suppression, ...]]:
        rows = await self._rows("suppressed", tuple[str, str, ReceiptKind], _json(list(digests)))
        found: dict[str, tuple[Suppression, ...]] = {}
        for digest, category, kind in rows:
            found[digest] = (*found.get(digest, ()), Suppression(category, kind))
        return found

    async def lift(self, digest: str) -> int:
        (lifted,) = await self._rows("lift", int, digest)
        return lifted

    async def fold(
        self, changes: Sequence[ProfileChange], offsets: Mapping[tuple[str, int], int]
    ) -> None:
        bodies = [
            {
                "tenant": change.who[0],
                "user": change.who[1],
                "profile": change.profile,
                "topic_id": change.origin.topic_id,
                "offset": change.origin.offset,
            }
            for change in changes
        ]
        rows = [(topic_id, partition, next) for (topic_id, partition), next in offsets.items()]
        await self._rows("fold_profiles", bool, _json(bodies), _json(rows))

    async def offsets(self, topic_id: str) -> Mapping[int, int]:
        return dict(await self._rows("profile_offsets", tuple[int, int], topic_id))


def _json(bodies: object) -> str:
    return msgspec.json.encode(bodies).decode()
