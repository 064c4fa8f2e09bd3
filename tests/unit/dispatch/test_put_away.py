"""Lists and digests whose type has left the catalogue: they fail, and dispatch goes on."""

from collections.abc import Coroutine

import pytest
from msgspec.structs import replace

from services.core.catalogue import Lane
from services.core.events import CloseReason, Collecting, Proposal
from services.dispatch.digesting import Digesting
from services.dispatch.fan_out import NO_SUCH_TYPE, FanningOut
from services.dispatch.offsets import PARKED
from services.dispatch.pending import Candidate
from tests.unit.dispatch.examples import routed
from tests.unit.dispatch.memory import Memory

RESUMED = (("deliveries.queued.critical", 0), PARKED)
#: an hour
COLLECTING = Collecting(window_ms=3_600_000, most=10)


@pytest.mark.parametrize("proposal", [Proposal.FAN_OUT, Proposal.COLLECT])
async def test_what_waits_of_a_type_that_is_gone_fails_and_says_so(proposal: Proposal) -> None:
    memory = Memory()
    work: list[Coroutine[None, None, None]] = []
    takers: dict[Proposal, FanningOut | Digesting] = {
        Proposal.FAN_OUT: FanningOut(memory.state, memory.closes, {}, work.append),
        Proposal.COLLECT: Digesting(memory.state, memory.closes, {}, work.append),
    }
    event = replace(routed("n", 1), proposal=proposal, legs=(), collecting=COLLECTING)
    takers[proposal].take(Candidate(event, (0, 1), Lane.CRITICAL, RESUMED))
    for each in work:
        await each
    (closing,) = [row.closing for row in memory.ledger.rows.notifications.values()]
    assert closing is not None
    assert (closing.reason, closing.detail) == (CloseReason.FAILED, NO_SUCH_TYPE)
    assert memory.state.unparked == [event.notification_id]
