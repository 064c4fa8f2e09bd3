"""Line 5: any service killed in the midst of traffic: none doubled, none without a status."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Container, Iterator, Mapping, Sequence

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from lastword import Notification
from services.cli.demo.verdict import Report
from services.core.catalogue import Lane
from services.core.topics import requested
from services.sandbox.faults import Fault, Slow, SlowReply, WebhooksLost
from tests.acceptance.engine.running import PARTITIONS, TIME_SCALE, Engine, starting
from tests.acceptance.engine.traffic import Traffic

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Figure = Callable[[str, object], None]
_KILLS = 3
#: how many are caught in mid-send, of each kind
_CAUGHT = 5
#: a reply takes so long; less than an account's time-out
_SLOW_MS = 9_000


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine of its own, in which an hour is a minute."""
    with starting(tmp_path_factory.mktemp("busy"), time_scale=TIME_SCALE) as engine:
        yield engine


@pytest.fixture
async def traffic(busy: Engine) -> AsyncIterator[Traffic]:
    async with Traffic(busy) as traffic:
        yield traffic
        await traffic.control.clear()


def assert_kept(report: Report, requests: int) -> None:
    """None doubled and none without a status; nothing stale and nothing late, either."""
    assert report.requested == requests
    assert report.duplicates == 0, f"{report.duplicates} doubled"
    assert report.lost == 0, f"{report.lost} without a status"
    assert (report.stale, report.late) == (0, 0)
    assert report.kept()


def told(report: Report) -> str:
    return (
        f"{report.requested} requests, {report.delivered} delivered, {report.superseded}"
        f" superseded, {report.expired} expired, {report.other_closed} other;"
        f" {report.duplicates} doubled, {report.lost} without a status"
    )


# -- ingest, router and tracker ------------------------------


async def test_ingest_killed_again_and_again(
    busy: Engine, traffic: Traffic, figure: Figure
) -> None:
    playing = asyncio.create_task(traffic.play(seed=1))
    met = 0
    async for _ in _moments(seed=1):
        answered = traffic.answered
        await asyncio.to_thread(busy.restart, "ingest")
        met += traffic.begun - answered
    await _assert_all_kept(traffic, playing, figure, "ingest")
    assert met >= _KILLS
    figure("ingest: calls that it died on, or that found nobody; all answered 202 later", met)


async def test_the_router_killed_again_and_again(
    busy: Engine, traffic: Traffic, figure: Figure
) -> None:
    playing = asyncio.create_task(traffic.play(seed=2))
    met = 0
    async for _ in _moments(seed=2):
        await asyncio.to_thread(busy.restart, "router")
        met += await asyncio.to_thread(_unrouted, busy)
    await _assert_all_kept(traffic, playing, figure, "router")
    assert met >= _KILLS
    figure("router: records that it had not done with when it came back", met)


async def test_the_tracker_killed_again_and_again(
    busy: Engine, traffic: Traffic, figure: Figure
) -> None:
    playing = asyncio.create_task(traffic.play(seed=3))
    before = await _unanswered(traffic)
    async for _ in _moments(seed=3):
        await asyncio.to_thread(busy.restart, "tracker")
    await _assert_all_kept(traffic, playing, figure, "tracker")
    met = await _unanswered(traffic) - before
    assert met >= _KILLS
    accepted = {entry.notification_id for entry in await traffic.accepted()}
    known = await traffic.ended()
    assert {id for id, row in known.items() if row.status == "delivered"} == accepted
    figure("tracker: webhooks that found nobody, and came again", met)


async def _moments(seed: int) -> AsyncIterator[None]:
    """Three of them, chosen by chance."""
    chance = random.Random(seed)
    for _ in range(_KILLS):
        await asyncio.sleep(chance.uniform(0.5, 2.5))
        yield


async def _assert_all_kept(
    traffic: Traffic, playing: asyncio.Task[None], figure: Figure, service: str
) -> None:
    await playing
    report = await traffic.report()
    figure(f"{service} killed", told(report))
    assert_kept(report, len(traffic.asked))


def _unrouted(engine: Engine) -> int:
    """Records that the router has not committed."""
    return sum(_left_of(engine, lane) for lane in Lane)


def _left_of(engine: Engine, lane: Lane) -> int:
    partitions = [TopicPartition(requested(lane), n) for n in range(PARTITIONS)]
    consumer = Consumer({"bootstrap.servers": engine.kafka, "group.id": f"lastword.router.{lane}"})
    try:
        return sum(
            consumer.get_watermark_offsets(part, timeout=30)[1] - max(part.offset, 0)
            for part in consumer.committed(partitions, timeout=30)
        )
    finally:
        consumer.close()


async def _unanswered(traffic: Traffic) -> int:
    return (await traffic.control.summary()).webhooks.get("unanswered", 0)


# -- dispatch, with sends under way ------------------------------


class Cast:
    """Users for whom a send can be caught under way, by what their provider does."""

    def __init__(self, name: str) -> None:
        #: it takes the message, answers late, and tells of the delivery
        self.heard = [f"{name}-heard-{n}" for n in range(_CAUGHT)]
        #: it takes the message, answers late, and its webhooks are lost
        self.mute = [f"{name}-mute-{n}" for n in range(_CAUGHT)]
        #: it thinks for so long that it never takes the message of one who hangs up
        self.lost = [f"{name}-lost-{n}" for n in range(_CAUGHT)]

    def asks(self) -> list[Notification]:
        return [_reset(user) for user in (*self.heard, *self.mute, *self.lost)]

    def faults(self) -> Sequence[Fault]:
        taken = (*self.heard, *self.mute)
        return [
            *(SlowReply(ms=_SLOW_MS, address=_address(user)) for user in taken),
            *(Slow(ms=_SLOW_MS, address=_address(user)) for user in self.lost),
            *self.lasting_faults(),
        ]

    def lasting_faults(self) -> Sequence[Fault]:
        return [WebhooksLost(address=_address(user)) for user in self.mute]


def _address(user: str) -> str:
    return f"{user}@example.test"


def _reset(user: str) -> Notification:
    return Notification(
        user=user,
        type="password_reset",
        to={"email": _address(user)},
        data={"name": user, "reset_url": "https://shop.example.test/reset/1"},
    )


async def _catch_in_mid_send(busy: Engine, traffic: Traffic, cast: Cast) -> dict[str, str]:
    """Kill dispatch while it sends to all of the cast; whose attempts were open then, by id."""
    await _set_faults(traffic, cast.faults())
    asks = cast.asks()
    ids = dict(zip(await traffic.ask(asks), (ask.user for ask in asks), strict=True))
    async with asyncio.timeout(60):
        while not ids.keys() <= _open_attempts(busy) or await _taken(traffic, ids) < 2 * _CAUGHT:
            await asyncio.sleep(0.05)
    killed = busy.kill("dispatch")
    caught = {id: ids.get(id, "another") for id in _open_attempts(busy)}
    await _set_faults(traffic, cast.lasting_faults())
    await asyncio.to_thread(busy.until_back, "dispatch", killed)
    assert ids.keys() <= caught.keys(), "the fault did not bite"
    return caught


async def _set_faults(traffic: Traffic, faults: Sequence[Fault]) -> None:
    for provider in ("postmark", "mailgun"):
        await traffic.control.set_faults(provider, *faults)


async def _taken(traffic: Traffic, ids: Container[str]) -> int:
    """How many of these a provider has taken."""
    return sum(entry.notification_id in ids for entry in await traffic.accepted())


def _open_attempts(engine: Engine) -> set[str]:
    with psycopg.connect(engine.up.endpoints.postgres) as connection:
        rows = connection.execute("SELECT id::text FROM ledger.attempts WHERE outcome IS NULL")
        return {id for (id,) in rows}


async def test_dispatch_killed_in_mid_send(busy: Engine, traffic: Traffic, figure: Figure) -> None:
    cast = Cast("caught")
    playing = asyncio.create_task(traffic.play(seed=4))
    counts: list[float] = []
    counting = asyncio.create_task(_count_unknown(busy, counts))
    await asyncio.sleep(4)
    caught = await _catch_in_mid_send(busy, traffic, cast)
    figure("dispatch: attempts open as it was killed", len(caught))

    await _assert_all_kept(traffic, playing, figure, "dispatch")
    accepted = {entry.notification_id for entry in await traffic.accepted()}
    by_receipt = {id for id, user in caught.items() if id in accepted and user not in cast.mute}
    by_time = caught.keys() - by_receipt
    assert {caught[id] for id in by_receipt} >= set(cast.heard)
    assert {caught[id] for id in by_time} >= {*cast.mute, *cast.lost}
    for id in by_receipt:
        _assert_was_unknown(busy.until(id, "delivered"), "its receipt came")
    for id in by_time:
        _assert_was_unknown(busy.until(id, "unknown"), "no receipt came within 30 s")
    unknown = {id for id, known in (await traffic.ended()).items() if known.status == "unknown"}
    assert unknown == by_time, "nobody else is unknown"
    figure("dispatch: of those, ended by receipt, by time-out", (len(by_receipt), len(by_time)))

    assert max(counts) >= len(by_time)
    async with asyncio.timeout(60):
        while counts[-1]:
            await asyncio.sleep(0.1)
    counting.cancel()
    figure("dispatch: lastword_unknown, the most and at the end", (int(max(counts)), 0))


def _assert_was_unknown(delivery: Mapping[str, object], end: str) -> None:
    """One attempt, which became unknown, and a close that says how that ended."""
    timeline = delivery["timeline"]
    assert isinstance(timeline, list)
    lines = [(line["what"], line.get("detail", "")) for line in timeline]
    what = [line for line, _ in lines]
    assert what.count("started") == 1
    assert what.count("settled: unknown") == 1
    assert what.index("started") < what.index("settled: unknown")
    (close,) = [detail for line, detail in lines if line.startswith("closed: ")]
    assert close.startswith(end), close


async def _count_unknown(engine: Engine, counts: list[float]) -> None:
    while True:
        counts.append(await asyncio.to_thread(engine.metric, "tracker", "lastword_unknown"))
        await asyncio.sleep(0.3)


# -- negative controls ------------------------------


async def test_a_dispatch_that_makes_open_attempts_again_fails_this_line(
    busy: Engine, traffic: Traffic, figure: Figure
) -> None:
    cast = Cast("again")
    with busy.planted("dispatch", "made_again"):
        await _catch_in_mid_send(busy, traffic, cast)
        # no receipt will ever come for some
        report = await traffic.report(within_s=30)
    assert report.duplicates >= 2 * _CAUGHT
    with pytest.raises(AssertionError, match="doubled"):
        assert_kept(report, len(traffic.asked))
    figure("control: doubled by a dispatch that makes open attempts again", report.duplicates)


async def test_an_ingest_that_answers_before_kafka_does_fails_this_line(
    busy: Engine, traffic: Traffic, figure: Figure
) -> None:
    with busy.planted("ingest", "answered_early"):
        await traffic.ask(Cast("early").asks())
        await asyncio.to_thread(busy.restart, "ingest")
        report = await traffic.report(within_s=10)
    assert report.lost == len(traffic.asked)
    with pytest.raises(AssertionError, match="without a status"):
        assert_kept(report, len(traffic.asked))
    figure("control: without a status by an ingest that answers early", report.lost)
