"""Line 4, throttles and caps: nobody gets more in any such time, whoever asks.

The law, with a simulated clock, is held by every life of the simulation (``caps``) and by both
ledgers (``tests/conformance/test_ledger_caps.py``); here it is seen end to end.
"""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.postgres import EmbeddedPostgres
from tests.integration.stack import SHOP, Stack, running_stack
from tests.simulation.planted import seek
from tests.simulation.play import lives

on_the_stack = pytest.mark.asyncio(loop_scope="module")
Figure = Callable[[str, object], None]

_SEEDS = range(300)
_MOST, _ASKED = 2, 8
_WORDS = f"they had {_MOST} of login_code within 1h already"
_NO_CAPS = b"""
CREATE OR REPLACE FUNCTION ledger.over_cap(n ledger.notifications, caps jsonb, now timestamptz)
RETURNS text LANGUAGE sql STABLE AS $$ SELECT NULL::text $$
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("caps")
    with EmbeddedKafka(folder / "kafka") as kafka, EmbeddedPostgres(folder / "pg") as postgres:
        catalogue = _catalogue(folder / "shop")
        async with running_stack(
            kafka.client_properties, postgres.dsn, catalogue=catalogue
        ) as stack:
            yield stack


def _catalogue(folder: Path) -> Path:
    """The shop's, with a throttle."""
    shutil.copytree(SHOP, folder)
    file = folder / "lastword.toml"
    type = "[types.login_code]\n"
    throttle = f'throttle = {{ most = {_MOST}, per = "1h" }}\n'
    file.write_text(file.read_text().replace(type, type + throttle))
    return folder


async def asked(stack: Stack, user: str) -> tuple[int, set[object]]:
    """Ask for many, each of a key of its own: how many were sent, and why the others not."""
    ids = [
        await stack.request(
            user=user,
            type="login_code",
            subject=str(number),
            to={"email": f"{user}@example.test"},
            data={"code": "123456"},
        )
        for number in range(_ASKED)
    ]
    ends = [await stack.until(id, "delivered", "suppressed") for id in ids]
    sent = [e for e in stack.sandbox.ledger.since(0) if e.notification_id in ids]
    return len(sent), {end["detail"] for end in ends if end["status"] == "suppressed"}


@pytest.mark.slow
def test_in_simulated_lives_nobody_gets_more(figure: Figure) -> None:
    violations = [v for life in lives(_SEEDS) for v in life.violations]
    figure(f"in {len(_SEEDS)} lives more than the cap", len(violations))
    assert violations == []


@pytest.mark.slow
def test_a_ledger_that_counts_nothing_fails_this_line(figure: Figure) -> None:
    noticed = seek("count_nothing_that_they_had", _SEEDS)
    figure("control: count_nothing_that_they_had", noticed)
    assert noticed is not None


@on_the_stack
async def test_one_too_many_is_suppressed_and_says_why(stack: Stack, figure: Figure) -> None:
    sent, why = await asked(stack, "ann")
    figure(f"of {_ASKED} asked for at once, sent", sent)
    figure("the others say", why)
    assert (sent, why) == (_MOST, {_WORDS})
    assert (await asked(stack, "bob"))[0] == _MOST


@on_the_stack
async def test_without_the_cap_all_are_sent(stack: Stack, figure: Figure) -> None:
    """The control."""
    with psycopg.connect(stack.settings.postgres, autocommit=True) as connection:
        connection.execute(_NO_CAPS)
    sent, _ = await asked(stack, "cid")
    figure("control: sent by a ledger without caps", sent)
    assert sent == _ASKED
