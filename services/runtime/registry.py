"""A schema registry that speaks Confluent's protocol: ids for what we write, schemas for ids.

The subject of a schema is its record's full name, so that one topic may hold several events.
"""

from collections.abc import Mapping

import httpx
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import OAuthTokenError, SchemaRegistryError

from services.core.errors import Misconfigured, PoisonEvent, Retryable
from services.runtime.schemas import EventSchema, Writer, parse_writer

__all__ = ["Registry"]

_NOT_FOUND = 404
_INCOMPATIBLE = 409
_NUMBERS = {"timeout": float, "max.retries": int, "cache.capacity": int}


class Registry:
    """One connection to a registry; ``config`` goes to the client of confluent-kafka as it is."""

    def __init__(self, config: Mapping[str, str]) -> None:
        """Raises ``Misconfigured`` where the client refuses ``config``."""
        typed = {name: _NUMBERS.get(name, str)(value) for name, value in config.items()}
        try:
            self._client = SchemaRegistryClient.new_client(typed)
        except (TypeError, ValueError) as error:
            raise Misconfigured(f"the schema registry's settings: {error}") from error
        self._writers: dict[int, Writer] = {}

    def id_of(self, schema: EventSchema) -> int:
        """The id under which a schema of ours is known; registers it where it is not yet.

        Raises ``Retryable`` with the registry away, ``Misconfigured`` where it refuses.
        """
        wanted = Schema(schema.text, "AVRO")
        try:
            try:
                found = self._client.lookup_schema(schema.full_name, wanted).schema_id
            except SchemaRegistryError as error:
                if error.http_status_code != _NOT_FOUND:
                    raise
                found = self._client.register_schema(schema.full_name, wanted)
        except SchemaRegistryError as error:
            raise _refusal(schema.full_name, error) from error
        except (httpx.HTTPError, OAuthTokenError) as error:
            raise _away(error) from error
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
        try:
            found = self._client.get_schema(schema_id)
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                raise PoisonEvent(
                    "unknown_schema",
                    f"the schema registry has no schema {schema_id}: produce through the registry"
                    " that Lastword is configured with",
                ) from error
            raise _away(error) from error
        except (httpx.HTTPError, OAuthTokenError) as error:
            raise _away(error) from error
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


def _refusal(subject: str, error: SchemaRegistryError) -> Misconfigured | Retryable:
    if error.http_status_code == _INCOMPATIBLE:
        return Misconfigured(
            f"the schema registry refuses {subject} as incompatible: delete the foreign versions"
            f" of that subject, or set its compatibility to BACKWARD"
        )
    if error.http_status_code in (401, 403, 422):
        return Misconfigured(
            f"the schema registry refuses {subject} with {error.http_status_code}: check the"
            " credentials, or have the schemas registered beforehand"
        )
    return _away(error)


def _away(error: Exception) -> Retryable:
    return Retryable(f"the schema registry does not answer: {type(error).__name__}")
