"""A catalogue that grows while the engine runs, or is spoilt: nothing is started again."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.integration.stack import SHOP, Stack, running_stack

pytestmark = pytest.mark.usefixtures("fresh_log")

_TYPE = """
[types.gift_card]
lane = "critical"
deadline = "5m"
[[types.gift_card.route]]
channel = "email"
accounts = ["postmark-transactional"]
"""
_SCHEMA = '{"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}'


def request(type: str, user: str) -> dict[str, object]:
    to = {"email": f"{user}@example.test"}
    return {"user": user, "type": type, "to": to, "data": {"code": "123456"}}


async def taken(stack: Stack, body: dict[str, object]) -> str:
    """Its id, once ingest takes it."""
    async with asyncio.timeout(30):
        while True:
            status, answer = await stack.post("/v1/notifications", body)
            if status == 202:
                return str(answer["id"])
            await asyncio.sleep(0.2)


async def test_a_type_that_is_added_is_delivered_and_one_that_is_spoilt_changes_nothing(
    kafka_properties: dict[str, str], database: str, tmp_path: Path
) -> None:
    shop = Path(shutil.copytree(SHOP, tmp_path / "shop"))
    async with running_stack(kafka_properties, database, catalogue=shop) as stack:
        await stack.until(await taken(stack, request("login_code", "ann")), "delivered")
        status, _ = await stack.post("/v1/notifications", request("gift_card", "ann"))
        assert status == 422

        (shop / "types" / "gift_card.schema.json").write_text(_SCHEMA)
        texts = shop / "templates" / "gift_card"
        texts.mkdir()
        (texts / "email.en.subject.txt").write_text("A gift card\n")
        (texts / "email.en.txt").write_text("{{ code }}\n")
        with (shop / "lastword.toml").open("a") as file:
            file.write(_TYPE)
        await stack.until(await taken(stack, request("gift_card", "ann")), "delivered")

        (shop / "lastword.toml").write_text("this is no catalogue")
        await asyncio.sleep(6)
        await stack.until(await taken(stack, request("gift_card", "bob")), "delivered")
        await stack.until(await taken(stack, request("login_code", "bob")), "delivered")
