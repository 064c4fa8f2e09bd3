"""Whatever comes over the wire, a provider answers as its port allows."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import PoisonEvent
from services.core.outcomes import Outcome
from services.core.ports import Callback, ForgedCallback, Lookup, Provider, Response
from services.providers import PROVIDERS
from services.providers.mailgun import webhook_signature
from services.providers.replies import without_addresses
from services.providers.twilio import webhook_signature as twilio_signature
from tests.conformance.samples import NOW, samples_of
from tests.conformance.samples.mailgun import KEY
from tests.conformance.samples.postmark import webhook as postmark_webhook

WORDS = st.sampled_from(
    "ErrorCode Message MessageID TotalCount Messages Metadata Tag id message items sid code "
    "messages body date_created error_code event severity reason user-variables timestamp "
    "RecordType Type nid att Bounce failed permanent delivered".split()
)
SCALARS: st.SearchStrategy[object] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(),
    WORDS,
)
JSON: st.SearchStrategy[object] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)
#: msgspec writes what JSON can hold; text outside it is left to the raw bytes
BODIES = st.binary() | JSON.map(lambda value: msgspec.json.encode(_printable(value)))
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "retry-after",
            "date",
            "authorization",
            "content-type",
            "x-webhook-secret",
            "x-twilio-signature",
            "x-twilio-webhooks-signature-settings",
        ]
    ),
    st.text() | st.sampled_from(["Basic eA==", "Basic OjpzZWNyZXQ=", "application/json"]),
)
#: this machine may be busy, and the time of one example proves nothing
UNTIMED = settings(deadline=None)
EACH = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=list(PROVIDERS))


def _printable(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    return value


@EACH
@UNTIMED
@given(status=st.integers(100, 599), body=BODIES, headers=HEADERS, count=st.integers(1, 3))
def test_any_reply_has_one_outcome_a_message(
    provider: Provider, status: int, body: bytes, headers: dict[str, str], count: int
) -> None:
    response = Response(status=status, headers=headers, body=body)
    messages = [samples_of(provider.name).message] * count
    outcomes = provider.read_response(messages, response)
    assert [type(outcome) for outcome in outcomes] == [Outcome] * count


@EACH
@UNTIMED
@given(status=st.sampled_from([200, 200, 404, 500]), body=BODIES)
def test_any_reply_to_a_look_up_is_an_answer(provider: Provider, status: int, body: bytes) -> None:
    message = samples_of(provider.name).message
    lookup, _ = provider.read_lookup(message, Response(status=status, body=body), since=NOW)
    assert isinstance(lookup, Lookup)


@EACH
@UNTIMED
@given(url=st.text() | st.just("http://[x/?nid=1"), body=BODIES, headers=HEADERS)
def test_any_webhook_that_is_not_signed_is_forged(
    provider: Provider, url: str, body: bytes, headers: dict[str, str]
) -> None:
    with pytest.raises(ForgedCallback):
        provider.read_callback(
            samples_of(provider.name).access,
            Callback(url=url, headers=headers, body=body),
            now=NOW,
        )


@UNTIMED
@given(body=BODIES)
def test_any_event_under_postmarks_secret_is_read_or_poison(body: bytes) -> None:
    _read_or_poison("postmark", msgspec.structs.replace(postmark_webhook({}), body=body))


@UNTIMED
@given(event=JSON, timestamp=st.sampled_from([str(int(NOW.timestamp())), "", "nan", "9" * 40]))
def test_any_event_under_mailguns_signature_is_read_or_poison(
    event: object, timestamp: str
) -> None:
    signature = webhook_signature(KEY, timestamp, "t")
    block = {"timestamp": timestamp, "token": "t", "signature": signature}
    body = msgspec.json.encode({"signature": block, "event-data": _printable(event)})
    _read_or_poison("mailgun", Callback(url="", headers={}, body=body))


@UNTIMED
@given(url=st.text(), body=st.binary())
def test_any_body_under_twilios_signature_is_read_or_poison(url: str, body: bytes) -> None:
    signature = twilio_signature("sim-token", url, [])
    _read_or_poison(
        "twilio", Callback(url=url, headers={"x-twilio-signature": signature}, body=body)
    )


def _read_or_poison(name: str, callback: Callback) -> None:
    try:
        PROVIDERS[name].read_callback(samples_of(name).access, callback, now=NOW)
    except (PoisonEvent, ForgedCallback):
        return


@pytest.mark.parametrize(
    ("sentence", "left"),
    [
        ("no <ann@example.test> here", "no <…> here"),
        ("to +15550001111.", "to …."),
        ("call +49 (30) 123-456 now", "call … now"),
        ("550 5.1.1", "550 5.1.1"),
        ("x" * 300, "x" * 200),
    ],
)
def test_addresses_are_taken_out_of_a_sentence(sentence: str, left: str) -> None:
    assert without_addresses(sentence) == left
