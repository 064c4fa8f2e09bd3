"""What all benchmarks send: five types, of 100,000 users, some of whom are told far more."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from services.core.catalogue import Catalogue
from services.core.events import Addresses, NotificationRequested
from services.core.identifiers import NotificationId, TypeName
from services.core.partitioner import partition_of
from services.core.record import Record
from services.core.topics import requested
from services.runtime.catalogue import LoadedCatalogue, load_catalogue
from services.runtime.clock import utc_now
from services.runtime.codec import Codec
from services.runtime.producer import OutRecord

__all__ = ["USERS", "as_read", "catalogue", "record_of", "requests"]

USERS = 100_000
_SHOP = Path(__file__).parents[1] / "examples" / "shop"
_INVOICE = """
[types.invoice]
lane = "normal"
category = "orders"
supersede = "never"
deadline = "1d"
[[types.invoice.route]]
channel = "email"
accounts = ["postmark-transactional", "mailgun-transactional"]
"""
_INVOICE_DATA = {
    "type": "object",
    "properties": {
        name: {"type": "string", "maxLength": 200} for name in ("order", "total", "url")
    },
    "required": ["order", "total", "url"],
    "additionalProperties": False,
}
#: how often each is asked for
_SHARES = {"password_reset": 1, "login_code": 2, "order_shipped": 3, "invoice": 2, "campaign": 2}
_BODY = "All that keeps you warm is in the shop by now, and until Sunday it costs a third less."


def catalogue(folder: Path) -> LoadedCatalogue:
    """The shop's, and a type that is never superseded; at a new folder."""
    shutil.copytree(_SHOP, folder)
    file = folder / "lastword.toml"
    file.write_text(file.read_text() + _INVOICE)
    (folder / "types" / "invoice.schema.json").write_text(json.dumps(_INVOICE_DATA))
    templates = folder / "templates" / "invoice"
    templates.mkdir()
    (templates / "email.en.subject.txt").write_text("Your invoice for order {{ order }}\n")
    (templates / "email.en.txt").write_text("Order {{ order }}: {{ total }}\n{{ url }}\n")
    return load_catalogue(folder)


def requests(
    count: int, *, seed: int = 1, types: tuple[str, ...] = ()
) -> Iterator[NotificationRequested]:
    """So many, always the same for a seed; of these types alone, or of all by their shares."""
    chance = random.Random(seed)
    names = types or tuple(name for name, share in _SHARES.items() for _ in range(share))
    for number in range(count):
        # a tenth of the users is asked about in nearly half of all requests
        user = f"user-{int(USERS * chance.random() ** 3)}"
        type = names[chance.randrange(len(names))]
        data = _data(type, number)
        yield NotificationRequested(
            user=user,
            type=type,
            to=Addresses(email=f"{user}@customers.example.test", phone=_phone(user)),
            data=data,
            id=NotificationId(UUID(int=chance.getrandbits(128), version=4)),
            subject=str(data["order"]) if type == "order_shipped" else None,
        )


def record_of(request: NotificationRequested, catalogue: Catalogue, codec: Codec) -> OutRecord:
    """As a producer appends it."""
    type = catalogue.types[TypeName(request.type)]
    assert request.id is not None, "the workload gives each an id"
    key = type.key_of(request.tenant, request.user, request.subject, request.id)
    return OutRecord(topic=requested(type.lane), key=key.encode(), value=codec.encode(request))


def as_read(out: OutRecord, topic_id: str, partitions: int, offset: int) -> Record:
    """As a consumer would have it, if it stood there."""
    assert out.key is not None, "record_of gives each a key"
    return Record(
        topic=out.topic,
        topic_id=topic_id,
        partition=partition_of(out.key, partitions),
        offset=offset,
        key=out.key,
        value=out.value,
        timestamp=utc_now(),
    )


def _phone(user: str) -> str:
    return f"+1415555{int(user.rpartition('-')[2]) % 10_000:04d}"


def _data(type: str, number: int) -> dict[str, object]:
    token = f"{number:032x}"
    match type:
        case "password_reset":
            return {"name": "Ann Example", "reset_url": f"https://shop.example.test/reset/{token}"}
        case "login_code":
            return {"code": f"{number % 1_000_000:06d}", "device": "Firefox on Linux"}
        case "invoice":
            url = f"https://shop.example.test/invoices/{token}"
            return {"order": f"A-{number}", "total": "EUR 129.90", "url": url}
        case "campaign":
            return {
                "name": "Ann Example",
                "headline": "Autumn is here",
                "body": _BODY,
                "offer_url": "https://shop.example.test/autumn",
                "unsubscribe_url": f"https://shop.example.test/unsubscribe/{token}",
            }
    return {
        "name": "Ann Example",
        "order": f"A-{number}",
        "items": [{"title": "Blue coat", "quantity": 1}],
        "arrives_on": "2026-03-03",
        "tracking_url": f"https://parcels.example.test/{token}",
    }
