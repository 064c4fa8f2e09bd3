"""Both clients against a real server that answers badly, late or not at all."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import uuid4

import pytest
from aiohttp import web

from lastword import (
    AsyncLastword,
    Fault,
    Lastword,
    Misconfigured,
    Notification,
    NotKnown,
    Rejected,
    Sent,
    Unauthorised,
)
from tests.client.ingest_stub import (
    Handler,
    Ingest,
    drip,
    flood,
    hang,
    problem,
    reset,
    serving,
    somebody_else,
)
from tests.client.threaded import Client, Threaded

Connect = Callable[..., AbstractAsyncContextManager[Client]]
TO = {"email": "u1@example.test"}


@pytest.fixture
async def ingest() -> Ingest:
    return Ingest()


@pytest.fixture
async def url(ingest: Ingest) -> AsyncIterator[str]:
    async with serving(ingest) as url:
        yield url


@pytest.fixture(params=["blocking", "awaited"])
def connect(request: pytest.FixtureRequest) -> Connect:
    @asynccontextmanager
    async def connected(
        url: str, *, api_key: str | None = None, timeout: float = 10.0
    ) -> AsyncIterator[Client]:
        client: Client = (
            Threaded(Lastword(url, api_key=api_key, timeout=timeout))
            if request.param == "blocking"
            else AsyncLastword(url, api_key=api_key, timeout=timeout)
        )
        try:
            yield client
        finally:
            await client.close()

    return connected


async def test_a_notification_is_sent_once_with_an_id_of_the_client(
    connect: Connect, ingest: Ingest, url: str
) -> None:
    async with connect(url, api_key="secret") as client:
        sent = await client.send(user="u1", type="welcome", to=TO, data={"name": "Ann"})
    assert sent.key == "default:u1:welcome"
    assert ingest.taken == {str(sent.id): 1}
    assert ingest.idempotency_keys == [str(sent.id)]
    assert ingest.headers[0]["Authorization"] == "Bearer secret"
    assert ingest.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "fault",
    [reset, problem(503), problem(429), problem(502), somebody_else],
    ids=["reset", "503", "429", "502", "an answer of somebody else"],
)
async def test_what_goes_wrong_for_a_while_is_tried_again_as_the_same(
    connect: Connect, ingest: Ingest, url: str, fault: Handler
) -> None:
    ingest.faults = [fault, fault]
    async with connect(url) as client:
        sent = await client.send(user="u1", type="welcome", to=TO)
    assert ingest.taken == {str(sent.id): 1}
    assert ingest.idempotency_keys == [str(sent.id)] * 3


async def test_a_lost_reply_leads_to_the_same_notification_again(
    connect: Connect, ingest: Ingest, url: str
) -> None:
    ingest.faults = [ingest.reply_lost, ingest.reply_lost]
    async with connect(url) as client:
        sent = await client.send(user="u1", type="welcome", to=TO)
    assert ingest.taken == {str(sent.id): 3}


async def test_many_at_once_through_a_bad_hour_are_each_there_under_one_id(
    connect: Connect, ingest: Ingest, url: str
) -> None:
    ingest.faults = [reset, ingest.reply_lost, problem(503), somebody_else] * 5
    async with connect(url) as client:
        calls = [client.send(user=f"u{n}", type="welcome", to=TO) for n in range(30)]
        sent = await asyncio.gather(*calls)
    assert len(ingest.taken) == 30
    assert ingest.taken.keys() == {str(each.id) for each in sent}


async def test_retry_after_is_waited_for(connect: Connect, ingest: Ingest, url: str) -> None:
    ingest.faults = [problem(503, Retry_After="1")]
    started = time.monotonic()
    async with connect(url) as client:
        await client.send(user="u1", type="welcome", to=TO)
    assert 1.0 <= time.monotonic() - started < 3.0


async def test_a_retry_after_beyond_the_time_is_handed_on_at_once(
    connect: Connect, ingest: Ingest, url: str
) -> None:
    ingest.faults = [problem(503, Retry_After="60")]
    id = uuid4()
    started = time.monotonic()
    async with connect(url, timeout=5.0) as client:
        with pytest.raises(NotKnown) as caught:
            await client.send(user="u1", type="welcome", to=TO, id=id)
    assert time.monotonic() - started < 3.0
    assert (caught.value.id, caught.value.retry_after) == (id, 60.0)
    assert str(id) in str(caught.value)


@pytest.mark.parametrize("fault", [hang, drip, flood], ids=["hangs", "drips", "floods"])
async def test_an_answer_that_never_ends_costs_no_more_than_the_time(
    connect: Connect, ingest: Ingest, url: str, fault: Handler
) -> None:
    ingest.faults = [fault] * 1_000
    started = time.monotonic()
    async with connect(url, timeout=1.0) as client:
        with pytest.raises(NotKnown):
            await client.send(user="u1", type="welcome", to=TO)
    assert time.monotonic() - started < 3.0


async def test_after_its_time_is_over_the_id_can_be_sent_again(
    connect: Connect, ingest: Ingest, url: str
) -> None:
    ingest.faults = [ingest.reply_lost, *[reset] * 1_000]
    async with connect(url, timeout=0.5) as client:
        with pytest.raises(NotKnown) as caught:
            await client.send(user="u1", type="welcome", to=TO)
        ingest.faults = []
        sent = await client.send(user="u1", type="welcome", to=TO, id=caught.value.id)
    assert ingest.taken == {str(sent.id): 2}


async def test_a_refusal_points_at_the_field_and_is_not_tried_again(
    connect: Connect, ingest: Ingest, url: str
) -> None:
    ingest.faults = [problem(422, {"pointer": "#/data/code", "detail": "is required"})]
    async with connect(url) as client:
        with pytest.raises(Rejected) as caught:
            await client.send(user="u1", type="welcome", to=TO)
    assert caught.value.faults == (Fault("#/data/code", "is required"),)
    assert caught.value.status == 422
    assert len(ingest.idempotency_keys) == 1
    assert not ingest.taken


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_not_enough_is_not_tried_again(
    connect: Connect, ingest: Ingest, url: str, status: int
) -> None:
    ingest.faults = [problem(status)]
    async with connect(url, api_key="secret") as client:
        with pytest.raises(Unauthorised) as caught:
            await client.send(user="u1", type="welcome", to=TO)
    assert "secret" not in str(caught.value)
    assert len(ingest.idempotency_keys) == 1


async def test_another_server_is_named_as_the_likely_cause(connect: Connect, url: str) -> None:
    async with connect(f"{url}/elsewhere") as client:
        with pytest.raises(Misconfigured, match="address of Lastword"):
            await client.send(user="u1", type="welcome", to=TO)


@pytest.mark.parametrize("status", [301, 400, 404, 405, 413])
async def test_a_refusal_that_is_not_lastwords_says_nothing_of_the_notification(
    connect: Connect, ingest: Ingest, url: str, status: int
) -> None:
    async def proxy(request: web.Request, body: bytes) -> web.StreamResponse:
        return web.Response(status=status, text="<html>", content_type="text/html")

    ingest.faults = [proxy, proxy]
    async with connect(url) as client:
        with pytest.raises(Misconfigured, match=str(status)):
            await client.send(user="u1", type="welcome", to=TO)
        [result] = await client.send_many([Notification(user="u1", type="welcome", to=TO)])
    assert isinstance(result, Misconfigured)


async def test_many_go_in_one_post_and_each_has_its_result(
    connect: Connect, ingest: Ingest, url: str
) -> None:
    good = [Notification(user=f"u{n}", type="welcome", to=TO) for n in range(3)]
    bad = Notification(user="u9", type="welcome", to={"email": "nobody"})
    ingest.faults = [ingest.reply_lost]
    async with connect(url) as client:
        first, second, faulty, third = await client.send_many([good[0], good[1], bad, good[2]])
    assert isinstance(faulty, Rejected)
    assert faulty.faults[0].pointer == "#/to/email"
    sent = [each for each in (first, second, third) if isinstance(each, Sent)]
    assert ingest.taken == {str(each.id): 2 for each in sent}
    assert len(sent) == 3
    assert len(ingest.idempotency_keys) == 2


async def test_what_is_refused_within_a_batch_is_pointed_at_in_its_own_body(
    connect: Connect, ingest: Ingest, url: str
) -> None:
    async with connect(url) as client:
        ingest.faults = [_half_taken]
        first, second = await client.send_many(
            [Notification(user=f"u{n}", type="welcome", to=TO) for n in range(2)]
        )
    assert isinstance(first, Sent)
    assert isinstance(second, Rejected)
    assert second.faults == (Fault("#/to/email", "has no such domain"),)


async def test_a_cancellation_names_the_key_and_the_id(
    connect: Connect, ingest: Ingest, url: str
) -> None:
    id = uuid4()
    async with connect(url) as client:
        ingest.faults = [problem(503)]
        await client.cancel(user="u1", type="welcome", id=id)
        await client.cancel(user="u1", type="welcome")
    assert ingest.cancelled == [
        {"user": "u1", "type": "welcome", "id": str(id)},
        {"user": "u1", "type": "welcome"},
    ]


async def test_nobody_there_is_not_known_in_the_end(connect: Connect) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with connect(f"http://127.0.0.1:{port}", timeout=0.5) as client:
        with pytest.raises(NotKnown):
            await client.send(user="u1", type="welcome", to=TO)


async def test_tasks_cancelled_while_they_wait_for_a_connection_take_none_with_them(
    ingest: Ingest, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just as one becomes free: for a moment it is neither the old call's nor the new one's."""
    few = 4
    monkeypatch.setattr("lastword.http_shell._CONNECTIONS", few)
    async with AsyncLastword(url, timeout=5.0) as client:
        for _ in range(10):
            release = asyncio.Event()
            ingest.faults = [_late(ingest, release)] * few
            sends = [client.send(user=f"u{n}", type="welcome", to=TO) for n in range(5 * few)]
            tasks = [asyncio.create_task(send) for send in sends]
            async with asyncio.timeout(30):
                while ingest.faults:
                    await asyncio.sleep(0.01)
            release.set()
            for count, waiting in enumerate(tasks[few:]):
                waiting.cancel()
                await asyncio.sleep(0 if count % few else 0.001)
            await asyncio.gather(*tasks, return_exceptions=True)
        await client.send(user="u1", type="welcome", to=TO)


async def test_a_task_that_is_cancelled_does_not_go_on(ingest: Ingest, url: str) -> None:
    ingest.faults = [hang]
    async with AsyncLastword(url) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.send(user="u1", type="welcome", to=TO)
        await client.send(user="u1", type="welcome", to=TO)
    assert len(ingest.taken) == 1


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://[::1"])
def test_an_address_that_is_none_is_said_at_once(url: str) -> None:
    with pytest.raises(Misconfigured, match="address"):
        Lastword(url)


def test_a_key_with_a_line_end_is_said_at_once_and_not_repeated() -> None:
    with pytest.raises(Misconfigured) as caught:
        Lastword("http://127.0.0.1", api_key="secret\n")
    assert "secret" not in str(caught.value)


def _late(ingest: Ingest, release: asyncio.Event) -> Handler:
    """Taken once released."""

    async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
        await release.wait()
        return ingest.take(request, body)

    return answer


async def _half_taken(request: object, body: object) -> web.StreamResponse:
    fault = {"pointer": "#/notifications/1/to/email", "detail": "has no such domain"}
    refused = {"title": "No", "status": 422, "detail": "", "errors": [fault]}
    taken = {"status": 202, "id": str(uuid4()), "key": "default:u0:welcome"}
    return web.json_response({"results": [taken, refused]}, status=207)
