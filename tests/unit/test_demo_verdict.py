"""The demonstration's judge sees each kind of broken promise."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from services.cli.demo.script import OUTAGE_S, write_scene
from services.cli.demo.verdict import Accepted, Asked, Known, Report, judge

BACK = datetime(2026, 1, 1, 12, tzinfo=UTC)
ASKED = [
    Asked(id=f"{user}{number}", key=user, user=user, type="password_reset")
    for number in (1, 2)
    for user in ("ann", "bob")
]
ACCEPTED = [
    Accepted(
        notification_id=f"{user}2",
        user=user,
        type="password_reset",
        channel="email",
        at=BACK + timedelta(seconds=1),
    )
    for user in ("ann", "bob")
]
KNOWN = {
    one.id: Known(
        id=one.id,
        status="delivered" if one.id.endswith("2") else "superseded",
        closed=True,
        deadline=BACK + timedelta(seconds=60),
    )
    for one in ASKED
}


def _judged(accepted: list[Accepted] = ACCEPTED, known: dict[str, Known] | None = None) -> Report:
    return judge(ASKED, accepted, known or KNOWN, waiting=["ann", "bob"], email_back_at=BACK)


def test_all_promises_kept_is_seen_as_that() -> None:
    report = _judged()
    assert report.kept()
    assert (report.requested, report.delivered, report.superseded) == (4, 2, 2)
    assert (report.waiting_users, report.waiting_users_with_newest_only) == (2, 2)


@pytest.mark.parametrize(
    ("what", "accepted", "known"),
    [
        ("duplicates", [*ACCEPTED, ACCEPTED[0]], KNOWN),
        ("stale", [*ACCEPTED, replace(ACCEPTED[0], notification_id="ann1")], KNOWN),
        ("late", [replace(ACCEPTED[0], at=BACK + timedelta(seconds=61)), ACCEPTED[1]], KNOWN),
        ("lost", ACCEPTED, {id: k for id, k in KNOWN.items() if id != "bob2"}),
        ("lost", ACCEPTED, KNOWN | {"bob2": replace(KNOWN["bob2"], closed=False)}),
    ],
)
def test_each_broken_promise_is_counted_and_fails_the_play(
    what: str, accepted: list[Accepted], known: dict[str, Known]
) -> None:
    report = _judged(accepted, known)
    assert getattr(report, what) == 1
    assert not report.kept()


def test_a_user_who_got_an_older_one_too_did_not_get_the_newest_only() -> None:
    older = replace(ACCEPTED[0], notification_id="ann1")
    assert _judged([older, *ACCEPTED]).waiting_users_with_newest_only == 1


def test_who_was_served_while_email_was_away_is_not_a_waiting_user() -> None:
    text = replace(ACCEPTED[0], channel="sms", at=BACK - timedelta(seconds=5))
    assert _judged([text, ACCEPTED[1]]).waiting_users == 1


def test_the_play_is_the_same_for_a_seed_and_its_users_wait_only_during_the_outage() -> None:
    scene = write_scene(1)
    assert scene == write_scene(1)
    assert len(scene.waiting) == 200
    assert all(OUTAGE_S[0] < ask.at_s < OUTAGE_S[1] for ask in scene.asks if ask.until_served)
