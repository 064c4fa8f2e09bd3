"""Providers refuse, answer nonsense or are away: only what is definite fails over."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from itertools import pairwise

import pytest

from services.core.events import CloseReason
from services.core.outcomes import OutcomeKind
from services.sandbox.faults import (
    Down,
    ErrorInside200,
    Fault,
    Hang,
    HttpStatus,
    HttpStatusTaken,
    Throttle,
)
from tests.chaos.accounts import until_first_choice
from tests.chaos.asks import code, order, reset
from tests.chaos.facts import requested_at, starts, verdicts
from tests.chaos.house import House
from tests.chaos.looks import Made, attempts_of
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until

_TURNS = 10
_FIRST, _SECOND = "postmark-main", "mailgun-main"
#: each says that the message was not taken
_REFUSALS: Mapping[str, tuple[Fault, OutcomeKind]] = {
    "429": (Throttle(), OutcomeKind.THROTTLED),
    "503 in the vendor's words": (HttpStatus(status=503, own_body=True), OutcomeKind.UNAVAILABLE),
    "200 with an error inside": (ErrorInside200(), OutcomeKind.REFUSED_ACCOUNT),
}


def test_row_27_a_definite_refusal_fails_over(house: House, traffic: Traffic, prove: Prove) -> None:
    for name, (fault, kind) in _REFUSALS.items():
        until_first_choice(traffic, "mailgun", "postmark")
        house.providers.set_faults("postmark", fault)
        (id,) = traffic.ask(reset(f"ann-{kind}"))
        made = _until_settled(house, id, "accepted")
        house.providers.clear()
        assert [(one.account, one.outcome) for one in made] == [
            (_FIRST, kind),
            (_SECOND, "accepted"),
        ]
        prove(f"{name}: {kind}, and sent by the next account")
    traffic.judge().assert_kept()


def test_row_27_what_may_have_been_taken_does_not_fail_over(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    until_first_choice(traffic, "mailgun", "postmark")
    faults: Mapping[str, Fault] = {
        "bare": HttpStatus(status=502, address=traffic.address("bare")),
        "own": HttpStatus(status=500, own_body=True, address=traffic.address("own")),
        "taken": HttpStatusTaken(status=502, address=traffic.address("taken")),
        "hang": Hang(address=traffic.address("hang")),
    }
    house.providers.set_faults("postmark", *faults.values())
    ids = dict(zip(faults, traffic.ask(*map(reset, faults)), strict=True))
    for id in ids.values():
        assert _until_settled(house, id, "unknown")
    prove("a bare 502, a 500 in the vendor's words, a 502 for what was taken, and a hang: unknown")

    found = traffic.judge()
    found.assert_kept()
    for id in ids.values():
        assert [one.account for one in attempts_of(house, id)] == [_FIRST]
    assert {e.notification_id for e in traffic.accepted(*ids.values())} == {ids["taken"]}


@pytest.mark.slow
def test_row_27_who_refuses_is_left_alone_longer_each_time(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    until_first_choice(traffic, "postmark")
    house.providers.set_faults("postmark", Throttle())
    house.providers.set_faults("mailgun", Throttle(retry_after=1.5))
    (id,) = traffic.ask(order("ann"))
    until(
        lambda: _times_tried(house, id, _FIRST) >= 3 and _times_tried(house, id, _SECOND) >= 2,
        "both are tried again",
    )
    house.providers.clear()
    traffic.judge().assert_kept()
    first, second = _waits(house, id, _FIRST), _waits(house, id, _SECOND)
    # half a second, doubled each time, and by chance up to a half less
    assert all(wait >= 0.25 * 2**turn for turn, wait in enumerate(first[:4]))
    assert all(wait >= 1.5 for wait in second[:-1])
    assert second
    prove(f"429 again and again: tried after {first}; told to wait for 1.5 s: after {second}")


@pytest.mark.slow
def test_row_28_every_provider_down_for_the_whole_deadline(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    _go_down(house, "postmark", "mailgun", "twilio")
    ids = traffic.ask(*(code(f"ann-{number}") for number in range(20)))
    traffic.until_closed(ids)
    tries = attempts_of(house, *ids)
    assert {made.outcome for made in tries} == {"unavailable"}
    assert {made.account for made in tries} == {_FIRST, _SECOND}
    prove(f"{len(tries)} connections refused while {len(ids)} codes ran out of time")

    asked_at = requested_at(house)
    for id in ids:
        (verdict,) = verdicts(house, id)
        lasted = verdict.at - asked_at[id]
        assert verdict.reason is CloseReason.EXPIRED
        # a claim has to have a second to the deadline
        assert timedelta(seconds=9) <= lasted < timedelta(seconds=15)
    house.providers.clear()
    back = traffic.ask(reset("bob"), order("cid"))
    found = traffic.judge()
    found.assert_kept()
    assert {entry.notification_id for entry in traffic.accepted()} == set(back)


@pytest.mark.slow
def test_row_29_provider_down_for_long_while_users_ask_again_and_again(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    """Half an hour, on a catalogue in which all that takes minutes takes seconds."""
    _go_down(house, "postmark", "mailgun")
    users, asked, newest = [f"ann-{number}" for number in range(20)], list[str](), list[str]()
    for _ in range(_TURNS):
        newest = traffic.ask(*map(reset, users))
        asked += newest
        until(partial(_was_tried, house, newest), "one of the newest is tried")
    assert not traffic.accepted()
    prove(f"{_probes(house, asked)} tries in vain, while {len(users)} users asked {_TURNS} times")

    house.providers.clear()
    found = traffic.judge()
    found.assert_kept()
    assert [id for id in asked if traffic.accepted(id)] == newest
    for id in set(asked) - set(newest):
        assert {verdict.reason for verdict in verdicts(house, id)} == {CloseReason.SUPERSEDED}


def _until_settled(house: House, id: str, outcome: str) -> list[Made]:
    """Its attempts, once the last of them has this outcome."""

    def settled() -> list[Made]:
        made = attempts_of(house, id)
        return made if made and made[-1].outcome == outcome else []

    return until(settled, f"an attempt of {id} is settled as {outcome}")


def _times_tried(house: House, id: str, account: str) -> int:
    return sum(made.account == account for made in attempts_of(house, id))


def _waits(house: House, id: str, account: str) -> list[float]:
    """Seconds between two tries by this account, on the ledger's clock."""
    at = [start.at for start in starts(house, id) if start.account == account]
    return [round((b - a).total_seconds(), 2) for a, b in pairwise(at)]


def _go_down(house: House, *providers: str) -> None:
    """Connections are refused from here on, not only cut."""
    for provider in providers:
        house.providers.set_faults(provider, Down())
        until(house["dispatch"].providers[provider].refuses, f"{provider} refuses connections")


def _was_tried(house: House, ids: list[str]) -> bool:
    return _probes(house, ids) > 0


def _probes(house: House, ids: list[str]) -> int:
    """Tries that came to nothing, of all of these."""
    return sum(made.outcome == "unavailable" for made in attempts_of(house, *ids))
