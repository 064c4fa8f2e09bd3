"""Line 3: what is wrong with an account costs nobody their notification, and its timeline says why.

Whatever befalls the first account, the next account or channel brings it within the budget, once,
and each step says why it was taken. Control: the same with no other account and no receipt awaited.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import Struct

from services.core.events import CloseReason
from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.postgres import EmbeddedPostgres
from services.sandbox.faults import Bounce, Down, Fault, Slow, Swallowed, Throttle
from services.sandbox.ledger import Entry
from services.sandbox.oracle import Ending, Promise, accepted_of, find
from tests.integration.stack import SHOP, Stack, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
Figure = Callable[[str, object], None]

_FIRST, _SECOND, _THIRD = "postmark-transactional", "mailgun-transactional", "twilio-otp"
#: of the first leg, for its receipt; of its account, for a reply; and of all
_WITHIN_S, _TIMEOUT_S, _BUDGET_S = 4.0, 1.0, 10.0
_AWAITED, _PLAIN = "password_reset", "login_code"
_ROUTES = f"""
[types.{_AWAITED}]
lane = "critical"
deadline = "1m"
[[types.{_AWAITED}.route]]
channel = "email"
accounts = ["{_FIRST}", "{_SECOND}"]
success = "delivered"
within = "{_WITHIN_S:g}s"
give_up_after = "3s"
[[types.{_AWAITED}.route]]
channel = "sms"
accounts = ["{_THIRD}"]

[types.{_PLAIN}]
lane = "critical"
deadline = "1m"
[[types.{_PLAIN}.route]]
channel = "email"
accounts = ["{_FIRST}"]
"""
_users = count(1)


class Case(Struct, frozen=True):
    """What is wrong with the first account, who brings it instead, when, and what is said of it."""

    fault: Fault
    by: str
    at_once: bool
    why: str


CASES = {
    "down": Case(Down(), _SECOND, True, "attempt 1: unavailable"),
    "slow": Case(
        Slow(ms=30_000), _THIRD, False, "attempt 1: unknown, then not delivered within 4 s"
    ),
    "accepting and never delivering": Case(
        Swallowed(), _THIRD, False, "attempt 1: accepted, then not delivered within 4 s"
    ),
    "throttling": Case(Throttle(), _SECOND, True, "attempt 1: throttled 429"),
    "bouncing": Case(Bounce(), _THIRD, True, "attempt 1: accepted, then bounced_hard"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("fail-over")
    with EmbeddedKafka(folder / "kafka") as kafka, EmbeddedPostgres(folder / "pg") as postgres:
        catalogue = _catalogue(folder / "shop")
        async with running_stack(
            kafka.client_properties, postgres.dsn, catalogue=catalogue
        ) as stack:
            assert await _arrives(stack, await _ask(stack, _PLAIN), 60.0)
            yield stack


def _catalogue(folder: Path) -> Path:
    """The shop's, with accounts that are given up on sooner and the routes of this line."""
    shutil.copytree(SHOP, folder)
    file = folder / "lastword.toml"
    accounts, _, _ = file.read_text().partition("# The link in it")
    mail = f"[accounts.{_FIRST}]\n"
    assert mail in accounts
    file.write_text(accounts.replace(mail, f'{mail}timeout = "{_TIMEOUT_S:g}s"\n') + _ROUTES)
    for kind in ("order_shipped", "campaign"):
        shutil.rmtree(folder / "templates" / kind)
        (folder / "types" / f"{kind}.schema.json").unlink()
    return folder


@pytest_asyncio.fixture(loop_scope="module")
async def stack(engine: Stack) -> AsyncIterator[Stack]:
    yield engine
    await engine.sandbox.set_faults("every", [])
    # the account is used again by then: its circuit is closed by the first that goes well
    assert await _arrives(engine, await _ask(engine, _PLAIN), 30.0)


@pytest.mark.parametrize("name", CASES)
async def test_it_arrives_by_the_next_account_or_channel_within_its_budget_once_and_says_why(
    stack: Stack, figure: Figure, name: str
) -> None:
    case = CASES[name]
    await stack.sandbox.set_faults("postmark", [case.fault])
    asked_at = time.monotonic()
    id, plain = await _ask(stack, _AWAITED), await _ask(stack, _PLAIN)

    arrived = await _arrives(stack, id, _BUDGET_S)
    took_s = time.monotonic() - asked_at
    figure(f"{name}: it arrived after seconds", round(took_s, 2))
    assert arrived is not None, await stack.delivery(id)
    assert arrived.account == case.by
    assert (took_s < _WITHIN_S) is case.at_once

    delivery = await stack.until(id, "sent", "delivered")
    reasons = _reasons(delivery)
    figure(f"{name}: the timeline says", reasons[-1])
    assert reasons[-1].startswith(case.why), reasons
    assert all(reasons[1:]), "a step does not say why it was taken"

    await asyncio.sleep(2)
    assert len(_delivered(stack, id)) == 1
    _promises_are_kept(stack, id)
    assert await _arrives(stack, plain, 0.1) is None, "the control has arrived, so nothing failed"


async def _ask(stack: Stack, type: str) -> str:
    number = next(_users)
    user = f"user-{number}"
    data = {"name": user, "reset_url": "https://shop.example.test/reset"}
    return await stack.request(
        user=user,
        type=type,
        to={"email": f"{user}@example.test", "phone": f"+1555{number:07d}"},
        data=data if type == _AWAITED else {"code": "123456"},
    )


def _entries(stack: Stack, id: str) -> list[Entry]:
    return [entry for entry in stack.sandbox.ledger.entries if entry.notification_id == id]


def _delivered(stack: Stack, id: str) -> list[Entry]:
    """The messages of it that reached somebody, by the providers' own word."""
    return [e for e in _entries(stack, id) if any(h.what == "delivered" for h in e.history)]


async def _arrives(stack: Stack, id: str, within_s: float) -> Entry | None:
    end = time.monotonic() + within_s
    while not (found := _delivered(stack, id)) and time.monotonic() < end:
        await asyncio.sleep(0.02)
    return found[0] if found else None


def _reasons(delivery: dict[str, object]) -> list[str]:
    """Why each attempt was made, in order."""
    timeline = delivery["timeline"]
    assert isinstance(timeline, list)
    return [str(line.get("reason", "")) for line in timeline if line["what"] == "started"]


def _promises_are_kept(stack: Stack, id: str) -> None:
    """By the same oracle as everywhere."""
    promise = Promise(id=id, key=id, type=_AWAITED, version=1)
    taken = [accepted_of(entry) for entry in _entries(stack, id)]
    ends = {id: Ending(reason=CloseReason.SENT)}
    find([promise], taken, ends, awaiting=[_AWAITED]).assert_kept()
