"""Twilio Programmable Messaging (twilio.com/docs/messaging): SMS.

No idempotency key, and no field of ours in the message: our ids travel in the query string of its
status callback. A look-up knows a message by its number, its words and the time.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha1, sha256
from hmac import compare_digest
from hmac import new as new_hmac
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import msgspec

from services.core.errors import PoisonEvent
from services.core.events import Channel, ReceiptKind, Success
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
from services.providers.correlation import correlation, read_correlation
from services.providers.replies import (
    is_success,
    outcome_of_status,
    read_json,
    unknown,
    without_addresses,
)
from services.providers.times import from_rfc2822, whole_seconds

__all__ = ["SHA1", "SHA256", "Twilio", "webhook_signature"]

#: Codes of a refused request; the vendor warns that only the number is stable. One that is missing
#: here refuses the content.
_CODES: Mapping[int, OutcomeKind] = {
    10001: OutcomeKind.REFUSED_ACCOUNT,  # account not active
    20003: OutcomeKind.REFUSED_ACCOUNT,  # credentials
    20404: OutcomeKind.REFUSED_ACCOUNT,  # no such account
    20429: OutcomeKind.THROTTLED,  # too many requests at once
    # The region is switched off: the account's fault, but only for such numbers. Resting the
    # account would let one foreign number stop all others.
    21408: OutcomeKind.REFUSED_RECIPIENT,
    21211: OutcomeKind.REFUSED_RECIPIENT,  # not a number
    21603: OutcomeKind.REFUSED_ACCOUNT,  # no sender (unverified)
    21606: OutcomeKind.REFUSED_ACCOUNT,  # the sender is not the account's (unverified)
    21610: OutcomeKind.REFUSED_RECIPIENT,  # opted out by STOP
    21611: OutcomeKind.THROTTLED,  # the sender's queue is full
    21612: OutcomeKind.REFUSED_RECIPIENT,  # no way from this sender to this number
    21614: OutcomeKind.REFUSED_RECIPIENT,  # not a mobile number
    14107: OutcomeKind.THROTTLED,
    30022: OutcomeKind.THROTTLED,
    30023: OutcomeKind.THROTTLED,
    63017: OutcomeKind.THROTTLED,
    63038: OutcomeKind.THROTTLED,
}
#: seconds to wait where a code says that the limit is a long one; Twilio promises no Retry-After
_WAITS: Mapping[int, float] = {21611: 120.0, 30023: 3600.0, 63038: 3600.0}

#: None: what it means depends on the code
_STATUSES: Mapping[str, ReceiptKind | None] = {
    "accepted": ReceiptKind.ACCEPTED,
    "queued": ReceiptKind.ACCEPTED,
    "scheduled": ReceiptKind.ACCEPTED,
    "sending": ReceiptKind.SENT,
    "sent": ReceiptKind.SENT,
    "delivered": ReceiptKind.DELIVERED,
    "undelivered": None,
    "failed": None,
    "canceled": ReceiptKind.FAILED,
    "read": ReceiptKind.OPENED,
}
_FAILURES: Mapping[str, ReceiptKind] = {
    "30001": ReceiptKind.BOUNCED_SOFT,  # queue overflow
    "30003": ReceiptKind.BOUNCED_SOFT,  # handset out of reach
    "30008": ReceiptKind.BOUNCED_SOFT,  # unknown error
    "30004": ReceiptKind.BOUNCED_HARD,  # blocked (unverified)
    "30005": ReceiptKind.BOUNCED_HARD,  # no such handset
    "30006": ReceiptKind.BOUNCED_HARD,  # a landline
    "30007": ReceiptKind.FAILED,  # filtered
    "30036": ReceiptKind.EXPIRED,
}

#: seconds that ``ValidityPeriod`` may say
_LEAST_S, _MOST_S = 1, 36_000
_LOOKUP_PAGE = 200
#: ``date_created`` has whole seconds of another clock
_LOOKUP_MARGIN = timedelta(seconds=3)
#: a sender that begins so is a messaging service, which picks a number
_SERVICE = "MG"

SHA1, SHA256 = "HMAC_SHA1", "HMAC_SHA256"
_HASHES = {SHA1: sha1, SHA256: sha256}
_SIGNATURE = "x-twilio-signature"
_SIGNATURE_SETTINGS = "x-twilio-webhooks-signature-settings"
_PORTS = {"https": 443, "http": 80}


class _Created(msgspec.Struct, frozen=True):
    sid: str
    status: str = ""
    error_code: int | None = None
    error_message: str | None = None


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str = ""


class _Listed(msgspec.Struct, frozen=True):
    sid: str
    body: str | None = None
    date_created: str | None = None


class _List(msgspec.Struct, frozen=True):
    messages: list[_Listed]


def webhook_signature(
    key: str, url: str, parameters: Iterable[tuple[str, str]], *, algorithm: str = SHA1
) -> str:
    """Base64 HMAC over the whole URL, then each name and value, sorted, repeats left out."""
    text = url + "".join(name + value for name, value in sorted(set(parameters)))
    digest = new_hmac(key.encode(), text.encode(errors="replace"), _HASHES[algorithm]).digest()
    return b64encode(digest).decode()


class Twilio:
    """Twilio, by its 2010-04-01 API."""

    name = "twilio"
    default_base_url = "https://api.twilio.com"
    capabilities = Capabilities(
        channels=(Channel.SMS,),
        idempotent_send=IdempotentSend.NONE,
        reconcile=Reconcile.SEARCH,
        correlation="StatusCallback query",
        native_deadline=(_LEAST_S, _MOST_S),
        reports=Success.DELIVERED,
        secrets=("auth_token",),
        settings=("account_sid", "from"),
        optional_secrets=("webhook_shared_key",),
        optional_settings=("callback_overrides",),
    )

    def build_request(
        self, access: Access, messages: Sequence[Message], *, time_left: timedelta
    ) -> Request:
        """``from`` is a number, a sender's name, or the SID of a messaging service."""
        (message,) = messages
        sender = setting(access, "from")
        form = {
            "To": message.address,
            "MessagingServiceSid" if sender.startswith(_SERVICE) else "From": sender,
            "Body": message.content.text,
            "StatusCallback": _status_callback(access, message),
            "ValidityPeriod": str(min(max(whole_seconds(time_left), _LEAST_S), _MOST_S)),
        }
        return Request(
            method="POST",
            url=_messages_url(access),
            headers={**_headers(access), "Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
        )

    def read_response(self, messages: Sequence[Message], response: Response) -> Sequence[Outcome]:
        read = _created if is_success(response.status) else _refused
        return [read(response)] * len(messages)

    def build_lookup(self, access: Access, message: Message, *, since: datetime) -> Request | None:
        """By number only: the date to filter by, ``date_sent``, is empty while one is queued."""
        query = urlencode({"To": message.address, "PageSize": _LOOKUP_PAGE})
        url = f"{_messages_url(access)}?{query}"
        return Request(method="GET", url=url, headers=_headers(access))

    def read_lookup(
        self, message: Message, response: Response, *, since: datetime
    ) -> tuple[Lookup, str | None]:
        """The oldest with these words that was made since then: a later one is another's."""
        page = read_json(response.body, _List) if is_success(response.status) else None
        if page is None:
            return Lookup.NO_ANSWER, None
        made = [(from_rfc2822(listed.date_created), listed) for listed in page.messages]
        recent = [(at, m) for at, m in made if at is not None and at >= since - _LOOKUP_MARGIN]
        same = [(at, m.sid) for at, m in recent if _says(m, message)]
        if same:
            return Lookup.FOUND, min(same)[1]
        reaches_back = len(recent) < len(page.messages) or len(page.messages) < _LOOKUP_PAGE
        return (Lookup.NOT_FOUND if reaches_back else Lookup.NO_ANSWER), None

    def read_callback(
        self, access: Access, callback: Callback, *, now: datetime
    ) -> Sequence[Report]:
        """The vendor gives no time that can be trusted: ``RawDlrDoneDate`` has no zone."""
        parameters = _parameters(callback)
        _verify(access, callback, parameters)
        form = dict(parameters)
        sid, status = form.get("MessageSid", ""), form.get("MessageStatus", "")
        if not sid or status not in _STATUSES:
            raise PoisonEvent("twilio_webhook", f"unknown: {status[:40] or 'no status'}")
        code = form.get("ErrorCode", "")
        notification, attempt = read_correlation(_query(callback.url))
        return (
            Report(
                kind=_kind(status, code),
                dedupe=f"{sid}:{status}",
                notification_id=notification,
                attempt=attempt,
                provider_ref=sid,
                code=code,
                detail=status,
            ),
        )


def _headers(access: Access) -> dict[str, str]:
    credentials = f"{setting(access, 'account_sid')}:{secret(access, 'auth_token')}"
    token = b64encode(credentials.encode()).decode()
    return {"Accept": "application/json", "Authorization": f"Basic {token}"}


def _messages_url(access: Access) -> str:
    sid = quote(setting(access, "account_sid"), safe="")
    return f"{access.base_url}/2010-04-01/Accounts/{sid}/Messages.json"


def _status_callback(access: Access, message: Message) -> str:
    """``callback_overrides``, such as ``rc=5`` for five retries, goes into the fragment.

    Unverified: that the vendor leaves the fragment out of what it signs. So there is no default.
    """
    joint = "&" if "?" in access.callback_url else "?"
    overrides = access.account.settings.get("callback_overrides", "")
    url = f"{access.callback_url}{joint}{urlencode(correlation(message))}"
    return f"{url}#{overrides}" if overrides else url


def _created(response: Response) -> Outcome:
    created = read_json(response.body, _Created)
    if created is None or not created.sid:
        return unknown(str(response.status), "the reply has no sid")
    if created.error_code:
        detail = created.error_message or ""
        return _outcome_of(created.error_code, detail, response, provider_ref=created.sid)
    return Outcome(kind=OutcomeKind.ACCEPTED, provider_ref=created.sid)


def _refused(response: Response) -> Outcome:
    error = read_json(response.body, _Error)
    if error is not None and (error.code in _CODES or response.status == 400):
        return _outcome_of(error.code, error.message, response)
    detail = "" if error is None else without_addresses(error.message)
    return outcome_of_status(response, own_body=error is not None, detail=detail)


def _outcome_of(
    code: int, message: str, response: Response, *, provider_ref: str | None = None
) -> Outcome:
    kind = _CODES.get(code, OutcomeKind.REFUSED_CONTENT)
    asked = outcome_of_status(response, own_body=True).retry_after
    return Outcome(
        kind=kind,
        code=str(code),
        detail=without_addresses(message),
        provider_ref=provider_ref,
        retry_after=asked or _WAITS.get(code),
    )


def _says(listed: _Listed, message: Message) -> bool:
    return (listed.body or "").strip() == message.content.text.strip()


def _parameters(callback: Callback) -> list[tuple[str, str]]:
    """All that the form holds: the vendor may add new ones at any time, and signs them too."""
    if "json" in callback.headers.get("content-type", ""):
        return []
    try:
        return parse_qsl(callback.body.decode(), keep_blank_values=True)
    except ValueError:
        return []


def _verify(access: Access, callback: Callback, parameters: Sequence[tuple[str, str]]) -> None:
    algorithm = _algorithm(callback.headers.get(_SIGNATURE_SETTINGS, ""))
    key = secret(access, "auth_token")
    if algorithm == SHA256:
        key = access.secrets.get("webhook_shared_key", key)
    given = callback.headers.get(_SIGNATURE, "").encode(errors="replace")
    matches = [
        compare_digest(given, webhook_signature(key, url, parameters, algorithm=algorithm).encode())
        for url in _with_and_without_port(callback.url)
        if algorithm in _HASHES
    ]
    if not any(matches) or not _body_matches(callback):
        raise ForgedCallback("twilio: the webhook's signature is wrong")


def _algorithm(settings: str) -> str:
    """``key=...,algorithm=HMAC_SHA256``; without the header it is SHA-1 under the auth token."""
    pairs = dict(part.strip().partition("=")[::2] for part in settings.split(","))
    return pairs.get("algorithm", SHA1).strip().upper()


def _with_and_without_port(url: str) -> tuple[str, ...]:
    """The vendor writes the default port or leaves it out, and its validators accept both."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return (url,)
    host = parts.netloc if port is None else parts.netloc.rpartition(":")[0]
    default = _PORTS.get(parts.scheme)
    if default is None or port not in (None, default):
        return (url,)
    return (url, *(urlunsplit(parts._replace(netloc=n)) for n in (host, f"{host}:{default}")))


def _body_matches(callback: Callback) -> bool:
    """A JSON body is signed by its hash, which stands in the URL."""
    given = _query(callback.url).get("bodySHA256")
    if given is None:
        return "json" not in callback.headers.get("content-type", "")
    wanted = sha256(callback.body).hexdigest()
    return compare_digest(given.encode(errors="replace"), wanted.encode())


def _query(url: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(urlsplit(url).query))
    except ValueError:
        return {}


def _kind(status: str, code: str) -> ReceiptKind:
    kind = _STATUSES[status]
    if kind is not None:
        return kind
    if code in _FAILURES:
        return _FAILURES[code]
    # a failure of unknown cause says nothing against the number
    return ReceiptKind.BOUNCED_SOFT if status == "undelivered" else ReceiptKind.FAILED
