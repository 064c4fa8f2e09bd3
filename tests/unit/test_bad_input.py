"""Every class of bad input: which tests hold it, and each bad request with ingest and router.

A clear answer that says what to do, or a dead letter with its cause; and no address in either.
"""

import ast
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from services.core.catalogue import Lane
from services.core.errors import PoisonEvent
from services.core.partitioner import partition_of
from services.core.record import Record
from services.core.topics import dead_letters, queued, requested
from services.ingest.decide import Call, Decider
from services.ingest.problems import Problem
from services.router.app import Router
from services.runtime.catalogue import load_catalogue
from services.runtime.codec import Codec
from tests.bad_input import BURIED, ROWS, SECRET, SOUND, Row

TESTS = Path(__file__).parents[1]
SHOP = load_catalogue(TESTS.parent / "examples" / "shop")
DECIDER = Decider(SHOP.catalogue, SHOP.rules)
CODEC = Codec()
PARTITIONS = 4
ROUTER = Router(SHOP, CODEC, PARTITIONS)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANYBODY = Call(at=NOW, tenant=None, seed=UUID(int=1))

_ROWS = "unit/test_bad_input.py::test_ingest_says_what_to_change"
_DEAD = "unit/test_bad_input.py::test_the_router_buries_it_with_its_cause"
_HTTP = "integration/test_bad_input.py::"
_VALID = "unit/test_validation.py::"
_TEXTS = "unit/test_templates.py::"
_HOOKS = "integration/test_tracker_webhooks.py::"

#: each class of bad input, and the tests that hold it
HELD: Mapping[str, Sequence[str]] = {
    "CR/LF in subject, sender or reply-to": (
        f"{_TEXTS}test_a_subject_stays_one_line",
        "unit/test_catalogue.py::test_a_setting_that_hides_characters_is_refused",
        "unit/test_tracker_accesses.py::test_a_secret_that_would_break_its_header_is_refused",
        _ROWS,
    ),
    "NUL, bidi and zero-width characters": (
        f"{_VALID}test_what_names_a_key_is_short_and_can_be_seen",
        f"{_TEXTS}test_a_text_has_no_control_characters",
        f"{_TEXTS}test_a_subject_is_not_read_backwards",
        "unit/test_codec.py::test_nul_is_refused_in_every_text_of_a_request",
        _ROWS,
    ),
    "a deadline in the past, in the far future, without a zone": (
        _ROWS,
        "unit/test_router_decide.py::test_a_deadline_of_its_own_counts_where_it_is_the_sooner",
    ),
    "look-alike or over-long domains": (
        f"{_VALID}test_an_address_that_is_none_is_refused_and_not_repeated",
        _ROWS,
    ),
    "a@b,c@d": (f"{_VALID}test_an_address_that_is_none_is_refused_and_not_repeated", _ROWS),
    "premium-rate and satellite numbers": (
        f"{_VALID}test_a_number_that_costs_or_cannot_be_is_refused_and_not_repeated",
        _ROWS,
    ),
    "country not allowed": (
        "unit/test_ways.py::test_a_leg_without_an_address_or_an_account_is_left_out",
        "unit/test_validation.py::test_a_number_of_a_country_that_no_account_sends_to_is_refused",
        "unit/test_providers_twilio.py::test_a_region_that_is_switched_off_does_not_rest_the_account",
    ),
    "one character that turns a GSM-7 text into three UCS-2 segments": (
        "unit/test_providers_segments.py::test_parts_are_counted_as_the_networks_count_them",
    ),
    "template syntax in a value": (f"{_TEXTS}test_template_syntax_in_a_value_is_only_text",),
    "HTML and javascript: in a value": (
        f"{_TEXTS}test_html_escapes_what_is_put_into_it_and_text_does_not",
        f"{_TEXTS}test_no_value_makes_a_link_that_runs_a_script",
        _ROWS,
    ),
    "missing and extra template values": (
        f"{_VALID}test_data_that_does_not_fit_is_pointed_at",
        f"{_TEXTS}test_a_missing_value_is_named",
        _ROWS,
    ),
    "JSON 1,000 levels deep, or 50 MB": (
        f"{_VALID}test_data_nested_without_end_is_refused",
        f"{_HTTP}test_fifty_megabytes_are_not_read_to_their_end",
        _ROWS,
        _DEAD,
    ),
    "duplicate JSON keys, NaN and 2^63, invalid UTF-8": (
        "unit/test_codec.py::test_json_that_readers_disagree_on_is_refused_with_the_reason",
        _ROWS,
        _DEAD,
    ),
    "one idempotency key with two bodies": (
        "integration/test_engine.py"
        "::test_one_id_with_two_bodies_is_kept_once_and_the_second_is_a_dead_letter",
        "unit/dispatch/test_seconds.py"
        "::test_the_second_is_buried_at_its_claim_and_its_verdict_names_the_first",
    ),
    "another tenant's key": (
        "integration/test_ingest.py::test_a_key_speaks_for_its_own_tenant_only",
        "integration/test_tracker_queries.py::test_a_key_opens_its_own_tenant_only",
        "conformance/test_ledger_lifetimes.py"
        "::test_an_id_used_for_another_key_is_a_conflict_that_leaves_the_first_alone",
    ),
    "a revoked key": (
        "integration/test_ingest.py::test_a_key_speaks_for_its_own_tenant_only",
        "integration/test_tracker_queries.py::test_without_a_key_nothing_is_told",
    ),
    "a provider reply that never ends": (
        "integration/test_sender.py::test_a_reply_that_never_ends_leaves_it_unknown",
    ),
    "a webhook with the wrong secret, cut short, or an hour old": (
        f"{_HOOKS}test_a_forged_webhook_is_refused_and_counted",
        f"{_HOOKS}test_another_accounts_secret_does_not_do",
        f"{_HOOKS}test_a_webhook_that_is_cut_short_is_nothing",
        f"{_HOOKS}test_genuine_and_not_understood_is_buried_and_answered",
        "conformance/test_providers.py::test_a_stale_webhook_is_refused_where_the_vendor_signs_the_time",
        "unit/test_providers_mailgun.py::test_how_old_a_webhook_may_be_is_a_setting",
    ),
    "an unknown provider status": (
        "conformance/test_providers.py::test_a_genuine_webhook_of_an_unknown_kind_is_poison",
    ),
    "a webhook for another provider's message": (
        f"{_HOOKS}test_a_receipt_of_another_providers_message_moves_nothing",
        f"{_HOOKS}test_what_matches_nothing_is_buried",
    ),
    "a gzip bomb": (
        "integration/test_ingest.py::test_what_cannot_be_read_is_told_why",
        f"{_HOOKS}test_what_is_no_webhook_is_refused",
        "integration/test_sender.py::test_a_reply_that_unpacks_without_end_leaves_it_unknown",
    ),
    "whatever else a stranger sends": (
        "integration/test_fuzzed_http.py::test_ingest_answers_as_it_describes_itself",
        "integration/test_fuzzed_http.py"
        "::test_the_tracker_answers_questions_and_webhooks_as_described",
        "unit/test_codec.py::test_a_damaged_value_is_poison_or_another_event",
        "unit/test_providers_mutated.py::test_any_mutation_of_a_genuine_webhook_is_read_or_refused",
        f"{_HTTP}test_no_bad_record_stops_its_partition_or_shows_an_address",
    ),
}

#: what cannot come before the feature that it abuses, by the name of that
PENDING: Mapping[str, str] = {
    "another tenant's type, template or webhook id": "catalogues by tenant",
    "a URL to loopback, to link-local, or that redirects there": "webhooks to producers",
    "a forged tracking or unsubscribe token": "tracking links and unsubscribing",
    "an open redirect through a tracking link": "tracking links",
    "GET on an unsubscribe link": "unsubscribing",
    "one tenant flooding the others": "caps by tenant",
    "one number or number prefix pumped with texts": "throttles by number",
}


@cache
def _tests_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text())
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions)


@pytest.mark.parametrize("name", HELD)
def test_the_tests_that_hold_a_class_are_there(name: str) -> None:
    for test in HELD[name]:
        file, _, function = test.partition("::")
        assert function in _tests_in(file), test


def test_what_is_pending_is_held_by_nothing_yet() -> None:
    assert not HELD.keys() & PENDING.keys()


EACH = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])


def test_the_same_without_a_fault_is_taken() -> None:
    assert not isinstance(DECIDER.request(SOUND, ANYBODY), Problem)


@EACH
def test_ingest_says_what_to_change(row: Row) -> None:
    problem = DECIDER.request(row.body, ANYBODY)
    assert isinstance(problem, Problem)
    assert problem.status == row.status
    assert row.says in problem.detail
    assert [fault.pointer for fault in problem.errors] == ([row.pointer] if row.pointer else [])
    assert SECRET not in msgspec.json.encode(problem).decode()


@pytest.mark.parametrize("row", BURIED, ids=[row.name for row in BURIED])
def test_the_router_buries_it_with_its_cause(row: Row) -> None:
    """As a producer would append it that goes around ingest."""
    key = row.key.encode()
    record = Record(
        topic=requested(Lane.BULK if "campaign" in row.key else Lane.CRITICAL),
        topic_id="t",
        partition=partition_of(key, PARTITIONS),
        offset=7,
        key=key,
        value=row.body,
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
    )
    letter, proposal = ROUTER.decide([record])
    headers = {name: text.decode() for name, text in letter.headers}
    assert letter.topic == dead_letters(record.topic)
    assert headers["lastword.cause"] == row.cause
    assert headers["lastword.detail"]
    assert SECRET not in str(headers)
    assert proposal.topic.startswith(queued(Lane.CRITICAL)[:17])
    assert SECRET.encode() not in (proposal.value or b"")


def test_a_poisoned_record_says_what_it_is_without_a_value() -> None:
    with pytest.raises(PoisonEvent) as poison:
        CODEC.decode_requested(SOUND.replace(b'"user"', b'"' + SECRET.encode() + b'"'))
    assert SECRET not in poison.value.detail
