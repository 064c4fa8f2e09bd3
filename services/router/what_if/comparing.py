"""One request by two catalogues: what is decided by each, and in what the two differ. Pure."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from services.core.addresses import country_of
from services.core.catalogue import Catalogue
from services.core.errors import PoisonEvent
from services.core.events import (
    Cap,
    Channel,
    Leg,
    NotificationCancelled,
    NotificationRequested,
    NotificationRouted,
    Proposal,
)
from services.core.identifiers import NotificationId, TypeName
from services.core.quiet import covering
from services.core.recipients import NOBODY, Known
from services.core.record import Record
from services.core.requested import id_of
from services.core.templates import Templates
from services.core.validation import Rules
from services.providers.segments import segments
from services.router.decide import Dead, Event, Moved, Passed, Routed, route

__all__ = ["Change", "Decision", "Judge", "Kind", "Twice", "changes"]

#: when a request's first attempt began; None: none is known
StartedAt: TypeAlias = Callable[[NotificationId], datetime | None]


class Kind(StrEnum):
    """In what a decision can differ."""

    DROPPED = "dropped"
    TAKEN = "no longer dropped"
    LANE = "lane"
    CHANNEL = "channel"
    ACCOUNT = "account"
    PATIENCE = "patience of a leg"
    SUCCESS = "success of a leg"
    DEADLINE = "deadline"
    MISSED = "deadline missed"
    SUPERSEDING = "what supersedes it"
    CATEGORY = "category"
    CAPS = "how much of it"
    QUIET = "quiet hours"
    COST = "cost"


class Decision(Struct, frozen=True, kw_only=True):
    """What comes of one request. Without addresses: it is shown to whoever asks."""

    id: NotificationId
    type: TypeName
    lane: str
    #: why nobody is told; empty: somebody is
    dropped: str = ""
    legs: tuple[Leg, ...] = ()
    #: from the first append to the deadline
    lasts: timedelta = timedelta()
    deadline: datetime | None = None
    key: str = ""
    category: str = ""
    #: how much of it somebody gets, in words
    caps: str = ""
    #: it waits until then for the night to be over; None: it does not
    wakes_at: datetime | None = None
    #: of one attempt by the first account of the first leg, in the catalogue's own money
    cost: float = 0.0


class Change(Struct, frozen=True):
    """One thing that is otherwise by the new catalogue."""

    kind: Kind
    before: str
    after: str


class Judge:
    """Decides by one catalogue, as its router would."""

    def __init__(
        self, catalogue: Catalogue, rules: Rules, templates: Templates, partitions: int
    ) -> None:
        self.catalogue = catalogue
        self._rules = rules
        self._templates = templates
        self._partitions = partitions

    def decide(
        self, record: Record, event: Event | PoisonEvent, known: Known = NOBODY
    ) -> Decision | None:
        """None for a cancel, which no catalogue decides about."""
        decided = partial(
            route,
            catalogue=self.catalogue,
            rules=self._rules,
            partitions=self._partitions,
            known=known,
        )
        output = decided(record, event)
        if isinstance(output, Moved):
            # where it belongs, it is decided about like any other
            place = replace(record, topic=output.topic, partition=output.partition)
            output = decided(place, output.event)
        match output:
            case Passed():
                return None
            case Dead():
                return _dead(output, event)
            case Routed():
                return self._decision(output)
            case Moved():
                raise AssertionError("it was moved to where it belongs")

    def decide_anew(
        self, record: Record, event: Event | PoisonEvent, known: Known = NOBODY
    ) -> Decision | None:
        """As if it had been asked by this catalogue, which also says under which key it stands."""
        if isinstance(event, NotificationRequested):
            type = self.catalogue.types.get(TypeName(event.type))
            if type is not None:
                id = id_of(record, event)
                key = type.key_of(event.tenant, event.user, event.subject, id)
                record = replace(record, key=key.encode())
                event = replace(event, id=id)
        return self.decide(record, event, known)

    def _decision(self, routed: Routed) -> Decision:
        event = routed.event
        if event.proposal not in (Proposal.SEND, Proposal.FAN_OUT, Proposal.COLLECT):
            return Decision(
                id=event.notification_id,
                type=event.type,
                lane=routed.topic.rpartition(".")[2],
                dropped=f"{event.proposal}: {event.reason}",
            )
        return Decision(
            id=event.notification_id,
            type=event.type,
            lane=routed.topic.rpartition(".")[2],
            legs=event.legs,
            lasts=event.deadline - event.requested_at,
            deadline=event.deadline,
            key=event.key,
            category=f"{event.category}, required" if event.required else event.category,
            caps="; ".join(_cap(cap) for cap in event.caps),
            wakes_at=_wakes_at(event),
            cost=self._cost(event),
        )

    def _cost(self, event: NotificationRouted) -> float:
        if not event.legs:
            # of a list each member is decided about for themselves
            return 0.0
        leg = event.legs[0]
        account = self.catalogue.accounts[leg.accounts[0]]
        if leg.channel is not Channel.SMS:
            return account.price
        price = account.price_in(country_of(leg.address))
        if not price:
            return price
        content = self._templates.render(event.type, leg.channel, event.locale, event.data)
        return price * segments(content.text)


class Twice:
    """Decides by both; what they say the same of is decided once."""

    def __init__(self, before: Judge, after: Judge, alike: frozenset[TypeName]) -> None:
        self._before = before
        self._after = after
        self._alike = alike

    def decide(
        self, record: Record, event: Event | PoisonEvent, known: Known = NOBODY
    ) -> tuple[Decision | None, Decision | None]:
        first = self._before.decide(record, event, known)
        if first is not None and first.type in self._alike:
            return first, first
        # what is wrong with its key is its producer's mistake, by whichever catalogue
        is_sound = first is not None and not first.dropped
        decide = self._after.decide_anew if is_sound else self._after.decide
        return first, decide(record, event, known)


def changes(
    before: Decision, after: Decision, started_at: StartedAt = lambda _: None
) -> Iterator[Change]:
    """All in which the second decision differs; one that is dropped differs in nothing else."""
    if before.dropped and after.dropped:
        return
    if before.dropped or after.dropped:
        kind = Kind.DROPPED if after.dropped else Kind.TAKEN
        yield Change(kind, before.dropped or "sent", after.dropped or "sent")
        return
    yield from _differing(Kind.LANE, before.lane, after.lane)
    yield from _legs(before.legs, after.legs)
    yield from _differing(Kind.DEADLINE, str(before.lasts), str(after.lasts))
    began = started_at(before.id) if after.lasts < before.lasts else None
    if began is not None and after.deadline is not None and after.deadline < began:
        late = f"{(began - after.deadline).total_seconds():.1f} s later"
        yield Change(Kind.MISSED, "in time", f"its first attempt began {late}")
    yield from _differing(Kind.SUPERSEDING, _key(before), _key(after))
    yield from _differing(Kind.CATEGORY, before.category, after.category)
    yield from _differing(Kind.CAPS, before.caps or "any", after.caps or "any")
    yield from _differing(Kind.QUIET, _until(before), _until(after))
    yield from _differing(Kind.COST, f"{before.cost:g}", f"{after.cost:g}")


def _legs(before: tuple[Leg, ...], after: tuple[Leg, ...]) -> Iterator[Change]:
    channels = [", then ".join(leg.channel for leg in legs) for legs in (before, after)]
    if channels[0] != channels[1]:
        yield Change(Kind.CHANNEL, channels[0], channels[1])
        return
    yield from _differing(Kind.ACCOUNT, _accounts(before), _accounts(after))
    yield from _differing(Kind.PATIENCE, _patience(before), _patience(after))
    yield from _differing(Kind.SUCCESS, _success(before), _success(after))


def _accounts(legs: tuple[Leg, ...]) -> str:
    return "; ".join(f"{leg.channel} by {', '.join(leg.accounts)}" for leg in legs)


def _patience(legs: tuple[Leg, ...]) -> str:
    told = [leg.give_up_after_ms for leg in legs]
    return "; ".join("to the end" if ms is None else str(timedelta(milliseconds=ms)) for ms in told)


def _success(legs: tuple[Leg, ...]) -> str:
    return "; ".join(
        f"{leg.success} within {timedelta(milliseconds=leg.within_ms)}"
        if leg.within_ms
        else str(leg.success)
        for leg in legs
    )


def _wakes_at(event: NotificationRouted) -> datetime | None:
    span = covering(event.quiet, event.not_before or event.requested_at)
    return None if span is None else span.end


def _until(decision: Decision) -> str:
    at = decision.wakes_at
    return "at once" if at is None else f"waits until {at:%Y-%m-%d %H:%M} UTC"


def _cap(cap: Cap) -> str:
    return f"{cap.most} of {cap.scope} in {timedelta(milliseconds=cap.per_ms)}"


def _key(decision: Decision) -> str:
    """Without the user: whether others can take its place."""
    return "nothing" if str(decision.id) in decision.key else "a newer one of its key"


def _differing(kind: Kind, before: str, after: str) -> Iterator[Change]:
    if before != after:
        yield Change(kind, before, after)


def _dead(dead: Dead, event: Event | PoisonEvent) -> Decision:
    match event:
        case NotificationRequested() | NotificationCancelled():
            type = event.type
        case _:
            type = ""
    routed = dead.routed
    return Decision(
        id=routed.event.notification_id,
        type=TypeName(type),
        lane=routed.topic.rpartition(".")[2],
        dropped=f"dead letter: {dead.error.cause}",
    )
