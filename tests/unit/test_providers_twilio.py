"""What is Twilio's own: ids in the query string, two signatures, and a look-up by words."""

from datetime import timedelta
from urllib.parse import parse_qs, urlencode

import pytest
from msgspec.structs import replace

from services.core.outcomes import OutcomeKind
from services.core.ports import Access, Callback, ForgedCallback, Lookup
from services.providers.twilio import SHA1, SHA256, Twilio, webhook_signature
from tests.conformance.samples import NOW
from tests.conformance.samples.twilio import (
    ACCESS,
    MESSAGE,
    REF,
    TEXT,
    TOKEN,
    URL,
    error,
    listed,
    listing,
)

TWILIO = Twilio()
FORM = [("MessageSid", "SM1"), ("MessageStatus", "delivered"), ("To", "+15550001111")]


def signed(
    url: str, *, signed_url: str | None = None, key: str = TOKEN, settings: str = ""
) -> Callback:
    algorithm = SHA256 if SHA256 in settings else SHA1
    signature = webhook_signature(key, signed_url or url, FORM, algorithm=algorithm)
    headers = {"x-twilio-signature": signature}
    if settings:
        headers["x-twilio-webhooks-signature-settings"] = settings
    return Callback(url=url, headers=headers, body=urlencode(FORM).encode())


def with_settings(**settings: str) -> Access:
    merged = {**ACCESS.account.settings, **settings}
    return replace(ACCESS, account=replace(ACCESS.account, settings=merged))


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        (SHA1, "iUsCocknlF+PbS11koQtIpRJlkI="),
        (SHA256, "7a3CMB3awJ734mJ54Z5N+gX9+M8Vq48Nv54i73ifvHk="),
    ],
)
def test_the_signatures_are_those_of_the_vendors_vectors(algorithm: str, expected: str) -> None:
    url = "https://sim.example/cb?n=42"
    assert webhook_signature(TOKEN, url, FORM, algorithm=algorithm) == expected
    assert webhook_signature(TOKEN, url, FORM[::-1] + FORM, algorithm=algorithm) == expected


def test_the_form_has_all_fields_and_our_ids_in_the_callback() -> None:
    request = TWILIO.build_request(ACCESS, [MESSAGE], time_left=timedelta(minutes=1))
    assert request.url == "https://vendor.example/2010-04-01/Accounts/AC1/Messages.json"
    assert parse_qs(request.body.decode()) == {
        "To": ["+15550001111"],
        "From": ["+15550002222"],
        "Body": [TEXT],
        "StatusCallback": [URL],
        "ValidityPeriod": ["60"],
    }


def test_a_sender_may_be_a_messaging_service_and_the_callback_may_ask_for_retries() -> None:
    access = with_settings(**{"from": "MG42", "callback_overrides": "rc=5"})
    form = parse_qs(
        TWILIO.build_request(access, [MESSAGE], time_left=timedelta(minutes=1)).body.decode()
    )
    assert form["MessagingServiceSid"] == ["MG42"]
    assert form["StatusCallback"] == [f"{URL}#rc=5"]
    assert "From" not in form


@pytest.mark.parametrize(
    ("called", "as_signed"),
    [
        ("https://sim.example/cb?n=42", "https://sim.example:443/cb?n=42"),
        ("https://sim.example:443/cb?n=42", "https://sim.example/cb?n=42"),
        ("http://sim.example/cb", "http://sim.example:80/cb"),
        ("http://[::1]/cb", "http://[::1]:80/cb"),
        ("http://127.0.0.1:8081/cb", "http://127.0.0.1:8081/cb"),
    ],
)
def test_the_default_port_may_be_written_or_left_out(called: str, as_signed: str) -> None:
    (report,) = TWILIO.read_callback(ACCESS, signed(called, signed_url=as_signed), now=NOW)
    assert report.dedupe == "SM1:delivered"


def test_another_port_is_another_url() -> None:
    with pytest.raises(ForgedCallback):
        TWILIO.read_callback(
            ACCESS, signed("http://sim.example:81/cb", signed_url="http://sim.example/cb"), now=NOW
        )


def test_the_newer_signature_is_made_with_the_shared_key() -> None:
    settings = f"key=k1,algorithm={SHA256}"
    access = replace(ACCESS, secrets={**ACCESS.secrets, "webhook_shared_key": "shared"})
    assert TWILIO.read_callback(access, signed(URL, key="shared", settings=settings), now=NOW)
    assert TWILIO.read_callback(ACCESS, signed(URL, settings=settings), now=NOW)
    for forged in (signed(URL, settings=settings), signed(URL, key="shared")):
        with pytest.raises(ForgedCallback):
            TWILIO.read_callback(access, forged, now=NOW)
    with pytest.raises(ForgedCallback):
        TWILIO.read_callback(ACCESS, signed(URL, settings="algorithm=MD5"), now=NOW)


def test_a_parameter_that_was_added_on_the_way_breaks_the_signature() -> None:
    callback = signed(URL)
    with pytest.raises(ForgedCallback):
        TWILIO.read_callback(ACCESS, replace(callback, body=callback.body + b"&X=1"), now=NOW)


def test_a_json_body_is_not_taken_without_its_hash_in_the_url() -> None:
    callback = signed(URL)
    json = replace(callback, headers={**callback.headers, "content-type": "application/json"})
    with pytest.raises(ForgedCallback):
        TWILIO.read_callback(ACCESS, json, now=NOW)


def test_a_region_that_is_switched_off_does_not_rest_the_account() -> None:
    (outcome,) = TWILIO.read_response([MESSAGE], error(21408))
    assert outcome.kind is OutcomeKind.REFUSED_RECIPIENT


def test_a_long_limit_says_to_stay_away_for_long() -> None:
    (outcome,) = TWILIO.read_response([MESSAGE], error(63038, status=429))
    assert (outcome.kind, outcome.retry_after) == (OutcomeKind.THROTTLED, 3600.0)


def test_of_two_messages_with_the_same_words_the_older_is_this_one() -> None:
    page = listing(listed("SM9", TEXT, timedelta(seconds=-30)), listed(REF, TEXT, timedelta()))
    assert TWILIO.read_lookup(MESSAGE, page, since=NOW) == (Lookup.FOUND, REF)


def test_a_message_from_before_the_attempt_is_not_this_one() -> None:
    page = listing(listed("SM0", TEXT, timedelta(seconds=10)))
    assert TWILIO.read_lookup(MESSAGE, page, since=NOW) == (Lookup.NOT_FOUND, None)
