"""What the ledger knows of recipients now, for who only reads."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias, TypeVar

import msgspec
import psycopg

from services.core.errors import Retryable
from services.core.events import NotificationRequested
from services.core.recipients import Known
from services.router.recipients.lookup import known_of
from services.runtime.ledger.postgres_book import PostgresBook
from services.runtime.postgres import LIVENESS

__all__ = ["Knowing", "known_now"]

Knowing: TypeAlias = Callable[[Sequence[NotificationRequested]], Known]
_T = TypeVar("_T")


@contextmanager
def known_now(dsn: str) -> Iterator[Knowing]:
    """Raises ``Retryable`` where the ledger does not answer, or was never made."""
    with asyncio.Runner() as runner:
        try:
            connection = runner.run(_connected(dsn))
            book = PostgresBook(partial(_rows, connection))
            try:
                yield lambda requests: runner.run(known_of(requests, book))
            finally:
                runner.run(connection.close())
        except psycopg.Error as error:
            raise Retryable(f"what is known of recipients: {type(error).__name__}") from error


async def _connected(dsn: str) -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True, **LIVENESS)


async def _rows(
    connection: psycopg.AsyncConnection, function: str, type_: type[_T], *arguments: object
) -> list[_T]:
    holes = ", ".join(["%s"] * len(arguments))
    query = f"SELECT answer::text FROM ledger.{function}({holes}) AS answer".encode()
    decode = msgspec.json.Decoder(type_).decode
    cursor = await connection.execute(query, arguments)
    return [decode(text) for (text,) in await cursor.fetchall()]
