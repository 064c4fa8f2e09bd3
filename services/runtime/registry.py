"""A schema registry that speaks Confluent's protocol: ids for what we write, schemas for ids.

The subject of a schema is its record's full name, so that one topic may hold several events.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import OAuthTokenError, SchemaRegistryError

from services.core.errors import Misconfigured, PoisonEvent, Retryable
from services.runtime.schemas import EventSchema, Writer, parse_writer

__all__ = ["Registry"]

_NOT_FOUND = 404
_NUMBERS = {"timeout": float, "max.retries": int, "cache.capacity": int}


class Registry:
    """One connection to a registry; ``config`` goes to the client of confluent-kafka as it is."""

    def __init__(self, config: Mapping[str, str]) -> None:
        """Raises ``Misconfigured`` where the client refuses ``config``."""
        try:
            typed = {name: _NUMBERS.get(name, str)(value) for name, value in config.items()}
            self._client = SchemaRegistryClient.new_client(typed)
        except (TypeError, ValueError) as error:
            raise Misconfigured(f"the schema registry's settings: {error}") from error
        self._writers: dict[int, Writer] = {}

    def id_of(self, schema: EventSchema) -> int:
        """The id under which a schema of ours is known; registers it where it is not yet.

        Raises ``Retryable`` with the registry away, ``Misconfigured`` where it refuses.
        """
        wanted = Schema(schema.text, "AVRO")
        with _asking(schema.full_name):
            try:
                found = self._client.lookup_schema(schema.full_name, wanted).schema_id
            except SchemaRegistryError as error:
                if error.http_status_code != _NOT_FOUND:
                    raise
                found = self._client.register_schema(schema.full_name, wanted)
        if found is None:
            raise Retryable(f"the schema registry gave no id for {schema.full_name}")
        return found

    def writer(self, schema_id: int) -> Writer:
        """The schema of an id, asked for once.

        Raises ``Retryable`` with the registry away, ``PoisonEvent`` where no event of ours has it.
        """
        writer = self._writers.get(schema_id)
        if writer is None:
            writer = self._writers[schema_id] = self._fetch(schema_id)
        return writer

    def _fetch(self, schema_id: int) -> Writer:
        with _asking(f"schema {schema_id}"):
            try:
                found = self._client.get_schema(schema_id)
            except SchemaRegistryError as error:
                if error.http_status_code != _NOT_FOUND:
                    raise
                raise PoisonEvent(
                    "unknown_schema",
                    f"the schema registry has no schema {schema_id}: produce through the registry"
                    " that Lastword is configured with",
                ) from error
        return _readable(found, schema_id)


def _readable(found: Schema, schema_id: int) -> Writer:
    writer = None
    if found.schema_type in (None, "AVRO") and found.schema_str is not None:
        try:
            writer = parse_writer(found.schema_str)
        except Exception as error:  # whatever a parser raises over a stranger's document
            raise PoisonEvent("unknown_schema", f"schema {schema_id} does not parse") from error
    if writer is None:
        raise PoisonEvent(
            "unknown_schema",
            f"schema {schema_id} is no Avro record of Lastword's: use those under schemas/",
        )
    return writer


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """Turns the client's errors into ours."""
    try:
        yield
    except SchemaRegistryError as error:
        advice = _ADVICE.get(error.http_status_code)
        if advice is None:
            raise _away(error) from error
        raise Misconfigured(f"the schema registry refuses {what}: {advice}") from error
    except OAuthTokenError as error:
        raise _away(error) from error
    except Exception as error:
        # the client lets its HTTP library's errors through, and has changed libraries before
        if any(base.__name__ == "TransportError" for base in type(error).__mro__):
            raise _away(error) from error
        raise


_CREDENTIALS = "check the credentials, or have the schemas registered beforehand"
_ADVICE = {
    401: _CREDENTIALS,
    403: _CREDENTIALS,
    409: "it is incompatible with a version there; set the subject's compatibility to BACKWARD, or"
    " delete versions that are not Lastword's",
    422: "it is not valid there; check that the registry takes Avro",
}


def _away(error: Exception) -> Retryable:
    return Retryable(f"the schema registry does not answer: {type(error).__name__}")
