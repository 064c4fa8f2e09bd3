"""Providers in memory: what they take they tell the oracle, whatever the engine comes to know.

One request is a JSON list of messages; one reply a list of outcomes.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from msgspec import Struct

from services.core.events import Channel
from services.core.identifiers import AccountName, NotificationId
from services.core.outcomes import Outcome, OutcomeKind
from services.core.ports import (
    Access,
    Callback,
    Capabilities,
    IdempotentSend,
    Lookup,
    Message,
    Reconcile,
    Report,
    Request,
    Response,
)
from services.dispatch.departure import Departure, TooLate
from tests.simulation.dice import Dice
from tests.simulation.network import Network

__all__ = [
    "SETTLING_S",
    "Fate",
    "MemoryAsker",
    "MemoryProvider",
    "MemorySender",
    "Shipment",
    "Vendors",
    "Watch",
]

SETTLING_S = 4
#: the one account that cannot be asked what became of a message
MUTE = AccountName("b")
#: what was taken may be shown so much later
_SHOWN_WITHIN_S = 3.0
#: kinds of outcome that a vendor may give each message of its own
_APART = (OutcomeKind.ACCEPTED, OutcomeKind.ACCEPTED, OutcomeKind.REFUSED_RECIPIENT)


class Shipment(Struct, frozen=True, array_like=True):
    """One message on its way: an attempt of a notification, and what it says."""

    id: NotificationId
    attempt: int
    words: str


class Fate(StrEnum):
    """What becomes of a request."""

    TAKEN = "taken"
    #: the oracle knows that it was taken; the engine cannot
    REPLY_LOST = "taken, and the reply was lost"
    HANGS = "taken, and the reply is too late"
    TAKEN_BEHIND_502 = "taken, and a proxy says 502"
    TAKEN_LATE = "taken long after, without a reply"
    #: not taken; the engine cannot know
    RESET = "reset before it was read"
    DROPPED_BEHIND_502 = "not taken, and a proxy says 502"
    #: not taken, and the engine is told
    NO_CONNECTION = "no connection"
    UNAVAILABLE = "it says that it takes nothing"
    THROTTLED = "too many"
    REFUSED = "the recipient is refused"
    BAD_CONTENT = "the content is refused, and the whole batch with it"
    APART = "each message has an outcome of its own"
    #: the connection takes long
    SLOW = "connected late, then taken"


_ODD = tuple(fate for fate in Fate if fate is not Fate.TAKEN)


class Watch:
    """Told what really happens; the oracle overrides it."""

    def written(self, account: AccountName, shipment: Shipment) -> None:
        """The first byte leaves."""

    def arrived(self, account: AccountName, shipment: Shipment) -> None:
        """The last byte is there."""

    def taken(self, account: AccountName, shipment: Shipment) -> None:
        """The provider has responsibility."""

    def dropped(self, account: AccountName, shipment: Shipment) -> None:
        """It was written, and will never be taken."""

    def looked(self, account: AccountName, shipment: Shipment, shown: bool | None) -> None:
        """A look-up's answer is there."""


class MemoryProvider:
    """One vendor, as dispatch addresses it."""

    name = "memory"
    capabilities = Capabilities(
        channels=tuple(Channel),
        idempotent_send=IdempotentSend.NONE,
        reconcile=Reconcile.SEARCH,
        correlation="the message",
        batch_max=10,
        settling_s=SETTLING_S,
    )
    default_base_url = "https://vendor.test"

    def build_request(
        self, access: Access, messages: Sequence[Message], *, time_left: timedelta
    ) -> Request:
        shipments = [Shipment(m.notification_id, m.attempt, m.content.text) for m in messages]
        body = msgspec.json.encode(shipments)
        return Request(method="POST", url=access.base_url, headers={}, body=body)

    def read_response(self, messages: Sequence[Message], response: Response) -> Sequence[Outcome]:
        kinds = msgspec.json.decode(response.body, type=list[OutcomeKind])
        after = float(response.headers["retry-after"]) if response.headers else None
        return [Outcome(kind=kind, code=str(response.status), retry_after=after) for kind in kinds]

    def build_lookup(self, access: Access, message: Message, *, since: datetime) -> Request | None:
        if access.account.name == MUTE:
            return None
        told = Shipment(message.notification_id, message.attempt, message.content.text)
        body = msgspec.json.encode(told)
        return Request(method="GET", url=access.base_url, headers={}, body=body)

    def read_lookup(
        self, message: Message, response: Response, *, since: datetime
    ) -> tuple[Lookup, str | None]:
        found = msgspec.json.decode(response.body, type=bool)
        return (Lookup.FOUND if found else Lookup.NOT_FOUND), None

    def read_callback(
        self, access: Access, callback: Callback, *, now: datetime
    ) -> Sequence[Report]:
        return []


class Vendors:
    """All accounts' other ends. ``fates``, while it has any, decides instead of the dice."""

    def __init__(self, network: Network, dice: Dice, watch: Watch) -> None:
        self._network = network
        self._dice = dice
        self._watch = watch
        self.down: set[AccountName] = set()
        self.fates: list[Fate] = []
        #: what an account takes in a second, whatever the catalogue says; more is throttled
        self.takes: dict[AccountName, int] = {}
        self._recent: dict[AccountName, deque[float]] = defaultdict(deque)
        #: seconds that each takes for its reply
        self.thinks_s = 0.0
        #: what was taken, and when that shows
        self._shown_at: dict[tuple[AccountName, Shipment], float] = {}
        #: told of what was taken, for the receipts that follow
        self.on_taken: Callable[[AccountName, Shipment], None] = lambda _account, _shipment: None

    def fate_of(self, account: AccountName, count: int) -> Fate:
        """What becomes of a request with so many messages."""
        if account in self.down:
            return self._dice.one_of((Fate.NO_CONNECTION, Fate.UNAVAILABLE))
        if self.fates:
            return self.fates.pop(0)
        if account in self.takes and self._is_over(account, count):
            return Fate.THROTTLED
        if self._dice.maybe(self._network.weather.provider_odd):
            return Fate.APART if count > 1 and self._dice.maybe(0.4) else self._dice.one_of(_ODD)
        return Fate.TAKEN

    def _is_over(self, account: AccountName, count: int) -> bool:
        now, recent = asyncio.get_running_loop().time(), self._recent[account]
        while recent and recent[0] <= now - 1.0:
            recent.popleft()
        if len(recent) + count > self.takes[account]:
            return True
        recent.extend([now] * count)
        return False

    def arrive(
        self,
        account: AccountName,
        shipments: Sequence[Shipment],
        fate: Fate,
        reply: "asyncio.Future[Response]",
    ) -> None:
        """All bytes are there, unless their sender reset the connection first."""
        if reply.cancelled():
            for shipment in shipments:
                self._watch.dropped(account, shipment)
            return
        kinds = self._outcomes(fate, len(shipments))
        for shipment, kind in zip(shipments, kinds, strict=True):
            self._watch.arrived(account, shipment)
            if kind is not OutcomeKind.ACCEPTED:
                self._watch.dropped(account, shipment)
            elif fate is Fate.TAKEN_LATE:
                late = self._dice.between(0.5, 6.0)
                self._network.later(late, self._take, account, shipment)
            else:
                self._take(account, shipment)
        status, headers = _STATUS.get(fate, (200, {}))
        body = msgspec.json.encode(_as_told(fate, kinds))
        self._answer(fate, reply, Response(status=status, headers=headers, body=body))

    def _answer(self, fate: Fate, reply: "asyncio.Future[Response]", response: Response) -> None:
        if fate in (Fate.REPLY_LOST, Fate.RESET):
            self._network.later(self._network.delay(), _break, reply)
        elif fate is not Fate.TAKEN_LATE:
            late = self._dice.between(0.9, 3.0) if fate is Fate.HANGS else self.thinks_s
            self._network.later(late + self._network.delay(), _resolve, reply, response)

    def _outcomes(self, fate: Fate, count: int) -> list[OutcomeKind]:
        if fate is Fate.APART:
            return [self._dice.one_of(_APART) for _ in range(count)]
        return [_REALLY.get(fate, OutcomeKind.ACCEPTED)] * count

    def shows(self, account: AccountName, shipment: Shipment) -> bool | None:
        """What a look-up says; None: nothing."""
        odd = self._dice.maybe(self._network.weather.lookups_odd)
        if odd or account in self.down:
            return None
        shown_at = self._shown_at.get((account, shipment))
        return shown_at is not None and shown_at <= asyncio.get_running_loop().time()

    def _take(self, account: AccountName, shipment: Shipment) -> None:
        shown_at = asyncio.get_running_loop().time() + self._dice.between(0.0, _SHOWN_WITHIN_S)
        self._shown_at.setdefault((account, shipment), shown_at)
        self._watch.taken(account, shipment)
        self.on_taken(account, shipment)


_REALLY: Mapping[Fate, OutcomeKind] = {
    Fate.RESET: OutcomeKind.UNAVAILABLE,
    Fate.DROPPED_BEHIND_502: OutcomeKind.UNAVAILABLE,
    Fate.UNAVAILABLE: OutcomeKind.UNAVAILABLE,
    Fate.THROTTLED: OutcomeKind.THROTTLED,
    Fate.REFUSED: OutcomeKind.REFUSED_RECIPIENT,
    Fate.BAD_CONTENT: OutcomeKind.REFUSED_CONTENT,
}
_STATUS: Mapping[Fate, tuple[int, Mapping[str, str]]] = {
    Fate.TAKEN_BEHIND_502: (502, {}),
    Fate.DROPPED_BEHIND_502: (502, {}),
    Fate.UNAVAILABLE: (503, {}),
    Fate.THROTTLED: (429, {"retry-after": "1"}),
    Fate.BAD_CONTENT: (422, {}),
}


def _as_told(fate: Fate, kinds: Sequence[OutcomeKind]) -> Sequence[OutcomeKind]:
    if fate in (Fate.TAKEN_BEHIND_502, Fate.DROPPED_BEHIND_502):
        return [OutcomeKind.UNKNOWN] * len(kinds)
    return kinds


def _break(reply: "asyncio.Future[Response]") -> None:
    if not reply.done():
        reply.set_exception(ConnectionResetError())


def _resolve(reply: "asyncio.Future[Response]", response: Response) -> None:
    if not reply.done():
        reply.set_result(response)


class MemoryAsker:
    """Asks the vendors what they have."""

    def __init__(self, vendors: Vendors, network: Network, watch: Watch) -> None:
        self._vendors = vendors
        self._network = network
        self._watch = watch

    async def ask(self, account: AccountName, request: Request) -> Response | None:
        shipment = msgspec.json.decode(request.body, type=Shipment)
        await asyncio.sleep(self._network.delay())
        shown = self._vendors.shows(account, shipment)
        await asyncio.sleep(self._network.delay())
        self._watch.looked(account, shipment, shown)
        return None if shown is None else Response(status=200, body=msgspec.json.encode(shown))


class MemorySender:
    """Moves requests as ``HttpSender`` does: connect, check, write, and wait no longer than told.

    What was written arrives within the time-out, or never: sockets are reset, and the kernel sends
    for no longer.
    """

    def __init__(
        self,
        vendors: Vendors,
        network: Network,
        dice: Dice,
        watch: Watch,
        jitters: Mapping[AccountName, float],
    ) -> None:
        """``jitters``: within how many seconds requests arrive, by account."""
        self._vendors = vendors
        self._network = network
        self._dice = dice
        self._watch = watch
        self._jitters = jitters

    async def send(
        self, account: AccountName, request: Request, departure: Departure, *, timeout_s: float
    ) -> Response | Outcome:
        try:
            async with asyncio.timeout(departure.wait_s() + timeout_s):
                return await self._exchange(account, request, departure, timeout_s)
        except TooLate:
            return departure.missed()
        except (TimeoutError, OSError) as error:
            return departure.failed(type(error).__name__)

    async def _exchange(
        self, account: AccountName, request: Request, departure: Departure, timeout_s: float
    ) -> Response:
        shipments = msgspec.json.decode(request.body, type=list[Shipment])
        fate = self._vendors.fate_of(account, len(shipments))
        slow = fate is Fate.SLOW or self._dice.maybe(self._network.weather.slow)
        await asyncio.sleep(self._dice.between(0.2, 1.2) if slow else self._network.delay())
        if fate is Fate.NO_CONNECTION:
            raise ConnectionRefusedError
        await departure.opened()
        departure.connected()
        for shipment in shipments:
            self._watch.written(account, shipment)
        reply: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        delay = min(self._network.delay(), 0.9 * timeout_s)
        if account in self._jitters:
            delay = self._dice.between(0.0, self._jitters[account])
        self._network.later(delay, self._vendors.arrive, account, shipments, fate, reply)
        # given up, the future is cancelled: the reset overtakes what has not arrived
        return await reply
