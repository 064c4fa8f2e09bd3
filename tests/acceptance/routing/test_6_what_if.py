"""Line 6: what-if on a log of a million requests; a change of one line shows exactly its effect."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.what_if import SHOP, fill, requests
from services.runtime.catalogue import load_catalogue
from services.runtime.codec import Codec
from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.settings import Settings, to_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
Figure = Callable[[str, object], None]
_REQUESTS = 1_000_000
#: so that its memory is seen not to depend on the length of the log
_MOST_MB = 400
_PATIENCE, _ACCOUNTS = (
    'give_up_after = "15m"',
    'accounts = ["postmark-transactional", "mailgun-transactional"]',
)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(tmp_path_factory.mktemp("what-if") / "kafka") as kafka:
        shop = load_catalogue(SHOP)
        fill(dict(kafka.client_properties), requests(_REQUESTS, shop.catalogue, Codec()))
        yield kafka


def what_if(
    kafka: EmbeddedKafka, folder: Path, *lines: tuple[str, str], machine: bool = True
) -> Any:
    """The report of the command, by the shop's catalogue with these lines for others."""
    text = (SHOP / "lastword.toml").read_text()
    for line, other in lines:
        assert line in text
        text = text.replace(line, other, 1)
    (folder / "new.toml").write_text(text)
    settings = Settings(kafka=kafka.client_properties, catalogue=SHOP)
    command = [sys.executable, "-m", "services.cli", "what-if"]
    done = subprocess.run(
        [*command, "--catalogue", str(folder / "new.toml"), *(["--json"] if machine else [])],
        env=to_environment(settings),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout) if machine else done.stdout


def changed(report: Any) -> dict[str, dict[str, int]]:
    return {type["type"]: type["by_kind"] for type in report["types"] if type["changed"]}


def test_a_change_of_one_line_shows_exactly_its_effect(
    kafka: EmbeddedKafka, tmp_path: Path, figure: Figure
) -> None:
    report = what_if(kafka, tmp_path, (_PATIENCE, 'give_up_after = "5m"'))
    figure("requests, seconds, MB", (report["requests"], report["seconds"], report["peak_mb"]))
    figure("changed", changed(report))
    assert report["requests"] == _REQUESTS
    assert changed(report) == {"password_reset": {"patience of a leg": _REQUESTS // 4}}
    assert report["peak_mb"] < _MOST_MB


def test_a_person_can_read_it(kafka: EmbeddedKafka, tmp_path: Path, figure: Figure) -> None:
    other = 'accounts = ["mailgun-transactional", "postmark-transactional"]'
    told = what_if(kafka, tmp_path, (_ACCOUNTS, other), machine=False)
    first, *lines = told.splitlines()
    figure("its first line", first)
    assert f"{_REQUESTS:,} requests" in first
    assert any("→ email by mailgun-transactional" in line for line in lines)
    assert "@" not in told


def test_another_line_shows_too(kafka: EmbeddedKafka, tmp_path: Path, figure: Figure) -> None:
    """The control: were only the first change seen, the first test would say nothing."""
    other = ('deadline = "5m"', 'deadline = "4m"')
    report = what_if(kafka, tmp_path, (_PATIENCE, 'give_up_after = "5m"'), other)
    figure("control: changed by two lines", changed(report))
    assert changed(report)["login_code"] == {"deadline": _REQUESTS // 4}
    assert what_if(kafka, tmp_path)["changed"] == 0
