"""Dispatch processes that share a lane, on real Kafka and PostgreSQL, with the sandbox behind them.

Who claims what when is noted, by partition, which shows how partitions move from one to another.
"""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from uuid import uuid4

import psycopg
from confluent_kafka.admin import AdminClient
from msgspec import Struct

from services.core.catalogue import Lane
from services.core.events import Channel, Leg, NotificationRouted, Proposal
from services.core.identifiers import (
    AccountName,
    NotificationId,
    Origin,
    SupersessionKey,
    TypeName,
    supersession_key,
)
from services.core.ledger import ClaimAnswer, ClaimRequest
from services.core.partitioner import partition_of
from services.core.topics import queued
from services.dispatch.kafka_source import KafkaSource
from services.dispatch.process import Dispatch, Outside
from services.dispatch.sender import HttpSender
from services.providers import PROVIDERS
from services.runtime.access import build_accesses
from services.runtime.catalogue import load_catalogue
from services.runtime.chance import SystemChance
from services.runtime.clock import SystemClock, utc_now
from services.runtime.codec import Codec
from services.runtime.deployed import inspect_log
from services.runtime.ledger.postgres import PostgresLedger, trust
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.settings import Settings
from services.runtime.topics import create_topics
from services.sandbox.app import Sandbox
from services.sandbox.faults import Hang
from tests.integration.stack import SHOP, secrets

__all__ = ["GROUP", "PARTITIONS", "Claimed", "House", "Member", "house"]

PARTITIONS = 4
LANE = Lane.CRITICAL
GROUP = f"lastword.dispatch.{LANE}"
_CODEC = Codec()
_PATIENCE_S = 60.0
_ACCOUNTS = (AccountName("postmark-transactional"),)


class Claimed(Struct, frozen=True):
    """A claim was granted."""

    at: float
    member: str
    partition: int
    id: NotificationId


class _NotingLedger(PostgresLedger):
    """Notes what is granted."""

    house: "House"
    member: str

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[ClaimAnswer]:
        answers = await super().claim(requests)
        now = time.monotonic()
        for request, answer in zip(requests, answers, strict=True):
            if answer.refused is None:
                number = partition_of(request.identity.key.encode(), PARTITIONS)
                claimed = Claimed(now, self.member, number, request.identity.id)
                self.house.claimed.append(claimed)
        return answers


class Member:
    """One of them, from its start until it is told to leave."""

    def __init__(self, name: str, task: "asyncio.Task[None]", stop: asyncio.Event) -> None:
        self.name = name
        self.task = task
        self._stop = stop

    async def leave(self) -> None:
        """As on SIGTERM, to its end."""
        self._stop.set()
        await self.task


class House:
    """The lane, its members, and what was noted."""

    def __init__(self, kafka: Mapping[str, str], dsn: str, sandbox: Sandbox) -> None:
        self._kafka = kafka
        self._dsn = dsn
        self._log = inspect_log(kafka)
        self.sandbox = sandbox
        self.claimed: list[Claimed] = []
        self.asked: list[NotificationId] = []
        self._names = itertools.count(1)
        self._producer = LogProducer(kafka, client_id="test")
        self.members: list[Member] = []

    def join(self) -> Member:
        """One more."""
        name, stop = f"member-{next(self._names)}", asyncio.Event()
        member = Member(name, asyncio.create_task(self._dispatch(name, stop)), stop)
        self.members.append(member)
        return member

    async def close(self) -> None:
        await asyncio.gather(*(member.leave() for member in self.members))
        await asyncio.to_thread(self._producer.close)

    # -- what is asked for ----------------------------------------------------------------------

    async def ask(self, *users: str) -> None:
        """Append a proposal for each."""
        await self._producer.publish_async([self._proposal(user) for user in users])

    @asynccontextmanager
    async def traffic(self, every_s: float = 0.02, users: int = 0) -> AsyncIterator[None]:
        """One for each partition or so, again and again, for as long as the block lasts.

        ``users``: so many, one after the other, again and again; 0: always another.
        """
        numbers = itertools.cycle(range(users)) if users else itertools.count()

        async def write() -> None:
            while True:
                await self.ask(*(f"u{next(numbers)}" for _ in range(PARTITIONS)))
                await asyncio.sleep(every_s)

        task = asyncio.create_task(write())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _proposal(self, user: str) -> OutRecord:
        id, now = NotificationId(uuid4()), utc_now()
        key = _key(user)
        address = f"{user}@example.test"
        self.asked.append(id)
        event = NotificationRouted(
            notification_id=id,
            key=key,
            tenant="default",
            user=user,
            type=TypeName("login_code"),
            origin=Origin(topic_id="t", partition=0, offset=len(self.asked)),
            requested_at=now,
            deadline=now + timedelta(minutes=5),
            proposal=Proposal.SEND,
            legs=(Leg(channel=Channel.EMAIL, address=address, accounts=_ACCOUNTS),),
            data={"code": "012345"},
        )
        return OutRecord(topic=queued(LANE), key=key.encode(), value=_CODEC.encode(event))

    # -- what came of it ------------------------------------------------------------------------

    async def until_shared(self, *members: Member) -> None:
        """Until what was claimed last of each partition was claimed by these, and all of them."""
        wanted = {member.name for member in members}
        async with asyncio.timeout(_PATIENCE_S):
            while set(self.owners().values()) != wanted:
                for member in members:
                    assert not member.task.done(), member.task.exception()
                await asyncio.sleep(0.02)

    def owners(self) -> dict[int, str]:
        """Who claimed last, by partition."""
        return {claimed.partition: claimed.member for claimed in self.claimed}

    def hand_overs(self, since: float) -> dict[int, float]:
        """Seconds from a partition's last claim by one to its first by the next, since then."""
        by_partition: dict[int, list[Claimed]] = defaultdict(list)
        for claimed in self.claimed:
            by_partition[claimed.partition].append(claimed)
        return {
            number: later.at - earlier.at
            for number, claims in by_partition.items()
            for earlier, later in itertools.pairwise(claims)
            if earlier.member != later.member and later.at > since
        }

    async def ask_in_vain(self, member: Member) -> None:
        """Ask for one that is this member's, and whose send hangs from now on."""
        names = (f"stuck-{number}" for number in itertools.count())
        async with asyncio.timeout(_PATIENCE_S):
            # a partition may be on its way to another
            while await self._claimed_in_vain(next(names), member) != member.name:
                pass

    async def _claimed_in_vain(self, user: str, member: Member) -> str:
        """Who claimed one of the user's, whose send hangs; empty: it is none of this member's."""
        number = partition_of(_key(user).encode(), PARTITIONS)
        if self.owners().get(number) != member.name:
            await asyncio.sleep(0.001)
            return ""
        await self.sandbox.set_faults("postmark", [Hang(address=f"{user}@example.test")])
        record = self._proposal(user)
        # others are asked for meanwhile
        id = self.asked[-1]
        await self._producer.publish_async([record])
        while not (found := [claimed for claimed in self.claimed if claimed.id == id]):
            await asyncio.sleep(0.02)
        return found[0].member

    async def until_closed(self) -> None:
        """Until each that was asked for has its verdict."""
        async with asyncio.timeout(_PATIENCE_S):
            while sum(self.verdicts().values()) < len(self.asked):
                await asyncio.sleep(0.1)

    def verdicts(self) -> dict[str, int]:
        """How many of those asked for ended how, by the ledger."""
        query = (
            "SELECT closed_as, count(*) FROM ledger.notifications"
            " WHERE closed_as IS NOT NULL AND id = ANY (%s) GROUP BY closed_as"
        )
        with psycopg.connect(self._dsn) as connection:
            return {str(reason): n for reason, n in connection.execute(query, (self.asked,))}

    async def _dispatch(self, name: str, stop: asyncio.Event) -> None:
        loaded = load_catalogue(SHOP)
        settings = Settings(base_urls=self.sandbox.base_urls, secrets=secrets(SHOP))
        accesses = build_accesses(loaded.catalogue, PROVIDERS, settings)
        ledger = _NotingLedger(self._dsn, self._log.requested_ids(), restore=trust)
        ledger.house, ledger.member = self, name
        async with AsyncExitStack() as stack:
            producer = LogProducer(self._kafka, client_id=name)
            stack.push_async_callback(asyncio.to_thread, producer.close)
            await stack.enter_async_context(ledger)
            sender = await stack.enter_async_context(HttpSender(loaded.catalogue.accounts))
            source = partial(
                KafkaSource, self._kafka, self._log.ids, group=GROUP, topic=queued(LANE)
            )
            outside = Outside(
                ledger=ledger,
                version_of=ledger.version_of,
                publisher=producer,
                sender=sender,
                clock=SystemClock(),
                chance=SystemChance(),
                sources={LANE: source},
            )
            await Dispatch(outside, loaded, accesses, PROVIDERS, _CODEC).run(stop)


def _key(user: str) -> SupersessionKey:
    return supersession_key("default", user, "login_code")


@asynccontextmanager
async def house(kafka: Mapping[str, str], dsn: str) -> AsyncIterator[House]:
    """A house without members; those that join leave at the end of the block."""
    create_topics(AdminClient(dict(kafka)), partitions=PARTITIONS, replication=1)
    async with Sandbox() as sandbox:
        made = House(kafka, dsn, sandbox)
        try:
            yield made
        finally:
            await made.close()
