"""The receipts that the fold knows, and whether it has read them to their end."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeAlias

import psycopg
from confluent_kafka.admin import AdminClient
from psycopg.errors import UndefinedTable

from services.core.errors import Retryable
from services.core.events import ReceiptKind
from services.core.identifiers import NotificationId
from services.core.topics import RECEIPTS
from services.runtime.ends import log_ends
from services.runtime.logs import kafka_logger
from services.tracker.connections import TABLES_GONE
from services.tracker.store import Connection, Place, open_offsets, receipts_of

__all__ = ["FoldedReceipts", "Receipts", "ReceiptsBook"]

#: the strongest receipt of each attempt asked for
Receipts: TypeAlias = Mapping[tuple[NotificationId, int], ReceiptKind]


class ReceiptsBook(Protocol):
    """What the sweeper asks; all may raise ``Retryable``."""

    async def of(self, ids: Sequence[NotificationId]) -> Receipts:
        """The receipts known of these."""
        ...

    async def is_complete(self) -> bool:
        """Whether all that stood in the log when this was asked is known."""
        ...


class FoldedReceipts:
    """``ReceiptsBook`` on the tracker's tables."""

    def __init__(self, dsn: str, kafka: Mapping[str, str], topic_ids: Mapping[str, str]) -> None:
        self._dsn = dsn
        self._admin = AdminClient(dict(kafka), logger=kafka_logger())
        self._topic_id = topic_ids[RECEIPTS]

    async def of(self, ids: Sequence[NotificationId]) -> Receipts:
        return await asyncio.to_thread(self._of, ids)

    async def is_complete(self) -> bool:
        return await asyncio.to_thread(self._is_complete)

    def _of(self, ids: Sequence[NotificationId]) -> Receipts:
        with self._session() as connection:
            return receipts_of(connection, ids)

    def _is_complete(self) -> bool:
        ends = log_ends(self._admin, [RECEIPTS])
        places = [
            Place(topic=topic, topic_id=self._topic_id, partition=number) for topic, number in ends
        ]
        with self._session() as connection:
            folded = open_offsets(connection, places)
        return all(folded[place] >= end for place, end in ends.items())

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        try:
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                yield connection
        except UndefinedTable as error:
            raise Retryable(TABLES_GONE) from error
        except psycopg.OperationalError as error:
            raise Retryable("PostgreSQL does not answer") from error
