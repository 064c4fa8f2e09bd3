"""What ingest makes of a body: a record to append, or a problem that says what to change."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.catalogue import Lane
from services.core.events import NotificationCancelled, NotificationRequested, RecipientUpdated
from services.core.identifiers import id_from_idempotency_key
from services.core.topics import requested
from services.ingest.decide import MAX_BATCH, Call, Decider, Entry
from services.ingest.problems import Problem
from services.runtime.catalogue import load_catalogue

LOADED = load_catalogue(Path(__file__).parents[2] / "examples" / "shop")
DECIDER = Decider(LOADED.catalogue, LOADED.rules)
SEED = UUID("22222222-2222-4222-8222-222222222222")
OWN_ID = "33333333-3333-4333-8333-333333333333"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANYBODY = Call(at=NOW, tenant=None, seed=SEED)
ACME = Call(at=NOW, tenant="acme", seed=SEED)
RESET: dict[str, object] = {
    "user": "u1",
    "type": "password_reset",
    "to": {"email": "u1@example.test"},
    "data": {"name": "Ann", "reset_url": "https://shop.example/reset/1"},
}
CAMPAIGN: dict[str, object] = RESET | {
    "type": "campaign",
    "data": {
        "name": "Ann",
        "headline": "Lamps",
        "body": "All of them.",
        "offer_url": "https://shop.example/",
        "unsubscribe_url": "https://shop.example/u",
    },
}


def body(document: object) -> bytes:
    return json.dumps(document).encode()


def taken(document: object, call: Call = ANYBODY) -> Entry:
    entry = DECIDER.request(body(document), call)
    assert isinstance(entry, Entry), entry
    return entry


def refused(raw: bytes, call: Call = ANYBODY) -> Problem:
    problem = DECIDER.request(raw, call)
    assert isinstance(problem, Problem), problem
    return problem


def pointers(document: object) -> list[str]:
    return [fault.pointer for fault in refused(body(document)).errors]


def test_a_request_goes_to_the_lane_of_its_type_under_its_key() -> None:
    entry = taken(RESET | {"subject": "a/b", "user": "ü"})
    assert entry.topic == requested(Lane.CRITICAL)
    assert entry.key == "default:%C3%BC:password_reset:a%2Fb"


def test_the_event_always_has_its_id() -> None:
    for document in (RESET, CAMPAIGN, RESET | {"id": OWN_ID}):
        entry = taken(document)
        assert isinstance(entry.event, NotificationRequested)
        assert entry.event.id == entry.id is not None


def test_a_type_that_is_never_superseded_has_the_id_in_its_key() -> None:
    entry = taken(CAMPAIGN | {"subject": "spring"})
    assert entry.key == f"default:u1:campaign:{entry.id}"


def test_the_name_of_the_event_may_be_said() -> None:
    assert taken(RESET | {"event": "NotificationRequested"}) == taken(RESET)
    assert pointers(RESET | {"event": "NotificationCancelled"}) == ["#/event"]


def test_the_body_s_own_id_stands_before_the_header() -> None:
    call = msgspec.structs.replace(ANYBODY, idempotency_key="k")
    assert str(taken(RESET | {"id": OWN_ID}, call).id) == OWN_ID


def test_one_idempotency_key_makes_one_id_whatever_the_seed() -> None:
    calls = [Call(at=NOW, tenant=None, seed=UUID(int=n), idempotency_key="order 7") for n in (1, 2)]
    assert {taken(RESET, call).id for call in calls} == {
        id_from_idempotency_key("default", "order 7")
    }


def test_one_idempotency_key_of_two_tenants_makes_two_ids() -> None:
    calls = [Call(at=NOW, tenant=name, seed=SEED, idempotency_key="k") for name in ("a", "b")]
    assert len({taken(RESET, call).id for call in calls}) == 2


def test_without_any_key_each_call_makes_its_own_id() -> None:
    assert taken(RESET).id != taken(RESET, Call(at=NOW, tenant=None, seed=UUID(int=9))).id


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "ü", "\udce4"])
def test_an_idempotency_key_is_short_printable_ascii(key: str) -> None:
    problem = refused(body(RESET), Call(at=NOW, tenant=None, seed=SEED, idempotency_key=key))
    assert (problem.status, "Idempotency-Key" in problem.detail) == (400, True)


def test_the_tenant_is_the_api_key_s() -> None:
    assert taken(RESET, ACME).key.startswith("acme:")
    assert taken(RESET | {"tenant": "acme"}, ACME).key.startswith("acme:")


@pytest.mark.parametrize("tenant", ["default", "other"])
def test_another_tenant_s_name_is_forbidden(tenant: str) -> None:
    problem = refused(body(RESET | {"tenant": tenant}), ACME)
    assert (problem.status, problem.errors[0].pointer) == (403, "#/tenant")


def test_without_api_keys_the_body_names_the_tenant() -> None:
    assert taken(RESET | {"tenant": "other"}).key.startswith("other:")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "character 0"),
        (b"{", "character 1"),
        (b'{"user": NaN}', "NaN"),
        (b'{"user": 9223372036854775808}', "64 bits"),
        (b'{"user": 1e999}', "too large"),
        (b'{"user": "a", "user": "b"}', "twice"),
        (b'{"user": "\xff"}', "UTF-8"),
        (b'{"user": "\\ud800"}', "surrogate"),
        (b'{"user": "\\u0000"}', "NUL"),
        (b"[" * 1000 + b"]" * 1000, "levels deep"),
        (b'{"user":' * 100_000, "levels deep"),
        (b"\xef\xbb\xbf{}", "character 0"),
    ],
)
def test_what_is_not_json_to_every_reader_is_told_why(raw: bytes, says: str) -> None:
    problem = refused(raw)
    assert problem.status == 400
    assert says in problem.detail


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        (None, "#"),
        ([], "#"),
        ("x", "#"),
        ({}, "#/user"),
        (RESET | {"user": 1}, "#/user"),
        (RESET | {"to": []}, "#/to"),
        (RESET | {"to": {"email": 1}}, "#/to/email"),
        (RESET | {"to": {"mail": "a@example.test"}}, "#/to/mail"),
        (RESET | {"id": "1"}, "#/id"),
        (RESET | {"data": []}, "#/data"),
        (RESET | {"usr": 1}, "#/usr"),
        (RESET | {"deadline": "1h"}, "#/deadline"),
        (RESET | {"a@example.test": 1}, "#"),
        (RESET | {"type": "x"}, "#/type"),
        (RESET | {"merges": 2}, "#/merges"),
        (RESET | {"to": {"email": "a@b,c@d"}}, "#/to/email"),
        (RESET | {"data": {"name": "A"}}, "#/data/reset_url"),
    ],
)
def test_a_wrong_field_is_pointed_at(document: object, pointer: str) -> None:
    problem = refused(body(document))
    assert problem.status == 422
    assert [fault.pointer for fault in problem.errors] == [pointer]


def test_all_that_the_rules_find_is_told_at_once() -> None:
    assert pointers(RESET | {"user": "", "to": {"phone": "1"}, "data": {"name": "A"}}) == [
        "#/data/reset_url",
        "#/to/phone",
        "#/user",
    ]


def test_no_problem_repeats_an_address() -> None:
    secret = "somebody@example"
    for document in (
        RESET | {"to": {"email": secret}},
        RESET | {"id": secret},
        RESET | {"event": secret},
        RESET | {secret: secret},
        RESET | {"type": secret},
        RESET | {"locale": secret},
        RESET | {"data": {secret: secret}},
    ):
        assert secret not in msgspec.json.encode(refused(body(document))).decode()


def batch(*items: object, call: Call = ANYBODY) -> list[Entry | Problem] | Problem:
    return DECIDER.batch(body({"notifications": items}), call)


def test_a_batch_is_judged_item_by_item_in_order() -> None:
    results = batch(RESET, RESET | {"user": ""}, CAMPAIGN)
    assert isinstance(results, list)
    assert [type(result) for result in results] == [Entry, Problem, Entry]
    assert isinstance(results[1], Problem)
    assert results[1].errors[0].pointer == "#/notifications/1/user"


def test_the_items_of_a_batch_have_ids_of_their_own_even_under_one_key() -> None:
    call = Call(at=NOW, tenant=None, seed=SEED, idempotency_key="k")
    once, again = batch(RESET, RESET, call=call), batch(RESET, RESET, call=call)
    assert once == again
    assert isinstance(once, list)
    ids = [result.id for result in once if isinstance(result, Entry)]
    assert ids == [id_from_idempotency_key("default", "k", index) for index in (0, 1)]


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ([], "#"),
        ({}, "#/notifications"),
        ({"notifications": []}, "#/notifications"),
        ({"notifications": {}}, "#/notifications"),
        ({"notifications": [RESET] * (MAX_BATCH + 1)}, "#/notifications"),
        ({"notifications": [RESET], "more": 1}, "#/more"),
    ],
)
def test_a_batch_that_is_none_is_refused_whole(document: object, pointer: str) -> None:
    problem = DECIDER.batch(body(document), ANYBODY)
    assert isinstance(problem, Problem)
    assert [fault.pointer for fault in problem.errors] == [pointer]


def test_another_tenant_s_item_is_refused_alone() -> None:
    results = batch(RESET, RESET | {"tenant": "other"}, call=ACME)
    assert isinstance(results, list)
    assert isinstance(results[1], Problem)
    assert (results[1].status, results[1].errors[0].pointer) == (403, "#/notifications/1/tenant")


def cancelled(document: object, call: Call = ANYBODY) -> Entry | Problem:
    return DECIDER.cancellation(body(document), call)


def test_cancelling_stands_under_the_same_key_as_asking() -> None:
    entry = cancelled({"user": "u1", "type": "password_reset", "subject": "s"}, ACME)
    assert isinstance(entry, Entry)
    assert entry.key == taken(RESET | {"subject": "s"}, ACME).key
    assert entry.event == NotificationCancelled(
        user="u1", type="password_reset", subject="s", tenant="acme"
    )


def test_cancelling_one_of_a_type_with_ids_in_its_keys_needs_the_id() -> None:
    refusal = cancelled({"user": "u1", "type": "campaign"})
    assert isinstance(refusal, Problem)
    assert refusal.errors[0].pointer == "#/id"
    entry = cancelled({"user": "u1", "type": "campaign", "id": OWN_ID})
    assert isinstance(entry, Entry)
    assert entry.key == taken(CAMPAIGN | {"id": OWN_ID}).key


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_at_all_make_it_fall_over(raw: bytes) -> None:
    assert isinstance(DECIDER.request(raw, ANYBODY), Problem)
    assert isinstance(DECIDER.batch(raw, ANYBODY), Problem)
    assert isinstance(DECIDER.cancellation(raw, ANYBODY), Problem)


@given(st.sampled_from([*RESET, "id", "tenant", "subject", "locale", "event", "x"]), JSON)
def test_no_field_at_all_makes_it_fall_over(field: str, value: object) -> None:
    result = DECIDER.request(body(RESET | {field: value}), ANYBODY)
    if isinstance(result, Problem):
        assert result.status in (400, 422)
        assert result.detail


@given(st.text(min_size=1, max_size=60), st.none() | st.text(min_size=1, max_size=60))
def test_a_key_taken_apart_is_what_was_asked_for(user: str, subject: str | None) -> None:
    result = DECIDER.request(body(RESET | {"user": user, "subject": subject}), ANYBODY)
    if isinstance(result, Entry):
        assert result.key.isascii()
        assert result.key.count(":") == (2 if subject is None else 3)


@pytest.mark.parametrize("minutes", [1, 59, 60])
def test_a_deadline_of_its_own_is_taken_up_to_its_types(minutes: int) -> None:
    deadline = NOW + timedelta(minutes=minutes)
    entry = taken(RESET | {"deadline": deadline.isoformat()})
    assert isinstance(entry.event, NotificationRequested)
    assert entry.event.deadline == deadline


@pytest.mark.parametrize("minutes", [-1, 0, 61])
def test_one_that_is_over_or_later_than_its_types_is_refused(minutes: int) -> None:
    deadline = NOW + timedelta(minutes=minutes)
    assert pointers(RESET | {"deadline": deadline.isoformat()}) == ["#/deadline"]


# -- recipients ---------------------------------------------------------------------------------

PROFILE = {"to": {"email": "a@example.test"}, "preferences": {"offers": {"email": False}}}


def profile(document: object, call: Call = ANYBODY, tenant: str | None = None) -> Entry | Problem:
    return DECIDER.profile(body(document), call, "u/1", tenant)


def test_a_profile_goes_to_its_topic_under_its_user() -> None:
    entry = profile(PROFILE, tenant="acme")
    assert isinstance(entry, Entry)
    assert (entry.topic, entry.key) == ("recipients", "acme:u%2F1")
    assert isinstance(entry.event, RecipientUpdated)
    assert entry.event.preferences == {"offers": {"email": False}}


def test_who_is_to_be_forgotten_has_no_value() -> None:
    entry = DECIDER.no_profile(ACME, "u/1", None)
    assert isinstance(entry, Entry)
    assert (entry.key, entry.event) == ("acme:u%2F1", None)


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"user": "another"}, "#/user"),
        ({"to": {"email": "nobody"}}, "#/to/email"),
        ({"time_zone": "Europe/Nowhere"}, "#/time_zone"),
        ({"locale": "!"}, "#/locale"),
        ({"preferences": {"nonsense": {"*": False}}}, "#/preferences/nonsense"),
        ({"preferences": {"*": {"pigeon": False}}}, "#/preferences"),
        ({"preferences": {"*": {"email": "no"}}}, "#/preferences/.../..."),
    ],
)
def test_what_is_wrong_with_a_profile_is_pointed_at(wrong: dict[str, object], pointer: str) -> None:
    problem = profile({**PROFILE, **wrong})
    assert isinstance(problem, Problem)
    assert [fault.pointer for fault in problem.errors] == [pointer]


def test_a_profile_of_another_tenant_is_forbidden() -> None:
    problem = profile(PROFILE, ACME, "other")
    assert isinstance(problem, Problem)
    assert problem.status == 403
