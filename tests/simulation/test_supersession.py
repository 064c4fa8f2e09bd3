"""Supersession and cancelling to the letter: what a newer one, a cancel or another body does.

Each loser's own event names the winner and where that stands in the log.
"""

from collections.abc import Callable

import pytest

from services.core.catalogue import Lane
from services.core.events import CloseReason, NotificationClosed
from services.core.identifiers import NotificationId
from services.core.outcomes import OutcomeKind
from services.core.topics import queued
from tests.simulation.scene import Scene
from tests.simulation.story import asks, cancels
from tests.simulation.vendors import Fate

SENT, SUPERSEDED = CloseReason.SENT, CloseReason.SUPERSEDED
CANCELLED, DEAD = CloseReason.CANCELLED, CloseReason.DEAD_LETTERED


def _told(scene: Scene, name: str) -> NotificationClosed:
    """The verdict of one, as it was published."""
    return scene.world.oracle.published[_id(name)]


def _id(name: str) -> NotificationId:
    id = asks("u", name).id
    assert id is not None
    return id


def _names(scene: Scene, loser: str, winner: str) -> None:
    told, asked = _told(scene, loser), scene.world.oracle.asked[_id(winner)]
    assert told.winner == _id(winner)
    assert told.winner_origin is not None
    assert scene.world.oracle.version(told.winner_origin) == asked.version


def _pending(scene: Scene) -> None:
    scene.down("a", "b", "s")
    scene.tell(asks("u", "old"))
    scene.until("claims old attempt 1")


def _waiting_for_a_retry(scene: Scene) -> None:
    scene.fates(*[Fate.UNAVAILABLE] * 3)
    scene.tell(asks("u", "old", phone=False))
    scene.until("held: attempt 2 of old unavailable")
    scene.down("a", "b")


def _planned_for_another_channel(scene: Scene) -> None:
    scene.down("a", "b")
    scene.fates(*[Fate.NO_CONNECTION] * 20)
    scene.tell(asks("u", "old"))
    scene.until("old attempt", 1)
    scene.down("a", "b", "s")
    scene.until("on s", 10)
    scene.run(0.5)


@pytest.mark.parametrize(
    "it_is",
    [_pending, _waiting_for_a_retry, _planned_for_another_channel],
    ids=lambda f: f.__name__,
)
def test_a_newer_one_takes_the_place_of_an_older_one(
    it_is: Callable[[Scene], None],
) -> None:
    with Scene() as scene:
        it_is(scene)
        scene.world.vendors.fates.clear()
        scene.tell(asks("u", "new"))
        scene.run(0.2)
        scene.down()
    assert (scene.ended("old"), scene.sent("old")) == (SUPERSEDED, 0)
    assert (scene.ended("new"), scene.sent("new")) == (SENT, 1)
    _names(scene, "old", "new")


def test_one_in_flight_is_let_go_and_says_so() -> None:
    with Scene() as scene:
        scene.world.vendors.thinks_s = 0.3
        scene.tell(asks("u", "old"))
        scene.until("taken: attempt 1 of old")
        scene.tell(asks("u", "new"))
    assert (scene.sent("old"), scene.sent("new")) == (1, 1)
    assert _told(scene, "old").reason is SENT
    assert _told(scene, "old").detail == "in flight when a newer one came"
    _names(scene, "old", "new")


def test_one_in_flight_that_is_not_taken_is_superseded() -> None:
    with Scene() as scene:
        scene.fates(Fate.THROTTLED)
        scene.tell(asks("u", "old"))
        scene.until("written: attempt 1 of old")
        scene.tell(asks("u", "new"))
    assert (scene.ended("old"), scene.sent("old"), scene.sent("new")) == (SUPERSEDED, 0, 1)
    _names(scene, "old", "new")


@pytest.mark.parametrize("by_id", [True, False], ids=["by id", "by key"])
def test_a_cancel_in_flight_lets_it_go_and_says_so(by_id: bool) -> None:
    with Scene() as scene:
        scene.world.vendors.thinks_s = 0.3
        scene.tell(asks("u", "A"))
        scene.until("taken: attempt 1 of A")
        scene.tell(cancels("u", id=_id("A") if by_id else None))
        scene.until("cancel held")
    assert (scene.ended("A"), scene.sent("A")) == (SENT, 1)
    assert _told(scene, "A").detail.startswith("in flight when it")


def test_a_cancel_after_it_was_sent_changes_nothing() -> None:
    with Scene() as scene:
        scene.tell(asks("u", "A"))
        scene.until("published: A closed as sent")
        scene.tell(cancels("u"))
    assert (scene.ended("A"), scene.sent("A")) == (SENT, 1)


def test_p19_a_second_body_is_buried_and_the_first_is_sent() -> None:
    with Scene() as scene:
        scene.down("a", "b", "s")
        scene.tell(asks("u", "A"), asks("u", "A", words="other"), asks("u", "A"))
        scene.run(1)
        scene.down()
    assert (scene.ended("A"), scene.sent("A")) == (SENT, 1)
    (second,) = scene.world.oracle.seconds
    told = scene.world.oracle.published[second]
    assert (told.reason, told.winner, told.key) == (DEAD, _id("A"), _told(scene, "A").key)
    (letter,) = scene.world.log.records(f"{queued(Lane.CRITICAL)}.dead-letters")
    assert dict(letter.headers)["lastword.cause"] == b"id_used_before"


def test_p19_a_second_body_takes_the_place_of_nothing() -> None:
    """A@0, B@1, A'@2: B is the newest."""
    with Scene() as scene:
        scene.down("a", "b", "s")
        scene.tell(asks("u", "A"), asks("u", "B"), asks("u", "A", words="other"))
        scene.run(1)
        scene.down()
    assert (scene.ended("A"), scene.ended("B")) == (SUPERSEDED, SENT)
    assert scene.world.oracle.counts["closed dead_lettered"] == 1


def test_p19_a_second_body_is_told_apart_after_a_crash_and_long_after_the_end() -> None:
    with Scene() as scene:
        scene.tell(asks("u", "A"))
        scene.until("published: A closed as sent")
        for service in scene.world.dispatchers:
            service.crash()
            service.expel()
        scene.tell(asks("u", "A", words="other"))
        scene.run(10)
    assert scene.sent("A") == 1
    assert scene.world.oracle.counts["closed dead_lettered"] == 1


def test_p19_a_second_body_is_told_apart_by_a_ledger_that_was_set_back() -> None:
    with Scene() as scene:
        copy = scene.world.ledger.snapshot()
        scene.tell(asks("u", "A"))
        scene.until("published: A closed as sent")
        scene.world.oracle.set_back()
        scene.world.ledger.set_back(copy)
        scene.tell(asks("u", "A", words="other"))
        scene.run(10)
    assert scene.sent("A") == 1
    assert scene.world.oracle.counts["closed dead_lettered"] == 1


def test_an_unknown_one_keeps_its_second_body_out_too() -> None:
    with Scene() as scene:
        scene.fates(Fate.RESET)
        scene.tell(asks("u", "A"), asks("u", "A", words="other"))
        scene.run(2)
    (shot,) = scene.shots("A")
    assert shot.outcome is OutcomeKind.UNKNOWN
    assert scene.world.oracle.counts["closed dead_lettered"] == 1
