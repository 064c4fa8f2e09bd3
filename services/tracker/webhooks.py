"""The endpoint that providers call: verify over the raw bytes, append, and only then answer 200.

An answer other than 200 makes the vendor try again, and a second taking is the same event. So what
cannot be appended now is 503, and what will never be understood is dead-lettered with 200.

A secret that does not fit may be our own mistake, mended within the hour. So it is 401, which every
vendor takes for a failure to try again, and never what one of them takes for the end: 403 at
Postmark, 406 at Mailgun.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from uuid import uuid5

from aiohttp import web

from services.core.errors import PoisonEvent, Retryable
from services.core.events import ReceiptReceived
from services.core.identifiers import NAMESPACE, AccountName, EventId, NotificationId
from services.core.ports import Access, Callback, ForgedCallback, Provider, Report
from services.core.topics import RECEIPTS, dead_letters
from services.runtime.codec import Codec
from services.runtime.logs import get_logger
from services.runtime.metrics import DEAD_LETTERS, WEBHOOKS_REFUSED
from services.runtime.metrics import RECEIPTS as RECEIPTS_TAKEN
from services.runtime.producer import LogProducer, OutRecord
from services.tracker.problems import Problem

__all__ = ["REFUSALS", "Find", "Webhooks"]

#: which attempt an account's provider knows by an id of its own
Find = Callable[[AccountName, str], Awaitable[tuple[NotificationId, int] | None]]

#: of one call; what is dead-lettered has to fit into a record of Kafka's default size
_MOST_BYTES = 512 * 1024
_WITHIN_S = 10.0
_MAX_DETAIL = 1000
_MAX_WORD = 200


class Webhooks:
    """One route for all accounts; the account's provider knows the vendor's words."""

    def __init__(
        self,
        accesses: Mapping[AccountName, Access],
        providers: Mapping[str, Provider],
        *,
        public_url: str,
        codec: Codec,
        producer: LogProducer,
        find: Find,
        now: Callable[[], datetime],
    ) -> None:
        """``public_url``: what providers put before the path, for some sign it."""
        self._accesses = accesses
        self._providers = providers
        self._public_url = public_url.rstrip("/")
        self._codec = codec
        self._producer = producer
        self._find = find
        self._now = now

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/webhooks/{account}", self.take)]

    async def take(self, request: web.Request) -> web.Response:
        access = self._accesses.get(AccountName(request.match_info["account"]))
        if access is None:
            raise Problem(404, "The catalogue has no such account")
        try:
            await self._take(access, request)
        except Problem as problem:
            name = access.account.name
            WEBHOOKS_REFUSED.labels(name, REFUSALS[problem.status]).inc()
            get_logger().warning("webhook_refused", account=name, status=problem.status)
            raise
        return web.Response(text="taken\n")

    async def _take(self, access: Access, request: web.Request) -> None:
        body = await _read(request)
        now = self._now()
        reports = self._reports(access, self._callback(request, body), now)
        if isinstance(reports, PoisonEvent):
            await self._append([_letter(access, body, reports)])
            return
        receipts, strangers = await self._matched(access, reports, now)
        letters = [_letter(access, body, _unmatched(report)) for report in strangers]
        await self._append([*map(self._record, receipts), *letters])
        for receipt in receipts:
            RECEIPTS_TAKEN.labels(receipt.account, receipt.kind).inc()

    def _callback(self, request: web.Request, body: bytes) -> Callback:
        if not request.raw_path.startswith("/"):
            raise Problem(400, "Ask for a path")
        headers = {
            name.lower(): ", ".join(request.headers.getall(name)) for name in request.headers
        }
        return Callback(url=self._public_url + request.raw_path, headers=headers, body=body)

    def _reports(
        self, access: Access, callback: Callback, now: datetime
    ) -> Sequence[Report] | PoisonEvent:
        provider = self._providers[access.account.provider]
        try:
            return provider.read_callback(access, callback, now=now)
        except ForgedCallback as error:
            why = "Its signature or secret is not the account's, or too old"
            raise Problem(401, why, scheme="Basic") from error
        except PoisonEvent as poison:
            return poison

    async def _matched(
        self, access: Access, reports: Sequence[Report], now: datetime
    ) -> tuple[list[ReceiptReceived], list[Report]]:
        """The receipts, and the reports that no attempt of ours is known for."""
        receipts: list[ReceiptReceived] = []
        strangers: list[Report] = []
        for report in reports:
            attempt = await self._attempt_of(access.account.name, report)
            if attempt is None:
                strangers.append(report)
            else:
                receipts.append(_receipt(access.account.name, report, attempt, now))
        return receipts, strangers

    async def _attempt_of(
        self, account: AccountName, report: Report
    ) -> tuple[NotificationId, int] | None:
        if report.notification_id is not None and report.attempt is not None:
            return report.notification_id, report.attempt
        if not report.provider_ref:
            return None
        try:
            return await self._find(account, report.provider_ref)
        except Retryable as error:
            raise Problem(503, str(error)) from error

    def _record(self, receipt: ReceiptReceived) -> OutRecord:
        key = str(receipt.notification_id).encode()
        return OutRecord(topic=RECEIPTS, key=key, value=self._codec.encode(receipt))

    async def _append(self, records: Sequence[OutRecord]) -> None:
        try:
            await self._producer.publish_async(records)
        except Retryable as error:
            raise Problem(503, "Kafka does not answer: send it again") from error


#: every status that a webhook may be refused with, and the word that it is counted by
REFUSALS: Mapping[int, str] = {
    400: "malformed",
    401: "forged",
    408: "too_slow",
    413: "too_large",
    415: "compressed",
    503: "not_now",
}


async def _read(request: web.Request) -> bytes:
    """The body as it was signed: bounded in size and time, and nothing is decompressed."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "Send the body as it is, without Content-Encoding")
    if (request.content_length or 0) > _MOST_BYTES:
        raise _too_large()
    try:
        async with asyncio.timeout(_WITHIN_S):
            return await _read_up_to(request, _MOST_BYTES)
    except TimeoutError:
        raise Problem(408, f"Send the whole body within {_WITHIN_S:.0f} s") from None


async def _read_up_to(request: web.Request, most: int) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > most:
            raise _too_large()
    return bytes(body)


def _too_large() -> Problem:
    return Problem(413, f"Send {_MOST_BYTES // 1024} KiB at the most")


def _receipt(
    account: AccountName, report: Report, attempt: tuple[NotificationId, int], now: datetime
) -> ReceiptReceived:
    return ReceiptReceived(
        event_id=EventId(uuid5(NAMESPACE, f"receipt\0{account}\0{report.dedupe}")),
        notification_id=attempt[0],
        attempt=attempt[1],
        account=account,
        kind=report.kind,
        occurred_at=report.occurred_at or now,
        received_at=now,
        provider_ref=report.provider_ref and report.provider_ref[:_MAX_WORD],
        code=report.code[:_MAX_WORD],
        detail=report.detail[:_MAX_DETAIL],
    )


def _unmatched(report: Report) -> PoisonEvent:
    return PoisonEvent(
        "unmatched_receipt",
        f"{report.kind}: no attempt is known by its ids; the provider's is {report.provider_ref}",
    )


def _letter(access: Access, body: bytes, error: PoisonEvent) -> OutRecord:
    name = access.account.name
    DEAD_LETTERS.labels("tracker", error.cause).inc()
    get_logger().warning("webhook_dead_lettered", account=name, cause=error.cause)
    headers = {
        "lastword.cause": error.cause,
        "lastword.detail": error.detail[:_MAX_DETAIL],
        "lastword.account": name,
    }
    return OutRecord(
        topic=dead_letters(RECEIPTS),
        key=name.encode(),
        value=body,
        headers=tuple((key, text.encode()) for key, text in headers.items()),
    )
