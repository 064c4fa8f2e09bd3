"""Bugs for negative controls: with one of them planted, a test has to fail."""

import asyncio
from collections.abc import Callable, Mapping, Sequence


def unmoved() -> None:
    """The router takes a record on the wrong partition as if it stood on the right one."""
    from services.core.requested import Misplaced, ReadRecord, read_requested
    from services.router import decide

    def read(*arguments: object, **named: object) -> ReadRecord:
        found = read_requested(*arguments, **named)  # type: ignore[arg-type]
        return found.read if isinstance(found, Misplaced) else found

    decide.read_requested = read  # type: ignore[attr-defined]


def swallowed() -> None:
    """The router passes over what it cannot read, and tells nobody."""
    from services.core.record import Record
    from services.router.app import Router
    from services.router.decide import Dead, Output
    from services.runtime.producer import OutRecord

    written = Router._written

    def without_dead(router: Router, record: Record, output: Output) -> list[OutRecord]:
        return [] if isinstance(output, Dead) else written(router, record, output)

    Router._written = without_dead  # type: ignore[method-assign,assignment]


def poison_stops() -> None:
    """What cannot be understood is an error like any other, so that it stops the service."""
    from services.core.errors import PoisonEvent

    def fail(error: PoisonEvent, *arguments: object, **named: object) -> None:
        raise RuntimeError("planted: a record that stops the service")

    PoisonEvent.__init__ = fail  # type: ignore[method-assign,assignment]


def made_again() -> None:
    """Dispatch takes every attempt that was open when it died for one that was never made."""
    import psycopg

    from services.runtime.ledger.postgres import PostgresLedger

    entered = PostgresLedger.__aenter__

    async def forgetful(ledger: PostgresLedger) -> PostgresLedger:
        await entered(ledger)
        with psycopg.connect(ledger._dsn) as connection:
            connection.execute(
                "UPDATE ledger.attempts SET outcome = 'unavailable',"
                " settled_at = clock_timestamp() WHERE outcome IS NULL"
            )
            connection.execute("UPDATE ledger.keys SET open_claim = NULL, open_until = NULL")
        return ledger

    PostgresLedger.__aenter__ = forgetful  # type: ignore[method-assign,assignment]


def answered_early() -> None:
    """Ingest says 202 before Kafka has said that it has the record."""
    from services.runtime.producer import LogProducer, OutRecord

    async def publish(producer: LogProducer, records: Sequence[OutRecord]) -> None:
        async def later() -> None:
            await asyncio.sleep(1.0)
            producer.start(records)

        _waiting.append(asyncio.create_task(later()))

    LogProducer.publish_async = publish  # type: ignore[method-assign,assignment]


def pages_twice() -> None:
    """Each page of a list is asked for twice, as after a crash before the ledger has moved on.

    This is no bug: nothing may follow from it.
    """
    from services.core.lists import Member
    from services.dispatch.fan_out import FanningOut
    from services.dispatch.pending import Candidate

    page = FanningOut._page

    async def twice(fanning: FanningOut, candidate: Candidate, after: str) -> Sequence[Member]:
        await page(fanning, candidate, after)
        return await page(fanning, candidate, after)

    FanningOut._page = twice  # type: ignore[method-assign,assignment]


def members_anew() -> None:
    """And each time under ids of their own."""
    from uuid import uuid4

    from msgspec.structs import replace

    from services.core.events import NotificationRequested, NotificationRouted
    from services.core.identifiers import NotificationId
    from services.core.lists import Member, child_of
    from services.dispatch import fan_out

    def anew(routed: NotificationRouted, member: Member) -> NotificationRequested:
        return replace(child_of(routed, member), id=NotificationId(uuid4()))

    pages_twice()
    fan_out.child_of = anew  # type: ignore[attr-defined]


def digests_twice() -> None:
    """Each digest is asked for twice, as after a crash before that was told.

    This is no bug: nothing may follow from it.
    """
    from services.core.identifiers import NotificationId
    from services.dispatch.digesting import Digesting
    from services.dispatch.pending import Candidate

    merge = Digesting._merge

    async def twice(
        digesting: Digesting, candidate: Candidate, asked_for: set[object]
    ) -> Sequence[NotificationId]:
        await merge(digesting, candidate, set())
        return await merge(digesting, candidate, set())

    Digesting._merge = twice  # type: ignore[method-assign,assignment]


def digests_anew() -> None:
    """And each time under an id of its own."""
    from uuid import uuid4

    from msgspec.structs import replace

    from services.core.digests import request_of
    from services.core.events import NotificationRequested
    from services.core.identifiers import NotificationId
    from services.dispatch import digesting

    def anew(answer: Mapping[str, object]) -> NotificationRequested:
        return replace(request_of(answer), id=NotificationId(uuid4()))

    digests_twice()
    digesting.request_of = anew  # type: ignore[attr-defined]


_waiting: list[asyncio.Task[None]] = []
BUGS: Mapping[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        unmoved,
        swallowed,
        poison_stops,
        made_again,
        answered_early,
        pages_twice,
        members_anew,
        digests_twice,
        digests_anew,
    )
}
