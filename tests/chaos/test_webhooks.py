"""What providers tell of messages: too often, too early, out of order, never; and by strangers."""

import signal
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from services.core.events import CloseReason, ReceiptKind
from services.core.outcomes import OutcomeKind
from services.runtime.clock import utc_now
from services.sandbox.faults import (
    Bounce,
    Inactive,
    LookupLag,
    Opened,
    ReplyLost,
    WebhooksDuplicated,
    WebhooksForged,
    WebhooksLost,
    WebhooksReordered,
)
from services.sandbox.ledger import Occurrence
from tests.chaos.accounts import until_first_choice
from tests.chaos.asks import campaign, notice, order, reset
from tests.chaos.facts import delivery, ends, receipts, starts, states, until_verdict
from tests.chaos.house import House
from tests.chaos.looks import TRACKER_GROUP, not_committed
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until
from tests.chaos.webhooks import post, webhook

_BULK = "postmark-bulk"
_POSTMARK, _MAILGUN = "postmark-main", "mailgun-main"


def test_row_30_one_webhook_50_times_at_once(house: House, traffic: Traffic, prove: Prove) -> None:
    until_first_choice(traffic, "mailgun", "postmark")
    _until_folded(house)
    fifty, before = WebhooksDuplicated(copies=50), _answered(house)
    house.providers.set_faults("every", fifty)
    house.providers.set_faults("postmark", fifty, Inactive(address=traffic.address("cid")))
    ids = traffic.ask(reset("ann"), notice("bob"), reset("cid", phone="+14155550130"))
    # a text is reported as sent before it is reported as delivered
    until(lambda: _answered(house) - before >= 200, "four webhooks are taken 50 times each")
    _until_folded(house)
    for id, different in zip(ids, (1, 1, 2), strict=True):
        taken = receipts(house, id)
        assert len(taken) == 50 * different
        assert len({receipt.event_id for receipt in taken}) == different
        told = [state.status for state in states(house, id)]
        assert told.count("delivered") == 1
    prove("by each of three vendors: 200 calls are 200 records, and four events")
    traffic.judge().assert_kept()


def test_row_31_webhooks_out_of_order(house: House, traffic: Traffic, prove: Prove) -> None:
    late = Bounce(late=True)
    for name, fault in (("opened", Opened()), ("bounced", late)):
        house.providers.set_faults(
            "every",
            fault,
            WebhooksReordered(address=traffic.address(f"{name}-reversed")),
        )
        ids = traffic.ask(order(f"{name}-in-order"), order(f"{name}-reversed"))
        for id in ids:
            until(partial(_told_twice, house, id), f"all is told of {id}")
        first, second = (_kinds(house, id) for id in ids)
        assert second == first[::-1]
        prove(f"{', then '.join(first)}; and the other way round")
        _until_folded(house)
        assert _end(house, ids[0]) == _end(house, ids[1])
        assert _end(house, ids[0])[0] == "delivered"
    traffic.judge().assert_kept()


def test_row_31_webhooks_before_the_attempt_is_recorded(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    dispatch = house["dispatch"]
    house.providers.set_faults("every", WebhooksLost(address=traffic.address("first")))
    (usual,) = traffic.ask(campaign("usual"))
    until(lambda: _status(house, usual) == "delivered", "the usual end")

    # of this type there is one account to send by, so that it is known beforehand
    before_all = replace(campaign("first"), id=uuid4())
    assert post(webhook(house, _BULK, str(before_all.id), Occurrence.DELIVERED)) == 200
    _until_folded(house)
    (first,) = traffic.ask(before_all)

    traffic.until_accepted(first)
    dispatch.hooks.arm("after_send", number=signal.SIGSTOP)
    (early,) = traffic.ask(campaign("early"))
    dispatch.hooks.until_hit("after_send")
    until(lambda: _status(house, early) == "delivered", "its webhook is folded")
    assert starts(house, early)
    assert OutcomeKind.ACCEPTED not in {end.outcome for end in ends(house, early)}
    prove("a webhook before the request, and one before the attempt was settled")
    dispatch.resume()

    traffic.judge().assert_kept()
    _until_folded(house)
    assert _end(house, first) == _end(house, early) == _end(house, usual)


def test_row_32_forged_stale_or_replayed_webhook(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    forged = _refused(house)
    house.providers.set_faults("every", WebhooksForged(address=traffic.address("ann")))
    ann, bob = traffic.ask(order("ann"), notice("bob"))
    until(lambda: _refused(house) > forged, "a forged webhook is refused and counted")
    until(lambda: _status(house, bob) == "delivered", "bob's is genuine")

    long_ago = utc_now() - timedelta(hours=10)
    stale = webhook(house, _MAILGUN, bob, Occurrence.COMPLAINED, signed_at=long_ago)
    stolen = webhook(house, _POSTMARK, bob, Occurrence.COMPLAINED, secrets={"webhook_secret": "?"})
    assert [post(stale), post(stolen)] == [401, 401]
    # and perhaps the forged one again
    assert _refused(house) >= forged + 3
    prove("a forged, a stale and a guessed one: 401, and counted")

    opened = webhook(house, _MAILGUN, bob, Occurrence.OPENED)
    assert [post(opened) for _ in range(10)] == [200] * 10
    # the signature is not over the event: whoever has one puts it before another
    other = webhook(house, _MAILGUN, bob, Occurrence.COMPLAINED)
    assert post(replace(other, body=_signed_as(opened.body, other.body))) == 200
    _until_folded(house)
    assert len({receipt.event_id for receipt in receipts(house, bob)}) == 2
    assert _kinds(house, bob) == [ReceiptKind.DELIVERED, ReceiptKind.OPENED]
    assert delivery(house, bob)["complained_at"] is None
    prove("a genuine one ten times, and its signature before another event: one event")
    assert not receipts(house, ann)
    traffic.judge().assert_kept()


def test_row_33_a_webhook_that_never_comes(house: House, traffic: Traffic, prove: Prove) -> None:
    lost = house.providers.summary().webhooks.get("lost", 0)
    nobody_knows = traffic.address("nobody-knows")
    house.providers.set_faults(
        "every", WebhooksLost(), ReplyLost(address=nobody_knows), LookupLag(ms=3_600_000)
    )
    sent, unknown = traffic.ask(order("sent"), order("nobody-knows"))
    assert until_verdict(house, sent).reason is CloseReason.SENT
    verdict = until_verdict(house, unknown)
    assert verdict.reason is CloseReason.UNKNOWN
    assert verdict.detail.startswith("no receipt came within")
    assert verdict.detail.endswith("and no look-up found it")
    assert house.providers.summary().webhooks["lost"] == lost + 2
    assert not receipts(house, sent)
    assert not receipts(house, unknown)
    prove(f"two webhooks lost; closed by the sweeper: {verdict.detail}")
    found = traffic.judge()
    found.assert_kept()
    assert found.accepted == 2


def _answered(house: House) -> int:
    return house.providers.summary().webhooks.get("answered", 0)


def _refused(house: House) -> float:
    return house["tracker"].metric("lastword_webhooks_refused_total", cause="forged")


def _until_folded(house: House) -> None:
    until(lambda: not not_committed(house, TRACKER_GROUP), "the tracker has read all")


def _kinds(house: House, id: str) -> Sequence[ReceiptKind]:
    """What its receipts say, in the order in which they came; a repeat is told once."""
    first = {receipt.event_id: receipt for receipt in reversed(receipts(house, id))}
    return [receipt.kind for receipt in reversed(first.values())]


def _told_twice(house: House, id: str) -> bool:
    return len(receipts(house, id)) == 2


def _status(house: House, id: str) -> str:
    told = states(house, id)
    return told[-1].status if told else ""


def _end(house: House, id: str) -> tuple[object, ...]:
    """What a reader of its state is told in the end, but for what is its own."""
    last = max(states(house, id), key=lambda state: state.revision)
    return last.status, last.channel, until_verdict(house, id).reason


def _signed_as(genuine: bytes, other: bytes) -> bytes:
    """Mailgun's other event under the genuine one's signature."""
    signature = msgspec.json.decode(genuine)["signature"]
    return msgspec.json.encode({**msgspec.json.decode(other), "signature": signature})
