"""What is Mailgun's own: the signature, its age, and the deadline in minutes."""

from base64 import b64decode
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from msgspec.structs import replace

from services.core.errors import Misconfigured
from services.core.ports import Access, ForgedCallback
from services.providers.mailgun import Mailgun, webhook_signature
from tests.conformance.samples import NOW
from tests.conformance.samples.mailgun import ACCESS, MESSAGE, event, failed, webhook

MAILGUN = Mailgun()


def with_settings(**settings: str) -> Access:
    merged = {**ACCESS.account.settings, **settings}
    return replace(ACCESS, account=replace(ACCESS.account, settings=merged))


def test_the_signature_is_that_of_the_vendors_vector() -> None:
    assert webhook_signature("sim-key", "1700000000", "tok123") == (
        "30e33d93c951cef1494072156e23f9675248a4521140c4d16a2c24c9db7a4364"
    )


def test_the_form_has_all_fields_and_carries_our_ids() -> None:
    request = MAILGUN.build_request(ACCESS, [MESSAGE], time_left=timedelta(hours=2, seconds=59))
    assert request.url == "https://vendor.example/v3/mg.example.test/messages"
    assert b64decode(request.headers["Authorization"].removeprefix("Basic ")) == b"api:mailgun-key"
    assert parse_qs(request.body.decode()) == {
        "from": ["Shop <shop@mg.example.test>"],
        "to": ["ann@example.test"],
        "subject": ["Your new password"],
        "text": [MESSAGE.content.text],
        "html": ["<p>Choose a new password</p>"],
        "v:nid": [str(MESSAGE.notification_id)],
        "v:att": ["2"],
        "v:type": ["password_reset"],
        "o:deliver-within": ["2h0m"],
    }


def test_a_domain_with_a_slash_is_refused_before_it_makes_a_path_that_answers_200() -> None:
    with pytest.raises(Misconfigured, match="slash"):
        MAILGUN.build_request(
            with_settings(domain="mg.example.test/x"), [MESSAGE], time_left=timedelta(hours=1)
        )


@pytest.mark.parametrize(("limit", "hours", "genuine"), [("9h", 8, True), ("15m", 1, False)])
def test_how_old_a_webhook_may_be_is_a_setting(limit: str, hours: int, genuine: bool) -> None:
    access = with_settings(webhook_max_age=limit)
    old = webhook(event("delivered"), age=timedelta(hours=hours))
    if genuine:
        assert MAILGUN.read_callback(access, old, now=NOW)
    else:
        with pytest.raises(ForgedCallback):
            MAILGUN.read_callback(access, old, now=NOW)


def test_the_vendors_last_retry_is_not_yet_too_old() -> None:
    last_retry = timedelta(minutes=5 + 10 + 15 + 60 + 120 + 240)
    callback = webhook(event("delivered"), age=last_retry)
    assert MAILGUN.read_callback(ACCESS, callback, now=NOW)


def test_a_captured_signature_cannot_bring_a_second_event() -> None:
    (first,) = MAILGUN.read_callback(ACCESS, webhook(event("delivered")), now=NOW)
    (second,) = MAILGUN.read_callback(ACCESS, webhook(event("complained")), now=NOW)
    assert first.dedupe == second.dedupe == "tok123"


def test_a_failure_says_why_without_the_address() -> None:
    (report,) = MAILGUN.read_callback(ACCESS, failed("permanent", "bounce"), now=NOW)
    assert (report.code, report.detail) == ("550", "bounce 5.1.1 no <…>")
    assert report.occurred_at == NOW


def test_the_look_up_starts_before_the_attempt_did() -> None:
    request = MAILGUN.build_lookup(ACCESS, MESSAGE, since=NOW)
    assert request is not None
    assert request.url == (
        "https://vendor.example/v3/mg.example.test/events"
        f"?begin={int(NOW.timestamp()) - 60}&ascending=yes&limit=300&recipient=ann%40example.test"
    )
