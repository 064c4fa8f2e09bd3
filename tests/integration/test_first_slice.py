"""HTTP → Kafka → router → ledger → sandbox Postmark → webhook → the tracker's answer."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.stack import Stack, running_stack

pytestmark = pytest.mark.usefixtures("fresh_log")

RESET = {"name": "Ada", "reset_url": "https://shop.example.test/reset/abc"}


@pytest.fixture
async def stack(kafka_properties: dict[str, str], database: str) -> AsyncIterator[Stack]:
    async with running_stack(kafka_properties, database) as running:
        yield running


async def test_a_request_is_delivered_once_and_its_timeline_says_how(stack: Stack) -> None:
    id = await stack.request(
        user="ada", type="password_reset", to={"email": "ada@example.test"}, data=RESET
    )
    delivery = await stack.until(id, "delivered")
    assert delivery["channel"] == "email"
    assert delivery["account"] == "postmark-transactional"
