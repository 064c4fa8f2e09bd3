"""What a storm does to a house: each blow strikes something, waits, and puts it right again."""

import time
from collections.abc import Callable, Mapping, Sequence
from random import Random

import psycopg
from msgspec import Struct

from services.sandbox.faults import (
    Down,
    DropBefore,
    Fault,
    HttpStatus,
    HttpStatusTaken,
    ReplyLost,
    Slow,
    Throttle,
)
from tests.chaos.house import House
from tests.chaos.instance import Instance
from tests.chaos.proxy import Proxy, Way

__all__ = ["BLOWS", "Blow", "Field"]

_POINTS = (
    *("before_claim", "after_claim", "before_send", "before_write"),
    *("after_send", "after_settle", "after_publish", "before_close"),
)
#: a point that nobody passes in this time is let go
_PASSED_WITHIN_S = 8.0
_KAFKA, _POSTGRES, _PROVIDERS = "kafka", "postgres", "providers"


class Field(Struct, frozen=True):
    """Where one blow falls. ``chance`` is the blow's own, so that threads share none."""

    house: House
    chance: Random
    #: what it strikes; nobody else does meanwhile
    target: str

    @property
    def instance(self) -> Instance:
        return self.house[self.target]

    def wait(self, least_s: float, most_s: float) -> None:
        time.sleep(self.chance.uniform(least_s, most_s))


class Blow(Struct, frozen=True, kw_only=True):
    """Its ``strike`` answers how many processes it killed."""

    name: str
    #: how often, beside the others
    weight: float
    #: which of the house it may strike
    targets: Sequence[str]
    strike: Callable[[Field], int]


# -- services -------------------------------------------------------------------------------------


def _kill(field: Field) -> int:
    field.instance.kill()
    field.wait(0, 2)
    field.instance.begin()
    return 1


def _kill_at_a_point(field: Field) -> int:
    """It dies in the middle of something; or, where nobody passes there in time, not at all."""
    instance, point = field.instance, field.chance.choice(_POINTS)
    instance.hooks.arm(point, nth=field.chance.randint(1, 5))
    ends = time.monotonic() + _PASSED_WITHIN_S
    while instance.pid is not None and time.monotonic() < ends:
        time.sleep(0.05)
    instance.hooks.clear()
    if instance.pid is not None:
        return 0
    field.wait(0, 2)
    instance.begin()
    return 1


def _stop(field: Field) -> int:
    field.instance.stop()
    field.wait(0, 2)
    field.instance.begin()
    return 0


def _pause(field: Field) -> int:
    """Longer than a lease and a session, now and then."""
    field.instance.pause()
    field.wait(1, 12)
    field.instance.resume()
    return 0


def _break_link(field: Field) -> int:
    """One of its connections: cut, reset, silent, stuck, one-sided or slow."""
    proxy = field.chance.choice(_links(field.instance))
    ways = field.chance.choice(((Way.OUT,), (Way.BACK,), tuple(Way)))
    field.chance.choice(_BREAKS)(proxy, ways)
    field.wait(1, 8)
    proxy.mend()
    if field.instance.service == "tracker":
        # its fold waits for answers however long, as TCP loses none of a connection that lives on
        proxy.reset()
    return 0


def _links(instance: Instance) -> list[Proxy]:
    links = [instance.kafka]
    if instance.service in ("dispatch", "tracker"):
        links.append(instance.postgres)
    if instance.service == "dispatch":
        links += instance.providers.values()
    return links


_BREAKS: Sequence[Callable[[Proxy, Sequence[Way]], object]] = (
    lambda proxy, _: proxy.cut(),
    lambda proxy, _: proxy.reset(),
    lambda proxy, ways: proxy.drop(*ways),
    lambda proxy, _: proxy.hold(Way.BACK),
    lambda proxy, ways: proxy.half_close(*ways),
    lambda proxy, ways: proxy.delay(0.2, *ways),
    lambda proxy, ways: proxy.reset_after(3_000, *ways),
)


# -- servers --------------------------------------------------------------------------------------


def _kill_a_broker(field: Field) -> int:
    number = field.chance.randint(1, field.house.plan.brokers)
    field.house.kafka.kill(number)
    field.wait(0, 2)
    field.house.kafka.restart(number)
    return 1


def _pause_a_broker(field: Field) -> int:
    number = field.chance.randint(1, field.house.plan.brokers)
    field.house.kafka.pause(number)
    field.wait(1, 6)
    field.house.kafka.resume(number)
    return 0


def _kill_postgres(field: Field) -> int:
    field.house.postgres.kill()
    field.wait(0, 3)
    field.house.postgres.restart()
    return 1


def _pause_postgres(field: Field) -> int:
    field.house.postgres.pause()
    field.wait(1, 8)
    field.house.postgres.resume()
    return 0


def _kill_backends(field: Field) -> int:
    """All of its connections, in the middle of whatever they do."""
    with psycopg.connect(field.house.postgres.dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    return 0


# -- providers ------------------------------------------------------------------------------------


def _trouble_a_provider(field: Field) -> int:
    field.house.providers.set_faults(field.target, field.chance.choice(_TROUBLES))
    field.wait(2, 8)
    field.house.providers.set_faults(field.target)
    return 0


_TROUBLES: Sequence[Fault] = (
    Down(),
    ReplyLost(probability=0.3),
    DropBefore(probability=0.3),
    HttpStatus(status=503, own_body=True),
    HttpStatus(status=502, probability=0.3),
    HttpStatusTaken(status=500, probability=0.3),
    Slow(ms=3_000, probability=0.3),
    Throttle(retry_after=1.0),
)

_DISPATCH = ("dispatch", "dispatch-2")
_SERVICES = ("ingest", "router", "router-2", *_DISPATCH, "tracker", "tracker-2")
_LINKED = ("router", "router-2", *_DISPATCH, *_DISPATCH, "tracker", "tracker-2", "ingest")
BLOWS: Mapping[str, Blow] = {
    blow.name: blow
    for blow in (
        Blow(name="kill", weight=9, targets=_SERVICES, strike=_kill),
        Blow(name="kill at a point", weight=5, targets=_DISPATCH, strike=_kill_at_a_point),
        Blow(name="stop", weight=1, targets=_SERVICES, strike=_stop),
        Blow(name="pause", weight=3, targets=_SERVICES, strike=_pause),
        Blow(name="break a link", weight=5, targets=_LINKED, strike=_break_link),
        Blow(name="kill a broker", weight=0.5, targets=(_KAFKA,), strike=_kill_a_broker),
        Blow(name="pause a broker", weight=0.5, targets=(_KAFKA,), strike=_pause_a_broker),
        Blow(name="kill PostgreSQL", weight=0.7, targets=(_POSTGRES,), strike=_kill_postgres),
        Blow(name="pause PostgreSQL", weight=0.5, targets=(_POSTGRES,), strike=_pause_postgres),
        Blow(name="kill backends", weight=0.7, targets=(_POSTGRES,), strike=_kill_backends),
        Blow(
            name="trouble a provider",
            weight=2,
            targets=("postmark", "mailgun"),
            strike=_trouble_a_provider,
        ),
    )
}
