"""What the webhook endpoint answers is never what a vendor takes for the end."""

import pytest

from services.sandbox.ledger import Occurrence
from services.sandbox.vendor import Vendor, WebhookCall
from services.sandbox.vendors import VENDORS
from services.tracker.webhooks import REFUSALS

CALL = WebhookCall(url="http://127.0.0.1/", headers={}, body=b"")


@pytest.mark.parametrize("vendor", VENDORS.values(), ids=list(VENDORS))
@pytest.mark.parametrize("status", REFUSALS)
def test_after_any_refusal_a_vendor_tries_again_as_after_any_failure(
    vendor: Vendor, status: int
) -> None:
    """Postmark stops for good at 403, Mailgun at 406; the mistake may be ours, and mended soon."""
    tries = [vendor.next_try(Occurrence.BOUNCED_HARD, 1, code, CALL) for code in (status, 500)]
    assert tries[0] == tries[1]
