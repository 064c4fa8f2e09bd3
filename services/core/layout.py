"""How each topic has to be laid out, and what is wrong with those that are there.

Compaction and retention are asynchronous and know nothing of our versions, so how long they wait is
part of what we promise: never less than ``FLOOR_MS``.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum

from msgspec import Struct

from services.core.catalogue import Lane
from services.core.topics import (
    ATTEMPTS,
    HEALTH,
    LISTS,
    RECEIPTS,
    RECIPIENTS,
    STATE,
    dead_letters,
    queued,
    requested,
)

__all__ = ["FLOOR_MS", "FoundTopic", "KeyedBy", "TopicSpec", "kept", "layout", "problems"]

_DAY_MS = 86_400_000
#: longer than the longest deadline, the idempotency window and the longest outage promised
FLOOR_MS = 7 * _DAY_MS
_RETENTION_MS = 2 * FLOOR_MS
#: of what is said anew every few seconds
_PASSING_MS = 600_000
_CREATE = "create it with `lastword topics --create`"


class KeyedBy(StrEnum):
    """What a topic's key is. Topics keyed alike have equal partition counts."""

    SUPERSESSION_KEY = "the supersession key"
    NOTIFICATION = "the notification id"
    RECIPIENT = "tenant and user"
    MEMBER = "tenant, list and user"
    ACCOUNT = "the provider account"
    #: dead letters keep the key they came with, whatever it is
    SOURCE = "what its source is keyed by"


class TopicSpec(Struct, frozen=True, kw_only=True):
    """One topic as it has to be."""

    name: str
    keyed_by: KeyedBy
    #: values of ``cleanup.policy``
    cleanup: frozenset[str]
    #: what is promised of it: its records stay for a while, or are of no use after a minute
    promised: bool = True

    def config(self, replication: int) -> dict[str, str]:
        """What the topic is created with; a single spare replica is no quorum, so it asks for 1."""
        return {
            "cleanup.policy": ",".join(sorted(self.cleanup)),
            "message.timestamp.type": "LogAppendTime",
            "retention.ms": str(_RETENTION_MS),
            # the active segment is neither cleaned nor deleted: let none stay active for a week
            "segment.ms": str(_DAY_MS if self.promised else _PASSING_MS),
            "min.compaction.lag.ms": str(FLOOR_MS if self.promised else 0),
            "delete.retention.ms": str(FLOOR_MS if self.promised else _PASSING_MS),
            "min.insync.replicas": "2" if replication > 2 else "1",
            "unclean.leader.election.enable": "false",
        }


class FoundTopic(Struct, frozen=True, kw_only=True):
    """One topic as it is."""

    partitions: int
    replication: int
    config: Mapping[str, str]


def layout(prefix: str = "") -> tuple[TopicSpec, ...]:
    """Every topic; ``prefix`` is for tests that must not meet one another's."""
    keyed = {
        KeyedBy.SUPERSESSION_KEY: [name(lane) for name in (requested, queued) for lane in Lane],
        KeyedBy.NOTIFICATION: [ATTEMPTS, RECEIPTS, STATE],
        KeyedBy.RECIPIENT: [RECIPIENTS],
        KeyedBy.MEMBER: [LISTS],
        KeyedBy.ACCOUNT: [HEALTH],
        KeyedBy.SOURCE: [dead_letters(topic) for topic in _MAY_DIE],
    }
    return tuple(
        TopicSpec(
            name=prefix + name,
            keyed_by=kind,
            cleanup=_CLEANUP.get(name, _DELETE),
            promised=name != HEALTH,
        )
        for kind, names in keyed.items()
        for name in names
    )


def problems(specs: Sequence[TopicSpec], found: Mapping[str, FoundTopic]) -> list[str]:
    """What a person has to change before Lastword may start, in plain words."""
    missing = [spec for spec in specs if spec.name not in found]
    there = [spec for spec in specs if spec.name in found]
    return [
        *(f"{spec.name}: there is no such topic; {_CREATE}" for spec in missing),
        *_uneven(there, found),
        *(fault for spec in there for fault in _faults(spec, found[spec.name])),
    ]


def kept(config: Mapping[str, str]) -> timedelta | None:
    """For how long a topic's settings keep every record; None: for ever."""
    policies = config.get("cleanup.policy", "").split(",")
    limits = {"delete": "retention.ms", "compact": "min.compaction.lag.ms"}
    found = [int(config.get(limits[policy], "0")) for policy in policies if policy in limits]
    return min((timedelta(milliseconds=ms) for ms in found if ms >= 0), default=None)


_DELETE = frozenset({"delete"})
_CLEANUP = {
    **{requested(lane): frozenset({"compact", "delete"}) for lane in Lane},
    RECIPIENTS: frozenset({"compact"}),
    LISTS: frozenset({"compact"}),
    HEALTH: frozenset({"compact"}),
}
_MAY_DIE = [name(lane) for name in (requested, queued) for lane in Lane]
_MAY_DIE += [ATTEMPTS, RECEIPTS, RECIPIENTS, LISTS]


def _uneven(specs: Sequence[TopicSpec], found: Mapping[str, FoundTopic]) -> Iterator[str]:
    counts: dict[KeyedBy, dict[str, int]] = defaultdict(dict)
    for spec in specs:
        if spec.keyed_by is not KeyedBy.SOURCE:
            counts[spec.keyed_by][spec.name] = found[spec.name].partitions
    for kind, by_name in counts.items():
        if len(set(by_name.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in by_name.items())
            yield (
                f"topics keyed by {kind} have unequal partition counts ({told}): no partition may"
                " be added in place, so make the odd ones anew with the others' count"
            )


def _faults(spec: TopicSpec, found: FoundTopic) -> Iterator[str]:
    config = found.config
    cleanup = config.get("cleanup.policy", "")
    wanted = ",".join(sorted(spec.cleanup))
    if frozenset(cleanup.split(",")) != spec.cleanup:
        yield _change(spec, "cleanup.policy", cleanup, wanted)
    stamped = config.get("message.timestamp.type", "")
    if stamped != "LogAppendTime":
        yield _change(spec, "message.timestamp.type", stamped, "LogAppendTime")
    for name in _floored(spec):
        value = int(config.get(name, "0"))
        if 0 <= value < FLOOR_MS:
            yield _change(spec, name, str(value), f"{FLOOR_MS} (7 days) or more")
    yield from _durability(spec, found)


def _floored(spec: TopicSpec) -> Iterator[str]:
    """The settings that may not be less than the floor. Of retention, -1 is for ever."""
    if not spec.promised:
        return
    if "compact" in spec.cleanup:
        yield from ("min.compaction.lag.ms", "delete.retention.ms")
    if "delete" in spec.cleanup:
        yield "retention.ms"


def _durability(spec: TopicSpec, found: FoundTopic) -> Iterator[str]:
    in_sync = int(found.config.get("min.insync.replicas", "1"))
    if found.replication > 2 and in_sync < 2:
        yield _change(spec, "min.insync.replicas", str(in_sync), "2")
    if in_sync > found.replication:
        yield _change(spec, "min.insync.replicas", str(in_sync), f"{found.replication} or less")
    if found.config.get("unclean.leader.election.enable") == "true":
        yield _change(spec, "unclean.leader.election.enable", "true", "false")


def _change(spec: TopicSpec, name: str, value: str, wanted: str) -> str:
    return f"{spec.name}: {name} is {value or 'not set'}; set it to {wanted}"
