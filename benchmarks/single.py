"""Single sends and batches: ours, the floor, Celery and Dramatiq, to the same sandbox.

Ours is the dispatch service: it begins
with records on ``deliveries.queued``, and has ended when all are settled and published. The floor
reads the same records and posts for each, with no ledger, no events and no rendering. The peers
have a task in Redis for each, which posts one message, with no guarantee at all.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from uuid import uuid4

from msgspec import Struct

from benchmarks.figures import Figure, alternating
from benchmarks.ground import Ground
from benchmarks.proposals import Proposals
from benchmarks.redis_server import redis
from benchmarks.sandboxed import Sandbox, sample, sandbox
from services.core.identifiers import AccountName, TypeName
from services.core.topics import ATTEMPTS, queued

__all__ = ["BATCH", "SINGLE", "Sending", "measure"]

#: a started, a settled and a closed for each
_FACTS = 3


class Sending(Struct, frozen=True):
    """What is sent, by which account, and how many in a request of ours and of the floor's."""

    type: TypeName
    account: AccountName
    batch: int


SINGLE = Sending(TypeName("invoice"), AccountName("postmark-transactional"), 1)
BATCH = Sending(TypeName("campaign"), AccountName("postmark-broadcast"), 100)


class Work:
    """The same messages for all who send."""

    def __init__(self, ground: Ground, place: Sandbox, server: str, sending: Sending) -> None:
        self._ground, self._place, self._redis = ground, place, server
        self._proposals = Proposals(ground)
        self._type, self._batch = sending.type, sending.batch
        self._topic = queued(ground.loaded.catalogue.types[sending.type].lane)
        catalogue, settings = ground.loaded.catalogue, ground.settings
        self._request = sample(catalogue, settings, sending.account, sending.batch)
        self._single = sample(catalogue, settings, sending.account)

    def ours(self, count: int) -> float:
        ground = self._ground
        ground.fill(self._proposals.of(self._type, count))
        begun = ground.ended([ATTEMPTS])
        with ground.running("services.dispatch"):
            return ground.rate([ATTEMPTS], count * _FACTS, begun) / _FACTS

    def floor(self, count: int) -> float:
        ground, group = self._ground, f"benchmark-{uuid4()}"
        ground.rewind(group, [self._topic])
        arguments = (self._topic, group, str(self._batch))
        return self._sent("benchmarks.single_floor", arguments, count, self._request)

    def peer(self, module: str) -> Callable[[int], float]:
        def sent(count: int) -> float:
            return self._sent(module, (self._redis, str(count)), count, self._single)

        return sent

    def _sent(self, module: str, arguments: tuple[str, ...], count: int, request: str) -> float:
        self._place.forget()
        with self._ground.running(module, *arguments, BENCHMARK_REQUEST=request):
            return self._place.rate(count)


def measure(ground: Ground, sending: Sending, *, count: int, rounds: int) -> Mapping[str, Figure]:
    """``ours``, ``floor``, ``celery`` and ``dramatiq``, in messages a second."""
    with ExitStack() as stack:
        place = stack.enter_context(sandbox(ground))
        server = stack.enter_context(redis(ground.folder / "redis"))
        work = Work(ground, place, server, sending)
        sides: dict[str, Callable[[int], float]] = {
            "ours": work.ours,
            "floor": work.floor,
            "celery": work.peer("benchmarks.peer_celery"),
            "dramatiq": work.peer("benchmarks.peer_dramatiq"),
        }
        runs = {name: partial(run, count) for name, run in sides.items()}
        return alternating(runs, rounds)
