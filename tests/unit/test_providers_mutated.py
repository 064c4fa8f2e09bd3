"""Genuine samples of each provider, damaged in every way, are read or refused, and never raise.

What was read fits into the log, whatever the vendor's words have become.
"""

from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.core.errors import PoisonEvent
from services.core.events import AttemptSettled
from services.core.identifiers import NotificationId, event_id
from services.core.outcomes import Outcome, fit
from services.core.ports import Callback, ForgedCallback, Lookup, Provider, Report, Response
from services.providers import PROVIDERS
from services.providers.twilio import webhook_signature as twilio_signature
from services.runtime.codec import Codec
from services.tracker import webhooks
from tests.conformance.samples import NOW, Samples, samples_of
from tests.unit.mutations import mutated, torn

CODEC = Codec()
#: far below what Kafka's clients send at the most
MOST_BYTES = 20_000
EACH = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=list(PROVIDERS))


def _replies(samples: Samples) -> list[Response]:
    return [samples.accepted, *(response for response, _ in samples.replies)]


@EACH
@given(data=st.data())
def test_any_mutation_of_a_genuine_reply_has_one_outcome_a_message(
    provider: Provider, data: st.DataObject
) -> None:
    samples = samples_of(provider.name)
    reply = data.draw(st.sampled_from(_replies(samples)))
    count = data.draw(st.integers(1, min(3, provider.capabilities.batch_max)))
    body = mutated(data, reply.body)
    outcomes = provider.read_response([samples.message] * count, replace(reply, body=body))
    assert [type(outcome) for outcome in outcomes] == [Outcome] * count
    for outcome in outcomes:
        _fits_the_log(fit(outcome))


def _fits_the_log(outcome: Outcome) -> None:
    id = NotificationId(samples_of("postmark").message.notification_id)
    account = samples_of("postmark").access.account.name
    event = AttemptSettled(
        event_id=event_id(id, "settled"),
        notification_id=id,
        attempt=1,
        channel=samples_of("postmark").message.channel,
        account=account,
        outcome=outcome.kind,
        at=NOW,
        code=outcome.code,
        detail=outcome.detail,
        provider_ref=outcome.provider_ref,
    )
    assert len(CODEC.encode(event)) < MOST_BYTES
    assert b"\0" not in f"{outcome.code}{outcome.detail}{outcome.provider_ref}".encode()
    assert "ann@example.test" not in outcome.detail


@EACH
@given(data=st.data())
def test_any_mutation_of_a_look_up_is_an_answer(provider: Provider, data: st.DataObject) -> None:
    samples = samples_of(provider.name)
    pages = [samples.lookup_found, samples.lookup_others, samples.lookup_full]
    page = data.draw(st.sampled_from(pages))
    reply = replace(page, body=mutated(data, page.body))
    lookup, _ = provider.read_lookup(samples.message, reply, since=NOW)
    assert isinstance(lookup, Lookup)


def _genuine_again(name: str, callback: Callback) -> Callback:
    """With a signature of what it has become, where the vendor signs the whole of it."""
    if name != "twilio":
        return callback
    token = samples_of(name).access.secrets["auth_token"]
    try:
        form = parse_qsl(callback.body.decode(), keep_blank_values=True)
    except ValueError:
        form = []
    signature = twilio_signature(token, callback.url, form)
    return replace(callback, headers={**callback.headers, "x-twilio-signature": signature})


def _mutated_form(data: st.DataObject, body: bytes) -> bytes:
    form = dict(parse_qsl(body.decode()))
    name = data.draw(st.sampled_from(sorted(form)))
    value = data.draw(st.text(max_size=20) | st.sampled_from(["\0", "x" * 100_000, "delivered"]))
    return urlencode({**form, name: value}, errors="replace").encode()


_MUTATIONS: Mapping[str, Callable[[st.DataObject, bytes], bytes]] = {"twilio": _mutated_form}


@EACH
@given(data=st.data())
def test_any_mutation_of_a_genuine_webhook_is_read_or_refused(
    provider: Provider, data: st.DataObject
) -> None:
    samples = samples_of(provider.name)
    callback = data.draw(st.sampled_from([callback for callback, _ in samples.callbacks]))
    how = _MUTATIONS.get(provider.name, mutated)
    damage = data.draw(st.sampled_from([how, torn]))
    damaged = replace(callback, body=damage(data, callback.body))
    signed = data.draw(st.sampled_from([damaged, _genuine_again(provider.name, damaged)]))
    try:
        reports = provider.read_callback(samples.access, signed, now=NOW)
    except (PoisonEvent, ForgedCallback):
        return
    for report in reports:
        _is_a_receipt(samples, report)


def _is_a_receipt(samples: Samples, report: Report) -> None:
    account, id = samples.access.account.name, samples.message.notification_id
    receipt = webhooks._receipt(account, report, (id, report.attempt or 1), NOW)
    assert len(CODEC.encode(receipt)) < MOST_BYTES
    assert "ann@example.test" not in receipt.detail
