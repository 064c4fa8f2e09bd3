"""What was accepted, in the order in which it was: the oracle for "at most once".

A provider cannot be wrong about what it took. So each entry is written before the reply leaves, and
stays when the reply is lost. Bodies of mails are kept for the newest only; the facts for all.
"""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import getaddresses
from enum import StrEnum

from msgspec import Struct

__all__ = ["Draft", "Entry", "Event", "Ledger", "Occurrence", "Summary", "addresses_in"]


class Occurrence(StrEnum):
    """What may become of a message that was accepted."""

    SENT = "sent"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED_HARD = "bounced_hard"
    BOUNCED_SOFT = "bounced_soft"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    OPENED = "opened"
    COMPLAINED = "complained"


class Event(Struct, frozen=True, gc=False, kw_only=True):
    """One of the things that became of a message."""

    what: Occurrence
    at: datetime
    #: counts all occurrences of a sandbox, so it tells two apart
    number: int


class Draft(Struct, kw_only=True, gc=False):
    """A message as a vendor's request says it, before it is accepted."""

    to: str
    sender: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""
    tag: str = ""
    stream: str = ""
    #: what the vendor echoes: Metadata, v: variables, or the query of a callback
    variables: Mapping[str, str] = {}
    #: where its webhooks go, where a message says so itself
    callback_url: str = ""
    #: seconds that the provider was told to try for
    deadline_s: int | None = None
    provider_ref: str = ""


class Entry(Struct, kw_only=True, gc=False):
    """A message that was accepted."""

    #: from 1, in the order of acceptance
    seq: int
    provider: str
    account: str
    provider_ref: str
    to: str
    received_at: datetime
    #: seconds on the sandbox's clock, which never jumps
    monotonic: float
    #: messages in its request
    batch: int
    notification_id: str | None = None
    attempt: int | None = None
    type: str = ""
    sender: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""
    tag: str = ""
    stream: str = ""
    variables: Mapping[str, str] = {}
    callback_url: str = ""
    deadline_s: int | None = None
    history: list[Event] = []


class Summary(Struct, frozen=True, gc=False, kw_only=True):
    """Counts, and what was accepted more than once."""

    accepted: int
    by_provider: Mapping[str, int]
    by_account: Mapping[str, int]
    #: provider, then type
    by_type: Mapping[str, Mapping[str, int]]
    notifications: int
    #: an attempt of a notification that was accepted more than once: I2 is broken
    repeated_attempts: Sequence[tuple[str, int, int]]
    #: a notification accepted in several attempts: broken, but where its type allows it
    repeated_notifications: Sequence[tuple[str, int]]
    #: without an id of ours
    foreign: int


def addresses_in(field: str) -> list[str]:
    """The bare addresses of a header such as ``Ann <a@x>, b@y``; a phone number is itself."""
    if "<" not in field and "," not in field:
        return [field.strip()]
    return [address for _, address in getaddresses([field]) if address]


class Ledger:
    """Entries with the indexes that look-ups and counts need. Not thread-safe."""

    def __init__(self, *, bodies_kept: int = 5_000) -> None:
        self._bodies_kept = bodies_kept
        self._next = 1
        self.clear()

    def clear(self) -> None:
        """Forget all but how far the numbers have come."""
        self.entries: list[Entry] = []
        self._first = self._next
        self._by_address: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
        self._by_tag: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
        self._by_ref: dict[tuple[str, str], list[Entry]] = defaultdict(list)
        self._by_type: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._by_account: dict[str, int] = defaultdict(int)
        self._attempts: dict[tuple[str, int], int] = defaultdict(int)
        self._notifications: dict[str, int] = defaultdict(int)
        self._repeated_attempts: set[tuple[str, int]] = set()
        self._repeated: set[str] = set()
        self._with_bodies: deque[Entry] = deque()

    def accept(
        self,
        draft: Draft,
        *,
        provider: str,
        account: str,
        batch: int,
        now: datetime,
        monotonic: float,
    ) -> Entry:
        """Write it down; from here on the provider has taken it."""
        entry = Entry(
            seq=self._next,
            provider=provider,
            account=account,
            provider_ref=draft.provider_ref,
            to=draft.to,
            received_at=now,
            monotonic=monotonic,
            batch=batch,
            notification_id=draft.variables.get("nid"),
            attempt=_number(draft.variables.get("att")),
            type=draft.variables.get("type", ""),
            sender=draft.sender,
            subject=draft.subject,
            text=draft.text,
            html=draft.html,
            tag=draft.tag,
            stream=draft.stream,
            variables=draft.variables,
            callback_url=draft.callback_url,
            deadline_s=draft.deadline_s,
            history=[],
        )
        self._next += 1
        self.entries.append(entry)
        self._index(entry)
        self._count(entry)
        self._forget_old_bodies(entry)
        return entry

    def _index(self, entry: Entry) -> None:
        for address in addresses_in(entry.to):
            self._by_address[entry.provider, entry.account, address.lower()].append(entry)
        self._by_ref[entry.provider, entry.provider_ref].append(entry)
        if entry.tag:
            self._by_tag[entry.provider, entry.account, entry.tag].append(entry)

    def _count(self, entry: Entry) -> None:
        self._by_type[entry.provider][entry.type] += 1
        self._by_account[entry.account] += 1
        if entry.notification_id is None:
            return
        self._notifications[entry.notification_id] += 1
        if self._notifications[entry.notification_id] > 1:
            self._repeated.add(entry.notification_id)
        attempt = (entry.notification_id, entry.attempt or 0)
        self._attempts[attempt] += 1
        if self._attempts[attempt] > 1:
            self._repeated_attempts.add(attempt)

    def _forget_old_bodies(self, entry: Entry) -> None:
        """A short text stays: SMS look-ups go by it."""
        if not entry.html and len(entry.text) <= 1_600:
            return
        self._with_bodies.append(entry)
        if len(self._with_bodies) > self._bodies_kept:
            old = self._with_bodies.popleft()
            old.html, old.text = "", "(no longer kept)"

    def get(self, seq: int) -> Entry | None:
        index = seq - self._first
        return self.entries[index] if 0 <= index < len(self.entries) else None

    def since(self, seq: int) -> Sequence[Entry]:
        """Those after ``seq``."""
        return self.entries[max(seq + 1 - self._first, 0) :]

    def to_address(self, provider: str, account: str, address: str) -> Sequence[Entry]:
        return self._by_address.get((provider, account, address.lower()), ())

    def with_tag(self, provider: str, account: str, tag: str) -> Sequence[Entry]:
        return self._by_tag.get((provider, account, tag), ())

    def with_ref(self, provider: str, ref: str) -> Sequence[Entry]:
        return self._by_ref.get((provider, ref), ())

    def summary(self) -> Summary:
        counts = {name: sum(types.values()) for name, types in self._by_type.items()}
        return Summary(
            accepted=len(self.entries),
            by_provider=counts,
            by_account=dict(self._by_account),
            by_type={name: dict(types) for name, types in self._by_type.items()},
            notifications=len(self._notifications),
            repeated_attempts=[
                (*attempt, self._attempts[attempt]) for attempt in sorted(self._repeated_attempts)
            ],
            repeated_notifications=[
                (which, self._notifications[which]) for which in sorted(self._repeated)
            ],
            foreign=sum(counts.values()) - sum(self._notifications.values()),
        )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
