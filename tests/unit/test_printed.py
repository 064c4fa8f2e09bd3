"""Documents say what the code says, for they are printed from it."""

from pathlib import Path

import pytest

from tests.printed import BLOCKS, TOPICS, between, topics_file

AGAIN = "print it anew: python -m tests.printed"


@pytest.mark.parametrize(("file", "marker"), BLOCKS, ids=[marker for _, marker in BLOCKS])
def test_a_document_shows_what_the_code_prints(file: Path, marker: str) -> None:
    text = file.read_text("utf-8")
    start, end = between(text, marker)
    assert text[start:end].strip() == BLOCKS[(file, marker)], AGAIN


def test_the_topics_for_deployment_are_those_that_services_ask_for() -> None:
    assert TOPICS.read_bytes() == topics_file(), AGAIN
