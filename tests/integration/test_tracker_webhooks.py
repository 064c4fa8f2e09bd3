"""Webhooks, as providers send them and as others would like to: what is taken, and what is not."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from twilio.request_validator import RequestValidator

from services.core.events import ReceiptKind, ReceiptReceived
from services.core.identifiers import AccountName, NotificationId
from services.core.outcomes import OutcomeKind
from services.core.topics import RECEIPTS, dead_letters
from services.providers import PROVIDERS
from services.runtime.access import build_accesses
from services.runtime.catalogue import load_catalogue
from services.runtime.clock import utc_now
from services.runtime.codec import Codec
from services.runtime.producer import LogProducer
from services.runtime.settings import Settings
from services.sandbox.credentials import sandbox_secrets
from services.tracker import webhooks
from services.tracker.problems import as_problems
from services.tracker.webhooks import Webhooks
from tests.integration.tracking import (
    POSTMARK,
    PUBLIC_URL,
    SHOP,
    Answer,
    Tracker,
    new_id,
    postmark,
    running_tracker,
    settings_for,
)
from tests.unit.tracker_entries import settled, started

pytestmark = pytest.mark.usefixtures("fresh_log")

KIND = "Content-Type"
Unique = Callable[[str], str]


@pytest.fixture
def settings(kafka_properties: dict[str, str], database: str, tmp_path: Path) -> Settings:
    return settings_for(kafka_properties, database, tmp_path)


@pytest.fixture
async def tracker(settings: Settings) -> AsyncIterator[Tracker]:
    async with running_tracker(settings) as running:
        yield running


def refused(cause: str, account: str = POSTMARK) -> str:
    return f'lastword_webhooks_refused_total{{account="{account}",cause="{cause}"}}'


def receipts(tracker: Tracker, id: NotificationId) -> list[ReceiptReceived]:
    records = tracker.records_of(RECEIPTS, str(id).encode())
    events = [Codec().decode(record.value() or b"") for record in records]
    return [event for event in events if isinstance(event, ReceiptReceived)]


async def test_a_webhook_is_a_receipt_and_then_a_delivery(tracker: Tracker) -> None:
    id = await tracker.ask()
    answer = await tracker.webhook(postmark(id))
    assert answer.status == 200
    # it stands in the log once it is answered
    (taken,) = receipts(tracker, id)
    assert (taken.kind, taken.attempt, taken.account) == (ReceiptKind.DELIVERED, 1, POSTMARK)
    delivery = await tracker.until(id, status="delivered")
    assert delivery["delivered_at"] == "2026-01-01T00:00:00+00:00"
    assert "example.test" not in json.dumps(delivery)


async def test_one_webhook_fifty_times_at_once_is_one_line(tracker: Tracker) -> None:
    id = await tracker.ask()
    await asyncio.gather(*(tracker.webhook(postmark(id)) for _ in range(50)))
    await tracker.settle_down()
    delivery = await tracker.until(id, status="delivered", user="u1")
    timeline = delivery["timeline"]
    assert isinstance(timeline, list)
    assert [line["what"] for line in timeline].count("receipt: delivered") == 1
    assert len({receipt.event_id for receipt in receipts(tracker, id)}) == 1


async def test_a_forged_webhook_is_refused_and_counted(tracker: Tracker) -> None:
    id = new_id()
    before = await tracker.metric(refused("forged"))
    answer = await tracker.webhook(postmark(id), secret="guessed")
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Basic")
    assert answer.headers[KIND] == "application/problem+json"
    assert answer.json["status"] == 401
    assert await tracker.metric(refused("forged")) == before + 1
    assert receipts(tracker, id) == []


async def test_another_accounts_secret_does_not_do(tracker: Tracker) -> None:
    secret = sandbox_secrets("postmark", "postmark-broadcast")["webhook_secret"]
    assert (await tracker.webhook(postmark(new_id()), secret=secret)).status == 401


async def test_a_receipt_of_another_providers_message_moves_nothing(tracker: Tracker) -> None:
    id = await tracker.ask()
    other = AccountName("mailgun-transactional")
    await tracker.tell(started(1, other, id=id), settled(1, OutcomeKind.ACCEPTED, other, id=id))
    await tracker.until(id, status="sent")
    assert (await tracker.webhook(postmark(id, record="SpamComplaint"))).status == 200
    await tracker.settle_down()
    await tracker.until(id, status="sent", complained_at=None)


async def test_genuine_and_not_understood_is_buried_and_answered(tracker: Tracker) -> None:
    key = POSTMARK.encode()
    before = len(tracker.records_of(dead_letters(RECEIPTS), key))
    assert (await tracker.webhook(b"<html>")).status == 200
    letters = tracker.records_of(dead_letters(RECEIPTS), key)[before:]
    assert [letter.value() for letter in letters] == [b"<html>"]
    headers = dict(letters[0].headers() or [])
    assert headers["lastword.cause"] == b"postmark_webhook"
    assert headers["lastword.account"] == key


async def test_without_our_ids_the_providers_own_is_looked_up(
    tracker: Tracker, unique: Unique
) -> None:
    id, reference = await tracker.ask(), unique("mid")
    own = AccountName(POSTMARK)
    await tracker.tell(
        started(1, own, id=id),
        settled(1, OutcomeKind.ACCEPTED, own, id=id, provider_ref=reference),
    )
    await tracker.until(id, status="sent")
    assert (await tracker.webhook(postmark(None, message=reference))).status == 200
    await tracker.until(id, status="delivered")


async def test_what_matches_nothing_is_buried(tracker: Tracker, unique: Unique) -> None:
    body = postmark(None, message=unique("mid"))
    assert (await tracker.webhook(body)).status == 200
    letters = tracker.records_of(dead_letters(RECEIPTS), POSTMARK.encode())
    (letter,) = [letter for letter in letters if letter.value() == body]
    assert dict(letter.headers() or [])["lastword.cause"] == b"unmatched_receipt"


async def test_the_vendors_own_signature_of_the_public_url_is_verified(tracker: Tracker) -> None:
    id = await tracker.ask()
    path = f"/webhooks/twilio-otp?nid={id}&att=1"
    form = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+15005550006"}
    token = sandbox_secrets("twilio", "twilio-otp")["auth_token"]
    signature = RequestValidator(token).compute_signature(PUBLIC_URL + path, form)
    headers = {KIND: "application/x-www-form-urlencoded", "X-Twilio-Signature": signature}
    body = urlencode(form).encode()
    assert (await tracker.call("POST", path, body, headers)).status == 200
    await tracker.until(id, status="delivered")
    other = path.replace("att=1", "att=2")
    assert (await tracker.call("POST", other, body, headers)).status == 401


@pytest.mark.parametrize(
    ("method", "path", "headers", "size", "status"),
    [
        ("POST", "/webhooks/nobody", {}, 10, 404),
        ("POST", "/webhooks/%00", {}, 10, 404),
        ("GET", f"/webhooks/{POSTMARK}", {}, 0, 405),
        ("POST", f"/webhooks/{POSTMARK}", {"Content-Encoding": "gzip"}, 10, 415),
        ("POST", f"/webhooks/{POSTMARK}", {}, 900_000, 413),
        ("POST", f"/webhooks/{POSTMARK}", {}, 0, 401),
    ],
)
async def test_what_is_no_webhook_is_refused(
    tracker: Tracker, method: str, path: str, headers: dict[str, str], size: int, status: int
) -> None:
    answer = await tracker.call(method, path, b"x" * size, headers)
    assert (answer.status, answer.json["status"]) == (status, status)
    assert answer.json["detail"]


async def test_a_body_without_a_length_is_bounded_too(tracker: Tracker) -> None:
    host, _, port = tracker.base.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /webhooks/{POSTMARK} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode() + b"100000\r\n" + b"x" * 0x100000 + b"\r\n1\r\nx\r\n")
    assert (await reader.readline()).split()[1] == b"413"
    writer.close()


async def test_a_webhook_that_is_cut_short_is_nothing(tracker: Tracker) -> None:
    id, secret = new_id(), sandbox_secrets("postmark", POSTMARK)["webhook_secret"]
    host, _, port = tracker.base.removeprefix("http://").rpartition(":")
    body = postmark(id)
    head = (
        f"POST /webhooks/{POSTMARK} HTTP/1.1\r\nHost: x\r\nX-Webhook-Secret: {secret}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with capture_logs() as logged:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode() + body[:-9])
        writer.write_eof()
        assert b" 200 " not in await asyncio.wait_for(reader.read(), 20)
        writer.close()
        # the next one is taken as if nothing had been
        assert (await tracker.webhook(body)).status == 200
    assert [receipt.kind for receipt in receipts(tracker, id)] == [ReceiptKind.DELIVERED]
    assert "example.test" not in str(logged)


async def test_a_body_that_dawdles_is_given_up(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_WITHIN_S", 0.2)
    host, _, port = tracker.base.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /webhooks/{POSTMARK} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    writer.write(head.encode() + b"x")
    assert (await reader.readline()).split()[1] == b"408"
    writer.close()


async def test_with_kafka_away_the_vendor_is_asked_to_come_again(
    settings: Settings, unused_tcp_port: int
) -> None:
    nowhere = {"bootstrap.servers": f"127.0.0.1:{unused_tcp_port}"}
    producer = LogProducer(nowhere, client_id="test", timeout_s=0.5)
    async with endpoint(settings, producer) as post:
        answer = await post(postmark(new_id()))
    assert (answer.status, answer.json["detail"]) == (503, "Kafka does not answer: send it again")
    assert "Retry-After" in answer.headers
    await asyncio.to_thread(producer.close, 0.1)


Post = Callable[[bytes], Awaitable[Answer]]


@asynccontextmanager
async def endpoint(settings: Settings, producer: LogProducer) -> AsyncIterator[Post]:
    """The route alone, in front of this producer."""
    catalogue = load_catalogue(SHOP).catalogue

    async def find(*_: object) -> None:
        return None

    taken = Webhooks(
        build_accesses(catalogue, PROVIDERS, settings),
        PROVIDERS,
        public_url=PUBLIC_URL,
        codec=Codec(),
        producer=producer,
        find=find,
        now=utc_now,
    )
    app = web.Application(middlewares=[as_problems])
    app.add_routes(taken.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    async with aiohttp.ClientSession() as session:
        tracker = Tracker(settings, f"http://{host}:{port}", session)
        yield tracker.webhook
        await asyncio.to_thread(tracker.close)
    await runner.cleanup()
