"""The unknown, on real HTTP: providers are asked what became of it, until their settling time.

The shop's catalogue with every duration divided by 300, so that a vendor's half an hour is 6 s; and
of an order's news what stays unknown is sent again.
"""

import shutil
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.postgres import EmbeddedPostgres
from services.sandbox.faults import Calls, DropBefore, Fault, HttpStatus, LookupLag, ReplyLost
from services.sandbox.faults import WebhooksLost as Unreported
from tests.integration.stack import SHOP, Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ORDERS = "[types.order_shipped]\n"
_users = count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("engine")
    with EmbeddedKafka(folder / "kafka") as kafka, EmbeddedPostgres(folder / "pg") as postgres:
        properties, catalogue = kafka.client_properties, _repeating(folder / "shop")
        async with running_stack(
            properties, postgres.dsn, catalogue=catalogue, time_scale=300
        ) as stack:
            yield stack


def _repeating(folder: Path) -> Path:
    shutil.copytree(SHOP, folder)
    file = folder / "lastword.toml"
    file.write_text(file.read_text().replace(_ORDERS, f'{_ORDERS}when_unknown = "repeat"\n'))
    return folder


@pytest_asyncio.fixture(loop_scope="module")
async def stack(engine: Stack) -> AsyncIterator[Stack]:
    yield engine
    await engine.sandbox.set_faults("every", [])


async def faults(stack: Stack, *faults: Fault) -> None:
    await stack.sandbox.set_faults("every", list(faults))


async def reset(stack: Stack) -> str:
    user = f"user-{next(_users)}"
    return await stack.request(
        user=user,
        type="password_reset",
        to={"email": f"{user}@example.test"},
        data={"name": user, "reset_url": "https://shop.example.test/reset"},
    )


async def shipped(stack: Stack, *, phone: bool = False) -> str:
    number = next(_users)
    to = {"phone": f"+1555{number:07d}"} if phone else {"email": f"user-{number}@example.test"}
    return await stack.request(
        user=f"user-{number}",
        type="order_shipped",
        to=to,
        data={
            "name": "Ada",
            "order": f"A-{number}",
            "items": [{"title": "A lamp", "quantity": 1}],
            "arrives_on": "2027-01-15",
            "tracking_url": "https://shop.example.test/t",
        },
    )


def taken(stack: Stack, id: str) -> int:
    return sum(entry.notification_id == id for entry in stack.sandbox.ledger.entries)


def told(delivery: dict[str, object]) -> list[str]:
    """What happened, each with its detail."""
    timeline = delivery["timeline"]
    assert isinstance(timeline, list)
    return [f"{line['what']} {line.get('detail', '')}".strip() for line in timeline]


async def test_a_message_that_was_taken_behind_a_lost_reply_is_found_by_its_look_up(
    stack: Stack,
) -> None:
    await faults(stack, ReplyLost(calls=Calls.SENDS), Unreported())
    delivery = await stack.until(await reset(stack), "sent")
    lines = told(delivery)
    assert any(line.startswith("settled: unknown") for line in lines)
    assert any(line.startswith("closed: sent a look-up found it") for line in lines), lines
    assert taken(stack, str(delivery["id"])) == 1


async def test_a_text_is_found_by_its_words_and_its_number(stack: Stack) -> None:
    await faults(stack, ReplyLost(calls=Calls.SENDS), Unreported())
    delivery = await stack.until(await shipped(stack, phone=True), "sent")
    assert any(line.startswith("closed: sent a look-up found it") for line in told(delivery))


async def test_p16_a_look_up_that_lags_behind_the_acceptance_proves_nothing(stack: Stack) -> None:
    """Fault 46: every look-up of two seconds finds nothing, and nothing is sent again."""
    await faults(stack, ReplyLost(calls=Calls.SENDS), Unreported(), LookupLag(ms=2_000))
    delivery = await stack.until(await shipped(stack), "sent")
    assert any(line.startswith("closed: sent a look-up found it") for line in told(delivery))
    assert taken(stack, str(delivery["id"])) == 1


async def test_what_was_never_taken_is_held_as_unknown_where_its_type_does_not_repeat(
    stack: Stack,
) -> None:
    await faults(stack, DropBefore(calls=Calls.SENDS))
    delivery = await stack.until(await reset(stack), "unknown")
    while not any(line.startswith("closed") for line in told(delivery)):
        delivery = await stack.until(str(delivery["id"]), "unknown")
    assert told(delivery)[-1].startswith("closed: unknown no receipt came within")
    assert told(delivery)[-1].endswith("and no look-up found it")
    assert taken(stack, str(delivery["id"])) == 0


async def test_what_was_never_taken_is_sent_again_where_its_type_repeats(stack: Stack) -> None:
    await faults(stack, DropBefore(calls=Calls.SENDS, count=1))
    delivery = await stack.until(await shipped(stack), "delivered", timeout_s=40)
    lines = told(delivery)
    assert [line.partition(" ")[0] for line in lines].count("started") == 2
    assert taken(stack, str(delivery["id"])) == 1


async def test_a_vendor_that_answers_no_look_up_is_waited_for_no_longer_than_twice(
    stack: Stack,
) -> None:
    down = HttpStatus(status=503, calls=Calls.LOOKUPS)
    await faults(stack, DropBefore(calls=Calls.SENDS), down)
    delivery = await stack.until(await reset(stack), "unknown")
    while not any(line.startswith("closed") for line in told(delivery)):
        delivery = await stack.until(str(delivery["id"]), "unknown")
    assert told(delivery)[-1].startswith("closed: unknown no receipt came within 1")
