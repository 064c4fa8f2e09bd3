"""One dispatch state on a ledger, a log and a clock in memory."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from services.core.events import AttemptStarted, Event, NotificationClosed
from services.core.identifiers import AccountName, ClaimId
from services.core.quota import Quota
from services.core.topics import ATTEMPTS
from services.dispatch.accounts import Accounts
from services.dispatch.closes import Closes
from services.dispatch.jitter import Jitters
from services.dispatch.log import AttemptLog
from services.dispatch.parking import Parking
from services.dispatch.state import DispatchState
from services.runtime.codec import Codec
from services.runtime.memory import MemoryLog, MemoryProducer
from services.runtime.memory_ledger import MemoryLedger
from tests.unit.dispatch.examples import START

__all__ = ["LoadedDice", "ManualClock", "Memory"]

_CODEC = Codec()


class ManualClock:
    """Stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.at = START
        #: the host's wall clock may be wrong
        self.off = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at + self.off, UTC)

    def true(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def boot(self) -> float:
        return self.at - START


class LoadedDice:
    """No jitter, and claim ids in order."""

    def __init__(self) -> None:
        self._claims = 0

    def jitter(self) -> float:
        return 0.0

    def claim_id(self) -> ClaimId:
        self._claims += 1
        return ClaimId(UUID(int=self._claims))


class Memory:
    """What a step of dispatch works on, and what it leaves behind."""

    def __init__(self, quotas: Mapping[AccountName, Quota] | None = None) -> None:
        self.clock = ManualClock()
        self.log = MemoryLog(1, self.clock.true)
        self.ledger = MemoryLedger({}, now=self.clock.true, quotas=quotas)
        self.ledger.know({"requested": str(UUID(int=7))})
        self.state = DispatchState(
            Accounts({AccountName(name): 10 for name in "abs"}),
            self.ledger,
            AttemptLog(MemoryProducer(self.log), _CODEC, self.clock.boot),
            self.clock,
            LoadedDice(),
            Jitters(quotas or {}),
        )
        self.state.time.hear(self.clock.boot(), self.clock.now())
        self.parking = Parking(self.state)
        self.closes = Closes(self.state, self.parking)

    def told(self) -> Sequence[NotificationClosed]:
        """The verdicts that were published."""
        return [event for event in self._published() if isinstance(event, NotificationClosed)]

    def began(self) -> Sequence[AttemptStarted]:
        """The starts that were published."""
        return [event for event in self._published() if isinstance(event, AttemptStarted)]

    def _published(self) -> Sequence[Event]:
        return [_CODEC.decode(record.value or b"") for record in self.log.records(ATTEMPTS)]
