"""A catalogue that changes while it is used."""

import asyncio
import shutil
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from services.core.errors import Misconfigured
from services.runtime.catalogue import LoadedCatalogue
from services.runtime.reloading import Catalogues, serve_each

T = TypeVar("T")
SHOP = Path(__file__).parents[2] / "examples" / "shop"
EVERY_S = 0.01
LOOKS = 20


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHOP, tmp_path / "shop"))


def change(folder: Path, old: str = 'deadline = "5m"', new: str = 'deadline = "7m"') -> None:
    file = folder / "lastword.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def watched(folder: Path) -> Catalogues:
    return Catalogues(folder, every_s=EVERY_S)


async def soon(waited: Awaitable[T]) -> T:
    return await asyncio.wait_for(waited, 10)


async def no_other(catalogues: Catalogues) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(catalogues.next(), EVERY_S * LOOKS)


async def test_a_change_is_another_catalogue(shop: Path) -> None:
    catalogues = watched(shop)
    first = catalogues.loaded
    change(shop)
    second = await soon(catalogues.next())
    assert second is catalogues.loaded
    assert second.catalogue.version != first.catalogue.version
    assert second.catalogue.types["login_code"].deadline_ms == 420_000  # type: ignore[index]
    await no_other(catalogues)


async def test_a_template_is_part_of_it(shop: Path) -> None:
    catalogues = watched(shop)
    (shop / "templates/login_code/email.en.txt").write_text("{{ code }}, quickly\n")
    assert await soon(catalogues.next())


async def test_one_that_cannot_be_used_is_told_once_and_mended_it_counts(shop: Path) -> None:
    catalogues = watched(shop)
    version = catalogues.loaded.catalogue.version
    change(shop, new='deadline = "soon"')
    with capture_logs() as logged:
        await no_other(catalogues)
    told = [line for line in logged if line["event"] == "catalogue_not_usable"]
    assert [line["what"].count("lastword.toml:48") for line in told] == [1]
    assert catalogues.loaded.catalogue.version == version
    change(shop, 'deadline = "soon"', 'deadline = "6m"')
    assert (await soon(catalogues.next())).catalogue.version != version


async def test_what_it_is_used_with_may_refuse_it(shop: Path) -> None:
    refused = False

    def require(_: LoadedCatalogue) -> None:
        if refused:
            raise Misconfigured("no such secret")

    catalogues = Catalogues(shop, require=require, every_s=EVERY_S)
    refused = True
    change(shop)
    await no_other(catalogues)


async def test_what_says_the_same_is_no_change(shop: Path) -> None:
    catalogues = watched(shop)
    (shop / "lastword.toml").touch()
    (shop / "notes.txt").write_text("not part of it")
    await no_other(catalogues)


async def test_while_it_is_written_it_does_not_count(shop: Path) -> None:
    catalogues = watched(shop)
    waiting = asyncio.create_task(catalogues.next())
    for number in range(LOOKS):
        (shop / "types" / "login_code.schema.json").write_text("{" * number)
        await asyncio.sleep(EVERY_S / 4)
    shutil.copy(SHOP / "types" / "login_code.schema.json", shop / "types")
    change(shop)
    assert (await soon(waiting)).catalogue.types["login_code"].deadline_ms == 420_000  # type: ignore[index]


async def test_a_service_is_stopped_in_order_and_begins_anew(shop: Path) -> None:
    stop, served, stopped = asyncio.Event(), asyncio.Queue[str](), []

    async def serve(loaded: LoadedCatalogue, halt: asyncio.Event) -> None:
        served.put_nowait(loaded.catalogue.version)
        await halt.wait()
        stopped.append(loaded.catalogue.version)

    catalogues = watched(shop)
    serving = asyncio.create_task(serve_each(catalogues, stop, serve))
    first = await soon(served.get())
    assert stopped == []
    change(shop)
    second = await soon(served.get())
    assert (stopped, second != first) == ([first], True)
    stop.set()
    await soon(serving)
    assert stopped == [first, second]


async def test_what_a_service_dies_of_is_raised(shop: Path) -> None:
    async def serve(_: LoadedCatalogue, __: asyncio.Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await soon(serve_each(watched(shop), asyncio.Event(), serve))
