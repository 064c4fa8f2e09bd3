"""The connection to the provider breaks where nobody can tell any more what it took."""

from services.sandbox.faults import WebhooksLost
from tests.chaos.asks import reset
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
    link = _first_choice(house)
    resets = link.resets
    link.reset_after(50, Way.BACK)
    (taken,) = traffic.ask(reset("ann"))
    traffic.until_accepted(taken)
    _until_unknown(house, taken)
    link.mend()
    link.reset_after(10_000, Way.OUT)
    (cut,) = traffic.ask(reset("bob", text="x" * 200_000))
    _until_unknown(house, cut)
    assert link.resets - resets == 2
    prove("reset after 50 bytes of a reply, and after 10,000 of a request of 200,000")

    link.mend()
    found = traffic.judge()
    found.assert_kept()
    _assert_no_fail_over(house, taken, cut)
    assert {entry.notification_id for entry in traffic.accepted()} == {taken}
    assert sum(found.unknown.values()) == 1
