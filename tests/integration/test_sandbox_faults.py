"""Each fault, as a caller meets it, and what the ledger says of it."""

import asyncio

import aiohttp
import pytest

from services.core.events import ReceiptKind
from services.core.outcomes import OutcomeKind
from services.core.ports import ForgedCallback, Lookup
from services.sandbox import faults as f
from services.sandbox.app import Sandbox
from services.sandbox.control import Control
from services.sandbox.script import Step
from services.sandbox.vendors import VENDORS
from tests.integration.sandbox_support import access, calling, message, receiving

EACH = pytest.mark.parametrize("name", VENDORS)
SEES_NOTHING = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


async def outcome_under(name: str, *faults: f.Fault) -> tuple[OutcomeKind, int]:
    """The outcome of one send, and how many messages the ledger then has."""
    async with Sandbox() as sandbox, calling() as caller:
        await sandbox.set_faults(name, list(faults))
        (outcome,) = await caller.send(access(sandbox, name, "main"), message(name))
        return outcome.kind, len(sandbox.ledger.entries)


@EACH
async def test_a_provider_that_is_down_refuses_connections_and_cuts_those_that_are_open(
    name: str,
) -> None:
    async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
        async with session.get(sandbox.base_urls[name]):
            pass
        await sandbox.set_faults(name, [f.SlowReply(ms=60_000)])
        sending = asyncio.create_task(_send(sandbox, name))
        async with asyncio.timeout(5):
            while not sandbox.ledger.entries:
                await asyncio.sleep(0.01)
            await sandbox.set_faults(name, [f.Down()])
            with pytest.raises(SEES_NOTHING):
                await sending
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(sandbox.base_urls[name])
        await sandbox.set_faults(name, [])
        async with session.get(sandbox.base_urls[name]) as reply:
            assert reply.status > 0


async def _send(sandbox: Sandbox, name: str) -> None:
    async with calling() as caller:
        await caller.send(access(sandbox, name, "main"), message(name))


async def test_a_provider_comes_back_by_itself_and_only_it_was_away() -> None:
    async with Sandbox() as sandbox, calling() as caller:
        await sandbox.set_faults("postmark", [f.Down(duration_s=0.3)])
        with pytest.raises(aiohttp.ClientConnectorError):
            await caller.send(access(sandbox, "postmark", "main"), message("postmark"))
        (other,) = await caller.send(access(sandbox, "mailgun", "main"), message("mailgun"))
        assert other.kind is OutcomeKind.ACCEPTED
        await asyncio.sleep(0.5)
        (back,) = await caller.send(access(sandbox, "postmark", "main"), message("postmark"))
        assert back.kind is OutcomeKind.ACCEPTED


@EACH
@pytest.mark.parametrize(("fault", "taken"), [(f.ReplyLost(), 1), (f.DropBefore(), 0)])
async def test_a_lost_reply_and_a_lost_request_look_the_same_to_the_caller(
    name: str, fault: f.Fault, taken: int
) -> None:
    async with Sandbox() as sandbox, calling() as caller:
        await sandbox.set_faults(name, [fault])
        with pytest.raises(SEES_NOTHING):
            await caller.send(access(sandbox, name, "main"), message(name))
        assert len(sandbox.ledger.entries) == taken


@EACH
async def test_a_hanging_provider_takes_nothing(name: str) -> None:
    async with Sandbox() as sandbox, calling() as caller:
        await sandbox.set_faults(name, [f.Hang()])
        with pytest.raises(TimeoutError):
            await caller.send(access(sandbox, name, "main"), message(name), timeout_s=0.2)
        assert sandbox.ledger.entries == []


@EACH
async def test_a_dripping_reply_outlasts_the_caller_and_the_message_is_taken(name: str) -> None:
    async with Sandbox() as sandbox, calling() as caller:
        await sandbox.set_faults(name, [f.Drip(ms=50)])
        with pytest.raises(TimeoutError):
            await caller.send(access(sandbox, name, "main"), message(name), timeout_s=0.4)
        assert len(sandbox.ledger.entries) == 1


@EACH
async def test_an_error_inside_a_success_is_not_taken_for_one(name: str) -> None:
    kind, taken = await outcome_under(name, f.ErrorInside200())
    assert kind not in (OutcomeKind.ACCEPTED, OutcomeKind.UNKNOWN)
    assert taken == 0


async def test_an_error_inside_a_batchs_success_is_one_for_each_message() -> None:
    async with Sandbox() as sandbox, calling() as caller:
        await sandbox.set_faults("postmark", [f.ErrorInside200()])
        batch = [message("postmark"), message("postmark")]
        outcomes = await caller.send(access(sandbox, "postmark", "main"), *batch)
        assert [outcome.kind for outcome in outcomes] == [OutcomeKind.REFUSED_ACCOUNT] * 2


@EACH
@pytest.mark.parametrize(
    ("fault", "kind", "taken"),
    [
        (f.HttpStatus(status=502), OutcomeKind.UNKNOWN, 0),
        (f.HttpStatusTaken(status=502), OutcomeKind.UNKNOWN, 1),
        (f.HttpStatus(status=503, own_body=True), OutcomeKind.UNAVAILABLE, 0),
        (f.HttpStatus(status=503, retry_after=3), OutcomeKind.UNAVAILABLE, 0),
        (f.HttpStatus(status=500, own_body=True), OutcomeKind.UNKNOWN, 0),
        (f.HttpStatus(status=401, own_body=True), OutcomeKind.REFUSED_ACCOUNT, 0),
        (f.Throttle(), OutcomeKind.THROTTLED, 0),
        (f.HttpStatus(status=502, probability=0.0), OutcomeKind.ACCEPTED, 1),
        (f.HttpStatus(status=502, account="another"), OutcomeKind.ACCEPTED, 1),
        (f.HttpStatus(status=502, address="bob@example.test"), OutcomeKind.ACCEPTED, 1),
        (f.HttpStatus(status=502, calls=f.Calls.LOOKUPS), OutcomeKind.ACCEPTED, 1),
        (f.HttpStatus(status=502, duration_s=0.0), OutcomeKind.ACCEPTED, 1),
    ],
)
async def test_a_status_means_what_the_provider_reads_in_it(
    name: str, fault: f.Fault, kind: OutcomeKind, taken: int
) -> None:
    assert await outcome_under(name, fault) == (kind, taken)


@EACH
async def test_a_throttle_lets_so_many_a_second_through_and_says_when_to_come_back(
    name: str,
) -> None:
    async with Sandbox() as sandbox, calling() as caller:
        await sandbox.set_faults(name, [f.Throttle(per_second=3, retry_after=1.5)])
        at = access(sandbox, name, "main")
        outcomes = [(await caller.send(at, message(name)))[0] for _ in range(5)]
        kinds = [outcome.kind for outcome in outcomes]
        assert kinds == [OutcomeKind.ACCEPTED] * 3 + [OutcomeKind.THROTTLED] * 2
        assert outcomes[-1].retry_after == 1.5


@EACH
async def test_a_fault_with_a_count_strikes_so_often(name: str) -> None:
    async with Sandbox() as sandbox, calling() as caller:
        await sandbox.set_faults(name, [f.HttpStatus(status=502, count=2)])
        at = access(sandbox, name, "main")
        kinds = [(await caller.send(at, message(name)))[0].kind for _ in range(3)]
        assert kinds == [OutcomeKind.UNKNOWN, OutcomeKind.UNKNOWN, OutcomeKind.ACCEPTED]
        assert sandbox.faults(name) == []


@EACH
async def test_a_slow_provider_is_slow(name: str) -> None:
    async with Sandbox() as sandbox, calling() as caller:
        await sandbox.set_faults(name, [f.Slow(ms=150)])
        started = asyncio.get_running_loop().time()
        await caller.send(access(sandbox, name, "main"), message(name))
        assert asyncio.get_running_loop().time() - started >= 0.15


@EACH
async def test_a_webhook_may_come_before_the_reply(name: str) -> None:
    async with receiving() as receiver, calling() as caller:
        async with Sandbox(webhooks=receiver.url) as sandbox:
            await sandbox.set_faults(name, [f.SlowReply(ms=700)])
            at = access(sandbox, name, "main", receiver.url)
            sending = asyncio.create_task(caller.send(at, message(name)))
            await receiver.wait_for(1)
            assert not sending.done()
            assert (await sending)[0].kind is OutcomeKind.ACCEPTED


@EACH
async def test_a_look_up_that_lags_finds_the_message_later(name: str) -> None:
    async with Sandbox() as sandbox, calling() as caller:
        await sandbox.set_faults(name, [f.LookupLag(ms=400)])
        at, sent = access(sandbox, name, "main"), message(name)
        await caller.send(at, sent)
        assert (await caller.look_up(at, sent))[0] is Lookup.NOT_FOUND
        await asyncio.sleep(0.5)
        assert (await caller.look_up(at, sent))[0] is Lookup.FOUND


@EACH
async def test_a_look_up_without_an_answer_is_none(name: str) -> None:
    async with Sandbox() as sandbox, calling() as caller:
        await sandbox.set_faults(name, [f.HttpStatus(status=502, calls=f.Calls.ALL)])
        at = access(sandbox, name, "main")
        assert (await caller.look_up(at, message(name)))[0] is Lookup.NO_ANSWER


@pytest.mark.parametrize(
    ("name", "kind"),
    [("postmark", OutcomeKind.REFUSED_RECIPIENT), ("twilio", OutcomeKind.REFUSED_RECIPIENT)],
)
async def test_an_inactive_recipient_is_refused_at_once(name: str, kind: OutcomeKind) -> None:
    address = message(name).address
    assert await outcome_under(name, f.Inactive(address=address)) == (kind, 0)


async def test_an_inactive_recipient_is_refused_later_where_the_vendor_does_so() -> None:
    assert await kinds_under("mailgun", f.Inactive()) == [ReceiptKind.FAILED]


async def kinds_under(name: str, *faults: f.Fault) -> list[ReceiptKind]:
    """What is reported of one message, once all is told."""
    async with receiving() as receiver, calling() as caller:
        async with Sandbox(webhooks=receiver.url) as sandbox:
            await sandbox.set_faults(name, list(faults))
            at = access(sandbox, name, "main", receiver.url)
            await caller.send(at, message(name))
            await sandbox.webhooks.settled()
            return [report.kind for report in receiver.reports(at)]


FIRST = {"postmark": [], "mailgun": [], "twilio": [ReceiptKind.SENT]}


@EACH
@pytest.mark.parametrize(
    ("faults", "kinds"),
    [
        ([f.Bounce(how="hard")], [ReceiptKind.BOUNCED_HARD]),
        ([f.Bounce(how="hard", late=True)], [ReceiptKind.DELIVERED, ReceiptKind.BOUNCED_HARD]),
        ([f.Bounce(address="nobody")], [ReceiptKind.DELIVERED]),
        ([f.Opened()], [ReceiptKind.DELIVERED, ReceiptKind.OPENED]),
        ([f.WebhooksDuplicated(copies=3, count=1)], None),
        ([f.WebhooksLost()], []),
    ],
    ids=str,
)
async def test_what_becomes_of_a_message_is_reported(
    name: str, faults: list[f.Fault], kinds: list[ReceiptKind] | None
) -> None:
    reported = await kinds_under(name, *faults)
    if kinds is None:
        first = (FIRST[name] + [ReceiptKind.DELIVERED])[0]
        assert reported[:3] == [first] * 3
    else:
        assert reported == ((FIRST[name] if kinds else []) + kinds)


@EACH
async def test_reordered_webhooks_come_in_the_reverse_order(name: str) -> None:
    reported = await kinds_under(name, f.Opened(), f.WebhooksReordered())
    assert reported == [ReceiptKind.OPENED, ReceiptKind.DELIVERED, *FIRST[name]]


@EACH
async def test_delayed_webhooks_come_later(name: str) -> None:
    async with Sandbox() as sandbox, calling() as caller:
        await sandbox.set_faults(name, [f.WebhooksDelayed(ms=60_000)])
        await caller.send(access(sandbox, name, "main"), message(name))
        await asyncio.sleep(0.4)
        assert sandbox.ledger.entries[0].history == []


@EACH
async def test_forged_webhooks_do_not_pass(name: str) -> None:
    with pytest.raises(ForgedCallback):
        await kinds_under(name, f.WebhooksForged())


@pytest.mark.parametrize(
    ("name", "answer", "calls"),
    [
        ("postmark", 500, 4),  # three more tries of a delivery
        ("postmark", 403, 1),  # stops for good
        ("mailgun", 500, 1),  # a delivery is not told again
        ("twilio", 500, 2),  # answered: sent and delivered once each
    ],
)
async def test_a_webhook_that_is_not_answered_200_is_tried_again_as_the_vendor_does(
    name: str, answer: int, calls: int
) -> None:
    async with receiving() as receiver, calling() as caller:
        receiver.statuses = [answer] * 20
        async with Sandbox(webhooks=receiver.url, time_scale=10_000) as sandbox:
            at = access(sandbox, name, "main", receiver.url)
            await caller.send(at, message(name))
            await sandbox.webhooks.settled()
            assert len(receiver.calls) == calls


async def test_a_bounce_is_told_again_for_longer() -> None:
    async with receiving() as receiver, calling() as caller:
        receiver.statuses = [500] * 5
        async with Sandbox(webhooks=receiver.url, time_scale=100_000) as sandbox:
            await sandbox.set_faults("mailgun", [f.Bounce()])
            await caller.send(access(sandbox, "mailgun", "main"), message("mailgun"))
            await receiver.wait_for(6)
            tokens = {
                report.dedupe for report in receiver.reports(access(sandbox, "mailgun", "main"))
            }
            assert len(tokens) == 1
            assert sandbox.webhooks.counts["refused"] == 5


async def test_a_script_plays_by_itself() -> None:
    script = [
        Step(at_s=0.0, provider="every", faults=(f.Down(),)),
        Step(at_s=0.4, provider="postmark"),
    ]
    async with Sandbox(script=script) as sandbox, calling() as caller:
        await asyncio.sleep(0.1)
        for name in VENDORS:
            with pytest.raises(aiohttp.ClientConnectorError):
                await caller.send(access(sandbox, name, "main"), message(name))
        await asyncio.sleep(0.6)
        (outcome,) = await caller.send(access(sandbox, "postmark", "main"), message("postmark"))
        assert outcome.kind is OutcomeKind.ACCEPTED
        assert sandbox.faults("twilio") == [f.Down()]


async def test_faults_are_set_read_and_cleared_over_http() -> None:
    async with Sandbox() as sandbox, Control(sandbox.url) as control:
        await control.set_faults("postmark", f.Slow(ms=5), f.Bounce(probability=0.5))
        await control.add_fault("postmark", f.Down())
        assert await control.faults("postmark") == [
            f.Slow(ms=5),
            f.Bounce(probability=0.5),
            f.Down(),
        ]
        await control.clear()
        assert await control.faults("postmark") == []
        with pytest.raises(ValueError, match="404"):
            await control.clear("carrier_pigeon")
        with pytest.raises(ValueError, match="400"):
            await control._call("PUT", "/control/postmark/faults", [{"fault": "slow"}])
