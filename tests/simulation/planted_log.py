"""Bugs planted in what the log means: keys, generations, batches, a ledger that was set back."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import pytest
from msgspec.structs import replace

from services.core.events import NotificationRequested
from services.core.identifiers import Origin, supersession_key
from services.core.outcomes import Outcome, OutcomeKind
from services.core.ports import Access, Message
from services.core.record import Record
from services.core.restoring import Made, RestorableLedger
from services.dispatch import sends
from services.dispatch.claims import Flight
from services.router.app import Router
from services.runtime.ledger import restore
from services.runtime.ledger.memory_rows import Rows, Version
from services.runtime.producer import OutRecord
from tests.simulation.codec import CODEC
from tests.simulation.scenes import contradicting_key, topic_made_anew

__all__ = ["LOG_BUGS", "LOG_SCENES"]

Patch: TypeAlias = pytest.MonkeyPatch
Bug: TypeAlias = Callable[[Patch], None]


def take_any_topic_for_the_same(patch: Patch) -> None:
    """A topic that was made anew goes on where the one before it ended (P7)."""

    def version_of(self: Rows, origin: Origin) -> Version:
        return (0, origin.offset)

    patch.setattr(Rows, "version_of", version_of)


def believe_the_key_of_a_record(patch: Patch) -> None:
    """What a request says of its user and type counts for nothing beside its key (P6)."""
    decide = Router.decide

    def believed(self: Router, records: Sequence[Record]) -> list[OutRecord]:
        keys = {record.origin: record.key for record in records}
        told = []
        for record in records:
            told += [
                replace(out, key=keys[record.origin]) for out in decide(self, [_own_key(record)])
            ]
        return told

    patch.setattr(Router, "decide", believed)


def _own_key(record: Record) -> Record:
    """The key that its value has."""
    event = CODEC.decode_requested(record.value or b"")
    assert isinstance(event, NotificationRequested)
    key = supersession_key(event.tenant, event.user, event.type, event.subject)
    return replace(record, key=key.encode())


def call_the_rest_of_a_lost_batch_unavailable(patch: Patch) -> None:
    """One lost reply makes the first message of a batch unknown, and the others free (P15)."""
    outcomes = sends.Sends._outcomes

    async def first_only(
        self: sends.Sends, access: Access, messages: Sequence[Message], flights: Sequence[Flight]
    ) -> Sequence[Outcome]:
        told = await outcomes(self, access, messages, flights)
        if len(told) > 1 and all(one.kind is OutcomeKind.UNKNOWN for one in told):
            free = Outcome(kind=OutcomeKind.UNAVAILABLE)
            return [told[0], *[free] * (len(told) - 1)]
        return told

    patch.setattr(sends.Sends, "_outcomes", first_only)


def trust_a_ledger_that_started_anew(patch: Patch) -> None:
    """Its life is confirmed without a look at the log (P14)."""

    async def nothing(self: restore.Restorer, ledger: RestorableLedger) -> Made:
        return Made()

    patch.setattr(restore.Restorer, "_read_again", nothing)


def read_the_log_at_once(patch: Patch) -> None:
    """What an earlier life has granted may still come to the log after it was read (P14)."""

    def none(*_: object) -> int:
        return 0

    patch.setattr(restore, "wait_ms", none)


#: those that chance hardly comes to are shown a scene instead
LOG_SCENES: Mapping[str, Callable[[], None]] = {
    "take_any_topic_for_the_same": topic_made_anew,
    "believe_the_key_of_a_record": contradicting_key,
}
LOG_BUGS: Mapping[str, Bug] = {
    bug.__name__: bug
    for bug in (
        take_any_topic_for_the_same,
        believe_the_key_of_a_record,
        call_the_rest_of_a_lost_batch_unavailable,
        trust_a_ledger_that_started_anew,
        read_the_log_at_once,
    )
}
