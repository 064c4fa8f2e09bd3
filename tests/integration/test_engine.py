"""The engine as its users see it: fail-over, deadlines, supersession, cancelling, the unknown.

The shop's catalogue with every duration divided by 300: a reset lives for 12 s and goes over to SMS
after 3, a login code lives for 1 s.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import datetime
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from confluent_kafka import Producer

from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.postgres import EmbeddedPostgres
from services.sandbox.faults import (
    Down,
    Fault,
    HttpStatus,
    Inactive,
    ReplyLost,
    SlowReply,
    Throttle,
    WebhooksLost,
)
from services.sandbox.ledger import Entry
from tests.integration.stack import Stack, running_stack
from tests.integration.tracking import Log

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIME_SCALE = 300.0
_users = count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("engine")
    with EmbeddedKafka(folder / "kafka") as kafka, EmbeddedPostgres(folder / "pg") as postgres:
        async with running_stack(
            kafka.client_properties, postgres.dsn, time_scale=TIME_SCALE
        ) as stack:
            yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def stack(engine: Stack) -> AsyncIterator[Stack]:
    yield engine
    await engine.sandbox.set_faults("every", [])
    # an account that failed rests for a while: leave it as the next test expects it
    while (await recovered(engine))["account"] != "postmark-transactional":
        pass


@pytest.fixture
def user() -> str:
    return f"user-{next(_users)}"


async def reset(stack: Stack, user: str, *, phone: bool = False, **more: object) -> str:
    to = {"email": f"{user}@example.test"}
    if phone:
        to["phone"] = f"+1555{int(user.rpartition('-')[2]):07d}"
    data = {"name": user, "reset_url": "https://shop.example.test/reset"}
    return await stack.request(user=user, type="password_reset", to=to, data=data, **more)


async def recovered(stack: Stack) -> dict[str, object]:
    return await stack.until(await reset(stack, f"user-{next(_users)}"), "delivered")


def taken(stack: Stack, *ids: str) -> list[Entry]:
    """What the providers took of these, in order."""
    return [entry for entry in stack.sandbox.ledger.entries if entry.notification_id in ids]


async def email(stack: Stack, *faults: Fault) -> None:
    for provider in ("postmark", "mailgun"):
        await stack.sandbox.set_faults(provider, list(faults))


def happened(delivery: dict[str, object]) -> list[str]:
    timeline = delivery["timeline"]
    assert isinstance(timeline, list)
    return [line["what"] for line in timeline]


def line_of(delivery: dict[str, object], what: str) -> dict[str, Any]:
    """The one line of its timeline that says so."""
    timeline = delivery["timeline"]
    assert isinstance(timeline, list)
    (line,) = (line for line in timeline if line["what"] == what)
    return dict(line)


async def test_the_next_account_is_taken_at_once_when_the_first_is_away(
    stack: Stack, user: str
) -> None:
    await stack.sandbox.set_faults("postmark", [Down()])
    id = await reset(stack, user)
    delivery = await stack.until(id, "delivered")
    assert delivery["account"] == "mailgun-transactional"
    assert [entry.provider for entry in taken(stack, id)] == ["mailgun"]


async def test_a_throttling_account_hands_over_to_the_next(stack: Stack, user: str) -> None:
    await stack.sandbox.set_faults("postmark", [Throttle()])
    delivery = await stack.until(await reset(stack, user), "delivered")
    assert "settled: throttled" in happened(delivery)
    assert delivery["account"] == "mailgun-transactional"


async def test_with_email_away_who_has_a_phone_gets_one_text_and_the_others_wait(
    stack: Stack,
) -> None:
    await email(stack, Down())
    with_phone, without = f"user-{next(_users)}", f"user-{next(_users)}"
    texted = await reset(stack, with_phone, phone=True)
    waiting = await reset(stack, without)
    delivery = await stack.until(texted, "delivered")
    assert delivery["channel"] == "sms"
    assert [entry.provider for entry in taken(stack, texted)] == ["twilio"]
    seen = await stack.delivery(waiting)
    assert seen is not None
    assert seen["status"] in ("queued", "sending"), "sending: it has the turn to ask after email"
    await email(stack)
    assert (await stack.until(waiting, "delivered"))["channel"] == "email"


async def test_after_an_outage_only_the_newest_is_sent_and_the_losers_name_it(
    stack: Stack, user: str
) -> None:
    await email(stack, Down())
    ids = [await reset(stack, user) for _ in range(5)]
    await asyncio.sleep(1)
    await email(stack)
    await stack.until(ids[-1], "delivered")
    for place, loser in enumerate(ids[:-1]):
        delivery = await stack.until(loser, "superseded")
        assert delivery["superseded_by"] in ids[place + 1 :]
    assert [entry.notification_id for entry in taken(stack, *ids)] == [ids[-1]]


async def test_past_its_deadline_it_expires_and_is_never_sent(stack: Stack, user: str) -> None:
    await email(stack, Down())
    id = await stack.request(
        user=user,
        type="login_code",
        to={"email": f"{user}@example.test"},
        data={"code": "012345"},
    )
    delivery = await stack.until(id, "expired")
    await email(stack)
    await asyncio.sleep(1)
    assert delivery["closed"] is True
    assert taken(stack, id) == []


async def test_a_refused_address_goes_to_the_next_channel_or_fails(stack: Stack) -> None:
    await email(stack, Inactive())
    with_phone, without = f"user-{next(_users)}", f"user-{next(_users)}"
    texted = await reset(stack, with_phone, phone=True)
    failed = await reset(stack, without)
    assert (await stack.until(texted, "delivered"))["channel"] == "sms"
    assert (await stack.until(failed, "failed"))["attempts"] == 1


async def test_a_cancelled_key_takes_back_what_waits(stack: Stack, user: str) -> None:
    await email(stack, Down())
    ids = [await reset(stack, user) for _ in range(2)]
    status, _ = await stack.post("/v1/cancellations", {"user": user, "type": "password_reset"})
    assert status == 202
    await stack.until(ids[1], "cancelled")
    # the newer one's claim may have been first
    await stack.until(ids[0], "cancelled", "superseded")
    await email(stack)
    after = await reset(stack, user)
    await stack.until(after, "delivered")
    assert [e.notification_id for e in taken(stack, *ids, after)] == [after]


async def test_a_timeline_shows_the_cancel_and_what_became_of_it(stack: Stack, user: str) -> None:
    await email(stack, Down())
    waiting = await reset(stack, user)
    body = {"user": user, "type": "password_reset"}
    assert (await stack.post("/v1/cancellations", body))[0] == 202
    delivery = await stack.until(waiting, "cancelled")
    cancel = line_of(delivery, "cancel requested")
    assert (cancel["detail"], set(cancel["origin"])) == (
        "of its key",
        {"topic_id", "partition", "offset"},
    )
    await email(stack)
    sent = await reset(stack, user)
    await stack.until(sent, "delivered")
    assert (await stack.post("/v1/cancellations", {**body, "id": sent}))[0] == 202
    async with asyncio.timeout(20):
        while "cancel requested" not in happened(await stack.until(sent, "delivered")):
            await asyncio.sleep(0.05)
    cancel = line_of(await stack.until(sent, "delivered"), "cancel requested")
    assert cancel["detail"] == "by its id; too late: closed as sent"


async def test_one_in_flight_is_let_go_and_its_timeline_names_the_newer_one(
    stack: Stack, user: str
) -> None:
    await stack.sandbox.set_faults("postmark", [SlowReply(ms=1000)])
    older = await reset(stack, user)
    await stack.until(older, "sending")
    newer = await reset(stack, user)
    async with asyncio.timeout(20):
        while not (delivery := await stack.until(older))["closed"]:
            await asyncio.sleep(0.05)
    end = line_of(delivery, "closed: sent")
    assert (end["detail"], end["winner"]) == ("in flight when a newer one came", newer)
    assert end["winner_origin"] == line_of(await stack.until(newer), "requested")["origin"]
    await email(stack)
    await stack.until(newer, "delivered")


async def test_one_id_with_two_bodies_is_kept_once_and_the_second_is_a_dead_letter(
    stack: Stack, user: str
) -> None:
    """As an HTTP retry whose body differs: both are answered 202, for ingest asks nobody (P19)."""
    body = {"user": user, "type": "password_reset", "to": {"email": f"{user}@example.test"}}
    answers = [
        await stack.post(
            "/v1/notifications",
            {**body, "data": {"name": name, "reset_url": "https://shop.example.test/r"}},
            **{"Idempotency-Key": f"once for {user}"},
        )
        for name in ("Ada", "Ada", "Bob", "Ada")
    ]
    assert [status for status, _ in answers] == [202] * 4
    (id,) = {str(answer["id"]) for _, answer in answers}
    async with asyncio.timeout(20):
        while "id used again" not in happened(delivery := await stack.until(id)):
            await asyncio.sleep(0.05)
    again = line_of(delivery, "id used again")
    assert again["detail"] == "its id was used before, with another body"
    second = await stack.until(again["dead_letter"], "dead_lettered")
    assert (second["user"], second["key"]) == (user, delivery["key"])
    end = line_of(second, "closed: dead_lettered")
    assert (end["winner"], end["origin"]) == (id, again["origin"])
    await stack.until(id, "delivered")
    assert ["Ada" in entry.text for entry in taken(stack, id)] == [True]
    topic, key = "deliveries.queued.critical.dead-letters", str(delivery["key"]).encode()
    with closing(Log(stack.settings.kafka)) as log:
        found = log.records_of(topic, key)
    letters = [dict(letter.headers() or ()) for letter in found]
    assert [letter["lastword.id"] for letter in letters] == [again["dead_letter"].encode()]
    assert letters[0]["lastword.cause"] == b"id_used_before"


async def test_a_cancel_by_id_spares_the_newer_one(stack: Stack, user: str) -> None:
    await email(stack, Down())
    older, newer = [await reset(stack, user) for _ in range(2)]
    body = {"user": user, "type": "password_reset", "id": newer}
    assert (await stack.post("/v1/cancellations", body))[0] == 202
    await stack.until(newer, "cancelled")
    await email(stack)
    # a newer version was closed, so the older one may not go out any more (I5)
    await stack.until(older, "superseded")
    assert taken(stack, older, newer) == []


async def test_a_null_record_cancels_its_key(stack: Stack, user: str) -> None:
    await email(stack, Down())
    id = await reset(stack, user)
    producer = Producer({**stack.settings.kafka, "partitioner": "murmur2_random"})
    key = f"default:{user}:password_reset"
    producer.produce("notifications.requested.critical", key=key.encode(), value=None)
    await asyncio.to_thread(producer.flush, 10)
    await stack.until(id, "cancelled")


async def test_an_id_asked_for_again_is_one_notification(stack: Stack, user: str) -> None:
    id = str(uuid4())
    assert [await reset(stack, user, id=id) for _ in range(3)] == [id] * 3
    await stack.until(id, "delivered")
    await asyncio.sleep(0.5)
    assert len(taken(stack, id)) == 1


async def test_a_lost_reply_is_unknown_until_its_receipt_and_is_not_sent_again(
    stack: Stack, user: str
) -> None:
    await stack.sandbox.set_faults("postmark", [ReplyLost()])
    id = await reset(stack, user)
    delivery = await stack.until(id, "delivered")
    assert "settled: unknown" in happened(delivery)
    assert [entry.provider for entry in taken(stack, id)] == ["postmark"]


async def test_an_unknown_attempt_without_a_receipt_is_closed_as_unknown_after_its_time(
    stack: Stack, user: str
) -> None:
    await stack.sandbox.set_faults("postmark", [HttpStatus(status=502), WebhooksLost()])
    id = await reset(stack, user)
    delivery = await stack.until(id, "unknown")
    async with asyncio.timeout(20):
        while "closed: unknown" not in happened(delivery):
            await asyncio.sleep(0.2)
            delivery = await stack.until(id, "unknown")
    assert delivery["closed"] is True
    assert taken(stack, id) == []


async def test_a_campaign_goes_out_in_batches_each_reader_once(stack: Stack) -> None:
    data = {
        "name": "x",
        "headline": "Lamps",
        "body": "New lamps.",
        "offer_url": "https://shop.example.test/lamps",
        "unsubscribe_url": "https://shop.example.test/u",
    }
    readers = [
        {"user": f"reader-{n}", "type": "campaign", "to": {"email": f"r{n}@example.test"}}
        for n in range(60)
    ]
    body = {"notifications": [{**reader, "data": data} for reader in readers]}
    status, answer = await stack.post("/v1/notifications/batch", body)
    assert status == 202, answer
    results = answer["results"]
    assert isinstance(results, list)
    ids = [result["id"] for result in results]
    for id in ids:
        await stack.until(id, "delivered")
    entries = taken(stack, *ids)
    assert len(entries) == 60
    assert max(entry.batch for entry in entries) > 1


async def test_the_timeline_tells_every_step_in_order(stack: Stack, user: str) -> None:
    delivery = await stack.until(await reset(stack, user), "delivered")
    assert happened(delivery) == [
        "requested",
        "started",
        "settled: accepted",
        "closed: sent",
        "receipt: delivered",
    ]
    timeline = delivery["timeline"]
    assert isinstance(timeline, list)
    times = [datetime.fromisoformat(line["at"]) for line in timeline]
    assert times[:4] == sorted(times[:4])
