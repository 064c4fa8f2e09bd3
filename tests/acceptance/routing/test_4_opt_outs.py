"""Line 4, opt-outs: what somebody does not want is not sent, though they say so while it waits.

The law itself, with a simulated clock, is held by every life of the simulation (``consent``) and by
both ledgers (``tests/conformance/test_ledger_recipients.py``); here it is seen end to end.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
import pytest_asyncio

from services.dispatch import claims
from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.postgres import EmbeddedPostgres
from services.sandbox.faults import Bounce
from services.sandbox.ledger import Entry
from tests.integration.stack import Stack, running_stack
from tests.simulation.planted import seek
from tests.simulation.play import lives

on_the_stack = pytest.mark.asyncio(loop_scope="module")
Figure = Callable[[str, object], None]

_SEEDS = range(300)
#: in which what they say reaches the ledger
_WAITS_S = 8.0
CAMPAIGN = {
    "name": "Ann",
    "headline": "Lamps",
    "body": "All of them.",
    "offer_url": "https://shop.example/",
    "unsubscribe_url": "https://shop.example/u",
}
RESET = {"name": "Ann", "reset_url": "https://shop.example/reset/1"}
NO_OFFERS = {"offers": {"*": False}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("opt-outs")
    with EmbeddedKafka(folder / "kafka") as kafka, EmbeddedPostgres(folder / "pg") as postgres:
        async with running_stack(kafka.client_properties, postgres.dsn) as stack:
            yield stack


async def said(stack: Stack, user: str, profile: Mapping[str, object]) -> None:
    """What they say of themselves is on disk."""
    url = f"http://{stack.settings.ingest_bind}/v1/recipients/{user}"
    async with aiohttp.ClientSession() as session, session.put(url, json=profile) as reply:
        assert reply.status == 202, await reply.text()


async def asked(stack: Stack, path: str, body: object = None) -> tuple[int, dict[str, object]]:
    """A call of the tracker: with a body it is posted."""
    url, method = f"http://{stack.settings.tracker_bind}{path}", "GET" if body is None else "POST"
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, json=body) as reply,
    ):
        return reply.status, await reply.json(content_type=None)


def sent(stack: Stack, *ids: str) -> list[Entry]:
    return [entry for entry in stack.sandbox.ledger.since(0) if entry.notification_id in ids]


def profile(user: str, **more: object) -> dict[str, object]:
    return {"to": {"email": f"{user}@example.test"}, **more}


def soon() -> str:
    return (datetime.now(UTC) + timedelta(seconds=_WAITS_S)).isoformat()  # noqa: TID251


async def left_while_it_waited(stack: Stack, user: str) -> str:
    """Two that are to be sent later, of which one is not wanted any more by then; its id."""
    await said(stack, user, profile(user))
    waiting = await stack.request(user=user, type="campaign", data=CAMPAIGN, send_at=soon())
    await stack.until(waiting)
    await said(stack, user, profile(user, preferences=NO_OFFERS))
    await stack.until(waiting, "sent", "delivered", "suppressed", timeout_s=_WAITS_S + 20)
    return waiting


@pytest.mark.slow
def test_in_simulated_lives_nothing_is_granted_that_its_user_has_left(figure: Figure) -> None:
    lived = list(lives(_SEEDS))
    suppressed = sum(life.counts["closed suppressed"] for life in lived)
    figure(f"in {len(_SEEDS)} lives suppressed", suppressed)
    assert [v for life in lived for v in life.violations] == []
    assert suppressed > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ask_only_when_routing", "ask_only_at_the_first_attempt"])
def test_a_dispatch_that_does_not_ask_again_fails_this_line(figure: Figure, name: str) -> None:
    noticed = seek(name, _SEEDS)
    figure(f"control: {name}", noticed)
    assert noticed is not None


@on_the_stack
async def test_whoever_has_just_given_a_profile_is_told_where_it_says(stack: Stack) -> None:
    await said(stack, "ann", profile("ann"))
    id = await stack.request(user="ann", type="password_reset", data=RESET)
    await stack.until(id, "delivered")
    assert [entry.to for entry in sent(stack, id)] == ["ann@example.test"]


@on_the_stack
async def test_what_is_not_wanted_is_suppressed_and_says_so_and_all_else_is_sent(
    stack: Stack, figure: Figure
) -> None:
    await said(stack, "bob", profile("bob", preferences=NO_OFFERS))
    offer = await stack.request(user="bob", type="campaign", data=CAMPAIGN)
    reset = await stack.request(user="bob", type="password_reset", data=RESET)
    await stack.until(reset, "delivered")
    delivery = await stack.until(offer, "suppressed")
    figure("its timeline says", delivery["detail"])
    assert delivery["detail"] == "they want no offers by email"
    assert sent(stack, offer) == []


@on_the_stack
async def test_who_opts_out_while_it_waits_is_not_told(stack: Stack, figure: Figure) -> None:
    id = await left_while_it_waited(stack, "cid")
    figure("opted out while it waited: sent", len(sent(stack, id)))
    assert sent(stack, id) == []


@on_the_stack
async def test_a_dispatch_that_does_not_ask_again_tells_them(
    stack: Stack, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(claims, "address_digest", lambda *_: "")
    id = await left_while_it_waited(stack, "dan")
    figure("control: sent by a dispatch that does not ask again", len(sent(stack, id)))
    assert len(sent(stack, id)) == 1


@on_the_stack
async def test_an_address_that_bounced_is_written_to_no_more_until_it_is_lifted(
    stack: Stack, figure: Figure
) -> None:
    address = {"channel": "email", "address": "eve@example.test"}
    await said(stack, "eve", profile("eve"))
    await stack.sandbox.set_faults("every", [Bounce(how="hard", address="eve@example.test")])
    first = await stack.request(user="eve", type="password_reset", data=RESET)
    await stack.until(first, "bounced")
    await stack.sandbox.set_faults("every", [])
    second = await stack.request(user="eve", type="password_reset", data=RESET)
    detail = (await stack.until(second, "suppressed"))["detail"]
    figure("after a hard bounce", detail)
    assert detail == "their email address is suppressed: bounced_hard"
    _, known = await asked(stack, "/v1/recipients/eve")
    told = [{"channel": "email", "category": "*", "kind": "bounced_hard"}]
    assert known["suppressions"] == told
    assert await asked(stack, "/v1/suppressions", address) == (200, {"suppressions": told})
    assert await asked(stack, "/v1/suppressions/lift", address) == (200, {"lifted": 1})
    third = await stack.request(user="eve", type="password_reset", data=RESET)
    await stack.until(third, "delivered")
    assert [entry.notification_id for entry in sent(stack, first, second, third)] == [first, third]


@on_the_stack
async def test_who_has_no_profile_and_no_address_is_not_waited_for(stack: Stack) -> None:
    id = await stack.request(user="nobody", type="password_reset", data=RESET)
    delivery = await stack.until(id, "failed")
    assert delivery["detail"] == "it has no address, and there is no profile with one"
    status, _ = await asked(stack, "/v1/recipients/nobody")
    assert status == 404
