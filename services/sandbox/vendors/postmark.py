"""Postmark as its customers see it: /email, /email/batch, the outbound search, and webhooks."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

import msgspec
from msgspec import Struct, field

from services.core.identifiers import AccountName
from services.sandbox.credentials import account_of
from services.sandbox.ledger import Draft, Entry, Event, Occurrence, addresses_in
from services.sandbox.vendor import (
    Answer,
    Call,
    Refusal,
    Route,
    Search,
    Send,
    View,
    WebhookCall,
    json_answer,
)

__all__ = ["PostmarkVendor"]

_BATCH_MAX = 500
_MINUTE = 60.0
#: minutes between the tries of a bounce, and of all else
_BOUNCE_RETRIES = (1, 5, 10, 10, 10, 15, 30, 60, 120, 360)
_RETRIES = (1, 5, 15)
_GIVE_UP = 403
#: dates in searches are those of New York; in summer this is an hour off
_EASTERN = timedelta(hours=5)
#: bounce types with their numbers
_BOUNCES: Mapping[Occurrence, tuple[str, int]] = {
    Occurrence.BOUNCED_HARD: ("HardBounce", 1),
    Occurrence.DEFERRED: ("Transient", 2),
    Occurrence.BOUNCED_SOFT: ("SoftBounce", 4096),
    Occurrence.EXPIRED: ("SoftBounce", 4096),
    Occurrence.SUPPRESSED: ("ManuallyDeactivated", 100_006),
}
_STATUS_CODES = {401: 10, 422: 300, 503: 100}


class _Mail(Struct, frozen=True):
    sender: str | None = field(name="From", default=None)
    to: str | None = field(name="To", default=None)
    subject: str | None = field(name="Subject", default=None)
    text: str | None = field(name="TextBody", default=None)
    html: str | None = field(name="HtmlBody", default=None)
    tag: str | None = field(name="Tag", default=None)
    metadata: dict[str, str] | None = field(name="Metadata", default=None)
    stream: str | None = field(name="MessageStream", default=None)


_ONE = msgspec.json.Decoder(_Mail)
_MANY = msgspec.json.Decoder(list[_Mail])


class PostmarkVendor:
    """Postmark's server API."""

    name = "postmark"
    reports_sent = False

    def account_of(self, call: Call) -> AccountName | None:
        return account_of(call.headers.get("x-postmark-server-token", ""), "server_token")

    def unauthorised(self) -> Answer:
        return _error(Refusal(10, "The server token is missing or wrong.", 401))

    def route(self, call: Call, account: AccountName) -> Route:
        path = call.path.rstrip("/")
        if call.method == "POST" and not _speaks_json(call):
            return _error(Refusal(409, "JSON is required, by Accept and Content-Type.", 415))
        match call.method, path:
            case "POST", "/email":
                return _send_one(call)
            case "POST", "/email/batch":
                return _send_many(call)
            case "GET", "/messages/outbound":
                return Search(partial(_search, call.query, account))
        parts = path.split("/")
        if call.method == "GET" and parts[1:3] == ["messages", "outbound"] and len(parts) == 5:
            return Search(partial(_details, parts[3], account))
        return Answer(status=404, body=b"Not found", content_type="text/html")

    def failure(self, status: int) -> Answer:
        return _error(Refusal(_STATUS_CODES.get(status, status), "An error.", status))

    def error_inside_200(self, send: Send | None) -> Answer:
        refusal = Refusal(405, "This server is out of credits.", 200)
        return _error(refusal) if send is None else send.reply([refusal] * len(send.drafts))

    def inactive(self) -> Refusal | None:
        return Refusal(406, "You tried to send to a recipient that has been marked as inactive.")

    def webhook(
        self, entry: Entry, event: Event, secrets: Mapping[str, str], *, url: str, now: datetime
    ) -> WebhookCall | None:
        body = _record(entry, event)
        if body is None:
            return None
        user = b64encode(f"lastword:{secrets['webhook_secret']}".encode()).decode()
        return WebhookCall(
            url=url,
            headers={"Content-Type": "application/json", "Authorization": f"Basic {user}"},
            body=msgspec.json.encode(body),
        )

    def next_try(
        self, what: Occurrence, tries: int, status: int | None, call: WebhookCall
    ) -> float | None:
        waits = _BOUNCE_RETRIES if what in _BOUNCES else _RETRIES
        if status == _GIVE_UP or tries > len(waits):
            return None
        return waits[tries - 1] * _MINUTE


def _error(refusal: Refusal) -> Answer:
    body = {"ErrorCode": refusal.code, "Message": refusal.text}
    return json_answer(body, refusal.status)


def _speaks_json(call: Call) -> bool:
    accept = call.headers.get("accept", "")
    return "json" in call.headers.get("content-type", "") and ("json" in accept or "*/*" in accept)


def _send_one(call: Call) -> Route:
    try:
        mail = _ONE.decode(call.body)
    except msgspec.DecodeError as error:
        return _error(Refusal(402, f"The JSON is not valid: {error}"))
    return Send([_draft(mail)], _reply_one)


def _send_many(call: Call) -> Route:
    try:
        mails = _MANY.decode(call.body)
    except msgspec.DecodeError as error:
        return _error(Refusal(402, f"The JSON is not valid: {error}"))
    if len(mails) > _BATCH_MAX:
        return _error(Refusal(410, f"A batch holds at most {_BATCH_MAX} messages."))
    return Send([_draft(mail) for mail in mails], _reply_many)


def _draft(mail: _Mail) -> Draft | Refusal:
    if not mail.sender or "@" not in mail.sender:
        return Refusal(300, "Invalid 'From' address.")
    if not mail.to or any("@" not in address for address in addresses_in(mail.to)):
        return Refusal(300, "Invalid 'To' address.")
    if not mail.text and not mail.html:
        return Refusal(300, "Provide TextBody, HtmlBody or both.")
    return Draft(
        to=mail.to,
        sender=mail.sender,
        subject=mail.subject or "",
        text=mail.text or "",
        html=mail.html or "",
        tag=mail.tag or "",
        stream=mail.stream or "outbound",
        variables=mail.metadata or {},
        provider_ref=str(uuid4()),
    )


def _reply_one(results: Sequence[Entry | Refusal]) -> Answer:
    (result,) = results
    return _error(result) if isinstance(result, Refusal) else json_answer(_ok(result))


def _reply_many(results: Sequence[Entry | Refusal]) -> Answer:
    return json_answer(
        [
            {"ErrorCode": result.code, "Message": result.text}
            if isinstance(result, Refusal)
            else _ok(result)
            for result in results
        ]
    )


def _ok(entry: Entry) -> dict[str, object]:
    return {
        "To": entry.to,
        "SubmittedAt": entry.received_at,
        "MessageID": entry.provider_ref,
        "ErrorCode": 0,
        "Message": "OK",
    }


def _search(query: Mapping[str, str], account: AccountName, view: View) -> Answer:
    """Newest first; ``metadata_<name>`` filters as well, which no public document promises."""
    try:
        count, offset = int(query.get("count", "")), int(query.get("offset", ""))
    except ValueError:
        return _error(Refusal(701, "The parameters 'count' and 'offset' are required."))
    found = [entry for entry in reversed(_narrowed(query, account, view)) if _fits(entry, query)]
    page = found[offset : offset + min(count, 500)]
    return json_answer({"TotalCount": len(found), "Messages": [_listed(e) for e in page]})


def _narrowed(query: Mapping[str, str], account: AccountName, view: View) -> Sequence[Entry]:
    if query.get("recipient"):
        return view.to_address(account, query["recipient"])
    if query.get("tag"):
        return view.with_tag(account, query["tag"])
    return view.of_account(account)


def _fits(entry: Entry, query: Mapping[str, str]) -> bool:
    metadata = {
        k.removeprefix("metadata_"): v for k, v in query.items() if k.startswith("metadata_")
    }
    day = (entry.received_at - _EASTERN).date().isoformat()
    return (
        query.get("fromdate", "")[:10] <= day <= query.get("todate", "9999")[:10]
        and query.get("status", _status(entry)).title() == _status(entry)
        and query.get("tag") in (None, entry.tag)
        and query.get("subject") in (None, entry.subject)
        and query.get("fromemail") in (None, entry.sender)
        and query.get("messagestream", "outbound") == entry.stream
        and all(entry.variables.get(name) == value for name, value in metadata.items())
    )


def _details(ref: str, account: AccountName, view: View) -> Answer:
    found = [entry for entry in view.with_ref(ref) if entry.account == account]
    if not found:
        return _error(Refusal(701, "This message does not exist."))
    (entry,) = found
    events = [
        {"Recipient": entry.to, "Type": event.what.value.title(), "ReceivedAt": event.at}
        for event in entry.history
    ]
    body = {"TextBody": entry.text, "HtmlBody": entry.html, "Body": "", "MessageEvents": events}
    return json_answer({**_listed(entry), **body})


def _listed(entry: Entry) -> dict[str, object]:
    recipients = addresses_in(entry.to)
    return {
        "Tag": entry.tag,
        "MessageID": entry.provider_ref,
        "MessageStream": entry.stream,
        "To": [{"Email": address, "Name": ""} for address in recipients],
        "Cc": [],
        "Bcc": [],
        "Recipients": recipients,
        "ReceivedAt": entry.received_at,
        "From": entry.sender,
        "Subject": entry.subject,
        "Attachments": [],
        "Status": _status(entry),
        "Metadata": entry.variables,
    }


def _status(entry: Entry) -> str:
    return "Sent" if entry.history else "Queued"


def _record(entry: Entry, event: Event) -> dict[str, object] | None:
    common: dict[str, object] = {
        "MessageID": entry.provider_ref,
        "MessageStream": entry.stream,
        "ServerID": 1,
        "Tag": entry.tag,
        "Metadata": entry.variables,
    }
    if event.what in _BOUNCES:
        kind, code = _BOUNCES[event.what]
        bounce = {"RecordType": "Bounce", "ID": event.number, "Type": kind, "TypeCode": code}
        about = {"Email": entry.to, "BouncedAt": event.at, "Details": "smtp;550 5.1.1"}
        return {**common, **bounce, **about, "Inactive": kind == "HardBounce"}
    match event.what:
        case Occurrence.DELIVERED:
            what = {"RecordType": "Delivery", "DeliveredAt": event.at, "Details": "Test"}
            return {**common, **what, "Recipient": entry.to}
        case Occurrence.OPENED:
            what = {"RecordType": "Open", "ReceivedAt": event.at, "FirstOpen": True}
            return {**common, **what, "Recipient": entry.to}
        case Occurrence.COMPLAINED:
            what = {"RecordType": "SpamComplaint", "ID": event.number, "BouncedAt": event.at}
            return {**common, **what, "Type": "SpamComplaint", "Email": entry.to}
        case _:
            return None
