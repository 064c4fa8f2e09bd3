"""The connection to the provider breaks where nobody can tell any more what it took."""

import pytest

from services.runtime.clock import utc_now
from services.sandbox.faults import LookupLag, ReplyLost, WebhooksLost
from tests.chaos.accounts import until_first_choice
from tests.chaos.asks import campaign, notice, reset
from tests.chaos.facts import starts, until_verdict
from tests.chaos.house import House
from tests.chaos.looks import attempts_of, called_unknown
from tests.chaos.plugin import Prove
from tests.chaos.proxy import Proxy, Way
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until


def _first_choice(house: House) -> Proxy:
    """Dispatch's way to the provider whose account comes first in the route of a reset."""
    return house["dispatch"].providers["postmark"]


def _until_unknown(house: House, *ids: str) -> None:
    until(lambda: called_unknown(house) >= set(ids), "their attempts are called unknown")


def _assert_no_fail_over(house: House, *ids: str) -> None:
    """Though the route has a second account, and it works."""
    for id in ids:
        assert [made.account for made in attempts_of(house, id)] == ["postmark-main"]


def test_row_12_the_providers_reply_lost(house: House, traffic: Traffic, prove: Prove) -> None:
    until_first_choice(traffic, "postmark")
    house.providers.set_faults("postmark", WebhooksLost(address=traffic.address("mute")))
    link = _first_choice(house)
    link.drop(Way.BACK)
    ids = traffic.ask(reset("heard"), reset("mute"))
    traffic.until_accepted(*ids)
    _until_unknown(house, *ids)
    assert link.dropped[Way.BACK]
    prove(f"{link.dropped[Way.BACK]} bytes of replies lost to two messages that were taken")

    link.mend()
    found = traffic.judge()
    found.assert_kept()
    _assert_no_fail_over(house, *ids)
    assert sum(found.unknown.values()) <= 1, "the one whose receipt came is not unknown"


def test_row_13_the_provider_drips_its_reply(house: House, traffic: Traffic, prove: Prove) -> None:
    until_first_choice(traffic, "postmark")
    link = _first_choice(house)
    link.drip(1.0, Way.BACK)
    before = link.seen[Way.BACK]
    (id,) = traffic.ask(reset("ann"))
    traffic.until_accepted(id)
    _until_unknown(house, id)
    replied = link.seen[Way.BACK] - before
    assert replied > 10
    prove(f"a reply of {replied} bytes, one a second, given up after 2 s")

    link.mend()
    found = traffic.judge()
    found.assert_kept()
    _assert_no_fail_over(house, id)


def test_row_14_connection_reset_in_mid_body(house: House, traffic: Traffic, prove: Prove) -> None:
    until_first_choice(traffic, "postmark")
    link = _first_choice(house)
    untouched = link.resets
    link.reset_after(50, Way.BACK)
    (taken,) = traffic.ask(reset("ann"))
    traffic.until_accepted(taken)
    _until_unknown(house, taken)
    link.mend()
    in_a_reply = link.resets
    assert in_a_reply > untouched, "of the send, and of a look-up that was as quick"
    # a few lost replies in a row, and the account would rest
    until_first_choice(traffic, "postmark")
    link.reset_after(10_000, Way.OUT)
    (cut,) = traffic.ask(reset("bob", text="x" * 200_000))
    _until_unknown(house, cut)
    assert link.resets > in_a_reply
    prove("reset after 50 bytes of a reply, and after 10,000 of a request of 200,000")

    link.mend()
    found = traffic.judge()
    found.assert_kept()
    _assert_no_fail_over(house, taken, cut)
    assert {entry.notification_id for entry in traffic.accepted(taken, cut)} == {taken}
    assert sum(found.unknown.values()) == 1


def test_row_46_the_look_up_lags_behind_the_acceptance(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    house.providers.set_faults("every", ReplyLost(), WebhooksLost(), LookupLag(ms=2_000))
    found_nothing = _looked_in_vain(house)
    ids = traffic.ask(reset("holds"), notice("repeats"))
    traffic.until_accepted(*ids)
    verdicts = [until_verdict(house, id) for id in ids]
    in_vain = _looked_in_vain(house) - found_nothing
    assert in_vain >= len(ids)
    assert all(verdict.detail.startswith("a look-up found it") for verdict in verdicts)
    prove(f"{in_vain:.0f} look-ups found nothing of what was taken, before others found it")

    found = traffic.judge()
    found.assert_kept()
    assert found.accepted == len(ids)
    assert len(attempts_of(house, *ids)) == len(ids)
    assert not found.unknown


@pytest.mark.slow
def test_row_48_a_sends_bytes_stuck_in_the_socket_past_its_time(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    until_first_choice(traffic, "postmark")
    link = _first_choice(house)
    resets, read = link.resets, link.seen[Way.OUT]
    link.hold(Way.OUT)
    # a large body and, a request of several messages, a larger one, which is handed over in parts
    large = "x" * 200_000
    ids = traffic.ask(reset("ann", text=large), *(campaign(f"b-{n}", text=large) for n in range(5)))
    _until_unknown(house, *ids)
    over_at = max(start.over_at for id in ids for start in starts(house, id) if start.over_at)
    until(lambda: utc_now() > over_at, "nobody can be sending them any more")
    assert link.seen[Way.OUT] == read
    link.mend()
    dropped = link.resets - resets
    assert dropped >= 2
    prove(f"{dropped} connections that nobody read from were reset by then, with all in them")

    # one that goes the same way afterwards arrives
    until_first_choice(traffic, "postmark")
    found = traffic.judge()
    found.assert_kept()
    assert not traffic.accepted(*ids)
    assert len(attempts_of(house, *ids)) == len(ids)


def _looked_in_vain(house: House) -> float:
    return house["tracker"].metric("lastword_lookups_total", answer="not found")
