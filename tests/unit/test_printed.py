"""Documents say what the code says, for they are printed from it."""

import pytest

from tests.printed import BLOCKS, README, TOPICS, between, topics_file

AGAIN = "print it anew: python -m tests.printed"


@pytest.mark.parametrize("marker", BLOCKS)
def test_the_readme_shows_what_the_code_prints(marker: str) -> None:
    text = README.read_text("utf-8")
    start, end = between(text, marker)
    assert text[start:end].strip() == BLOCKS[marker], AGAIN


def test_the_topics_for_deployment_are_those_that_services_ask_for() -> None:
    assert TOPICS.read_bytes() == topics_file(), AGAIN
