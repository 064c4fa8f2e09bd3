"""The house in memory: two dispatchers, a router or two, a tracker, and all that they stand on."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from msgspec import field

from services.core.catalogue import Lane, quotas_of
from services.core.errors import Retryable
from services.core.events import Addresses, Channel
from services.core.identifiers import Origin
from services.core.lists import MemberChange
from services.core.recipients import ALL, Profile, ProfileChange
from services.core.record import Record
from services.core.topics import LISTS, RECIPIENTS, queued, requested
from services.dispatch.process import Dispatch, Outside
from services.router.app import Router
from services.runtime.catalogue import LoadedCatalogue
from services.runtime.consumer import Partition, next_offsets
from services.runtime.ledger.restore import Restorer
from services.runtime.ledger.time import LedgerTime
from services.runtime.memory import MemoryConsumer
from services.runtime.memory_ledger import MemoryLedger
from services.runtime.settings import MOST_PENDING
from services.runtime.source import Ownership, RecordSource
from services.tracker.entries import Entry
from services.tracker.heeding import receipts_in
from services.tracker.looking import Looks
from services.tracker.reading import Reading
from services.tracker.reconciling import settling_times
from services.tracker.store import StaleOffsets
from services.tracker.sweeper import Sweeper
from tests.simulation.adapters import (
    HostClock,
    MemoryPast,
    MemoryReceipts,
    NetworkLedger,
    NetworkPublisher,
    NetworkSource,
    WatchedLog,
)
from tests.simulation.catalogue import ACCESSES, LIST, LOADED
from tests.simulation.codec import CODEC
from tests.simulation.dice import Dice, Weather
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import LEDGER, Network
from tests.simulation.oracle import START, Oracle
from tests.simulation.service import Serve, Service
from tests.simulation.tables import READ, Tables, entries_of
from tests.simulation.vendors import MemoryAsker, MemoryProvider, MemorySender, Vendors

__all__ = ["PARTITIONS", "World"]

PARTITIONS = 2
_PROVIDERS = {MemoryProvider.name: MemoryProvider()}
_SETTLING = settling_times(LOADED.catalogue.accounts, _PROVIDERS, 1.0)
_SWEEP_EVERY_S = 2.5
_LOOK_EVERY_S = 2.0
_KEEP_EVERY_S = 4.0
#: by how much a host's clock may be fast or slow
_DRIFT = 50e-6
#: how often a copy of the ledger is made, and how many are kept
_COPY_EVERY_S = 0.4
_COPIES = 8
#: members of a list that are asked for at once
_PAGE = 2


class World:
    """Everything of one seed. ``start``, then let the loop run."""

    def __init__(
        self,
        dice: Dice,
        weather: Weather,
        *,
        dispatchers: int = 2,
        routers: int = 1,
        trackers: int = 1,
        lanes: Sequence[Lane] = (Lane.CRITICAL,),
        shuffle: bool = True,
        loaded: LoadedCatalogue = LOADED,
        most_pending: int = MOST_PENDING,
    ) -> None:
        self.dice = dice
        self.most_pending = most_pending
        self.lanes = tuple(lanes)
        self.loop = SimulatedLoop(dice.random, shuffle=shuffle)  # type: ignore[abstract]
        self.network = Network(self.loop, dice, weather)
        self.log = WatchedLog(PARTITIONS, self.now)
        self.loaded, quotas = loaded, quotas_of(loaded.catalogue)
        self.ledger = MemoryLedger(
            {topic: self.log.topic_id(topic) for topic in map(requested, Lane)},
            now=self.now,
            quotas=quotas,
        )
        self.oracle = Oracle(self.log, CODEC, loaded.catalogue, self.loop.time)
        self.log.on_append = self.oracle.appended
        self.vendors = Vendors(self.network, dice, self.oracle)
        # deliveries spread by what the quota allows for, and no more
        self.jitters = {name: quota.jitter_us / 1e6 for name, quota in quotas.items()}
        self.tables = Tables()
        self.fold_held_until = 0.0
        self.reading = _RememberingReading(CODEC, LOADED.catalogue, LOADED.rules, PARTITIONS)
        self._router = Router(loaded, CODEC, PARTITIONS)
        self._clocks: dict[str, HostClock] = {}
        self._copies = [self.ledger.snapshot()]
        #: what recipients have said, in the order of the log
        self._profiles: list[ProfileChange] = []
        #: who came to the one list, and who left it
        self._members: list[MemberChange] = []
        self.dispatchers = self._make("dispatch", dispatchers, self._dispatch)
        self.routers = self._make("router", routers, self._route)
        self.trackers = self._make("tracker", trackers, self._track)
        self.network.kill = self._kill

    @property
    def services(self) -> Sequence[Service]:
        return (*self.dispatchers, *self.routers, *self.trackers)

    def now(self) -> datetime:
        """The broker's and the database's time, which is the world's."""
        return START + timedelta(seconds=self.loop.time())

    def start(self) -> None:
        for lane in self.lanes:
            self._watch_commits(f"lastword.dispatch.{lane}")
        for lane in Lane:
            self._watch_commits(f"lastword.router.{lane}")
        if self.network.weather.set_backs:
            self.copy_the_ledger()
        for service in self.services:
            service.start()

    def copy_the_ledger(self) -> None:
        """Now and again, so that it can be set back to some moment."""
        self._copies = [*self._copies[1 - _COPIES :], self.ledger.snapshot()]
        self.network.later(_COPY_EVERY_S, self.copy_the_ledger)

    def hold_the_fold(self, seconds: float) -> None:
        self.oracle.say(f"the fold stands still for {seconds:.1f} s")
        self.fold_held_until = self.loop.time() + seconds

    def set_the_ledger_back(self) -> None:
        """It knows only what it knew a while ago."""
        back = self.dice.one_of(self._copies)
        self.oracle.set_back()
        self.ledger.set_back(back)
        # whoever folds profiles reads on where the ledger says
        self.ledger.rows.recipients.fold(self._profiles, {})
        self.ledger.rows.members.fold(self._members)

    def opt_out(self, user: str, channel: Channel) -> None:
        """From now on they want nothing by this channel."""
        self.oracle.opt_out(user, channel)
        profile = Profile(preferences={ALL: {channel: False}})
        place = Origin(topic_id=RECIPIENTS, partition=0, offset=len(self._profiles))
        self._profiles.append(ProfileChange(("default", user), profile, place))
        self.ledger.rows.recipients.fold(self._profiles[-1:], {})

    def join(self, *users: str) -> None:
        """From now on they are on the list."""
        for user in users:
            self._put_on_list(user, True)

    def change_mind(self, user: str) -> None:
        """They leave the list, or come to it."""
        self._put_on_list(user, user not in self.oracle.members)

    def _put_on_list(self, user: str, is_on: bool) -> None:
        self.oracle.changed(user, is_on=is_on)
        place = Origin(topic_id=LISTS, partition=0, offset=len(self._members))
        to = Addresses(email=f"{user}@example.test")
        self._members.append(MemberChange("default", LIST, user, is_on, to, place))
        self.ledger.rows.members.fold(self._members[-1:])

    def calm_down(self) -> None:
        """No harm any more; what was paused goes on, what died is back within seconds."""
        self.oracle.say("no more harm")
        self.network.weather = Weather()
        self.network.cut.clear()
        self.network.away.clear()
        self.vendors.down.clear()
        self.fold_held_until = 0.0
        for service in self.services:
            if service.process.paused:
                service.process.resume()

    def is_quiet(self) -> bool:
        """All is closed and published, committed and folded."""
        oracle = self.oracle
        wanted = {**oracle.asked, **oracle.dead}
        return (
            oracle.published.keys() >= wanted.keys()
            and not self.left_uncommitted()
            and not self.left_unrouted()
            and not self.ledger.rows.parked
            and all(self.tables.offsets[place] == end for place, end in self.ends(READ).items())
        )

    def left_uncommitted(self) -> list[str]:
        """Partitions that dispatch has not committed to their end."""
        left = []
        for lane in self.lanes:
            name = f"lastword.dispatch.{lane}"
            committed = self.log.group(name).committed
            for place, end in self.ends([queued(lane)]).items():
                if committed.get(place, 0) < end:
                    left.append(f"{name} {place[0]}[{place[1]}] {committed.get(place, 0)} of {end}")
        return left

    def left_unrouted(self) -> bool:
        """Whether the router has something before it, as far as it said."""
        records = self.log.records(*map(requested, Lane))
        return not all(map(self.oracle.is_finished, records))

    def ends(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        places = [(topic, number) for topic in topics for number in range(PARTITIONS)]
        return {place: self.log.end(place) for place in places}

    def clock_of(self, host: str) -> HostClock:
        if host not in self._clocks:
            off, rate = self.network.weather.clocks_off, self.dice.between(-_DRIFT, _DRIFT)
            self._clocks[host] = HostClock(
                self.loop,
                off=self.dice.between(-off, off),
                booted=self.dice.between(0, 1000),
                rate=1 + rate,
            )
        return self._clocks[host]

    # -- processes ------------------------------------------------------------------------------

    def _make(self, name: str, count: int, serve: Serve) -> Sequence[Service]:
        return [
            Service(
                f"{name}-{number}",
                serve,
                loop=self.loop,
                network=self.network,
                dice=self.dice,
                oracle=self.oracle,
            )
            for number in range(1, count + 1)
        ]

    def _kill(self, host: str) -> None:
        for service in self.services:
            if service.name == host:
                service.crash()

    def _watch_commits(self, name: str) -> None:
        group = self.log.group(name)
        group.on_commit = lambda offsets: self.oracle.committed(name, group.committed, offsets)

    async def _dispatch(self, service: Service, stop: asyncio.Event) -> None:
        host = service.name
        clock = self.clock_of(host)
        groups = {queued(lane): f"lastword.dispatch.{lane}" for lane in self.lanes}
        restorer = Restorer(MemoryPast(host, self.network, self.log, groups), CODEC.decode)
        ledger = NetworkLedger(host, self.network, self.ledger, self.oracle, restorer)
        outside = Outside(
            ledger=ledger,
            version_of=self.ledger.version_of,
            publisher=self._publisher(host),
            sender=MemorySender(self.vendors, self.network, self.dice, self.oracle, self.jitters),
            clock=clock,
            chance=self.dice,
            sources={
                lane: partial(self._source, service, f"lastword.dispatch.{lane}", (queued(lane),))
                for lane in self.lanes
            },
        )
        async with asyncio.TaskGroup() as group:
            upkeep = group.create_task(_keep_up(ledger, restorer))
            dispatch = Dispatch(
                outside,
                self.loaded,
                ACCESSES,
                _PROVIDERS,
                CODEC,
                most_pending=self.most_pending,
                page=_PAGE,
            )
            await dispatch.run(stop)
            upkeep.cancel()

    async def _route(self, service: Service, stop: asyncio.Event) -> None:
        publisher = self._publisher(service.name)
        async with asyncio.TaskGroup() as group:
            for lane in Lane:
                group.create_task(self._route_lane(service, lane, publisher, stop))

    async def _route_lane(
        self, service: Service, lane: Lane, publisher: NetworkPublisher, stop: asyncio.Event
    ) -> None:
        name = f"lastword.router.{lane}"
        source = self._source(service, name, (requested(lane),), _Anything())
        while not stop.is_set():
            records = await source.batch()
            if records:
                await publisher.publish_async(self._router.decide(records))
                await source.commit(next_offsets(records))
        await source.close()

    async def _track(self, service: Service, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            work = [group.create_task(self._fold(service)), group.create_task(self._sweep(service))]
            await stop.wait()
            for task in work:
                task.cancel()

    async def _fold(self, service: Service) -> None:
        ledger = NetworkLedger(service.name, self.network, self.ledger, self.oracle)
        while True:
            await asyncio.sleep(max(0.0, self.fold_held_until - self.loop.time()))
            before = dict(self.tables.offsets)
            records = [
                record
                for place, end in self.ends(READ).items()
                if end > before.get(place, 0)
                for record in self.log.read(place, before.get(place, 0), 100)
            ]
            if not records:
                await self.log.changed(READ, _LOOK_EVERY_S)
                continue
            entries = entries_of(self.reading, records)
            places = {
                (r.topic, r.partition): before.get((r.topic, r.partition), 0) for r in records
            }
            apply = partial(self.tables.apply, entries, places, records)
            try:
                if receipts := receipts_in(entries):
                    await ledger.receive(receipts)
                await self.network.call(service.name, LEDGER, partial(_or_stale, apply))
            except (Retryable, StaleOffsets):
                await asyncio.sleep(0.1)

    async def _sweep(self, service: Service) -> None:
        ledger = NetworkLedger(service.name, self.network, self.ledger, self.oracle)
        time = LedgerTime(self.clock_of(service.name).boot)
        looks = Looks(
            ledger,
            MemoryAsker(self.vendors, self.network, self.oracle),
            ACCESSES,
            _PROVIDERS,
            _SETTLING,
            templates=LOADED.templates,
            decode=CODEC.decode,
            time=time,
            every_s=_SWEEP_EVERY_S / 2,
        )
        sweeper = Sweeper(
            ledger,
            self._publisher(service.name),
            CODEC,
            MemoryReceipts(service.name, self.network, self.tables, self.log),
            looks,
            settling=_SETTLING,
            repeating=LOADED.catalogue.repeating,
            time=time,
            every_s=_SWEEP_EVERY_S,
        )
        await sweeper.run()

    def _publisher(self, host: str) -> NetworkPublisher:
        return NetworkPublisher(host, self.network, self.log, self.dice.number)

    def _source(
        self, service: Service, group: str, topics: Sequence[str], ownership: Ownership
    ) -> RecordSource:
        consumer = MemoryConsumer(self.log, group, topics, ownership)
        service.memberships.append((self.log.group(group), consumer))
        return NetworkSource(service.name, self.network, consumer)


async def _keep_up(ledger: NetworkLedger, restorer: Restorer) -> None:
    """As the ledger's own upkeep, more often."""
    while True:
        try:
            await restorer.keep(ledger)
        except Retryable:
            pass
        await asyncio.sleep(_KEEP_EVERY_S)


def _or_stale(apply: "partial[None]") -> None:
    """A batch that is stale is no batch; its trackers look again."""
    try:
        apply()
    except StaleOffsets:
        return


class _RememberingReading(Reading, frozen=True):
    """Reads no record twice: what its line is depends on nothing else."""

    read: dict[Origin, Entry | None] = field(default_factory=dict)

    def entry_of(self, record: Record) -> Entry | None:
        if record.origin not in self.read:
            self.read[record.origin] = super().entry_of(record)
        return self.read[record.origin]


class _Anything:
    """A stream is done with each batch before the next, so it minds no partition's going."""

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        pass

    async def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return {}

    async def lost(self, partitions: Sequence[Partition]) -> None:
        pass
