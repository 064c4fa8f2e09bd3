"""Mailgun as its customers see it: messages, events, logs, and signed webhooks."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.parser import BytesParser
from email.policy import HTTP
from functools import partial
from uuid import uuid4

import msgspec

from services.core.identifiers import AccountName
from services.providers.mailgun import webhook_signature
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
    basic_credentials,
    json_answer,
)
from services.sandbox.vendors.mailgun_filters import Filter, from_logs, from_query

__all__ = ["MailgunVendor"]

_MAGNIFICENT = Answer(body=b"Mailgun Magnificent API", content_type="text/plain")
#: minutes between tries; "delivered" is not among those that are tried again
_RETRIES = (5, 10, 15, 60, 120, 240)
_GIVE_UP = 406
_RECIPIENTS_MOST = 1_000
_WITHIN = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?")
_VARIABLE = re.compile(r"%recipient\.([A-Za-z0-9_]+)%")

#: the event, its severity, its reason and the SMTP code
_EVENTS: Mapping[Occurrence, tuple[str, str, str, int]] = {
    Occurrence.DELIVERED: ("delivered", "", "", 250),
    Occurrence.OPENED: ("opened", "", "", 0),
    Occurrence.COMPLAINED: ("complained", "", "", 0),
    Occurrence.DEFERRED: ("failed", "temporary", "generic", 452),
    Occurrence.BOUNCED_SOFT: ("failed", "permanent", "generic", 452),
    Occurrence.BOUNCED_HARD: ("failed", "permanent", "bounce", 550),
    Occurrence.SUPPRESSED: ("failed", "permanent", "suppress-bounce", 605),
    Occurrence.EXPIRED: ("failed", "permanent", "old", 498),
}


class MailgunVendor:
    """Mailgun's v3 API, and the logs of v1. Any domain is the account's own."""

    name = "mailgun"
    reports_sent = False

    def account_of(self, call: Call) -> AccountName | None:
        user, key = basic_credentials(call)
        return account_of(key, "api_key") if user == "api" else None

    def unauthorised(self) -> Answer:
        return Answer(status=401, body=b"Forbidden", content_type="text/plain")

    def route(self, call: Call, account: AccountName) -> Route:
        match [call.method, *call.path.strip("/").split("/")]:
            case ["POST", "v3", domain, "messages"]:
                return _send(call, domain)
            case ["GET", "v3", domain, "events"]:
                return _events(call, domain, account)
            case ["POST", "v1", "analytics", "logs"]:
                return _logs(call, account)
            case _:
                return _MAGNIFICENT

    def failure(self, status: int) -> Answer:
        return json_answer({"message": "An error."}, status)

    def error_inside_200(self, send: Send | None) -> Answer:
        return _MAGNIFICENT

    def inactive(self) -> Refusal | None:
        """Accepted, and suppressed later."""
        return None

    def webhook(
        self, entry: Entry, event: Event, secrets: Mapping[str, str], *, url: str, now: datetime
    ) -> WebhookCall | None:
        if event.what not in _EVENTS:
            return None
        timestamp, token = str(int(now.timestamp())), uuid4().hex + uuid4().hex[:18]
        signature = webhook_signature(secrets["webhook_signing_key"], timestamp, token)
        body = {
            "signature": {"timestamp": timestamp, "token": token, "signature": signature},
            "event-data": _told(entry, event),
        }
        return WebhookCall(
            url=url,
            headers={"Content-Type": "application/json"},
            body=msgspec.json.encode(body),
        )

    def next_try(
        self, what: Occurrence, tries: int, status: int | None, call: WebhookCall
    ) -> float | None:
        gives_up = status == _GIVE_UP or what is Occurrence.DELIVERED
        return None if gives_up or tries > len(_RETRIES) else _RETRIES[tries - 1] * 60.0


def _refusal(refusal: Refusal) -> Answer:
    return json_answer({"message": refusal.text}, refusal.status)


def _bad(text: str) -> Answer:
    return _refusal(Refusal(400, text, 400))


def _fields(call: Call) -> list[tuple[str, str]]:
    kind = call.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        return call.form()
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    parts = BytesParser(policy=HTTP).parsebytes(head + call.body).iter_parts()
    return [
        (str(name), _text(part.get_payload(decode=True)))
        for part in parts
        if (name := part.get_param("name", header="content-disposition"))
        and not part.get_filename()
    ]


def _text(payload: object) -> str:
    return payload.decode(errors="replace") if isinstance(payload, bytes) else ""


def _send(call: Call, domain: str) -> Route:
    pairs = _fields(call)
    form = dict(pairs)
    to = [address for name, value in pairs if name == "to" for address in addresses_in(value)]
    missing = [name for name in ("from", "to", "subject") if not form.get(name)]
    if missing:
        return _bad(f"{missing[0]} parameter is missing")
    if any("@" not in address for address in to):
        return _bad("'to' parameter is not a valid address. please check documentation")
    if not (form.get("text") or form.get("html")):
        return _bad("Need at least one of 'text', 'html' or 'template' parameters specified")
    if len(to) > _RECIPIENTS_MOST:
        return _bad(f"to parameter has more than {_RECIPIENTS_MOST} recipients")
    try:
        batch = msgspec.json.decode(
            form.get("recipient-variables") or "{}", type=dict[str, dict[str, object]]
        )
    except msgspec.DecodeError:
        return _bad("recipient-variables must be a JSON object of objects")
    ref = f"{uuid4().hex}@{domain}"
    drafts = [_draft(pairs, form, address, batch.get(address, {}), ref) for address in to]
    return Send(drafts, partial(_reply, ref))


def _draft(
    pairs: Sequence[tuple[str, str]],
    form: Mapping[str, str],
    to: str,
    own: Mapping[str, object],
    ref: str,
) -> Draft:
    """``own``: what stands for %recipient.x% in this recipient's copy."""
    fill = partial(_VARIABLE.sub, lambda found: str(own.get(found[1], found[0])))
    return Draft(
        to=to,
        sender=form["from"],
        subject=fill(form["subject"]),
        text=fill(form.get("text", "")),
        html=fill(form.get("html", "")),
        tag=form.get("o:tag", ""),
        variables={k.removeprefix("v:"): fill(v) for k, v in pairs if k.startswith("v:")},
        deadline_s=_within(form.get("o:deliver-within", "")),
        provider_ref=ref,
    )


def _within(text: str) -> int | None:
    found = _WITHIN.fullmatch(text) if text else None
    return None if found is None else int(found[1] or 0) * 3600 + int(found[2] or 0) * 60


def _reply(ref: str, results: Sequence[Entry | Refusal]) -> Answer:
    """One id for all recipients of a call."""
    return json_answer({"id": f"<{ref}>", "message": "Queued. Thank you."})


def _events(call: Call, domain: str, account: AccountName) -> Route:
    try:
        wanted = from_query(call.query, domain)
    except ValueError as error:
        return _bad(str(error))
    here = f"http://{call.headers.get('host', '')}{call.path}"
    return Search(partial(_event_page, wanted, account, here))


def _event_page(wanted: Filter, account: AccountName, here: str, view: View) -> Answer:
    found = _matching(wanted, account, view)
    following = wanted.offset + len(found)
    pages = {
        "next": f"{here}?page={following}",
        "previous": f"{here}?page={max(wanted.offset - wanted.limit, 0)}",
        "first": f"{here}?page=0",
        "last": f"{here}?page={following}",
    }
    return json_answer({"items": found, "paging": pages})


def _logs(call: Call, account: AccountName) -> Route:
    try:
        wanted = from_logs(call.body)
    except ValueError as error:
        return _bad(str(error))
    return Search(partial(_log_page, wanted, account))


def _log_page(wanted: Filter, account: AccountName, view: View) -> Answer:
    found = _matching(wanted, account, view)
    items = [{**item, "@timestamp": item["timestamp"]} for item in found]
    token = str(wanted.offset + len(found)) if len(found) == wanted.limit else ""
    pages = {"next": token, "previous": "", "first": "0", "last": ""}
    return json_answer({"items": items, "pagination": pages, "aggregates": {}})


def _matching(wanted: Filter, account: AccountName, view: View) -> list[dict[str, object]]:
    recipient = wanted.recipient
    entries = view.to_address(account, recipient) if recipient else view.of_account(account)
    happened = [
        (at, item)
        for entry in entries
        if wanted.domain is None or entry.provider_ref.endswith("@" + wanted.domain)
        for at, item in _happened(entry)
        if wanted.takes(at, str(item["event"]), entry.provider_ref)
    ]
    happened.sort(key=lambda pair: pair[0], reverse=not wanted.ascending)
    return [item for _, item in happened[wanted.offset : wanted.offset + wanted.limit]]


def _happened(entry: Entry) -> list[tuple[datetime, dict[str, object]]]:
    """All that became of an entry, its acceptance first."""
    accepted = _event(entry, "accepted", entry.received_at, f"{entry.seq}-0")
    later = [(event.at, _told(entry, event)) for event in entry.history if event.what in _EVENTS]
    return [(entry.received_at, accepted), *later]


def _told(entry: Entry, event: Event) -> dict[str, object]:
    name, severity, reason, code = _EVENTS[event.what]
    told = _event(entry, name, event.at, f"{entry.seq}-{event.number}")
    if severity:
        told |= {"severity": severity, "reason": reason}
    if code:
        told["delivery-status"] = {"code": code, "message": reason, "attempt-no": 1}
    return told


def _event(entry: Entry, name: str, at: datetime, id: str) -> dict[str, object]:
    return {
        "id": id,
        "event": name,
        "timestamp": at.timestamp(),
        "recipient": entry.to,
        "tags": [entry.tag] if entry.tag else [],
        "user-variables": entry.variables,
        "message": {
            "headers": {
                "message-id": entry.provider_ref,
                "to": entry.to,
                "from": entry.sender,
                "subject": entry.subject,
            }
        },
    }
