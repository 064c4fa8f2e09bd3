"""Times as they are typed."""

from datetime import UTC, datetime, timedelta

import pytest

from services.cli.moments import moment_ago, moment_ahead
from services.core.errors import Misconfigured

NOW = datetime(2026, 1, 8, tzinfo=UTC)


def test_a_duration_counts_from_now_to_either_side() -> None:
    assert moment_ahead("--deadline", "1h30m", NOW) == NOW + timedelta(minutes=90)
    assert moment_ago("--since", "7d", NOW) == NOW - timedelta(days=7)


def test_a_time_names_its_zone() -> None:
    for moment in (moment_ahead, moment_ago):
        assert moment("--since", "2026-01-08T02:00:00+01:00", NOW) == NOW + timedelta(hours=1)


@pytest.mark.parametrize("text", ["", "soon", "2026-01-08T02:00:00", "-5m"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match="--since"):
        moment_ago("--since", text, NOW)
