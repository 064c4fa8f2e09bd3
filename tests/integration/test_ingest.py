"""Ingest on a real broker: what is answered, and what then stands in the log."""

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from uuid import UUID

import aiohttp
import msgspec
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from openapi_spec_validator import validate
from structlog.testing import capture_logs

from services.core.catalogue import Lane
from services.core.errors import Misconfigured
from services.core.events import NotificationCancelled, NotificationRequested
from services.core.identifiers import id_from_idempotency_key
from services.core.partitioner import partition_of
from services.core.topics import requested
from services.ingest.app import serve
from services.ingest.bodies import MAX_SINGLE_BYTES
from services.runtime.codec import Codec, Requested
from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.settings import Settings, to_environment
from services.runtime.topics import create_topics

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "shop"
ADDRESS = "somebody@example.test"
DATA = {"name": "Ann", "reset_url": "https://shop.example/reset/1"}
Unique = Callable[[str], str]


def reset(user: str, **more: object) -> dict[str, object]:
    asked = {"user": user, "type": "password_reset", "to": {"email": ADDRESS}, "data": DATA}
    return asked | more


class Answer(msgspec.Struct, frozen=True):
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.text)
        return document

    @property
    def pointers(self) -> list[str]:
        errors = self.json.get("errors", [])
        assert isinstance(errors, list)
        return [error["pointer"] for error in errors]


class Ingest:
    """Ingest, running, as a caller sees it."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base

    async def post(self, path: str, body: object, **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Content-Type": "application/json"} | named
        async with self.session.post(self.base + path, data=BytesIO(raw), headers=sent) as reply:
            return Answer(reply.status, reply.headers, await reply.text())

    async def one(self, body: object, **headers: str) -> Answer:
        return await self.post("/v1/notifications", body, **headers)

    async def get(self, path: str) -> Answer:
        async with self.session.get(self.base + path) as reply:
            return Answer(reply.status, reply.headers, await reply.text())


@asynccontextmanager
async def running(settings: Settings, folder: Path) -> AsyncIterator[Ingest]:
    """Ingest on a free port, until the block ends."""
    file = folder / "addresses.json"
    own = msgspec.structs.replace(settings, ingest_bind="127.0.0.1:0", address_file=str(file))
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(own, stop))
    try:
        base = (await written(file, serving))["ingest"]
        async with aiohttp.ClientSession() as session:
            yield Ingest(session, base)
    finally:
        stop.set()
        await serving


async def written(file: Path, serving: "asyncio.Task[None]") -> dict[str, str]:
    while not file.exists():
        if serving.done():
            serving.result()
        await asyncio.sleep(0.02)
    addresses: dict[str, str] = json.loads(file.read_text())
    return addresses


@pytest.fixture(scope="module")
def laid_out(kafka_properties: dict[str, str]) -> Settings:
    create_topics(AdminClient(dict(kafka_properties)), partitions=3, replication=1)
    return Settings(kafka=kafka_properties, catalogue=SHOP)


@pytest.fixture
async def ingest(laid_out: Settings, tmp_path: Path) -> AsyncIterator[Ingest]:
    async with running(laid_out, tmp_path) as started:
        yield started


def read(settings: Settings, lane: Lane, key: str, count: int) -> list[tuple[int, Requested]]:
    """The partition and event of the first ``count`` records under a key."""
    topic = requested(lane)
    consumer = Consumer({**settings.kafka, "group.id": "unused", "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    codec, found = Codec(), list[tuple[int, Requested]]()
    until = time.monotonic() + 20
    while len(found) < count and time.monotonic() < until:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None and message.key() == key.encode():
            value, partition = message.value(), message.partition()
            assert isinstance(value, bytes)
            assert partition is not None
            assert partition == partition_of(key.encode(), len(partitions))
            found.append((partition, codec.decode_requested(value)))
    consumer.close()
    assert len(found) == count
    return found


async def test_a_request_stands_in_its_lane_under_its_key_before_it_is_answered(
    ingest: Ingest, laid_out: Settings, unique: Unique
) -> None:
    user = unique("user")
    answer = await ingest.one(reset(user, locale="de-AT"))
    assert (answer.status, answer.json["key"]) == (202, f"default:{user}:password_reset")
    ((_, event),) = read(laid_out, Lane.CRITICAL, str(answer.json["key"]), 1)
    assert isinstance(event, NotificationRequested)
    assert (str(event.id), event.locale, event.data) == (answer.json["id"], "de-AT", DATA)


async def test_a_repeat_under_one_idempotency_key_is_the_same_notification(
    ingest: Ingest, laid_out: Settings, unique: Unique
) -> None:
    user, key = unique("user"), unique("key")
    first, second = [await ingest.one(reset(user), Idempotency_Key=key) for _ in range(2)]
    assert first.json == second.json
    assert first.json["id"] == str(id_from_idempotency_key("default", key))
    events = read(laid_out, Lane.CRITICAL, str(first.json["key"]), 2)
    assert len({event.id for _, event in events}) == 1


async def test_a_batch_keeps_the_order_of_a_key(
    ingest: Ingest, laid_out: Settings, unique: Unique
) -> None:
    user = unique("user")
    items = [reset(user, data=DATA | {"name": f"Ann {n}"}) for n in range(1000)]
    answer = await ingest.post("/v1/notifications/batch", {"notifications": items})
    assert answer.status == 202
    events = read(laid_out, Lane.CRITICAL, f"default:{user}:password_reset", 1000)
    names = [e.data["name"] for _, e in events if isinstance(e, NotificationRequested)]
    assert names == [f"Ann {n}" for n in range(1000)]


async def test_of_a_mixed_batch_the_good_are_taken_and_the_bad_are_told_why(
    ingest: Ingest, laid_out: Settings, unique: Unique
) -> None:
    good, bad = unique("user"), unique("user")
    items = [reset(good), reset(bad, to={"email": "a@b,c@d"}), {"user": bad}, reset(good)]
    answer = await ingest.post("/v1/notifications/batch", {"notifications": items})
    results = answer.json["results"]
    assert isinstance(results, list)
    assert answer.status == 207
    assert [result["status"] for result in results] == [202, 422, 422, 202]
    assert results[1]["errors"][0]["pointer"] == "#/notifications/1/to/email"
    events = read(laid_out, Lane.CRITICAL, results[0]["key"], 2)
    assert {str(event.id) for _, event in events} == {results[0]["id"], results[3]["id"]}


async def test_cancelling_follows_the_request_on_its_partition(
    ingest: Ingest, laid_out: Settings, unique: Unique
) -> None:
    user = unique("user")
    asked = await ingest.one(reset(user))
    named = {"user": user, "type": "password_reset", "id": asked.json["id"]}
    answer = await ingest.post("/v1/cancellations", named)
    assert (answer.status, answer.json["key"]) == (202, asked.json["key"])
    (first, request), (second, cancel) = read(laid_out, Lane.CRITICAL, str(answer.json["key"]), 2)
    assert first == second
    assert isinstance(request, NotificationRequested)
    assert isinstance(cancel, NotificationCancelled)
    assert cancel.id == request.id


HOSTILE: list[tuple[str, bytes, dict[str, str], int]] = [
    ("no JSON", b"user=u1", {}, 400),
    ("nothing", b"", {}, 400),
    ("NaN", b'{"user": NaN}', {}, 400),
    ("one name twice", b'{"user":"a","user":"b"}', {}, 400),
    ("no UTF-8", b'{"user":"\xff\xfe"}', {}, 400),
    ("very deep", b'{"data":' * 1000 + b"1" + b"}" * 1000, {}, 400),
    ("a form", b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ("plain text, as a web page may send", b"{}", {"Content-Type": "text/plain"}, 415),
    ("another charset", b"{}", {"Content-Type": "application/json; charset=utf-16"}, 415),
    ("a bomb", gzip.compress(b" " * 10_000_000), {"Content-Encoding": "gzip"}, 415),
    ("a megabyte and more", b" " * (MAX_SINGLE_BYTES + 1), {}, 413),
]


@pytest.mark.parametrize(
    ("raw", "headers", "status"),
    [(raw, headers, status) for _, raw, headers, status in HOSTILE],
    ids=[name for name, *_ in HOSTILE],
)
async def test_what_cannot_be_read_is_told_why(
    ingest: Ingest, raw: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await ingest.one(raw, **headers)
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert set(answer.json) <= {"title", "status", "detail", "errors"}
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"to": {"email": "a@b,c@d"}}, "#/to/email"),
        ({"to": {"email": "a@example.test\r\nBcc: b@example.test"}}, "#/to/email"),
        ({"to": {"phone": "+881612345678"}}, "#/to/phone"),
        ({"to": {}}, "#/to"),
        ({"user": "a\u202eb"}, "#/user"),
        ({"usr": "u"}, "#/usr"),
        ({"type": "nonsense"}, "#/type"),
        ({"data": {"name": "Ann"}}, "#/data/reset_url"),
        ({"data": DATA | {"reset_url": "javascript:alert(1)"}}, "#/data/reset_url"),
    ],
)
async def test_what_cannot_be_sent_is_pointed_at(
    ingest: Ingest, change: dict[str, object], pointer: str
) -> None:
    answer = await ingest.one(reset("u1") | change)
    assert (answer.status, answer.pointers) == (422, [pointer])


async def test_a_body_without_a_length_is_cut_off_at_the_limit(ingest: Ingest) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 65_536

    headers = {"Content-Type": "application/json"}
    sent = ingest.session.post(f"{ingest.base}/v1/notifications", data=endless(), headers=headers)
    async with sent as reply:
        assert reply.status == 413


async def test_another_path_or_method_is_a_problem_too(ingest: Ingest) -> None:
    nowhere, method = await ingest.post("/v2/x", {}), await ingest.get("/v1/notifications")
    assert (nowhere.status, method.status, method.headers["Allow"]) == (404, 405, "POST")
    assert nowhere.json["title"] == "There is nothing here"


async def test_two_idempotency_keys_are_one_too_many(ingest: Ingest) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    sent = ingest.session.post(f"{ingest.base}/v1/notifications", json={}, headers=headers)
    async with sent as reply:
        assert reply.status == 400


async def test_a_key_speaks_for_its_own_tenant_only(
    laid_out: Settings, tmp_path: Path, unique: Unique
) -> None:
    keyed = msgspec.structs.replace(laid_out, api_keys={"secret-a": "acme", "secret-b": "bolt"})
    user = unique("user")
    async with running(keyed, tmp_path) as ingest:
        assert (await ingest.one(reset(user))).status == 401
        unknown = await ingest.one(reset(user), Authorization="Bearer secret-c")
        assert (unknown.status, unknown.headers["WWW-Authenticate"]) == (401, "Bearer")
        own = await ingest.one(reset(user), Authorization="Bearer secret-a")
        assert (own.status, own.json["key"]) == (202, f"acme:{user}:password_reset")
        other = await ingest.one(reset(user, tenant="bolt"), Authorization="Bearer secret-a")
        assert (other.status, other.pointers) == (403, ["#/tenant"])
        cancel = {"user": user, "type": "password_reset", "tenant": "bolt"}
        refused = await ingest.post("/v1/cancellations", cancel, Authorization="Bearer secret-a")
        assert refused.status == 403
        assert (await ingest.get("/readyz")).status == 200


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", "ingest.example.test:0"])
async def test_without_keys_only_this_machine_is_served(laid_out: Settings, bind: str) -> None:
    with pytest.raises(Misconfigured, match="LASTWORD_API_KEYS"):
        await serve(msgspec.structs.replace(laid_out, ingest_bind=bind), asyncio.Event())


async def test_the_description_is_valid_and_its_page_needs_nobody_else(ingest: Ingest) -> None:
    validate((await ingest.get("/openapi.json")).json)
    page = await ingest.get("/docs")
    assert "://" not in page.text
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert f"docs/{asset}" in page.text
        assert (await ingest.get(f"/docs/{asset}")).status == 200


async def test_what_was_answered_is_counted_by_type(ingest: Ingest, unique: Unique) -> None:
    await ingest.one(reset(unique("user")))
    await ingest.one({"user": "u1"})
    metrics = (await ingest.get("/metrics")).text
    assert 'lastword_requests_total{answer="202",type="password_reset"}' in metrics
    assert 'lastword_requests_total{answer="422",type=""}' in metrics
    assert (await ingest.get("/healthz")).status == 200


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(tmp_path_factory.mktemp("own kafka")) as kafka:
        yield kafka


async def test_a_wrong_layout_keeps_it_from_starting(own_kafka: EmbeddedKafka) -> None:
    settings = Settings(kafka=own_kafka.client_properties, catalogue=SHOP)
    with pytest.raises(Misconfigured, match="lastword topics --create"):
        await serve(settings, asyncio.Event())


async def test_with_kafka_away_the_answer_is_not_known_and_a_repeat_mends_it(
    own_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    settings = Settings(kafka=own_kafka.client_properties, catalogue=SHOP)
    create_topics(AdminClient(dict(settings.kafka)), partitions=3, replication=1)
    async with running(settings, tmp_path) as ingest:
        assert (await ingest.one(reset("u1"), Idempotency_Key="k")).status == 202
        await asyncio.to_thread(own_kafka.kill)
        started = time.monotonic()
        away = await ingest.one(reset("u1"), Idempotency_Key="k")
        assert (away.status, away.headers["Retry-After"]) == (503, "5")
        assert "not known: retry with the same key" in str(away.json["detail"])
        assert time.monotonic() - started < 10
        assert (await ingest.get("/readyz")).status == 503
        assert (await ingest.get("/healthz")).status == 200
        await asyncio.to_thread(own_kafka.restart)
        for _ in range(20):
            again = await ingest.one(reset("u1"), Idempotency_Key="k")
            if again.status == 202:
                break
        assert again.json["id"] == str(id_from_idempotency_key("default", "k"))


async def test_told_to_stop_it_answers_what_is_under_way_and_logs_no_address(
    laid_out: Settings, tmp_path: Path, unique: Unique
) -> None:
    file = tmp_path / "addresses.json"
    settings = msgspec.structs.replace(
        laid_out, ingest_bind="127.0.0.1:0", address_file=str(file), log_level="debug"
    )
    environment = {**os.environ, **to_environment(settings), "PYTHONPATH": f"{ROOT}:{ROOT}/client"}
    command = [sys.executable, "-m", "services.ingest"]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE) as process:
        while not file.exists():
            assert process.poll() is None
            await asyncio.sleep(0.02)
        host, _, port = (
            json.loads(file.read_text())["ingest"].removeprefix("http://").rpartition(":")
        )
        reply = await _stopped_in_mid_request(process, host, int(port), reset(unique("user")))
        _, log = await asyncio.to_thread(process.communicate, timeout=30)
    assert reply.startswith(b"HTTP/1.1 202 ")
    assert UUID(json.loads(reply.rpartition(b"\r\n\r\n")[2])["id"])
    assert process.returncode == 0
    assert b"listening" in log
    assert ADDRESS.encode() not in log


async def test_what_is_not_even_http_is_logged_without_its_bytes(
    laid_out: Settings, tmp_path: Path
) -> None:
    line = b"POST /v1/notifications HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with capture_logs() as logged:
        async with running(laid_out, tmp_path) as ingest:
            host, _, port = ingest.base.removeprefix("http://").rpartition(":")
            for raw in (
                f"GET {ADDRESS}\r\n\r\n".encode(),
                line + f"Content-Length: {ADDRESS}\r\n\r\n".encode(),
                line + f"Transfer-Encoding: chunked\r\n\r\n{ADDRESS}\r\n".encode(),
                line + b"Content-Length: 100\r\n\r\n" + ADDRESS.encode(),
            ):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(raw)
                writer.write_eof()
                assert b"Traceback" not in await asyncio.wait_for(reader.read(), 20)
                writer.close()
                await writer.wait_closed()
    assert {"InvalidURLError", "BadHttpMessage"} <= {entry.get("cause") for entry in logged}
    assert ADDRESS not in str(logged)


async def _stopped_in_mid_request(
    process: "subprocess.Popen[bytes]", host: str, port: int, document: object
) -> bytes:
    """The reply to a request whose second half came after the signal."""
    raw = json.dumps(document).encode()
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        b"POST /v1/notifications HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw[:20]
    )
    await writer.drain()
    await asyncio.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.3)
    writer.write(raw[20:])
    reply = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await writer.wait_closed()
    return reply
