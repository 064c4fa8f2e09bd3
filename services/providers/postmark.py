"""Postmark (postmarkapp.com/developer): email, single and in batches of up to 500.

No idempotency key and no signature: a repeat is a second mail, and a webhook is known by a secret
that only Postmark and we have. Each mail is tagged with its attempt, so the look-up is exact.
"""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hmac import compare_digest
from urllib.parse import urlencode

import msgspec
from msgspec import field

from services.core.errors import PoisonEvent
from services.core.events import Channel, ReceiptKind
from services.core.outcomes import Outcome, OutcomeKind
from services.core.ports import (
    Access,
    Callback,
    Capabilities,
    ForgedCallback,
    IdempotentSend,
    Lookup,
    Message,
    Reconcile,
    Report,
    Request,
    Response,
)
from services.providers.accounts import secret, setting
from services.providers.correlation import correlation, is_of, read_correlation, reference
from services.providers.replies import (
    is_success,
    outcome_of_status,
    read_json,
    unknown,
    without_addresses,
)
from services.providers.times import from_iso

__all__ = ["Postmark"]

#: ``ErrorCode`` of a body; the numbers look like HTTP's and are not. One that is missing here
#: refuses the content.
_CODES: Mapping[int, OutcomeKind] = {
    10: OutcomeKind.REFUSED_ACCOUNT,  # the server token
    100: OutcomeKind.UNAVAILABLE,  # maintenance
    400: OutcomeKind.REFUSED_ACCOUNT,  # no such sender signature
    401: OutcomeKind.REFUSED_ACCOUNT,  # sender signature not confirmed
    402: OutcomeKind.REFUSED_CONTENT,
    403: OutcomeKind.REFUSED_CONTENT,
    405: OutcomeKind.REFUSED_ACCOUNT,  # out of credit
    406: OutcomeKind.REFUSED_RECIPIENT,  # bounced, complained or suppressed before
    411: OutcomeKind.REFUSED_CONTENT,
    412: OutcomeKind.REFUSED_ACCOUNT,  # account pending
    413: OutcomeKind.REFUSED_ACCOUNT,  # account not approved
    429: OutcomeKind.THROTTLED,
    500: OutcomeKind.UNKNOWN,  # "usually lost" is not a proof
    # unverified: the two of a message stream that does not exist or takes no mail
    1235: OutcomeKind.REFUSED_ACCOUNT,
    1236: OutcomeKind.REFUSED_ACCOUNT,
}
#: the code of a bad address, of any field: which one, only the sentence says
_INVALID = 300
_NAMES_RECIPIENT = re.compile(r"\b(?:To|Cc|Bcc)\b")
_NAMES_SENDER = re.compile(r"\bFrom\b")

#: None: for information only
_BOUNCES: Mapping[str, ReceiptKind | None] = {
    "HardBounce": ReceiptKind.BOUNCED_HARD,
    "VirusNotification": ReceiptKind.BOUNCED_HARD,
    "SoftBounce": ReceiptKind.BOUNCED_SOFT,
    "Transient": ReceiptKind.DEFERRED,
    "DnsError": ReceiptKind.DEFERRED,
    "BadEmailAddress": ReceiptKind.FAILED,
    "Blocked": ReceiptKind.FAILED,
    "DMARCPolicy": ReceiptKind.FAILED,
    "ManuallyDeactivated": ReceiptKind.FAILED,
    "Unconfirmed": ReceiptKind.FAILED,
    "SMTPApiError": ReceiptKind.FAILED,
    "TemplateRenderingFailed": ReceiptKind.FAILED,
    "SpamComplaint": ReceiptKind.COMPLAINED,
    "SpamNotification": ReceiptKind.COMPLAINED,
    "Unsubscribe": ReceiptKind.UNSUBSCRIBED,
    "AutoResponder": None,
    "AddressChange": None,
    "ChallengeVerification": None,
    "Subscribe": None,
}
_RECORDS: Mapping[str, ReceiptKind] = {
    "Delivery": ReceiptKind.DELIVERED,
    "SpamComplaint": ReceiptKind.COMPLAINED,
    "Open": ReceiptKind.OPENED,
    "Click": ReceiptKind.CLICKED,
}
#: why sending was suppressed; a bounce or a complaint is reported by an event of its own as well
_SUPPRESSIONS: Mapping[str, ReceiptKind] = {
    "HardBounce": ReceiptKind.BOUNCED_HARD,
    "SpamComplaint": ReceiptKind.COMPLAINED,
    "ManualSuppression": ReceiptKind.UNSUBSCRIBED,
}

_DEFAULT_STREAM = "outbound"
#: ours to choose: the user of basic authentication is not checked, the header's name is a setting
_DEFAULT_SECRET_HEADER = "x-webhook-secret"
#: more than one attempt can have; only a broken search gives a fuller page
_LOOKUP_PAGE = 50


class _Reply(msgspec.Struct, frozen=True):
    error_code: int | None = field(name="ErrorCode", default=None)
    message: str = field(name="Message", default="")
    message_id: str | None = field(name="MessageID", default=None)


class _Found(msgspec.Struct, frozen=True):
    message_id: str = field(name="MessageID")
    tag: str | None = field(name="Tag", default=None)
    metadata: dict[str, object] | None = field(name="Metadata", default=None)


class _Search(msgspec.Struct, frozen=True):
    total: int = field(name="TotalCount")
    messages: list[_Found] = field(name="Messages")


class _Event(msgspec.Struct, frozen=True):
    record: str = field(name="RecordType")
    message_id: str | None = field(name="MessageID", default=None)
    id: int | None = field(name="ID", default=None)
    type: str = field(name="Type", default="")
    email: str = field(name="Email", default="")
    recipient: str = field(name="Recipient", default="")
    delivered_at: str | None = field(name="DeliveredAt", default=None)
    bounced_at: str | None = field(name="BouncedAt", default=None)
    received_at: str | None = field(name="ReceivedAt", default=None)
    changed_at: str | None = field(name="ChangedAt", default=None)
    details: str | None = field(name="Details", default=None)
    suppress: bool | None = field(name="SuppressSending", default=None)
    suppression_reason: str | None = field(name="SuppressionReason", default=None)
    metadata: dict[str, object] | None = field(name="Metadata", default=None)


class Postmark:
    """Postmark, by its HTTP API."""

    name = "postmark"
    default_base_url = "https://api.postmarkapp.com"
    capabilities = Capabilities(
        channels=(Channel.EMAIL,),
        idempotent_send=IdempotentSend.NONE,
        reconcile=Reconcile.SEARCH,
        correlation="Metadata",
        batch_max=500,
        secrets=("server_token", "webhook_secret"),
        settings=("from",),
        optional_settings=("stream", "webhook_header"),
    )

    def build_request(
        self, access: Access, messages: Sequence[Message], *, time_left: timedelta
    ) -> Request:
        """Postmark takes no deadline, so ``time_left`` is ours alone to keep."""
        mails = [_mail(access, message) for message in messages]
        path = "/email" if len(mails) == 1 else "/email/batch"
        return Request(
            method="POST",
            url=access.base_url + path,
            headers={**_headers(access), "Content-Type": "application/json"},
            body=msgspec.json.encode(mails[0] if len(mails) == 1 else mails),
        )

    def read_response(self, messages: Sequence[Message], response: Response) -> Sequence[Outcome]:
        if not is_success(response.status):
            return [_refused_whole(response)] * len(messages)
        replies = _replies(response.body, single=len(messages) == 1)
        if len(replies) != len(messages):
            return [unknown(str(response.status), "the reply cannot be read")] * len(messages)
        return [_item(m, r) for m, r in zip(messages, replies, strict=True)]

    def build_lookup(self, access: Access, message: Message, *, since: datetime) -> Request | None:
        """By the tag, which is this attempt's own, so no date in the vendor's zone is needed."""
        query = urlencode(
            {
                "count": _LOOKUP_PAGE,
                "offset": 0,
                "tag": reference(message),
                "messagestream": _stream(access),
            }
        )
        url = f"{access.base_url}/messages/outbound?{query}"
        return Request(method="GET", url=url, headers=_headers(access))

    def read_lookup(
        self, message: Message, response: Response, *, since: datetime
    ) -> tuple[Lookup, str | None]:
        search = read_json(response.body, _Search) if is_success(response.status) else None
        if search is None:
            return Lookup.NO_ANSWER, None
        for found in search.messages:
            if is_of(message, found.metadata or {}) or found.tag == reference(message):
                return Lookup.FOUND, found.message_id
        whole = search.total <= len(search.messages)
        return (Lookup.NOT_FOUND if whole else Lookup.NO_ANSWER), None

    def read_callback(
        self, access: Access, callback: Callback, *, now: datetime
    ) -> Sequence[Report]:
        _verify(access, callback)
        event = read_json(callback.body, _Event)
        if event is None:
            raise PoisonEvent("postmark_webhook", "genuine, but not an event that can be read")
        kind = _kind(event)
        if kind is None:
            return ()
        notification, attempt = read_correlation(event.metadata or {})
        at = event.delivered_at or event.bounced_at or event.received_at or event.changed_at
        return (
            Report(
                kind=kind,
                dedupe=_dedupe(event, at),
                notification_id=notification,
                attempt=attempt,
                occurred_at=from_iso(at),
                provider_ref=event.message_id,
                code=event.type,
                detail=without_addresses(event.details or ""),
            ),
        )


def _headers(access: Access) -> dict[str, str]:
    return {
        "Accept": "application/json",
        "X-Postmark-Server-Token": secret(access, "server_token"),
    }


def _stream(access: Access) -> str:
    return access.account.settings.get("stream", _DEFAULT_STREAM)


def _mail(access: Access, message: Message) -> dict[str, object]:
    mail: dict[str, object] = {
        "From": setting(access, "from"),
        "To": message.address,
        "Subject": message.content.subject or "",
        "TextBody": message.content.text,
        "Tag": reference(message),
        "Metadata": correlation(message),
        "MessageStream": _stream(access),
    }
    if message.content.html is not None:
        mail["HtmlBody"] = message.content.html
    return mail


def _replies(body: bytes, *, single: bool) -> Sequence[_Reply]:
    """None at all where it cannot be read."""
    if not single:
        return read_json(body, list[_Reply]) or ()
    reply = read_json(body, _Reply)
    return () if reply is None else (reply,)


def _item(message: Message, reply: _Reply) -> Outcome:
    """One result inside a 200, whose code may yet say no."""
    if reply.error_code:
        return Outcome(
            kind=_kind_of_code(reply) or OutcomeKind.REFUSED_CONTENT,
            code=str(reply.error_code),
            detail=without_addresses(reply.message),
        )
    if not reply.message_id:
        return unknown("200", "the reply has neither an error code nor a message id")
    if "inactive" in reply.message.lower() and message.address.lower() in reply.message.lower():
        return Outcome(
            kind=OutcomeKind.REFUSED_RECIPIENT,
            code="406",
            detail="accepted, but the address is on the list of inactive ones",
            provider_ref=reply.message_id,
        )
    return Outcome(kind=OutcomeKind.ACCEPTED, provider_ref=reply.message_id)


def _refused_whole(response: Response) -> Outcome:
    reply = read_json(response.body, _Reply)
    if reply is None or reply.error_code is None:
        return outcome_of_status(response, own_body=False)
    detail = without_addresses(reply.message)
    by_status = outcome_of_status(response, own_body=True, detail=detail)
    by_code = _kind_of_code(reply) if 400 <= response.status < 500 else None
    return msgspec.structs.replace(
        by_status, kind=by_code or by_status.kind, code=str(reply.error_code)
    )


def _kind_of_code(reply: _Reply) -> OutcomeKind | None:
    if reply.error_code == _INVALID and _NAMES_RECIPIENT.search(reply.message):
        return OutcomeKind.REFUSED_RECIPIENT
    if reply.error_code == _INVALID and _NAMES_SENDER.search(reply.message):
        return OutcomeKind.REFUSED_ACCOUNT  # the sender is a setting of the account
    return _CODES.get(reply.error_code or 0)


def _verify(access: Access, callback: Callback) -> None:
    """The secret comes as the password of basic authentication, or in a header of its own."""
    header = access.account.settings.get("webhook_header", _DEFAULT_SECRET_HEADER).lower()
    given = callback.headers.get(header)
    if given is None:
        given = _password(callback.headers.get("authorization", ""))
    wanted = secret(access, "webhook_secret")
    if not compare_digest(given.encode(errors="replace"), wanted.encode()):
        raise ForgedCallback("postmark: the webhook does not carry the account's secret")


def _password(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(token.strip()).decode().partition(":")[2]
    except ValueError:
        return ""


def _kind(event: _Event) -> ReceiptKind | None:
    if event.record == "Bounce" and event.type in _BOUNCES:
        return _BOUNCES[event.type]
    if event.record == "SubscriptionChange" and event.suppress is not None:
        return _SUPPRESSIONS.get(event.suppression_reason or "") if event.suppress else None
    if event.record in _RECORDS:
        return _RECORDS[event.record]
    raise PoisonEvent("postmark_webhook", f"unknown: {event.record[:40]} {event.type[:40]}".strip())


def _dedupe(event: _Event, at: str | None) -> str:
    """Postmark gives an id to bounces and complaints only."""
    if event.id is not None:
        return f"{event.record}:{event.id}"
    who = event.recipient or event.email
    return ":".join((event.record, event.message_id or "", who.lower(), at or ""))
