"""Twilio's payloads."""

from datetime import timedelta
from email.utils import format_datetime
from urllib.parse import urlencode

import msgspec

from services.core.events import Channel, ReceiptKind
from services.core.outcomes import OutcomeKind
from services.core.ports import Callback, Response
from services.providers.twilio import webhook_signature
from tests.conformance.samples import NOW, Samples, access, message

TOKEN = "sim-token"
MESSAGE = message(Channel.SMS, "+15550001111")
ACCESS = access(
    "twilio",
    secrets={"auth_token": TOKEN},
    settings={"account_sid": "AC1", "from": "+15550002222"},
)
REF = "SM1"
URL = (
    f"{ACCESS.callback_url}?nid={MESSAGE.notification_id}&att={MESSAGE.attempt}&type=password_reset"
)


def error(code: int, *, status: int = 400) -> Response:
    body = {"code": code, "message": "No to +15550001111.", "more_info": "", "status": status}
    return Response(status=status, body=msgspec.json.encode(body))


def created(**fields: object) -> Response:
    body = {"sid": REF, "status": "queued", "error_code": None, "error_message": None, **fields}
    return Response(status=201, body=msgspec.json.encode(body))


def webhook(
    status: str, code: str | None = None, *, key: str = TOKEN, signed_url: str = URL
) -> Callback:
    form = {"MessageSid": REF, "SmsSid": REF, "AccountSid": "AC1", "MessageStatus": status}
    form |= {"To": "+15550001111", "From": "+15550002222", "ApiVersion": "2010-04-01"}
    if code is not None:
        form["ErrorCode"] = code
    return Callback(
        url=URL,
        headers={
            "content-type": "application/x-www-form-urlencoded",
            "x-twilio-signature": webhook_signature(key, signed_url, form.items()),
        },
        body=urlencode(form).encode(),
    )


def listed(sid: str, body: str, age: timedelta) -> dict[str, str]:
    return {"sid": sid, "body": body, "date_created": format_datetime(NOW - age)}


def listing(*messages: dict[str, str]) -> Response:
    return Response(status=200, body=msgspec.json.encode({"messages": messages}))


TEXT = MESSAGE.content.text
_OLDER = listed("SM0", TEXT, timedelta(hours=1))
_OTHER = listed("SM2", "Your parcel is on its way", timedelta())

SAMPLES = Samples(
    access=ACCESS,
    message=MESSAGE,
    accepted=created(),
    accepted_ref=REF,
    replies=(
        (error(21211), OutcomeKind.REFUSED_RECIPIENT),
        (error(21610), OutcomeKind.REFUSED_RECIPIENT),
        (error(21617), OutcomeKind.REFUSED_CONTENT),
        (error(99999), OutcomeKind.REFUSED_CONTENT),
        (error(20003, status=401), OutcomeKind.REFUSED_ACCOUNT),
        (error(20404, status=404), OutcomeKind.REFUSED_ACCOUNT),
        (error(21606), OutcomeKind.REFUSED_ACCOUNT),
        (error(20429, status=429), OutcomeKind.THROTTLED),
        (error(21611), OutcomeKind.THROTTLED),
        (error(20503, status=503), OutcomeKind.UNAVAILABLE),
        (error(20500, status=500), OutcomeKind.UNKNOWN),
        # an error inside a 201
        (created(status="failed", error_code=30022), OutcomeKind.THROTTLED),
        (created(sid=""), OutcomeKind.UNKNOWN),
    ),
    lookup_found=listing(_OTHER, listed(REF, TEXT, timedelta()), _OLDER),
    lookup_ref=REF,
    lookup_others=listing(_OTHER, _OLDER),
    lookup_full=listing(*[_OTHER] * 200),
    callbacks=(
        (webhook("queued"), ReceiptKind.ACCEPTED),
        (webhook("sent"), ReceiptKind.SENT),
        (webhook("delivered"), ReceiptKind.DELIVERED),
        (webhook("undelivered", "30005"), ReceiptKind.BOUNCED_HARD),
        (webhook("undelivered", "30003"), ReceiptKind.BOUNCED_SOFT),
        (webhook("undelivered", "30007"), ReceiptKind.FAILED),
        (webhook("undelivered", "39999"), ReceiptKind.BOUNCED_SOFT),
        (webhook("failed"), ReceiptKind.FAILED),
        (webhook("failed", "30036"), ReceiptKind.EXPIRED),
        (webhook("canceled"), ReceiptKind.FAILED),
        (webhook("read"), ReceiptKind.OPENED),
    ),
    unknown_callback=webhook("teleported"),
    forged=(
        webhook("delivered", key="another-token"),
        webhook("delivered", signed_url=URL + "0"),
        Callback(url=URL, headers={}, body=b"MessageSid=SM1&MessageStatus=delivered"),
    ),
    stale=None,
    deadlines=(
        (0.2, b"1"),
        (59.9, b"59"),
        (36_000.0, b"36000"),
        (90_000.0, b"36000"),
    ),
    deadline_field=b"ValidityPeriod=",
)
