"""Twilio as its customers see it: Messages of the 2010-04-01 API, and signed status callbacks."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import format_datetime
from functools import partial
from urllib.parse import parse_qsl, urldefrag, urlencode, urlsplit
from uuid import uuid4

from services.core.identifiers import AccountName
from services.providers.segments import segments
from services.providers.twilio import SHA1, SHA256, webhook_signature
from services.sandbox.credentials import account_of
from services.sandbox.ledger import Draft, Entry, Event, Occurrence
from services.sandbox.vendor import (
    Answer,
    Call,
    Refusal,
    Route,
    Search,
    Send,
    View,
    WebhookCall,
    basic_credentials,
    json_answer,
)

__all__ = ["TwilioVendor"]

_NUMBER = re.compile(r"\+[1-9]\d{6,14}")
_DIGITS = re.compile(r"[0-9]{1,9}")
_BODY_MOST = 1_600
_PAGE, _PAGE_MOST = 50, 1_000
_RETRIES_MOST = 5
_STATUSES: Mapping[Occurrence, tuple[str, int | None]] = {
    Occurrence.SENT: ("sent", None),
    Occurrence.DELIVERED: ("delivered", None),
    Occurrence.OPENED: ("read", None),
    Occurrence.BOUNCED_HARD: ("undelivered", 30005),
    Occurrence.BOUNCED_SOFT: ("undelivered", 30003),
    Occurrence.EXPIRED: ("failed", 30036),
}
_CODES = {401: 20003, 404: 20404, 429: 20429}


class TwilioVendor:
    """Twilio's REST API. Any account SID belongs to the account whose auth token comes with it."""

    name = "twilio"
    reports_sent = True

    def account_of(self, call: Call) -> AccountName | None:
        user, token = basic_credentials(call)
        parts = call.path.split("/")
        is_own = len(parts) > 3 and parts[3] == user
        return account_of(token, "auth_token") if is_own else None

    def unauthorised(self) -> Answer:
        return _error(Refusal(20003, "Authenticate", 401))

    def route(self, call: Call, account: AccountName) -> Route:
        match [call.method, *call.path.strip("/").removesuffix(".json").split("/")]:
            case ["POST", "2010-04-01", "Accounts", sid, "Messages"]:
                return _send(call, sid)
            case ["GET", "2010-04-01", "Accounts", sid, "Messages"]:
                return Search(partial(_list, call, sid, account))
            case ["GET", "2010-04-01", "Accounts", sid, "Messages", ref]:
                return Search(partial(_fetch, ref, sid, account))
            case _:
                return _error(Refusal(20404, "The requested resource was not found", 404))

    def failure(self, status: int) -> Answer:
        return _error(Refusal(_CODES.get(status, 20000 + status), "An error.", status))

    def error_inside_200(self, send: Send | None) -> Answer:
        """Created, and failed at once."""
        body = {
            "sid": f"SM{uuid4().hex}",
            "status": "failed",
            "error_code": 30022,
            "error_message": "Rate exceeded",
        }
        return json_answer(body, 201)

    def inactive(self) -> Refusal | None:
        return Refusal(21610, "Attempt to send to unsubscribed recipient", 400)

    def webhook(
        self, entry: Entry, event: Event, secrets: Mapping[str, str], *, url: str, now: datetime
    ) -> WebhookCall | None:
        """Signed by the auth token, or by SHA-256 where the account has a shared key."""
        if event.what not in _STATUSES or not entry.callback_url:
            return None
        form = _status_form(entry, event)
        key, algorithm = secrets["auth_token"], SHA1
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "I-Twilio-Idempotency-Token": f"{entry.provider_ref}-{event.number}",
        }
        if "webhook_shared_key" in secrets:
            key, algorithm = secrets["webhook_shared_key"], SHA256
            headers["X-Twilio-Webhooks-Signature-Settings"] = f"key=sandbox,algorithm={SHA256}"
        signed, _ = urldefrag(url)
        headers["X-Twilio-Signature"] = webhook_signature(
            key, signed, form.items(), algorithm=algorithm
        )
        return WebhookCall(url=url, headers=headers, body=urlencode(form).encode())

    def next_try(
        self, what: Occurrence, tries: int, status: int | None, call: WebhookCall
    ) -> float | None:
        """Once at once, or as often as the URL's fragment says; only where nobody answered."""
        overrides = dict(parse_qsl(urldefrag(call.url).fragment))
        retries = overrides.get("rc", "1")
        most = min(int(retries), _RETRIES_MOST) if _DIGITS.fullmatch(retries) else 1
        return 1.0 if status is None and tries <= most else None


def _error(refusal: Refusal) -> Answer:
    body = {
        "code": refusal.code,
        "message": refusal.text,
        "more_info": f"https://www.twilio.com/docs/errors/{refusal.code}",
        "status": refusal.status,
    }
    return json_answer(body, refusal.status)


def _send(call: Call, sid: str) -> Route:
    form = dict(call.form())
    to, body = form.get("To", ""), form.get("Body", "")
    sender = form.get("From") or form.get("MessagingServiceSid", "")
    callback = form.get("StatusCallback", "")
    faults = (
        (not to, Refusal(21604, "A 'To' phone number is required.", 400)),
        (not _NUMBER.fullmatch(to), Refusal(21211, "Invalid 'To' Phone Number", 400)),
        (not sender, Refusal(21603, "A 'From' phone number is required.", 400)),
        (not body, Refusal(21602, "Message body is required.", 400)),
        (len(body) > _BODY_MOST, Refusal(21617, "The message body is too long.", 400)),
        (
            callback and not callback.startswith(("http://", "https://")),
            Refusal(21609, "The 'StatusCallback' URL is not a valid URL.", 400),
        ),
    )
    for is_so, refusal in faults:
        if is_so:
            return _error(refusal)
    validity = form.get("ValidityPeriod", "")
    draft = Draft(
        to=to,
        sender=sender,
        text=body,
        variables=dict(parse_qsl(urlsplit(callback).query)),
        callback_url=callback,
        deadline_s=int(validity) if _DIGITS.fullmatch(validity) else None,
        stream=sid,
        provider_ref=f"SM{uuid4().hex}",
    )
    return Send([draft], _reply)


def _reply(results: Sequence[Entry | Refusal]) -> Answer:
    (result,) = results
    if isinstance(result, Refusal):
        return _error(result)
    return json_answer(_message(result), 201)


def _list(call: Call, sid: str, account: AccountName, view: View) -> Answer:
    """Newest first."""
    query = call.query
    try:
        page, size = int(query.get("Page", "0")), int(query.get("PageSize", str(_PAGE)))
    except ValueError:
        return _error(Refusal(20001, "Page and PageSize are numbers", 400))
    page, size = max(page, 0), min(max(size, 1), _PAGE_MOST)
    entries = view.to_address(account, query["To"]) if "To" in query else view.of_account(account)
    found = [entry for entry in reversed(entries) if _fits(entry, sid, query)]
    start = page * size
    shown = found[start : start + size]
    path = f"/2010-04-01/Accounts/{sid}/Messages.json"
    uris = {
        name: f"{path}?{urlencode({**query, 'Page': number, 'PageSize': size})}"
        for name, number in (("uri", page), ("first_page_uri", 0), ("next_page_uri", page + 1))
    }
    return json_answer(
        {
            "messages": [_message(entry) for entry in shown],
            "page": page,
            "page_size": size,
            "start": start,
            "end": start + max(len(shown) - 1, 0),
            "previous_page_uri": None,
            **uris,
            "next_page_uri": uris["next_page_uri"] if len(found) > start + size else None,
        }
    )


def _fits(entry: Entry, sid: str, query: Mapping[str, str]) -> bool:
    sent = _sent_at(entry)
    day = sent.date().isoformat() if sent else None
    dates = [(name, value) for name, value in query.items() if name.startswith("DateSent")]
    return (
        entry.stream == sid
        and query.get("From") in (None, entry.sender)
        and all(day is not None and _compares(name, day, value[:10]) for name, value in dates)
    )


def _compares(name: str, day: str, wanted: str) -> bool:
    if name == "DateSent":
        return day == wanted
    return day >= wanted if name == "DateSent>" else day <= wanted


def _fetch(ref: str, sid: str, account: AccountName, view: View) -> Answer:
    own = [e for e in view.with_ref(ref) if e.account == account and e.stream == sid]
    if not own:
        return _error(Refusal(20404, f"The requested resource {ref} was not found", 404))
    return json_answer(_message(own[0]))


def _sent_at(entry: Entry) -> datetime | None:
    return next((event.at for event in entry.history if event.what in _STATUSES), None)


def _message(entry: Entry) -> dict[str, object]:
    last = next((e for e in reversed(entry.history) if e.what in _STATUSES), None)
    status, code = ("queued", None) if last is None else _STATUSES[last.what]
    sent = _sent_at(entry)
    created = format_datetime(entry.received_at)
    return {
        "sid": entry.provider_ref,
        "account_sid": entry.stream,
        "api_version": "2010-04-01",
        "body": entry.text,
        "date_created": created,
        "date_sent": None if sent is None else format_datetime(sent),
        "date_updated": created if last is None else format_datetime(last.at),
        "direction": "outbound-api",
        "error_code": code,
        "error_message": None,
        "from": entry.sender,
        "messaging_service_sid": None,
        "num_media": "0",
        "num_segments": str(segments(entry.text)),
        "price": None,
        "price_unit": "USD",
        "status": status,
        "subresource_uris": {},
        "to": entry.to,
        "uri": f"/2010-04-01/Accounts/{entry.stream}/Messages/{entry.provider_ref}.json",
    }


def _status_form(entry: Entry, event: Event) -> dict[str, str]:
    status, code = _STATUSES[event.what]
    form = {
        "MessageSid": entry.provider_ref,
        "SmsSid": entry.provider_ref,
        "AccountSid": entry.stream,
        "MessageStatus": status,
        "SmsStatus": status,
        "To": entry.to,
        "From": entry.sender,
        "ApiVersion": "2010-04-01",
        "RawDlrDoneDate": event.at.strftime("%y%m%d%H%M"),
    }
    return form if code is None else {**form, "ErrorCode": str(code)}
