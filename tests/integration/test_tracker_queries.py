"""What can be asked of the tracker, by whom, and what is said to a question that makes no sense."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from services.core.errors import Misconfigured
from services.core.events import CloseReason, ReceiptKind
from services.core.identifiers import NotificationId, supersession_key
from services.runtime.settings import Settings
from services.tracker.access import Keys
from tests.integration.tracking import (
    Tracker,
    id_in,
    new_id,
    postmark,
    running_tracker,
    settings_for,
)
from tests.unit.tracker_entries import closed, receipt

pytestmark = pytest.mark.usefixtures("fresh_log")

KEYS = {"key-of-acme": "acme", "key-of-other": "other"}


@pytest.fixture
def settings(kafka_properties: dict[str, str], database: str, tmp_path: Path) -> Settings:
    return settings_for(kafka_properties, database, tmp_path)


@pytest.fixture
async def tracker(settings: Settings) -> AsyncIterator[Tracker]:
    async with running_tracker(settings) as running:
        yield running


@pytest.fixture
async def keyed(settings: Settings) -> AsyncIterator[Tracker]:
    async with running_tracker(replace(settings, api_keys=KEYS)) as running:
        yield running


def ids(page: dict[str, object]) -> list[str]:
    rows = page["deliveries"]
    assert isinstance(rows, list)
    return [row["id"] for row in rows]


async def listed(tracker: Tracker, query: str, **headers: str) -> list[str]:
    answer = await tracker.get(f"/v1/deliveries?{query}", **headers)
    assert answer.status == 200, answer.text
    return ids(answer.json)


async def asked(tracker: Tracker, count: int, user: str, **more: str) -> list[str]:
    """Notifications of a user, newest first, all folded."""
    made = [await tracker.ask(user=user, **more) for _ in range(count)]  # type: ignore[arg-type]
    for id in made:
        await tracker.until(id)
    return [str(id) for id in reversed(made)]


def someone() -> str:
    return f"user-{uuid4()}"


async def test_pages_are_stable_while_new_ones_come(tracker: Tracker) -> None:
    user = someone()
    wanted = await asked(tracker, 7, user)
    seen: list[str] = []
    cursor = ""
    for _ in range(3):
        answer = await tracker.get(f"/v1/deliveries?user={user}&limit=3{cursor}")
        seen += ids(answer.json)
        cursor = f"&cursor={answer.json['next']}"
        await asked(tracker, 1, user)
    assert sorted(seen) == sorted(wanted)
    assert answer.json["next"] is None


async def test_they_are_found_by_each_of_their_marks(tracker: Tracker) -> None:
    user = someone()
    reset, again = await asked(tracker, 2, user)
    (code,) = await asked(tracker, 1, user, type="login_code")
    key = supersession_key("default", user, "password_reset")
    await tracker.tell(closed(CloseReason.EXPIRED, id=NotificationId(UUID(again)), key=key))
    await tracker.until(NotificationId(UUID(again)), status="expired")
    of = f"user={user}"
    assert await listed(tracker, f"{of}&type=login_code") == [code]
    assert await listed(tracker, f"{of}&status=expired") == [again]
    assert set(await listed(tracker, f"key=default:{user}:password_reset")) == {reset, again}
    assert set(await listed(tracker, f"{of}&tenant=default")) == {reset, again, code}
    assert await listed(tracker, f"{of}&tenant=acme") == []


async def test_they_are_counted_by_type_and_status(tracker: Tracker) -> None:
    tenant = someone()
    await asked(tracker, 2, "u1", tenant=tenant)
    await asked(tracker, 1, "u1", tenant=tenant, type="login_code")
    answer = await tracker.get(f"/v1/summary?tenant={tenant}")
    assert answer.json == {
        "types": {"password_reset": {"queued": 2}, "login_code": {"queued": 1}},
        "statuses": {"queued": 3},
    }


@pytest.mark.parametrize(
    ("query", "parameter", "advice"),
    [
        ("limit=0", "limit", "from 1 to 500"),
        ("limit=501", "limit", "from 1 to 500"),
        ("limit=many", "limit", "from 1 to 500"),
        ("limit=%D9%A3", "limit", "from 1 to 500"),
        ("status=lost", "status", "queued"),
        ("cursor=xx", "cursor", "next"),
        ("cursor=%00", "cursor", "NUL"),
        ("cursor=WyIxIiwyXQ", "cursor", "next"),
        ("user=a&user=b", "user", "once"),
        ("user=%00", "user", "NUL"),
        ("usr=a", "usr", "user"),
    ],
)
async def test_a_question_that_makes_no_sense_is_told_why(
    tracker: Tracker, query: str, parameter: str, advice: str
) -> None:
    answer = await tracker.get(f"/v1/deliveries?{query}")
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json")
    errors = answer.json["errors"]
    assert isinstance(errors, list)
    assert errors[0]["parameter"] == parameter
    assert advice in errors[0]["detail"]


async def test_an_id_is_known_or_not_or_none_at_all(tracker: Tracker) -> None:
    assert (await tracker.get(f"/v1/deliveries/{new_id()}")).status == 404
    assert (await tracker.get("/v1/deliveries/42")).status == 400
    assert (await tracker.get("/v2")).status == 404
    assert (await tracker.call("DELETE", f"/v1/deliveries/{new_id()}")).status == 405


async def test_what_only_a_receipt_names_is_not_there(tracker: Tracker) -> None:
    stranger = id_in(0)
    await tracker.tell(receipt(ReceiptKind.DELIVERED, id=stranger))
    await tracker.settle_down()
    assert (await tracker.get(f"/v1/deliveries/{stranger}")).status == 404


async def test_a_key_opens_its_own_tenant_only(keyed: Tracker) -> None:
    user, own = someone(), {"Authorization": "Bearer key-of-acme"}
    id = await keyed.ask(user=user, tenant="acme")
    other = await keyed.ask(user=user, tenant="other")
    for wanted, key in ((id, "key-of-acme"), (other, "key-of-other")):
        await eventually_found(keyed, wanted, key)
    assert await listed(keyed, f"user={user}", **own) == [str(id)]
    assert (await keyed.get(f"/v1/deliveries/{other}", **own)).status == 404
    assert (await keyed.get("/v1/deliveries?tenant=other", **own)).status == 400
    summary = (await keyed.get("/v1/summary", **own)).json
    assert summary["statuses"] == {"queued": 1}


async def eventually_found(tracker: Tracker, id: NotificationId, key: str) -> None:
    async with asyncio.timeout(20):
        while (
            await tracker.get(f"/v1/deliveries/{id}", Authorization=f"Bearer {key}")
        ).status != 200:
            await asyncio.sleep(0.03)


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer guessed", "Basic key-of-acme"])
async def test_without_a_key_nothing_is_told(keyed: Tracker, authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    for path in ("/v1/deliveries", f"/v1/deliveries/{new_id()}", "/v1/summary"):
        answer = await keyed.get(path, **headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_providers_need_no_key(keyed: Tracker) -> None:
    assert (await keyed.webhook(postmark(new_id()))).status == 200


async def test_health_is_told_to_anybody(keyed: Tracker) -> None:
    assert (await keyed.get("/healthz")).status == 200
    async with asyncio.timeout(20):
        while (await keyed.get("/readyz")).status != 200:
            await asyncio.sleep(0.03)
    assert "lastword_receipts_total" in (await keyed.get("/metrics")).text


def test_without_keys_only_this_machine_may_ask() -> None:
    Keys({}, "127.0.0.1")
    Keys({}, "::1")
    Keys(KEYS, "0.0.0.0")
    with pytest.raises(Misconfigured, match="LASTWORD_API_KEYS"):
        Keys({}, "0.0.0.0")
