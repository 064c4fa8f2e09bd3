"""What the engine asks of the world: how to address a provider and read its replies.

Providers are sans I/O: they build requests and read replies, and somebody else moves the bytes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from services.core.catalogue import Account
from services.core.errors import LastwordError
from services.core.events import Channel, ReceiptKind, Success
from services.core.identifiers import NotificationId
from services.core.outcomes import Outcome

__all__ = [
    "Access",
    "Callback",
    "Capabilities",
    "Content",
    "ForgedCallback",
    "IdempotentSend",
    "Lookup",
    "Message",
    "Provider",
    "Reconcile",
    "Report",
    "Request",
    "Response",
]


class IdempotentSend(StrEnum):
    """What the vendor does with a repeated request."""

    KEY_REPLAY = "the same key answers again and sends nothing"
    NONE = "a repeat is a second message"


class Reconcile(StrEnum):
    """How an unknown attempt can be found out."""

    SEARCH = "search by recipient and time"
    WEBHOOK_ONLY = "only its receipt tells"
    IMPOSSIBLE = "nothing tells"


class Capabilities(Struct, frozen=True, gc=False, kw_only=True):
    """What a vendor can do. The README's table is printed from these."""

    channels: tuple[Channel, ...]
    idempotent_send: IdempotentSend
    reconcile: Reconcile
    #: where our ids travel, and come back in webhooks
    correlation: str
    #: seconds that the vendor can be told to keep trying for, least and most
    native_deadline: tuple[int, int] | None = None
    #: the furthest that its receipts tell of
    reports: Success = Success.SEEN
    #: messages in one request
    batch_max: int = 1
    #: after this a look-up that finds nothing counts; seconds
    settling_s: int = 1800
    #: the names of secrets and settings that an account needs, and of those that it may have
    secrets: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    optional_secrets: tuple[str, ...] = ()
    optional_settings: tuple[str, ...] = ()


class Access(Struct, frozen=True, gc=False, kw_only=True):
    """An account as it is used: with its secrets, where it is called, and where it calls back."""

    account: Account
    #: no trailing slash; the vendor's own address, or a sandbox
    base_url: str
    secrets: Mapping[str, str]
    #: our webhook endpoint for this account, as the vendor sees it
    callback_url: str


class Content(Struct, frozen=True, gc=False, kw_only=True):
    """A rendered message. SMS has text only."""

    text: str
    subject: str | None = None
    html: str | None = None


class Message(Struct, frozen=True, gc=False, kw_only=True):
    """One message to one address: one attempt of one notification."""

    notification_id: NotificationId
    attempt: int
    type: str
    channel: Channel
    address: str
    content: Content


class Request(Struct, frozen=True, gc=False, kw_only=True):
    """An HTTP request, whole."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


class Response(Struct, frozen=True, gc=False, kw_only=True):
    """An HTTP reply, whole. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Callback(Struct, frozen=True, gc=False, kw_only=True):
    """A webhook call as it came. ``url`` is the public one; header names are lower case."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class Report(Struct, frozen=True, gc=False, kw_only=True):
    """What one webhook event says of one attempt."""

    kind: ReceiptKind
    #: the vendor's dedupe key: equal for repeats of one event
    dedupe: str
    #: from the correlation; None where the event carries none of ours
    notification_id: NotificationId | None = None
    attempt: int | None = None
    #: None where the vendor gives no time
    occurred_at: datetime | None = None
    provider_ref: str | None = None
    code: str = ""
    detail: str = ""


class Lookup(StrEnum):
    """What a look-up says. Not found proves nothing before the vendor's settling time."""

    FOUND = "found"
    NOT_FOUND = "not found"
    NO_ANSWER = "no answer"


class ForgedCallback(LastwordError):
    """A webhook that is not from the vendor, or is too old: answer 401, and count it."""


class Provider(Protocol):
    """How to address one vendor, and how to read its replies."""

    name: str
    capabilities: Capabilities
    #: the vendor's own address, without a trailing slash
    default_base_url: str

    def build_request(
        self, access: Access, messages: Sequence[Message], *, time_left: timedelta
    ) -> Request:
        """One request for all the messages; more than one only up to ``batch_max``.

        Raises ``Misconfigured`` where the account lacks a secret or a setting.
        """
        ...

    def read_response(self, messages: Sequence[Message], response: Response) -> Sequence[Outcome]:
        """One outcome a message, in order. Never raises: what it cannot read is unknown.

        A refusal of a whole batch (status not 2xx) gives every message the same outcome, though one
        of them may have caused it: the caller repeats such messages singly.
        """
        ...

    def build_lookup(self, access: Access, message: Message, *, since: datetime) -> Request | None:
        """A request that may find the message; None where the vendor has no look-up.

        ``since``: when the attempt started.
        """
        ...

    def read_lookup(
        self, message: Message, response: Response, *, since: datetime
    ) -> tuple[Lookup, str | None]:
        """Whether it was found, and the provider's id of it. Never raises.

        ``since`` is the one given to ``build_lookup``: without an id of ours to compare, an older
        message with the same words must not be taken for this one.
        """
        ...

    def read_callback(
        self, access: Access, callback: Callback, *, now: datetime
    ) -> Sequence[Report]:
        """What a webhook reports, once it is verified.

        Raises ``ForgedCallback``, or ``PoisonEvent`` where it is genuine and not understood.
        """
        ...
