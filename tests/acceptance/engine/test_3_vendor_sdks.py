"""Line 3: the vendors' own SDKs work against the sandbox; their validators take its webhooks."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec
import pytest
from mailgun.builders import MailgunMessageBuilder
from mailgun.client import Client as MailgunClient
from mailgun.config import RetryPolicy
from mailgun.security import SecurityGuard
from postmarker.core import PostmarkClient
from postmarker.exceptions import ClientError
from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator, get_signature_algorithm
from twilio.rest import Client as TwilioClient

from services.core.ports import Callback
from services.sandbox.api import Addresses
from services.sandbox.control import Control
from services.sandbox.credentials import sandbox_secrets
from services.sandbox.faults import Bounce, Inactive
from tests.integration.sandbox_support import Receiver, receiving

ROOT = Path(__file__).resolve().parents[3]
DOMAIN = "mg.example.test"
SID = "AC0123456789abcdef0123456789abcdef"
Figure = Callable[[str, object], None]


class Running:
    """The sandbox as a process of its own, as a user runs it, and a receiver of its webhooks."""

    def __init__(self, addresses: Addresses, control: Control, receiver: Receiver) -> None:
        self.addresses = addresses
        self.control = control
        self.receiver = receiver

    def postmark(self) -> PostmarkClient:
        token = sandbox_secrets("postmark", "main")["server_token"]
        return PostmarkClient(
            server_token=token, root_api_url=self.addresses.providers["postmark"], timeout=10
        )

    def mailgun(self) -> MailgunClient:
        key = sandbox_secrets("mailgun", "main")["api_key"]
        return MailgunClient(
            auth=("api", key),
            api_url=self.addresses.providers["mailgun"],
            retry_policy=RetryPolicy(max_retries=0),
        )

    def twilio(self, token: str | None = None) -> TwilioClient:
        client = TwilioClient(SID, token or sandbox_secrets("twilio", "main")["auth_token"])
        client.api.base_url = self.addresses.providers["twilio"]
        return client


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    file = tmp_path / "addresses.json"
    async with receiving() as receiver:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.sandbox",
            cwd=ROOT,
            env={
                **os.environ,
                "LASTWORD_ADDRESS_FILE": str(file),
                "LASTWORD_SANDBOX_BIND": "127.0.0.1:0",
                "LASTWORD_SANDBOX_WEBHOOKS": receiver.url,
            },
        )
        try:
            async with asyncio.timeout(30):
                while not file.exists():
                    assert process.returncode is None, "the sandbox ended"
                    await asyncio.sleep(0.02)
            addresses = msgspec.json.decode(file.read_bytes(), type=Addresses)
            async with Control(addresses.url) as control:
                yield Running(addresses, control, receiver)
        finally:
            process.terminate()
            assert await process.wait() == 0


async def test_postmarker_sends_batches_and_looks_up(running: Running, figure: Figure) -> None:
    client = running.postmark()
    mail = {"From": "shop@example.test", "To": "ann@example.test", "Subject": "S", "TextBody": "T"}
    send = partial(client.emails.send, **mail)
    sent = await asyncio.to_thread(send, Metadata={"nid": "n-1"}, Tag="t-1")
    assert (sent["ErrorCode"], sent["Message"]) == (0, "OK")
    mails = [mail] * 7 + [{**mail, "To": "nobody"}]
    batch = await asyncio.to_thread(lambda: client.emails.send_batch(*mails))
    assert [item["ErrorCode"] for item in batch] == [0] * 7 + [300]
    found = await asyncio.to_thread(client.messages.outbound.all, count=500, offset=0)
    assert len(found) == 8
    (tagged,) = await asyncio.to_thread(client.messages.outbound.all, tag="t-1")
    details = await asyncio.to_thread(tagged.get)
    assert details.Metadata == {"nid": "n-1"}
    assert details.TextBody == "T"

    await running.control.set_faults("postmark", Inactive(), Bounce())
    with pytest.raises(ClientError, match="inactive"):
        await asyncio.to_thread(send)
    await running.control.set_faults("postmark", Bounce())
    await running.receiver.wait_for(8)
    bounced = await asyncio.to_thread(send)
    calls = await running.receiver.wait_for(9)
    bounce = client.bounces.Bounce(calls[-1].body.decode())
    assert (bounce.Type, bounce.MessageID) == ("HardBounce", bounced["MessageID"])

    summary = await running.control.summary()
    assert summary.by_provider == {"postmark": 9}
    figure("postmarker: accepted, refused, found, webhooks", (9, 2, len(found), len(calls)))


async def test_the_mailgun_sdk_sends_batches_and_looks_up(
    running: Running, figure: Figure, tmp_path: Path
) -> None:
    with running.mailgun() as client:
        sent = await asyncio.to_thread(client.messages.create, data=_mail(), domain=DOMAIN)
        assert sent.json()["message"].startswith("Queued")
        data, files = _batch(tmp_path)
        batch = await asyncio.to_thread(
            client.messages.create, data=data, files=files, domain=DOMAIN
        )
        assert batch.status_code == 200
        bad = await asyncio.to_thread(
            client.messages.create, data={**_mail(), "to": "nobody"}, domain=DOMAIN
        )
        assert bad.status_code == 400

        filters = {"recipient": "ann@example.test", "event": "accepted"}
        events = await asyncio.to_thread(client.events.get, filters=filters, domain=DOMAIN)
        (event,) = events.json()["items"]
        assert event["user-variables"] == {"nid": "n-1"}
        streamed = await asyncio.to_thread(
            lambda: list(client.events.stream(filters={"limit": 2}, domain=DOMAIN))
        )
        logs = await asyncio.to_thread(
            client.analytics_logs.create,
            data=json.dumps(_logs()),
            headers={"Content-Type": "application/json"},
        )
        assert len(logs.json()["items"]) == 4

    entries = await running.control.ledger(full=True)
    assert [entry.subject for entry in entries] == ["S", "Hi 0", "Hi 1", "Hi 2"]
    assert [entry.notification_id for entry in entries] == ["n-1", "b-0", "b-1", "b-2"]
    assert {event["event"] for event in streamed} <= {"accepted", "delivered"}
    assert len(streamed) >= 4
    figure("mailgun: accepted, refused, events, logs", (4, 1, len(streamed), 4))


def _mail() -> dict[str, str]:
    return {
        "from": f"shop@{DOMAIN}",
        "to": "ann@example.test",
        "subject": "S",
        "text": "T",
        "v:nid": "n-1",
    }


def _batch(folder: Path) -> tuple[object, object]:
    """Three recipients and an attachment, so that the body is multipart."""
    attached = folder / "terms.txt"
    attached.write_text("terms")
    builder = MailgunMessageBuilder(f"shop@{DOMAIN}").set_subject("Hi %recipient.number%")
    builder.set_text("T").add_custom_variable("nid", "b-%recipient.number%").attach_file(attached)
    for number in range(3):
        builder.add_recipient(f"r{number}@example.test")
    builder.set_recipient_variables({f"r{n}@example.test": {"number": n} for n in range(3)})
    return builder.build()


def _logs() -> dict[str, object]:
    now = datetime.now(UTC)  # noqa: TID251 - the vendor's own filter is by the clock
    domain = {"attribute": "domain", "comparator": "=", "values": [{"label": "d", "value": DOMAIN}]}
    return {
        "start": format_datetime(now - timedelta(minutes=5)),
        "end": format_datetime(now + timedelta(minutes=5)),
        "events": ["accepted"],
        "filter": {"AND": [domain]},
        "pagination": {"sort": "timestamp:asc", "limit": 50},
    }


async def test_the_twilio_sdk_sends_and_looks_up(running: Running, figure: Figure) -> None:
    client = running.twilio()
    bodies = [f"Your code is {number}" for number in range(5)]
    sent = [
        await asyncio.to_thread(
            client.messages.create, to="+15550001111", from_="+15550002222", body=body
        )
        for body in bodies
    ]
    assert {message.status for message in sent} == {"queued"}
    listed = await asyncio.to_thread(client.messages.list, to="+15550001111", page_size=2)
    assert [message.body for message in listed] == bodies[::-1]
    fetched = await asyncio.to_thread(client.messages(sent[0].sid).fetch)
    assert (fetched.body, fetched.num_segments) == (bodies[0], "1")
    async with asyncio.timeout(5):
        while fetched.status != "delivered":
            fetched = await asyncio.to_thread(fetched.fetch)

    with pytest.raises(TwilioRestException) as refused:
        await asyncio.to_thread(client.messages.create, to="1", from_="+15550002222", body="x")
    assert refused.value.code == 21211
    with pytest.raises(TwilioRestException) as stranger:
        await asyncio.to_thread(running.twilio("stolen").messages(sent[0].sid).fetch)
    assert stranger.value.status == 401
    figure("twilio: accepted, refused, listed", (len(sent), 2, len(listed)))


@pytest.mark.parametrize("algorithm", ["HMAC_SHA1", "HMAC_SHA256"])
async def test_twilios_validator_takes_our_callbacks_and_refuses_forged_ones(
    running: Running, figure: Figure, algorithm: str
) -> None:
    token = sandbox_secrets("twilio", "main")["auth_token"]
    shared = {"webhook_shared_key": "shared"} if algorithm == "HMAC_SHA256" else {}
    validator = RequestValidator("shared" if shared else token)
    url = f"{running.receiver.url}?nid=n-1&att=1"
    await running.control.set_webhook("twilio", "main", url, shared)
    genuine = await _callbacks(running, url, 2)
    assert all(_is_valid(validator, call) for call in genuine)

    tampered = [msgspec.structs.replace(call, body=call.body + b"0") for call in genuine]
    moved = [msgspec.structs.replace(call, url=call.url + "0") for call in genuine]
    wrong = {name: "another" for name in ("auth_token", *shared)}
    await running.control.set_webhook("twilio", "main", url, wrong)
    forged = await _callbacks(running, url, 2)
    refused = [call for call in (*tampered, *moved, *forged) if not _is_valid(validator, call)]
    assert len(refused) == 6
    figure(f"twilio validator {algorithm}: valid, refused", (len(genuine), len(refused)))


async def _callbacks(running: Running, url: str, count: int) -> list[Callback]:
    """The callbacks of one more message."""
    before = len(running.receiver.calls)
    await asyncio.to_thread(
        running.twilio().messages.create,
        to="+15550001111",
        from_="+15550002222",
        body="Your code",
        status_callback=url,
    )
    return (await running.receiver.wait_for(before + count))[before:]


def _is_valid(validator: RequestValidator, call: Callback) -> bool:
    form = dict(parse_qsl(call.body.decode()))
    settings = call.headers.get("x-twilio-webhooks-signature-settings")
    return bool(
        validator.validate(
            call.url, form, call.headers["x-twilio-signature"], get_signature_algorithm(settings)
        )
    )


async def test_mailguns_validator_takes_our_webhooks_and_refuses_forged_ones(
    running: Running, figure: Figure
) -> None:
    key = sandbox_secrets("mailgun", "main")["webhook_signing_key"]
    genuine = await _webhook(running)
    assert _verifies(key, genuine)

    tampered = {**genuine, "token": genuine["token"] + "0"}
    older = {**genuine, "timestamp": str(int(genuine["timestamp"]) - 1)}
    stolen = {"webhook_signing_key": "another"}
    await running.control.set_webhook("mailgun", "main", running.receiver.url, stolen)
    forged = await _webhook(running)
    refused = [block for block in (tampered, older, forged) if not _verifies(key, block)]
    assert len(refused) == 3
    figure("mailgun validator: valid, refused", (1, len(refused)))


async def _webhook(running: Running) -> dict[str, str]:
    """The signature block of one more message's webhook."""
    before = len(running.receiver.calls)
    with running.mailgun() as client:
        await asyncio.to_thread(client.messages.create, data=_mail(), domain=DOMAIN)
    calls = await running.receiver.wait_for(before + 1)
    block: dict[str, str] = json.loads(calls[before].body)["signature"]
    return block


def _verifies(key: str, block: dict[str, str]) -> bool:
    return bool(
        SecurityGuard.verify_webhook(key, block["token"], block["timestamp"], block["signature"])
    )
