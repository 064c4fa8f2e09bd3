"""Line 7: with Faust running, traffic leaves an account that never delivers, and comes back.

With it killed it does not leave, yet every promise holds. Replaying the log gives the same windows.
"""

import asyncio
import random
from collections.abc import Callable, Iterator

import pytest

from services.core.events import AttemptStarted, ProviderHealth
from services.core.identifiers import AccountName
from services.core.steering import PROBED
from services.core.topics import ATTEMPTS, HEALTH, RECEIPTS
from services.sandbox.faults import Swallowed
from services.tracker.health.judging import Judge
from services.tracker.health.windows import Windows, spans
from tests.acceptance.engine.running import Engine, starting
from tests.acceptance.routing.steady import Steady, events

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Figure = Callable[[str, object], None]

_POSTMARK = "postmark-transactional"
_PER_SECOND = 20
_LEAVES_WITHIN_S = 60.0
_RETURNS_WITHIN_S = 180.0
#: by then all its windows hold enough, and all receipts have come
_BEFORE_S, _SETTLES_S = 20.0, 10.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with starting(tmp_path_factory.mktemp("faust")) as running:
        yield running


@pytest.mark.asyncio
async def test_traffic_leaves_who_never_delivers_only_while_faust_runs_and_all_promises_hold(
    engine: Engine, figure: Figure
) -> None:
    swallowed = Swallowed(account=_POSTMARK)
    async with Steady(engine, _PER_SECOND) as steady:
        assert min((await steady.shares(_POSTMARK, _BEFORE_S))[10:]) == 1.0

        await steady.control.set_faults("postmark", swallowed)
        left_s = await steady.until(_POSTMARK, lambda share: share < 0.1, _LEAVES_WITHIN_S)
        figure("traffic has left after seconds", round(left_s, 1))
        probes = await steady.shares(_POSTMARK, 20)
        figure("its share then", round(sum(probes) / len(probes), 3))
        assert sum(probes) / len(probes) < 3 * PROBED
        assert _told(engine), "no attempt says why it went elsewhere"
        figure("the timeline says", _told(engine))

        await steady.control.clear("postmark")
        back_s = await steady.until(_POSTMARK, lambda share: share > 0.9, _RETURNS_WITHIN_S)
        figure("it has returned after seconds", round(back_s, 1))

        steady.pause()
        await asyncio.sleep(_SETTLES_S)
        replayed = await asyncio.to_thread(_same_windows, engine)
        figure("windows the same, live and replayed, in two orders", replayed)

        await asyncio.to_thread(engine.up.end, "health")
        steady.go_on()
        await asyncio.sleep(30)  # what it said last is forgotten
        await steady.control.set_faults("postmark", swallowed)
        shares = await steady.shares(_POSTMARK, _LEAVES_WITHIN_S + 15)
        figure("control: its least share while Faust is dead", min(shares))
        assert min(shares) == 1.0

        steady.pause()
        findings = await steady.findings()
        figure("promises, accepted", (findings.promises, findings.accepted))
        findings.assert_kept()


def _told(engine: Engine) -> str:
    """What the first attempt says that went past the account."""
    starts = (e for e in events(engine, ATTEMPTS) if isinstance(e, AttemptStarted))
    return next((e.reason for e in starts if e.reason.startswith(f"steered past {_POSTMARK}")), "")


def _same_windows(engine: Engine) -> int:
    """How many accounts' last word is what the log says, read again in two orders."""
    told = [e for e in events(engine, HEALTH) if isinstance(e, ProviderHealth)]
    live = {health.account: health for health in told}
    at = max(health.window_end for health in told)
    last = {name: health for name, health in live.items() if health.window_end == at}
    facts = events(engine, ATTEMPTS, RECEIPTS)
    for order in (facts, random.Random(7).sample(facts, len(facts))):
        windows = Windows(spans(1.0))
        for fact in order:
            windows.fold(fact)
        again = {h.account: h for h in Judge(windows, {}).health(at.timestamp())}
        assert again == last
    assert last[AccountName(_POSTMARK)].attempts
    return len(last)
