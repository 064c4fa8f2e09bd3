"""Line 4, digests: no item is lost or comes twice, whatever is killed.

When a digest is due and what is in it is held by both ledgers, with a clock that tests set
(``tests/conformance/test_ledger_digests.py``); here it is seen end to end, with dispatch killed.
"""

import json
import random
import re
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from services.sandbox.control import Control
from tests.acceptance.engine.running import SHOP, Engine, starting

pytestmark = pytest.mark.timeout(900)
Figure = Callable[[str, object], None]
#: the items of each message, by user
Told = dict[str, list[list[int]]]

_WINDOW_S, _MOST = 4, 30
_USERS, _ITEMS, _KILLS = 4, 200, 4
_TYPE = f"""
[types.like]
lane = "normal"
supersede = "never"
deadline = "1d"
digest = {{ window = "{_WINDOW_S}s", most = {_MOST} }}
[[types.like.route]]
channel = "email"
accounts = ["postmark-transactional", "mailgun-transactional"]
"""
_SCHEMA = {
    "type": "object",
    "properties": {"number": {"type": "integer"}},
    "required": ["number"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("digests")
    with starting(folder / "data", catalogue=_catalogue(folder / "shop")) as engine:
        yield engine


def _catalogue(folder: Path) -> Path:
    """The shop's, with a type that collects."""
    shutil.copytree(SHOP, folder)
    file = folder / "lastword.toml"
    file.write_text(file.read_text() + _TYPE)
    (folder / "types" / "like.schema.json").write_text(json.dumps(_SCHEMA))
    templates = folder / "templates" / "like"
    templates.mkdir()
    items = "{% for item in items %}#{{ item.number }}.{% endfor %}"
    (templates / "email.en.subject.txt").write_text(items)
    (templates / "email.en.txt").write_text("{{ count }} likes\n")
    return folder


def _ask(engine: Engine, user: str, numbers: Sequence[int]) -> list[str]:
    to = {"email": f"{user}@example.test"}
    asked = [{"user": user, "type": "like", "to": to, "data": {"number": n}} for n in numbers]
    body = json.dumps({"notifications": asked}).encode()
    url = f"{engine.up.endpoints.ingest}/v1/notifications/batch"
    with urlopen(Request(url, body, {"Content-Type": "application/json"})) as answer:
        assert answer.status == 202
        return [each["id"] for each in json.loads(answer.read())["results"]]


async def _told(engine: Engine, users: Sequence[str]) -> Told:
    """The items of each message, by user."""
    async with Control(engine.up.endpoints.sandbox or "") as control:
        entries = await control.ledger()
    told: Told = defaultdict(list)
    for entry in entries:
        user = entry.to.partition("@")[0]
        if user in users:
            told[user].append([int(n) for n in re.findall(r"#(\d+)\.", entry.subject)])
    return told


async def _until_told(engine: Engine, users: Sequence[str], items: int) -> Told:
    ends = time.monotonic() + 60
    while True:
        told = await _told(engine, users)
        found = sum(len(each) for messages in told.values() for each in messages)
        if found >= items:
            time.sleep(_WINDOW_S + 2)
            return await _told(engine, users)
        assert time.monotonic() < ends, f"{found} of {items} items have come"
        time.sleep(0.5)


@pytest.mark.slow
async def test_no_item_is_lost_or_comes_twice_with_dispatch_killed(
    engine: Engine, figure: Figure
) -> None:
    chance, users = random.Random(1), [f"ann-{n}" for n in range(_USERS)]
    ids: list[str] = []
    each = _ITEMS // _USERS // 10
    for step in range(10):
        for user in users:
            ids += _ask(engine, user, range(step * each, (step + 1) * each))
        if step % 2 and step // 2 < _KILLS:
            time.sleep(chance.uniform(0.2, 2.0))
            engine.restart("dispatch")
        else:
            time.sleep(chance.uniform(0.2, 1.0))
    told = await _until_told(engine, users, _ITEMS)
    digests = [len(each) for messages in told.values() for each in messages]
    figure(f"{_ITEMS} items of {_USERS} users, {_KILLS} kills: digests", digests)
    for user in users:
        items = Counter(n for each in told[user] for n in each)
        assert items == Counter(range(_ITEMS // _USERS))
    assert max(digests) <= _MOST
    assert len(digests) < _ITEMS / 5
    ended = Counter(engine.until(id, "merged")["status"] for id in ids)
    assert ended == {"merged": _ITEMS}


async def test_a_digest_that_is_asked_for_twice_changes_nothing(
    engine: Engine, figure: Figure
) -> None:
    with engine.planted("dispatch", "digests_twice"):
        _ask(engine, "bob", range(5))
        told = await _until_told(engine, ["bob"], 5)
    figure("asked for twice under one id: messages", told["bob"])
    assert [sorted(each) for each in told["bob"]] == [[0, 1, 2, 3, 4]]


@pytest.mark.slow
async def test_under_another_id_its_items_would_come_twice(engine: Engine, figure: Figure) -> None:
    """The control."""
    with engine.planted("dispatch", "digests_anew"):
        _ask(engine, "cid", range(5))
        told = await _until_told(engine, ["cid"], 10)
    figure("control: asked for twice under two ids: messages", told["cid"])
    assert Counter(n for each in told["cid"] for n in each)[0] > 1
