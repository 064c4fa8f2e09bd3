"""A request with a time of its own, on real servers: it waits for that, and goes out."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.integration.stack import Stack, running_stack

pytestmark = pytest.mark.usefixtures("fresh_log")


def later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)  # noqa: TID251


async def asked(stack: Stack, user: str, **more: object) -> str:
    to = {"email": f"{user}@example.test"}
    fields = {"user": user, "type": "login_code", "to": to, "data": {"code": "123456"}}
    return await stack.request(**fields, **more)


def parked(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {id for (id,) in connection.execute("SELECT id::text FROM ledger.parked")}


async def until_parked(dsn: str, *ids: str) -> None:
    """These, and no others."""
    async with asyncio.timeout(20):
        while await asyncio.to_thread(parked, dsn) != set(ids):
            await asyncio.sleep(0.05)


async def test_it_waits_in_the_ledger_and_goes_out_at_its_time(
    kafka_properties: dict[str, str], database: str
) -> None:
    async with running_stack(kafka_properties, database) as stack:
        at = later(12)
        id = await asked(stack, "ann", send_at=at.isoformat())
        await until_parked(database, id)
        await stack.until(id, "delivered")
        (entry,) = [e for e in stack.sandbox.ledger.since(0) if e.notification_id == id]
        assert at <= entry.received_at < at + timedelta(seconds=5)
        await until_parked(database)


async def test_a_newer_one_goes_out_instead(
    kafka_properties: dict[str, str], database: str
) -> None:
    async with running_stack(kafka_properties, database) as stack:
        older = await asked(stack, "bob", send_at=later(12).isoformat())
        await until_parked(database, older)
        await stack.until(await asked(stack, "bob"), "delivered")
        await stack.until(older, "superseded")
