"""Line 5: a list is fanned out with the router, and then dispatch, killed meanwhile: each once.

What dispatch was sending when it was killed stays unknown, as is promised: then nobody is told
twice, and no more than were in flight are not told. Controls: a page that is asked for twice, as
after a crash, changes nothing; but under ids that do not follow from the list's and the member's,
each would be told twice.
"""

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from urllib.request import Request, urlopen

import psycopg
import pytest

from services.sandbox.control import Control
from tests.acceptance.engine.running import SHOP, Engine, starting

pytestmark = pytest.mark.timeout(3600)
Figure = Callable[[str, object], None]

_PAGE = 1_000
#: what the sandbox takes with its webhooks on two cores, so that none of its replies is lost
_QUOTA = ("[accounts.postmark-broadcast]\n", "quota = { per_second = 400 }\n")
#: of the account: requests at once, with so many messages
_IN_FLIGHT = 8 * 100
DATA = {
    "name": "friend",
    "headline": "Lamps",
    "body": "All of them.",
    "offer_url": "https://shop.example/",
    "unsubscribe_url": "https://shop.example/u",
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("lists")
    catalogue = shutil.copytree(SHOP, folder / "shop")
    file, (account, quota) = catalogue / "lastword.toml", _QUOTA
    file.write_text(file.read_text().replace(account, account + quota))
    with starting(folder / "data", catalogue=catalogue) as engine:
        yield engine


def _post(engine: Engine, path: str, body: object) -> dict[str, object]:
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(engine.up.endpoints.ingest + path, data, headers)) as answer:
        assert answer.status == 202
        found: dict[str, object] = json.loads(answer.read())
        return found


def _fill(engine: Engine, name: str, size: int) -> None:
    """So many are on the list, each with an address of their own."""
    for first in range(0, size, _PAGE):
        users = [f"{name}-{n}" for n in range(first, min(size, first + _PAGE))]
        members = [{"user": user, "to": {"email": f"{user}@example.test"}} for user in users]
        _post(engine, f"/v1/lists/{name}/members", {"members": members})


def _ask(engine: Engine, name: str) -> str:
    body = {"user": f"list:{name}", "type": "campaign", "to": {"list": name}, "data": DATA}
    return str(_post(engine, "/v1/notifications", body)["id"])


def _kill_until_done(engine: Engine, id: str, kills: int, service: str) -> int:
    """Kill it so often, at moments chosen by chance, until all is fanned out."""
    chance, killed = random.Random(1), 0
    while (found := engine.delivery(id)) is None or found["status"] != "fanned_out":
        if killed < kills:
            time.sleep(chance.uniform(0.2, 1.5))
            engine.restart(service)
            killed += 1
        else:
            time.sleep(0.2)
    return killed


def _until_all_are_closed(engine: Engine, name: str, within_s: float) -> Counter[str]:
    """Of the members' notifications, how many ended as what."""
    query = (
        "SELECT closed_as, count(*) FROM ledger.notifications"
        " WHERE key LIKE %s AND closed_as IS NOT NULL GROUP BY 1"
    )
    unclosed = "SELECT count(*) FROM ledger.notifications WHERE key LIKE %s AND closed_as IS NULL"
    ends, before = time.monotonic() + within_s, -1
    with psycopg.connect(engine.up.endpoints.postgres, autocommit=True) as connection:
        while True:
            keys = [f"default:{name}-%"]
            found: Counter[str] = Counter(dict(connection.execute(query, keys).fetchall()))
            (left,) = connection.execute(unclosed, keys).fetchone() or (0,)
            # none is left, and none has come for a while
            if not left and found.total() == before:
                return found
            before = found.total()
            assert time.monotonic() < ends, f"{left} are open, {found} are closed"
            time.sleep(5.0)


async def _told(engine: Engine, name: str) -> Counter[str]:
    """How often each was."""
    async with Control(engine.up.endpoints.sandbox or "") as control:
        entries = await control.ledger()
    return Counter(e.to for e in entries if e.to.startswith(f"{name}-"))


def _fan_out(
    engine: Engine, figure: Figure, name: str, size: int, *, kills: int = 0, of: str = "router"
) -> None:
    """Fill a list, ask for all on it, and see it fanned out."""
    _fill(engine, name, size)
    began = time.monotonic()
    id = _ask(engine, name)
    killed = _kill_until_done(engine, id, kills, of)
    figure(f"{size} members, kills of {of} meanwhile", killed)
    figure(f"{size} members, seconds to fan out", round(time.monotonic() - began, 1))
    assert killed == kills
    found = engine.delivery(id)
    assert found is not None
    assert found["detail"] == f"to {size}"


async def _each_once(engine: Engine, figure: Figure, name: str, size: int) -> None:
    ended = _until_all_are_closed(engine, name, 1800)
    figure(f"{size} members, ended as", dict(ended))
    told = await _told(engine, name)
    assert (len(told), set(told.values())) == (size, {1})
    assert ended == {"sent": size}


async def test_two_thousand_each_once(engine: Engine, figure: Figure) -> None:
    _fan_out(engine, figure, "small", 2_000)
    await _each_once(engine, figure, "small", 2_000)


@pytest.mark.slow
async def test_a_hundred_thousand_each_once_with_the_router_killed(
    engine: Engine, figure: Figure
) -> None:
    _fan_out(engine, figure, "large", 100_000, kills=6)
    await _each_once(engine, figure, "large", 100_000)


@pytest.mark.slow
async def test_with_dispatch_killed_nobody_is_told_twice_and_who_is_not_was_in_flight(
    engine: Engine, figure: Figure
) -> None:
    size, kills = 20_000, 4
    _fan_out(engine, figure, "cut", size, kills=kills, of="dispatch")
    before, told = -1, Counter[str]()
    while len(told) > before:
        before = len(told)
        time.sleep(15)
        told = await _told(engine, "cut")
    figure(f"of {size} members, told once, with dispatch killed", len(told))
    assert set(told.values()) == {1}
    assert len(told) >= size - kills * _IN_FLIGHT
    with psycopg.connect(engine.up.endpoints.postgres) as connection:
        query = "SELECT count(*) FROM ledger.notifications WHERE key LIKE 'default:cut-%'"
        (asked_for,) = connection.execute(query).fetchone() or (0,)
    assert asked_for == size


@pytest.mark.slow
async def test_a_page_that_is_asked_for_twice_changes_nothing(
    engine: Engine, figure: Figure
) -> None:
    with engine.planted("dispatch", "pages_twice"):
        _fan_out(engine, figure, "twice", 100)
        await _each_once(engine, figure, "twice", 100)


@pytest.mark.slow
async def test_under_other_ids_each_would_be_told_twice(engine: Engine, figure: Figure) -> None:
    """The control."""
    with engine.planted("dispatch", "members_anew"):
        _fill(engine, "anew", 20)
        engine.until(_ask(engine, "anew"), "fanned_out")
        _until_all_are_closed(engine, "anew", 120)
        told = await _told(engine, "anew")
    figure("control: told twice of 20, as the ids were others", sum(n == 2 for n in told.values()))
    assert set(told.values()) == {2}
