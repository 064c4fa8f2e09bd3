"""Lastword straight through Kafka, as programs: which record, and what its acknowledgement says.

Pure. Kafka answers for the append only: what is wrong with an address or with ``data`` is
found later, and ends in the dead-letter topic or as a failed notification.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from lastword.contract import (
    Fact,
    NotificationCancelled,
    NotificationRequested,
    RecipientUpdated,
    SupersessionKey,
    list_member_key,
    recipient_key,
    supersession_key,
)
from lastword.errors import (
    Fault,
    LastwordError,
    Misconfigured,
    NotKnown,
    Rejected,
    Unauthorised,
)
from lastword.notification import Result, Sent

__all__ = [
    "Delivered",
    "Delivery",
    "KafkaRoute",
    "Lane",
    "Produce",
    "Record",
    "Supersede",
    "TypeSpec",
    "Undelivered",
    "key_of",
    "read_types",
]

Lane: TypeAlias = Literal["critical", "normal", "bulk"]
Supersede: TypeAlias = Literal["latest", "never"]


class TypeSpec(Struct, frozen=True):
    """What a producer must know of a type: its lane, and whether newer ones supersede older."""

    lane: Lane
    supersede: Supersede = "latest"


class Record(Struct, frozen=True):
    """One record to append."""

    topic: str
    key: bytes
    #: None: what stands under the key is gone
    value: bytes | None


class Produce(Struct, frozen=True):
    """Append these, in this order, and wait for all their acknowledgements."""

    records: tuple[Record, ...]


class Delivered(Struct, frozen=True):
    """Kafka has it on all replicas in sync."""


class Undelivered(Struct, frozen=True):
    """No acknowledgement. ``code`` is librdkafka's name of the error."""

    code: str
    reason: str


Delivery: TypeAlias = Delivered | Undelivered

#: certainly not appended, for the record's own sake
_REFUSED = {
    "MSG_SIZE_TOO_LARGE": "it is larger than the topic allows",
    "INVALID_RECORD": "the topic refuses records like it",
    "_UNKNOWN_TOPIC": "there is no such topic; `lastword topics` creates it",
    "UNKNOWN_TOPIC_OR_PART": "there is no such topic; `lastword topics` creates it",
}
_FORBIDDEN = {
    "TOPIC_AUTHORIZATION_FAILED",
    "CLUSTER_AUTHORIZATION_FAILED",
    "SASL_AUTHENTICATION_FAILED",
    "_AUTHENTICATION",
}


class KafkaRoute:
    """Each call is one batch of records; librdkafka retries them without repeating any."""

    def __init__(self, types: Mapping[str, Lane | TypeSpec]) -> None:
        """``types``: all that this producer sends; the lane alone where newer ones supersede."""
        self._types = {
            name: spec if isinstance(spec, TypeSpec) else TypeSpec(spec)
            for name, spec in types.items()
        }

    def send(self, request: NotificationRequested) -> Generator[Produce, Sequence[Delivery], Sent]:
        [result] = yield from self.send_many([request])
        if isinstance(result, LastwordError):
            raise result
        return result

    def send_many(
        self, requests: Sequence[NotificationRequested]
    ) -> Generator[Produce, Sequence[Delivery], list[Result]]:
        keys = [self._key(request) for request in requests]
        records = tuple(
            self._record(request, key)
            for request, key in zip(requests, keys, strict=True)
            if not isinstance(key, Rejected)
        )
        deliveries = iter((yield Produce(records)) if records else ())
        return [
            key if isinstance(key, Rejected) else _result(request, key, next(deliveries))
            for request, key in zip(requests, keys, strict=True)
        ]

    def cancel(self, event: NotificationCancelled) -> Generator[Produce, Sequence[Delivery], None]:
        key = self._key(event)
        if isinstance(key, Rejected):
            raise key
        yield from _append(self._record(event, key))

    def put(self, fact: Fact) -> Generator[Produce, Sequence[Delivery], None]:
        yield from _append(_held(fact, msgspec.json.encode(fact)))

    def remove(self, fact: Fact) -> Generator[Produce, Sequence[Delivery], None]:
        yield from _append(_held(fact, None))

    def _key(
        self, event: NotificationRequested | NotificationCancelled
    ) -> SupersessionKey | Rejected:
        spec = self._types.get(event.type)
        if spec is None:
            known = ", ".join(sorted(self._types))
            return _rejected("#/type", f"this client was told of these types only: {known}")
        return key_of(event, spec)

    def _record(
        self, event: NotificationRequested | NotificationCancelled, key: SupersessionKey
    ) -> Record:
        topic = f"notifications.requested.{self._types[event.type].lane}"
        return Record(topic, key.encode(), msgspec.json.encode(event))


def _append(record: Record) -> Generator[Produce, Sequence[Delivery], None]:
    [delivery] = yield Produce((record,))
    if isinstance(delivery, Undelivered):
        raise _error(delivery, None)


def _held(fact: Fact, value: bytes | None) -> Record:
    if isinstance(fact, RecipientUpdated):
        return Record("recipients", recipient_key(fact.tenant, fact.user), value)
    return Record("lists", list_member_key(fact.tenant, fact.list, fact.user), value)


def key_of(
    event: NotificationRequested | NotificationCancelled, spec: TypeSpec
) -> SupersessionKey | Rejected:
    """The key under which ``event`` belongs; a type never superseded has the id as its subject."""
    if spec.supersede == "latest":
        return supersession_key(event.tenant, event.user, event.type, event.subject)
    if event.id is None:
        return _rejected("#/id", "the type is never superseded, so each stands alone: name its id")
    return supersession_key(event.tenant, event.user, event.type, str(event.id))


def read_types(catalogue: Mapping[str, object]) -> dict[str, Lane | TypeSpec]:
    """The types of a parsed ``lastword.toml``; raises ``Misconfigured``."""
    try:
        return {**msgspec.convert(catalogue, _Catalogue).types}
    except msgspec.ValidationError as error:
        raise Misconfigured(f"the catalogue: {error}") from error


class _Catalogue(Struct, frozen=True):
    """The part of the catalogue that producers need; all else in it is passed over."""

    types: dict[str, TypeSpec]


def _result(request: NotificationRequested, key: SupersessionKey, delivery: Delivery) -> Result:
    if isinstance(delivery, Undelivered):
        return _error(delivery, request)
    assert request.id is not None, "prepare() gives each request an id"
    return Sent(request.id, key)


def _error(delivery: Undelivered, request: NotificationRequested | None) -> LastwordError:
    said = f"Kafka: {delivery.reason} ({delivery.code})"
    if delivery.code in _REFUSED:
        return Rejected(f"Kafka: {_REFUSED[delivery.code]} ({delivery.code})")
    if delivery.code in _FORBIDDEN:
        return Unauthorised(said)
    return NotKnown(said, None if request is None else request.id)


def _rejected(pointer: str, detail: str) -> Rejected:
    return Rejected("it was not sent", (Fault(pointer, detail),))
