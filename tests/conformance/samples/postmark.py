"""Postmark's payloads."""

from base64 import b64encode

import msgspec

from services.core.events import Channel, ReceiptKind
from services.core.outcomes import OutcomeKind
from services.core.ports import Callback, Response
from tests.conformance.samples import Samples, access, message

SECRET = "postmark-webhook-secret"
MESSAGE = message(Channel.EMAIL, "ann@example.test")
ACCESS = access(
    "postmark",
    secrets={"server_token": "postmark-token", "webhook_secret": SECRET},
    settings={"from": "Shop <shop@example.test>"},
)
REF = "0f0e0d0c-0000-4000-8000-000000000042"
METADATA = {"nid": str(MESSAGE.notification_id), "att": str(MESSAGE.attempt)}


def reply(status: int, body: object, headers: dict[str, str] | None = None) -> Response:
    return Response(status=status, headers=headers or {}, body=msgspec.json.encode(body))


def error(code: int, text: str = "No.", *, status: int = 422) -> Response:
    return reply(status, {"ErrorCode": code, "Message": text})


def webhook(event: dict[str, object], *, authorization: str | None = None) -> Callback:
    whole = {"MessageID": REF, "MessageStream": "outbound", "Metadata": METADATA, **event}
    basic = b64encode(f"lastword:{SECRET}".encode()).decode()
    return Callback(
        url=ACCESS.callback_url,
        headers={
            "content-type": "application/json",
            "authorization": authorization if authorization is not None else f"Basic {basic}",
        },
        body=msgspec.json.encode(whole),
    )


def bounce(kind: str, id: int = 991) -> Callback:
    return webhook(
        {
            "RecordType": "Bounce",
            "ID": id,
            "Type": kind,
            "Email": "ann@example.test",
            "BouncedAt": "2026-01-02T03:04:05.1234567Z",
            "Details": "smtp;550 5.1.1 <ann@example.test> unknown",
        }
    )


def suppression(reason: str | None, *, suppress: bool = True) -> Callback:
    return webhook(
        {
            "RecordType": "SubscriptionChange",
            "Recipient": "ann@example.test",
            "ChangedAt": "2026-01-02T03:04:05Z",
            "SuppressSending": suppress,
            "SuppressionReason": reason,
        }
    )


def seen(record: str, time_field: str) -> Callback:
    return webhook(
        {"RecordType": record, "Recipient": "ann@example.test", time_field: "2026-01-02T03:04:05Z"}
    )


DELIVERED = seen("Delivery", "DeliveredAt")


def found(tag: str | None, metadata: dict[str, str] | None) -> dict[str, object]:
    item: dict[str, object] = {"MessageID": REF, "Tag": tag, "Status": "Sent"}
    return item if metadata is None else {**item, "Metadata": metadata}


_OTHER = found("other", {"nid": str(MESSAGE.notification_id), "att": "1"})

SAMPLES = Samples(
    access=ACCESS,
    message=MESSAGE,
    accepted=reply(
        200,
        {
            "To": "ann@example.test",
            "SubmittedAt": "2026-01-02T03:04:05.1234567Z",
            "MessageID": REF,
            "ErrorCode": 0,
            "Message": "OK",
        },
    ),
    accepted_ref=REF,
    replies=(
        (error(406, "Inactive recipient ann@example.test"), OutcomeKind.REFUSED_RECIPIENT),
        (error(300, "Invalid 'To' address: 'ann@'."), OutcomeKind.REFUSED_RECIPIENT),
        (error(300, "Invalid 'ReplyTo' address: 'x'."), OutcomeKind.REFUSED_CONTENT),
        (error(300, "Invalid 'From' address: 'x'."), OutcomeKind.REFUSED_ACCOUNT),
        (error(403), OutcomeKind.REFUSED_CONTENT),
        (error(99999), OutcomeKind.REFUSED_CONTENT),
        (error(10, status=401), OutcomeKind.REFUSED_ACCOUNT),
        (error(405), OutcomeKind.REFUSED_ACCOUNT),
        (error(412), OutcomeKind.REFUSED_ACCOUNT),
        (Response(status=413), OutcomeKind.REFUSED_CONTENT),
        (error(429, status=429), OutcomeKind.THROTTLED),
        (error(100, "Maintenance", status=503), OutcomeKind.UNAVAILABLE),
        (error(500, status=500), OutcomeKind.UNKNOWN),
        # an error inside a 200
        (error(406, status=200), OutcomeKind.REFUSED_RECIPIENT),
        (error(100, status=200), OutcomeKind.UNAVAILABLE),
        (
            reply(
                200,
                {
                    "MessageID": REF,
                    "ErrorCode": 0,
                    "Message": "OK, but will not deliver to these inactive addresses: "
                    "Ann@example.test",
                },
            ),
            OutcomeKind.REFUSED_RECIPIENT,
        ),
        # accepted, to be delivered later: the code may be missing
        (reply(200, {"MessageID": REF, "Message": "Delayed"}), OutcomeKind.ACCEPTED),
        (reply(200, {"ErrorCode": 0, "Message": "OK"}), OutcomeKind.UNKNOWN),
    ),
    lookup_found=reply(200, {"TotalCount": 2, "Messages": [_OTHER, found(None, METADATA)]}),
    lookup_ref=REF,
    lookup_others=reply(200, {"TotalCount": 1, "Messages": [_OTHER]}),
    lookup_full=reply(200, {"TotalCount": 900, "Messages": [_OTHER] * 50}),
    callbacks=(
        (DELIVERED, ReceiptKind.DELIVERED),
        (seen("Open", "ReceivedAt"), ReceiptKind.OPENED),
        (seen("Click", "ReceivedAt"), ReceiptKind.CLICKED),
        (bounce("HardBounce"), ReceiptKind.BOUNCED_HARD),
        (bounce("SoftBounce", 992), ReceiptKind.BOUNCED_SOFT),
        (bounce("Transient", 993), ReceiptKind.DEFERRED),
        (bounce("Blocked", 994), ReceiptKind.FAILED),
        (bounce("SpamNotification", 995), ReceiptKind.COMPLAINED),
        (bounce("AutoResponder", 996), None),
        (
            webhook({"RecordType": "SpamComplaint", "ID": 997, "Email": "ann@example.test"}),
            ReceiptKind.COMPLAINED,
        ),
        (suppression("ManualSuppression"), ReceiptKind.UNSUBSCRIBED),
        (suppression("HardBounce"), ReceiptKind.BOUNCED_HARD),
        (suppression(None, suppress=False), None),
    ),
    unknown_callback=webhook({"RecordType": "Teleported"}),
    forged=(
        webhook({"RecordType": "Delivery"}, authorization=""),
        webhook({"RecordType": "Delivery"}, authorization="Basic !"),
        webhook({"RecordType": "Delivery"}, authorization="Basic bGFzdHdvcmQ6d3Jvbmc="),
        webhook({"RecordType": "Delivery"}, authorization=f"Bearer {SECRET}"),
    ),
    stale=None,
    deadlines=(),
    deadline_field=None,
)
