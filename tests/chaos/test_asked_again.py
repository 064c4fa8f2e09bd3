"""The same request again, from a client that had no answer: after a newer one it is nothing new."""

from functools import partial

from services.core.events import CloseReason
from tests.chaos.asks import order
from tests.chaos.facts import proposals, verdicts
from tests.chaos.house import House
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until


def test_row_43_a_retry_of_an_older_id_after_a_newer_one(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    sent, waiting = order("ann"), order("bob")
    (old_sent,) = traffic.ask(sent)
    traffic.until_closed([old_sent])
    house["dispatch"].pause()
    (old_waiting,) = traffic.ask(waiting)
    new = traffic.ask(order("ann"), order("bob"))
    traffic.ask(sent, waiting)
    for a, b in zip((old_sent, old_waiting), new, strict=True):
        until(partial(_stand, house, [a, b, a]), "all three are proposed")
    prove("A, B, A stand in the log; once with the first A sent before, once with none")
    house["dispatch"].resume()

    traffic.until_accepted(*new)
    found = traffic.judge()
    found.assert_kept()
    taken = [str(entry.notification_id) for entry in traffic.accepted()]
    # the one that waited may go out before its newer one is read, and not after it
    assert sorted(set(taken) - {old_waiting}) == sorted([old_sent, *new])
    assert len(taken) == len(set(taken))
    assert old_waiting not in taken or taken.index(old_waiting) < taken.index(new[1])
    assert _reasons(house, old_sent) == {CloseReason.SENT}
    why = CloseReason.SENT if old_waiting in taken else CloseReason.SUPERSEDED
    assert _reasons(house, old_waiting) == {why}


def _stand(house: House, ids: list[str]) -> bool:
    """The proposals of their key are these, in this order."""
    return proposals(house, *ids) == ids


def _reasons(house: House, id: str) -> set[CloseReason]:
    return {verdict.reason for verdict in verdicts(house, id)}
