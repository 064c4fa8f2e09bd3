"""What the router makes of health: the last word counts while it is fresh, and routes say so."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5

from msgspec.structs import replace

from services.core.events import (
    Addresses,
    NotificationRequested,
    NotificationRouted,
    ProviderHealth,
)
from services.core.identifiers import AccountName, NotificationId, TypeName
from services.core.record import Record
from services.core.steering import PROBED, Standing, Standings
from services.core.topics import HEALTH, requested
from services.router.decide import Routed, route
from services.router.following_health import Latest
from services.runtime.catalogue import load_catalogue
from services.runtime.codec import Codec

SHOP = load_catalogue(Path(__file__).parents[2] / "examples" / "shop")
CODEC = Codec()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
POSTMARK, MAILGUN = AccountName("postmark-transactional"), AccountName("mailgun-transactional")
SICK = {POSTMARK: Standing(score=0.0, why="0 of its last 20 messages that are due have arrived")}


def said(account: AccountName, score: float, ago_s: float = 1.0) -> Record:
    health = ProviderHealth(
        account=account,
        window_start=NOW,
        window_end=NOW,
        attempts=0,
        accepted=0,
        refused=0,
        unavailable=0,
        unknown=0,
        delivered=0,
        bounced=0,
        score=score,
        reason="why",
    )
    return record(CODEC.encode(health), NOW - timedelta(seconds=ago_s))


def record(value: bytes | None, at: datetime = NOW, topic: str = HEALTH) -> Record:
    return Record(
        topic=topic,
        topic_id=str(UUID(int=1)),
        partition=0,
        offset=1,
        key=b"key",
        value=value,
        timestamp=at,
    )


def standings(*records: Record) -> Standings:
    latest = Latest(CODEC)
    for each in records:
        latest.take(each)
    return latest.standings(NOW)


RESET: Mapping[str, object] = {"name": "Ann", "reset_url": "https://shop.example.test/1"}
SHIPPED: Mapping[str, object] = {
    "name": "Ann",
    "order": "A-77",
    "items": [{"title": "Boots", "quantity": 1}],
    "arrives_on": "2026-01-05",
    "tracking_url": "https://track.example.test/1",
}


def proposal(number: int, standings: Standings, type: str = "password_reset") -> NotificationRouted:
    """Of a type which goes by Postmark first."""
    event = NotificationRequested(
        id=NotificationId(uuid5(UUID(int=0), str(number))),
        user="ann",
        type=type,
        to=Addresses(email="ann@example.test", phone="+14155550100"),
        data=RESET if type == "password_reset" else SHIPPED,
    )
    lane = SHOP.catalogue.types[TypeName(type)].lane
    key = f"default:ann:{type}".encode()
    own = replace(record(b"", topic=requested(lane)), key=key)
    output = route(own, event, SHOP.catalogue, SHOP.rules, 1, standings)
    assert isinstance(output, Routed), output
    return output.event


def test_the_last_word_on_an_account_counts() -> None:
    assert standings(said(POSTMARK, 0.2)) == {POSTMARK: Standing(score=0.2, why="why")}
    assert standings(said(POSTMARK, 0.2), said(POSTMARK, 1.0)) == {}
    assert standings(said(POSTMARK, 0.2), said(MAILGUN, 1.0)).keys() == {POSTMARK}


def test_what_is_not_said_anew_is_soon_forgotten() -> None:
    assert standings(said(POSTMARK, 0.2, ago_s=19)).keys() == {POSTMARK}
    assert standings(said(POSTMARK, 0.2, ago_s=21)) == {}


def test_what_nobody_understands_changes_nothing() -> None:
    assert standings(said(POSTMARK, 0.2), record(None), record(b"?")).keys() == {POSTMARK}


def test_a_route_goes_past_who_does_not_deliver_and_says_so() -> None:
    as_listed = proposal(1, {})
    assert as_listed.legs[0].accounts == (POSTMARK, MAILGUN)
    assert as_listed.reason == ""
    past = proposal(1, SICK)
    assert past.legs[0].accounts == (MAILGUN, POSTMARK)
    assert past.reason == (
        f"steered past {POSTMARK}: 0 of its last 20 messages that are due have arrived"
    )


def test_a_trickle_still_goes_there_and_none_of_it_is_critical() -> None:
    critical = [proposal(n, SICK).legs[0].accounts[0] for n in range(500)]
    normal = [proposal(n, SICK, "order_shipped").legs[0].accounts[0] for n in range(500)]
    assert set(critical) == {MAILGUN}
    assert 0 < normal.count(POSTMARK) < 500 * PROBED * 3


def test_the_other_legs_stay_as_they_are() -> None:
    assert proposal(1, SICK).legs[1] == proposal(1, {}).legs[1]
