"""Creates and verifies the topics of ``core.layout``, and asks Kafka for their ids."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it lists no exports
    AdminClient,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicDescription,
)

from services.core.errors import Misconfigured, Retryable
from services.core.layout import FoundTopic, TopicSpec, kept, layout, problems

__all__ = ["create_topics", "kept_for", "require_topics", "topic_ids", "verify_topics"]

LAYOUT = layout()
_TIMEOUT_S = 30.0
T = TypeVar("T")


def create_topics(
    admin: AdminClient,
    *,
    partitions: int,
    replication: int,
    specs: Sequence[TopicSpec] = LAYOUT,
) -> list[str]:
    """Creates what is missing, and returns the names once brokers know them.

    What is there is left alone: ``verify_topics`` says whether it will do. Raises ``Misconfigured``
    where Kafka refuses, ``Retryable`` where it does not answer.
    """
    new = [
        NewTopic(spec.name, partitions, replication, config=spec.config(replication))
        for spec in specs
    ]
    made = []
    for name, future in admin.create_topics(new, request_timeout=_TIMEOUT_S).items():
        error = _error(future)
        if error is None:
            made.append(name)
        elif error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise Misconfigured(f"{name}: Kafka will not create it: {error.str()}")
    _await_known(admin, made)
    return made


def verify_topics(admin: AdminClient, specs: Sequence[TopicSpec] = LAYOUT) -> list[str]:
    """What is wrong with the layout, in plain words, with what to do; empty: nothing is."""
    described = _describe(admin, [spec.name for spec in specs])
    configs = _configs(admin, list(described))
    return problems(specs, {n: _found(d, configs[n]) for n, d in described.items()})


def require_topics(admin: AdminClient, specs: Sequence[TopicSpec] = LAYOUT) -> None:
    """Raises ``Misconfigured``, naming every topic that will not do."""
    found = verify_topics(admin, specs)
    if found:
        listed = "\n".join(f"  - {problem}" for problem in found)
        raise Misconfigured(
            f"the topics are not as they have to be:\n{listed}\n"
            "`lastword topics --create` creates what is missing; `lastword topics` verifies."
        )


def topic_ids(
    admin: AdminClient, names: Iterable[str] | None = None, *, timeout_s: float = _TIMEOUT_S
) -> dict[str, str]:
    """Kafka's own id of each topic; raises ``Misconfigured`` for one that is not there."""
    wanted = [spec.name for spec in LAYOUT] if names is None else list(names)
    described = _describe(admin, wanted, timeout_s)
    missing = [name for name in wanted if name not in described]
    if missing:
        raise Misconfigured(
            f"no such topic: {', '.join(missing)}; create it with `lastword topics --create`"
        )
    return {name: str(topic.topic_id) for name, topic in described.items()}


def kept_for(admin: AdminClient, names: Iterable[str]) -> dict[str, timedelta | None]:
    """By topic, how old a record may grow before its settings let it go; None: it never goes."""
    return {name: kept(config) for name, config in _configs(admin, list(names)).items()}


def _describe(
    admin: AdminClient, names: Sequence[str], timeout_s: float = _TIMEOUT_S
) -> dict[str, TopicDescription]:
    """The topics that there are."""
    if not names:
        return {}
    found: dict[str, TopicDescription] = {}
    futures = _asked(
        lambda: admin.describe_topics(TopicCollection(list(names)), request_timeout=timeout_s)
    )
    for name, future in futures.items():
        error = _error(future)
        if error is None:
            found[name] = future.result()
        elif error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise Misconfigured(f"{name}: Kafka will not describe it: {error.str()}")
    return found


def _configs(admin: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}
    found: dict[str, dict[str, str]] = {}
    futures = _asked(lambda: admin.describe_configs(resources, request_timeout=_TIMEOUT_S))
    for resource, future in futures.items():
        error = _error(future)
        if error is not None:
            raise Misconfigured(f"{resource.name}: no right to read its settings: {error.str()}")
        entries: Mapping[str, ConfigEntry] = future.result()
        found[resource.name] = {key: entry.value or "" for key, entry in entries.items()}
    return found


def _found(topic: TopicDescription, config: Mapping[str, str]) -> FoundTopic:
    replicas = [len(partition.replicas) for partition in topic.partitions]
    return FoundTopic(partitions=len(replicas), replication=min(replicas, default=0), config=config)


def _asked(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except KafkaException as error:
        raise Retryable(f"Kafka does not answer: {error.args[0].str()}") from error


def _error(future: Future[T]) -> KafkaError | None:
    """What a request failed with, if it can be told; raises ``Retryable`` if nobody answered."""
    failure = future.exception(_TIMEOUT_S + 1)
    if failure is None:
        return None
    if not isinstance(failure, KafkaException):
        raise failure
    error: KafkaError = failure.args[0]
    if error.retriable() or error.code() in _AWAY:
        raise Retryable(f"Kafka does not answer: {error.str()}") from failure
    return error


_AWAY = (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)


def _await_known(admin: AdminClient, names: Sequence[str]) -> None:
    """The controller creates a topic a moment before brokers hear of it."""
    for _ in range(100):
        if len(_describe(admin, names)) == len(names):
            return
        time.sleep(0.05)
    raise Retryable(f"Kafka created topics that it does not show yet: {', '.join(names)}")
