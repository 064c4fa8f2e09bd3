"""Mailgun's payloads."""

from datetime import timedelta

import msgspec

from services.core.events import Channel, ReceiptKind
from services.core.outcomes import OutcomeKind
from services.core.ports import Callback, Response
from services.providers.mailgun import webhook_signature
from tests.conformance.samples import NOW, Samples, access, message

KEY = "sim-key"
MESSAGE = message(Channel.EMAIL, "ann@example.test")
ACCESS = access(
    "mailgun",
    secrets={"api_key": "mailgun-key", "webhook_signing_key": KEY},
    settings={"domain": "mg.example.test", "from": "Shop <shop@mg.example.test>"},
)
REF = "2024.abc@mg.example.test"
VARIABLES = {"nid": str(MESSAGE.notification_id), "att": str(MESSAGE.attempt)}


def reply(status: int, body: object) -> Response:
    return Response(status=status, body=msgspec.json.encode(body))


def event(name: str, **fields: object) -> dict[str, object]:
    return {
        "id": "evA1",
        "event": name,
        "timestamp": NOW.timestamp(),
        "recipient": "ann@example.test",
        "user-variables": VARIABLES,
        "message": {"headers": {"message-id": REF, "to": "ann@example.test"}},
        **fields,
    }


def webhook(
    data: object, *, token: str = "tok123", age: timedelta = timedelta(), key: str = KEY
) -> Callback:
    timestamp = str(int((NOW - age).timestamp()))
    signature = webhook_signature(key, timestamp, token)
    body = {
        "signature": {"timestamp": timestamp, "token": token, "signature": signature},
        "event-data": data,
    }
    return Callback(
        url=ACCESS.callback_url,
        headers={"content-type": "application/json"},
        body=msgspec.json.encode(body),
    )


def failed(severity: str, reason: str) -> Callback:
    status = {"code": 550, "message": "5.1.1 no <ann@example.test>", "attempt-no": 1}
    data = event("failed", severity=severity, reason=reason, **{"delivery-status": status})
    return webhook(data, token=f"{severity}-{reason}")


_OTHER = event("delivered", **{"user-variables": {**VARIABLES, "att": "1"}})
_UNSIGNED = Callback(url=ACCESS.callback_url, headers={}, body=b'{"event-data": {}}')

SAMPLES = Samples(
    access=ACCESS,
    message=MESSAGE,
    accepted=reply(200, {"id": f"<{REF}>", "message": "Queued. Thank you."}),
    accepted_ref=REF,
    replies=(
        (
            reply(400, {"message": "'to' parameter is not a valid address"}),
            OutcomeKind.REFUSED_RECIPIENT,
        ),
        (reply(400, {"message": "from parameter is missing"}), OutcomeKind.REFUSED_CONTENT),
        (Response(status=401, body=b"Forbidden"), OutcomeKind.REFUSED_ACCOUNT),
        (reply(403, {"message": "Domain is disabled"}), OutcomeKind.REFUSED_ACCOUNT),
        (reply(404, {"message": "Domain not found"}), OutcomeKind.REFUSED_ACCOUNT),
        (reply(429, {"message": "Too many requests"}), OutcomeKind.THROTTLED),
        (reply(503, {"message": "Service unavailable"}), OutcomeKind.UNAVAILABLE),
        (reply(500, {"message": "Internal error"}), OutcomeKind.UNKNOWN),
        # the wrong path answers 200, and sends nothing
        (Response(status=200, body=b"Mailgun Magnificent API"), OutcomeKind.REFUSED_ACCOUNT),
        (reply(200, {"message": "Queued. Thank you."}), OutcomeKind.UNKNOWN),
    ),
    lookup_found=reply(200, {"items": [_OTHER, event("accepted")], "paging": {}}),
    lookup_ref=REF,
    lookup_others=reply(200, {"items": [_OTHER], "paging": {}}),
    lookup_full=reply(200, {"items": [_OTHER] * 300, "paging": {}}),
    callbacks=(
        (webhook(event("accepted"), token="t1"), ReceiptKind.ACCEPTED),
        (webhook(event("delivered"), token="t2"), ReceiptKind.DELIVERED),
        (webhook(event("opened"), token="t3"), ReceiptKind.OPENED),
        (webhook(event("clicked"), token="t4"), ReceiptKind.CLICKED),
        (webhook(event("complained"), token="t5"), ReceiptKind.COMPLAINED),
        (webhook(event("unsubscribed"), token="t6"), ReceiptKind.UNSUBSCRIBED),
        (webhook(event("rejected", reject={"reason": "spam"}), token="t7"), ReceiptKind.FAILED),
        (webhook(event("stored"), token="t8"), None),
        (failed("permanent", "bounce"), ReceiptKind.BOUNCED_HARD),
        (failed("permanent", "suppress-bounce"), ReceiptKind.FAILED),
        (failed("temporary", "generic"), ReceiptKind.DEFERRED),
    ),
    unknown_callback=webhook(event("teleported")),
    forged=(
        webhook(event("delivered"), key="another-key"),
        _UNSIGNED,
        Callback(url=ACCESS.callback_url, headers={}, body=b""),
    ),
    stale=webhook(event("delivered"), age=timedelta(hours=10)),
    deadlines=(
        (299.9, None),
        (300.0, b"0h5m"),
        (5430.0, b"1h30m"),
        (86_400.0, b"24h0m"),
        (86_401.0, None),
    ),
    deadline_field=b"o%3Adeliver-within=",
)
