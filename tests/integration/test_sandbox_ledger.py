"""What was accepted is counted, told over HTTP, and shown to people without harm."""

from base64 import b64encode
from uuid import uuid4

import aiohttp
import pytest
from msgspec.structs import replace

from services.core.outcomes import OutcomeKind
from services.core.ports import Content
from services.sandbox.app import Sandbox
from services.sandbox.control import Control
from services.sandbox.credentials import account_of, sandbox_secrets
from services.sandbox.vendors import VENDORS
from services.sandbox.webhooks import is_loopback
from tests.integration.sandbox_support import access, calling, message, receiving


async def test_a_repeated_attempt_and_a_repeated_notification_are_told_apart() -> None:
    async with Sandbox() as sandbox, Control(sandbox.url) as control, calling() as caller:
        at, id = access(sandbox, "postmark", "main"), uuid4()
        sms = access(sandbox, "twilio", "otp")
        once = message("postmark")
        for sent in (once, message("postmark", id=id), message("postmark", id=id)):
            await caller.send(at, sent)
        await caller.send(sms, message("twilio", id=id, attempt=2))
        summary = await control.summary()
        assert summary.accepted == 4
        assert summary.by_provider == {"postmark": 3, "twilio": 1}
        assert summary.by_account == {"main": 3, "otp": 1}
        assert summary.by_type["postmark"] == {"password_reset": 3}
        assert summary.notifications == 2
        assert summary.repeated_attempts == [(str(id), 1, 2)]
        assert summary.repeated_notifications == [(str(id), 3)]
        assert summary.foreign == 0
        await control.forget()
        assert (await control.summary()).accepted == 0
        await caller.send(at, once)
        assert [entry.seq for entry in await control.ledger()] == [5]


async def test_the_ledger_is_paged_and_filtered() -> None:
    async with Sandbox() as sandbox, Control(sandbox.url) as control, calling() as caller:
        for name in ("postmark", "mailgun", "postmark"):
            await caller.send(access(sandbox, name, "main"), message(name, f"{name}@example.test"))
        assert [e.seq for e in await control.ledger(provider="postmark")] == [1, 3]
        assert [e.seq for e in await control.ledger(since=2)] == [3]
        assert [e.seq for e in await control.ledger(to="mailgun@example.test")] == [2]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{sandbox.url}/ledger?limit=1&since=1") as reply:
                page = await reply.json()
        assert (len(page["entries"]), page["next"]) == (1, 2)
        assert page["entries"][0]["text"] == ""


async def test_the_deadline_told_is_written_down() -> None:
    async with Sandbox() as sandbox, calling() as caller:
        for name in VENDORS:
            at = access(sandbox, name, "main")
            await caller.send(at, message(name))
        told = {entry.provider: entry.deadline_s for entry in sandbox.ledger.entries}
        assert told == {"postmark": None, "mailgun": 600, "twilio": 600}


@pytest.mark.parametrize("name", VENDORS)
async def test_unknown_credentials_are_refused_as_the_vendor_does(name: str) -> None:
    async with Sandbox() as sandbox, calling() as caller:
        at = access(sandbox, name, "main")
        stranger = replace(at, secrets={key: "stolen" for key in at.secrets})
        (outcome,) = await caller.send(stranger, message(name))
        assert outcome.kind is OutcomeKind.REFUSED_ACCOUNT
        assert sandbox.ledger.entries == []


@pytest.mark.parametrize("name", VENDORS)
async def test_one_account_does_not_see_anothers_messages(name: str) -> None:
    async with Sandbox() as sandbox, calling() as caller:
        sent = message(name)
        here, there = (access(sandbox, name, account) for account in ("one", "two"))
        await caller.send(here, sent)
        assert (await caller.look_up(here, sent))[1] is not None
        assert (await caller.look_up(there, sent))[1] is None


def test_the_secrets_of_an_account_say_whose_they_are() -> None:
    for name in VENDORS:
        for secret, value in sandbox_secrets(name, "main-2_b").items():
            assert account_of(value, secret) == "main-2_b"
            assert account_of(value + "x", secret) is None
    assert account_of("sandbox-A-api-key", "api_key") is None
    assert account_of("", "api_key") is None


async def test_a_batch_has_an_outcome_for_each_and_one_bad_address_harms_no_other() -> None:
    async with Sandbox() as sandbox, calling() as caller:
        batch = [message("postmark"), message("postmark", "nowhere"), message("postmark")]
        outcomes = await caller.send(access(sandbox, "postmark", "main"), *batch)
        assert [outcome.kind for outcome in outcomes] == [
            OutcomeKind.ACCEPTED,
            OutcomeKind.REFUSED_RECIPIENT,
            OutcomeKind.ACCEPTED,
        ]
        assert [entry.batch for entry in sandbox.ledger.entries] == [3, 3]


async def test_a_full_batch_of_long_mails_is_taken() -> None:
    async with Sandbox() as sandbox, calling() as caller:
        long = Content(text="x" * 5_000, subject="Long")
        batch = [replace(message("postmark"), content=long) for _ in range(500)]
        outcomes = await caller.send(access(sandbox, "postmark", "main"), *batch)
        assert {outcome.kind for outcome in outcomes} == {OutcomeKind.ACCEPTED}
        assert len(sandbox.ledger.entries) == len(outcomes) == 500


async def test_a_mailgun_batch_fills_in_each_recipients_own_words() -> None:
    async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
        key = f"api:{sandbox_secrets('mailgun', 'main')['api_key']}".encode()
        form = {
            "from": "shop@mg.example.test",
            "to": "Ann <ann@example.test>, bob@example.test",
            "subject": "Hello %recipient.name%",
            "text": "x",
            "v:nid": "%recipient.id%",
            "recipient-variables": '{"ann@example.test": {"name": "Ann", "id": 7}}',
        }
        async with session.post(
            f"{sandbox.base_urls['mailgun']}/v3/mg.example.test/messages",
            data=form,
            headers={"Authorization": f"Basic {b64encode(key).decode()}"},
        ) as reply:
            assert (await reply.json())["message"].startswith("Queued")
        ann, bob = sandbox.ledger.entries
        assert (ann.subject, ann.notification_id) == ("Hello Ann", "7")
        assert bob.subject == "Hello %recipient.name%"
        assert ann.provider_ref == bob.provider_ref


async def test_the_mailbox_shows_what_was_sent_and_runs_none_of_it() -> None:
    async with Sandbox() as sandbox, calling() as caller, aiohttp.ClientSession() as session:
        evil = '"><script>alert(1)</script>'
        sent = replace(
            message("postmark"), content=Content(text=evil, subject=f"Hi {evil}", html=evil)
        )
        await caller.send(access(sandbox, "postmark", "main"), sent)
        for path in ("/", "/messages/1"):
            async with session.get(sandbox.url + path) as reply:
                page = await reply.text()
                assert "Hi &quot;&gt;&lt;script&gt;" in page
                assert "<script" not in page
                assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        async with session.get(sandbox.url + "/messages/2") as reply:
            assert reply.status == 404


async def test_a_page_that_a_name_server_points_at_us_gets_nothing() -> None:
    async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
        async with session.get(sandbox.url, headers={"Host": "evil.example"}) as reply:
            assert reply.status == 403


async def test_only_webhooks_on_loopback_are_called() -> None:
    async with Sandbox() as sandbox, Control(sandbox.url) as control, calling() as caller:
        with pytest.raises(ValueError, match="loopback"):
            await control.set_webhook("postmark", "main", "http://192.0.2.1/hook")
        sms = access(sandbox, "twilio", "main", "http://192.0.2.1/hook")
        async with receiving() as receiver:
            await control.set_webhook("postmark", "main", receiver.url)
            await caller.send(sms, message("twilio"))
            await caller.send(access(sandbox, "postmark", "main"), message("postmark"))
            await receiver.wait_for(1)
        assert sandbox.webhooks.counts["posted"] == 1
        assert sandbox.webhooks.counts["lost"] >= 1


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8081/x", True),
        ("http://localhost/x", True),
        ("http://[::1]:1/x", True),
        ("https://127.0.0.1/", False),
        ("http://127.0.0.1.evil.example/", False),
        ("http://2130706433/", False),
        ("http://10.0.0.1/", False),
        ("http://[::ffff:10.0.0.1]/", False),
        ("http://user@10.0.0.1/", False),
        ("file:///etc/passwd", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_an_address_is_on_loopback_or_not(url: str, here: bool) -> None:
    assert is_loopback(url) is here


async def test_old_bodies_are_forgotten_and_facts_are_not() -> None:
    async with Sandbox(bodies_kept=1) as sandbox, calling() as caller:
        for _ in range(2):
            await caller.send(access(sandbox, "postmark", "main"), message("postmark"))
        old, new = sandbox.ledger.entries
        assert old.html == ""
        assert new.html != ""
        assert old.notification_id is not None


async def test_its_own_port_is_a_free_one_where_it_is_taken() -> None:
    async with Sandbox() as first:
        taken = int(first.url.rpartition(":")[2])
        async with Sandbox(port=taken) as second:
            assert second.url != first.url
            async with Control(second.url) as control:
                assert (await control.addresses()).providers == second.base_urls
