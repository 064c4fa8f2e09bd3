"""How one vendor speaks, sans I/O: what a call asks, how it is answered, how a webhook looks."""

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from services.core.identifiers import AccountName
from services.sandbox.ledger import Draft, Entry, Event, Occurrence

__all__ = [
    "Answer",
    "Call",
    "Refusal",
    "Route",
    "Search",
    "Send",
    "Vendor",
    "View",
    "WebhookCall",
    "basic_credentials",
    "json_answer",
]

_JSON = "application/json; charset=utf-8"


class Call(Struct, frozen=True, gc=False, kw_only=True):
    """A request to the vendor's API. Header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes = b""

    def form(self) -> list[tuple[str, str]]:
        """The fields of a url-encoded body, in their order."""
        return parse_qsl(self.body.decode(errors="replace"), keep_blank_values=True)


class Answer(Struct, frozen=True, gc=False, kw_only=True):
    """The vendor's reply."""

    status: int = 200
    body: bytes = b""
    content_type: str = _JSON
    headers: Mapping[str, str] = {}


class Refusal(Struct, frozen=True, gc=False):
    """A message that is not taken, with what the vendor answers for it."""

    code: int
    text: str
    status: int = 422


class View(Protocol):
    """The part of one provider's ledger that look-ups see at the moment, the oldest first."""

    def to_address(self, account: str, address: str) -> Sequence[Entry]: ...
    def with_ref(self, ref: str) -> Sequence[Entry]: ...
    def with_tag(self, account: str, tag: str) -> Sequence[Entry]: ...
    def of_account(self, account: str) -> Sequence[Entry]: ...


class Send(Struct, frozen=True, gc=False):
    """A call that sends. ``reply`` is given the entries and refusals in the order of ``drafts``."""

    drafts: Sequence[Draft | Refusal]
    reply: Callable[[Sequence[Entry | Refusal]], Answer]


class Search(Struct, frozen=True, gc=False):
    """A call that looks for what was sent."""

    answer: Callable[[View], Answer]


Route: TypeAlias = Send | Search | Answer


class WebhookCall(Struct, frozen=True, gc=False, kw_only=True):
    """A webhook to be posted."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class Vendor(Protocol):
    """One vendor's API and webhooks."""

    name: str
    #: it tells of the hand-over to the next hop before it tells of the delivery
    reports_sent: bool

    def account_of(self, call: Call) -> AccountName | None:
        """Whose credentials these are; None: they are not known."""
        ...

    def unauthorised(self) -> Answer: ...

    def route(self, call: Call, account: AccountName) -> Route:
        """What the call asks for. A call that makes no sense is answered at once."""
        ...

    def failure(self, status: int) -> Answer:
        """An error in the vendor's own format."""
        ...

    def error_inside_200(self, send: Send | None) -> Answer:
        """A success by its status that takes nothing; ``send`` is None for a look-up."""
        ...

    def inactive(self) -> Refusal | None:
        """How a suppressed recipient is refused; None: it is accepted, and fails later."""
        ...

    def webhook(
        self, entry: Entry, event: Event, secrets: Mapping[str, str], *, url: str, now: datetime
    ) -> WebhookCall | None:
        """None where the vendor does not report such a thing."""
        ...

    def next_try(
        self, what: Occurrence, tries: int, status: int | None, call: WebhookCall
    ) -> float | None:
        """Seconds to the next try of a webhook answered ``status`` (None: no answer); None: no."""
        ...


def basic_credentials(call: Call) -> tuple[str, str]:
    """User and password; empty where there are none that can be read."""
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    try:
        text = b64decode(token).decode() if scheme.lower() == "basic" else ""
    except ValueError:
        text = ""
    user, _, password = text.partition(":")
    return user, password


def json_answer(body: object, status: int = 200) -> Answer:
    return Answer(status=status, body=msgspec.json.encode(body))
