"""The interleavings that broke the first draft, each played out to the step.

Named after their numbers. What cannot be played here is held elsewhere: P4 (isolation) and P13
(lifetimes) by the ledger's conformance suite, P10 (quotas) by ``tests/conformance/test_quota.py``,
P17 (tables) by ``tests/integration/test_tracker_store.py``.
"""

import pytest

from services.core.catalogue import Lane
from services.core.events import CloseReason
from services.core.outcomes import OutcomeKind
from services.core.topics import queued
from services.runtime.producer import OutRecord
from tests.simulation.catalogue import ALERT, CODE, NOTE
from tests.simulation.dice import Dice, draw_weather
from tests.simulation.network import LOG
from tests.simulation.play import live
from tests.simulation.scene import Scene
from tests.simulation.scenes import (
    contradicting_key,
    receipt_unread,
    repeat_where_room_is_short,
    topic_made_anew,
)
from tests.simulation.service import Service
from tests.simulation.story import asks, cancels, tell
from tests.simulation.vendors import SETTLING_S, Fate
from tests.simulation.world import World

SENT, SUPERSEDED = CloseReason.SENT, CloseReason.SUPERSEDED


def test_p1_a_zombie_routers_old_proposal_that_lands_last_changes_nothing() -> None:
    """R1 holds q(A); R2 appends q(A), q(B); R1 wakes up, and its q(A) lands last."""
    with Scene() as scene:
        scene.down("a", "b", "s")
        scene.tell(asks("u", "A"), asks("u", "B"))
        scene.run(1)
        first = scene.world.log.records(queued(Lane.CRITICAL))[0]
        scene.append(OutRecord(topic=first.topic, key=first.key, value=first.value))
        scene.run(1)
        scene.down()
    assert (scene.ended("A"), scene.ended("B")) == (SUPERSEDED, SENT)
    assert scene.sent("B") == 1


def test_p1_a_cancel_holds_for_a_dispatcher_that_never_read_it() -> None:
    """The zombie still holds A when another reads its cancel; and the record is gone by then."""
    with Scene() as scene:
        scene.down("a", "b", "s")
        scene.tell(asks("u", "A"))
        scene.run(1)
        zombie = scene.owner(number=scene.world.log.records(queued(Lane.CRITICAL))[0].partition)
        zombie.pause(5)
        zombie.expel()
        scene.tell(cancels("u"))
        scene.until("cancel held")
        for record in scene.world.log.records(queued(Lane.CRITICAL)):
            scene.world.log.remove((record.topic, record.partition), record.offset)
        scene.down()
        scene.run(10)
    assert scene.ended("A") is CloseReason.CANCELLED
    assert scene.sent("A") == 0


@pytest.mark.parametrize("is_down", [False, True])
def test_p2_a_retry_of_an_older_id_is_not_the_newest(is_down: bool) -> None:
    """A@10, B@11, A@12: B is sent, whether A went before it or not, and A not again."""
    with Scene() as scene:
        if is_down:
            scene.down("a", "b", "s")
        a, b = asks("u", "A"), asks("u", "B")
        for deed in (a, b, a):
            scene.tell(deed)
            scene.run(0 if is_down else 1)
        scene.run(1)
        scene.down()
    assert (scene.sent("A"), scene.sent("B")) == ((0, 1) if is_down else (1, 1))


def test_p2_a_retry_that_is_read_without_its_first_record_takes_nothing_with_it() -> None:
    """A was sent and is committed; B waits until A's retry is past its deadline."""
    with Scene() as scene:
        a = asks("u", "A", type=CODE)
        scene.tell(a)
        scene.until("published: A closed")
        scene.run(3)
        scene.down("a", "b", "s")
        scene.tell(asks("u", "B", type=CODE), a)
        scene.run(2)
        for service in scene.world.dispatchers:
            service.crash()
        scene.run(0.5)
        scene.down()
    assert scene.sent("A") == 1
    assert scene.ended("B") in (SENT, CloseReason.EXPIRED)


def test_p2_a_repeat_takes_nothing_with_it_where_room_is_short() -> None:
    repeat_where_room_is_short()


def test_p3_who_wakes_up_after_the_deadline_does_not_speak_of_what_was_sent() -> None:
    with Scene() as scene:
        scene.down("a", "b", "s")
        scene.tell(asks("u", "A"))
        scene.run(1)
        zombie = _owner_of_the_first(scene)
        zombie.pause(14)
        zombie.expel()
        scene.down()
        scene.until("held: A closed as sent")
        scene.run(16)
    assert scene.ended("A") is SENT
    assert not any("published: A closed as expired" in line for line in scene.trace)


def test_p3_a_verdict_waits_for_the_open_claim_of_another_that_has_died() -> None:
    """D1 claims A and dies; D2 gets A past its deadline, and D1's claim is still open."""
    with Scene() as scene:
        scene.tell(asks("u", "A", type=CODE))
        scene.until("granted A")
        dead = _owner_of_the_first(scene)
        dead.crash()
        dead.expel()
        scene.until("closes A as expired: something stands in the way")
    assert scene.ended("A") is CloseReason.UNKNOWN


@pytest.mark.parametrize("sleeps_s", [2.0, 4.5, 8.0])
def test_p5_an_open_claim_of_the_older_keeps_the_newer_waiting(sleeps_s: float) -> None:
    """D1 claims v1 and falls asleep before it writes; D2 has v2. Then D1 wakes up."""
    with Scene() as scene:
        scene.tell(asks("u", "v1"))
        scene.until("granted v1")
        zombie = _owner_of_the_first(scene)
        zombie.pause(sleeps_s)
        zombie.expel()
        scene.tell(asks("u", "v2"))
        scene.run(15)
    assert scene.ended("v2") is SENT
    (first,), (second,) = scene.shots("v1"), scene.shots("v2")
    assert first.written_at is None or first.written_at < second.granted_at


def test_p6_a_record_without_an_id_is_one_notification_however_often_it_is_routed() -> None:
    """The router dies between its append and its commit."""
    with Scene() as scene:
        router = scene.world.routers[0]
        scene.on("routed", router.crash)
        scene.tell(asks("u", "A", with_id=False))
        scene.run(10)
    assert sum("written" in line for line in scene.trace) == 1


def test_p6_a_key_that_contradicts_its_value_is_dead_lettered() -> None:
    contradicting_key()


def test_p7_a_topic_made_anew_is_newer_than_what_it_held() -> None:
    topic_made_anew()


@pytest.mark.parametrize("words", ["held: A closed as sent", "published: A attempt 1 accepted"])
def test_p8_what_was_settled_and_not_told_is_told_by_the_replay(words: str) -> None:
    with Scene() as scene:
        for service in scene.world.dispatchers:
            scene.on(words, service.crash)
        scene.tell(asks("u", "A"))
        scene.run(10)
    assert scene.ended("A") is SENT
    assert scene.sent("A") == 1


def test_p9_nothing_is_repeated_while_its_receipt_stands_in_the_log_unread() -> None:
    receipt_unread()


def test_p11_a_connection_that_comes_too_late_carries_nothing() -> None:
    """The code lives for 3 s; the connection takes until its lease is over."""
    with Scene() as scene:
        scene.fates(Fate.UNAVAILABLE, Fate.UNAVAILABLE, Fate.SLOW, Fate.SLOW, Fate.SLOW)
        scene.tell(asks("u", "A", type=CODE))
        scene.run(6)
    asked = scene.world.oracle.asked[asks("u", "A").id]  # type: ignore[index]
    assert all(s.written_at is None or s.written_at < asked.deadline for s in scene.shots("A"))


def test_p12_a_claim_whose_answer_is_lost_is_read_again_and_sent_once() -> None:
    with Scene() as scene:
        scene.world.oracle.deadly = False
        scene.on("granted A", lambda: scene.weather(ledger_mute=1.0))
        scene.tell(asks("u", "A"))
        scene.until("granted A")
        scene.run(0.1)
        scene.weather()
        scene.run(5)
    (shot,) = scene.shots("A")
    assert (shot.outcome, scene.sent("A")) == (OutcomeKind.ACCEPTED, 1)


def test_p14_nothing_is_written_before_its_start_is_acknowledged() -> None:
    with Scene() as scene:
        scene.on("granted A", lambda: scene.world.network.away.add(LOG))
        scene.tell(asks("u", "A"))
        scene.run(3)
        assert [shot.written_at for shot in scene.shots("A")] == [None]
        scene.world.network.away.clear()
    assert scene.sent("A") == 1


def test_p15_the_lost_reply_of_a_batch_leaves_each_of_its_messages_unknown() -> None:
    with Scene(dispatchers=1, lanes=tuple(Lane)) as scene:
        _stop_until_told(scene)
        scene.fates(Fate.REPLY_LOST)
        scene.run(5)
        outcomes = [shot.outcome for name in "ABC" for shot in scene.shots(name)]
        assert outcomes == [OutcomeKind.UNKNOWN] * 3
    assert [scene.sent(name) for name in "ABC"] == [1, 1, 1]


def test_p15_a_batch_that_is_refused_whole_is_tried_one_by_one() -> None:
    with Scene(dispatchers=1, lanes=tuple(Lane)) as scene:
        _stop_until_told(scene)
        scene.fates(Fate.BAD_CONTENT)
        scene.run(6)
    assert scene.world.oracle.counts["settled refused_batch"] == 3
    assert [scene.ended(name) for name in "ABC"] == [SENT] * 3


def test_p16_what_was_taken_behind_a_lost_reply_is_found_by_a_look_up() -> None:
    with Scene() as scene:
        scene.fates(Fate.REPLY_LOST)
        scene.tell(asks("u", "A"))
        scene.run(10)
    assert len(scene.shots("A")) == 1
    assert scene.ended("A") is SENT


def test_p16_a_type_that_repeats_goes_on_once_it_was_looked_for_long_enough() -> None:
    with Scene() as scene:
        scene.fates(Fate.RESET)
        scene.tell(asks("u", "A", type=ALERT))
        scene.run(12)
    first, second = scene.shots("A")
    assert (first.outcome, second.outcome) == (OutcomeKind.UNKNOWN, OutcomeKind.ACCEPTED)
    assert second.granted_at - first.granted_at > SETTLING_S
    assert scene.sent("A") == 1


@pytest.mark.parametrize("fate", [Fate.RESET, Fate.DROPPED_BEHIND_502])
def test_p16_unknown_is_neither_repeated_nor_handed_to_another(fate: Fate) -> None:
    with Scene() as scene:
        scene.fates(fate)
        scene.tell(asks("u", "A"))
        scene.run(10)
    assert len(scene.shots("A")) == 1
    assert scene.ended("A") is (CloseReason.UNKNOWN)


def test_p17_a_tracker_that_was_taken_for_dead_folds_nothing_twice() -> None:
    """Its batch is on the way when another takes over; offsets move by compare and set."""
    scene = Scene()
    with scene:
        tracker = scene.world.trackers[0]
        scene.tell(asks("u", "A"))
        scene.until("published: A attempt 1 started")
        tracker.pause(3)
        scene.tell(asks("v", "B"))
        scene.run(5)
    assert scene.ended("B") is SENT


def test_p18_a_flood_of_bulk_does_not_stand_before_the_critical_lane() -> None:
    with Scene(lanes=tuple(Lane)) as scene:
        scene.down("b")
        scene.tell(*(asks("u", f"bulk{n}", type=NOTE) for n in range(40)))
        scene.run(1)
        asked_at = scene.world.loop.time()
        scene.tell(asks("v", "A"))
        scene.until("written: attempt 1 of A")
        assert scene.world.loop.time() - asked_at < 0.5
        scene.run(15)


def test_e3_one_key_two_dispatchers_a_b_a() -> None:
    """The random model that broke the first draft in 60 % of its runs."""
    for seed in range(300):
        dice = Dice(f"e3 {seed}")
        world = World(dice, draw_weather(dice))
        tell(world, [asks("u", "A", at=0.1), asks("u", "B", at=0.3), asks("u", "A", at=0.5)])
        violations = live(world, seed, 2.0).violations
        assert not violations, (seed, violations)


def _stop_until_told(scene: Scene) -> None:
    """Three notes are there when the dispatcher comes back, so they travel together."""
    (dispatcher,) = scene.world.dispatchers
    dispatcher.stop()
    scene.until("dispatch-1 ended")
    scene.tell(*(asks("u", name, type=NOTE) for name in "ABC"))


def _owner_of_the_first(scene: Scene) -> Service:
    record = scene.world.log.records(queued(Lane.CRITICAL))[0]
    return scene.owner(record.topic, record.partition)
