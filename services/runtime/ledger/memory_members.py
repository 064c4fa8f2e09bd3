"""Who is on which list, in the ledger in memory: the rows of ``sql/functions/9_lists.sql``."""

from collections.abc import Sequence

from msgspec import Struct, field

from services.core.events import Addresses
from services.core.identifiers import Origin
from services.core.lists import Member, MemberChange

__all__ = ["Members"]


class Members(Struct):
    """By tenant, list and user."""

    rows: dict[tuple[str, str], dict[str, tuple[Addresses | None, Origin]]] = field(
        default_factory=dict
    )

    def fold(self, changes: Sequence[MemberChange]) -> None:
        for change in changes:
            on = self.rows.setdefault((change.tenant, change.list), {})
            known = on.get(change.user)
            if known is not None and not _is_later(change.origin, known[1]):
                continue
            if change.is_on:
                on[change.user] = (change.to, change.origin)
            else:
                on.pop(change.user, None)

    def after(self, tenant: str, list: str, user: str, most: int) -> Sequence[Member]:
        on = self.rows.get((tenant, list), {})
        users = sorted(name for name in on if name > user)
        return [Member(name, on[name][0]) for name in users[:most]]


def _is_later(origin: Origin, known: Origin) -> bool:
    return origin.topic_id != known.topic_id or origin.offset > known.offset
