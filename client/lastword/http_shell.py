"""Posts over HTTP with httpx: what happens on the wire becomes an ``Answer``, and no more."""

import asyncio
import ssl
import time
from contextlib import aclosing, closing

import httpx
from msgspec import Struct

from lastword.errors import Misconfigured
from lastword.http_replies import Answer, NoReply, Reply
from lastword.http_tries import Post

__all__ = ["AsyncHttp", "Http", "Target"]

#: a batch's answer is far below it; what is longer is not Lastword's
_MAX_REPLY_BYTES = 8 * 1024 * 1024
#: these come before a single byte of the request has left
_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
#: a connection that is given to a task in the moment in which it is cancelled is lost to httpx's
#: pool, so tasks wait for their turn before it
_CONNECTIONS = 100
_ENDLESS = NoReply("the answer did not end", doubtful=True)


class Target(Struct, frozen=True, kw_only=True):
    """Where to post, and as whom."""

    url: str
    api_key: str | None = None
    #: for a certificate authority of one's own, or a client certificate
    tls: ssl.SSLContext | None = None

    def base_url(self) -> httpx.URL:
        """The address, checked; raises ``Misconfigured``."""
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise Misconfigured(f"the address of Lastword: {error}") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise Misconfigured("the address of Lastword is like http://127.0.0.1:8080")
        return url

    def headers(self) -> dict[str, str]:
        """What each request carries."""
        # an answer that is not packed cannot unpack to more than was allowed
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self.api_key is not None:
            if not (self.api_key.isascii() and self.api_key.isprintable()):
                raise Misconfigured("api_key: a key is printable ASCII, without a line's end")
            headers["Authorization"] = f"Bearer {self.api_key}"
        return headers

    def __repr__(self) -> str:
        return f"Target(url={self.url!r})"  # the key is nobody's business


class Http:
    """One pool of connections, for any number of threads.

    A time-out ends the wait for the next bytes of an answer, so an answer that comes in drops
    ends when the drop after the time-out arrives.
    """

    def __init__(self, target: Target) -> None:
        self._client = httpx.Client(
            base_url=target.base_url(), headers=target.headers(), verify=target.tls or True
        )
        self.close = self._client.close

    def perform(self, step: Post) -> Answer:
        time.sleep(step.wait)
        try:
            return self._post(step, time.monotonic() + step.timeout)
        except httpx.RequestError as error:
            return _no_reply(error)

    def _post(self, step: Post, ends: float) -> Answer:
        response = self._client.send(_request(self._client, step), stream=True)
        with closing(response):
            body = bytearray()
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > _MAX_REPLY_BYTES or time.monotonic() > ends:
                    return _ENDLESS
            return _reply(response, body)


class AsyncHttp:
    """One pool of connections, for any number of tasks of one event loop."""

    def __init__(self, target: Target) -> None:
        self._client = httpx.AsyncClient(
            base_url=target.base_url(),
            headers=target.headers(),
            verify=target.tls or True,
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=20),
        )
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self.close = self._client.aclose

    async def perform(self, step: Post) -> Answer:
        await asyncio.sleep(step.wait)
        begun = False
        try:
            async with asyncio.timeout(step.timeout), self._turns:
                begun = True
                return await self._post(step)
        except TimeoutError:
            return NoReply("no answer in time", doubtful=begun)
        except httpx.RequestError as error:
            return _no_reply(error)

    async def _post(self, step: Post) -> Answer:
        response = await self._client.send(_request(self._client, step), stream=True)
        async with aclosing(response):
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MAX_REPLY_BYTES:
                    return _ENDLESS
            return _reply(response, body)


def _request(client: httpx.Client | httpx.AsyncClient, step: Post) -> httpx.Request:
    return client.build_request(
        step.method,
        step.path,
        content=step.body,
        headers={"Idempotency-Key": step.idempotency_key},
        timeout=step.timeout,
    )


def _reply(response: httpx.Response, body: bytes | bytearray) -> Reply:
    return Reply(
        status=response.status_code,
        body=bytes(body),
        retry_after=response.headers.get("Retry-After"),
        date=response.headers.get("Date"),
    )


def _no_reply(error: httpx.RequestError) -> NoReply:
    reason = str(error) or type(error).__name__
    return NoReply(reason, doubtful=not isinstance(error, _NEVER_LEFT))
