"""The handlers of ingest's HTTP: read, decide, append, answer.

An answer of 202 is given only after Kafka has acknowledged every record of it. Where that cannot be
known the answer is 503, and whoever repeats the call under the same key does no harm.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from uuid import uuid4

import msgspec
from aiohttp import web

from services.core.errors import Retryable
from services.ingest.access import Keys
from services.ingest.bodies import MAX_BATCH_BYTES, MAX_SINGLE_BYTES, read_body
from services.ingest.decide import Call, Decider, Entry
from services.ingest.problems import MEDIA_TYPE, Problem, problem
from services.runtime.clock import utc_now
from services.runtime.codec import Codec
from services.runtime.logs import get_logger
from services.runtime.metrics import REQUESTS
from services.runtime.producer import LogProducer, OutRecord

__all__ = ["Api", "as_problems"]

#: of values not acknowledged yet; more than this would only wait, and is told so at once. Each
#: counts as a KiB at least, so that the client's own queue of 100,000 records is never full
_MOST_BYTES_UNDER_WAY = 64 * 1024 * 1024
_LEAST_BYTES = 1024
_RETRY_AFTER_S = 5
_JSON = "application/json"


class Api:
    """What the routes that write share."""

    def __init__(self, decider: Decider, producer: LogProducer, codec: Codec, keys: Keys) -> None:
        self._decider = decider
        self._producer = producer
        self._codec = codec
        self._keys = keys
        self._under_way = 0

    def use(self, decider: Decider) -> None:
        """Judge by this one from the next call on."""
        self._decider = decider

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/notifications", self.one),
            web.post("/v1/notifications/batch", self.batch),
            web.post("/v1/cancellations", self.cancel),
            web.put("/v1/recipients/{user}", self.put_profile),
            web.delete("/v1/recipients/{user}", self.remove_profile),
            web.put("/v1/lists/{list}/members/{user}", self.put_member),
            web.delete("/v1/lists/{list}/members/{user}", self.remove_member),
            web.post("/v1/lists/{list}/members", self.put_members),
        ]

    async def one(self, request: web.Request) -> web.Response:
        return await self._single(request, self._decider.request)

    async def cancel(self, request: web.Request) -> web.Response:
        return await self._single(request, self._decider.cancellation)

    async def put_profile(self, request: web.Request) -> web.Response:
        user, tenant = _whose(request)
        return await self._single(
            request, lambda body, call: self._decider.profile(body, call, user, tenant)
        )

    async def remove_profile(self, request: web.Request) -> web.Response:
        user, tenant = _whose(request)
        called = self._call(request)
        if isinstance(called, Problem):
            return _refused(called)
        return await self._answered(self._decider.no_profile(called, user, tenant))

    async def put_member(self, request: web.Request) -> web.Response:
        (user, tenant), list = _whose(request), request.match_info["list"]
        return await self._single(
            request, lambda body, call: self._decider.member(body, call, list, user, tenant)
        )

    async def remove_member(self, request: web.Request) -> web.Response:
        (user, tenant), list = _whose(request), request.match_info["list"]
        called = self._call(request)
        if isinstance(called, Problem):
            return _refused(called)
        return await self._answered(self._decider.no_member(called, list, user, tenant))

    async def put_members(self, request: web.Request) -> web.Response:
        list, tenant = request.match_info["list"], request.query.get("tenant")
        return await self._several(
            request, lambda body, call: self._decider.members(body, call, list, tenant)
        )

    async def batch(self, request: web.Request) -> web.Response:
        return await self._several(request, self._decider.batch)

    async def _several(
        self,
        request: web.Request,
        decide: Callable[[bytes, Call], Sequence[Entry | Problem] | Problem],
    ) -> web.Response:
        read = await self._read(request, MAX_BATCH_BYTES)
        if isinstance(read, Problem):
            return _refused(read)
        # a thousand of them take a tenth of a second, in which others should be heard
        results = await asyncio.to_thread(decide, *read)
        if isinstance(results, Problem):
            return _refused(results)
        entries = [result for result in results if isinstance(result, Entry)]
        if failure := await self._append(entries):
            return _refused(failure, len(results))
        _count(results)
        whole = len(entries) == len(results)
        body = {"results": [_result(result) for result in results]}
        return _json(HTTPStatus.ACCEPTED if whole else HTTPStatus.MULTI_STATUS, body)

    async def _single(
        self, request: web.Request, decide: Callable[[bytes, Call], Entry | Problem]
    ) -> web.Response:
        read = await self._read(request, MAX_SINGLE_BYTES)
        return await self._answered(read if isinstance(read, Problem) else decide(*read))

    async def _answered(self, result: Entry | Problem) -> web.Response:
        if isinstance(result, Problem):
            return _refused(result)
        if failure := await self._append([result]):
            return _refused(failure)
        _count([result])
        return _json(HTTPStatus.ACCEPTED, _taken(result))

    async def _read(self, request: web.Request, most: int) -> tuple[bytes, Call] | Problem:
        call = self._call(request)
        if isinstance(call, Problem):
            return call
        body = await read_body(request, most)
        return body if isinstance(body, Problem) else (body, call)

    def _call(self, request: web.Request) -> Call | Problem:
        tenant = self._keys.tenant(request.headers.get("Authorization"))
        if isinstance(tenant, Problem):
            return tenant
        names = request.headers.getall("Idempotency-Key", [])
        if len(names) > 1:
            return problem(400, "Send one Idempotency-Key")
        key = names[0] if names else None
        return Call(tenant=tenant, seed=uuid4(), at=utc_now(), idempotency_key=key)

    async def _append(self, entries: Sequence[Entry]) -> Problem | None:
        """Append all in one go; None once all of it is acknowledged."""
        records = [self._record(entry) for entry in entries]
        size = sum(max(len(record.value or b""), _LEAST_BYTES) for record in records)
        if self._under_way and self._under_way + size > _MOST_BYTES_UNDER_WAY:
            return problem(503, "Too much is waiting for Kafka: retry with the same key")
        self._under_way += size
        try:
            await self._producer.publish_async(records)
        except Retryable as error:
            get_logger().warning("not_appended", records=len(records), cause=str(error))
            return problem(503, "Whether it was taken is not known: retry with the same key")
        finally:
            self._under_way -= size
        return None

    def _record(self, entry: Entry) -> OutRecord:
        event = entry.event
        value = None if event is None else self._codec.encode(event)
        return OutRecord(topic=entry.topic, key=entry.key.encode(), value=value)


def _whose(request: web.Request) -> tuple[str, str | None]:
    """The user, and the tenant where one is named."""
    return request.match_info["user"], request.query.get("tenant")


@web.middleware
async def as_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Whatever goes wrong is told as a problem, and never as a stack trace."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _answer(_of_http(error.status), allowed)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception as error:
        # where it happened, and not its message: that may quote what was sent
        frames = traceback.extract_tb(error.__traceback__)[-5:]
        at = [f"{frame.name}:{frame.lineno}" for frame in frames]
        get_logger().error("unexpected", cause=type(error).__name__, at=at)
        return _refused(problem(500, "It is in our log. Retry with the same key"))


def _of_http(status: int) -> Problem:
    match status:
        case 404:
            return problem(404, "See /docs for what there is")
        case 405:
            return problem(405, "See /docs for the method")
        case 413:
            return problem(413, "Send less")
        case _:
            return problem(400, HTTPStatus(status).phrase)


def _refused(refusal: Problem, requests: int = 1) -> web.Response:
    REQUESTS.labels("", str(refusal.status)).inc(requests)
    match refusal.status:
        case 503:
            headers = {"Retry-After": str(_RETRY_AFTER_S)}
        case 401:
            headers = {"WWW-Authenticate": "Bearer"}
        case _:
            headers = {}
    return _answer(refusal, headers)


def _answer(refusal: Problem, headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=refusal.status,
        body=msgspec.json.encode(refusal),
        content_type=MEDIA_TYPE,
        headers=dict(headers),
    )


def _count(results: Sequence[Entry | Problem]) -> None:
    for result in results:
        if isinstance(result, Problem):
            # it may name any type at all, and labels have to stay few
            REQUESTS.labels("", str(result.status)).inc()
        else:
            REQUESTS.labels(getattr(result.event, "type", ""), "202").inc()


def _taken(entry: Entry) -> dict[str, object]:
    answer: dict[str, object] = {"key": entry.key}
    return answer if entry.id is None else {"id": entry.id, **answer}


def _result(result: Entry | Problem) -> object:
    return result if isinstance(result, Problem) else {"status": 202, **_taken(result)}


def _json(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=_JSON)
