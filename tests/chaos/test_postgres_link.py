"""The connections between services and PostgreSQL break, or there are none left."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from tests.chaos.asks import campaign, order, reset
from tests.chaos.house import House
from tests.chaos.looks import attempts_of, open_attempts, sent_bytes
from tests.chaos.plugin import Prove
from tests.chaos.proxy import Proxy, Way
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import Still, until

pytestmark = pytest.mark.slow

#: what a lease lasts, after which nothing that it granted is sent
_LEASE_S = 5.0


@pytest.mark.parametrize(("word", "cut"), [("silent", Proxy.hold), ("refused", Proxy.cut)])
def test_row_11_dispatcher_cut_off_from_postgresql_alone(
    house: House, traffic: Traffic, prove: Prove, word: str, cut: Callable[[Proxy], None]
) -> None:
    dispatch = house["dispatch"]
    with traffic.steadily(20):
        until(lambda: len(traffic.accepted()) > 40, "traffic flows")
        cut(dispatch.postgres)
        time_of_cut = time.monotonic()
        still = Still(lambda: sent_bytes(dispatch))
        still.until_for(2.0)
        assert time.monotonic() - time_of_cut < _LEASE_S + 2.0, "no send after its lease"
        still.hold_for(_LEASE_S + 2.0)
        assert all(link.open_links for link in (dispatch.kafka, dispatch.providers["postmark"]))
        asked = len(traffic.acknowledged)
        prove(f"{word} to PostgreSQL alone for {time.monotonic() - time_of_cut:.0f} s: no send")

        dispatch.postgres.mend()
        until(lambda: sent_bytes(dispatch) > still.value, "sends go on by themselves")
        until(lambda: len(traffic.acknowledged) > asked, "traffic flows all the while")
    traffic.judge().assert_kept()


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "untold"])
def test_row_42_the_claims_reply_lost(
    house: House, traffic: Traffic, prove: Prove, is_told: bool
) -> None:
    dispatch = house["dispatch"]
    # so that its connections have the statement prepared: an answer less to be lost
    with traffic.steadily(40):
        until(lambda: len(traffic.accepted()) > 80, "traffic flows")
    traffic.until_closed(traffic.acknowledged)
    sent = len(traffic.accepted())
    dispatch.hooks.arm("before_claim", number=signal.SIGSTOP)
    ids = traffic.ask(reset("ann"), order("bob"), campaign("cid"))
    dispatch.hooks.until_hit("before_claim")
    dispatch.postgres.drop(Way.BACK)
    dispatch.resume()
    claimed = until(lambda: open_attempts(house) & set(ids), "a claim is committed")
    granted = {id: attempts_of(house, id) for id in claimed}
    assert dispatch.postgres.dropped[Way.BACK]
    assert len(traffic.accepted()) == sent
    dispatch.postgres.mend()
    how = "broke before the answer" if is_told else "lived on without the answer"
    if is_told:
        assert dispatch.postgres.reset()
    prove(f"{len(claimed)} claims were committed, and the connections {how}")

    found = traffic.judge()
    found.assert_kept()
    # who learns of it only after its lease may come too late: then it is unknown, and not repeated
    assert found.accepted + sum(found.unknown.values()) == sent + len(ids)
    if is_told:
        assert not found.unknown
        for id, (made,) in granted.items():
            (now,) = attempts_of(house, id)
            assert (now.claim_id, now.outcome) == (made.claim_id, "accepted")


def test_row_20_backends_killed_in_mid_claim(house: House, traffic: Traffic, prove: Prove) -> None:
    killed = 0
    for number in range(3):
        with _held_up_in_claims(house) as waiting:
            ids = traffic.ask(*(order(f"ann-{number}-{n}") for n in range(5)))
            until(waiting, "a claim has begun, and waits for a lock")
            killed += _terminate(house, "query LIKE '%ledger.claim(%' AND state = 'active'")
            assert not traffic.accepted(*ids)
        traffic.until_accepted(*ids)
    assert killed >= 3
    prove(f"pg_terminate_backend of {killed} backends in mid-claim")

    found = traffic.judge()
    found.assert_kept()
    assert found.accepted == 15
    assert not found.unknown


def test_row_21_connections_used_up(house: House, traffic: Traffic, prove: Prove) -> None:
    services = [one for one in house.instances.values() if one.pid is not None]
    pids = [one.pid for one in services]
    with traffic.steadily(20):
        until(lambda: len(traffic.accepted()) > 40, "traffic flows")
        with _all_connections(house) as held:
            still = Still(lambda: len(traffic.accepted()))
            still.until_for(3.0)
            asked = len(traffic.acknowledged)
            still.hold_for(5.0)
            assert len(traffic.acknowledged) > asked, "ingest needs no database"
            assert house["dispatch"].logged("ledger_away")
            prove(f"all {held} connections held, none left to any service: nothing was sent")
        until(lambda: len(traffic.accepted()) > still.value, "sends go on by themselves")
    traffic.judge().assert_kept()
    assert [one.pid for one in services] == pids, "nobody has crashed"


@contextmanager
def _held_up_in_claims(house: House) -> Iterator[Callable[[], bool]]:
    """Claims begin, and wait; what is yielded says whether one does."""
    waits = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE query LIKE '%ledger.claim(%' AND wait_event_type = 'Lock'"
    )
    with psycopg.connect(house.postgres.dsn) as holder, _admin(house) as admin:
        holder.execute("LOCK TABLE ledger.keys IN SHARE ROW EXCLUSIVE MODE")
        yield lambda: bool((admin.execute(waits).fetchone() or (0,))[0])
        holder.rollback()


@contextmanager
def _all_connections(house: House) -> Iterator[int]:
    """Nobody else has one: those of the services are ended until we have them all."""
    with ExitStack() as stack:
        admin = stack.enter_context(_admin(house))
        held: list[psycopg.Connection] = []
        while True:
            _take_all(house, held, stack)
            ours = [connection.info.backend_pid for connection in (admin, *held)]
            ended = admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND NOT pid = ANY (%s)",
                (ours,),
            ).fetchall()
            if not ended:
                break
        yield len(held) + 1


def _take_all(house: House, held: list[psycopg.Connection], stack: ExitStack) -> None:
    while True:
        try:
            connection = psycopg.connect(house.postgres.dsn, autocommit=True)
        except psycopg.OperationalError as error:
            if "too many clients" not in str(error):
                raise
            return
        held.append(stack.enter_context(connection))


def _terminate(house: House, which: str) -> int:
    with _admin(house) as admin:
        query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {which}"
        own = " AND pid <> pg_backend_pid()"
        return len(admin.execute((query + own).encode()).fetchall())


def _admin(house: House) -> psycopg.Connection:
    return psycopg.connect(house.postgres.dsn, autocommit=True)
