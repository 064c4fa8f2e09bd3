"""The tracker's tables: one transaction a batch, whatever order and however many trackers."""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import psycopg
import pytest
from msgspec.structs import asdict, replace

from services.core.events import CloseReason, DeliveryState, ReceiptKind
from services.core.identifiers import NotificationId, SupersessionKey
from services.core.outcomes import OutcomeKind
from services.runtime.postgres import migrate
from services.tracker.decide import Delivery, fold
from services.tracker.entries import Entry
from services.tracker.store import (
    Batch,
    Connection,
    Move,
    Place,
    StaleOffsets,
    apply,
    entries_of,
    mark_published,
    open_offsets,
    receipts_of,
    unpublished,
)
from tests.unit.tracker_entries import (
    ID,
    TWILIO,
    closed,
    history,
    receipt,
    requested,
    settled,
    started,
)

PLACE = Place(topic="deliveries.attempts", topic_id="t", partition=0)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    migrate(database, "services.tracker")
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


class Shelf:
    """One partition, whose offsets move on with each batch."""

    def __init__(self, connection: Connection, partition: int = 0) -> None:
        self.connection = connection
        self.partition = partition
        place = Place(topic="deliveries.attempts", topic_id="t", partition=partition)
        ((_, self.next),) = open_offsets(connection, [place]).items()
        self.contradicting: list[Entry] = []

    def take(self, *entries: Entry) -> list[DeliveryState]:
        move = Move(
            topic_id="t",
            partition=self.partition,
            expected=self.next,
            next=self.next + len(entries),
        )
        batch = Batch(entries=entries, moves=[move])
        states = apply(self.connection, batch, self.contradicting.extend)
        self.next += len(entries)
        return states


@pytest.fixture
def shelf(connection: Connection) -> Shelf:
    return Shelf(connection)


def columns(connection: Connection, id: NotificationId = ID) -> dict[str, object]:
    """A delivery's row, without what depends on how it came about."""
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        row = cursor.execute("SELECT * FROM tracker.deliveries WHERE id = %s", (id,)).fetchone()
    assert row is not None
    row["user"] = row.pop("usr")
    row.pop("revision")
    return row


def revision(connection: Connection, id: NotificationId = ID) -> int:
    row = connection.execute("SELECT revision FROM tracker.deliveries WHERE id = %s", (id,))
    ((found,),) = row.fetchall()
    assert isinstance(found, int)
    return found


def as_row(delivery: Delivery) -> dict[str, object]:
    return asdict(delivery)


def test_a_row_is_what_its_entries_amount_to(connection: Connection, shelf: Shelf) -> None:
    shelf.take(*history())
    assert columns(connection) == as_row(fold(ID, history()))


def test_a_repeat_changes_no_row_and_no_revision(connection: Connection, shelf: Shelf) -> None:
    (state,) = shelf.take(*history())
    assert shelf.take(*history()) == []
    assert (revision(connection), state.revision) == (1, 1)


def test_every_change_is_a_revision(connection: Connection, shelf: Shelf) -> None:
    states = [state for entry in history() for state in shelf.take(entry)]
    assert [state.revision for state in states] == list(range(1, len(states) + 1))
    assert states[-1].status == "delivered"
    assert revision(connection) == len(states)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_in_any_batches_gives_the_same_row(
    connection: Connection, shelf: Shelf, seed: int
) -> None:
    chance = random.Random(seed)
    told = history() + chance.choices(history(), k=5)
    chance.shuffle(told)
    while told:
        size = chance.randint(1, 4)
        shelf.take(*told[:size])
        told = told[size:]
    assert columns(connection) == as_row(fold(ID, history()))


def of(id: NotificationId) -> list[Entry]:
    return [
        requested(id=id),
        started(1, id=id),
        settled(1, OutcomeKind.ACCEPTED, id=id, provider_ref=f"ref-{id}"),
        closed(CloseReason.SENT, id=id),
        receipt(ReceiptKind.DELIVERED, id=id),
        receipt(ReceiptKind.OPENED, id=id, seconds=300),
    ]


def test_an_event_id_that_two_notifications_share_is_a_line_of_each(
    connection: Connection, shelf: Shelf
) -> None:
    other = NotificationId(UUID(int=77))
    mine = receipt(ReceiptKind.DELIVERED)
    shelf.take(mine, replace(mine, notification_id=other))
    assert columns(connection)["status"] == columns(connection, other)["status"] == "delivered"


def test_two_trackers_at_once_lose_nothing(database: str, connection: Connection) -> None:
    ids = [NotificationId(uuid4()) for _ in range(40)]

    def work(partition: int) -> None:
        chance = random.Random(partition)
        told = [entry for id in ids for entry in of(id) if chance.random() < 0.7]
        chance.shuffle(told)
        with psycopg.connect(database, autocommit=True) as own:
            shelf = Shelf(own, partition)
            for start in range(0, len(told), 20):
                shelf.take(*told[start : start + 20])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    known = entries_of(connection, ids)
    for id in ids:
        row = fold(id, [entry for entry in known if entry.notification_id == id])
        assert columns(connection, id) == as_row(row)


def test_a_tracker_taken_for_dead_is_refused_when_it_wakes(
    connection: Connection, shelf: Shelf
) -> None:
    zombie = Shelf(connection)
    shelf.take(requested())
    with pytest.raises(StaleOffsets):
        zombie.take(requested(), closed(CloseReason.EXPIRED))
    assert columns(connection)["status"] == "queued"
    assert open_offsets(connection, [PLACE]) == {("deliveries.attempts", 0): 1}


def test_a_topic_made_anew_is_read_from_its_beginning(shelf: Shelf, connection: Connection) -> None:
    shelf.take(requested())
    anew = Place(topic="deliveries.attempts", topic_id="another", partition=0)
    assert open_offsets(connection, [anew]) == {("deliveries.attempts", 0): 0}


def test_a_crash_before_the_commit_leaves_nothing(connection: Connection, shelf: Shelf) -> None:
    def crash(_: Sequence[Entry]) -> None:
        raise KeyboardInterrupt

    move = Move(topic_id="t", partition=0, expected=0, next=1)
    with pytest.raises(KeyboardInterrupt):
        apply(connection, Batch(entries=[requested()], moves=[move]), crash)
    assert open_offsets(connection, [PLACE]) == {("deliveries.attempts", 0): 0}
    assert entries_of(connection, [ID]) == []


def test_what_a_crash_left_unpublished_is_found(connection: Connection, shelf: Shelf) -> None:
    (first,) = shelf.take(requested())
    assert unpublished(connection) == [first]
    (second,) = shelf.take(closed(CloseReason.EXPIRED))
    mark_published(connection, [first])
    assert unpublished(connection) == [second]
    mark_published(connection, [second])
    assert unpublished(connection) == []


def test_what_is_to_nobody_yet_is_not_published(connection: Connection, shelf: Shelf) -> None:
    assert shelf.take(receipt(ReceiptKind.DELIVERED)) == []
    assert connection.execute("SELECT * FROM tracker.unpublished").fetchall() == []
    (state,) = shelf.take(requested())
    assert (state.status, state.user) == ("delivered", "u1")


def test_only_what_contradicts_is_told_and_once(connection: Connection, shelf: Shelf) -> None:
    verdict = closed(CloseReason.EXPIRED)
    contrary = closed(CloseReason.CANCELLED, what="closed again")
    shelf.take(requested(), verdict, contrary)
    shelf.take(verdict, contrary)
    assert shelf.contradicting == [contrary]
    assert columns(connection)["closed"] is True


@pytest.mark.parametrize("backwards", [False, True])
def test_the_first_append_of_a_request_counts(
    connection: Connection, shelf: Shelf, backwards: bool
) -> None:
    appends = [
        requested(1, user="later"),
        requested(0, user="first", offset=3),
        requested(0, user="same moment", offset=4),
        requested(-1, user="unsound", cause="key_contradicts_value"),
    ]
    for append in reversed(appends) if backwards else appends:
        shelf.take(append)
    assert columns(connection)["user"] == "first"
    assert len(entries_of(connection, [ID])) == 1


def test_of_one_batch_too_the_first_append_counts(connection: Connection, shelf: Shelf) -> None:
    shelf.take(requested(1, user="later"), requested(0, user="first"))
    assert columns(connection)["user"] == "first"


@pytest.mark.parametrize(
    ("user", "kept"),
    [
        ("\0", "\ufffd"),
        ("\\u0000", "\\u0000"),
        ("\\\0\0\\", "\\\ufffd\ufffd\\"),
        ('"; DROP TABLE', '"; DROP TABLE'),
        ("ü" * 50_000, "ü" * 50_000),
    ],
)
def test_any_text_can_be_stored(connection: Connection, shelf: Shelf, user: str, kept: str) -> None:
    shelf.take(requested(user=user))
    assert columns(connection)["user"] == kept


def test_a_key_longer_than_an_index_entry_is_stored(connection: Connection, shelf: Shelf) -> None:
    long = SupersessionKey("default:u1:" + "".join(str(uuid4()) for _ in range(500)))
    shelf.take(started(1, key=long))
    assert columns(connection)["key"] == long


def test_the_sweeper_is_told_the_strongest_receipt_of_each_attempt(
    connection: Connection, shelf: Shelf
) -> None:
    other = NotificationId(UUID(int=77))
    shelf.take(
        *history(),
        receipt(ReceiptKind.ACCEPTED, 2, TWILIO, seconds=150),
        started(1, id=other),
    )
    assert receipts_of(connection, [ID, other]) == {(ID, 2): ReceiptKind.DELIVERED}
