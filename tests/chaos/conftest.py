"""The house that the rows share, mended after each, and how a row proves and is judged."""

import os
import re
from collections.abc import Generator, Iterator, Mapping
from itertools import count
from pathlib import Path

import pytest

from services.sandbox.oracle import Findings, Promise
from tests.chaos.house import CLASSIC, CONSUMER, House, HousePlan
from tests.chaos.plugin import (
    Prove,
    RowReports,
    assert_proven,
    note_findings,
    note_proof,
    row_of_item,
)
from tests.chaos.traffic import Traffic

_counter = count(1)
#: the variables that say where to write a report, and which rows alone are wanted
_REPORT, _WANTED = "CHAOS_REPORT", "CHAOS_ROWS"


def pytest_configure(config: pytest.Config) -> None:
    path = os.environ.get(_REPORT)
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(RowReports(Path(path)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = {int(number) for number in re.findall(r"\d+", os.environ.get(_WANTED, ""))}
    if wanted:
        others = [item for item in items if row_of_item(item) not in wanted]
        items[:] = [item for item in items if item not in others]
        config.hook.pytest_deselected(items=others)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    result = yield
    assert_proven(pyfuncitem)
    return result


@pytest.fixture(scope="session")
def classic_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(HousePlan(folder=tmp_path_factory.mktemp("classic"), kafka=CLASSIC)) as built:
        yield built


@pytest.fixture(scope="session")
def consumer_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(HousePlan(folder=tmp_path_factory.mktemp("consumer"), kafka=CONSUMER)) as built:
        yield built


@pytest.fixture
def house(classic_house: House) -> Iterator[House]:
    """Mended after the test."""
    yield classic_house
    classic_house.mend()


@pytest.fixture(params=["classic", "consumer"])
def either_house(request: pytest.FixtureRequest) -> Iterator[House]:
    """The test runs once on each group protocol."""
    built: House = request.getfixturevalue(f"{request.param}_house")
    yield built
    built.mend()


@pytest.fixture
def traffic(request: pytest.FixtureRequest) -> Iterator["JudgedTraffic"]:
    """In the house of the test."""
    name = "either_house" if "either_house" in request.fixturenames else "house"
    users = f"t{next(_counter)}"
    with JudgedTraffic(request.getfixturevalue(name), users, request.node) as made:
        yield made


class JudgedTraffic(Traffic):
    """What the oracle finds goes into the report."""

    def __init__(self, house: House, name: str, item: pytest.Item) -> None:
        super().__init__(house, name)
        self._item = item

    def judge(
        self, *, within_s: float = 120.0, seen: Mapping[str, Promise] | None = None
    ) -> Findings:
        found = super().judge(within_s=within_s, seen=seen)
        note_findings(self._item, found)
        return found


@pytest.fixture
def prove(request: pytest.FixtureRequest) -> Prove:
    return lambda proof: note_proof(request.node, proof)
