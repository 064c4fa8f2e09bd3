"""Lines of libraries: as ours, and the same one not again and again."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from services.runtime.logs import configure_logs, joined


@pytest.fixture
def alone() -> Iterator[None]:
    """What the logs are set to write to is gone after the test."""
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("alone")
def test_a_library_s_lines_join_ours_and_the_same_one_is_said_seldom(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("test")
    joined("chatty", "chatty", seldom_s=60)
    deep = logging.getLogger("chatty.deep.down")
    for number in range(100):
        deep.warning("no way to %s", f"node-{number}")
    deep.error("ann@example.test is gone")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["message"]) for line in lines] == [
        ("chatty", "no way to node-0"),
        ("chatty", "[email] is gone"),
    ]
