"""Bad requests on a real broker: each is answered or buried, and the next good one goes on."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from services.core.catalogue import Lane
from services.core.topics import dead_letters, queued, requested
from services.ingest.bodies import MAX_BATCH_BYTES
from services.router.app import serve as serve_router
from services.runtime.settings import Settings
from tests.bad_input import BURIED, ROWS, SECRET, SOUND, USER
from tests.integration.test_ingest import Ingest, laid_out, running
from tests.integration.threads import running_in_thread
from tests.integration.tracking import Log

__all__ = ["laid_out"]

pytestmark = pytest.mark.usefixtures("fresh_log")
MEGABYTES = 50
KEY = f"default:{USER}:password_reset".encode()


@pytest.fixture
async def ingest(fresh_log: None, laid_out: Settings, tmp_path: Path) -> AsyncIterator[Ingest]:
    async with running(laid_out, tmp_path) as started:
        yield started


async def test_every_bad_request_is_a_problem_that_shows_no_address(ingest: Ingest) -> None:
    with capture_logs() as logged:
        for row in ROWS:
            answer = await ingest.one(row.body)
            assert answer.status == row.status, row.name
            assert answer.headers["Content-Type"].startswith("application/problem+json")
            assert answer.pointers == ([row.pointer] if row.pointer else []), row.name
            assert SECRET not in answer.text, row.name
            assert "Traceback" not in answer.text, row.name
        assert (await ingest.one(SOUND)).status == 202
    assert SECRET not in str(logged)


@pytest.mark.parametrize("path", ["/v1/notifications", "/v1/notifications/batch"])
async def test_fifty_megabytes_are_not_read_to_their_end(ingest: Ingest, path: str) -> None:
    """Neither where the length is told, nor where it is not."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(MEGABYTES):
            sent += 1
            yield b" " * 1024 * 1024

    headers = {"Content-Type": "application/json"}
    told = headers | {"Content-Length": str(MEGABYTES * 1024 * 1024)}
    for kind in (told, headers):
        sent = 0
        call = ingest.session.post(ingest.base + path, data=endless(), headers=kind)
        async with call as reply:
            assert reply.status == 413
        # what the sockets hold comes on top
        assert sent * 1024 * 1024 < 2 * MAX_BATCH_BYTES


@pytest.fixture
def log(fresh_log: None, laid_out: Settings, database: str, tmp_path: Path) -> Iterator[Log]:
    """With a router that reads it."""
    log = Log(laid_out.kafka)
    with running_in_thread(serve_router, replace(laid_out, postgres=database), tmp_path):
        yield log
    log.close()


async def test_no_bad_record_stops_its_partition_or_shows_an_address(log: Log) -> None:
    with capture_logs() as logged:
        for row in BURIED:
            lane = Lane.BULK if "campaign" in row.key else Lane.CRITICAL
            await log.append(requested(lane), row.body, row.key.encode())
        await log.append(requested(Lane.CRITICAL), SOUND, KEY)
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(log.records_of, queued(Lane.CRITICAL), KEY):
                await asyncio.sleep(0.1)
    under_key = [row for row in BURIED if row.key.encode() == KEY]
    letters = log.records_of(dead_letters(requested(Lane.CRITICAL)), KEY)
    causes = [dict(letter.headers() or ())["lastword.cause"] for letter in letters]
    assert causes == [str(row.cause).encode() for row in under_key]
    assert SECRET not in str(logged)
