"""The topics, as the commands see them: made where they are missing, and verified in words."""

from collections.abc import Mapping

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from services.core.errors import Misconfigured, Retryable
from services.runtime.topics import create_topics

__all__ = ["admin_of", "create_missing"]

_ANSWERS_WITHIN_S = 10.0
#: more copies than this keep nothing that three do not
_MOST_COPIES = 3


def admin_of(kafka: Mapping[str, str]) -> AdminClient:
    """A client that was answered; ``Misconfigured`` or ``Retryable`` says why there is none."""
    try:
        admin = AdminClient({**kafka, "log_level": 0})
    except KafkaException as error:
        raise Misconfigured(f"a Kafka property (-X) is wrong: {error.args[0].str()}") from error
    try:
        admin.list_topics(timeout=_ANSWERS_WITHIN_S)
    except KafkaException as error:
        raise Retryable(
            f"Kafka at {kafka.get('bootstrap.servers')} does not answer "
            f"({error.args[0].name().strip('_').lower()}): is it running, is the address right, "
            "and are its security properties given by -X?"
        ) from error
    return admin


def create_missing(
    admin: AdminClient, *, partitions: int, replication: int | None = None
) -> list[str]:
    """The topics made. By default with three copies, or as many as there are brokers."""
    brokers = len(admin.list_topics(timeout=_ANSWERS_WITHIN_S).brokers)
    copies = replication or min(_MOST_COPIES, brokers)
    return create_topics(admin, partitions=partitions, replication=copies)
