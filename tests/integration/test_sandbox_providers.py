"""The providers meet their stand-ins over HTTP: sent, written down, reported, found."""

import pytest

from services.core.events import ReceiptKind
from services.core.outcomes import OutcomeKind
from services.core.ports import Lookup
from services.sandbox.app import Sandbox
from services.sandbox.control import Control
from services.sandbox.vendors import VENDORS
from tests.integration.sandbox_support import access, calling, message, receiving

EACH = pytest.mark.parametrize("name", VENDORS)


@EACH
async def test_a_message_is_taken_reported_as_delivered_and_found(name: str) -> None:
    async with receiving() as receiver, calling() as caller:
        async with Sandbox(webhooks=receiver.url) as sandbox, Control(sandbox.url) as control:
            at = access(sandbox, name, "main", receiver.url)
            sent = message(name)
            (outcome,) = await caller.send(at, sent)
            assert outcome.kind is OutcomeKind.ACCEPTED

            (entry,) = await control.ledger(full=True)
            assert (entry.notification_id, entry.attempt) == (str(sent.notification_id), 1)
            assert (entry.provider, entry.account, entry.to) == (name, "main", sent.address)
            assert entry.text == sent.content.text
            assert entry.provider_ref == outcome.provider_ref

            await receiver.wait_for(2 if VENDORS[name].reports_sent else 1)
            report = receiver.reports(at)[-1]
            assert report.kind is ReceiptKind.DELIVERED
            assert (report.notification_id, report.attempt) == (sent.notification_id, 1)
            assert report.provider_ref == outcome.provider_ref

            assert await caller.look_up(at, sent) == (Lookup.FOUND, outcome.provider_ref)
            assert await caller.look_up(at, message(name)) == (Lookup.NOT_FOUND, None)
