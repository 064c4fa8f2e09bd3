"""What is Postmark's own: batches, tags, and a secret instead of a signature."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from services.core.outcomes import OutcomeKind
from services.core.ports import ForgedCallback, Response
from services.providers.postmark import Postmark
from tests.conformance.samples import NOW
from tests.conformance.samples.postmark import (
    ACCESS,
    DELIVERED,
    MESSAGE,
    METADATA,
    REF,
    SECRET,
    bounce,
    error,
    reply,
)

POSTMARK = Postmark()
OK = {"MessageID": REF, "ErrorCode": 0, "Message": "OK"}
PAIR = (MESSAGE, replace(MESSAGE, address="bob@example.test"))


def kinds(response: Response) -> list[OutcomeKind]:
    return [outcome.kind for outcome in POSTMARK.read_response(PAIR, response)]


def test_one_mail_has_all_its_fields_and_carries_our_ids() -> None:
    request = POSTMARK.build_request(ACCESS, [MESSAGE], time_left=timedelta(hours=1))
    assert request.url == "https://vendor.example/email"
    assert request.headers["X-Postmark-Server-Token"] == "postmark-token"
    assert request.headers["Accept"] == request.headers["Content-Type"] == "application/json"
    assert msgspec.json.decode(request.body) == {
        "From": "Shop <shop@example.test>",
        "To": "ann@example.test",
        "Subject": "Your new password",
        "TextBody": MESSAGE.content.text,
        "HtmlBody": "<p>Choose a new password</p>",
        "Tag": f"{MESSAGE.notification_id}.2",
        "Metadata": {**METADATA, "type": "password_reset"},
        "MessageStream": "outbound",
    }


def test_many_mails_go_to_the_batch_call_in_their_order() -> None:
    request = POSTMARK.build_request(ACCESS, PAIR, time_left=timedelta(hours=1))
    assert request.url == "https://vendor.example/email/batch"
    mails = msgspec.json.decode(request.body)
    assert [mail["To"] for mail in mails] == ["ann@example.test", "bob@example.test"]


def test_each_item_of_a_batch_has_its_own_outcome() -> None:
    refused = {"ErrorCode": 406, "Message": "Inactive recipient"}
    assert kinds(reply(200, [OK, refused])) == [
        OutcomeKind.ACCEPTED,
        OutcomeKind.REFUSED_RECIPIENT,
    ]


@pytest.mark.parametrize("body", [[OK], [OK, OK, OK], OK, {"ErrorCode": 406}, [], "x", [OK, 1]])
def test_a_batch_reply_that_does_not_match_its_request_is_unknown_for_all(body: object) -> None:
    assert kinds(reply(200, body)) == [OutcomeKind.UNKNOWN, OutcomeKind.UNKNOWN]


def test_a_batch_refused_whole_is_refused_for_all() -> None:
    assert kinds(error(10, status=401)) == [OutcomeKind.REFUSED_ACCOUNT] * 2
    assert kinds(Response(status=502)) == [OutcomeKind.UNKNOWN] * 2


def test_the_vendors_code_is_kept_for_people() -> None:
    (outcome,) = POSTMARK.read_response([MESSAGE], error(412, "Account is pending"))
    assert (outcome.code, outcome.detail) == ("412", "Account is pending")


def test_the_secret_may_come_in_a_header_of_its_own() -> None:
    callback = replace(DELIVERED, headers={"x-webhook-secret": SECRET})
    assert POSTMARK.read_callback(ACCESS, callback, now=NOW)
    wrong = replace(DELIVERED, headers={**DELIVERED.headers, "x-webhook-secret": "wrong"})
    with pytest.raises(ForgedCallback):
        POSTMARK.read_callback(ACCESS, wrong, now=NOW)


def test_a_bounce_is_known_by_its_id_and_says_when_and_why_without_the_address() -> None:
    (report,) = POSTMARK.read_callback(ACCESS, bounce("HardBounce"), now=NOW)
    assert report.dedupe == "Bounce:991"
    assert report.code == "HardBounce"
    assert report.detail == "smtp;550 5.1.1 <…> unknown"
    assert report.occurred_at == datetime(2026, 1, 2, 3, 4, 5, 123457, tzinfo=UTC)


def test_the_look_up_asks_for_the_attempts_own_tag_in_its_stream() -> None:
    request = POSTMARK.build_lookup(ACCESS, MESSAGE, since=NOW)
    assert request is not None
    assert request.url == (
        "https://vendor.example/messages/outbound?count=50&offset=0"
        f"&tag={MESSAGE.notification_id}.2&messagestream=outbound"
    )
