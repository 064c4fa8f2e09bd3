"""A leg that awaits its receipt: what follows when it comes, late, or never; and when all crash."""

import pytest

from services.core.events import CloseReason, ReceiptKind
from services.core.identifiers import AccountName
from tests.simulation.catalogue import NUDGE
from tests.simulation.scene import Scene
from tests.simulation.scenes import (
    every_leg_came_back,
    leg_without_receipt,
    receipt_overtakes,
    report,
)
from tests.simulation.story import asks
from tests.simulation.vendors import Fate

SENT, FAILED = CloseReason.SENT, CloseReason.FAILED
DELIVERED, BOUNCED = ReceiptKind.DELIVERED, ReceiptKind.BOUNCED_HARD
#: of the first leg, by text, and of the second, by email
TEXT, MAIL = AccountName("s"), AccountName("a")
WITHIN_S = 2.0


def _ask(scene: Scene, name: str = "A", *, email: bool = True) -> None:
    scene.tell(asks("u", name, type=NUDGE, email=email))


def _accounts(scene: Scene, name: str = "A") -> list[AccountName]:
    """By which it was taken."""
    return [shot.account for shot in scene.shots(name) if shot.taken]


def test_with_its_receipt_it_is_sent_and_no_other_leg_is_tried() -> None:
    with Scene() as scene:
        _ask(scene)
        scene.until("published: A attempt 1 accepted")
        scene.run(WITHIN_S - 1)
        assert scene.ended("A") is None
        report(scene, DELIVERED)
        scene.run(5)
    assert (_accounts(scene), scene.ended("A")) == ([TEXT], SENT)


def test_without_it_the_next_leg_is_tried_when_the_time_of_the_first_is_over() -> None:
    with Scene() as scene:
        _ask(scene)
        scene.until("published: A attempt 1 accepted")
        accepted_at = scene.world.loop.time()
        scene.until("granted A attempt 2")
        assert WITHIN_S <= scene.world.loop.time() - accepted_at < WITHIN_S + 2
        scene.until("published: A attempt 2 accepted")
        report(scene, DELIVERED, 2)
    assert (_accounts(scene), scene.ended("A")) == ([TEXT, MAIL], SENT)


def test_a_bounce_gives_the_next_leg_its_turn_at_once() -> None:
    with Scene() as scene:
        _ask(scene)
        scene.until("published: A attempt 1 accepted")
        bounced_at = scene.world.loop.time()
        report(scene, BOUNCED)
        scene.until("granted A attempt 2")
        assert scene.world.loop.time() - bounced_at < WITHIN_S - 0.2
        report(scene, DELIVERED, 2)
    assert (_accounts(scene), scene.ended("A")) == ([TEXT, MAIL], SENT)


def test_where_every_leg_came_back_it_has_failed() -> None:
    every_leg_came_back()


def test_without_any_receipt_it_is_sent_by_every_leg_once() -> None:
    leg_without_receipt()


def test_a_receipt_that_overtakes_the_reply_is_heeded() -> None:
    receipt_overtakes()


def test_a_late_receipt_lets_what_waits_for_its_account_be() -> None:
    with Scene() as scene:
        scene.down(MAIL, "b")
        _ask(scene)
        scene.until("published: A attempt 1 accepted")
        scene.run(WITHIN_S + 1.5)
        report(scene, DELIVERED)
        scene.until("by its receipt: A")
        scene.down()
        scene.run(5)
    assert (_accounts(scene), scene.ended("A")) == ([TEXT], SENT)


def test_a_reply_that_is_lost_is_no_other_case() -> None:
    with Scene() as scene:
        scene.fates(Fate.REPLY_LOST)
        _ask(scene)
        scene.run(WITHIN_S + 4)
        report(scene, DELIVERED, 2)
    assert (_accounts(scene), scene.ended("A")) == ([TEXT, MAIL], SENT)


@pytest.mark.parametrize("words", ["written: attempt 1 of A", "published: A attempt 1 accepted"])
def test_whoever_sent_it_may_die(words: str) -> None:
    with Scene() as scene:
        scene.on(words, lambda: scene.owner().crash())
        _ask(scene)
        scene.until("granted A attempt 2")
    assert (_accounts(scene), scene.ended("A")) == ([TEXT, MAIL], SENT)


def test_a_tracker_that_stands_still_only_makes_the_next_leg_likelier() -> None:
    with Scene() as scene:
        scene.world.hold_the_fold(8)
        _ask(scene)
        scene.until("published: A attempt 1 accepted")
        report(scene, DELIVERED)
        scene.until("published: A attempt 2 accepted")
        scene.run(8)
    assert (_accounts(scene), scene.ended("A")) == ([TEXT, MAIL], SENT)


def test_a_tracker_that_dies_with_a_receipt_in_its_hands_brings_it_later() -> None:
    with Scene() as scene:
        _ask(scene)
        scene.until("published: A attempt 1 accepted")
        scene.on("receipt: attempt 1 of A", lambda: scene.world.trackers[0].crash())
        report(scene, DELIVERED)
        scene.run(10)
    assert scene.ended("A") is SENT


def test_i5_a_newer_one_goes_out_meanwhile_and_no_other_leg_of_the_older() -> None:
    with Scene() as scene:
        _ask(scene)
        scene.until("published: A attempt 1 accepted")
        _ask(scene, "B")
        scene.until("published: B attempt 1 accepted")
        report(scene, DELIVERED, name="B")
        scene.run(8)
    assert (_accounts(scene), scene.ended("A")) == ([TEXT], SENT)
    assert (_accounts(scene, "B"), scene.ended("B")) == ([TEXT], SENT)


def test_who_has_no_other_address_has_one_leg_and_its_bounce_fails_it() -> None:
    with Scene() as scene:
        _ask(scene, email=False)
        scene.until("published: A attempt 1 accepted")
        report(scene, BOUNCED)
    assert (_accounts(scene), scene.ended("A")) == ([TEXT], FAILED)
