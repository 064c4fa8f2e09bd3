"""What each provider must show the conformance suite; one module a provider, with ``SAMPLES``."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from uuid import UUID

from msgspec import Struct

from services.core.catalogue import Account
from services.core.events import Channel, ReceiptKind
from services.core.identifiers import AccountName, NotificationId
from services.core.outcomes import OutcomeKind
from services.core.ports import Access, Callback, Content, Message, Response

__all__ = ["NOW", "Samples", "access", "message", "samples_of"]

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Samples(Struct, frozen=True, kw_only=True):
    """Sample payloads of one provider. All are of ``message`` and ``access``."""

    access: Access
    message: Message
    #: the reply that takes the message, and the id in it
    accepted: Response
    accepted_ref: str
    #: replies with the vendor's own words, and what they mean; each class of outcome is in it
    replies: Sequence[tuple[Response, OutcomeKind]]
    #: look-ups that find the message, with its id, and that find only others
    lookup_found: Response
    lookup_ref: str
    lookup_others: Response
    #: a page that is full of others, so that the message may be on the next
    lookup_full: Response
    #: genuine webhooks signed at NOW, all of ``message``; None: for information only
    callbacks: Sequence[tuple[Callback, ReceiptKind | None]]
    #: genuine, and of no kind that we know
    unknown_callback: Callback
    #: not signed by the vendor
    forged: Sequence[Callback]
    #: genuine but too old; None where the vendor signs no time
    stale: Callback | None
    #: seconds left, and what the request then says of it
    deadlines: Sequence[tuple[float, bytes | None]]
    #: what stands before the deadline in a request's body
    deadline_field: bytes | None


def samples_of(name: str) -> Samples:
    """Fails, naming the module to write, for a provider that is listed without samples."""
    try:
        module = import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        raise AssertionError(
            f"provider {name!r} is listed without samples: "
            f"write tests/conformance/samples/{name}.py"
        ) from error
    samples = module.SAMPLES
    assert isinstance(samples, Samples)
    return samples


def access(provider: str, *, secrets: Mapping[str, str], settings: Mapping[str, str]) -> Access:
    return Access(
        account=Account(name=AccountName("sample"), provider=provider, settings=settings),
        base_url="https://vendor.example",
        secrets=secrets,
        callback_url="https://lastword.example/webhooks/sample",
    )


def message(channel: Channel, address: str, *, attempt: int = 2) -> Message:
    return Message(
        notification_id=NotificationId(UUID("6f1c2a34-0000-4000-8000-00000000002a")),
        attempt=attempt,
        type="password_reset",
        channel=channel,
        address=address,
        content=Content(
            subject=None if channel is Channel.SMS else "Your new password",
            text="Choose a new password: äöü & <ok> 100%",
            html=None if channel is Channel.SMS else "<p>Choose a new password</p>",
        ),
    )
