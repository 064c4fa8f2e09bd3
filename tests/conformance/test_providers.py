"""One suite for all providers: one enters by being listed, and fails until it has samples."""

from collections.abc import Sequence
from datetime import timedelta
from email.utils import format_datetime

import pytest
from msgspec.structs import replace

from services.core.errors import Misconfigured, PoisonEvent
from services.core.events import ReceiptKind
from services.core.outcomes import OutcomeKind
from services.core.ports import (
    Callback,
    ForgedCallback,
    Lookup,
    Provider,
    Reconcile,
    Report,
    Request,
    Response,
)
from services.providers import PROVIDERS
from tests.conformance.samples import NOW, Samples, samples_of

#: what a provider can say; the rest is for its callers to conclude
CLASSES = set(OutcomeKind) - {
    OutcomeKind.ACCEPTED,
    OutcomeKind.REFUSED_BATCH,
    OutcomeKind.VOIDED,
}


@pytest.fixture(params=PROVIDERS.values(), ids=list(PROVIDERS))
def provider(request: pytest.FixtureRequest) -> Provider:
    listed: Provider = request.param
    return listed


@pytest.fixture
def samples(provider: Provider) -> Samples:
    return samples_of(provider.name)


def build(provider: Provider, samples: Samples, *, seconds_left: float = 3600) -> Request:
    return provider.build_request(
        samples.access, [samples.message], time_left=timedelta(seconds=seconds_left)
    )


def kind_of(provider: Provider, samples: Samples, response: Response) -> OutcomeKind:
    (outcome,) = provider.read_response([samples.message], response)
    return outcome.kind


def reports(provider: Provider, samples: Samples, callback: Callback) -> Sequence[Report]:
    return provider.read_callback(samples.access, callback, now=NOW)


def test_a_provider_listed_without_samples_fails() -> None:
    with pytest.raises(AssertionError, match="listed without samples"):
        samples_of("carrier_pigeon")


def test_a_request_goes_to_the_accounts_own_base_url_with_its_content(
    provider: Provider, samples: Samples
) -> None:
    request = build(provider, samples)
    assert request.method == "POST"
    assert request.url.startswith(samples.access.base_url + "/")
    assert str(samples.message.notification_id).encode() in request.body


def test_the_reply_that_takes_the_message_is_accepted_with_its_id(
    provider: Provider, samples: Samples
) -> None:
    (outcome,) = provider.read_response([samples.message], samples.accepted)
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert outcome.provider_ref == samples.accepted_ref


def test_each_sample_reply_means_what_it_says(provider: Provider, samples: Samples) -> None:
    for response, kind in samples.replies:
        assert kind_of(provider, samples, response) is kind, response


def test_the_sample_replies_show_each_class_of_outcome(samples: Samples) -> None:
    assert {kind for _, kind in samples.replies} >= CLASSES


def test_no_detail_of_an_outcome_shows_the_address(provider: Provider, samples: Samples) -> None:
    for response, _ in samples.replies:
        (outcome,) = provider.read_response([samples.message], response)
        assert samples.message.address.lower() not in outcome.detail.lower()


@pytest.mark.parametrize("status", [500, 502, 504, 520, 408, 499, 301, 100])
def test_a_bare_502_and_its_like_may_have_been_taken(
    provider: Provider, samples: Samples, status: int
) -> None:
    page = Response(status=status, body=b"<html>Bad gateway</html>")
    assert kind_of(provider, samples, page) is OutcomeKind.UNKNOWN


def test_a_bare_503_may_have_been_taken_unless_it_says_when_to_come_back(
    provider: Provider, samples: Samples
) -> None:
    assert kind_of(provider, samples, Response(status=503)) is OutcomeKind.UNKNOWN
    (outcome,) = provider.read_response(
        [samples.message], Response(status=503, headers={"retry-after": "7"})
    )
    assert (outcome.kind, outcome.retry_after) == (OutcomeKind.UNAVAILABLE, 7.0)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"id":7}']
)
def test_a_200_that_cannot_be_read_is_unknown(
    provider: Provider, samples: Samples, body: bytes
) -> None:
    assert kind_of(provider, samples, Response(status=200, body=body)) is OutcomeKind.UNKNOWN


@pytest.mark.parametrize("body", [b"", b"slow down"])
def test_throttling_needs_no_body_and_no_hint(
    provider: Provider, samples: Samples, body: bytes
) -> None:
    (outcome,) = provider.read_response([samples.message], Response(status=429, body=body))
    assert (outcome.kind, outcome.retry_after) == (OutcomeKind.THROTTLED, None)


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [
        ("2.5", 2.5),
        ("0", 0.0),
        ("999999999", 86_400.0),
        (format_datetime(NOW + timedelta(seconds=90)), 90.0),
        (format_datetime(NOW - timedelta(seconds=90)), 0.0),
        ("-1", None),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_throttling_tells_when_to_come_back(
    provider: Provider, samples: Samples, hint: str, seconds: float | None
) -> None:
    headers = {"retry-after": hint, "date": format_datetime(NOW)}
    (outcome,) = provider.read_response([samples.message], Response(status=429, headers=headers))
    assert (outcome.kind, outcome.retry_after) == (OutcomeKind.THROTTLED, seconds)


def test_a_look_up_finds_this_attempt_and_no_other(provider: Provider, samples: Samples) -> None:
    assert provider.capabilities.reconcile is Reconcile.SEARCH
    request = provider.build_lookup(samples.access, samples.message, since=NOW)
    assert request is not None
    assert request.method == "GET"
    assert request.url.startswith(samples.access.base_url + "/")
    read = [
        provider.read_lookup(samples.message, response, since=NOW)
        for response in (samples.lookup_found, samples.lookup_others)
    ]
    assert read == [(Lookup.FOUND, samples.lookup_ref), (Lookup.NOT_FOUND, None)]


def test_a_look_up_whose_page_is_full_proves_nothing(provider: Provider, samples: Samples) -> None:
    read = provider.read_lookup(samples.message, samples.lookup_full, since=NOW)
    assert read == (Lookup.NO_ANSWER, None)


@pytest.mark.parametrize(
    "response",
    [
        Response(status=200, body=b"<html>"),
        Response(status=200, body=b"[]"),
        Response(status=401),
        Response(status=404),
        Response(status=429),
        Response(status=502, body=b"<html>"),
    ],
)
def test_a_look_up_without_an_answer_proves_nothing(
    provider: Provider, samples: Samples, response: Response
) -> None:
    read = provider.read_lookup(samples.message, response, since=NOW)
    assert read == (Lookup.NO_ANSWER, None)


def test_each_webhook_is_mapped_and_brings_our_ids_back(
    provider: Provider, samples: Samples
) -> None:
    for callback, kind in samples.callbacks:
        read = reports(provider, samples, callback)
        assert [report.kind for report in read] == ([] if kind is None else [kind]), callback
        for report in read:
            assert report.notification_id == samples.message.notification_id
            assert report.attempt == samples.message.attempt
            assert report.provider_ref == samples.accepted_ref
            assert samples.message.address not in report.detail


def test_each_kind_of_report_is_mapped_by_some_provider() -> None:
    kinds = {kind for name in PROVIDERS for _, kind in samples_of(name).callbacks}
    assert kinds >= set(ReceiptKind)


def test_a_webhook_of_a_message_that_is_not_ours_has_no_ids(
    provider: Provider, samples: Samples
) -> None:
    ours = str(samples.message.notification_id)
    for callback, _ in samples.callbacks:
        theirs = replace(
            callback,
            url=callback.url.replace(ours, "x"),
            body=callback.body.replace(ours.encode(), b"x"),
        )
        try:
            read = reports(provider, samples, theirs)
        except ForgedCallback:
            continue  # the ids are signed
        assert all(report.notification_id is None for report in read)


def test_a_replayed_webhook_has_the_same_dedupe_key_and_another_event_has_not(
    provider: Provider, samples: Samples
) -> None:
    once = [report.dedupe for c, _ in samples.callbacks for report in reports(provider, samples, c)]
    again = [
        report.dedupe for c, _ in samples.callbacks for report in reports(provider, samples, c)
    ]
    assert once == again
    kinds = {kind for _, kind in samples.callbacks if kind is not None}
    assert len(set(once)) >= len(kinds) - 1
    assert all(once)


def test_a_forged_webhook_is_refused(provider: Provider, samples: Samples) -> None:
    assert samples.forged
    for callback in samples.forged:
        with pytest.raises(ForgedCallback):
            reports(provider, samples, callback)


def test_a_stale_webhook_is_refused_where_the_vendor_signs_the_time(
    provider: Provider, samples: Samples
) -> None:
    if samples.stale is None:
        return
    with pytest.raises(ForgedCallback):
        reports(provider, samples, samples.stale)
    (fresh, _), *_ = samples.callbacks
    with pytest.raises(ForgedCallback):
        provider.read_callback(samples.access, fresh, now=NOW - timedelta(days=1))


def test_a_genuine_webhook_of_an_unknown_kind_is_poison(
    provider: Provider, samples: Samples
) -> None:
    with pytest.raises(PoisonEvent):
        reports(provider, samples, samples.unknown_callback)


def test_the_provider_is_told_of_the_time_left_where_it_can_be(
    provider: Provider, samples: Samples
) -> None:
    field = samples.deadline_field
    assert (provider.capabilities.native_deadline is None) == (field is None)
    for seconds, told in samples.deadlines:
        body = build(provider, samples, seconds_left=seconds).body
        assert field is not None
        fields = dict(pair.split(b"=") for pair in body.split(b"&"))
        assert fields.get(field.removesuffix(b"=")) == told


def test_an_account_that_lacks_a_setting_is_told_its_name(
    provider: Provider, samples: Samples
) -> None:
    account = samples.access.account
    for name in provider.capabilities.settings:
        rest = {key: value for key, value in account.settings.items() if key != name}
        lacking = replace(samples.access, account=replace(account, settings=rest))
        with pytest.raises(Misconfigured, match=repr(name)):
            build(provider, replace(samples, access=lacking))


def test_an_account_that_lacks_a_secret_is_told_its_name(
    provider: Provider, samples: Samples
) -> None:
    for name in provider.capabilities.secrets:
        rest = {key: value for key, value in samples.access.secrets.items() if key != name}
        lacking = replace(samples, access=replace(samples.access, secrets=rest))
        with pytest.raises(Misconfigured, match=repr(name)):  # noqa: PT012 - one needs it
            build(provider, lacking)
            reports(provider, lacking, samples.callbacks[0][0])
