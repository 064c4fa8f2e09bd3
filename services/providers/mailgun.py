"""Mailgun (documentation.mailgun.com): email.

No idempotency key. The signature of a webhook covers a timestamp and a token, not the event, so
its token is the dedupe key: whoever captured one cannot use it for a second event.
"""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from hmac import new as new_hmac
from urllib.parse import quote, urlencode

import msgspec
from msgspec import field

from services.core.catalogue_file import parse_duration_ms
from services.core.errors import Misconfigured, PoisonEvent
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
from services.providers.correlation import correlation, is_of, read_correlation
from services.providers.replies import (
    is_success,
    outcome_of_status,
    read_json,
    unknown,
    without_addresses,
)
from services.providers.times import from_epoch, whole_seconds

__all__ = ["Mailgun", "webhook_signature"]

#: what any path that the API does not have answers, with status 200
_MAGNIFICENT = b"Mailgun Magnificent API"
#: a refusal that names the recipient: "'to' parameter is not a valid address"
_NAMES_RECIPIENT = re.compile(r"(?:^|[\s'\"`])to['\"`]? parameter", re.IGNORECASE)

_EVENTS: Mapping[str, ReceiptKind | None] = {
    "accepted": ReceiptKind.ACCEPTED,
    "delivered": ReceiptKind.DELIVERED,
    "rejected": ReceiptKind.FAILED,
    "opened": ReceiptKind.OPENED,
    "clicked": ReceiptKind.CLICKED,
    "unsubscribed": ReceiptKind.UNSUBSCRIBED,
    "complained": ReceiptKind.COMPLAINED,
    "stored": None,
}
#: Mailgun gives up on these without trying, because of an earlier bounce, complaint or opt-out
_SUPPRESSED = "suppress-"

#: seconds that ``o:deliver-within`` may say; it counts in minutes
_LEAST_S, _MOST_S = 300, 86_400
#: The vendor retries a webhook for about eight hours, and nobody says whether it signs the retries
#: anew. So the default spans the last retry; the dedupe key makes a replay harmless meanwhile.
_DEFAULT_MAX_AGE = "9h"
_EPOCH = re.compile(r"[0-9]{1,11}")
#: clocks differ, and a search that starts late would miss the message
_LOOKUP_MARGIN = timedelta(minutes=1)
_LOOKUP_PAGE = 300


class _Reply(msgspec.Struct, frozen=True):
    message: str
    id: str | None = None


class _Headers(msgspec.Struct, frozen=True):
    message_id: str | None = field(name="message-id", default=None)


class _Mail(msgspec.Struct, frozen=True):
    headers: _Headers = _Headers()


class _Status(msgspec.Struct, frozen=True):
    code: int | str | None = None
    message: str | None = None
    description: str | None = None


class _Reject(msgspec.Struct, frozen=True):
    reason: str = ""


class _Event(msgspec.Struct, frozen=True):
    event: str
    timestamp: float | None = None
    severity: str = ""
    reason: str = ""
    message: _Mail = _Mail()
    status: _Status = field(name="delivery-status", default=_Status())
    reject: _Reject = _Reject()
    variables: dict[str, object] = field(name="user-variables", default_factory=dict)


class _Events(msgspec.Struct, frozen=True):
    items: list[_Event]


class _Signature(msgspec.Struct, frozen=True):
    timestamp: str | int
    token: str
    signature: str


class _Envelope(msgspec.Struct, frozen=True):
    signature: _Signature
    event: msgspec.Raw = field(name="event-data")


def webhook_signature(signing_key: str, timestamp: str, token: str) -> str:
    """Lower-case hex HMAC-SHA256 over both as they came, without a separator."""
    signed = (timestamp + token).encode(errors="replace")
    return new_hmac(signing_key.encode(), signed, sha256).hexdigest()


class Mailgun:
    """Mailgun, by its v3 API; for the EU the account's base URL is ``api.eu.mailgun.net``."""

    name = "mailgun"
    default_base_url = "https://api.mailgun.net"
    capabilities = Capabilities(
        channels=(Channel.EMAIL,),
        idempotent_send=IdempotentSend.NONE,
        reconcile=Reconcile.SEARCH,
        correlation="v: variables",
        native_deadline=(_LEAST_S, _MOST_S),
        settling_s=1800,  # unverified: the manual advises to poll with overlap and gives no figure
        secrets=("api_key", "webhook_signing_key"),
        settings=("domain", "from"),
        optional_settings=("webhook_max_age",),
    )

    def build_request(
        self, access: Access, messages: Sequence[Message], *, time_left: timedelta
    ) -> Request:
        """With less or more time left than Mailgun can be told, the deadline is ours alone."""
        (message,) = messages
        form = {
            "from": setting(access, "from"),
            "to": message.address,
            "subject": message.content.subject or "",
            "text": message.content.text,
            **{f"v:{name}": value for name, value in correlation(message).items()},
        }
        if message.content.html is not None:
            form["html"] = message.content.html
        if _LEAST_S <= (left := whole_seconds(time_left)) <= _MOST_S:
            form["o:deliver-within"] = f"{left // 3600}h{left % 3600 // 60}m"
        return Request(
            method="POST",
            url=f"{_domain_url(access)}/messages",
            headers={**_headers(access), "Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
        )

    def read_response(self, messages: Sequence[Message], response: Response) -> Sequence[Outcome]:
        reply = read_json(response.body, _Reply)
        outcome = _accepted(reply, response) if is_success(response.status) else None
        return [outcome or _refused(reply, response)] * len(messages)

    def build_lookup(self, access: Access, message: Message, *, since: datetime) -> Request | None:
        """Events of this address from then on, the oldest first."""
        query = urlencode(
            {
                "begin": int((since - _LOOKUP_MARGIN).timestamp()),
                "ascending": "yes",
                "limit": _LOOKUP_PAGE,
                "recipient": message.address,
            }
        )
        url = f"{_domain_url(access)}/events?{query}"
        return Request(method="GET", url=url, headers=_headers(access))

    def read_lookup(
        self, message: Message, response: Response, *, since: datetime
    ) -> tuple[Lookup, str | None]:
        events = read_json(response.body, _Events) if is_success(response.status) else None
        if events is None:
            return Lookup.NO_ANSWER, None
        for event in events.items:
            if is_of(message, event.variables):
                return Lookup.FOUND, event.message.headers.message_id
        whole = len(events.items) < _LOOKUP_PAGE
        return (Lookup.NOT_FOUND if whole else Lookup.NO_ANSWER), None

    def read_callback(
        self, access: Access, callback: Callback, *, now: datetime
    ) -> Sequence[Report]:
        envelope = read_json(callback.body, _Envelope)
        if envelope is None:
            raise ForgedCallback("mailgun: the webhook carries no signature")
        _verify(access, envelope.signature, now)
        event = read_json(bytes(envelope.event), _Event)
        if event is None:
            raise PoisonEvent("mailgun_webhook", "genuine, but not an event that can be read")
        kind = _kind(event)
        if kind is None:
            return ()
        notification, attempt = read_correlation(event.variables)
        why = event.status.message or event.status.description or event.reject.reason
        return (
            Report(
                kind=kind,
                dedupe=envelope.signature.token,
                notification_id=notification,
                attempt=attempt,
                occurred_at=from_epoch(event.timestamp),
                provider_ref=event.message.headers.message_id,
                code=str(event.status.code or event.reason),
                detail=without_addresses(" ".join(filter(None, (event.reason, why)))),
            ),
        )


def _headers(access: Access) -> dict[str, str]:
    token = b64encode(f"api:{secret(access, 'api_key')}".encode()).decode()
    return {"Accept": "application/json", "Authorization": f"Basic {token}"}


def _domain_url(access: Access) -> str:
    """A slash in the domain would make another path, which Mailgun answers with 200."""
    domain = setting(access, "domain")
    if "/" in domain:
        raise Misconfigured(f"account {access.account.name}: the domain must not contain a slash")
    return f"{access.base_url}/v3/{quote(domain)}"


def _accepted(reply: _Reply | None, response: Response) -> Outcome:
    """Only an id is an acceptance. Events write it without its angle brackets, and so do we."""
    if reply is not None and reply.id:
        return Outcome(kind=OutcomeKind.ACCEPTED, provider_ref=reply.id.strip("<>"))
    if _MAGNIFICENT in response.body:
        return Outcome(
            kind=OutcomeKind.REFUSED_ACCOUNT,
            code=str(response.status),
            detail="the path is not one of the API: check the base URL and the domain",
        )
    return unknown(str(response.status), "the reply has no id")


def _refused(reply: _Reply | None, response: Response) -> Outcome:
    detail = "" if reply is None else without_addresses(reply.message)
    if reply is not None and response.status == 400 and _NAMES_RECIPIENT.search(reply.message):
        return Outcome(kind=OutcomeKind.REFUSED_RECIPIENT, code="400", detail=detail)
    return outcome_of_status(response, own_body=reply is not None, detail=detail)


def _verify(access: Access, given: _Signature, now: datetime) -> None:
    key = secret(access, "webhook_signing_key")
    timestamp = str(given.timestamp)
    wanted = webhook_signature(key, timestamp, given.token)
    if not compare_digest(given.signature.encode(errors="replace"), wanted.encode()):
        raise ForgedCallback("mailgun: the webhook's signature is wrong")
    limit = access.account.settings.get("webhook_max_age", _DEFAULT_MAX_AGE)
    limit_ms = parse_duration_ms(limit, where=f"accounts.{access.account.name}.webhook_max_age")
    signed = from_epoch(float(timestamp)) if _EPOCH.fullmatch(timestamp) else None
    if signed is None or abs(now - signed) > timedelta(milliseconds=limit_ms):
        raise ForgedCallback(f"mailgun: the webhook was not signed within the last {limit}")


def _kind(event: _Event) -> ReceiptKind | None:
    if event.event == "failed" and event.severity == "temporary":
        return ReceiptKind.DEFERRED
    if event.event == "failed" and event.reason.startswith(_SUPPRESSED):
        return ReceiptKind.FAILED
    if event.event == "failed" and event.severity == "permanent":
        return ReceiptKind.BOUNCED_HARD
    if event.event in _EVENTS:
        return _EVENTS[event.event]
    raise PoisonEvent("mailgun_webhook", f"unknown: {event.event[:40]} {event.severity[:40]}")
